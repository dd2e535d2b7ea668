"""LangChain models as targets.

``as_target(model)`` makes a ``Target`` whose attempts are the model's own ``_generate``, ``_stream`` and their async
twins: below LangChain's callbacks, so that one call stays one run in a trace, with its tokens counted once.

- Messages reach the model untouched: ``ChatFailover`` hands its own along as ``Request.origin``.  Only answers that a
  ChatFailover wrote are put back into their author's form: what this model said as it said it, what another said
  without that other's reasoning.  A request from elsewhere is translated into LangChain's messages.
- Tools go through the model's own ``bind_tools``, so its dialect, its structured output and its limits apply.
- Its SDK's retries are switched off where it lets us (``max_retries`` 0, also on clients it built already), so that
  they do not multiply ours.
- Its answers are judged like any others before they are believed.  A stream that stops without saying why is a cut one,
  if this model's streams do say why: the vendors' SDKs take a connection that was closed for the end.
- Its exceptions become failures by the same table as HTTP's, from the status, headers and body they carry.
  Cancellation and LangGraph's control flow are nobody's failure and pass through.

The clocks of an attempt hold exactly on an event loop.  A blocking call cannot be interrupted from outside: there
the model's own ``timeout`` bounds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableBinding

from failover._adopted import FINISH, anew, options_of, timed
from failover._shaper import chunks_of
from failover.attempter import Item, Job
from failover.dialects.judge import judge
from failover.errors import ConfigurationError
from failover.failures import classify_exception
from failover.settings import Target
from failover.types import (
    Answer,
    Chunk,
    Failure,
    Kind,
    Outcome,
    Request,
    Text,
    Thinking,
    Usage,
)
from langchain_failover._blocks import said_blocks
from langchain_failover._messages import messages_of
from langchain_failover._outward import for_model
from langchain_failover._results import ORIGIN
from langchain_failover._tools import openai_tool

ENDINGS = ("finish_reason", "stop_reason", "stopReason", "done_reason", "status")
"""Where LangChain's integrations put the reason (OpenAI and most others, Anthropic, Bedrock, Ollama, Responses)."""

TELL_THEIR_END = ("langchain_openai", "langchain_anthropic")
"""Packages whose classes say at the end of every stream why it ended; of others it is learned from their streams."""


def as_target(model: BaseChatModel | RunnableBinding[Any, Any], name: str | None = None, **fields: Any) -> Target:
    """A target that asks this LangChain chat model.

    name: default ``provider:model`` as the model reports itself to LangSmith.
    fields: whatever else a ``Target`` takes (``rpm``, ``price``, ``inputs``, ...).
    A model with bound keywords (``model.bind(...)``) keeps them.
    """
    chat, bound = _unbound(model)
    told = chat._get_ls_params()
    provider, called = told.get("ls_provider") or chat._llm_type, told.get("ls_model_name") or type(chat).__name__
    known = {"provider": provider, "model": called, **fields}
    author = f"{known['provider']}:{known['model']}"
    attempter = ModelAttempter(without_retries(chat), bound, author)
    return Target(name or f"{provider}:{called}", attempter=attempter, **known)


def _unbound(model: Any) -> tuple[BaseChatModel, Mapping[str, Any]]:
    kwargs: dict[str, Any] = {}
    while isinstance(model, RunnableBinding):
        kwargs, model = {**model.kwargs, **kwargs}, model.bound
    if not isinstance(model, BaseChatModel):
        raise ConfigurationError(f"as_target takes a LangChain chat model, not {type(model).__name__}")
    return model, kwargs


# ---------------------------------------------------------------- retries


def without_retries(model: BaseChatModel) -> BaseChatModel:
    """The same model with ``max_retries`` 0, also on SDK clients it holds; models without that field are unchanged."""
    if "max_retries" not in type(model).model_fields:
        return model
    copy = model.model_copy(update={"max_retries": 0})
    for name, held in list(vars(copy).items()):
        if (quiet := _quiet(held)) is not None:
            vars(copy)[name] = quiet
    return copy


def _quiet(held: Any) -> Any:
    """An SDK's client, or one of its resources, made not to retry; None for anything else.

    The vendors' SDKs are generated by one tool: clients have ``with_options``, resources hold theirs as ``_client``.
    """
    if _retries(held):
        return held.with_options(max_retries=0)
    client: Any = getattr(held, "_client", None)
    return type(held)(client.with_options(max_retries=0)) if _retries(client) else None


def _retries(client: Any) -> bool:
    return hasattr(client, "with_options") and isinstance(getattr(client, "max_retries", None), int)


# --------------------------------------------------------------- attempts


@dataclass(frozen=True, slots=True)
class _Call:
    messages: list[BaseMessage]
    stop: list[str] | None
    options: dict[str, Any]


class ModelAttempter:
    """Makes attempts with a LangChain chat model."""

    def __init__(self, model: BaseChatModel, bound: Mapping[str, Any], author: str) -> None:
        self._model = model
        self._bound = bound
        self._author = author
        self._habits = _Habits(_tells_its_end(model))

    @property
    def model(self) -> BaseChatModel:
        return self._model

    def attempt(self, job: Job) -> Outcome:
        try:
            call = self._call(job.request)
            result = self._model._generate(call.messages, stop=call.stop, run_manager=None, **call.options)
        except Exception as error:
            return _failure(error)
        return _answer(_message(result))

    async def aattempt(self, job: Job) -> Outcome:
        try:
            call = self._call(job.request)
            async with asyncio.timeout(min(job.budget, job.timeouts.whole)):
                result = await anew(lambda: self._agenerate(call))
        except Exception as error:
            return _failure(error)
        return _answer(_message(result))

    def stream(self, job: Job) -> Iterator[Item]:
        if not self._model._should_stream(async_api=False, stream=True):
            yield from _as_stream(self.attempt(job))
            return
        heard = _Heard(self._habits)
        try:
            call = self._call(job.request)
            chunks = self._model._stream(call.messages, stop=call.stop, run_manager=None, **call.options)
            with closing(cast("Any", chunks)):
                for chunk in chunks:
                    yield heard.take(chunk)
        except Exception as error:
            yield heard.broken(_failure(error))
            return
        yield from heard.ending()

    async def astream(self, job: Job) -> AsyncIterator[Item]:
        if not self._model._should_stream(async_api=True, stream=True):
            for item in _as_stream(await self.aattempt(job)):
                yield item
            return
        heard = _Heard(self._habits)
        try:
            call = self._call(job.request)
            async with aclosing(timed(lambda: self._astream(call), job, _has_content)) as chunks:
                async for chunk in chunks:
                    yield heard.take(chunk)
        except Exception as error:
            yield heard.broken(_failure(error))
            return
        for item in heard.ending():
            yield item

    def _agenerate(self, call: _Call) -> Awaitable[ChatResult]:
        return self._model._agenerate(call.messages, stop=call.stop, run_manager=None, **call.options)

    def _astream(self, call: _Call) -> AsyncGenerator[ChatGenerationChunk, None]:
        said = self._model._astream(call.messages, stop=call.stop, run_manager=None, **call.options)
        return cast("AsyncGenerator[ChatGenerationChunk, None]", said)

    def _call(self, request: Request) -> _Call:
        messages = for_model(request, self._author)
        options = {**self._bound, **options_of(request), **self._tools(request)}
        return _Call(messages, list(request.stop) or None, options)

    def _tools(self, request: Request) -> Mapping[str, Any]:
        """The keywords that the model's own ``bind_tools`` would bind."""
        if not request.tools:
            return {}
        choice = {"tool_choice": _langchain_choice(request.tool_choice)} if request.tool_choice else {}
        if request.parallel_tool_calls is not None:
            choice["parallel_tool_calls"] = request.parallel_tool_calls  # type: ignore[assignment]  # bind_tools takes anything
        bound = self._model.bind_tools([openai_tool(tool) for tool in request.tools], **choice)
        return cast("RunnableBinding[Any, Any]", bound).kwargs


def _langchain_choice(choice: str) -> str:
    return "any" if choice == "required" else choice


def _has_content(chunk: ChatGenerationChunk) -> bool:
    message = cast("AIMessageChunk", chunk.message)
    return bool(message.content or message.tool_call_chunks or message.additional_kwargs.get("reasoning_content"))


# --------------------------------------------------------------- failures


def _failure(error: Exception) -> Failure:
    """What the exception says as a value; LangGraph's control flow is raised on."""
    if any(cls.__name__ == "GraphBubbleUp" for cls in type(error).__mro__):
        raise error
    if isinstance(error, TimeoutError):  # one of our own clocks: it came about by a cancellation, but is none
        return Failure(Kind.TIMEOUT, "no answer in time", cause=error)
    return classify_exception(error, time.time())


# ---------------------------------------------------------------- answers


def _message(result: ChatResult) -> AIMessage:
    """The answer with everything the integration said about it, which LangChain itself would gather only later."""
    generation = result.generations[0]
    return _informed(cast("AIMessage", generation.message), generation, result.llm_output)


def _informed(
    message: AIMessage, generation: ChatGeneration | ChatGenerationChunk, output: Mapping[str, Any] | None = None
) -> AIMessage:
    notes = {**(output or {}), **(generation.generation_info or {}), **message.response_metadata}
    return message.model_copy(update={"response_metadata": notes})


def _answer(message: AIMessage) -> Outcome:
    (turn,) = messages_of([message])
    notes = message.response_metadata
    native = _ending(notes)
    answer = Answer(
        turn,
        finish_reason=FINISH.get(native.lower(), "stop"),
        native_finish_reason=native or None,
        usage=_usage(message.usage_metadata),
        model=str(notes.get("model_name") or notes.get("model") or ""),
        id=str(notes.get("id") or ""),
        extra={ORIGIN: _original(message)},
    )
    return judge(answer)


def _ending(notes: Mapping[str, Any]) -> str:
    return str(next((notes[key] for key in ENDINGS if notes.get(key)), ""))


def _original(message: AIMessage) -> dict[str, Any]:
    """What the model's own class will want to see again."""
    provider = message.response_metadata.get("model_provider")
    shape = message.response_metadata.get("output_version")
    notes = {"model_provider": provider, "output_version": shape}
    return {
        "content": message.content,
        "additional_kwargs": message.additional_kwargs,
        "response_metadata": {key: value for key, value in notes.items() if value},
    }


def _usage(counted: UsageMetadata | None) -> Usage | None:
    if counted is None:
        return None
    read: Mapping[str, Any] = counted.get("input_token_details", {})
    spent: Mapping[str, Any] = counted.get("output_token_details", {})
    return Usage(
        input_tokens=counted["input_tokens"],
        output_tokens=counted["output_tokens"],
        cache_read_tokens=read.get("cache_read") or 0,
        cache_write_tokens=read.get("cache_creation") or 0,
        cache_write_1h_tokens=read.get("ephemeral_1h_input_tokens") or 0,
        reasoning_tokens=spent.get("reasoning") or 0,
        audio_input_tokens=read.get("audio") or 0,
        audio_output_tokens=spent.get("audio") or 0,
    )


# ---------------------------------------------------------------- streams


def _as_stream(outcome: Outcome) -> Iterator[Item]:
    """For a model that does not stream: what it said at once, then the outcome."""
    if isinstance(outcome, Answer):
        yield chunks_of(outcome)
    yield outcome


@dataclass(slots=True)
class _Habits:
    """What is known of a model's streams."""

    tells_its_end: bool


def _tells_its_end(model: BaseChatModel) -> bool:
    return any(base.__module__.startswith(TELL_THEIR_END) for base in type(model).__mro__)


class _Heard:
    """What a streamed attempt has said so far."""

    def __init__(self, habits: _Habits) -> None:
        self._habits = habits
        self._chunks: list[ChatGenerationChunk] = []
        self._numbers: dict[str, int] = {}

    def take(self, chunk: ChatGenerationChunk) -> Chunk:
        """The new text or reasoning; tool calls are handed on when whole, at the end."""
        self._chunks.append(chunk)
        message = chunk.message
        blocks = list(said_blocks(message.content))
        text = "".join(block.text for block in blocks if isinstance(block, Text))
        thought = "".join(block.text for block in blocks if isinstance(block, Thinking))
        thought += message.additional_kwargs.get("reasoning_content") or ""
        if text:
            return Chunk(text=text, index=self._number("text"))
        return Chunk(reasoning=thought, index=self._number("reasoning")) if thought else Chunk()

    def ending(self) -> Iterator[Item]:
        if not self._chunks:
            yield Failure(Kind.EMPTY, "the stream ended without a chunk")
            return
        whole = self._whole()
        if self._was_cut(whole):
            yield self.broken(Failure(Kind.CUT, "the stream ended without saying why"))
            return
        outcome = _answer(whole)
        if isinstance(outcome, Answer) and (calls := outcome.message.tool_calls):
            yield Chunk(tool_calls=calls, index=self._number("tool_calls"))
        yield outcome

    def _was_cut(self, whole: AIMessage) -> bool:
        last = cast("AIMessageChunk", self._chunks[-1].message)
        told = bool(_ending(whole.response_metadata)) or getattr(last, "chunk_position", None) == "last"
        self._habits.tells_its_end |= told
        return self._habits.tells_its_end and not told

    def broken(self, failure: Failure) -> Failure:
        if not self._chunks:
            return failure
        partial = _answer(self._whole())
        return replace(failure, partial=partial) if isinstance(partial, Answer) else failure

    def _number(self, sort: str) -> int:
        return self._numbers.setdefault(sort, len(self._numbers))

    def _whole(self) -> AIMessage:
        first, *rest = self._chunks
        whole = first + rest if rest else first
        return _informed(cast("AIMessage", message_chunk_to_message(whole.message)), whole)
