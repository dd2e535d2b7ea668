"""What ``ChatFailover`` adds to a call, against a bare ``ChatOpenAI`` over the same server.

    python benchmarks/langchain_latency.py        # a quarter of a minute; needs no key

The server is a process of its own and answers at once, so this is the dearest case: beside a real model, which takes
hundreds of milliseconds, both figures vanish.  The two are asked in turn; the ratio is that of their medians.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from failover import Target
from langchain_failover import ChatFailover, as_target

MODEL, KEY = "gpt-4.1", "sk-test"
HISTORY = [turn for n in range(20) for turn in (HumanMessage(f"Question {n}?"), AIMessage(f"Answer {n}."))]
ROUNDS = 200


@tool
def price(city: str) -> str:
    """Look up the price of a ticket to a city."""
    return city


@contextmanager
def server() -> Iterator[str]:
    """The scripted OpenAI in a process of its own; its base URL."""
    command = [sys.executable, "-m", "failover.testing", "openai"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own command
        assert process.stdout is not None
        try:
            yield next(word for word in process.stdout.readline().split() if word.startswith("http"))
        finally:
            process.terminate()


Ask = Callable[[Any, str], Awaitable[None]]


async def whole(model: Any, text: str) -> None:
    model.invoke(text)


async def awaited(model: Any, text: str) -> None:
    await model.ainvoke(text)


async def streamed(model: Any, text: str) -> None:
    async for _ in model.astream(text):
        pass


async def first_chunk(model: Any, text: str) -> None:
    stream = model.astream(text)
    await anext(stream)
    await stream.aclose()


async def long_history(model: Any, text: str) -> None:
    await model.ainvoke([*HISTORY, HumanMessage(text)])


async def with_tools(model: Any, text: str) -> None:
    await model.bind_tools([price]).ainvoke(text)


WAYS: dict[str, Ask] = {
    "invoke": whole,
    "ainvoke": awaited,
    "astream, all of it": streamed,
    "astream, first chunk": first_chunk,
    "ainvoke, 41 messages": long_history,
    "ainvoke, bind_tools": with_tools,
}


async def ratios(ask: Ask, models: dict[str, Any]) -> dict[str, float]:
    """Median time of each model, in times of the first one's."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS + 10):
        for name, model in models.items():
            began = time.perf_counter()
            await ask(model, f"Question {number} for {name}")
            times[name].append(time.perf_counter() - began)
    medians = {name: median(taken[10:]) for name, taken in times.items()}
    bare = next(iter(medians.values()))
    return {name: taken / bare for name, taken in medians.items()}


async def main() -> None:
    with server() as url:
        bare = ChatOpenAI(model=MODEL, base_url=url, api_key=SecretStr(KEY))
        target = Target(f"openai:{MODEL}", base_url=url, api_key=SecretStr(KEY))
        ours = ChatFailover([target], response_cache=False)
        wrapped = ChatFailover([as_target(bare)], response_cache=False)
        models = {"ChatOpenAI": bare, "ChatFailover": ours, "ChatFailover over ChatOpenAI": wrapped}
        print(f"{'':24}" + "".join(f"{name:>30}" for name in models))
        for way, ask in WAYS.items():
            print(f"{way:24}" + "".join(f"{ratio:29.2f}x" for ratio in (await ratios(ask, models)).values()))
        await ours.aclose()


if __name__ == "__main__":
    asyncio.run(main())
