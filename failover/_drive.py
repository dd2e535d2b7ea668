"""Four doors to one flow: whole or streamed, with threads or with an event loop.

A driver does what a flow asks for and sends back what happened; it decides nothing.  This is the only code that
sleeps.  Whatever ends a call early (``CancelledError``, ``GeneratorExit``, ``KeyboardInterrupt``, an error in the
consumer's own code) is thrown into the flow, which gives back what it holds and lets it pass through untouched.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import cast

from failover._flow import CONTINUE, FIRST_CONTENT, Attempt, Command, Event, Flow, Sleep, Wait
from failover._shaper import Shaper, chunks_of
from failover.store.base import Ticket
from failover.types import Chunk, Outcome, Response

# ------------------------------------------------------------------- whole


def complete(flow: Flow) -> Response:
    """Drive a flow to its response, blocking this thread."""
    try:
        command = next(flow)
        while True:
            try:
                event = _perform(command)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        return cast(Response, done.value)


async def acomplete(flow: Flow) -> Response:
    """Drive a flow to its response on the running event loop."""
    try:
        command = next(flow)
        while True:
            try:
                event = await _aperform(command)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        return cast(Response, done.value)


def _perform(command: Command) -> Event:
    if isinstance(command, Attempt):
        return command.live.attempter.attempt(command.job)
    _rest(command)
    return None


async def _aperform(command: Command) -> Event:
    if isinstance(command, Attempt):
        return await command.live.attempter.aattempt(command.job)
    await _arest(command)
    return None


# ---------------------------------------------------------------- streamed


def stream(flow: Flow, shaper: Shaper) -> Generator[Chunk, None, None]:
    """Drive a flow, handing on its chunks; the last one carries the response."""
    try:
        command = next(flow)
        while True:
            try:
                event = yield from _relay(flow, command)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        yield from _ending(done.value, shaper)


def _relay(flow: Flow, command: Command) -> Generator[Chunk, None, Event]:
    if not isinstance(command, Attempt):
        _rest(command)
        return None
    feed, started = command.shaper.feed, False
    with closing(command.live.attempter.stream(command.job)) as items:
        for item in items:
            if not isinstance(item, Chunk):
                if (rest := command.shaper.flush()) is not None:
                    yield rest
                return item
            started = started or _began(flow)
            if (ready := feed(item)) is not None:
                yield ready
    raise AssertionError("an attempter ended its stream without an outcome")


async def astream(flow: Flow, shaper: Shaper) -> AsyncGenerator[Chunk, None]:
    """Drive a flow on the running event loop, handing on its chunks; the last one carries the response."""
    try:
        command = next(flow)
        while True:
            try:
                event: Event = None
                if isinstance(command, Attempt):
                    async with aclosing(_arelay(flow, command)) as items:
                        async for item in items:
                            if isinstance(item, Chunk):
                                yield item
                            else:
                                event = item
                else:
                    await _arest(command)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        for chunk in _ending(done.value, shaper):
            yield chunk


async def _arelay(flow: Flow, attempt: Attempt) -> AsyncGenerator[Chunk | Outcome, None]:
    """The chunks to hand on, and last the outcome."""
    feed, started = attempt.shaper.feed, False
    async with aclosing(attempt.live.attempter.astream(attempt.job)) as items:
        async for item in items:
            if not isinstance(item, Chunk):
                if (rest := attempt.shaper.flush()) is not None:
                    yield rest
                yield item
                return
            started = started or _began(flow)
            if (ready := feed(item)) is not None:
                yield ready
    raise AssertionError("an attempter ended its stream without an outcome")


def _began(flow: Flow) -> bool:
    """Tell the flow that content has come."""
    answer = flow.send(FIRST_CONTENT)
    assert answer is CONTINUE
    return True


def _ending(response: Response, shaper: Shaper) -> Generator[Chunk, None, None]:
    """What the caller does not have yet: all of an answer that came whole (cached, shared), and the response."""
    if not shaper.committed:
        yield from chunks_of(response.answer)
    yield Chunk(response=response)


# ----------------------------------------------------------------- waiting


def _rest(command: Command) -> None:
    match command:
        case Sleep(seconds=seconds):
            time.sleep(seconds)
        case Wait(ticket=ticket, seconds=seconds):
            _stand(ticket, seconds)
        case _:
            raise AssertionError(command)


async def _arest(command: Command) -> None:
    match command:
        case Sleep(seconds=seconds):
            await asyncio.sleep(seconds)
        case Wait(ticket=ticket, seconds=seconds):
            await _astand(ticket, seconds)
        case _:
            raise AssertionError(command)


def _stand(ticket: Ticket, seconds: float) -> None:
    called = threading.Event()
    ticket.wake = called.set
    try:
        if not ticket.woken:
            called.wait(min(seconds, threading.TIMEOUT_MAX))
    finally:
        ticket.wake = None


async def _astand(ticket: Ticket, seconds: float) -> None:
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    ticket.wake = lambda: _call_soon(loop, called)
    try:
        if not ticket.woken:
            async with asyncio.timeout(seconds):
                await called.wait()
    except TimeoutError:
        pass
    finally:
        ticket.wake = None


def _call_soon(loop: asyncio.AbstractEventLoop, called: asyncio.Event) -> None:
    """Wake a task from any thread; a loop that has been closed has nobody left to wake."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(called.set)
