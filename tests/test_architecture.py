"""ARCHITECTURE.md tells of the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from failover.rules import breaker
from failover.settings import CircuitBreaker

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WORDS = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_room_on_the_ground_plan_stands_and_every_room_that_stands_is_on_it() -> None:
    top = {path.name + "/" * path.is_dir() for path in (ROOT / "failover").iterdir()}
    rooms = {name for name in top if not name.startswith("__") and name.endswith((".py", "/"))}
    assert rooms - WORDS == set()


def test_every_test_that_is_named_is_there() -> None:
    named = {word for word in WORDS if word.startswith("tests/")}
    assert named
    assert [word for word in sorted(named) if not list(ROOT.glob(word.rstrip("/")))] == []


def test_the_breaker_takes_every_arrow_of_its_diagram_and_no_other() -> None:
    drawn = set(re.findall(r"^    (closed|open|half_open) --> (closed|open|half_open):", TEXT, re.MULTILINE))
    assert {edge for seed in range(50) for edge in walked(Random(seed))} == drawn


def walked(chance: Random) -> set[tuple[str, str]]:
    """The transitions of a breaker to which anything may happen."""
    rules = CircuitBreaker(failure_threshold=2, recovery_timeout=5, probes=chance.choice([1, 2]))
    state, edges = breaker.BreakerState(), set()
    for now in range(200):
        lease, moved = str(now), None
        deed = chance.random()
        if deed < 0.02 and state.phase != breaker.HALF_OPEN:
            moved = breaker.reset(state)
        elif breaker.check(rules, state, now) is None:
            if state.phase != breaker.CLOSED:
                opened = breaker.take(state, lease, now + 9.0)
                edges |= {opened[:2]} if opened else set()
            verdict = chance.choice([True, False, False, None])
            moved = breaker.settle(rules, state, lease, state.generation, verdict, 0.1, now, 0.0, chance.random)
        edges |= {moved[:2]} if moved else set()
    return edges
