"""One policy in one scenario: a twin of the orchestrator, in virtual time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from itertools import product
from typing import Any

from failover import events
from failover._build import budgets_of, targets_of
from failover._checked import guess
from failover._routing import Router
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.settings import Budget, Retry, Target
from failover.simulate.engine import Clock, Engine
from failover.simulate.provider import providers
from failover.simulate.record import Record
from failover.simulate.result import PIECES, Result, summary
from failover.simulate.scenario import Scenario, Traffic
from failover.store.memory import MemoryStore
from failover.types import Message, Request

SIZES = 128
"""How many different prompts callers have: the middle of each 128th of the distribution."""
BYTES_A_TOKEN = 4
QUESTION = "Why is the sky blue? "

Policy = Failover | Sequence[str | Target]


def run(scenario: Scenario, policy: Policy, *, name: str = "simulation", **options: Any) -> Result:
    """What ``policy`` does in ``scenario``.

    policy: a ``Failover`` whose settings are taken (it is not called, and none of its state is used), or targets with
        ``options`` as for ``Failover``.  No key is needed.
    name: a title for tables and pictures.

    Simulated callers never ask the same twice, so the response cache is off, and setting it is an error.  A budget
    without a time zone counts days in UTC.  Raises ``ConfigurationError`` for what cannot be meant.
    """
    check(scenario, targets_in(policy))
    return simulated(scenario, policy, name, options)


def simulated(scenario: Scenario, policy: Policy, name: str, options: Mapping[str, Any]) -> Result:
    """``run`` for a scenario that may name targets of other policies, too."""
    random = scenario.random("policy")
    clock = Clock(scenario.starts.timestamp())
    guard = _twin(policy, options, random.random, clock)
    names = [target.name for target in guard.targets]
    vendors = [live.model.provider.name for live in guard._core.lives]
    sides = list(
        providers(list(zip(names, vendors, strict=True)), scenario.profiles, scenario.incidents, scenario.random)
    )
    record = Record(names)
    guard._core.emit = _told(record.note, *options.get("listeners", ()))
    guard._core.watched = True

    def tick(now: float) -> None:
        record.held(_first_budget(guard), now)

    engine = Engine(
        clock,
        sides,
        lambda request: guard._call(request, scenario.traffic.streamed),
        lambda flight, response, error: record.ended(flight, response, error, clock.moment),
        guard._hedge,
    )
    with _few_collections():
        engine.run(_calls(scenario), scenario.traffic.seconds / PIECES or 1.0, tick)
    tick(clock.moment.mono)
    record.finish(clock.moment.mono)
    return summary(name, scenario, clock.moment.mono, record, guard.status())


# --------------------------------------------------------------------- twin


def _twin(policy: Policy, options: Mapping[str, Any], random: Callable[[], float], clock: Clock) -> Failover:
    """The orchestrator as it would be built, but for its clock, its chance and its connections."""
    given = _options(policy, options)
    store = MemoryStore(random, given.get("retry") or Retry())
    guard = Failover([_keyless(target) for target in targets_in(policy)], **given, store=store, response_cache=False)
    core = guard._core
    core.now, core.random = clock.now, random
    core.router = Router(core.lives, given.get("strategy", "round_robin"), random, core.ledger.estimates)
    return guard


OURS = ("store", "on_store_lost", "response_cache", "client", "async_client", "http2")
"""Options that a simulation decides by itself."""


def _options(policy: Policy, options: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(policy, Failover):
        if options:
            raise ConfigurationError(
                f"{', '.join(options)}: a Failover brings its own options; give its targets instead"
            )
        given = {name: value for name, value in policy._config.items() if name not in (*OURS, "listeners")}
    else:
        for name in options:
            _allowed(name)
        given = dict(options)
    given["budget"] = tuple(map(_in_utc, budgets_of(given.get("budget")))) or None
    return given


def _allowed(name: str) -> None:
    if name in OURS:
        raise ConfigurationError(f"{name}: {REFUSED.get(name, NO_CONNECTION)}; leave it out")
    if name not in OPTIONS:
        raise ConfigurationError(f"{name} is not an option of Failover{guess(name, OPTIONS)}")


OPTIONS = tuple(name for name in signature(Failover).parameters if name not in ("targets", *OURS))
NO_CONNECTION = "a simulation opens no connection"
REFUSED = {
    "store": "a simulation keeps its own state",
    "on_store_lost": "a simulation keeps its own state",
    "response_cache": "simulated callers never ask the same twice, so a cache would change nothing",
}


def _in_utc(budget: Budget) -> Budget:
    """The same days on every machine."""
    return budget if budget.timezone is not None else replace(budget, timezone="UTC")


def _keyless(target: Target) -> Target:
    budget = None if target.budget is None else _in_utc(target.budget)
    key = None if target.attempter is not None else "simulated"
    return replace(target, api_key=key, budget=budget)


def targets_in(policy: Policy) -> tuple[Target, ...]:
    return policy.targets if isinstance(policy, Failover) else targets_of(policy)


def check(scenario: Scenario, targets: Iterable[Target]) -> None:
    """Raise ``ConfigurationError`` if the scenario names a target or provider that is not among these."""
    names = {name for each in targets for name in (each.name, each.provider or each.name.partition(":")[0])}
    for what, named in (("incident", [each.target for each in scenario.incidents]), ("profile", scenario.profiles)):
        unknown = next((name for name in named if name not in names | {"*"}), None)
        if unknown is not None:
            said = ", ".join(sorted(names))
            raise ConfigurationError(f"{what} of {unknown!r}: no such target or provider; there are {said}")


def _told(*listeners: events.Listener) -> events.Listener:
    """All of them, and no log: nothing of this has happened."""

    def tell(event: events.Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _first_budget(guard: Failover) -> Any:
    return next(iter(guard._snapshot_budgets(guard._charges[:1])), None)


# ------------------------------------------------------------------ callers


def _calls(scenario: Scenario) -> Iterator[tuple[float, Request, int]]:
    """Every call: when it comes, what it asks, and how many tokens that has."""
    asked = list(_questions(scenario.traffic))
    random = scenario.random("questions").random
    size = len(asked)
    for at in scenario.traffic.arrivals(scenario.random("arrivals")):
        request, tokens = asked[int(random() * size)]
        yield at, request, tokens


def _questions(traffic: Traffic) -> Iterator[tuple[Request, int]]:
    spread = traffic.prompt_tokens
    assert not isinstance(spread, float), "settings keep a bare number as Exactly"
    sizes = [max(1, round(spread.quantile((number + 0.5) / SIZES))) for number in range(SIZES)]
    for tokens, labels in product(sizes, _labels(traffic)):
        size = tokens * BYTES_A_TOKEN
        text = (QUESTION * (size // len(QUESTION) + 1))[:size]
        yield Request((Message("user", text),), max_tokens=traffic.max_tokens, labels=labels), tokens


def _labels(traffic: Traffic) -> Iterable[dict[str, str]]:
    longest = max(map(len, traffic.labels.values()), default=1)
    for number in range(longest):
        yield {name: values[number % len(values)] for name, values in traffic.labels.items()}


@contextmanager
def _few_collections() -> Iterator[None]:
    """Nearly everything a simulation makes is freed by counting; looking for cycles costs a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
