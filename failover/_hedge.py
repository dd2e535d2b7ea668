"""Hedging: a second call when the first is late, and whoever answers first wins.

The backup is a call of its own to the targets that the first has not asked, with its own lease and money; the loser
is cancelled, closed and settled.  A loser that was still silent, for longer than most answers take, has failed: so a
target that hangs opens its circuit, and stops costing a backup for every call.

Backups come out of the retry budget, so a slow day is not doubled (Dean and Barroso, "The Tail at Scale", CACM 2013).
Only event loops can do this: a blocked thread cannot start a second call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from failover import _drive
from failover._flow import Call
from failover.settings import Hedge
from failover.store.base import Io
from failover.types import Chunk, Response

T = TypeVar("T")
Task = asyncio.Task[T]
Running = tuple[Call, AsyncGenerator[Chunk, None]]
"""A call and its stream."""


async def complete(primary: Call, hedge: Hedge) -> Response:
    """``acomplete`` with a backup."""
    calls: dict[Task[Response], Call] = {_task(_drive.acomplete(primary.run())): primary}

    async def second() -> Task[Response] | None:
        backup = await _backup(primary)
        if backup is None:
            return None
        task = _task(_drive.acomplete(backup.run()))
        calls[task] = backup
        return task

    try:
        winner = await _race(next(iter(calls)), second, primary, hedge)
        _overtake((call for task, call in calls.items() if task is not winner), hedge)
        await _give_up(task for task in calls if task is not winner)
        return _with_losers(winner.result(), calls[winner], calls.values())
    finally:
        await _give_up(calls)


async def stream(primary: Call, hedge: Hedge) -> AsyncGenerator[Chunk, None]:
    """``astream`` with a backup: the race is for the first chunk."""
    streams: dict[Task[Chunk], Running] = {}

    def start(call: Call) -> Task[Chunk]:
        chunks = _drive.astream(call.run(), call.shaper)
        task = _task(_first(chunks))
        streams[task] = (call, chunks)
        return task

    async def second() -> Task[Chunk] | None:
        backup = await _backup(primary)
        return None if backup is None else start(backup)

    try:
        winner = await _race(start(primary), second, primary, hedge)
        losers = [task_and_stream for task_and_stream in streams.items() if task_and_stream[0] is not winner]
        _overtake((call for _, (call, _) in losers), hedge)
        await _close(losers)
        call, chunks = streams[winner]
        calls = [each for each, _ in streams.values()]
        yield _finished(winner.result(), call, calls)
        async for chunk in chunks:
            yield _finished(chunk, call, calls)
    finally:
        await _close(streams.items())


async def _race(
    first: Task[T], second: Callable[[], Awaitable[Task[T] | None]], primary: Call, hedge: Hedge
) -> Task[T]:
    """The task that won: the first to succeed, else the first one."""
    done, _ = await asyncio.wait({first}, timeout=primary.core.pace.late_after(hedge))
    backup: Task[T] | None = None if done else await second()
    pending = {first} if backup is None else {first, backup}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        good = next((task for task in done if not task.cancelled() and task.exception() is None), None)
        if good is not None:
            return good
    return first


async def _backup(primary: Call) -> Call | None:
    """A call to the targets that the first has not asked; None where there is none or no budget for it."""
    backup = second_of(primary)
    if backup is None:
        return None
    allows = primary.core.store.allow_retry(primary.core.now())
    return backup if (await _drive.finish(allows) if isinstance(allows, Io) else allows) else None


def second_of(primary: Call) -> Call | None:
    """The same call to the targets that the first has not asked; None where there is none."""
    asked = frozenset(candidate.live.index for candidate in primary.tried)
    if len(asked) == len(primary.core.lives):
        return None
    backup = Call(primary.core, primary.request, primary.streamed)
    backup.excluded, backup.hedges = asked, primary.number
    return backup


async def _first(chunks: AsyncGenerator[Chunk, None]) -> Chunk:
    return await anext(chunks)


def _finished(chunk: Chunk, winner: Call, calls: list[Call]) -> Chunk:
    if chunk.response is not None:
        chunk.response = _with_losers(chunk.response, winner, calls)
    return chunk


def _with_losers(response: Response, winner: Call, calls: Iterable[Call]) -> Response:
    """The whole price and trail: what the loser cost was spent for this answer too."""
    losers = [call for call in calls if call is not winner]
    if not losers:
        return response
    trail = (*(step for call in losers for step in call.trail), *response.trail)
    return replace(response, cost_nano=response.cost_nano + sum(call.spent for call in losers), trail=trail)


def _overtake(losers: Iterable[Call], hedge: Hedge) -> None:
    """They lose against an answer: from which silence on that is their targets' failure."""
    for call in losers:
        call.late_after = call.core.pace.usual(hedge.quantile)


def _task(work: Coroutine[Any, Any, T]) -> Task[T]:
    return asyncio.get_running_loop().create_task(work)


async def _give_up(tasks: Iterable[Task[Any]]) -> None:
    """Cancel what is still running, wait until it has given back what it held, and look at how it ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _close(streams: Iterable[tuple[Task[Chunk], Running]]) -> None:
    streams = list(streams)
    await _give_up(task for task, _ in streams)
    for _, (_, chunks) in streams:
        await chunks.aclose()
