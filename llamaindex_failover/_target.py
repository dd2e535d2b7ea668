"""LlamaIndex LLMs as targets.

``as_target(llm)`` makes a ``Target`` whose attempts are the LLM's own chats, unannounced (``_beneath``).

- It gets the caller's own messages, copied and made fit for it (``_origin``); what failover added (the text so far,
  when a cut stream is continued) comes after them.  A request from another framework is translated.
- Tools go through its own ``_prepare_chat_with_tools``.  Integrations write tool names in their wire's alphabet
  (``math.add`` becomes ``math_add``) and do not write them back; that is done here.
- Its exceptions become failures by the same table as HTTP's.
- A stream in OpenAI's or Anthropic's shape that ends without a finish reason was cut, whatever the integration makes
  of it.

The clocks of an attempt hold exactly on an event loop.  A blocking call cannot be interrupted from outside: there the
LLM's own timeout bounds it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import BaseTool, ToolMetadata, ToolOutput

from failover._adopted import anew, options_of, timed
from failover.attempter import Item, Job
from failover.failures import classify_exception
from failover.settings import Target
from failover.types import Answer, Failure, Kind, Outcome, Request, Tool
from llamaindex_failover._beneath import Messages, Quiet
from llamaindex_failover._heard import Heard, answer
from llamaindex_failover._messages import to_chat_messages
from llamaindex_failover._origin import returned, sanitised, unknown_to


def as_target(llm: LLM, name: str | None = None, **fields: Any) -> Target:
    """A target that asks this LlamaIndex LLM.

    name: default ``provider:model``, from the LLM's class name and metadata.
    fields: whatever else a ``Target`` takes (``rpm``, ``price``, ``inputs``, ``structured_output``, ...).
    The LLM itself is not changed; a copy of it is asked, with retries and callbacks off.
    """
    facts = llm.metadata
    stated = {
        "provider": llm.class_name().lower().removesuffix("_llm"),
        "model": facts.model_name,
        "tools": facts.is_function_calling_model,
        "structured_output": False,
        "context_window": facts.context_window if facts.context_window != DEFAULT_CONTEXT_WINDOW else None,
    }
    known = {**stated, **fields}
    author = f"{known['provider']}:{known['model']}"
    return Target(name or author, attempter=LlmAttempter(llm, author), **known)


@dataclass(frozen=True, slots=True)
class _Call:
    messages: Messages
    options: dict[str, Any]
    heard: Heard


class LlmAttempter:
    """Makes attempts with a LlamaIndex LLM."""

    def __init__(self, llm: LLM, author: str) -> None:
        self._quiet = Quiet(llm)
        self._author = author
        self._unknown = unknown_to(llm)

    def attempt(self, job: Job) -> Outcome:
        try:
            call = self._call(job.request)
            return answer(self._quiet.chat(call.messages, call.options), call.heard.names)
        except Exception as error:
            return _failure(error)

    async def aattempt(self, job: Job) -> Outcome:
        try:
            call = self._call(job.request)
            async with asyncio.timeout(min(job.budget, job.timeouts.whole)):
                said = await anew(lambda: self._quiet.achat(call.messages, call.options))
                return answer(said, call.heard.names)
        except Exception as error:
            return _failure(error)

    def stream(self, job: Job) -> Iterator[Item]:
        call = None
        try:
            call = self._call(job.request)
            with closing(self._quiet.stream(call.messages, call.options)) as responses:
                for response in responses:
                    yield call.heard.take(response)
        except Exception as error:
            yield _failure(error, None if call is None else call.heard.partial())
            return
        yield from call.heard.ending()

    async def astream(self, job: Job) -> AsyncIterator[Item]:
        call = None
        try:
            call = self._call(job.request)
            async with aclosing(timed(lambda: self._asaid(call), job, call.heard.says)) as responses:
                async for response in responses:
                    yield call.heard.take(response)
        except Exception as error:
            yield _failure(error, None if call is None else call.heard.partial())
            return
        for item in call.heard.ending():
            yield item

    async def _asaid(self, call: _Call) -> AsyncGenerator[ChatResponse, None]:
        async with aclosing(await self._quiet.astream(call.messages, call.options)) as responses:
            async for response in responses:
                yield response

    def _call(self, request: Request) -> _Call:
        names = {sanitised(tool.name): tool.name for tool in request.tools}
        messages = returned(_history(request), self._author, self._unknown)
        options = options_of(request)
        if request.stop:
            options["stop"] = list(request.stop)
        return _Call(messages, {**options, **self._tools(request, messages)}, Heard(names))

    def _tools(self, request: Request, messages: Messages) -> dict[str, Any]:
        """What the LLM's own preparation makes of the tools; a choice it has no word for is made by what it gets."""
        llm, choice, tools = self._quiet.llm, request.tool_choice, request.tools
        if not tools or not isinstance(llm, FunctionCallingLLM):
            return {}
        has_choice = "tool_choice" in inspect.signature(type(llm)._prepare_chat_with_tools).parameters
        named = choice not in (None, "auto", "none", "required")
        if not has_choice:
            tools = tuple(tool for tool in tools if choice != "none" and (not named or tool.name == choice))
        if not tools:
            return {}
        stated: dict[str, Any] = {"tool_choice": sanitised(choice)} if has_choice and choice else {}
        prepared = llm._prepare_chat_with_tools_compat(
            [Spoken(tool) for tool in tools],
            chat_history=list(messages),
            allow_parallel_tool_calls=request.parallel_tool_calls is not False,
            tool_required=named or choice == "required",
            **stated,
        )
        return {word: value for word, value in prepared.items() if word != "messages"}


def _history(request: Request) -> Messages:
    """The caller's own messages where they are LlamaIndex's, and what failover added to them."""
    origin = request.origin if _is_ours(request.origin) else ()
    return [*origin, *to_chat_messages(request.messages[len(origin) :])]


def _is_ours(origin: Any) -> bool:
    return isinstance(origin, tuple) and all(isinstance(message, ChatMessage) for message in origin)


def _failure(error: Exception, partial: Answer | None = None) -> Failure:
    if isinstance(error, TimeoutError):  # our own clock's comes out of a cancellation, and would be taken for one
        return Failure(Kind.TIMEOUT, "no content in time", partial=partial, cause=error)
    return replace(classify_exception(error, time.time()), partial=partial)


# ------------------------------------------------------------------- tools


class _Described(ToolMetadata):
    """A tool's description that is a JSON schema already."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(tool.description, sanitised(tool.name), fn_schema=None)
        self._parameters = dict(tool.parameters)

    def get_parameters_dict(self) -> dict[str, Any]:
        return self._parameters


class Spoken(BaseTool):
    """A tool that is only spoken of: who called for it will run it."""

    def __init__(self, tool: Tool) -> None:
        self._metadata = _Described(tool)

    @property
    def metadata(self) -> ToolMetadata:
        return self._metadata

    def __call__(self, input: Any) -> ToolOutput:  # LlamaIndex's own name for it
        raise NotImplementedError("the caller runs its tools")
