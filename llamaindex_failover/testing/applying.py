"""Applications: what people build on an LLM, in small."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.memory import ChatMemoryBuffer

from failover.testing import Question, Reply, ToolUse
from llamaindex_failover.testing.bench import ADD, PING, SAID, Bench, Theme, calls

FACT = "The harbour of Wismar freezes in January."
FIRST_THOUGHT = 'Thought: I need a tool.\nAction: add\nAction Input: {"a": 2, "b": 3}'
FINAL_THOUGHT = "Thought: I can answer without using any more tools.\nAnswer: It is 5."


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning")  # workflows look at all their fields
@pytest.mark.filterwarnings("ignore:is_running called")  # ReActAgent calls it
class Applications(Theme):
    """Indices, chat engines and agents of LlamaIndex work on it."""

    @pytest.fixture
    def index(self) -> VectorStoreIndex:
        return VectorStoreIndex.from_documents([Document(text=FACT)], embed_model=MockEmbedding(embed_dim=4))

    async def test_a_query_engine_answers_in_all_four_ways(self, bench: Bench, index: VectorStoreIndex) -> None:
        whole: Any = index.as_query_engine(llm=bench.llm)
        streamed: Any = index.as_query_engine(llm=bench.llm, streaming=True)
        said = [str(whole.query("When?")), str(await whole.aquery("When?"))]
        said.append("".join(streamed.query("When?").response_gen))
        said.append("".join([token async for token in (await streamed.aquery("When?")).response_gen]))
        assert said == [SAID] * 4
        assert all(FACT in each.question.request.messages[-1].text for each in bench.received if each.question)

    async def test_a_chat_engine_remembers(self, bench: Bench, index: VectorStoreIndex) -> None:
        engine = index.as_chat_engine(chat_mode=ChatMode.CONTEXT, llm=bench.llm, memory=memory())
        assert "".join(engine.stream_chat("When?").response_gen) == SAID
        assert (await engine.achat("Why?")).response == SAID
        told = [(each.role, each.text) for each in bench.asked.request.messages[-3:]]
        assert told == [("user", "When?"), ("assistant", SAID), ("user", "Why?")]

    @pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
    async def test_an_agent_calls_tools_at_once_and_answers(self, bench: Bench, streaming: bool) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}, text="Both."), "2 and 4.")
        agent = FunctionAgent(tools=[ADD, PING], llm=bench.llm, system_prompt="Be brief.", streaming=streaming)
        handler = agent.run("sums?", memory=memory())
        events = [event async for event in handler.stream_events()]
        assert str(await handler) == "2 and 4."
        results = [event for event in events if isinstance(event, ToolCallResult)]
        assert sorted(result.tool_output.raw_output for result in results) == [2, 4]
        assert bench.refusals() == []

    async def test_an_agent_that_thinks_in_words_calls_a_tool_and_answers(self, bench: Bench) -> None:
        bench.say(FIRST_THOUGHT, FINAL_THOUGHT)
        assert str(await ReActAgent(tools=[ADD], llm=bench.llm).run("2+3?", memory=memory())) == "It is 5."
        assert "5" in bench.asked.request.messages[-1].text

    async def test_agents_hand_over_to_each_other(self, bench: Bench) -> None:
        bench.say(handing_over, "Written.")
        first = FunctionAgent(name="finder", description="Finds.", tools=[PING], llm=bench.llm)
        second = FunctionAgent(name="writer", description="Writes.", tools=[PING], llm=bench.llm)
        team = AgentWorkflow(agents=[first, second], root_agent="finder")
        output: Any = await team.run("Find and write.", memory=memory())
        assert (str(output), output.current_agent_name) == ("Written.", "writer")
        assert bench.refusals() == []


def memory() -> ChatMemoryBuffer:
    """Not the default, which leaves a database open."""
    return ChatMemoryBuffer.from_defaults(token_limit=3000)


def handing_over(question: Question) -> Reply:
    """A call of the tool by which an agent of a workflow hands over to another."""
    name = next(tool.name for tool in question.request.tools if "handoff" in tool.name)
    return Reply(None, (ToolUse(name, {"to_agent": "writer", "reason": "found"}),))
