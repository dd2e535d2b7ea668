"""All that is promised about speed, measured against its peers in one run.

    make bench                                   # everything, some ten minutes
    python -m benchmarks.compare calls streams   # some parts
    python -m benchmarks.compare --quick         # few rounds, to see that it works

Who is compared is measured in turns (A B C A B C ...); a figure is CPU time of this process, server excluded, as a
multiple of the floor's in the same round: the median over the rounds, with the lower and upper quartile.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from benchmarks import count, peers  # litellm reads the variable when it is imported
from benchmarks.peers import Peer
from benchmarks.stub import running
from failover import CircuitBreaker, Failover, Target

CONCURRENCY = (1, 16, 128, 512)
MORE = ("ChatLiteLLMRouter",)
OURS = ("raw httpx", "our transport alone", "Failover", "ChatFailover", "FailoverLLM")
"""Who is measured with 512 calls at once, where others take minutes."""
Ratios = dict[str, list[float]]


class Rounds:
    """How often everything is repeated, and how many calls make one sample."""

    def __init__(self, quick: bool) -> None:
        self.rounds, self.calls, self.streams = (3, 20, 3) if quick else (9, 50, 5)


# ------------------------------------------------------------------ measuring


def cpu(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one ``work()``."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


async def acpu(work: Callable[[], Awaitable[object]], times: int, at_once: int) -> float:
    """CPU seconds of one ``await work()``, with so many under way at once."""
    left = iter(range(times))

    async def worker() -> None:
        for _ in left:
            await work()

    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return (time.process_time() - began) / times


def in_turns(samples: dict[str, Callable[[], float]], floor: str, rounds: int) -> tuple[Ratios, float]:
    """Each one's multiples of the floor, round by round; and the floor itself in microseconds."""
    for sample in samples.values():
        sample()
    ratios: Ratios = {name: [] for name in samples}
    floors: list[float] = []
    for _ in range(rounds):
        gc.collect()
        taken = {name: sample() for name, sample in samples.items()}
        floors.append(taken[floor])
        for name, seconds in taken.items():
            ratios[name].append(seconds / taken[floor])
    return ratios, statistics.median(floors) * 1e6


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f}x ({low:.2f}-{high:.2f})"


def show(title: str, ratios: Ratios, floor: float) -> None:
    print(f"\n{title}; the floor is {floor:,.0f} us")
    for name, values in ratios.items():
        print(f"  {name:<28}{spread(values):>26}", flush=True)


GOALS: list[tuple[str, str, str, str]] = []


def reach(what: str, goal: str, got: str, anchors: str = "") -> None:
    GOALS.append((what, goal, got, anchors))


def named(ratios: Ratios, *names: str) -> str:
    return ", ".join(f"{name} {statistics.median(ratios[name]):.1f}x" for name in names if name in ratios)


# ---------------------------------------------------------------------- calls


def calls(base: str, plan: Rounds) -> None:
    everybody = [make(base) for make in peers.EVERYBODY]
    samples = {peer.name: lambda peer=peer: cpu(peer.call, plan.calls) for peer in everybody if peer.call}
    ratios, floor = in_turns(samples, "raw httpx", plan.rounds)
    show("blocking calls", ratios, floor)
    reach("core complete, all protections on", "<= 1.10x", spread(ratios["Failover"]), named(ratios, "openai SDK"))
    reach(
        "ChatFailover.invoke, all protections on",
        "<= 1.45x",
        spread(ratios["ChatFailover"]),
        named(ratios, "LangChain around raw httpx", "ChatOpenAI", "ChatOpenAI.with_fallbacks", "litellm.Router", *MORE),
    )
    reach(
        "FailoverLLM.chat, all protections on",
        "<= 1.35x",
        spread(ratios["FailoverLLM"]),
        named(ratios, "LlamaIndex around raw httpx", "OpenAILike", "LlamaIndex LiteLLM", "pydantic-ai FallbackModel"),
    )


def concurrent(base: str, plan: Rounds) -> None:
    with asyncio.Runner() as runner:
        runner.get_loop()
        everybody = [peers.bare_transport(base), *(make(base) for make in peers.EVERYBODY)]
        floors: dict[int, float] = {}
        for at_once in CONCURRENCY:
            times = max(plan.calls, at_once * 2)
            samples = {
                peer.name: lambda peer=peer: runner.run(acpu(peer.acall, times, at_once))  # noqa: B023  # used at once
                for peer in everybody
                if peer.acall and (at_once < 512 or peer.name in OURS)
            }
            ratios, floor = in_turns(samples, "raw httpx", min(plan.rounds, 5 if at_once <= 16 else 3))
            show(f"async calls, {at_once} at once", ratios, floor)
            floors[at_once] = floor * statistics.median(ratios["Failover"])
            _reached(at_once, ratios)
        growth = floors[512] / floors[1]
        reach("core acomplete: CPU at 512 at once against 1", "<= 1.5x", f"{growth:.2f}x", "")


def _reached(at_once: int, ratios: Ratios) -> None:
    if at_once in (1, 128):
        own = [ours / bare for ours, bare in zip(ratios["Failover"], ratios["our transport alone"], strict=True)]
        reach(f"core acomplete against its bare transport, {at_once} at once", "<= 1.15x", spread(own))
    if at_once == 128:
        reach(
            "ChatFailover.ainvoke, 128 at once, against raw httpx",
            "<= 0.5x",
            spread(ratios["ChatFailover"]),
            named(ratios, "ChatOpenAI", "openai SDK", "litellm.Router", "pydantic-ai FallbackModel"),
        )


# -------------------------------------------------------------------- streams


def streams(base: str, plan: Rounds) -> None:
    everybody = [make(base) for make in peers.EVERYBODY]
    samples = {
        peer.name: lambda peer=peer: cpu(lambda: drain(peer.stream()), plan.streams)
        for peer in everybody
        if peer.stream
    }
    samples["LangChain's own, no network"] = lambda: cpu(lambda: drain(_silent().stream("hi")), plan.streams)
    ratios, floor = in_turns(samples, "raw httpx", plan.rounds)
    show(f"streams of {count.CHUNKS} chunks", ratios, floor)
    reach(
        "core stream against iter_lines and json", "<= 0.95x", spread(ratios["Failover"]), named(ratios, "openai SDK")
    )
    beneath = [
        core + framework
        for core, framework in zip(ratios["Failover"], ratios["LangChain's own, no network"], strict=True)
    ]
    ours = [mine / floor for mine, floor in zip(ratios["ChatFailover"], beneath, strict=True)]
    reach(
        "ChatFailover.stream against LangChain's own and the core's",
        "<= 1.3x",
        spread(ours),
        "against iter_lines: " + named(ratios, "ChatFailover", "ChatOpenAI", "ChatLiteLLMRouter"),
    )


def drain(chunks: Iterator[object]) -> None:
    for _ in chunks:
        pass


def _silent() -> Any:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Silent(GenericFakeChatModel):
        """LangChain's part in a stream: made chunks, and no server."""

        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for number in range(count.CHUNKS):
                yield ChatGenerationChunk(message=AIMessageChunk(content=f" word{number}"))

    return Silent(messages=iter(()))


# ------------------------------------------------------------ cache and choice


def cache(base: str, plan: Rounds) -> None:
    guard, raw = count.protected(f"{base}/v1"), peers.raw_httpx(base)
    asked = peers.question()
    guard.complete(asked)
    assert raw.call is not None
    samples = {
        "raw httpx": lambda: cpu(raw.call, plan.calls),  # type: ignore[arg-type]  # not None, as asserted
        "a hit of Failover": lambda: cpu(lambda: guard.complete(asked), plan.calls * 10),
    }
    ratios, floor = in_turns(samples, "raw httpx", plan.rounds)
    show("cache hits", ratios, floor)
    reach("memory cache hit, core, 1 kB", "<= 0.05x", spread(ratios["a hit of Failover"]))


def choice(base: str, plan: Rounds) -> None:
    guards = {f"{size} targets": peers.many(base, size) for size in (2, 10, 100, 1000)}
    samples = {
        name: lambda guard=guard: cpu(lambda: guard.complete(peers.question()), plan.calls)
        for name, guard in guards.items()
    }
    ratios, floor = in_turns(samples, "2 targets", plan.rounds)
    show("choosing among targets, whole calls", ratios, floor)
    two, thousand = guards["2 targets"]._core.router, guards["1000 targets"]._core.router
    request = count.asked()
    chosen, bare = in_turns(
        {
            "2 targets": lambda: cpu(lambda: next(two.order(request, 0.0)), 2000),
            "1000 targets": lambda: cpu(lambda: next(thousand.order(request, 0.0)), 2000),
        },
        "2 targets",
        plan.rounds,
    )
    show("the choice alone", chosen, bare)
    reach("choosing among 1,000 targets against 2, the choice alone", "<= 2x", spread(chosen["1000 targets"]))
    reach("the same, a whole call", "<= 2x", spread(ratios["1000 targets"]))


def dead(base: str, plan: Rounds) -> None:
    """The first target dead: what its steady state costs, and how many calls it wastes."""

    def guard(first: str) -> Failover:
        targets = [
            Target("first", provider="openai", model=count.PRICED, base_url=f"{base}/{first}", api_key=peers.KEY),
            Target("second", provider="openai", model=count.PRICED, base_url=f"{base}/v1", api_key=peers.KEY),
        ]
        return Failover(targets, strategy="priority", breaker=CircuitBreaker(), response_cache=False)

    before = _told(base, "calls").get("dead", 0)
    healthy, broken = guard("v1"), guard("dead/v1")
    times: list[float] = []
    while broken.status()[0].state == "closed":  # a 503 is given a second before the next try
        began = time.perf_counter()
        broken.complete(peers.question())
        times.append(time.perf_counter() - began)
        time.sleep(0.02)
    wasted = _told(base, "calls").get("dead", 0) - before
    samples = {
        "healthy": lambda: cpu(lambda: healthy.complete(peers.question()), plan.calls),
        "first dead": lambda: cpu(lambda: broken.complete(peers.question()), plan.calls),
    }
    ratios, floor = in_turns(samples, "healthy", plan.rounds)
    show("first target dead, steady state", ratios, floor)
    reach("first target dead, steady state, against healthy", "<= 1.03x", spread(ratios["first dead"]))
    reach("wasted calls before its circuit opens", "<= 5", str(wasted), f"the worst call {max(times) * 1e3:.1f} ms")


# ------------------------------------------------------------ imports, memory

IMPORTS = {
    "httpx, pydantic": "import httpx, pydantic; pydantic.BaseModel",
    "failover.Failover": "import httpx, pydantic; pydantic.BaseModel; from failover import Failover",
    "failover": "import failover",
    "BaseChatModel": "from langchain_core.language_models import BaseChatModel",
    "ChatFailover": "from langchain_failover import ChatFailover",
    "langchain_failover": "from langchain_core.language_models import BaseChatModel; import langchain_failover",
    "langchain_openai": "from langchain_openai import ChatOpenAI",
    "litellm": "import litellm",
    "openai": "import openai",
    "LlamaIndex's LLM": "from llama_index.core.llms.function_calling import FunctionCallingLLM",
    "FailoverLLM": "from llamaindex_failover import FailoverLLM",
}
TIMED = """
import sys, time
began = time.process_time()
{line}
print(time.process_time() - began)
"""


def imports(base: str, plan: Rounds) -> None:
    def sample(line: str) -> float:
        command = [sys.executable, "-c", TIMED.format(line=line)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  # own text

    samples = {name: lambda line=line: sample(line) for name, line in IMPORTS.items()}
    ratios, floor = in_turns(samples, "httpx, pydantic", min(plan.rounds, 3))
    show("imports, CPU", ratios, floor)
    reach(
        "import failover against httpx and pydantic", "<= 1.15x", spread(ratios["failover"]), named(ratios, "litellm")
    )
    reach("import failover.Failover, the same", "<= 1.15x", spread(ratios["failover.Failover"]))
    for ours, theirs in (("langchain_failover", "BaseChatModel"), ("ChatFailover", "BaseChatModel")):
        against = [mine / other for mine, other in zip(ratios[ours], ratios[theirs], strict=True)]
        reach(f"import {ours} against {theirs}", "<= 1.10x", spread(against))


def memory(base: str, plan: Rounds) -> None:
    """Python's own memory for 1,000 calls in flight, by ``tracemalloc``."""
    for make in (peers.raw_httpx, peers.failover, peers.chat_failover, peers.chat_openai):
        peer = make(base + "/slow")
        size = asyncio.run(_in_flight(peer, base))
        print(f"  {peer.name:<28}{size / 1024:>10.1f} KiB a call in flight", flush=True)
        if "Failover" in peer.name:
            reach(f"memory of a call in flight, {peer.name}, 1,000 at once", "<= 25 KiB", f"{size / 1024:.1f} KiB")


async def _in_flight(peer: Peer, base: str, number: int = 1000) -> float:
    first = await _held(peer, base, 1)
    _told(base, "release")
    await asyncio.gather(*first)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = await _held(peer, base, number)
    size = (tracemalloc.get_traced_memory()[0] - before) / number
    tracemalloc.stop()
    while not all(task.done() for task in tasks):  # raw httpx has only 100 of them under way
        _told(base, "release")
        await asyncio.sleep(0.1)
    return size


async def _held(peer: Peer, base: str, number: int) -> list[asyncio.Future[Any]]:
    """So many calls, once the stub holds all that can be under way at once."""
    assert peer.acall is not None
    before, got = _told(base, "calls").get("slow", 0), -1
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(peer.acall()) for _ in range(number)]
    while (now := _told(base, "calls").get("slow", 0) - before) != got or not now:
        got = now
        await asyncio.sleep(0.5)
    return tasks


def _told(base: str, path: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{base}/{path}") as answer:  # noqa: S310  # our own stub
        return dict(json.load(answer))


def lag(base: str, plan: Rounds) -> None:
    """How long the event loop stands still at most while answers of 2 MB come in."""
    for peer in (peers.raw_httpx(base + "/big"), peers.failover(base + "/big")):
        longest = asyncio.run(_lag(peer))
        print(f"  {peer.name:<28}{longest * 1e3:>10.1f} ms at most, answers of 2 MB, 8 at once", flush=True)


async def _lag(peer: Peer) -> float:
    assert peer.acall is not None
    calls = asyncio.gather(*(peer.acall() for _ in range(8)))
    longest, last = 0.0, time.perf_counter()
    while not calls.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await calls
    return longest


def functions(base: str, plan: Rounds) -> None:
    """Python function calls, which no noise can change."""
    call, chunk = count.of_a_call().total(), count.of_a_chunk()
    plain = count.of_a_plain_call().total()
    print(f"  {plain} function calls a call, {call} with all protections on, {chunk:.1f} a chunk")
    reach("function calls the core adds to a request", "<= 150", f"{plain} ({call} with every protection)")
    reach("function calls the core adds to a chunk", "<= 8", f"{chunk:.1f}")


PARTS: dict[str, Callable[[str, Rounds], None]] = {
    part.__name__: part for part in (functions, calls, concurrent, streams, cache, choice, dead, imports, memory, lag)
}
VERSIONS = (
    "httpx",
    "aiohttp",
    "pydantic",
    "openai",
    "langchain-core",
    "langchain-openai",
    "litellm",
    "langchain-litellm",
    "llama-index-core",
    "llama-index-llms-openai-like",
    "llama-index-llms-litellm",
    "pydantic-ai-slim",
)


def main(words: list[str]) -> int:
    names = [word for word in words if word != "--quick"]
    if unknown := [name for name in names if name not in PARTS]:
        print(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in VERSIONS))
    with running() as base:
        for name in names or PARTS:
            print(f"\n== {name}")
            PARTS[name](base, Rounds("--quick" in words))
    print("\n| what | goal | measured | peers |\n|---|---|---|---|")
    for row in GOALS:
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
