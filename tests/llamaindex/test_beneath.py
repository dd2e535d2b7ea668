"""Calling a LlamaIndex LLM without being announced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.llms import CustomLLM, MockLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.rate_limiter import BaseRateLimiter
from pydantic import PrivateAttr

from llamaindex_failover._beneath import Quiet, undecorated, without_retries
from llamaindex_failover.testing import Book

HELLO = [ChatMessage(role="user", content="hello")]


class Plain(CustomLLM):
    """The least an LLM can be: two methods."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="plain")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=f"{prompt}|{formatted}")

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        def pieces() -> CompletionResponseGen:
            yield CompletionResponse(text="a", delta="a")
            yield CompletionResponse(text="ab", delta="b")

        return pieces()


class Asynchronous(Plain):
    """Has its own async completion."""

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="async")

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        async def pieces() -> CompletionResponseAsyncGen:
            yield CompletionResponse(text="async", delta="async")

        return pieces()


def _said(text: str) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), delta=text)


class Chatting(FunctionCallingLLM):
    """Writes all chats itself, as Anthropic's integration does."""

    max_retries: int = 10
    _client: Any = PrivateAttr(default=None)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True, model_name="chatting")

    def _prepare_chat_with_tools(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {}

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said("chat")

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said("achat")

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def pieces() -> ChatResponseGen:
            yield _said("stream_chat")

        return pieces()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def pieces() -> ChatResponseAsyncGen:
            yield _said("astream_chat")

        return pieces()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    stream_complete = acomplete = astream_complete = complete


class Layered(Chatting):
    """Announces itself twice, as OpenAILike does, but keeps its work in the plain four."""

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return super().chat(messages, **kwargs)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said("_chat")

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said("_achat")

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield _said("_stream_chat")

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def pieces() -> ChatResponseAsyncGen:
            yield _said("_astream_chat")

        return pieces()


LLMS = [Plain(), Asynchronous(), MockLLM(), MockLLM(is_chat_model=True), Chatting(), Layered()]


async def everything(quiet: Quiet) -> list[str | None]:
    """What the LLM says in each of the four ways."""
    texts = [quiet.chat(HELLO, {}).message.content, (await quiet.achat(HELLO, {})).message.content]
    texts.append("".join(each.delta or "" for each in quiet.stream(HELLO, {})))
    texts.append("".join([each.delta or "" async for each in await quiet.astream(HELLO, {})]))
    return texts


@pytest.mark.parametrize("llm", LLMS, ids=lambda llm: type(llm).__name__)
async def test_no_llm_announces_itself(llm: Any, ear: list[str]) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm = llm.model_copy(update={"callback_manager": CallbackManager([debug])})
    assert all(await everything(Quiet(llm)))
    assert ear == []
    assert debug.get_events() == []
    llm.chat(HELLO)
    assert ear != []
    assert debug.get_events() != []


@pytest.mark.parametrize(
    ("llm", "expected"),
    [
        (Plain(), ["user: hello\nassistant: |True", "user: hello\nassistant: |True", "ab", "ab"]),
        (Asynchronous(), ["user: hello\nassistant: |True", "async", "ab", "async"]),
        (Chatting(), ["chat", "achat", "stream_chat", "astream_chat"]),
        (Layered(), ["_chat", "_achat", "_stream_chat", "_astream_chat"]),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_each_llm_is_asked_in_its_own_way(llm: Any, expected: list[str]) -> None:
    assert await everything(Quiet(llm)) == expected


class Bare(Chatting):
    """Is not decorated at all."""

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said("bare")


def test_a_method_without_decorators_is_itself() -> None:
    def method() -> None: ...

    assert undecorated(method) is method
    assert Quiet(Bare()).chat(HELLO, {}).message.content == "bare"


class Nested(Chatting):
    """Builds its chat on its own announced completion."""

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _said(self.complete("hello").text)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="nested")


def test_a_call_within_a_call_is_not_told_to_callbacks() -> None:
    book = Book()
    llm = Nested(callback_manager=CallbackManager([book]))
    assert Quiet(llm).chat(HELLO, {}).message.content == "nested"
    assert book.starts == []


class SdkClient:
    """As the vendors' SDKs make them."""

    def __init__(self, max_retries: int = 2) -> None:
        self.max_retries = max_retries

    def with_options(self, max_retries: int) -> SdkClient:
        return SdkClient(max_retries)


def test_retries_are_switched_off_in_a_copy_and_in_its_client() -> None:
    llm = Chatting()
    llm._client = SdkClient()
    quiet: Any = without_retries(llm)
    assert (quiet.max_retries, quiet._client.max_retries) == (0, 0)
    assert (llm.max_retries, llm._client.max_retries) == (10, 2)


class Turnstile(BaseRateLimiter):
    """Counts who passes."""

    def __init__(self) -> None:
        self.passed: list[str] = []

    def acquire(self) -> None:
        self.passed.append("sync")

    async def async_acquire(self) -> None:
        self.passed.append("async")


async def test_an_llms_own_rate_limiter_still_counts() -> None:
    llm = Chatting(rate_limiter=Turnstile())
    await everything(Quiet(llm))
    assert llm.rate_limiter is not None
    assert llm.rate_limiter.passed == ["sync", "async", "sync", "async"]
