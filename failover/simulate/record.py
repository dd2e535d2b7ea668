"""What is written down while a simulation runs: one line a call, kept in columns, and how the gates stood."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from failover.errors import FailoverError
from failover.events import BreakerChanged, Event, TargetDisabled, TargetEnabled
from failover.history import Span
from failover.simulate.engine import Flight
from failover.store.base import BudgetState, Now
from failover.types import NANO, Response, Step


class CallRecord(NamedTuple):
    """One call.  ``arrived`` and ``latency`` in seconds, ``cost`` in US dollars; ``attempts`` that were sent.

    ``target`` is who answered, None when nobody did; ``error`` the exception's name, None on success.
    """

    arrived: float
    latency: float
    target: str | None
    error: str | None
    attempts: int
    cost: float


class Calls(Sequence[CallRecord]):
    """All calls in the order in which they ended.  Kept in columns: a week at one a second takes 25 MB."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = tuple(targets)
        self.errors: list[str] = []
        self.arrived, self.latency = array("d"), array("d")
        self.target, self.error, self.attempts = array("h"), array("h"), array("h")
        self.cost = array("q")

    def add(self, arrived: float, latency: float, target: int, error: str | None, attempts: int, cost: int) -> None:
        """``target``: its place, -1 for none; ``cost`` in nano-dollars."""
        self.arrived.append(arrived)
        self.latency.append(latency)
        self.target.append(target)
        self.error.append(-1 if error is None else self._place(error))
        self.attempts.append(attempts)
        self.cost.append(cost)

    def _place(self, error: str) -> int:
        if error not in self.errors:
            self.errors.append(error)
        return self.errors.index(error)

    def __len__(self) -> int:
        return len(self.arrived)

    @overload
    def __getitem__(self, place: int) -> CallRecord: ...
    @overload
    def __getitem__(self, place: slice) -> list[CallRecord]: ...
    def __getitem__(self, place: int | slice) -> CallRecord | list[CallRecord]:
        if isinstance(place, slice):
            return [self._record(each) for each in range(*place.indices(len(self)))]
        return self._record(place)

    def _record(self, place: int) -> CallRecord:
        target, error = self.target[place], self.error[place]
        return CallRecord(
            self.arrived[place],
            self.latency[place],
            None if target < 0 else self.targets[target],
            None if error < 0 else self.errors[error],
            self.attempts[place],
            self.cost[place] / NANO,
        )

    def __iter__(self) -> Iterator[CallRecord]:
        return map(self._record, range(len(self)))


@dataclass(slots=True)
class TargetLog:
    """What one target did.  ``failures`` and ``passed_over`` count by reason."""

    sent: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Money:
    """How the first budget stood at ``at`` seconds, in US dollars."""

    at: float
    spent: float
    reserved: float
    limit: float


class Record:
    """Written by the run: ``ended`` for each call, ``note`` for each event, ``held`` for money."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.calls = Calls(targets)
        self.logs = {name: TargetLog() for name in targets}
        self.lanes: dict[str, list[Span]] = {name: [] for name in targets}
        self.money: list[Money] = []
        self._place = {name: place for place, name in enumerate(targets)}
        self._phase = dict.fromkeys(targets, "closed")
        self._off: set[str] = set()
        self._since = dict.fromkeys(targets, ("closed", 0.0))

    def ended(self, flight: Flight, response: Response | None, error: FailoverError | None, now: Now) -> None:
        call = flight.call
        sent = sum(map(self._step, call.trail))
        arrived = call.began.mono
        target = -1 if response is None else self._place[response.target]
        name = None if error is None else type(error).__name__
        self.calls.add(arrived, now.mono - arrived, target, name, sent, call.spent)

    def _step(self, step: Step) -> bool:
        """Count a step; whether something was sent."""
        log = self.logs[step.target]
        if not step.sent:
            log.passed_over[step.reason] += 1
            return False
        log.sent += 1
        if step.reason == "ok":
            log.answered += 1
        else:
            log.failures[step.reason] += 1
        return True

    def note(self, event: Event) -> None:
        """A target's state is what its switch says, else its breaker."""
        match event:
            case BreakerChanged(target=target, new=new):
                self._phase[target] = new
            case TargetDisabled(target=target):
                self._off.add(target)
            case TargetEnabled(target=target):
                self._off.discard(target)
            case _:
                return
        state = "disabled" if target in self._off else self._phase[target]
        if state != self._since[target][0]:
            self._close(target, event.at)
            self._since[target] = (state, event.at)

    def _close(self, target: str, now: float) -> None:
        state, start = self._since[target]
        if now > start:
            self.lanes[target].append(Span(start, now, state))

    def held(self, budget: BudgetState | None, now: float) -> None:
        if budget is not None:
            amounts = (budget.spent / NANO, budget.reserved / NANO, budget.limit / NANO)
            self.money.append(Money(now, *amounts))

    def finish(self, now: float) -> None:
        """Close what is still open."""
        for target in self._since:
            self._close(target, now)
