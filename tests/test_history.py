"""What is remembered of calls and targets, and how it is told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from failover import AllTargetsFailed, Cache, Kind, Price, Retry
from failover.events import BreakerChanged, Event, TargetDisabled, TargetEnabled
from failover.history import Memory, Span, StateChange
from failover.store.base import Now, TargetState
from failover.types import Step
from tests.kit.virtual import START, World, bad, ok

DOWN = bad(Kind.SERVER_ERROR, status=500, message="boom")


def lane(*changes: Event, now: str = "closed") -> list[tuple[float, float, str]]:
    """The lane of target ``a`` over ten seconds in which these changes happened."""
    memory = Memory()
    memory.steps.append((1, 0.0, Step("b", "ok")))
    memory.changes.extend(changes)
    history = memory.recall([TargetState("a", now)], 0, Now(10.0, START + 10.0))
    return [(span.start - START, span.end - START, span.state) for span in history.lanes["a"]]


def test_an_attempt_is_told_with_its_times_reason_and_cost() -> None:
    world = World({"budget": 1.0}, a=(1.5, DOWN), b=(0.5, ok()))
    world.send()
    first, second = world.guard.history().attempts
    assert (first.call, first.target, first.reason, first.status, first.detail) == (
        1,
        "a",
        "server_error",
        500,
        "boom",
    )
    assert (first.at, first.duration, first.sent, first.first_content) == (START, 1.5, True, None)
    assert (second.target, second.at, second.duration, second.cost) == ("b", START + 1.5, 0.5, Decimal("0.000015"))


def test_a_stream_tells_when_its_first_content_came() -> None:
    world = World(a=(2.0, ["x", ok("x")]))
    world.stream()
    assert world.guard.history().attempts[0].first_content == 2.0


def test_what_was_not_sent_is_told_too() -> None:
    world = World({"response_cache": Cache()}, a=ok())
    world.send()
    world.send()
    assert [(step.reason, step.sent, step.cost) for step in world.guard.history().attempts] == [
        ("ok", True, Decimal("0.000015")),
        ("cached", False, Decimal(0)),
    ]


def test_spending_grows_to_what_was_spent() -> None:
    world = World(a=(1.0, ok()))
    world.target("a", price=Price(1_000, 1_000))
    world.send()
    world.send()
    history = world.guard.history()
    assert [(spent.at - START, spent.total) for spent in history.spending] == [
        (0.0, Decimal(0)),
        (1.0, Decimal("0.015")),
        (2.0, Decimal("0.030")),
    ]


def test_the_oldest_is_forgotten_and_its_cost_is_where_spending_begins() -> None:
    world = World(a=(1.0, ok()))
    world.guard._core.memory = Memory(size=2)
    for _ in range(3):
        world.send()
    history = world.guard.history()
    assert [attempt.call for attempt in history.attempts] == [2, 3]
    assert history.since == START + 1.0
    assert [spent.total for spent in history.spending] == [Decimal(n) * 15 / 1_000_000 for n in (1, 2, 3)]


def test_an_orchestrator_that_did_nothing_has_an_empty_history() -> None:
    history = World(a=ok()).guard.history()
    assert (history.attempts, history.transitions) == ((), ())
    assert history.lanes == {"a": (Span(START, START, "closed"),)}


@pytest.mark.parametrize(
    ("changes", "now", "spans"),
    [
        ([], "closed", [(0, 10, "closed")]),
        ([], "open", [(0, 10, "open")]),
        ([], "disabled", [(0, 10, "disabled")]),
        ([BreakerChanged(4, 1, "a", "closed", "open")], "open", [(0, 4, "closed"), (4, 10, "open")]),
        (
            [BreakerChanged(4, 1, "a", "open", "half_open"), BreakerChanged(6, 1, "a", "half_open", "closed")],
            "closed",
            [(0, 4, "open"), (4, 6, "half_open"), (6, 10, "closed")],
        ),
        ([TargetDisabled(3, 1, "a", "")], "disabled", [(0, 3, "closed"), (3, 10, "disabled")]),
        ([TargetEnabled(3, 1, "a")], "closed", [(0, 3, "disabled"), (3, 10, "closed")]),
        (
            [
                BreakerChanged(2, 1, "a", "closed", "open"),
                TargetDisabled(3, 1, "a", ""),
                TargetEnabled(5, 0, "a"),
                BreakerChanged(5, 0, "a", "open", "closed"),
            ],
            "closed",
            [(0, 2, "closed"), (2, 3, "open"), (3, 5, "disabled"), (5, 10, "closed")],
        ),
        ([BreakerChanged(2, 1, "b", "closed", "open")], "closed", [(0, 10, "closed")]),
    ],
)
def test_a_lane_has_no_gap(changes: list[Event], now: str, spans: list[tuple[float, float, str]]) -> None:
    assert lane(*changes, now=now) == spans


def test_a_refused_key_shows_in_its_lane_until_somebody_enables_it() -> None:
    world = World({"retry": Retry(attempts=0)}, a=[(1.0, bad(Kind.AUTH, status=401)), ok()])
    with pytest.raises(AllTargetsFailed):
        world.send()
    world.time = 3.0
    world.guard.enable("a")
    world.time = 4.0
    history = world.guard.history()
    assert history.lanes["a"] == (
        Span(START, START + 1, "closed"),
        Span(START + 1, START + 3, "disabled"),
        Span(START + 3, START + 4, "closed"),
    )
    assert history.transitions == (
        StateChange(START + 1, "a", "closed", "disabled"),
        StateChange(START + 3, "a", "disabled", "closed"),
    )


def test_without_a_listener_the_routine_of_a_call_makes_no_event() -> None:
    world = World({"budget": 1.0, "response_cache": Cache()}, a=ok())
    told: list[Event] = []
    world.guard._core.emit = told.append
    world.send()
    world.send()
    assert told == []


def test_a_step_names_its_cost() -> None:
    world = World(a=ok(), b=ok())
    [step] = world.send().trail
    assert (step.cost, step.cost_nano) == (Decimal("0.000015"), 15_000)
