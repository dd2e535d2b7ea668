"""The same agent with LangChain's ``with_fallbacks`` and with ``ChatFailover``, while its first provider dies.

    python benchmarks/before_after.py        # about half a minute; needs no key

Two scripted providers on loopback.  A conversation of four questions, each answered by way of a tool; the first
provider dies inside the second tool call, each time in another way, and stays dead.

wasted  requests that went to the dead provider
errors  questions that ended in an exception
wrong   questions whose answer was empty or lacked what the tool had said, with no exception
slower  the median call after the death, in times of the median call before it.  Scripted models answer at once; in
        front of a slow model the ratio is smaller and the seconds lost are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from failover.testing import Cut, EmptyContent, Play, Reply, ScriptedProvider, Served, Status, serve
from langchain_failover import ChatFailover

CITIES = ("Lisbon", "Porto", "Faro", "Braga")
MODELS = {"openai": "gpt-4.1", "groq": "openai/gpt-oss-120b"}
LIMITED = Status(429, "Rate limit reached.", "rate_limit_error", retry_after=1)
DEATHS: dict[str, Play] = {
    "out of service (503)": Status(503),
    "rate limited (Retry-After: 1)": LIMITED,
    "key revoked (401)": Status(401, "Incorrect API key provided.", "invalid_api_key"),
    "empty answers (200)": EmptyContent(),
}


@dataclass(slots=True)
class Score:
    """How one conversation went."""

    wasted: int = 0
    errors: int = 0
    wrong: int = 0
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def slower(self) -> float:
        return median(self.after) / median(self.before)


class World:
    """Two providers, the first of which dies when its tool is called for the second time."""

    def __init__(self, servers: Mapping[str, Served]) -> None:
        self.first, self.second = servers["openai"], servers["groq"]
        self.death: Play | None = None
        self.dead = False
        self.score = Score()

    def tools(self) -> list[BaseTool]:
        @tool
        def price(city: str) -> str:
            """Look up the price of a ticket to a city."""
            if city == CITIES[1] and self.death is not None:
                self.first.provider.requests.clear()
                self.first.provider.down(self.death)
                self.dead = True
            return f"{40 + len(city)} euros to {city}"

        return [price]

    def restart(self, death: Play | None) -> None:
        self.first.provider.up()
        self.death, self.dead, self.score = death, False, Score()


# ------------------------------------------------------------- the two models


def with_fallbacks(world: World, tools: Iterable[BaseTool]) -> Any:
    """As LangChain's documentation shows it."""
    first, second = (_theirs(served, MODELS[name]) for name, served in _servers(world))
    return first.bind_tools(list(tools)).with_fallbacks([second.bind_tools(list(tools))])


def _theirs(served: Served, model: str) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=served.base_url, api_key=SecretStr(served.provider.key))


def with_failover(world: World, tools: Iterable[BaseTool], **options: Any) -> Any:
    targets = [served.target(MODELS[name]) for name, served in _servers(world)]
    return ChatFailover(targets, **options).bind_tools(list(tools))


def _servers(world: World) -> list[tuple[str, Served]]:
    return [("openai", world.first), ("groq", world.second)]


# ----------------------------------------------------------- the conversation


def converse(world: World, make: Callable[..., Any], death: Play) -> Score:
    """Four questions; every model call is timed."""
    world.restart(death)
    tools = world.tools()
    model, history = make(world, tools), []
    for city in CITIES:
        history.append(HumanMessage(f"Use the tool price for '{city}'"))
        try:
            turns = answer(world, model, tools[0], history)
        except Exception:
            world.score.errors += 1
            history.pop()
            continue
        world.score.wrong += "euros" not in turns[-1].text
        history += turns
    world.score.wasted = len(world.first.provider.requests)
    return world.score


def answer(world: World, model: Any, price: BaseTool, history: list[BaseMessage]) -> list[Any]:
    """The turns that follow: the agent loop, as small as it can be."""
    turns: list[Any] = [timed(world, model, history)]
    while turns[-1].tool_calls:
        turns += [price.invoke(call) for call in turns[-1].tool_calls]
        turns.append(timed(world, model, [*history, *turns]))
    return turns


def timed(world: World, model: Any, messages: list[BaseMessage]) -> Any:
    times = world.score.after if world.dead else world.score.before
    began = time.perf_counter()
    try:
        return model.invoke(messages)
    finally:
        times.append(time.perf_counter() - began)


# ----------------------------------------------------------- a cut stream


def cut(world: World, make: Callable[..., Any], **options: Any) -> str:
    """What a user is left with when the first provider's connection is closed in the middle of an answer."""
    world.restart(None)
    said = "The ticket to Lisbon costs 46 euros."
    pieces = ("The ticket ", "to Lisbon ", "costs 46 euros.")
    world.first.provider.script(Cut(after=2, answer=Reply(said, pieces=pieces)))
    world.second.provider.script(Reply("costs 46 euros.", reasoning=""))
    whole: AIMessageChunk | None = None
    for chunk in make(world, world.tools(), **options).stream("What is it?"):
        whole = chunk if whole is None else whole + chunk
    return whole.text if whole else ""


# ---------------------------------------------------------------- the figures


def compare(world: World, death: Play) -> tuple[Score, Score]:
    return converse(world, with_fallbacks, death), converse(world, with_failover, death)


def table(scores: Mapping[str, tuple[Score, Score]]) -> str:
    head = f"{'':32}{'with_fallbacks':^34}{'ChatFailover':^34}\n{'the first provider':32}"
    head += f"{'wasted':>8}{'errors':>8}{'wrong':>8}{'slower':>10}" * 2
    lines = [f"{name:32}" + "".join(map(_cells, pair)) for name, pair in scores.items()]
    return "\n".join((head, *lines))


def _cells(score: Score) -> str:
    return f"{score.wasted:8}{score.errors:8}{score.wrong:8}{score.slower:9.1f}x"


def main() -> None:
    with serve(ScriptedProvider("openai"), ScriptedProvider("groq")) as servers:
        world = World(servers)
        print(table({name: compare(world, death) for name, death in DEATHS.items()}))
        print("\nA connection that is closed in the middle of a streamed answer leaves the user with")
        print("  with_fallbacks:", repr(cut(world, with_fallbacks)))
        print("  ChatFailover:  ", repr(cut(world, with_failover, on_stream_cut="resume")))


if __name__ == "__main__":
    main()
