"""Every event, told over real HTTP, and what is logged of it."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any

import pytest

from failover import Budget, CircuitBreaker, Failover, FailoverError, Retry, events, logs
from failover.store.base import Ask, Io, Lost, Now
from failover.store.memory import MemoryStore
from failover.testing import Cut, Reply, ScriptedProvider, Served, Status, serve
from failover.testing.world import Tokens

OPENAI, GROQ = "openai:gpt-6-luna", "groq:openai/gpt-oss-120b"
SECRET = "the secret of the pharaoh"
KEY = "sk-canary-0123456789abcdef"
EVERY = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, events.Event) and kind is not events.Event
]


class Losing:
    """A store elsewhere that can be lost."""

    def __init__(self) -> None:
        self._near = MemoryStore(lambda: 0.5)
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._near, name)

    def __repr__(self) -> str:
        return "the store"

    def admit(self, ask: Ask, now: Now) -> Io[Any]:
        def do() -> Any:
            if self.lost:
                raise Lost("no answer")
            return self._near.admit(ask, now)

        async def ado() -> Any:
            return do()

        return Io(do, ado)


@dataclass
class Stage:
    """Two providers on loopback, and what the orchestrators over them have told."""

    openai: ScriptedProvider
    groq: ScriptedProvider
    servers: dict[str, Served]
    told: list[events.Event] = field(default_factory=list)

    def guard(self, *, limits: dict[str, Any] | None = None, only: bool = False, **options: Any) -> Failover:
        first = replace(self.servers["openai"].target("gpt-6-luna"), **(limits or {}))
        targets = [first] if only else [first, self.servers["groq"].target("openai/gpt-oss-120b")]
        options = {"strategy": "priority", "retry": Retry(attempts=0), **options}
        guard = Failover(targets, listeners=[self.told.append], **options)
        guard.subscribe_to_content(self.told.append)
        return guard

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.told if type(event) is kind]


@pytest.fixture
def stage() -> Iterator[Stage]:
    openai, groq = (
        ScriptedProvider(name, key=KEY, respond=lambda question: Reply("one two three four five", reasoning=""))
        for name in ("openai", "groq")
    )
    with serve(openai, groq) as servers:
        yield Stage(openai, groq, servers)


# ----------------------------------------------------------- one of each


def plain(stage: Stage) -> None:
    stage.guard(budget=1).complete("hi", temperature=0.5)


def streamed(stage: Stage) -> None:
    list(stage.guard().stream("hi"))


def twice(stage: Stage) -> None:
    guard = stage.guard()
    guard.complete("hi"), guard.complete("hi")


def failed_over(stage: Stage) -> None:
    stage.openai.set(Status(503))
    stage.guard(breaker=CircuitBreaker(1)).complete("hi")


def retried(stage: Stage) -> None:
    stage.openai.script(Status(503), "hello")
    stage.guard(only=True, retry=Retry(base=0.0)).complete("hi")


def resumed(stage: Stage) -> None:
    stage.openai.script(Cut(after=2, how="reset"))
    list(stage.guard(on_stream_cut="resume").stream("hi"))


def refused_key(stage: Stage) -> None:
    stage.openai.revoke()
    guard = stage.guard(response_cache=False)
    guard.complete("hi"), guard.complete("hi")
    guard.enable(OPENAI)


def in_line(stage: Stage) -> None:
    guard = stage.guard(only=True, limits={"concurrency": 1}, response_cache=False)
    stream = guard.stream("hi")
    next(stream)
    with suppress(FailoverError):
        guard.complete("hi", deadline=0.2)
    stream.close()


def adjusted(stage: Stage) -> None:
    stage.guard().complete("hi", top_k=5)


def capped(stage: Stage) -> None:
    stage.openai.script(Reply("word " * 200, reasoning=""))
    stage.guard(budget=Budget(5, default_max_tokens=20)).complete("hi")


def broke(stage: Stage) -> None:
    with suppress(FailoverError):
        stage.guard(budget=0).complete("hi")


def dear(stage: Stage) -> None:
    stage.openai.script(Reply("yes", usage=Tokens(input=1_000_000, output=10)))
    stage.guard(budget=5).complete("hi", max_tokens=20)


def store_lost(stage: Stage) -> None:
    store = Losing()
    guard = stage.guard(store=store, response_cache=False)
    late = 0.0
    guard._core.now = lambda: Now(time.monotonic() + late, time.time() + late)
    store.lost = True
    guard.complete("hi")
    store.lost, late = False, 5.0
    guard.complete("hi")


SCENES: dict[type[events.Event], tuple[Callable[[Stage], None], dict[str, Any]]] = {
    events.CallStarted: (plain, {"streamed": False, "labels": {}, "hedges": 0}),
    events.CallFinished: (plain, {"target": OPENAI, "error": None, "cached": False}),
    events.AttemptStarted: (
        plain,
        {"target": OPENAI, "probe": False, "parameters": {"max_tokens": 16000, "temperature": 0.5}},
    ),
    events.AttemptFinished: (plain, {"target": OPENAI, "reason": "ok", "model": "gpt-6-luna", "finish_reason": "stop"}),
    events.FirstContent: (streamed, {"target": OPENAI}),
    events.PassedOver: (refused_key, {"target": OPENAI, "reason": "disabled"}),
    events.CacheHit: (twice, {"target": OPENAI}),
    events.BudgetReserved: (plain, {"target": OPENAI}),
    events.BudgetSettled: (plain, {"target": OPENAI}),
    events.Retrying: (retried, {"target": OPENAI, "reason": "server_error"}),
    events.FailedOver: (failed_over, {"source": OPENAI, "target": GROQ, "reason": "server_error"}),
    events.StreamResumed: (resumed, {"source": OPENAI, "target": GROQ}),
    events.Waiting: (in_line, {}),
    events.RequestAdjusted: (adjusted, {"target": OPENAI}),
    events.AnswerCapped: (capped, {"target": OPENAI, "max_tokens": 20}),
    events.BreakerChanged: (failed_over, {"target": OPENAI, "old": "closed", "new": "open"}),
    events.TargetDisabled: (refused_key, {"target": OPENAI, "reason": "auth"}),
    events.TargetEnabled: (refused_key, {"target": OPENAI}),
    events.BudgetRefused: (broke, {"target": OPENAI}),
    events.CostAboveReservation: (dear, {"target": OPENAI}),
    events.StoreLost: (store_lost, {"store": "the store", "detail": "no answer"}),
    events.StoreBack: (store_lost, {"store": "the store"}),
    events.Asked: (plain, {"target": OPENAI}),
    events.Answered: (plain, {"target": OPENAI}),
}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_event_is_told(stage: Stage, kind: type[events.Event]) -> None:
    scene, facts = SCENES[kind]
    scene(stage)
    found = stage.of(kind)
    assert found
    assert {name: getattr(found[0], name) for name in facts} == facts


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_event_is_frozen_and_says_what_it_means(kind: type[events.Event]) -> None:
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")  # what dataclasses write by themselves


def test_money_in_events_adds_up(stage: Stage) -> None:
    plain(stage)
    [reserved], [settled], [finished] = (
        stage.of(kind) for kind in (events.BudgetReserved, events.BudgetSettled, events.CallFinished)
    )
    assert reserved.amount == settled.reserved > settled.cost == finished.cost > 0


def test_a_call_is_told_in_order(stage: Stage) -> None:
    failed_over(stage)
    assert [type(event).__name__ for event in stage.told if not isinstance(event, events.CONTENT)] == [
        "CallStarted",
        "AttemptStarted",
        "AttemptFinished",
        "BreakerChanged",
        "FailedOver",
        "AttemptStarted",
        "AttemptFinished",
        "CallFinished",
    ]


def test_a_target_is_said_to_be_off_and_on_once_each(stage: Stage) -> None:
    refused_key(stage)
    assert len(stage.of(events.TargetDisabled)) == len(stage.of(events.TargetEnabled)) == 1


def test_only_those_who_ask_are_told_of_content(stage: Stage) -> None:
    heard: list[events.Event] = []
    guard = Failover([stage.servers["openai"].target("gpt-6-luna")], listeners=[heard.append])
    guard.complete(SECRET)
    assert heard
    assert SECRET not in repr(heard)


def test_a_reader_that_leaves_is_not_told_any_more(stage: Stage) -> None:
    heard: list[events.Event] = []
    guard = Failover([stage.servers["openai"].target("gpt-6-luna")], response_cache=False)
    leave = guard.subscribe_to_content(heard.append)
    guard.complete("hi")
    leave()
    guard.complete("hi")
    assert [type(event) for event in heard] == [events.Asked, events.Answered]


# ----------------------------------------------------------------- logging


@pytest.mark.parametrize("kind", logs.LINES, ids=lambda kind: kind.__name__)
def test_what_is_survived_is_one_line(stage: Stage, kind: type[events.Event], caplog: pytest.LogCaptureFixture) -> None:
    logger, level, words, _ = logs.LINES[kind]
    with caplog.at_level(logging.INFO, "failover"):
        SCENES[kind][0](stage)
    lines = [record for record in caplog.records if record.msg == words]
    assert len(lines) == len(stage.of(kind))
    assert lines[0].levelno == level
    assert lines[0].name == logger.name
    assert lines[0].name.startswith("failover.")
    assert KEY not in caplog.text


def test_a_call_that_goes_well_logs_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "failover"):
        stage.guard().complete("hi")
    assert [record for record in caplog.records if record.name.startswith("failover")] == []


def test_no_content_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.openai.set(Status(503, message=f"cannot answer {SECRET}"))
    stage.groq.script(Reply(SECRET))
    with caplog.at_level(logging.DEBUG, "failover"):
        stage.guard().complete(SECRET)
    assert caplog.records
    assert SECRET not in caplog.text


def test_the_library_is_silent_where_no_logging_is_set_up(capfd: pytest.CaptureFixture[str], stage: Stage) -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("failover").handlers)
    failed_over(stage)
    assert capfd.readouterr().err == ""
