"""Every store leaves the same traces; and the state survives being written down between any two operations."""

from __future__ import annotations

import atexit
import dataclasses
import json
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from failover.store.base import Store
from failover.store.memory import MemoryStore
from failover.store.sqlite import SQLiteStore
from failover.store.state import State
from tests.gates.conformance import SCRIPTS, random_script, refusals_are_sentences, trace
from tests.gates.world import half, memory

hints_of = lru_cache(get_type_hints)


def thaw(kind: Any, data: Any) -> Any:
    """The value of a type that was written down as JSON."""
    if get_origin(kind) is UnionType:
        inner = [each for each in get_args(kind) if each is not NoneType]
        return None if data is None else thaw(inner[0], data)
    if dataclasses.is_dataclass(kind):
        hints = hints_of(kind)
        return kind(**{name: thaw(hints[name], value) for name, value in data.items()})  # type: ignore[operator]
    if get_origin(kind) is list:
        return [thaw(get_args(kind)[0], each) for each in data]
    if get_origin(kind) is dict:
        return {name: thaw(get_args(kind)[1], each) for name, each in data.items()}
    return data


class WrittenDown(MemoryStore):
    """Keeps its state as JSON between operations, as a store in a file does."""

    def __init__(self) -> None:
        super().__init__(half)

    def _at(self, now: Any) -> Any:
        state = self._state = thaw(State, json.loads(json.dumps(dataclasses.asdict(self._state))))
        assert isinstance(state, State)
        return super()._at(now)


def sqlite() -> Store:
    """In a file of its own, in a directory that goes with the tests' process."""
    return SQLiteStore(Path(_files.name) / f"{next(_numbers)}.db", random=half)


_files = TemporaryDirectory()
atexit.register(_files.cleanup)
_numbers = count()
STORES: dict[str, Callable[[], Store]] = {"memory": memory, "written down": WrittenDown, "sqlite": sqlite}
every_store = pytest.mark.parametrize("make", STORES.values(), ids=STORES)


@every_store
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_the_trace_that_it_must(name: str, make: Callable[[], Store]) -> None:
    script, expected = SCRIPTS[name]
    assert trace(make(), script) == expected


def test_all_stores_agree_on_scripts_at_random() -> None:
    for seed in range(15):
        script = random_script(seed, 80)
        first, *others = [trace(make(), script) for make in STORES.values()]
        assert all(other == first for other in others), seed


def test_scripts_at_random_reach_every_kind_of_decision() -> None:
    said = " ".join(line for seed in range(60) for line in trace(memory(), random_script(seed)))
    for word in ("sent", "probe", "circuit_open", "rate_limited", "concurrency", "over_limit", "budget_spent"):
        assert word in said
    for word in ("budget_pending", "disabled", "half_open", "retry", "in line"):
        assert word in said


@every_store
def test_what_a_refusal_says_is_a_sentence_for_people(make: Callable[[], Store]) -> None:
    refusals_are_sentences(make)
