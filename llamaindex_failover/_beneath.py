"""Calling a LlamaIndex LLM without being announced.

A call through ``FailoverLLM`` is one call: one pair of callback events, one span's worth of instrumentation, one count
of its tokens.  So an LLM that serves as a target is asked beneath its own announcements.  LlamaIndex offers no switch
for that, but three places where the work itself can be found:

1. An LLM built on ``CustomLLM`` answers chats by completing a prompt: ``complete`` is what it wrote itself.
2. Integrations in the manner of OpenAI's (``OpenAILike``, ``LiteLLM``, ...) keep the work in ``_chat``, ``_achat``,
   ``_stream_chat``, ``_astream_chat``.
3. Elsewhere it is the function inside the decorators: ``dispatcher.span`` is a wrapt proxy with ``__wrapped__``,
   ``llm_chat_callback`` a closure over ``f``.

An LLM that fits none of these is called as it is, and announces itself a second time.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    astream_completion_response_to_chat_response,
    completion_response_to_chat_response,
    stream_completion_response_to_chat_response,
)
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import callbacks
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM

Messages = list[ChatMessage]
PLAIN = {"chat": "_chat", "achat": "_achat", "stream_chat": "_stream_chat", "astream_chat": "_astream_chat"}


class Quiet:
    """An LLM's four ways to chat, unannounced, without its SDK's retries, and within its own rate limiter."""

    def __init__(self, llm: LLM) -> None:
        self.llm = without_retries(llm)
        self._completes = inspect.getattr_static(type(llm), "chat") is inspect.getattr_static(CustomLLM, "chat")

    def chat(self, messages: Messages, options: dict[str, Any]) -> ChatResponse:
        self._take_turn()
        if self._completes:
            return completion_response_to_chat_response(self._complete(messages, options))
        return self._work("chat")(messages, **options)  # type: ignore[no-any-return]  # an LLM's own method

    async def achat(self, messages: Messages, options: dict[str, Any]) -> ChatResponse:
        await self._atake_turn()
        if self._completes:
            return completion_response_to_chat_response(await self._acomplete(messages, options))
        return await self._work("achat")(messages, **options)  # type: ignore[no-any-return]  # see above

    def stream(self, messages: Messages, options: dict[str, Any]) -> Generator[ChatResponse, None, None]:
        self._take_turn()
        if self._completes:
            return stream_completion_response_to_chat_response(
                self._work("stream_complete")(self._prompt(messages), formatted=True, **options)
            )
        return self._work("stream_chat")(messages, **options)  # type: ignore[no-any-return]  # see above

    async def astream(self, messages: Messages, options: dict[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        await self._atake_turn()
        if not self._completes:
            return await self._work("astream_chat")(messages, **options)  # type: ignore[no-any-return]  # see above
        prompt = self._prompt(messages)
        if self._inherits("astream_complete"):
            return _awaited(self._work("stream_complete")(prompt, formatted=True, **options))
        pieces = await self._work("astream_complete")(prompt, formatted=True, **options)
        return astream_completion_response_to_chat_response(pieces)

    def _complete(self, messages: Messages, options: dict[str, Any]) -> CompletionResponse:
        return self._work("complete")(self._prompt(messages), formatted=True, **options)  # type: ignore[no-any-return]

    async def _acomplete(self, messages: Messages, options: dict[str, Any]) -> CompletionResponse:
        if self._inherits("acomplete"):
            return self._complete(messages, options)
        return await self._work("acomplete")(self._prompt(messages), formatted=True, **options)  # type: ignore[no-any-return]

    def _prompt(self, messages: Messages) -> str:
        assert self.llm.messages_to_prompt is not None  # LLM's own validator sees to it
        return self.llm.messages_to_prompt(messages)

    def _inherits(self, name: str) -> bool:
        """Whether the LLM leaves it to ``CustomLLM``, whose async methods call the announced sync ones."""
        return inspect.getattr_static(type(self.llm), name) is inspect.getattr_static(CustomLLM, name)

    def _work(self, name: str) -> Callable[..., Any]:
        cls = type(self.llm)
        if all(hasattr(cls, plain) for plain in PLAIN.values()) and name in PLAIN and self.llm.metadata.is_chat_model:
            return getattr(self.llm, PLAIN[name])  # type: ignore[no-any-return]  # any LLM's method
        return undecorated(inspect.getattr_static(cls, name)).__get__(self.llm, cls)  # type: ignore[no-any-return]

    def _take_turn(self) -> None:
        if self.llm.rate_limiter is not None:
            self.llm.rate_limiter.acquire()

    async def _atake_turn(self) -> None:
        if self.llm.rate_limiter is not None:
            await self.llm.rate_limiter.async_acquire()


async def _awaited(pieces: Generator[CompletionResponse, None, None]) -> AsyncGenerator[ChatResponse, None]:
    for response in stream_completion_response_to_chat_response(pieces):
        yield response


def undecorated(method: Any) -> Any:
    """The function that an integration wrote, beneath LlamaIndex's decorators."""
    while True:
        if callable(inner := getattr(method, "__wrapped__", None)):
            method = inner
        elif _is_announcement(method):
            method = inspect.getclosurevars(method).nonlocals["f"]
        else:
            return method


def _is_announcement(method: Any) -> bool:
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename == callbacks.__file__ and "f" in code.co_freevars


# ----------------------------------------------------------------- retries


def without_retries(llm: LLM) -> LLM:
    """A copy without callbacks and with ``max_retries`` 0, also on SDK clients that it has built already."""
    quiet: dict[str, Any] = {"callback_manager": CallbackManager([])}
    if "max_retries" in type(llm).model_fields:
        quiet["max_retries"] = 0
    copy = llm.model_copy(update=quiet)
    private = copy.__pydantic_private__ or {}
    for name, held in private.items():
        if hasattr(held, "with_options") and isinstance(getattr(held, "max_retries", None), int):
            private[name] = held.with_options(max_retries=0)
    return copy
