"""Whole calls over a Redis server: through every door, in two round trips, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest

from failover import (
    AllTargetsFailed,
    Budget,
    Cache,
    ConfigurationError,
    Failover,
    FailoverError,
    Kind,
    Price,
    Retry,
    StoreUnavailable,
    Target,
)
from failover.attempter import Job
from failover.events import Event as Told
from failover.events import StoreBack, StoreLost
from failover.store.base import Now, wait_for
from failover.store.redis import RedisStore
from failover.types import Failure, Outcome
from tests.gates.world import half
from tests.kit.redis_server import Server, running
from tests.kit.virtual import ok
from tests.test_distant_stores import Scripted as Sudden


class Scripted(Sudden):
    """Answers when ``gate`` is open."""

    def __init__(self, *plays: Outcome, hang: bool = False, gate: asyncio.Event | None = None) -> None:
        super().__init__(*plays, hang=hang)
        self.gate = gate

    async def aattempt(self, job: Job) -> Outcome:
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        return await super().aattempt(job)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture(autouse=True)
def emptied(server: Server) -> None:
    server.client().flushall()


def build(server: Server, script: Scripted | None = None, **options: Any) -> Failover:
    options = {"response_cache": False, "budget": Budget(1, default_max_tokens=50), **options}
    return Failover([Target("a", attempter=script or Scripted(), price=Price(1, 1))], store=server.url, **options)


def round_trips(server: Server) -> int:
    stats = server.client().info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("eval", "evalsha"))


async def through(door: str, guard: Failover, prompt: str = "hi") -> Any:
    answer = getattr(guard, door)(prompt)
    match door:
        case "complete":
            return answer
        case "acomplete":
            return await answer
        case "stream":
            return list(answer)[-1].response
    return [chunk async for chunk in answer][-1].response


DOORS = ("complete", "acomplete", "stream", "astream")


@pytest.mark.parametrize("door", DOORS)
async def test_a_call_takes_two_round_trips(door: str, server: Server) -> None:
    guard = build(server)
    before = round_trips(server)
    assert (await through(door, guard)).content == "fine"
    assert round_trips(server) - before == 2
    assert guard.budget is not None
    assert guard.budget.reserved == 0
    await guard.aclose()


@pytest.mark.parametrize("door", DOORS)
async def test_with_the_shared_cache_it_takes_three_and_a_hit_one(door: str, server: Server) -> None:
    guard, other = build(server, response_cache=True), build(server, response_cache=True)
    before = round_trips(server)
    assert not (await through(door, guard)).cached
    assert round_trips(server) - before == 3
    hit = await through(door, other)
    assert (hit.cached, hit.content, hit.cost) == (True, "fine", 0)
    assert round_trips(server) - before == 4
    for each in guard, other:
        await each.aclose()


async def test_a_place_given_back_by_one_process_is_taken_by_a_caller_that_waits_in_another(server: Server) -> None:
    busy = Scripted(hang=True)
    one, other = (
        Failover([Target("a", attempter=script, price=Price(1, 1), concurrency=1)], store=server.url, max_wait=30.0)
        for script in (busy, Scripted())
    )
    first = asyncio.create_task(one.acomplete("hi"))
    await busy.asked.wait()
    before = round_trips(server)
    waiting = [asyncio.create_task(other.acomplete(f"hi {number}")) for number in range(3)]
    while round_trips(server) < before + 6:  # noqa: ASYNC110 - each has looked into the cache, and was refused
        await asyncio.sleep(0)
    assert not any(call.done() for call in waiting)
    first.cancel()
    assert [(await call).content for call in waiting] == ["fine"] * 3
    for each in one, other:
        await each.aclose()


SHARED = Cache(single_flight=True)


def pair_on(server: Server, one: Scripted, other: Scripted) -> tuple[Failover, Failover]:
    first, second = (build(server, script, response_cache=SHARED, retry=Retry(attempts=0)) for script in (one, other))
    return first, second


async def test_identical_calls_of_two_processes_make_one_upstream_call(server: Server) -> None:
    one, other = Scripted(gate=asyncio.Event()), Scripted()
    first, second = pair_on(server, one, other)
    leader = asyncio.create_task(first.acomplete("hi"))
    await one.asked.wait()
    follower = asyncio.create_task(second.acomplete("hi"))
    before = round_trips(server)
    while round_trips(server) < before + 4:  # noqa: ASYNC110 - it has looked, and looks again
        await asyncio.sleep(0)
    assert one.gate is not None
    one.gate.set()
    answers = await leader, await follower
    assert [(answer.content, answer.cached) for answer in answers] == [("fine", False), ("fine", True)]
    assert not other.asked.is_set()
    for each in first, second:
        await each.aclose()


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_whoever_follows_makes_the_call_when_the_leader_of_another_process_does_not(
    end: str, server: Server
) -> None:
    one, other = Scripted(Failure(Kind.BAD_REQUEST), gate=asyncio.Event()), Scripted()
    first, second = pair_on(server, one, other)
    leader = asyncio.create_task(first.acomplete("hi"))
    await one.asked.wait()
    follower = asyncio.create_task(second.acomplete("hi"))
    await asyncio.sleep(0)
    assert one.gate is not None
    leader.cancel() if end == "cancelled" else one.gate.set()
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else FailoverError):
        await leader
    assert (await follower).content == "fine"
    assert not server.client().keys("*claim:*")
    for each in first, second:
        await each.aclose()


def test_single_flight_between_processes_needs_a_store_between_them() -> None:
    with pytest.raises(ConfigurationError, match="single_flight"):
        Failover([Target("a", attempter=Scripted(), price=Price(1, 1))], response_cache=SHARED)


async def test_a_cancelled_call_leaves_nothing_behind(server: Server) -> None:
    script = Scripted(hang=True)
    guard = build(server, script)
    call = asyncio.create_task(guard.acomplete("hi"))
    await script.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert guard.budget is not None
    assert guard.budget.reserved == 0
    assert server.client().zcard("failover:{default}:expiries") == 0
    await guard.aclose()


def test_one_guard_serves_any_number_of_event_loops(server: Server) -> None:
    guard = build(server)
    for _ in range(3):
        assert asyncio.run(guard.acomplete("hi")).content == "fine"
    connections = server.client().info("clients")["connected_clients"]
    assert guard.complete("hi").content == "fine"
    assert server.client().info("clients")["connected_clients"] <= connections + 1
    guard.close()


def test_a_lost_server_refuses_money_and_is_told_of_once(server: Server) -> None:
    heard: list[Told] = []
    with running() as own:
        guard = build(own, listeners=[heard.append])
        guard.complete("hi")
        own.kill()
        for _ in range(2):
            with pytest.raises(AllTargetsFailed) as refused:
                guard.complete("hi")
            assert isinstance(refused.value.exceptions[0], StoreUnavailable)
        own.start()
        back = guard._core.now
        guard._core.now = lambda: back()._replace(mono=back().mono + 5.0)
        with pytest.raises(AllTargetsFailed, match="forgotten"):
            guard.complete("hi")
        guard._core.now = lambda: back()._replace(mono=back().mono + 10.0)
        assert guard.complete("hi").content == "fine"
        assert guard.budget is not None
        assert guard.budget.spent * 10**6 == 30  # two answers of ten and five tokens: the first is not forgotten
        guard.close()
    told = [type(event) for event in heard if isinstance(event, StoreLost | StoreBack)]
    assert told == [StoreLost, StoreBack]


def test_a_server_that_is_killed_and_started_again_in_the_middle_of_it_all_has_every_cent(server: Server) -> None:
    """Ten microdollars and five for each answer, whoever asked, and nothing stays reserved."""
    script, stop = Counted(), Event()
    with running("--appendonly", "yes", "--appendfsync", "always") as own:
        guard = build(own, script)
        threads = [Thread(target=keep_asking, args=(guard, stop)) for _ in range(4)]
        for thread in threads:
            thread.start()
        script.wait_for(50)
        own.kill()
        own.start()
        script.wait_for(script.answers + 50)
        stop.set()
        for thread in threads:
            thread.join()
        guard.complete("hi")  # brings along what is owed
        guard.complete("hi")
        assert guard.budget is not None
        assert (guard.budget.reserved, guard.budget.spent * 10**6) == (0, script.answers * 15)
        guard.close()


class Counted(Sudden):
    """Counts its answers."""

    answers = 0

    def attempt(self, job: Job) -> Outcome:
        self.answers += 1
        return super().attempt(job)

    def wait_for(self, answers: int) -> None:
        until = time.monotonic() + 30.0
        while self.answers < answers:
            assert time.monotonic() < until
            time.sleep(0.01)


def keep_asking(guard: Failover, stop: Event) -> None:
    while not stop.is_set():
        if not guard.try_complete("hi").success:
            stop.wait(0.01)  # refused while the store is lost


KEY = "sk-proj-a-key-that-nobody-may-see"


def test_no_key_lies_on_the_server(server: Server) -> None:
    guard = Failover(
        [Target("openai:gpt-6-luna", api_key=KEY, base_url="http://127.0.0.1:1", rpm=10)], store=server.url, budget=1
    )
    with pytest.raises(AllTargetsFailed):
        guard.complete("hi", max_retries=0)
    client = server.client()
    look = {"hash": client.hgetall, "list": lambda key: client.lrange(key, 0, -1), "zset": client.zscan}
    seen = [str(look[client.type(key)](key)) for key in client.scan_iter()]
    assert any("connection" in each or "failures" in each for each in seen)
    assert KEY not in "".join(seen)
    guard.close()


def test_without_a_budget_calls_go_on_while_the_server_is_lost() -> None:
    with running() as own:
        guard = build(own, budget=None)
        guard.complete("hi")
        own.kill()
        assert guard.complete("hi").content == "fine"
        guard.close()


def test_what_one_process_stored_another_reads(server: Server) -> None:
    one, other = (RedisStore(server.url, random=half, by_hand=True) for _ in range(2))
    rules = Cache(size=2, ttl=10.0)
    writes, reads = one.shared_cache(rules), other.shared_cache(rules)

    def put(name: str, time: float) -> None:
        writes.put(name.encode(), "model", ok(name), Now(time, time))
        wait_for(one.snapshot((), (), Now(time, time)))

    def got(name: str, time: float) -> str | None:
        hit = wait_for(reads.get(name.encode(), ["elsewhere", "model"], Now(time, time)))
        return hit and hit.answer.message.text

    put("a", 1.0)
    put("b", 2.0)
    assert got("a", 3.0) == "a"
    put("c", 4.0)  # the least recently used leaves
    assert [got(name, 5.0) for name in "abc"] == ["a", None, "c"]
    assert [got(name, 11.0) for name in "ac"] == [None, "c"]
    one.close()
    other.close()
