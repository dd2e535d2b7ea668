"""The tests can fail: every fault put into the gates by hand is noticed by at least one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from failover.cache import flight
from failover.rules import breaker, budget, limiter, retry
from failover.store import lines, memory, state
from failover.store.memory import MemoryStore
from tests import test_cache
from tests.gates import test_breaker, test_budget, test_limiter, test_lines, test_memory_store, test_retry
from tests.gates.conformance import SCRIPTS, trace
from tests.gates.mutants import MUTANTS, Mutant, planted
from tests.gates.walks import walk
from tests.gates.world import half

FIRST = {
    breaker: test_breaker,
    limiter: test_limiter,
    budget: test_budget,
    retry: test_retry,
    lines: test_lines,
    memory: test_memory_store,
    state: test_memory_store,
    flight: test_cache,
}
HEAVY = (
    "thread",
    "loop",
    "everybody_in_line",
    "cancelled_waiter",
    "fork",
    "the_log_is_bounded",
    "remembered_within_bounds",
    "ends_after_it_began",
    "never_holds_more",
)


def checks(module: ModuleType) -> Iterator[Callable[[], None]]:
    """Quick ones first: those about the module itself, scripts, a few walks, then all others."""
    own = FIRST[module]
    yield from light_ones(own)
    yield scripts
    yield walks
    for other in dict.fromkeys(FIRST.values()):
        if other is not own:
            yield from light_ones(other)


def light_ones(module: ModuleType) -> Iterator[Callable[[], None]]:
    for name, function in vars(module).items():
        light = name.startswith("test_") and not any(word in name for word in HEAVY)
        if light and not inspect.signature(function).parameters:
            yield function


def scripts() -> None:
    for script, expected in SCRIPTS.values():
        assert trace(MemoryStore(half), script) == expected


def walks() -> None:
    for seed in range(150):
        walk(seed)


def killer(module: ModuleType) -> str | None:
    """The first check that fails, if any."""
    for check in checks(module):
        try:
            check()
        except Exception:
            return check.__name__
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_a_fault_is_noticed(mutant: Mutant) -> None:
    with planted(mutant):
        assert killer(mutant.module) is not None, "nobody has noticed"


def test_without_a_fault_nothing_is_noticed() -> None:
    assert killer(breaker) is None


def test_there_are_faults_in_every_gate() -> None:
    counts = {module: sum(mutant.module is module for mutant in MUTANTS) for module in FIRST}
    assert all(count >= 5 for count in counts.values()), counts
    assert len(MUTANTS) >= 100
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
