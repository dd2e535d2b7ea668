"""``ChatFailover`` over real HTTP on loopback: conversations that change wires, streams that break, clients that leave,
and other integrations' models as targets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from failover import AllTargetsFailed, ContentFiltered, Failover, StreamInterrupted, Target
from failover.testing import (
    Cut,
    During,
    Hang,
    Reply,
    ScriptedProvider,
    Served,
    Status,
    Tokens,
    ToolUse,
    Trouble,
    VirtualClock,
    serve,
)
from langchain_failover import ChatFailover, as_target

NAMES = ("openai", "anthropic", "groq", "deepseek", "openrouter")
MODELS = {
    "openai": "gpt-6-luna",
    "anthropic": "claude-sonnet-5-5",
    "groq": "openai/gpt-oss-120b",
    "deepseek": "deepseek-flash",
    "openrouter": "openai/gpt-6-luna",
}

WIRES: dict[str, Any] = {"openai": {"dialect": "responses"}}
"""Where it is not the one that its address suggests."""


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class World:
    """Five providers on loopback, and models over them that are closed in the end."""

    def __init__(self, providers: dict[str, ScriptedProvider], servers: Any) -> None:
        self.providers = providers
        self.servers = servers
        self.made: list[Failover] = []

    def __getitem__(self, name: str) -> ScriptedProvider:
        return self.providers[name]

    def served(self, name: str) -> Served:
        return self.servers[name]

    def target(self, name: str, **fields: Any) -> Target:
        return self.servers[name].target(MODELS[name], **{"name": name, **WIRES.get(name, {}), **fields})

    def chat(self, *targets: str | Target, **fields: Any) -> ChatFailover:
        found = [self.target(one) if isinstance(one, str) else one for one in targets]
        model = ChatFailover(found, **{"strategy": "priority", "response_cache": False, **fields})
        self.made.append(model.core)
        return model


@pytest.fixture
def world() -> Iterator[World]:
    providers = {name: ScriptedProvider(name) for name in NAMES}
    with serve(*providers.values()) as servers:
        made = World(providers, servers)
        yield made
        for guard in made.made:
            guard.close()
        found = [violation for p in providers.values() for r in p.requests for violation in r.violations]
        assert [violation for violation in found if violation.rule != "credential"] == []


def who(message: Any) -> str:
    return message.response_metadata["failover"]["target"]


# ------------------------------------------------------------ conversations


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_tool_loop_travels_over_all_wires_and_back(world: World, version: str | None, streaming: bool) -> None:
    """Every turn is asked of another provider; the strict providers refuse whatever the real ones would refuse."""
    model = world.chat(*NAMES, output_version=version, streaming=streaming)
    history: list[Any] = []
    for number, name in enumerate((*NAMES, *reversed(NAMES), "openai")):
        history.append(HumanMessage(f"Use the tool add with {number} and 2"))
        asked = model.bind_tools([add]).invoke(history, prefer=name)
        assert (who(asked), [call["name"] for call in asked.tool_calls]) == (name, ["add"])
        history.append(asked)
        history.append(ToolMessage(str(number + 2), tool_call_id=asked.tool_calls[0]["id"]))
        other = NAMES[(number * 2 + 1) % len(NAMES)]
        told = model.bind_tools([add]).invoke(history, prefer=other)
        assert (who(told), f"{number + 2}" in told.text) == (other, True)
        history.append(told)


def test_a_models_own_reasoning_goes_back_to_it_alone(world: World) -> None:
    model = world.chat("anthropic", "openai")
    asked = model.bind_tools([add]).invoke([HumanMessage("Use the tool add with 1 and 2")])
    assert asked.additional_kwargs["reasoning_content"]
    history = [HumanMessage("Use the tool add with 1 and 2"), asked]
    history.append(ToolMessage("3", tool_call_id=asked.tool_calls[0]["id"]))
    for name in ("anthropic", "openai"):
        model.bind_tools([add]).invoke(history, prefer=name)
    (*_, again), (abroad,) = world["anthropic"].requests, world["openai"].requests
    turn = again.body["messages"][1]["content"]
    assert turn[0]["type"] == "thinking"
    assert turn[0]["signature"]
    assert turn[0]["signature"] not in abroad.raw.decode()


def test_an_agent_notices_nothing_of_a_provider_that_dies_between_its_turns(world: World) -> None:
    @tool
    def look_up(city: str) -> str:
        """Look up the price of a ticket to a city."""
        world["openai"].down()
        return "49 euros"

    agent = create_agent(world.chat("openai", "anthropic"), [look_up])
    result = agent.invoke({"messages": [HumanMessage("Use the tool look_up for 'Lisbon'")]})
    turns = [one for one in result["messages"] if isinstance(one, AIMessage)]
    assert [who(one) for one in turns] == ["openai", "anthropic"]
    assert "49 euros" in turns[-1].text


# ------------------------------------------------------------------ streams


def without_ids(notes: dict[str, Any]) -> Any:
    """What a vendor makes anew for every answer is not the same in two of them."""
    blocks = [{**block, "extra": None, "signature": None} for block in notes.get("failover_blocks", ())]
    return {**notes, "failover_blocks": blocks}


def test_a_cut_before_content_is_survived_and_one_after_it_is_told(world: World) -> None:
    model = world.chat("openai", "anthropic")
    world["openai"].script(Cut(after=0))
    assert who([*model.stream("hi")][-1]) == "anthropic"
    world["openai"].script(Cut(after=2, answer=Reply("It is quite simple.")))
    seen = []
    with pytest.raises(StreamInterrupted) as caught:
        seen.extend(chunk.text for chunk in model.stream("hi"))
    assert "".join(seen) == caught.value.partial
    assert caught.value.partial


@pytest.mark.parametrize("continued", ["simple.", "It is quite simple."])
def test_a_cut_stream_can_be_resumed_without_a_doubled_word(world: World, continued: str) -> None:
    model = world.chat("groq", "anthropic", on_stream_cut="resume")
    said = Reply("It is quite simple.", reasoning="", pieces=("It is ", "quite ", "simple."))
    world["groq"].script(Cut(after=2, answer=said))
    world["anthropic"].script(Reply(continued))
    *_, last = chunks = list(model.stream("Tell me"))
    assert "".join(chunk.text for chunk in chunks) == "It is quite simple."
    assert (who(last), last.response_metadata["failover"]["resumed"]) == ("anthropic", ["groq:openai/gpt-oss-120b"])
    assert last.response_metadata["failover"]["author"] == "anthropic:claude-sonnet-5-5"


@pytest.mark.parametrize("name", NAMES)
def test_whole_and_streamed_answers_say_the_same(world: World, name: str) -> None:
    world[name].script(*[Reply("It is three.", reasoning="1, 2, 3.", usage=Tokens(10, 7, reasoning=4))] * 2)
    model = world.chat(name)
    whole = model.invoke("1+2?")
    first, *rest = model.stream("1+2?")
    streamed = first + rest
    assert (streamed.text, streamed.content) == (whole.text, whole.content) == ("It is three.",) * 2
    assert streamed.usage_metadata == whole.usage_metadata
    assert without_ids(streamed.additional_kwargs) == without_ids(whole.additional_kwargs)
    assert streamed.content_blocks == whole.content_blocks
    for key in ("model_name", "finish_reason"):
        assert streamed.response_metadata[key] == whole.response_metadata[key]


async def test_leaving_a_stream_ends_it_at_the_provider(world: World) -> None:
    model = world.chat("groq")
    world["groq"].script(Hang("content", after=3, answer=Reply("It is quite simple, really.", reasoning="")))
    chunks: Any = model.astream("hi")
    async for chunk in chunks:
        if chunk.text:
            break
    await chunks.aclose()
    (request,) = world["groq"].requests
    for _ in range(2000):  # until the server has seen the closed socket
        if request.aborted:
            break
        await asyncio.sleep(0.005)
    assert request.aborted
    await model.aclose()


# ----------------------------------------------------------------- failures


def test_every_error_says_who_failed_and_why(world: World) -> None:
    world["openai"].script(Trouble("overloaded"))
    world["anthropic"].revoke()
    world["groq"].down()
    model = world.chat("openai", "anthropic", "groq", max_retries=0)
    with pytest.raises(AllTargetsFailed) as caught:
        model.invoke("hi")
    told = str(caught.value)
    assert all(part in told for part in ("openai: overloaded", "anthropic: auth (HTTP 401)", "groq: connect"))
    assert [step.target for step in caught.value.trail] == ["openai", "anthropic", "groq"]


def test_a_content_filter_is_not_spread_over_vendors_unasked(world: World) -> None:
    world["openai"].script(Trouble("content_filter"))
    with pytest.raises(ContentFiltered):
        world.chat("openai", "anthropic").invoke("hi")
    assert world["anthropic"].calls == 0


# --------------------------------------------------- other models as targets


def openai_model(world: World, **fields: Any) -> ChatOpenAI:
    served = world.served("openai")
    known = {"model": "gpt-4o", "base_url": served.base_url, "api_key": SecretStr("sk-test"), **fields}
    return ChatOpenAI(**known)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its clients are closed by nobody
@pytest.mark.parametrize("streamed", [False, True])
def test_another_integrations_model_serves_beside_ours(world: World, streamed: bool) -> None:
    model = world.chat(as_target(openai_model(world, stream_usage=True), "theirs"), "anthropic", streaming=streamed)
    world["openai"].script(ToolUse("add", {"a": 1, "b": 2}))
    history: list[Any] = [HumanMessage("1+2?")]
    asked = model.bind_tools([add]).invoke(history)
    assert (who(asked), asked.tool_calls[0]["args"], asked.usage_metadata is not None) == (
        "theirs",
        {"a": 1, "b": 2},
        True,
    )
    history += [asked, ToolMessage("3", tool_call_id=asked.tool_calls[0]["id"])]
    assert who(model.bind_tools([add]).invoke(history)) == "theirs"
    world["openai"].down()
    told = model.bind_tools([add]).invoke(history)
    assert (who(told), "3" in told.text) == ("anthropic", True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        (Trouble("rate_limit", 3), "rate_limited", 429),
        (Trouble("credit"), "credit", None),
        (Trouble("auth"), "auth", 401),
        (Trouble("context"), "context_overflow", 400),
        (Status(503), "server_error", 503),
    ],
)
def test_its_failures_mean_what_they_mean_over_our_own_wire(world: World, fault: Any, reason: str, status: Any) -> None:
    model = world.chat(as_target(openai_model(world, max_retries=5), "theirs"), "anthropic")
    world["openai"].script(fault)
    first = model.invoke("hi").response_metadata["failover"]["attempts"][0]
    assert (first["reason"], status in (None, first["status"])) == (reason, True)
    assert world["openai"].calls == 1, "its SDK must not retry by itself"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("responses", [False, True])
def test_a_connection_that_was_closed_is_not_taken_for_the_end_of_its_stream(world: World, responses: bool) -> None:
    theirs = openai_model(world, model="gpt-4.1", use_responses_api=responses)
    model = world.chat(as_target(theirs, "theirs"), "anthropic")
    world["openai"].script(Cut(after=0), Cut(after=2, answer=Reply("It is quite simple.")))
    assert who([*model.stream("hi")][-1]) == "anthropic"
    with pytest.raises(StreamInterrupted, match="theirs: cut") as caught:
        list(model.stream("hi"))
    assert "It is quite simple.".startswith(caught.value.partial)


# ---------------------------------------------------------------- simulated


async def test_a_simulated_model_needs_no_key_and_moves_with_its_timeline() -> None:
    clock = VirtualClock()
    down = During(0, 10, Status(503))
    providers = [ScriptedProvider("openai", timeline=[down], clock=clock), ScriptedProvider("groq", clock=clock)]
    model = ChatFailover.simulated(*providers, strategy="priority", response_cache=False)
    assert who(model.invoke("hi")) == "groq:openai/gpt-oss-120b"
    clock.sleep(10)
    assert who(model.invoke("hi")) == "openai:gpt-6-luna"
    assert who(await model.ainvoke("hi")) == "openai:gpt-6-luna"
    assert ChatFailover.simulated().invoke("hi").text
