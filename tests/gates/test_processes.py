"""A forked child goes on with what was built before the fork, over connections and with locks of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from failover import Failover
from failover.testing import Reply, ScriptedProvider, Slow, serve

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture
def openai() -> ScriptedProvider:
    return ScriptedProvider("openai", respond=lambda question: Reply(f"To {question.request.messages[-1].text}"))


@pytest.fixture
def guard(openai: ScriptedProvider) -> Iterator[Failover]:
    with serve(openai) as servers, Failover([servers["openai"].target("gpt-6-luna")]) as guard:
        yield guard


def in_child(work: Callable[[], object]) -> int:
    """The process id of a forked child that does this; its exit code says whether it could."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def done(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def asked(guard: Failover, who: str) -> None:
    for number in range(10):
        assert guard.complete(f"{who} {number}", deadline=10.0).content == f"To {who} {number}"


def test_parent_and_children_call_at_the_same_time_and_each_gets_its_own_answers(guard: Failover) -> None:
    asked(guard, "before")
    children = [in_child(lambda number=number: asked(guard, f"child {number}")) for number in range(3)]  # type: ignore[misc]
    asked(guard, "parent")
    assert all(list(map(done, children)))


def test_a_child_of_an_event_loops_process_has_connections_of_its_own(guard: Failover) -> None:
    async def ask(who: str) -> None:
        assert (await guard.acomplete(who, deadline=10.0)).content == f"To {who}"

    async def run() -> None:
        await ask("before")
        child = in_child(lambda: asked(guard, "child"))
        await ask("parent")
        assert done(child)
        await guard.aclose()

    asyncio.run(run())


def test_a_child_waits_for_no_call_of_its_parents(guard: Failover, openai: ScriptedProvider) -> None:
    openai.script(Slow(0.5))
    leading = threading.Thread(target=guard.complete, args=("the same",))
    leading.start()
    assert openai.wait_until(lambda provider: provider.calls == 1)
    flights, cache = guard._core.flights, guard._core.cache
    with flights._lock, cache._lock:  # type: ignore[union-attr]
        child = in_child(lambda: guard.complete("the same", deadline=10.0))
    assert done(child)
    leading.join()
    assert openai.calls == 2
