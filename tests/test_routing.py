"""Who is asked first."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest

from failover import Price, Request
from failover.types import Message
from tests.kit.virtual import World, ok

ASK = Request((Message("user", "hi"),), max_tokens=100)


def served(world: World, calls: int) -> Counter[str]:
    world.guard._core.router._random = Random(5).random
    return Counter(world.send(ASK).target for _ in range(calls))


def test_weights_are_shares() -> None:
    world = World({"strategy": "weighted"}, a=ok(), b=ok()).target("a", weight=3)
    assert served(world, 4000)["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_cheapest_that_can_is_asked_first() -> None:
    world = World({"strategy": "cheapest"}, a=ok(), b=ok(), c=ok())
    world.target("a", price=Price(2, 2)).target("b", price=Price(1, 1), tools=False).target("c", price=Price(3, 3))
    assert served(world, 3) == {"b": 3}


@pytest.mark.parametrize("slow", [10.0, 1.0])
def test_a_slow_target_is_asked_only_to_be_measured(slow: float) -> None:
    plays: dict[str, Any] = {"a": (slow, ok()), "b": (0.1, ok()), "c": (0.1, ok()), "d": (0.1, ok())}
    assert served(World({"strategy": "fastest"}, **plays), 400)["a"] <= 8


def test_a_single_target_can_be_the_fastest() -> None:
    assert served(World({"strategy": "fastest"}, a=ok()), 3) == {"a": 3}


@pytest.mark.parametrize("strategy", ["round_robin", "priority", "weighted"])
def test_choosing_among_a_thousand_looks_at_no_more_than_it_needs(strategy: str) -> None:
    world = World({"strategy": strategy}, **{f"t{number}": ok() for number in range(1000)})
    looked = list(islice(world.guard._core.router.order(ASK, 0.0), 2))
    assert len(looked) == 2
    world.send(ASK)
    assert sum(world.calls().values()) == 1
