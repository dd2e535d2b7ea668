"""The comparison with ``with_fallbacks`` that the documentation shows: its figures, without its waiting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from failover.testing import ScriptedProvider, serve

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "before_after.py"

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nobody closes ChatOpenAI


@pytest.fixture(scope="module")
def story() -> Any:
    spec = spec_from_file_location("before_after", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["before_after"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def world(story: Any) -> Iterator[Any]:
    with serve(ScriptedProvider("openai"), ScriptedProvider("groq")) as servers:
        yield story.World(servers)


@pytest.mark.parametrize(("death", "theirs"), [("key revoked (401)", (5, 0, 0)), ("empty answers (200)", (3, 0, 3))])
def test_a_dead_provider_costs_one_request_and_no_answer(story: Any, world: Any, death: str, theirs: Any) -> None:
    scores = story.compare(world, story.DEATHS[death])
    assert [(each.wasted, each.errors, each.wrong) for each in scores] == [theirs, (1, 0, 0)]
    assert death in story.table({death: scores})


def test_a_stream_that_was_cut_is_finished(story: Any, world: Any) -> None:
    assert story.cut(world, story.with_fallbacks) == "The ticket to Lisbon "
    assert story.cut(world, story.with_failover, on_stream_cut="resume") == "The ticket to Lisbon costs 46 euros."
