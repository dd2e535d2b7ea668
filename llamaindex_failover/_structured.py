"""Answers as objects: three ways to ask for one, and which of them a set of targets understands.

``Way`` says how to ask (what is added to the call) and how to read the answer:

    TOOL     the model must call one tool whose parameters are the object     (targets that can be forced)
    SCHEMA   the model must answer in JSON that fits a schema                 (targets with structured output)
    PROMPT   the model is asked in words for JSON                             (every target)

The first way that *every* target understands is taken, so that any of them can stand in for any other; a way that only
some understand would quietly shrink the set that a call can survive on.  Streams prefer SCHEMA to TOOL: a tool call is
handed on only when it is whole, JSON text arrives piece by piece and can be shown as it grows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
    TextBlock,
)
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.program.streaming_utils import process_streaming_content_incremental
from pydantic import BaseModel, ValidationError

from failover.facts import Facts
from failover.types import JsonFormat
from llamaindex_failover._results import text_of
from llamaindex_failover._tools import described, selections

M = TypeVar("M", bound=BaseModel)


class StructuredOutputError(ValueError):
    """No model of this call wrote what was asked for.  ``text`` is what it wrote instead."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message, text)
        self.text = text

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Way:
    """``options`` join the call, ``phrase`` changes its messages, ``find`` gives the object's JSON or its fields.

    ``understood`` tells from a target's abilities whether it knows this way.
    """

    understood: Callable[[Facts], bool]
    options: Callable[[type[BaseModel]], Mapping[str, Any]]
    phrase: Callable[[type[BaseModel], list[ChatMessage]], list[ChatMessage]]
    find: Callable[[ChatResponse], Any]


def _same(wanted: type[BaseModel], messages: list[ChatMessage]) -> list[ChatMessage]:
    return messages


def _one_tool(wanted: type[BaseModel]) -> Mapping[str, Any]:
    tool = described(get_function_tool(wanted))
    return {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}


def _schema(wanted: type[BaseModel]) -> Mapping[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", wanted.__name__)
    return {"response_format": JsonFormat(wanted.model_json_schema(), name)}


def _in_words(wanted: type[BaseModel], messages: list[ChatMessage]) -> list[ChatMessage]:
    """The wish, at the end of what the user said last."""
    wish = TextBlock(text=PydanticOutputParser(output_cls=wanted).get_format_string(escape_json=False))
    if not messages or messages[-1].role != MessageRole.USER:
        return [*messages, ChatMessage(role=MessageRole.USER, blocks=[wish])]
    said = messages[-1]
    return [*messages[:-1], said.model_copy(update={"blocks": [*said.blocks, wish]})]


def _nothing(wanted: type[BaseModel]) -> Mapping[str, Any]:
    return {}


def _called(response: ChatResponse) -> Any:
    """The fields of the first call; a model that was not forced may have answered in text."""
    calls = selections(response.message)
    return calls[0].tool_kwargs if calls else _written(response)


def _written(response: ChatResponse) -> str:
    """The JSON object in the text, without the fences and the talk that models put around it."""
    text = text_of(response.message)
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if start < end else text


TOOL = Way(lambda facts: facts.tools and facts.forced_tool_choice, _one_tool, _same, _called)
SCHEMA = Way(lambda facts: facts.structured_output, _schema, _same, _written)
PROMPT = Way(lambda facts: True, _nothing, _in_words, _written)

WHOLE = (TOOL, SCHEMA, PROMPT)
STREAMED = (SCHEMA, TOOL, PROMPT)


def way_for(abilities: Sequence[Facts], ways: Sequence[Way]) -> Way:
    """The first way that every target understands."""
    return next(way for way in ways if all(map(way.understood, abilities)))


def read(way: Way, wanted: type[M], response: ChatResponse) -> M:
    found = way.find(response)
    try:
        return wanted.model_validate_json(found) if isinstance(found, str) else wanted.model_validate(found)
    except ValidationError as error:
        who = response.additional_kwargs.get("failover", {}).get("target", "the model")
        text = text_of(response.message)
        raise StructuredOutputError(f"{who} wrote no valid {wanted.__name__}: {error}", text) from error


# ----------------------------------------------------------------- streams


class Growing:
    """An object that becomes visible while it is written: ``feed`` gives it anew whenever there is more of it."""

    def __init__(self, way: Way, wanted: type[M]) -> None:
        self._way = way
        self._wanted = wanted
        self._partial: BaseModel | None = None
        self._last: ChatResponse | None = None

    def feed(self, response: ChatResponse) -> BaseModel | None:
        """The partial object, or None when nothing new can be seen.  Its missing fields are None."""
        self._last = response
        if not response.delta or self._way is TOOL:
            return None
        seen = process_streaming_content_incremental(_json_only(response), self._wanted, self._partial)
        if seen == self._partial:
            return None
        self._partial = seen
        return seen

    def end(self) -> BaseModel:
        """The whole object, checked.  Raises ``StructuredOutputError`` where there is none."""
        assert self._last is not None  # a stream of answers is never empty
        return read(self._way, self._wanted, self._last)


def _json_only(response: ChatResponse) -> ChatResponse:
    text = text_of(response.message)
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text[max(0, text.find("{")) :]))


def growing(way: Way, wanted: type[M], responses: ChatResponseGen) -> Generator[BaseModel, None, None]:
    growth = Growing(way, wanted)
    with closing(responses):
        for response in responses:
            if (seen := growth.feed(response)) is not None:
                yield seen
    yield growth.end()


async def agrowing(way: Way, wanted: type[M], responses: ChatResponseAsyncGen) -> AsyncGenerator[BaseModel, None]:
    growth = Growing(way, wanted)
    async with aclosing(responses):
        async for response in responses:
            if (seen := growth.feed(response)) is not None:
                yield seen
    yield growth.end()
