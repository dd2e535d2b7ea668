"""What the models of all frameworks need in order to be targets, whichever framework it is.

They speak OpenAI's words for most things; each integration translates the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from failover.attempter import Job
from failover.raised import chain
from failover.types import FinishReason, JsonFormat, Request

T = TypeVar("T")

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "incomplete": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "pause_turn": "pause",
    "model_context_window_exceeded": "context_window",
}
"""Finish reasons as integrations report them, in lower case."""

SAMPLING = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "thinking",
)


def options_of(request: Request) -> dict[str, Any]:
    """What a request says about how to answer, as keywords; without its tools, which each framework binds itself."""
    options = {name: value for name in SAMPLING if (value := getattr(request, name)) is not None}
    if request.response_format is not None:
        options["response_format"] = openai_format(request.response_format)
    return options


def openai_format(wanted: JsonFormat) -> dict[str, Any]:
    """As OpenAI's ``response_format``."""
    if wanted.schema is None:
        return {"type": "json_object"}
    noted = {"strict": wanted.strict, "description": wanted.description}
    schema = {"name": wanted.name, "schema": dict(wanted.schema)}
    return {"type": "json_schema", "json_schema": schema | {k: v for k, v in noted.items() if v is not None}}


MOST_STALE = 20
"""Connections that a model may have kept from event loops that are closed; each try finds, and ends, one."""


async def anew(ask: Callable[[], Awaitable[T]]) -> T:
    """``ask()``, and again where it met a connection of a closed event loop.

    SDKs keep them from one ``asyncio.run`` to the next, where they break before anything is sent: no one's failure.
    """
    for _ in range(MOST_STALE):
        try:
            return await ask()
        except Exception as error:
            if not _is_stale(error):
                raise
    return await ask()


async def _pieces_anew(ask: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """The same for a stream that has not begun."""

    async def begun() -> tuple[AsyncGenerator[T, None], T | None]:
        pieces = ask()
        return pieces, await anext(pieces, None)

    pieces, piece = await anew(begun)
    async with aclosing(pieces):
        while piece is not None:
            yield piece
            piece = await anext(pieces, None)


def _is_stale(error: Exception) -> bool:
    return any(isinstance(each, RuntimeError) and str(each) == "Event loop is closed" for each in chain(error))


async def timed(
    ask: Callable[[], AsyncGenerator[T, None]], job: Job, has_content: Callable[[T], bool]
) -> AsyncGenerator[T, None]:
    """The pieces of the stream that ``ask`` begins, each within its clock; those without content do not set it anew.

    Raises ``TimeoutError``.
    """
    clocks = job.timeouts
    ends = time.monotonic() + min(job.budget, clocks.total)
    due = min(ends, time.monotonic() + clocks.first_content)
    async with aclosing(_pieces_anew(ask)) as pieces:
        while True:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece
            if has_content(piece):
                due = min(ends, time.monotonic() + clocks.between_content)
