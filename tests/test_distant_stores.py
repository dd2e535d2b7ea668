"""The four doors over a store outside this process: what is asked, in which order, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from failover import Budget, Failover, Hedge, Kind, Price, Retry, Target
from failover.attempter import Item, Job
from failover.types import Answer, Chunk, Failure, Outcome, Usage
from tests.kit.distant import DistantStore
from tests.kit.virtual import ok


class Scripted:
    """Answers at once, or never (``hang``); a stream says three words."""

    def __init__(self, *plays: Outcome, hang: bool = False) -> None:
        self.plays = list(plays) or [ok()]
        self.hang = hang
        self.asked = asyncio.Event()

    def next(self) -> Outcome:
        return self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]

    def attempt(self, job: Job) -> Outcome:
        return self.next()

    async def aattempt(self, job: Job) -> Outcome:
        self.asked.set()
        if self.hang:
            await asyncio.Event().wait()
        return self.next()

    def stream(self, job: Job) -> Iterator[Item]:
        for word in "one", "two", "three":
            yield Chunk(text=word)
        yield self.next()

    async def astream(self, job: Job) -> AsyncIterator[Item]:
        for item in self.stream(job):
            yield item


def build(*plays: Outcome, hang: bool = False, **options: Any) -> tuple[Failover, DistantStore]:
    store = DistantStore()
    target = Target("a", attempter=Scripted(*plays, hang=hang), price=Price(1, 1))
    options = {"response_cache": False, "budget": Budget(1, default_max_tokens=50), **options}
    return Failover([target], store=store, **options), store  # type: ignore[arg-type]  # it is one, by __getattr__


def nothing_is_held(store: DistantStore, guard: Failover) -> None:
    assert not store.near._state.leases
    assert guard.budget is not None
    assert guard.budget.reserved == 0
    assert guard.status()[0].in_flight == 0


async def test_every_door_does_what_the_store_has_yet_to_do() -> None:
    for streamed, door in ((False, "complete"), (True, "stream"), (False, "acomplete"), (True, "astream")):
        guard, store = build()
        answer = getattr(guard, door)("hi")
        if door == "acomplete":
            await answer
        elif door == "astream":
            assert [chunk.text async for chunk in answer if chunk.text] == ["one", "two", "three"]
        elif door == "stream":
            assert [chunk.text for chunk in answer if chunk.text] == ["one", "two", "three"]
        assert store.arrived == ["admit", *(["first_content"] if streamed else []), "settle"]
        nothing_is_held(store, guard)


async def test_a_retry_asks_for_leave_first() -> None:
    guard, store = build(Failure(Kind.SERVER_ERROR), ok(), retry=Retry(base=0.0))
    assert (await guard.acomplete("hi")).content == "fine"
    assert store.arrived == ["admit", "settle", "allow_retry", "admit", "settle"]


def test_closing_a_stream_early_settles_it() -> None:
    guard, store = build()
    chunks = guard.stream("hi")
    next(chunks)
    chunks.close()
    assert store.arrived == ["admit", "first_content", "abandon"]
    nothing_is_held(store, guard)


async def test_closing_an_async_stream_early_settles_it() -> None:
    guard, store = build()
    chunks = guard.astream("hi")
    await anext(chunks)
    await chunks.aclose()
    assert store.arrived == ["admit", "first_content", "abandon"]
    nothing_is_held(store, guard)


async def test_a_cancelled_admission_leaves_nothing_behind() -> None:
    guard, store = build()
    task = await cancelled_at(store, "admit", guard)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.arrived == ["admit", "undo"]
    nothing_is_held(store, guard)


async def test_a_settlement_that_was_begun_is_finished_however_often_it_is_cancelled() -> None:
    guard, store = build(Answer(ok().message, usage=Usage(10, 5)))
    task = await cancelled_at(store, "settle", guard)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.arrived == ["admit", "settle"]
    nothing_is_held(store, guard)
    assert guard.budget is not None
    assert guard.budget.spent > 0


async def test_a_cancelled_attempt_is_given_back_before_the_cancellation_goes_on() -> None:
    guard, store = build(hang=True)
    task = asyncio.create_task(guard.acomplete("hi"))
    await guard.targets[0].attempter.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.arrived == ["admit", "abandon"]
    nothing_is_held(store, guard)


async def test_a_coroutine_that_is_dropped_gives_back_what_it_holds() -> None:
    guard, store = build(hang=True)
    coroutine = guard.acomplete("hi")
    task = asyncio.ensure_future(_until_hung(coroutine, store))
    await task
    coroutine.close()
    assert store.arrived == ["admit", "abandon"]
    nothing_is_held(store, guard)


async def _until_hung(coroutine: Any, store: DistantStore) -> None:
    """Drive a coroutine by hand until its attempt hangs."""
    store.road = lambda: _nothing()
    while store.arrived != ["admit"]:
        waiting = coroutine.send(None)
        if waiting is not None:
            waiting._asyncio_future_blocking = False
            await asyncio.wait((waiting,))
    coroutine.send(None)


async def _nothing() -> None:
    pass


async def test_a_hedge_asks_for_leave_first() -> None:
    store = DistantStore()
    slow = Target("slow", attempter=Scripted(hang=True), price=Price(1, 1))
    quick = Target("quick", attempter=Scripted(), price=Price(1, 1))
    guard = Failover([slow, quick], store=store, strategy="priority", hedge=Hedge(after=0.001))  # type: ignore[arg-type]
    assert (await guard.acomplete("hi")).target == "quick"
    assert "allow_retry" in store.arrived
    assert not store.near._state.leases


async def cancelled_at(store: DistantStore, journey: str, guard: Failover) -> asyncio.Task[Any]:
    """A call that is cancelled twice while ``journey`` is under way; the road is free again afterwards."""
    free, begun = asyncio.Event(), asyncio.Event()

    async def road() -> None:
        if store.journeys[-1] == journey:
            begun.set()
            await free.wait()

    store.road = road
    task = asyncio.create_task(guard.acomplete("hi"))
    await begun.wait()
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    free.set()
    return task
