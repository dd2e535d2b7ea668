"""What happened, as it happens: one frozen value per event, handed to listeners outside every lock.

A listener is any function of one event.  One that raises harms nothing: its error is logged, the call goes on.
Times are monotonic seconds (``at``), durations seconds, money nano-dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the call number ``call`` (0: outside any call)."""

    at: float
    call: int


@dataclass(frozen=True, slots=True)
class CallStarted(Event):
    streamed: bool
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallFinished(Event):
    """``target`` is who answered, None when nobody did; ``error`` the exception's class name, None on success."""

    duration: float
    target: str | None = None
    cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    target: str
    probe: bool
    reserved: int


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """``reason`` is ``"ok"``, a ``Kind``, or ``"abandoned"``; ``cost`` what was charged."""

    target: str
    reason: str
    duration: float
    status: int | None = None
    first_content: float | None = None
    cost: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PassedOver(Event):
    """A target was not asked: a gate rejected it or it cannot serve the request."""

    target: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """The same target will be asked again, after ``delay`` seconds."""

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
class Waiting(Event):
    """The call stands in line for at most ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CacheHit(Event):
    target: str


@dataclass(frozen=True, slots=True)
class RequestAdjusted(Event):
    """Parameters were dropped, renamed or clamped for this target."""

    target: str
    notes: tuple[str, ...]


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
    target: str
    detail: str


@dataclass(frozen=True, slots=True)
class TargetEnabled(Event):
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
class StreamResumed(Event):
    """A cut stream is continued by ``target``."""

    source: str
    target: str
    reason: str


Listener = Callable[[Event], None]
