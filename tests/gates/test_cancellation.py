"""Cancelled at every point where a call can be: whatever it held is given back, and the next call finds its place.

For each way that a call can go, the call is run over and over, and ended at its first suspension, then at its second,
and so on until it is through before its end comes.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import pytest

from failover import Budget, Failover, Hedge, Response, Retry, Target, _deadline, _drive
from failover._connections import firmly
from failover.settings import CircuitBreaker, RateLimit
from failover.store.base import Ticket
from failover.testing import Cut, Hang, Reply, ScriptedProvider, Served, Slow, Status, serve

MODELS = {"openai": "gpt-6-luna", "groq": "openai/gpt-oss-120b"}
PATIENT = Retry(base=0.002, floor=1_000_000)  # the retry budget is not what is tried here
MOST = 200
"""Suspensions that a call has at most; more of them mean that it never ends."""

Door = Callable[[Failover, str], Any]


@dataclass
class Place:
    """Two providers over real HTTP, and the orchestrator over them; a scene sets both up."""

    providers: dict[str, ScriptedProvider]
    served: dict[str, Served]
    questions: Iterator[int] = field(default_factory=count)

    def guard(self, *names: str, limits: RateLimit | None = None, **options: Any) -> Failover:
        targets = [self.target(name) for name in names or MODELS]
        options = {"strategy": "priority", "response_cache": False, "retry": PATIENT, **options}
        guard = Failover(targets, **options)
        if limits is not None:
            for live in guard._core.lives:
                live.gates = replace(live.gates, limits=limits)
        return guard

    def target(self, name: str) -> Target:
        return self.served[name].target(MODELS[name], breaker=CircuitBreaker(failure_threshold=100_000))

    def plays(self, **plays: Any) -> None:
        """What each provider does from now on: one thing for ever, or a list, once, and then a plain answer."""
        for name, provider in self.providers.items():
            provider.script()
            play = plays.get(name)
            provider.set(None if isinstance(play, list) else play)
            if isinstance(play, list):
                provider.script(*play)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    answer = Reply("A short answer.", reasoning="")
    providers = {name: ScriptedProvider(name, respond=lambda question: answer) for name in MODELS}
    with serve(*providers.values()) as servers:
        yield Place(providers, {name: servers[name] for name in MODELS})


# ---------------------------------------------------------------- what is held


def held(guard: Failover) -> dict[str, Any]:
    """Everything that a call may hold, if any of it is held."""
    core = guard._core
    state, lines = core.store._state, core.store._lines  # type: ignore[attr-defined]
    return {
        name: what
        for name, what in {
            "leases": len(state.leases),
            "places": sum(desk.limiter.flying for desk in state.desks.values()),
            "requests": sum(desk.limiter.held_requests for desk in state.desks.values()),
            "probes": sum(len(desk.breaker.probes) for desk in state.desks.values()),
            "money": sum(int(budget.reserved * 10**9) for budget in guard.budgets),
            "lines": len(lines.by_name),
            "flights": len(core.flights),
            "in flight": sum(live.load.in_flight for live in core.lives),
            "connections": taken(guard),
        }.items()
        if what
    }


def taken(guard: Failover) -> list[str]:
    """Connections that are neither idle nor closed, in any pool of ours."""
    ends = [end for each in guard._connections for end in (each._line and each._line.close, *_ends(each)) if end]
    return [repr(each) for end in ends for each in _taken(end.__self__)]


def _ends(each: Any) -> list[Any]:
    return [kept._aclose for kept in each._lines.values()]


def _taken(carrier: Any) -> list[Any]:
    if session := getattr(carrier, "_session", None):  # of aiohttp
        return list(session.connector._acquired)
    pool = getattr(carrier, "_pool", None)
    return [each for each in pool.connections if not (each.is_idle() or each.is_closed())] if pool else []


# -------------------------------------------------------------- event loops


@types.coroutine
def counted(work: Awaitable[Any], at: int, do: Callable[[], object]) -> Generator[Any, Any, Any]:
    """``await work``, with ``do`` called just before its suspension number ``at``."""
    steps: Any = work.__await__()
    step, given = steps.send, None
    for number in count(1):
        try:
            future = step(given)
        except StopIteration as done:
            return done.value
        assert number < MOST, "it never ends"
        if number == at:
            do()
        try:
            step, given = steps.send, (yield future)
        except BaseException as error:
            step, given = steps.throw, error


async def cancelled_at(number: int, work: Coroutine[Any, Any, Any]) -> bool:
    """Run it as a task of its own and cancel that at suspension ``number``; False if it was through before."""
    hit = []

    async def run() -> Any:
        task = asyncio.current_task()
        assert task is not None
        return await counted(work, number, lambda: (hit.append(True), task.cancel()))

    with suppress(asyncio.CancelledError):
        await asyncio.create_task(run())
    return bool(hit)


async def settled(guard: Failover) -> dict[str, Any]:
    """What is still held and which tasks still run, once what was begun has had its chance to end."""
    for _ in range(100):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        left = held(guard) | ({"tasks": len(others)} if others else {})
        if not left:
            return {}
        await asyncio.sleep(0.002)
    return left


async def whole(guard: Failover, question: str) -> Response:
    return await guard.acomplete(question, max_tokens=50)


async def streamed(guard: Failover, question: str) -> Any:
    async with aclosing(guard.astream(question, max_tokens=50)) as chunks:
        return [chunk async for chunk in chunks][-1].response


async def dropped(guard: Failover, question: str) -> Any:
    """A stream that its consumer just forgets, as most do."""
    async for chunk in guard.astream(question, max_tokens=50):
        if chunk.text:
            return None
    return None


@dataclass(frozen=True)
class Scene:
    """How it is set up, by which door the call goes, and what runs beside it (which must come to its answer)."""

    options: dict[str, Any] = field(default_factory=dict)
    plays: dict[str, Any] = field(default_factory=dict)
    door: Door = whole
    beside: Door | None = None
    same: bool = False  # the same question is asked by all
    first: bool = False  # the one beside it goes first


SLOW = Slow(0.02)
SCENES: dict[str, Scene] = {
    "plain": Scene(),
    "stream": Scene(door=streamed),
    "a forgotten stream": Scene(door=dropped),
    "failover": Scene(plays={"openai": Status(503)}),
    "failover, streamed": Scene(plays={"openai": Status(503)}, door=streamed),
    "retry after a backoff": Scene({"names": ["openai"]}, {"openai": [Status(503), Status(503)]}),
    "waiting for the limiter": Scene(
        {"names": ["openai"], "limits": RateLimit(requests=1, window=0.03)}, beside=whole, first=True
    ),
    "waiting for a place": Scene(
        {"names": ["openai"], "limits": RateLimit(concurrency=1)}, {"openai": SLOW}, beside=whole, first=True
    ),
    "waiting for a place, streamed": Scene(
        {"names": ["openai"], "limits": RateLimit(concurrency=1)}, {"openai": SLOW}, streamed, beside=whole, first=True
    ),
    "waiting for money": Scene(
        {"names": ["openai"], "budget": Budget("1", default_max_tokens=50)},
        {"openai": SLOW},
        beside=whole,
        first=True,
    ),
    "leading a flight": Scene({"response_cache": True}, {"openai": SLOW}, beside=whole, same=True),
    "following a flight": Scene({"response_cache": True}, {"openai": SLOW}, beside=whole, same=True, first=True),
    "leading a streamed flight": Scene(
        {"response_cache": True}, {"openai": SLOW}, streamed, beside=streamed, same=True
    ),
    "hedged": Scene({"hedge": Hedge(after=0.01)}, {"openai": Slow(0.03), "groq": SLOW}),
    "hedged, the first hangs": Scene({"hedge": Hedge(after=0.005)}, {"openai": Hang()}),
    "hedged, streamed": Scene({"hedge": Hedge(after=0.01)}, {"openai": Slow(0.03), "groq": SLOW}, streamed),
    "a resumed stream": Scene({"on_stream_cut": "resume"}, {"openai": Cut(after=2)}, streamed),
    "a cache hit": Scene({"response_cache": True}, same=True, beside=whole, first=True),
}


@pytest.mark.parametrize("carrier", ["aiohttp", "httpx"])
@pytest.mark.parametrize("name", SCENES)
def test_a_call_cancelled_at_any_suspension_leaves_nothing_behind(
    name: str, carrier: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    if carrier == "httpx":
        monkeypatch.setitem(sys.modules, "failover._aiohttp", None)
    scene = SCENES[name]
    options = dict(scene.options)
    guard = place.guard(*options.pop("names", MODELS), **options)
    place.plays(**{who: play for who, play in scene.plays.items() if not isinstance(play, list)})

    async def once(number: int) -> bool:
        """One run, ended at its suspension ``number``."""
        place.plays(**scene.plays)
        question = f"{name} {next(place.questions)}"
        beside = None
        if scene.beside is not None and scene.first:
            beside = asyncio.create_task(scene.beside(guard, question if scene.same else "beside"))
            await asyncio.sleep(0 if number % 2 else 0.005)
        work = asyncio.create_task(cancelled_at(number, scene.door(guard, question)))
        if scene.beside is not None and not scene.first:
            await asyncio.sleep(0)
            beside = asyncio.create_task(scene.beside(guard, question if scene.same else "beside"))
        hit = await work
        if beside is not None:
            assert (await beside).content == "A short answer."
        del work, beside
        assert await settled(guard) == {}, f"at suspension {number}"
        assert (await guard.acomplete("and then?", deadline=5.0)).content, f"after suspension {number}"
        return hit

    async def all_of_them() -> int:
        for number in count(1):
            if not await once(number):
                await guard.aclose()
                return number
        raise AssertionError

    assert asyncio.run(all_of_them()) > 1


async def held_firmly(work: Coroutine[Any, Any, Any]) -> Any:
    return await firmly(work)


def test_a_cancellation_while_a_connection_is_given_back_comes_when_that_is_done() -> None:
    done: list[str] = []

    async def giving_back() -> None:
        for step in ("one", "two"):
            await asyncio.sleep(0)
            done.append(step)

    async def run() -> None:
        assert not await cancelled_at(3, held_firmly(giving_back()))
        done.clear()
        for number in (1, 2):
            assert await cancelled_at(number, held_firmly(giving_back()))
            assert done == ["one", "two"], number
            done.clear()

    asyncio.run(run())


def test_a_cancellation_that_was_put_off_comes_with_the_next_real_wait() -> None:
    woken: list[str] = []

    async def waiting() -> None:
        await asyncio.sleep(0)
        try:
            await asyncio.sleep(60)
        finally:
            woken.append("cancelled")

    async def run() -> None:
        assert await cancelled_at(1, held_firmly(waiting()))
        assert woken == ["cancelled"]

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_timeout_that_strikes_at_a_checkpoint_is_still_a_timeout() -> None:
    async def run() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                await counted(held_firmly(asyncio.sleep(0)), 1, lambda: (timeout.reschedule(0), time.sleep(0.01)))
        assert timeout.expired()
        await asyncio.sleep(0)  # and nothing is left of it

    asyncio.run(asyncio.wait_for(run(), 5))


# ------------------------------------------------------------------- threads


class Interrupting:
    """Raises ``KeyboardInterrupt`` in this thread at its blocking operation number ``at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.number, self.thread = 0, 0, threading.current_thread()
        for owner, name in (
            (_deadline._Backend, "connect_tcp"),
            (_deadline._Stream, "read"),
            (_deadline._Stream, "write"),
            (_drive, "_rest"),
        ):
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name)))

    def wrapped(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def blocking(*args: Any, **named: Any) -> Any:
            if threading.current_thread() is self.thread:
                self.number += 1
                if self.number == self.at:
                    raise KeyboardInterrupt
            return operation(*args, **named)

        return blocking

    def run(self, at: int, work: Callable[[], Any]) -> bool:
        """Whether it was interrupted before it was through."""
        self.at, self.number = at, 0
        try:
            work()
        except KeyboardInterrupt:
            return True
        finally:
            self.at = 0
        return False


def blocking(guard: Failover, question: str) -> Response:
    return guard.complete(question, max_tokens=50)


def read(guard: Failover, question: str) -> Response | None:
    return list(guard.stream(question, max_tokens=50))[-1].response


def forget(guard: Failover, question: str) -> None:
    """A stream that its consumer just forgets."""
    next(guard.stream(question, max_tokens=50))


BLOCKING: dict[str, Scene] = {
    name: replace(scene, door={whole: blocking, streamed: read, dropped: forget}[scene.door])
    for name, scene in SCENES.items()
    if "hedge" not in scene.options and not (scene.same and scene.first)
}


@pytest.mark.parametrize("name", BLOCKING)
def test_a_thread_interrupted_at_any_blocking_operation_leaves_nothing_behind(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, interrupting = BLOCKING[name], Interrupting(monkeypatch)
    options = dict(scene.options)
    guard = place.guard(*options.pop("names", MODELS), **options)
    for number in count(1):
        assert number < MOST, "it never ends"
        place.plays(**scene.plays)
        question = f"{name} {next(place.questions)}"
        beside = threading.Thread(target=blocking, args=(guard, question if scene.same else "beside"))
        if scene.beside is not None:
            beside.start()
        hit = interrupting.run(number, partial(scene.door, guard, question))
        if scene.beside is not None:
            beside.join(10)
            assert not beside.is_alive()
        assert held(guard) == {}, f"at operation {number}"
        assert guard.complete("and then?", deadline=5.0).content, f"after operation {number}"
        if not hit:
            break
    guard.close()
    assert number > 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "forgotten"])
def test_a_stream_that_is_left_after_any_chunk_leaves_nothing_behind(closed: bool, place: Place) -> None:
    guard = place.guard(budget=Budget(1, default_max_tokens=50), response_cache=True)
    place.plays()
    for number in count():
        chunks: Any = guard.stream(f"left {closed} {number}")
        got = [chunk for chunk, _ in zip(chunks, range(number), strict=False)]
        if closed:
            chunks.close()
        del chunks
        assert held(guard) == {}, f"after {number} chunks"
        if len(got) < number:
            break
    guard.close()
    assert number > 3


def test_a_waiting_thread_may_be_called_from_within_its_own_wait() -> None:
    """A garbage collection in the waiting thread can give a place back, whose next in line that very thread is."""
    ticket, done = Ticket(1), threading.Event()

    def collect(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename == threading.__file__ and ticket.wake is not None:
            ticket.wake()
        return collect

    def wait() -> None:
        sys.settrace(collect)
        _drive._stand(ticket, 60.0)
        sys.settrace(None)
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    while ticket.wake is None:
        time.sleep(0.001)
    ticket.notify()
    assert done.wait(10)
