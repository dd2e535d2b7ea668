"""Metrics: histograms and counters fed by events, gauges that look at an orchestrator when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from threading import Lock
from weakref import WeakKeyDictionary

from opentelemetry import metrics

from failover import __version__, events
from failover.client import BudgetStatus, Failover, TargetStatus
from failover.telemetry import names
from failover.telemetry.names import Attributes

Seen = Iterator[tuple[float, Attributes]]
Look = Callable[[Failover], Seen]


class Meters:
    """The instruments of one meter provider.  Gauges ask every orchestrator that is watched and still there."""

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("failover", __version__, provider, names.SCHEMA)
        self.histograms = {
            name: meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=edges)
            for name, (unit, about, edges) in names.HISTOGRAMS.items()
        }
        self.counters = {
            name: meter.create_counter(name, unit, about) for name, (unit, about) in names.COUNTERS.items()
        }
        for name, (unit, about) in names.GAUGES.items():
            meter.create_observable_gauge(name, [self._observer(LOOKS[name])], unit, about)
        self._watched: WeakKeyDictionary[Failover, Attributes] = WeakKeyDictionary()

    def watch(self, guard: Failover, common: Attributes) -> None:
        self._watched[guard] = common

    def forget(self, guard: Failover) -> None:
        self._watched.pop(guard, None)

    def _observer(self, look: Look) -> Callable[[metrics.CallbackOptions], Iterator[metrics.Observation]]:
        def observe(options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
            for guard, common in list(self._watched.items()):
                for value, facts in look(guard):
                    yield metrics.Observation(value, facts | common)

        return observe


_making = Lock()
_made: dict[metrics.MeterProvider | None, Meters] = {}


def meters_of(provider: metrics.MeterProvider | None) -> Meters:
    """One set for each provider (None: the global one): an instrument that is made twice observes only once."""
    with _making:
        if provider not in _made:
            _made[provider] = Meters(provider)
        return _made[provider]


# ------------------------------------------------------------------ events


@dataclass(slots=True)
class Counts:
    """A listener.  ``places``: what is the same for every attempt at a target; ``common``: for everything."""

    meters: Meters
    places: Mapping[str, Attributes]
    common: Attributes

    def tell(self, event: events.Event) -> None:
        match event:
            case events.AttemptFinished():
                self._attempted(event)
            case _:
                self._count(event)

    def _count(self, event: events.Event) -> None:
        if (counted := names.COUNTED.get(type(event))) is not None:
            name, facts = counted
            self._add(name, 1, facts(event))

    def _attempted(self, event: events.AttemptFinished) -> None:
        self._add("failover.cost", names.dollars(event.cost), {names.TARGET: event.target})
        known = dict(self.places[event.target])
        if event.model:
            known[names.RESPONSE_MODEL] = event.model
        if event.usage is not None and not event.usage.estimated:
            self._record("gen_ai.client.token.usage", event.usage.input_tokens, known | {names.TOKEN_TYPE: "input"})
            self._record("gen_ai.client.token.usage", event.usage.output_tokens, known | {names.TOKEN_TYPE: "output"})
        if event.first_content is not None:
            self._record("gen_ai.client.operation.time_to_first_chunk", event.first_content, known)
        if names.failed(event):
            known[names.ERROR_TYPE] = event.reason
        self._record("gen_ai.client.operation.duration", event.duration, known)

    def took(self, seconds: float, ended: Attributes) -> None:
        """Of a whole call."""
        self._record("failover.call.duration", seconds, ended)

    def _add(self, name: str, amount: float, known: Attributes) -> None:
        self.meters.counters[name].add(amount, known | self.common)

    def _record(self, name: str, value: float, known: Attributes) -> None:
        self.meters.histograms[name].record(value, known | self.common)


# ------------------------------------------------------------------ gauges


def _of_targets(figure: Callable[[TargetStatus], int]) -> Look:
    return lambda guard: ((figure(each), {names.TARGET: each.name}) for each in guard.status())


def _of_budgets(figure: Callable[[BudgetStatus], Decimal]) -> Look:
    return lambda guard: ((float(figure(each)), {names.SCOPE: each.scope}) for each in guard.budgets)


def _states(guard: Failover) -> Seen:
    return (
        (int(each.state == state), {names.TARGET: each.name, names.STATE: state})
        for each in guard.status()
        for state in names.STATES
    )


LOOKS: dict[str, Look] = {
    "failover.target.state": _states,
    "failover.target.in_flight": _of_targets(lambda each: each.in_flight),
    "failover.budget.limit": _of_budgets(lambda each: each.limit),
    "failover.budget.spent": _of_budgets(lambda each: each.spent),
    "failover.budget.reserved": _of_budgets(lambda each: each.reserved),
}
"""Where a gauge looks."""
