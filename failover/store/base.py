"""Where the state of the gates lives, and the four things that are asked of it.

``admit`` asks every gate of one target at once (switched off? breaker, limiter, concurrency, budgets): all of
them take what the attempt needs and a ``Lease`` comes back, or none takes anything and a ``Rejection`` says why.
``settle`` gives the lease back with what really happened; ``abandon`` gives it back when nothing was learned.
Both are idempotent, in any order.  A lease that nobody gives back expires by itself at ``expires``: its place is
freed, its money is charged.

A store in this process answers at once.  One in a file or on a server returns an ``Io`` in place of its answer: the
flow yields it, a driver does it (blocking, or on its event loop), and the flow is sent the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from failover.failures import Scope
from failover.rules.breaker import Transition as Transition  # what a store tells of its breakers
from failover.rules.refusal import Reason as Reason  # named here too: it is part of a rejection
from failover.settings import Budget, Cache, CircuitBreaker, RateLimit
from failover.types import NANO, Answer, RateHint

T = TypeVar("T")


class Now(NamedTuple):
    """A moment on both clocks: ``mono`` for durations, ``wall`` (epoch seconds) for periods and stated resets."""

    mono: float
    wall: float


class Lost(Exception):  # it says what happened
    """Raised by an ``Io``: the store cannot be reached, or cannot keep what it is told.  Its text holds no secrets."""


@dataclass(slots=True, eq=False)
class Io(Generic[T]):
    """What is yet to be done for an answer: by ``do``, blocking, or by ``ado`` on the running event loop; once.

    ado: returns something to await, best a future; what has begun is awaited to its end, even in a cancelled task.
    undo: called when the answer of something begun did not arrive (cancelled, interrupted): what to do instead, so
        that nothing is left behind.  It must hold whether or not, and before or after, the first took effect.
    """

    do: Callable[[], T]
    ado: Callable[[], Awaitable[T]]
    undo: Callable[[], Io[Any] | None] | None = None


def wait_for(answer: T | Io[T]) -> T:
    """The answer itself, blocking while it is fetched."""
    return answer.do() if isinstance(answer, Io) else answer


@dataclass(frozen=True, slots=True)
class Gates:
    """The rules of one target.  ``credential`` names the key (a salted fingerprint, never the key)."""

    target: str
    credential: str
    model: str
    breaker: CircuitBreaker
    limits: RateLimit
    reenable_after: float | None = None


TITLES = {"total": "whole budget", **{per: f"{per}'s budget" for per in ("hour", "day", "week", "month")}}


@dataclass(frozen=True, slots=True)
class Charge:
    """A budget it falls under; ``scope`` names the counter (``all``, ``target:NAME``, ``label:user=alice``).

    ``limit`` is the budget's in nano-dollars.  ``book`` names its period and time zone: the same scope in another
    book is another counter.
    """

    scope: str
    budget: Budget
    limit: int = field(init=False)
    book: str = field(init=False)

    @property
    def title(self) -> str:
        """What people call it: "the day's budget of user=alice"."""
        _, _, whose = self.scope.removesuffix(f":{self.budget.per}").partition(":")
        return f"the {TITLES[self.budget.per]} of {whose or 'all targets'}"

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", int(self.budget.limit * NANO))
        object.__setattr__(self, "book", f"{self.budget.per} {self.budget.timezone or ''}".rstrip())


# Ask, Lease and Settlement are not frozen: they are made for every attempt, and frozen costs four times as much.


@dataclass(slots=True)
class Ask:
    """What one attempt wants.  ``cost``: worst case in nano-dollars.  ``ttl``: seconds the lease lasts.

    ``patience``: seconds in which first content is due; a probe that is silent for longer loses its place.
    ``bound``: an upper bound on input tokens, for whoever settles; the gates do not look at it.
    """

    gates: Gates
    input_tokens: int
    output_tokens: int
    cost: int
    charges: tuple[Charge, ...]
    ttl: float
    ticket: Ticket
    bound: int = 0
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """``retry_at``: monotonic moment at which it may be worth asking again, None if unknown or never.

    ``line`` names the queue to stand in when the caller may wait for it; None: waiting is not allowed
    (an open circuit, a disabled target, a spent budget).
    ``recheck``: whoever stands in line asks again by this monotonic moment although nobody has called (a lease of
    someone who died may have expired); it promises no slot, so no deadline is measured against it.  None: no need.
    """

    target: str
    reason: Reason
    detail: str = ""
    retry_at: float | None = None
    line: str | None = None
    recheck: float | None = None


@dataclass(slots=True, eq=False)
class Lease:
    """A place taken in every gate.  ``generation`` is the breaker's at admission; ``probe`` marks a half-open trial.

    ``transition``: the breaker became half-open by this admission.
    """

    id: str
    ask: Ask
    admitted: Now
    expires: float
    generation: int
    probe: bool
    period: tuple[str, ...] = ()  # the key of each period it is reserved in, and will be charged to
    transition: Transition | None = None


@dataclass(slots=True)
class Settlement:
    """How an attempt ended, as far as the gates care.

    succeeded: True, False, or None for nobody's failure (a caller's mistake, a content filter).
    blamed: the failure counts against the breaker.
    latency: seconds to the first content; None where there was none.
    input_tokens, output_tokens: real figures, None where unknown (the estimate stands).
    cost: nano-dollars really spent; None charges the reservation.
    pause: seconds the target must not be sent to (Retry-After); slow_down: lower its own rate too.
    disable: scope to switch off, until the wall-clock moment ``until`` (None: by hand), for ``detail``.
    """

    succeeded: bool | None
    blamed: bool = False
    latency: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: int | None = None
    pause: float | None = None
    slow_down: bool = False
    disable: Scope | None = None
    until: float | None = None
    detail: str = ""
    hint: RateHint | None = None


class Ticket:
    """A call's place in the waiting lines; made once per call, so that order of arrival is order of service.

    The driver sets ``wake``; the store calls it, outside its locks, when it is this ticket's turn to ask again.
    A wake that comes before ``wake`` is set is remembered in ``woken``.  The rest belongs to the store: ``lines``
    it stands in, when it was ``called``, at which change it last ``asked``, and whether it has been ``counted``
    as a call of the retry budget.
    """

    __slots__ = ("asked", "called", "counted", "lines", "number", "wake", "woken")

    def __init__(self, number: int) -> None:
        self.number = number
        self.woken = False
        self.wake: Callable[[], object] | None = None
        self.lines: tuple[str, ...] = ()
        self.called: float | None = None
        self.asked: int | None = None
        self.counted = False

    def notify(self) -> None:
        """Raises ``RuntimeError`` when the event loop that waited has been closed."""
        self.woken = True
        wake = self.wake  # read once: the driver may take it back at any moment
        if wake is not None:
            wake()


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target, as plain data for status pages."""

    target: str
    state: str  # closed, open, half_open, disabled
    until: float | None = None  # monotonic
    consecutive_failures: int = 0
    in_flight: int = 0
    waiting: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One budget counter in nano-dollars.  ``resets_at`` is a wall-clock moment, None for ``total``."""

    scope: str
    limit: int
    spent: int
    reserved: int
    resets_at: float | None

    @property
    def left(self) -> int:
        return self.limit - self.spent - self.reserved


@dataclass(frozen=True, slots=True)
class Snapshot:
    targets: tuple[TargetState, ...] = ()
    budgets: tuple[BudgetState, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class Hit(NamedTuple):
    """A stored answer, and the ``identity`` it is stored under."""

    identity: str
    answer: Answer


class ResponseCache(Protocol):
    """Where answers are kept: under the request's digest and the ``identity`` of the model that answered.

    ``get`` finds the first of ``identities`` that is there and fresh.  ``put`` keeps nobody waiting: what has to
    travel goes with the store's next operation, which is the settlement of the lease that brought the answer.
    """

    def get(self, digest: bytes, identities: Iterable[str], now: Now) -> Hit | Io[Hit | None] | None: ...
    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None: ...


@runtime_checkable
class Claims(Protocol):
    """What a response cache can do besides, where identical calls of several processes make one upstream call."""

    def claim(self, digest: bytes, now: Now) -> Io[bool] | bool:
        """May this process make the call?  False: another is at it; its answer may be in the cache soon.

        A claim ends with ``put``, with ``release``, or by itself after ``CLAIMED`` seconds.
        """

    def release(self, digest: bytes, now: Now) -> Io[None] | None: ...


CLAIMED = 30.0
"""Seconds: as long as a stream may pause by default."""


class Store(Protocol):
    """Threads and event loops may call any of these at once; none of them blocks for longer than its own short lock.

    What changes a breaker's phase returns the transition, so that it can be told of outside every lock.  Where an
    ``Io`` may come back, the operation happens when that is done.  Moments go in and come out on this process's
    clocks, whatever clock the store keeps.
    """

    def salt(self) -> bytes:
        """Makes fingerprints of keys that whoever shares the store agrees on; asked when a ``Failover`` is built.

        May block.  Raises ``ConfigurationError`` where the store cannot be reached.
        """

    def shared_cache(self, rules: Cache) -> ResponseCache | None:
        """A response cache for everyone who shares the store; None where nobody does."""

    def ticket(self) -> Ticket: ...
    def admit(self, ask: Ask, now: Now) -> Lease | Rejection | Io[Lease | Rejection]:
        """A place in every gate, or in none.  The ticket's first lease counts as a call for the retry budget."""

    def first_content(self, lease: Lease, now: Now) -> Transition | Io[Transition | None] | None:
        """The attempt answers: a probe is decided, the limiter's entry ages from here.

        Only a probe is worth a journey of its own, since others wait for its verdict; the rest may be put off
        until the lease is given back.
        """

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Transition | Io[Transition | None] | None:
        """Give the lease back with what happened; after it expired, only the money and what the target said count."""

    def abandon(self, lease: Lease, cost: int, now: Now) -> Io[None] | None:
        """Give the lease back, charging ``cost`` nano-dollars; the tokens stay counted, for they may have been used."""

    def renew(self, lease: Lease, expires: float, now: Now) -> Io[None] | None:
        """Let a lease that still lives last until the monotonic moment ``expires``; never shortens it."""

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        """Stand in these lines of this process, and in no others, until ``leave``; an admitted ticket leaves by itself.

        Whoever lines up again keeps its place.  Clears ``ticket.woken``; if something has changed since the ticket
        asked, it is called at once.
        """

    def leave(self, ticket: Ticket, now: Now) -> None: ...
    def allow_retry(self, now: Now) -> bool | Io[bool]:
        """Take one retry or hedge out of the retry budget, if there is one left."""

    def enable(self, gates: Gates, now: Now) -> Transition | Io[Transition | None] | None:
        """Switch a target's credential (and model) on again and close its breaker."""

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Snapshot | Io[Snapshot]: ...
    def close(self) -> None:
        """Give up connections and threads; whatever is asked afterwards opens them again."""

    async def aclose(self) -> None:
        """``close``, with the connections of the running event loop."""
