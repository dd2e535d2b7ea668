"""What has happened lately, as plain data: enough to draw who was asked when, and how it went.

Calls leave their steps behind as they take them, and targets the changes of their state; both memories forget the
oldest.  Nothing else is done until somebody asks.  Times are epoch seconds, durations seconds, money US dollars.

The picture this is made for: ``lanes`` says in which state each target was, ``attempts`` are the dots upon them,
``spending`` is the curve under the budgets' limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from failover._shown import Shown
from failover.events import BreakerChanged, Event, TargetDisabled, TargetEnabled
from failover.store.base import Now, TargetState
from failover.types import NANO, Step

REMEMBERED = 2000
"""Steps of calls that are kept, and as many changes of targets."""

CHANGES = (BreakerChanged, TargetDisabled, TargetEnabled)
"""The events that a lane is made of."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """A step of a call: an attempt (``sent``), a target passed over, or an answer from the cache (``"cached"``).

    call: its number.  at: when the step began.  reason: ``"ok"``, ``"cached"``, ``"abandoned"``, a ``Kind`` or a
    rejection's reason.  first_content: seconds until a stream began to answer.
    """

    call: int
    target: str
    at: float
    duration: float
    reason: str
    sent: bool
    status: int | None
    first_content: float | None
    cost: Decimal
    detail: str


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a target stayed in one state: closed, open, half_open or disabled."""

    start: float
    end: float
    state: str


@dataclass(frozen=True, slots=True)
class StateChange:
    """A target went from one state to another."""

    at: float
    target: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What this orchestrator had spent in all, from ``at`` on.  Other processes on the same store are not in it."""

    at: float
    total: Decimal


@dataclass(frozen=True, slots=True)
class History(Shown):
    """What is remembered, from ``since`` to ``until``; everything in the order of time.

    ``lanes`` has every target; each covers the whole time without a gap.  What is remembered is bounded: the last
    2000 steps of calls, and as many changes of targets.
    """

    since: float
    until: float
    attempts: tuple[Attempted, ...]
    lanes: Mapping[str, tuple[Span, ...]]
    transitions: tuple[StateChange, ...]
    spending: tuple[Spent, ...]


Noted = tuple[int, float, Step]
"""A step as a call leaves it: the call's number, the monotonic moment at which the call began, the step."""


class Memory:
    """Where calls leave their steps, and targets their changes; appending needs no lock."""

    __slots__ = ("changes", "steps")

    def __init__(self, size: int = REMEMBERED) -> None:
        self.steps: deque[Noted] = deque(maxlen=size)
        self.changes: deque[Event] = deque(maxlen=size)

    def recall(self, targets: Sequence[TargetState], spent: int, now: Now) -> History:
        """``targets``: all of them, as they are now.  ``spent``: nano-dollars, until now."""
        shift = now.wall - now.mono
        attempts = tuple(sorted((_attempted(noted, shift) for noted in self.steps.copy()), key=_began))
        changes = [(event.at + shift, event) for event in self.changes.copy()]
        since = min((*map(_began, attempts[:1]), *(at for at, _ in changes[:1])), default=now.wall)
        lanes = {each.target: tuple(_lane(each, changes, since, now.wall)) for each in targets}
        return History(since, now.wall, attempts, lanes, _transitions(lanes), tuple(_spending(attempts, spent, since)))


def _began(attempt: Attempted) -> float:
    return attempt.at


def _attempted(noted: Noted, shift: float) -> Attempted:
    call, began, step = noted
    return Attempted(
        call=call,
        target=step.target,
        at=began + step.started + shift,
        duration=step.duration,
        reason=step.reason,
        sent=step.sent,
        status=step.status,
        first_content=step.first_content,
        cost=step.cost,
        detail=step.detail,
    )


# ------------------------------------------------------------------- lanes


def _lane(target: TargetState, changes: Iterable[tuple[float, Event]], since: float, until: float) -> Iterator[Span]:
    """Its states one after another: of several at one moment the last, equal neighbours as one."""
    mine = [(at, event) for at, event in changes if getattr(event, "target", "") == target.target]
    (start, state), *later = dict(_states(target, mine, since)).items()
    for at, new in later:
        if new != state:
            yield Span(start, at, state)
            start, state = at, new
    yield Span(start, until, state)


def _states(target: TargetState, changes: Sequence[tuple[float, Event]], since: float) -> Iterator[tuple[float, str]]:
    """The state at the beginning, and the one after each change.  Switched off counts for more than any circuit."""
    phase, off = _before(target, [event for _, event in changes])
    yield since, "disabled" if off else phase
    for at, event in changes:
        match event:
            case BreakerChanged(new=new):
                phase = new
            case TargetDisabled():
                off = True
            case TargetEnabled():
                off = False
        yield at, "disabled" if off else phase


def _before(target: TargetState, changes: Sequence[Event]) -> tuple[str, bool]:
    """What held before the first change that is remembered: what it changed, else what holds now."""
    first = next((event for event in changes if isinstance(event, BreakerChanged)), None)
    switched = next((event for event in changes if not isinstance(event, BreakerChanged)), None)
    now_off = target.state == "disabled"
    phase = first.old if first is not None else "closed" if now_off or switched else target.state
    return phase, now_off if switched is None else isinstance(switched, TargetEnabled)


def _transitions(lanes: Mapping[str, Sequence[Span]]) -> tuple[StateChange, ...]:
    turns = [(new.start, name, old.state, new.state) for name, lane in lanes.items() for old, new in pairwise(lane)]
    return tuple(StateChange(*turn) for turn in sorted(turns))


# ---------------------------------------------------------------- spending


def _spending(attempts: Iterable[Attempted], spent: int, since: float) -> Iterator[Spent]:
    """The sum after each charge; what was spent before the first one remembered is where it begins."""
    charges = sorted((each.at + each.duration, each.cost) for each in attempts if each.cost)
    total = Decimal(spent) / NANO - sum(cost for _, cost in charges)
    yield Spent(since, total)
    for at, cost in charges:
        total += cost
        yield Spent(at, total)
