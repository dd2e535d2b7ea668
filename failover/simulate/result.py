"""What a simulation found: figures as plain data, over all of it, over a part of it, and over time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from failover._shown import Shown
from failover._words import amount, columns, count, duration, money, share
from failover.client import TargetStatus
from failover.history import Span
from failover.simulate.chance import moment
from failover.simulate.record import Calls, Money, Record, TargetLog
from failover.simulate.scenario import Incident, Scenario
from failover.types import NANO

PIECES = 240
"""Into how many pieces ``series`` divides the time: what a picture can show."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of some calls.

    success: share that was answered.  p50, p99: seconds that answered calls took; None where none was.
    attempts: requests that were sent; wasted: those that gave no answer.  cost: US dollars.
    errors: how many failed with which exception.
    """

    calls: int
    answered: int
    success: float | None
    p50: float | None
    p99: float | None
    attempts: int
    wasted: int
    cost: float
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """What one target did.  ``unavailable``: seconds that its circuit was not closed or it was switched off.

    latency: mean seconds of successful attempts.  failures, passed_over: how often, by reason.
    """

    name: str
    model: str
    sent: int
    answered: int
    failures: Mapping[str, int]
    passed_over: Mapping[str, int]
    latency: float | None
    unavailable: float
    cost: float
    state: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time from ``start``: the calls that arrived in it, and who answered how many."""

    start: float
    figures: Figures
    answered_by: Mapping[str, int]


@dataclass(frozen=True)
class Result(Shown):
    """What a policy did in a scenario.

    calls: every call.  lanes: how each target stood, and when.  money: the first budget over time.
    ``figures`` is over all calls; ``between`` over a part, for "during the outage"; ``series`` over time.
    """

    name: str
    scenario: Scenario
    duration: float
    figures: Figures
    targets: tuple[TargetFigures, ...]
    lanes: Mapping[str, tuple[Span, ...]]
    money: tuple[Money, ...]
    calls: Calls = field(repr=False, compare=False)

    def between(self, start: float | str, end: float | str) -> Figures:
        """Figures of the calls that arrived from ``start`` to ``end``: seconds, or spans such as "2h 30m"."""
        first, last = moment(start), moment(end)
        return _figures(self.calls, [place for place, at in enumerate(self.calls.arrived) if first <= at < last])

    def series(self, pieces: int = PIECES) -> tuple[Piece, ...]:
        """The time of arrivals in equal pieces, those without calls included."""
        width = max(self.scenario.traffic.seconds, 1e-9) / pieces
        numbers = [min(pieces - 1, int(at / width)) for at in self.calls.arrived]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        found = {number: list(places) for number, places in groupby(order, key=numbers.__getitem__)}
        return tuple(self._piece(number * width, found.get(number, [])) for number in range(pieces))

    def _piece(self, start: float, places: Sequence[int]) -> Piece:
        names = Counter(self.calls.target[place] for place in places)
        by = {name: names.get(place, 0) for place, name in enumerate(self.calls.targets)}
        return Piece(start, _figures(self.calls, places), by)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the single calls."""
        return {
            "name": self.name,
            "seed": self.scenario.seed,
            "duration": self.duration,
            "figures": asdict(self.figures),
            "targets": [asdict(each) for each in self.targets],
            "incidents": [_plain(each) for each in self.scenario.incidents],
            "lanes": {name: [asdict(span) for span in lane] for name, lane in self.lanes.items()},
            "series": [asdict(each) for each in self.series()],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        """A headline, and a table of the targets."""
        return "\n".join((headline(self), "", *columns(TARGET_HEAD, map(target_row, self.targets))))


def summary(name: str, scenario: Scenario, ended: float, record: Record, states: Sequence[TargetStatus]) -> Result:
    """The result of a run that has ended."""
    logs = record.logs
    return Result(
        name,
        scenario,
        ended,
        _figures(record.calls, range(len(record.calls))),
        tuple(_target(state, logs[state.name], record.lanes[state.name]) for state in states),
        {name: tuple(lane) for name, lane in record.lanes.items()},
        tuple(record.money),
        record.calls,
    )


def _target(state: TargetStatus, log: TargetLog, lane: Iterable[Span]) -> TargetFigures:
    away = [span for span in lane if span.state != "closed"]
    return TargetFigures(
        state.name,
        state.model,
        log.sent,
        log.answered,
        dict(log.failures.most_common()),
        dict(log.passed_over.most_common()),
        state.latency,
        sum(span.end - span.start for span in away),
        float(state.cost),
        state.state,
    )


def _figures(calls: Calls, places: Sequence[int]) -> Figures:
    target, latency, attempts, cost = calls.target, calls.latency, calls.attempts, calls.cost
    took = sorted(latency[place] for place in places if target[place] >= 0)
    sent = sum(attempts[place] for place in places)
    errors = Counter(calls.errors[calls.error[place]] for place in places if target[place] < 0)
    return Figures(
        len(places),
        len(took),
        len(took) / len(places) if places else None,
        quantile(took, 0.5),
        quantile(took, 0.99),
        sent,
        sent - len(took),
        sum(cost[place] for place in places) / NANO,
        dict(errors.most_common()),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed (nearest rank); None of nothing."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else None


def _plain(incident: Incident) -> dict[str, Any]:
    return {name: value for name, value in asdict(incident).items() if value is not None}


# -------------------------------------------------------------------- words

TARGET_HEAD = ("target", "sent", "answered", "failed", "mean", "out for", "spent", "most frequent failure")


def headline(result: Result) -> str:
    figures = result.figures
    return (
        f"{result.name}: {duration(result.duration)}, {count(figures.calls)} calls, {share(figures.success)} answered, "
        f"p50 {amount(figures.p50, 's')}, p99 {amount(figures.p99, 's')}, {money(figures.cost)}, "
        f"{count(figures.wasted)} wasted"
    )


def target_row(target: TargetFigures) -> tuple[str, ...]:
    failed = sum(target.failures.values())
    reason = next((f"{name} ({count(times)})" for name, times in target.failures.items()), "")
    return (
        target.name,
        count(target.sent),
        count(target.answered),
        count(failed),
        amount(target.latency, "s"),
        duration(target.unavailable) if target.unavailable else "",
        money(target.cost),
        reason.replace("_", " "),
    )
