"""Every exception that failover raises.

    FailoverError
    ├─ ConfigurationError            raised when something is built, never at the first call
    ├─ ProviderError                 .kind .status .retry_after .target .request_id .trail
    │  ├─ BadRequest                 the request itself is at fault, wherever it is sent
    │  ├─ ContextOverflow            longer than every capable target's window
    │  ├─ ContentFiltered            a provider's content filter; see ``on_content_filter``
    │  └─ StreamInterrupted          .partial .usage .cost: a stream broke after its first content
    ├─ Rejected                      we did not send: .target .retry_after
    │  ├─ CircuitOpen  RateLimited  TargetDisabled  BudgetExceeded  Incapable  StoreUnavailable
    └─ AllTargetsFailed              also an ExceptionGroup; .trail in order; .retry_at

``ConfigurationError`` is not a ``ValueError`` on purpose: pydantic would swallow it into its own
``ValidationError`` wherever a failover object is a field of a pydantic model.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from failover._words import amount
from failover.types import NANO, Answer, Failure, Kind, Trail, Usage


class FailoverError(Exception):
    """Base of everything that failover raises."""


class ConfigurationError(FailoverError):
    """Something was built with a value that cannot work; the message names the field, the value and what to write."""


class ProviderError(FailoverError):
    """A provider failed and the call could not, or must not, go on."""

    def __init__(self, failure: Failure, target: str = "", trail: Trail = ()) -> None:
        self.failure = failure
        self.target = target
        self.trail = trail
        super().__init__(failure, target, trail)

    @property
    def kind(self) -> Kind:
        return self.failure.kind

    @property
    def status(self) -> int | None:
        return self.failure.status

    @property
    def retry_after(self) -> float | None:
        return self.failure.retry_after

    @property
    def request_id(self) -> str | None:
        return self.failure.request_id

    def __str__(self) -> str:
        where = f"{self.target}: " if self.target else ""
        status = f" (HTTP {self.failure.status})" if self.failure.status else ""
        message = f": {self.failure.message}" if self.failure.message else ""
        return f"{where}{self.failure.kind}{status}{message}"


class BadRequest(ProviderError):
    """The request is at fault on every wire; it was sent to as few providers as needed to know."""


class ContextOverflow(ProviderError):
    """The request is longer than the window of every target that could serve it."""


class ContentFiltered(ProviderError):
    """A provider's content filter refused the request or the answer."""


class StreamInterrupted(ProviderError):
    """A stream broke after its first content had been handed on.  What had arrived is in ``partial``."""

    def __init__(self, failure: Failure, target: str = "", trail: Trail = (), cost_nano: int = 0) -> None:
        super().__init__(failure, target, trail)
        self.cost_nano = cost_nano
        self.args = (failure, target, trail, cost_nano)

    @property
    def partial(self) -> str:
        """The text that had been handed on."""
        return self.answer.message.text if self.answer else ""

    @property
    def answer(self) -> Answer | None:
        return self.failure.partial

    @property
    def usage(self) -> Usage | None:
        return self.answer.usage if self.answer else None

    @property
    def cost(self) -> Decimal:
        return Decimal(self.cost_nano) / NANO


class Rejected(FailoverError):
    """Nothing was sent: one of our own gates said no.  ``retry_after`` is in seconds, None if waiting does not help."""

    _state: ClassVar[str] = ""

    def __init__(self, message: str, target: str = "", retry_after: float | None = None) -> None:
        self.target = target
        self.retry_after = retry_after
        super().__init__(message, target, retry_after)

    def __str__(self) -> str:
        where = f"{self.target}: " if self.target else ""
        return f"{where}{self._state}{self.args[0]}"


class CircuitOpen(Rejected):
    """The target's circuit breaker is open."""

    _state = "its circuit is open: "


class RateLimited(Rejected):
    """The target's own limits (requests, tokens, concurrency) leave no room in time."""


class TargetDisabled(Rejected):
    """The target's credential was refused earlier; ``Failover.enable(name)`` brings it back."""

    _state = "switched off: "


class BudgetExceeded(Rejected):
    """The worst case of this call does not fit into what is left of a budget.

    ``retry_after``: seconds until the next period begins, None if it would not fit then either.
    """

    def __str__(self) -> str:
        anew = f"; it begins anew in {amount(self.retry_after, 's')}" if self.retry_after is not None else ""
        return super().__str__() + anew


class Incapable(Rejected):
    """The target cannot serve this request (tools, images, window, structured output)."""


class StoreUnavailable(Rejected):
    """The store that keeps a hard budget cannot be reached."""


class AllTargetsFailed(FailoverError, ExceptionGroup[FailoverError]):
    """No target could serve the call.

    ``exceptions`` holds one error per target, ``trail`` every attempt and rejection in order,
    ``retry_at`` the earliest moment (seconds from the error) at which trying again may help, or None.
    """

    trail: Trail
    retry_at: float | None

    def __new__(
        cls, errors: Sequence[FailoverError], trail: Trail = (), retry_at: float | None = None
    ) -> AllTargetsFailed:
        self = ExceptionGroup.__new__(cls, _headline(errors, retry_at), list(errors))
        self.trail = trail
        self.retry_at = retry_at
        return self

    def __init__(self, errors: Sequence[FailoverError], trail: Trail = (), retry_at: float | None = None) -> None:
        """State is set in ``__new__``, as exception groups do; this signature is for type checkers."""

    def derive(self, excs: Sequence[Exception]) -> AllTargetsFailed:  # type: ignore[override]  # narrower on purpose
        return AllTargetsFailed([e for e in excs if isinstance(e, FailoverError)], self.trail, self.retry_at)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return AllTargetsFailed, (list(self.exceptions), self.trail, self.retry_at)


def _headline(errors: Sequence[FailoverError], retry_at: float | None) -> str:
    causes = "; ".join(str(error) for error in errors)
    when = f" (retry in {amount(retry_at, 's')})" if retry_at is not None else ""
    who = "the only target" if len(errors) == 1 else f"all {len(errors)} targets"
    return f"{who} failed{when}: {causes}"
