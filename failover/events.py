"""What happened, as it happens: one frozen value per event, handed to listeners outside every lock.

A listener is any function of one event.  It is called where the thing happened, in the thread or task of the call, so
it should be quick.  One that raises harms nothing: its error is logged, the call goes on.  No event holds a key, and
none a prompt or an answer but those of ``CONTENT``, which only those get who ask for them; ``detail`` is what a
provider or a gate said about a failure.

Times are monotonic seconds (``at``), durations seconds, money nano-dollars.

Two sorts: the *routine* of a call that goes well is made only while somebody listens; everything else is rare, and
is logged and remembered as well (see ``logs`` and ``history``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failover.types import Answer, Request, Usage


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the call number ``call`` (0: outside any call)."""

    at: float
    call: int


# ---------------------------------------------------------- the routine


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    """``hedges`` is the number of the call that this one is to overtake; 0: it is nobody's backup."""

    streamed: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    hedges: int = 0


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """``target`` is who answered, None when nobody did; ``error`` the exception's class name (``Closed``: the
    caller left a stream), None on success.

    ``cost`` is what all attempts of the call were charged.
    """

    duration: float
    target: str | None = None
    cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """``probe``: it decides whether an open circuit closes.  ``reserved``: its worst case, where a budget is kept.

    ``parameters`` are those of the request that are set: ``max_tokens``, ``temperature``, …
    """

    target: str
    probe: bool
    reserved: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FirstContent(Event):
    """A stream began to answer, ``seconds`` after it was admitted."""

    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """``reason`` is ``"ok"``, a ``Kind``, or ``"abandoned"``; ``cost`` what was charged.

    ``usage`` is what the provider reported; ``model``, ``response_id`` and ``finish_reason`` what its answer said.
    """

    target: str
    reason: str
    duration: float
    status: int | None = None
    first_content: float | None = None
    cost: int = 0
    detail: str = ""
    usage: Usage | None = None
    model: str = ""
    response_id: str = ""
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver(Event):
    """A target was not asked: a gate rejected it or it cannot serve the request."""

    target: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CacheHit(Event):
    """The response cache had the answer; it cost nothing."""

    target: str


@dataclass(frozen=True, slots=True)
class BudgetReserved(Event):
    """The worst case of an attempt was set aside in every budget it falls under."""

    target: str
    amount: int


@dataclass(frozen=True, slots=True)
class BudgetSettled(Event):
    """An attempt's reservation was given back, and its real cost charged."""

    target: str
    reserved: int
    cost: int


# ----------------------------------------------------------- of one call


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A target that failed in this call is asked again, ``delay`` seconds after it did."""

    target: str
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class FailedOver(Event):
    """The call moved on from ``source`` to ``target``."""

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamResumed(Event):
    """A cut stream is continued by ``target``."""

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The call stands in line for at most ``seconds``: for a rate limit, a place, or others' reservations."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RequestAdjusted(Event):
    """Parameters were dropped, renamed or clamped for this target."""

    target: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerCapped(Event):
    """An answer was cut at an output cap that failover had set, not the caller."""

    target: str
    max_tokens: int


# ------------------------------------------------------ of target and gate


@dataclass(frozen=True, slots=True)
class BreakerChanged(Event):
    """``old`` and ``new``: closed, open or half_open; ``detail``: why the circuit opened, empty once it is closed.

    A circuit whose time is over becomes half_open with the call that tries it, not before.
    """

    target: str
    old: str
    new: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TargetDisabled(Event):
    """A target is switched off.

    ``reason`` is the ``Kind`` that did it; ``"disabled"`` where a target with the same key, or another process, did.
    """

    target: str
    detail: str
    reason: str = "disabled"


@dataclass(frozen=True, slots=True)
class TargetEnabled(Event):
    """A target that was switched off is asked again."""

    target: str


@dataclass(frozen=True, slots=True)
class BudgetRefused(Event):
    """The worst case did not fit into what is left of a budget, so nothing was sent to ``target``."""

    target: str
    detail: str


@dataclass(frozen=True, slots=True)
class CostAboveReservation(Event):
    """A provider charged more than the worst case that was reserved; it is recorded in full."""

    target: str
    reserved: int
    cost: int


@dataclass(frozen=True, slots=True)
class StoreLost(Event):
    """The shared store does not answer: hard budgets refuse, breakers and limiters carry on in this process alone."""

    store: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoreBack(Event):
    """The shared store answers again, after ``seconds``."""

    store: str
    seconds: float


# -------------------------------------------------------------- content


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """What is sent to ``target``."""

    target: str
    request: Request


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """What ``target`` said, or had said when it broke off."""

    target: str
    answer: Answer


CONTENT = (Asked, Answered)
"""The events that hold what is asked and answered."""

Listener = Callable[[Event], None]
