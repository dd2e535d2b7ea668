"""Four doors to one flow: whole or streamed, with threads or with an event loop.

A driver does what a flow asks for and sends back what happened; it decides nothing.  This is the only code that
sleeps.  Whatever ends a call early (``CancelledError``, ``GeneratorExit``, ``KeyboardInterrupt``, an error in the
consumer's own code) is thrown into the flow, which gives back what it holds and lets it pass through untouched.
``GeneratorExit`` goes in as ``Closed``: thrown as it is, it would close the generators a flow delegates to, and one
that is being closed cannot ask for anything more.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from failover._flow import CONTINUE, FIRST_CONTENT, Attempt, Command, Event, Flow, Sleep, Wait
from failover._shaper import Shaper, chunks_of
from failover.store.base import Io, Ticket
from failover.types import Answer, Chunk, Failure, Outcome, Response

T = TypeVar("T")


class Closed(BaseException):
    """The caller has closed its stream, or dropped its coroutine."""


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
        response: Response = done.value
        return response


async def acomplete(flow: Flow) -> Response:
    """Drive a flow to its response on the running event loop."""
    try:
        command = next(flow)
        while True:
            try:
                event = await _aperform(command)
            except GeneratorExit:  # there is no loop any more to await anything on
                command = flow.throw(Closed())
                while True:
                    command = flow.send(_perform(command))
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        response: Response = done.value
        return response
    except Closed:
        raise GeneratorExit from None


def _thrown(flow: Flow, error: BaseException) -> Command:
    return flow.throw(Closed() if isinstance(error, GeneratorExit) else error)


def _perform(command: Command) -> Event:
    if isinstance(command, Attempt):
        return command.live.attempter.attempt(command.job)
    return _rest(command)


async def _aperform(command: Command) -> Event:
    if isinstance(command, Attempt):
        return await command.live.attempter.aattempt(command.job)
    return await _arest(command)


# ---------------------------------------------------------------- streamed


def stream(flow: Flow, shaper: Shaper) -> Generator[Chunk, None, None]:
    """Drive a flow, handing on its chunks; the last one carries the response."""
    try:
        command = next(flow)
        while True:
            try:
                event = yield from _relay(flow, command)
            except BaseException as error:
                command = _thrown(flow, error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        yield from _ending(done.value, shaper)
    except Closed:
        raise GeneratorExit from None


def _relay(flow: Flow, command: Command) -> Generator[Chunk, None, Event]:
    if not isinstance(command, Attempt):
        return _rest(command)
    feed, started = command.shaper.feed, False
    with closing(command.live.attempter.stream(command.job)) as items:
        for item in items:
            if isinstance(item, Answer | Failure):
                if (rest := command.shaper.flush()) is not None:
                    yield rest
                return item
            started = started or _began(flow)
            for chunk in item if isinstance(item, list) else (item,):
                if (ready := feed(chunk)) is not None:
                    yield ready
    raise AssertionError("an attempter ended its stream without an outcome")


def _began(flow: Flow) -> bool:
    """Tell the flow that content has come."""
    answer = flow.send(FIRST_CONTENT)
    while isinstance(answer, Io):
        answer = flow.send(answer.do())
    assert answer is CONTINUE
    return True


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
                    event = await _arest(command)
            except BaseException as error:
                command = _thrown(flow, error)
            else:
                command = flow.send(event)
    except StopIteration as done:
        for chunk in _ending(done.value, shaper):
            yield chunk
    except Closed:
        raise GeneratorExit from None


async def _arelay(flow: Flow, attempt: Attempt) -> AsyncGenerator[Chunk | Outcome, None]:
    """The chunks to hand on, and last the outcome."""
    feed, started = attempt.shaper.feed, False
    async with aclosing(attempt.live.attempter.astream(attempt.job)) as items:
        async for item in items:
            if isinstance(item, Answer | Failure):
                if (rest := attempt.shaper.flush()) is not None:
                    yield rest
                yield item
                return
            started = started or await _abegan(flow)
            for chunk in item if isinstance(item, list) else (item,):
                if (ready := feed(chunk)) is not None:
                    yield ready
    raise AssertionError("an attempter ended its stream without an outcome")


async def _abegan(flow: Flow) -> bool:
    """Tell the flow that content has come."""
    answer = flow.send(FIRST_CONTENT)
    while isinstance(answer, Io):
        answer = flow.send(await finish(answer))
    assert answer is CONTINUE
    return True


def _ending(response: Response, shaper: Shaper) -> Generator[Chunk, None, None]:
    """What the caller does not have yet: all of an answer that came whole (cached, shared), and the response."""
    if not shaper.committed:
        yield from chunks_of(response.answer)
    yield Chunk(response=response)


# ---------------------------------------------------- waiting, and the stores


def _rest(command: Command) -> Any:
    match command:
        case Io():
            return command.do()
        case Sleep(seconds=seconds):
            return time.sleep(seconds)
        case Wait(ticket=ticket, seconds=seconds):
            return _stand(ticket, seconds)
    raise AssertionError(command)


async def _arest(command: Command) -> Any:
    match command:
        case Io():
            return await finish(command)
        case Sleep(seconds=seconds):
            return await asyncio.sleep(seconds)
        case Wait(ticket=ticket, seconds=seconds):
            return await _astand(ticket, seconds)
    raise AssertionError(command)


async def finish(io: Io[T]) -> T:
    """Do what a store has yet to do.  What has begun is finished; a cancellation meanwhile is raised afterwards.

    So a lease is never half given back.  A store answers or gives up within its own timeout.
    """
    doing = asyncio.ensure_future(io.ado())
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not doing.cancelled():
            doing.exception()  # looked at, so that nobody complains of it
        raise cancelled
    return doing.result()


def _stand(ticket: Ticket, seconds: float) -> None:
    called: SimpleQueue[None] = SimpleQueue()  # a garbage collection in this very thread may call while it waits
    ticket.wake = lambda: called.put(None)
    try:
        if not ticket.woken:
            called.get(timeout=min(seconds, threading.TIMEOUT_MAX))
    except Empty:
        pass
    finally:
        ticket.wake = None


async def _astand(ticket: Ticket, seconds: float) -> None:
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    ticket.wake = partial(loop.call_soon_threadsafe, called.set)
    try:
        if not ticket.woken:
            async with asyncio.timeout(seconds):
                await called.wait()
    except TimeoutError:
        pass
    finally:
        ticket.wake = None
