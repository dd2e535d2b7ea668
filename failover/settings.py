"""What a user may set: targets, budgets, and the behaviour of every gate.

All of it is frozen and checked when it is built.  A wrong value raises ``ConfigurationError``, which
names the field, the value and the range; an unknown field is an error, never ignored.
Times are seconds, money is US dollars, rates are per minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict, Field, SecretStr, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from failover.errors import ConfigurationError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen pydantic dataclass whose constructor raises ``ConfigurationError``."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    built = pydantic_dataclass(cls, frozen=True, config=config)
    checked = built.__init__
    names = tuple(field.name for field in fields(built))

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes the class's own
        try:
            checked(self, *args, **kwargs)
        except ValidationError as error:
            raise ConfigurationError(explain(cls.__name__, error, names)) from None

    built.__init__ = __init__  # type: ignore[method-assign]  # wraps pydantic's own
    return cast(type[T], built)


def explain(what: str, error: ValidationError, positions: tuple[str, ...] = ()) -> str:
    """Pydantic's findings as sentences that name field, value and remedy; secrets are never shown.

    ``positions`` names the positional arguments, which pydantic only numbers.
    """
    return "; ".join(_sentence(what, finding, positions) for finding in error.errors(include_url=False))


def _sentence(what: str, finding: Any, positions: tuple[str, ...]) -> str:
    first, *rest = finding["loc"] or ("",)
    head = positions[first] if isinstance(first, int) and first < len(positions) else first
    field = ".".join(str(part) for part in (head, *rest))
    secret = "key" in field or finding["type"] in ("missing", "missing_argument")
    value = "" if secret else f" = {finding['input']!r}"
    return f"{what}: {field}{value}: {finding['msg']}"


Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Gt(0), Le(1)]
Dollars = Annotated[Decimal, Ge(0)]


# ------------------------------------------------------------------ prices


@settings
class Tier:
    """Prices of a whole request once its input exceeds ``above`` tokens (a cliff, as the vendors bill it)."""

    above: Count
    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None


@settings
class Hours:
    """Prices that hold from ``start`` to ``end`` (minutes after midnight UTC) on ``weekdays`` (Monday = 0)."""

    start: Annotated[int, Ge(0), Le(1440)]
    end: Annotated[int, Ge(0), Le(1440)]
    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    weekdays: frozenset[int] = frozenset(range(7))


@settings
class Price:
    """US dollars per million tokens.

    ``cache_read`` and ``cache_write`` default to the input price, ``cache_write_1h`` to ``cache_write``.
    ``tiers`` are sorted by ``above``; ``hours`` win over the base price.
    """

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    tiers: tuple[Tier, ...] = ()
    hours: tuple[Hours, ...] = ()

    @classmethod
    def free(cls) -> Price:
        """Of a model that costs nothing, such as one on your own machine."""
        return cls(Decimal(0), Decimal(0))


# ------------------------------------------------------------------- gates


@settings
class CircuitBreaker:
    """When a target is left alone, and when it is tried again.

    failure_threshold: consecutive failures that are the target's own (default 5).
    recovery_timeout: seconds open before probes (default 30); doubles with jitter while probes fail, up to
        ``max_recovery_timeout`` (default 300).
    probes: calls let through at once while half-open (default 1); as many successes close it.
    failure_rate: share of failures in ``window`` seconds that opens it too, after ``minimum_calls``; None: off.
    slow_call_rate: the same for calls whose first content took longer than ``slow_call`` seconds; None: off.
    """

    failure_threshold: Count = 5
    recovery_timeout: Positive = 30.0
    max_recovery_timeout: Positive = 300.0
    probes: Count = 1
    failure_rate: Share | None = None
    slow_call_rate: Share | None = None
    slow_call: Positive = 30.0
    window: Positive = 60.0
    minimum_calls: Count = 10


@settings
class RateLimit:
    """What may be sent to a target: requests and tokens in any 60 seconds, and calls at once.  None: no limit.

    tokens: input plus output; input_tokens, output_tokens: each by itself.
    window: seconds (default 60).
    """

    requests: Count | None = None
    tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    concurrency: Count | None = None
    window: Positive = 60.0


@settings
class Budget:
    """A hard cap in US dollars; the worst case of a call is reserved before it is sent.

    per: hour, day (default), week, month or total; a period begins at midnight in ``timezone`` (default: the
        machine's own).
    per_label: keep one such budget for each value of this label; a call without the label is refused.
    default_max_tokens: cap on output where the caller gives none (default 4000; 16,000 for models that reason).
    """

    limit: Dollars
    per: Literal["hour", "day", "week", "month", "total"] = "day"
    timezone: str | None = None
    per_label: str | None = None
    default_max_tokens: Count | None = None

    def __post_init__(self) -> None:
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ConfigurationError(
                    f"Budget: timezone = {self.timezone!r} is unknown; write an IANA name such as 'Europe/Berlin'"
                    " (pip install tzdata where the system has no zone table)"
                ) from None


@settings
class Retry:
    """Trying the same target again, once no other target can take the call.

    attempts: retries of one target within a call (default 2; 0: never).
    base, maximum: backoff in seconds; the n-th wait is uniform in [0, min(maximum, base * 2**n)] (full jitter,
        AWS Architecture Blog 2015).  A provider's Retry-After, capped at ``max_retry_after``, is a lower bound.
    budget: retries and hedges together may be this share of calls (default 0.2), plus ``floor`` per 10 s (default 10).
    """

    attempts: Annotated[int, Ge(0)] = 2
    base: NotNegative = 0.5
    maximum: NotNegative = 8.0
    max_retry_after: NotNegative = 60.0
    budget: Annotated[float, Ge(0), Le(1)] = 0.2
    floor: Annotated[int, Ge(0)] = 10


@settings
class Cache:
    """The response cache: ``size`` entries (default 1000), ``ttl`` seconds (default 3600), its own ``namespace``."""

    size: Count = 1000
    ttl: Positive = 3600.0
    namespace: str = ""


@settings
class Timeouts:
    """Seconds for one attempt, each on its own clock; keep-alives and pings do not reset them.

    connect (default 5), first_content (60), between_content (30) and total (600).
    For answers that are not streamed, ``total`` is bounded by ``whole`` (default 300).
    """

    connect: Positive = 5.0
    first_content: Positive = 60.0
    between_content: Positive = 30.0
    whole: Positive = 300.0
    total: Positive = 600.0


# ----------------------------------------------------------------- targets

ApiKey = SecretStr | Callable[[], str]
Input = Literal["image", "document", "audio", "video"]
DialectName = Literal["chat", "responses", "anthropic"]


@settings
class Target:
    """What a call can be sent to: provider + model + credential + its limits.

    name: ``"provider:model"``, or any name when ``model`` is given; unique within an orchestrator.
    model, provider, base_url, dialect: needed where the name does not say them.  A ``base_url`` without a
        provider speaks OpenAI Chat Completions unless ``dialect`` says otherwise.
    api_key: a string, a ``SecretStr``, or a function that returns it; default: the provider's variable in
        the environment.  Never shown, stored or logged.
    weight: share under the ``weighted`` strategy (default 1).
    rpm, tpm, input_tpm, output_tpm, concurrency: limits as in ``RateLimit``; None: no limit.
    price: overrides the table; budget: a cap on this target alone; breaker, timeouts: override the orchestrator's.
    headers, extra_body: added to every request.
    context_window, max_output_tokens, inputs, tools, structured_output: what the model can do, where the table is
        wrong or silent.
    api_version: Anthropic's ``anthropic-version``, Azure's ``api-version``.
    end_marker: False for servers that end a stream without saying so.
    reenable_after: seconds after which a refused credential is tried again; None: never by itself.
    attempter: a framework model in place of HTTP, made by ``as_target`` of an integration.
    """

    name: Annotated[str, MinLen(1)]
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
    dialect: DialectName | None = None
    api_key: Any = Field(default=None, repr=False)
    weight: Positive = 1.0
    rpm: Count | None = None
    tpm: Count | None = None
    input_tpm: Count | None = None
    output_tpm: Count | None = None
    concurrency: Count | None = None
    price: Price | None = None
    budget: Budget | None = None
    breaker: CircuitBreaker | None = None
    timeouts: Timeouts | None = None
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    context_window: Count | None = None
    max_output_tokens: Count | None = None
    inputs: frozenset[Input] | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    api_version: str | None = None
    end_marker: bool = True
    reenable_after: Positive | None = None
    attempter: Any = Field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key))
        elif self.api_key is not None and not isinstance(self.api_key, SecretStr) and not callable(self.api_key):
            raise ConfigurationError("Target: api_key must be a string, a SecretStr or a function that returns one")

    @property
    def limits(self) -> RateLimit:
        return RateLimit(self.rpm, self.tpm, self.input_tpm, self.output_tpm, self.concurrency)
