"""Agents and graphs over ``ChatFailover``: tool loops that change provider, structured answers, exact streams."""

from __future__ import annotations

import asyncio
from typing import Any

import langchain
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from failover import Target
from failover.types import Chunk, Failure, Kind, Thinking, ToolCall
from tests.langchain.kit import DOWN, Script, chat, says, script, target

CALL = ToolCall("toolu_1", "add", '{"a": 1, "b": 2}')
ASK = says(Thinking("I need a tool", signature="sig"), CALL, finish="tool_calls")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Sum(BaseModel):
    """A sum."""

    value: int


def ask(agent: Any, text: str = "1+2?", **config: Any) -> Any:
    return agent.invoke({"messages": [HumanMessage(text)]}, **config)


def targets_of(messages: list[Any]) -> list[str]:
    return [one.response_metadata["failover"]["target"] for one in messages if isinstance(one, AIMessage)]


def test_an_agent_survives_its_provider_in_the_middle_of_a_tool_loop() -> None:
    model = chat(target("first", ASK, DOWN, says("and three it stays")), target("second", says("It is 3.")))
    agent = create_agent(model, [add], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    messages = ask(agent, config=config)["messages"]
    assert [type(one) for one in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert (messages[2].content, messages[3].text) == ("3", "It is 3.")
    messages = ask(agent, "sure?", config=config)["messages"]
    assert targets_of(messages) == ["first", "second", "first"]


def test_a_turn_goes_back_to_its_author_whole_and_to_others_with_its_author_named() -> None:
    model = chat(target("first", ASK, DOWN), target("second", says("It is 3.")))
    ask(create_agent(model, [add]))
    for index in (0, 1):
        turn = script(model, index).last.messages[1]
        assert turn.content == (Thinking("I need a tool", signature="sig"), CALL)
        assert turn.author == "openai:gpt-6-luna"


async def test_an_agent_on_the_event_loop_does_the_same() -> None:
    model = chat(target("first", ASK, DOWN), target("second", says("It is 3.")))
    messages = (await create_agent(model, [add]).ainvoke({"messages": [HumanMessage("1+2?")]}))["messages"]
    assert (messages[-1].text, targets_of(messages)) == ("It is 3.", ["first", "second"])


# ------------------------------------------------------------------ streams


def _streamed(agent: Any, text: str = "1+2?", **more: Any) -> list[tuple[Any, Any]]:
    return list(agent.stream({"messages": [HumanMessage(text)]}, stream_mode="messages", **more))


def test_every_token_is_streamed_exactly_once() -> None:
    pieces = [Chunk(text="It "), Chunk(text="is "), Chunk(text="3."), says("It is 3.")]
    model = chat(target("first", ASK, [Chunk(), Failure(Kind.DISCONNECTED)]), target("second", pieces))
    seen = [one for one, _ in _streamed(create_agent(model, [add])) if isinstance(one, AIMessageChunk)]
    assert "".join(one.text for one in seen) == "It is 3."
    assert sum(one.usage_metadata is not None for one in seen) == 2
    assert sum(len(one.tool_call_chunks) for one in seen) == 1


@pytest.mark.parametrize("own", [True, False], ids=["our cache", "LangChain's"])
def test_a_cached_answer_streams_once_and_replaces_nothing(own: bool) -> None:
    model = chat(target("only", says("a ", "b")), **({"response_cache": True} if own else {"cache": InMemoryCache()}))

    def ask_the_same(state: MessagesState) -> Any:
        return {"messages": [model.invoke([HumanMessage("the same")])]}

    graph = StateGraph(MessagesState).add_node("model", ask_the_same).add_edge(START, "model")
    agent = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    for _ in range(3):
        tokens = [one.text for one, _ in _streamed(agent, "hi", config=config) if isinstance(one, AIMessage)]
        assert "".join(tokens) == "a b"
    assert len(script(model).jobs) == 1
    messages = agent.get_state(config).values["messages"]
    assert [type(one) for one in messages] == [HumanMessage, AIMessage] * 3
    assert len({one.id for one in messages}) == 6


# -------------------------------------------------------- structured answers


def test_a_structured_answer_by_the_provider() -> None:
    model = chat(target("first", DOWN), target("second", says('{"value": 3}')))
    agent = create_agent(model, [add], response_format=ProviderStrategy(Sum))
    assert ask(agent)["structured_response"] == Sum(value=3)
    asked = script(model, 1).last
    assert (asked.response_format.name, [one.name for one in asked.tools]) == ("Sum", ["add"])


def test_a_structured_answer_by_a_tool() -> None:
    answer = says(ToolCall("c", "Sum", '{"value": 3}'), finish="tool_calls")
    model = chat(target("first", DOWN), target("second", answer))
    assert ask(create_agent(model, [add], response_format=ToolStrategy(Sum)))["structured_response"] == Sum(value=3)
    asked = script(model, 1).last
    assert (asked.tool_choice, [one.name for one in asked.tools]) == ("required", ["add", "Sum"])


@pytest.mark.skipif(langchain.__version__.startswith("1.0."), reason="before profiles, it went by the model's name")
@pytest.mark.parametrize(("able", "by_provider"), [(True, True), (False, False)])
def test_langchain_chooses_the_strategy_by_what_every_target_can_do(able: bool, by_provider: bool) -> None:
    answer = says('{"value": 3}') if by_provider else says(ToolCall("c", "Sum", '{"value": 3}'), finish="tool_calls")
    model = chat(target("a", answer), target("b", structured_output=able))
    assert ask(create_agent(model, [], response_format=Sum))["structured_response"] == Sum(value=3)
    assert (script(model).last.response_format is not None) == by_provider


def test_middleware_may_change_the_call() -> None:
    class Settings(AgentMiddleware):
        def wrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
            return handler(request.override(model_settings={"prefer": "second", "temperature": 0.5}))

    model = chat(target("first"), target("second"))
    messages = ask(create_agent(model, [], middleware=[Settings()]))["messages"]
    assert targets_of(messages) == ["second"]
    assert script(model, 1).last.temperature == 0.5


# ----------------------------------------------------------- around a chain


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")  # still there, so still held
def test_a_history_keeps_its_turns() -> None:
    model = chat(target("only", says("one"), says("two")))
    kept = InMemoryChatMessageHistory()
    chain = RunnableWithMessageHistory(model, lambda: kept)
    chain.invoke([HumanMessage("a")])
    assert chain.invoke([HumanMessage("b")]).text == "two"
    assert [one.text for one in kept.messages] == ["a", "one", "b", "two"]
    assert [turn.text for turn in script(model).last.messages] == ["a", "one", "b"]


async def test_a_batch_runs_as_wide_as_it_may() -> None:
    running, most = 0, 0

    class Wide(Script):
        async def aattempt(self, job: Any) -> Any:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0)
            running -= 1
            return await super().aattempt(job)

    model = chat(Target("only", attempter=Wide(says("x")), provider="openai", model="gpt-6-luna"))
    answers = await model.abatch([str(number) for number in range(9)], {"max_concurrency": 3})
    assert [one.text for one in answers] == ["x"] * 9
    assert most == 3
