"""What each of us does when a provider fails: the same faults, over real HTTP, for failover and for its peers.

Everybody gets two OpenAI-compatible servers, the first in trouble and the second well, and is set up as its own
documentation shows, with its own defaults.  An answer counts when it is whole and the second server's; ``wrong``
means that something else was handed over as if it were an answer.

    make trouble
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from langchain_openai import ChatOpenAI
from litellm import Router
from pydantic_ai import Agent
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from failover import Target
from failover.testing import (
    Cut,
    EmptyChoices,
    EmptyContent,
    ErrorEvent,
    ErrorInBody,
    Html,
    Malformed,
    Reply,
    ScriptedProvider,
    Status,
    Truncated,
    serve,
)
from langchain_failover import ChatFailover

MODEL = "some-model"
WHOLE = "The second server answers in seven words."
Ask = Callable[[str], Awaitable[str]]


@dataclass
class Peer:
    """One contestant at work: a whole answer, and a streamed one."""

    ask: Ask
    stream: Callable[[str], AsyncIterator[str]]


# --------------------------------------------------------------- contestants


def failover(first: str, second: str) -> Peer:
    targets = [
        Target(name, base_url=url, model=MODEL, api_key="none") for name, url in (("first", first), ("second", second))
    ]
    return _langchain(ChatFailover(targets=targets, strategy="priority"))


def with_fallbacks(first: str, second: str) -> Peer:
    one, other = (ChatOpenAI(model=MODEL, base_url=url, api_key="none") for url in (first, second))
    return _langchain(one.with_fallbacks([other]))


def router(first: str, second: str) -> Peer:
    rows = [("first", first), ("second", second)]
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": "none"}}
        for name, url in rows
    ]
    routing = Router(model_list=models, fallbacks=[{"first": ["second"]}])

    async def ask(prompt: str) -> str:
        answer: Any = await routing.acompletion("first", [{"role": "user", "content": prompt}])
        return str(answer.choices[0].message.content)

    async def stream(prompt: str) -> AsyncIterator[str]:
        chunks: Any = await routing.acompletion("first", [{"role": "user", "content": prompt}], stream=True)
        async for chunk in chunks:
            yield chunk.choices[0].delta.content or ""

    return Peer(ask, stream)


def fallback_model(first: str, second: str) -> Peer:
    models = [OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="none")) for url in (first, second)]
    agent = Agent(FallbackModel(*models))

    async def ask(prompt: str) -> str:
        return str((await agent.run(prompt)).output)

    async def stream(prompt: str) -> AsyncIterator[str]:
        async with agent.run_stream(prompt) as result:
            async for text in result.stream_text(delta=True):
                yield text

    return Peer(ask, stream)


def _langchain(model: Any) -> Peer:
    async def ask(prompt: str) -> str:
        return str((await model.ainvoke(prompt)).text)

    async def stream(prompt: str) -> AsyncIterator[str]:
        async for chunk in model.astream(prompt):
            yield chunk.text

    return Peer(ask, stream)


PEERS = {
    "failover": failover,
    "LangChain with_fallbacks": with_fallbacks,
    "LiteLLM Router": router,
    "pydantic-ai FallbackModel": fallback_model,
}

# ------------------------------------------------------------------- faults

WHOLE_FAULTS = {
    "200 with an error inside": ErrorInBody(),
    "200 with a page of HTML": Html(200),
    "200 with broken JSON": Malformed(),
    "200 cut off half-way": Truncated(),
    "200 without choices": EmptyChoices(),
    "200 with nothing said": EmptyContent(),
}
STREAM_FAULTS = {
    "stream ends before any content": Cut(after=0),
    "stream breaks after three words": Cut(after=3),
    "error event before any content": ErrorEvent(after=0),
    "error event after three words": ErrorEvent(after=3),
}


async def _outcome(said: Awaitable[str]) -> str:
    try:
        text = await asyncio.wait_for(said, 60)
    except Exception:
        return "error"
    return "ok" if text == WHOLE else f"wrong: {text[:24]!r}"


async def _joined(chunks: AsyncIterator[str]) -> str:
    return "".join([chunk async for chunk in chunks])


async def one_fault(make: Callable[[str, str], Peer], fault: Any, streamed: bool) -> str:
    first, second = _servers()
    with serve(first, second) as servers:
        first.set(fault)
        peer = make(servers["first"].base_url, servers["second"].base_url)
        return await _outcome(_joined(peer.stream("hi")) if streamed else peer.ask("hi"))


async def dead(make: Callable[[str, str], Peer], fault: Status) -> str:
    """Ten calls, one after the other: those that were lost, and requests that went to the server in trouble."""
    first, second = _servers()
    with serve(first, second) as servers:
        first.set(fault)
        peer = make(servers["first"].base_url, servers["second"].base_url)
        outcomes = [await _outcome(peer.ask(f"question {number}")) for number in range(10)]
        lost = sum(outcome != "ok" for outcome in outcomes)
        return f"{first.calls} wasted" + (f", {lost} lost" if lost else "")


async def identical(make: Callable[[str, str], Peer]) -> str:
    first, second = _servers()
    with serve(first, second) as servers:
        peer = make(servers["first"].base_url, servers["second"].base_url)
        await asyncio.gather(*(peer.ask("the same") for _ in range(20)))
        return f"{first.calls + second.calls} sent"


def _servers() -> tuple[ScriptedProvider, ScriptedProvider]:
    first, second = (ScriptedProvider(name, key="none", respond=lambda _: Reply(WHOLE)) for name in ("first", "second"))
    return first, second


async def main(names: list[str]) -> None:
    chosen = {name: PEERS[name] for name in names or PEERS}
    print(f"| the first provider … | {' | '.join(chosen)} |\n|---|{'---|' * len(chosen)}")
    rows: dict[str, Callable[[Any], Awaitable[str]]] = {
        "is down (503): 10 calls": lambda make: dead(make, Status(503)),
        "refuses the key (401): 10 calls": lambda make: dead(make, Status(401)),
        "says 429, come back in 5 s: 10 calls": lambda make: dead(make, Status(429, retry_after=5)),
        **{name: lambda make, f=fault: one_fault(make, f, False) for name, fault in WHOLE_FAULTS.items()},
        **{name: lambda make, f=fault: one_fault(make, f, True) for name, fault in STREAM_FAULTS.items()},
        "is well: 20 identical calls at once": identical,
    }
    for row, play in rows.items():
        cells = [await asyncio.wait_for(play(make), 900) for make in chosen.values()]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
