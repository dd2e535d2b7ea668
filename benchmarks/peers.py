"""Everybody who is measured: how each is built, and how it asks.

One prompt for all, a new number in each, so that no cache can answer.  Each peer is built as its own documentation
builds it, with what it has of fallbacks and retries; ours with every protection on (see ``count.protected``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from benchmarks.count import PRICED, protected
from failover import Failover, Target

KEY = "sk-bench"
_numbers = count(1)


def question() -> str:
    """About 1 kB, never the same twice."""
    return f"Question {next(_numbers)}: what is a failover? " + "Say it shortly. " * 60


@dataclass(slots=True)
class Peer:
    """How one asks.  None: it has no such door, or it adds nothing to another row."""

    name: str
    call: Callable[[], object] | None = None
    acall: Callable[[], Awaitable[object]] | None = None
    stream: Callable[[], Iterator[object]] | None = None
    astream: Callable[[], AsyncIterator[object]] | None = None


def body(stream: bool = False) -> dict[str, Any]:
    return {"model": PRICED, "messages": [{"role": "user", "content": question()}], "stream": stream}


# ------------------------------------------------------------------- floors


def raw_httpx(base: str) -> Peer:
    client, headers = httpx.Client(), {"authorization": f"Bearer {KEY}"}
    clients: list[httpx.AsyncClient] = []

    async def acall() -> object:
        if not clients:
            clients.append(httpx.AsyncClient(timeout=None))  # noqa: S113  # its pool makes 412 of 512 wait
        return (await clients[0].post(f"{base}/v1/chat/completions", json=body(), headers=headers)).json()

    def stream() -> Iterator[object]:
        with client.stream("POST", f"{base}/v1/chat/completions", json=body(True), headers=headers) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])

    def call() -> object:
        return client.post(f"{base}/v1/chat/completions", json=body(), headers=headers).json()

    return Peer("raw httpx", call, acall, stream)


def bare_transport(base: str) -> Peer:
    """What the core's async doors stand on: its own connections, and nothing else of it."""
    from failover._connections import Connections, Letter
    from failover.settings import Timeouts

    connections = Connections(None, None, False)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    async def acall() -> object:
        send = await connections.running()
        letter = Letter(f"{base}/v1/chat/completions", headers, json.dumps(body()).encode(), Timeouts())
        reply = await send(letter)
        data = b"".join([piece async for piece in reply.aiter_bytes()])
        await reply.aclose()
        return json.loads(data)

    return Peer("our transport alone", acall=acall)


def langchain_alone(base: str) -> Peer:
    """What LangChain adds to a call by itself: a chat model that only posts."""
    from langchain_core.language_models import SimpleChatModel

    raw = raw_httpx(base).call
    assert raw is not None

    class Bare(SimpleChatModel):
        @property
        def _llm_type(self) -> str:
            return "bare"

        def _call(self, *args: Any, **kwargs: Any) -> str:
            raw()
            return "x"

    model = Bare()
    return Peer("LangChain around raw httpx", lambda: model.invoke(question()))


def llamaindex_alone(base: str) -> Peer:
    """The same for LlamaIndex."""
    from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
    from llama_index.core.llms.callbacks import llm_chat_callback

    raw = raw_httpx(base).call
    assert raw is not None

    class Bare(MockLLM):
        @llm_chat_callback()
        def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
            raw()
            return ChatResponse(message=ChatMessage("x", role="assistant"))

    model = Bare()
    return Peer("LlamaIndex around raw httpx", lambda: model.chat([ChatMessage(question())]))


# --------------------------------------------------------------------- ours


def failover(base: str) -> Peer:
    guard = protected(f"{base}/v1")
    return Peer(
        "Failover",
        lambda: guard.complete(question()),
        lambda: guard.acomplete(question()),
        lambda: guard.stream(question()),
        lambda: guard.astream(question()),
    )


def chat_failover(base: str) -> Peer:
    from langchain_failover import ChatFailover

    model = ChatFailover(failover=protected(f"{base}/v1"))
    return _langchain("ChatFailover", model)


def failover_llm(base: str) -> Peer:
    from llamaindex_failover import FailoverLLM

    return _llamaindex("FailoverLLM", FailoverLLM(failover=protected(f"{base}/v1")))


# ----------------------------------------------------------- other people's


def openai(base: str) -> Peer:
    from openai import AsyncOpenAI, OpenAI

    client, async_client = OpenAI(api_key=KEY, base_url=f"{base}/v1"), AsyncOpenAI(api_key=KEY, base_url=f"{base}/v1")
    return Peer(
        "openai SDK",
        lambda: client.chat.completions.create(**body()),
        lambda: async_client.chat.completions.create(**body()),
        lambda: iter(client.chat.completions.create(**body(True))),
    )


def chat_openai(base: str) -> Peer:
    return _langchain("ChatOpenAI", _chat_openai(base))


def with_fallbacks(base: str) -> Peer:
    return _langchain("ChatOpenAI.with_fallbacks", _chat_openai(base).with_fallbacks([_chat_openai(base)]))


def _chat_openai(base: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=PRICED, api_key=KEY, base_url=f"{base}/v1", use_responses_api=False)


def router(base: str) -> Peer:
    target = _router(base)
    ask = lambda: [{"role": "user", "content": question()}]  # noqa: E731  # shorter than the def beside its uses
    return Peer(
        "litellm.Router",
        lambda: target.completion(model="bench", messages=ask()),
        lambda: target.acompletion(model="bench", messages=ask()),
        lambda: iter(target.completion(model="bench", messages=ask(), stream=True)),
    )


def chat_litellm_router(base: str) -> Peer:
    from langchain_litellm import ChatLiteLLMRouter

    return _langchain("ChatLiteLLMRouter", ChatLiteLLMRouter(router=_router(base), model="bench"))


def _router(base: str, *more: str) -> Any:
    from litellm import Router

    params = [
        {"model": f"openai/{PRICED}", "api_base": f"{each}/v1", "api_key": KEY} for each in (base, *(more or (base,)))
    ]
    return Router(model_list=[{"model_name": "bench", "litellm_params": each} for each in params])


def openai_like(base: str) -> Peer:
    from llama_index.llms.openai_like import OpenAILike

    model = OpenAILike(model=PRICED, api_key=KEY, api_base=f"{base}/v1", is_chat_model=True, context_window=128_000)
    return _llamaindex("OpenAILike", model)


def llamaindex_litellm(base: str) -> Peer:
    from llama_index.llms.litellm import LiteLLM

    return _llamaindex("LlamaIndex LiteLLM", LiteLLM(model=f"openai/{PRICED}", api_key=KEY, api_base=f"{base}/v1"))


def pydantic_ai(base: str) -> Peer:
    from pydantic_ai.direct import model_request, model_request_sync
    from pydantic_ai.messages import ModelRequest
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def one() -> Any:
        return OpenAIChatModel(PRICED, provider=OpenAIProvider(base_url=f"{base}/v1", api_key=KEY))

    model = FallbackModel(one(), one())
    ask = lambda: [ModelRequest.user_text_prompt(question())]  # noqa: E731  # shorter than the def beside its uses
    return Peer(
        "pydantic-ai FallbackModel",
        lambda: model_request_sync(model, ask()),
        lambda: model_request(model, ask()),
    )


# --------------------------------------------------------------- frameworks


def _langchain(name: str, model: Any) -> Peer:
    return Peer(
        name,
        lambda: model.invoke(question()),
        lambda: model.ainvoke(question()),
        lambda: model.stream(question()),
        lambda: model.astream(question()),
    )


def _llamaindex(name: str, model: Any) -> Peer:
    from llama_index.core.llms import ChatMessage

    return Peer(
        name,
        lambda: model.chat([ChatMessage(question())]),
        lambda: model.achat([ChatMessage(question())]),
        lambda: iter(model.stream_chat([ChatMessage(question())])),
    )


EVERYBODY: tuple[Callable[[str], Peer], ...] = (
    raw_httpx,
    langchain_alone,
    llamaindex_alone,
    failover,
    chat_failover,
    failover_llm,
    openai,
    chat_openai,
    with_fallbacks,
    router,
    chat_litellm_router,
    openai_like,
    llamaindex_litellm,
    pydantic_ai,
)


def many(base: str, size: int) -> Failover:
    """A core over so many targets."""
    fields: dict[str, Any] = {"provider": "openai", "model": PRICED, "base_url": f"{base}/v1", "api_key": KEY}
    return Failover([Target(f"t{number}", **fields) for number in range(size)])
