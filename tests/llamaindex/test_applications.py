"""What people build with LlamaIndex, on ``FailoverLLM`` over real HTTP, each with an outage in its middle.

Whoever is asked first answers ``until_down`` questions and is out of service from then on; the others have to carry
on, each on a wire of its own, with the history that the first one left.  Every test ends with the same check: the
outage was met, and no provider found anything wrong with a request.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.extractors import KeywordExtractor, SummaryExtractor, TitleExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import TextNode
from llama_index.core.selectors import (
    LLMMultiSelector,
    LLMSingleSelector,
    PydanticMultiSelector,
    PydanticSingleSelector,
)
from llama_index.core.tools import FunctionTool, QueryEngineTool

from failover.testing import Cut, Hang, Question, Received, Reply, ScriptedProvider, Servers, Status, ToolUse, serve
from llamaindex_failover import FailoverLLM
from llamaindex_failover.testing.applying import FINAL_THOUGHT, FIRST_THOUGHT

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning"),  # workflows look at all their fields
    pytest.mark.filterwarnings("ignore:is_running called"),  # ReActAgent calls it
]

KEY = "sk-test-0123456789"
WIRES = {"first": "claude-haiku-4-5", "second": "gpt-4.1", "third": "gpt-6.1-sol"}
LIKE = {"first": "anthropic", "second": "openai", "third": "openai"}
Answering = Reply | str | Callable[[Question], Reply]


class World:
    """Three providers; the first goes down after ``until_down`` answers.  ``say`` scripts what is answered, by all."""

    def __init__(self) -> None:
        self.providers = [ScriptedProvider(name, like=like, key=KEY) for name, like in LIKE.items()]
        for provider in self.providers:
            provider._respond = lambda question, provider=provider: self._respond(provider, question)
        self.until_down = 1
        self.outage: Any = Status(503)
        self.answered: list[str] = []
        self._answers: list[Answering] = ["Well."]

    def say(self, *answers: Answering) -> None:
        """The last one stays."""
        self._answers = list(answers)

    def _respond(self, provider: ScriptedProvider, question: Question) -> Reply:
        self.answered.append(provider.name)
        if provider is self.providers[0] and self.answered.count(provider.name) >= self.until_down:
            provider.set(self.outage)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Reply(answer) if isinstance(answer, str) else answer if isinstance(answer, Reply) else answer(question)

    def llm(self, servers: Servers, **settings: Any) -> FailoverLLM:
        targets = [servers[name].target(model, name=name) for name, model in WIRES.items()]
        return FailoverLLM(targets, **{"strategy": "priority", "response_cache": False, **settings})

    @property
    def received(self) -> list[Received]:
        return sorted((each for provider in self.providers for each in provider.requests), key=lambda each: each.at)

    @property
    def asked(self) -> Question:
        """The question that was answered last."""
        question = next(each.question for each in reversed(self.received) if each.question is not None)
        assert question is not None
        return question

    def check(self) -> None:
        assert self.answered[0] == "first"
        assert len(set(self.answered)) > 1
        assert [str(violation) for each in self.received for violation in each.violations] == []


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.check()


@pytest.fixture
def servers(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with serve(*world.providers) as servers:
        yield servers


@pytest.fixture
def llm(world: World, servers: Servers) -> Iterator[FailoverLLM]:
    with world.llm(servers) as llm:
        yield llm


def memory() -> ChatMemoryBuffer:
    return ChatMemoryBuffer.from_defaults(token_limit=3000)


def index_of(*texts: str) -> VectorStoreIndex:
    documents = [Document(text=text) for text in texts]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=4))


# ------------------------------------------------------------ query engines

FACTS = ("Wismar freezes in January.", "Rostock freezes in February.", "Kiel never freezes.")


async def query(engine: Any, text: str) -> str:
    return str(engine.query(text))


async def aquery(engine: Any, text: str) -> str:
    return str(await engine.aquery(text))


async def stream_query(engine: Any, text: str) -> str:
    return "".join(engine.query(text).response_gen)


async def astream_query(engine: Any, text: str) -> str:
    return "".join([token async for token in (await engine.aquery(text)).response_gen])


EACH_WAY = pytest.mark.parametrize("ask", [query, aquery, stream_query, astream_query])


@EACH_WAY
async def test_a_query_engine_that_refines_its_answer(world: World, llm: FailoverLLM, ask: Any) -> None:
    world.say("Perhaps in January.", "Perhaps in February.", "It depends.")
    engine = index_of(*FACTS).as_query_engine(
        llm=llm, streaming="stream" in ask.__name__, response_mode=ResponseMode.REFINE, similarity_top_k=3
    )
    assert await ask(engine, "When do harbours freeze?") == "It depends."
    assert world.answered == ["first", "second", "second"]


@EACH_WAY
async def test_a_query_engine_that_summarises_by_levels(world: World, llm: FailoverLLM, ask: Any) -> None:
    world.say(lambda question: Reply("All in all." if "Perhaps" in question.request.messages[-1].text else "Perhaps."))
    llm.context_window = 700  # the chunks do not fit into one prompt, so that there are two levels
    engine = index_of(*(fact + " So it is written." * 50 for fact in FACTS)).as_query_engine(
        llm=llm, streaming="stream" in ask.__name__, response_mode=ResponseMode.TREE_SUMMARIZE, similarity_top_k=3
    )
    assert await ask(engine, "When do harbours freeze?") == "All in all."
    assert len(world.answered) >= 4


# ------------------------------------------------------------- chat engines


@pytest.mark.parametrize(
    "mode", [ChatMode.SIMPLE, ChatMode.CONTEXT, ChatMode.CONDENSE_QUESTION, ChatMode.CONDENSE_PLUS_CONTEXT]
)
async def test_a_chat_engine_keeps_its_memory(world: World, llm: FailoverLLM, mode: ChatMode) -> None:
    world.say(lambda question: Reply(f"Answer {len(world.answered)}."))
    kept = memory()
    engine = index_of(*FACTS).as_chat_engine(chat_mode=mode, llm=llm, memory=kept)
    said = [engine.chat("One?").response, "".join(engine.stream_chat("Two?").response_gen)]
    said.append((await engine.achat("Three?")).response)
    said.append("".join([token async for token in (await engine.astream_chat("Four?")).async_response_gen()]))
    turns = [message.content for message in kept.get_all()]
    assert turns == [turn for pair in zip(("One?", "Two?", "Three?", "Four?"), said, strict=True) for turn in pair]
    assert world.answered[:2] == ["first", "second"]


# ------------------------------------------------------------------- agents


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


async def weather(city: str) -> str:
    """Tells the weather."""
    return f"rain in {city}"


ADD = FunctionTool.from_defaults(add, name="math.add")
WEATHER = FunctionTool.from_defaults(async_fn=weather, name="weather")


def calls(*uses: tuple[str, dict[str, Any]], text: str | None = None) -> Callable[[Question], Reply]:
    """Calls of tools, each under the name by which the question offers it."""

    def reply(question: Question) -> Reply:
        offered = [tool.name for tool in question.request.tools]
        named = [(next(each for each in offered if name in each), given) for name, given in uses]
        return Reply(text, tuple(ToolUse(name, given) for name, given in named))

    return reply


SUMS = calls(("add", {"a": 1, "b": 1}), ("weather", {"city": "Köln"}), ("add", {"a": 2, "b": 2}), text="Three things.")


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_function_agent_with_parallel_tools(world: World, llm: FailoverLLM, streaming: bool) -> None:
    world.say(SUMS, calls(("add", {"a": 3, "b": 3})), "2, 4, 6 and rain.")
    world.until_down = 1
    agent = FunctionAgent(tools=[ADD, WEATHER], llm=llm, system_prompt="Be brief.", streaming=streaming)
    kept = memory()
    handler = agent.run("Sums and weather?", memory=kept)
    events = [event async for event in handler.stream_events()]
    assert str(await handler) == "2, 4, 6 and rain."
    results = [event.tool_output.raw_output for event in events if isinstance(event, ToolCallResult)]
    assert Counter(results) == Counter([2, 4, 6, "rain in Köln"])
    assert str(await agent.run("Again?", memory=kept)) == "2, 4, 6 and rain."
    assert world.asked.request.messages[-1].text == "Again?"
    assert world.answered == ["first", "second", "second", "second"]


async def test_an_agents_answer_that_breaks_off_is_continued_by_another(world: World, servers: Servers) -> None:
    world.until_down, world.outage = 1, Cut(after=3)
    world.say(SUMS, "It is one two three four five six.", " four five six.")
    with world.llm(servers, on_stream_cut="resume") as llm:
        handler = FunctionAgent(tools=[ADD, WEATHER], llm=llm).run("Sums?", memory=memory())
        events = [event async for event in handler.stream_events()]
        said = str(await handler)
    assert "".join(event.delta for event in events if isinstance(event, AgentStream)).endswith(said)
    assert said.startswith("It is one ")
    assert said.endswith(" four five six.")
    assert world.answered == ["first", "first", "second"]


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_react_agent(world: World, llm: FailoverLLM, streaming: bool) -> None:
    world.say(FIRST_THOUGHT, FINAL_THOUGHT)
    agent = ReActAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=streaming)
    assert str(await agent.run("2+3?", memory=memory())) == "It is 5."
    assert world.answered == ["first", "second"]


async def test_agents_hand_over(world: World, llm: FailoverLLM) -> None:
    world.say(
        calls(("weather", {"city": "Ulm"})), calls(("handoff", {"to_agent": "writer", "reason": "found"})), "It rains."
    )
    world.until_down = 2
    finder = FunctionAgent(name="finder", description="Finds.", tools=[WEATHER], llm=llm, can_handoff_to=["writer"])
    writer = FunctionAgent(name="writer", description="Writes.", tools=[ADD], llm=llm)
    team = AgentWorkflow(agents=[finder, writer], root_agent="finder")
    output: Any = await team.run("Find and write.", memory=memory())
    assert (str(output), output.current_agent_name) == ("It rains.", "writer")
    assert world.answered == ["first", "first", "second"]


async def test_a_run_that_is_cancelled_gives_everything_back(world: World, servers: Servers) -> None:
    world.say(SUMS, "Done.")
    targets = [servers[name].target(model, name=name, concurrency=1) for name, model in list(WIRES.items())[:2]]
    with FailoverLLM(targets, strategy="priority", response_cache=False, budget=1) as llm:
        world.providers[1].set(Hang("body"))
        handler = FunctionAgent(tools=[ADD, WEATHER], llm=llm).run("Sums?", memory=memory())
        assert await asyncio.to_thread(world.providers[1].wait_until, lambda provider: provider.in_flight == 1)
        await handler.cancel_run()
        assert await asyncio.to_thread(world.providers[1].wait_until, lambda provider: provider.in_flight == 0)
        assert world.providers[1].requests[-1].aborted
        world.providers[1].up()
        assert (await llm.achat([ChatMessage(role="user", content="hi")])).message.content == "Done."
        assert all(status.in_flight == 0 for status in llm.failover.status())
        assert [budget.reserved for budget in llm.failover.budgets] == [0]


# -------------------------------------------------- routers and sub-questions


def tools_of(llm: FailoverLLM) -> list[QueryEngineTool]:
    return [
        QueryEngineTool.from_defaults(index_of(fact).as_query_engine(llm=llm), name=name, description=f"About {name}.")
        for name, fact in zip(("wismar", "rostock"), FACTS, strict=False)
    ]


def chosen(question: Question) -> Reply:
    """The second tool, in whichever way the choice was asked for."""
    choice = {"index": 2, "reason": "it says so"}
    request = question.request
    if not request.tools:
        return Reply(json.dumps([{"choice": 2, "reason": "it says so"}]))
    several = "selections" in request.tools[0].parameters["properties"]
    return Reply(None, (ToolUse(request.tools[0].name, {"selections": [choice]} if several else choice),))


@pytest.mark.parametrize(
    "selector", [LLMSingleSelector, LLMMultiSelector, PydanticSingleSelector, PydanticMultiSelector]
)
@pytest.mark.parametrize("ask", [query, aquery])
async def test_a_router_query_engine(world: World, llm: FailoverLLM, selector: Any, ask: Any) -> None:
    world.say(chosen, "In February.")
    router = RouterQueryEngine.from_defaults(tools_of(llm), llm=llm, selector=selector.from_defaults(llm=llm))
    assert await ask(router, "When does Rostock freeze?") == "In February."
    assert FACTS[1] in world.asked.request.messages[-1].text
    assert world.answered == ["first", "second"]


@pytest.mark.parametrize("ask", [query, aquery])
async def test_a_sub_question_query_engine(world: World, llm: FailoverLLM, ask: Any) -> None:
    asked = [{"sub_question": f"When does {name} freeze?", "tool_name": name} for name in ("wismar", "rostock")]
    world.say(f"```json\n{json.dumps({'items': asked})}\n```", "In January.", "In February.", "One month apart.")
    engine = SubQuestionQueryEngine.from_defaults(
        tools_of(llm), llm=llm, question_gen=LLMQuestionGenerator.from_defaults(llm=llm), verbose=False, use_async=False
    )
    assert await ask(engine, "How do they compare?") == "One month apart."
    assert world.answered == ["first", *["second"] * 3]


# ---------------------------------------------------------------- ingestion

TEXT = [Document(text=f"Chapter {number}. The harbour of town {number} freezes.") for number in range(6)]


def pipeline_of(llm: FailoverLLM) -> IngestionPipeline:
    extractors = [
        TitleExtractor(llm=llm, num_workers=4, show_progress=False),
        SummaryExtractor(llm=llm, num_workers=4, show_progress=False),
        KeywordExtractor(llm=llm, num_workers=4, show_progress=False),
    ]
    return IngestionPipeline(transformations=[SentenceSplitter(), *extractors])


async def run(pipeline: IngestionPipeline) -> Any:
    return await asyncio.to_thread(pipeline.run, documents=TEXT)  # as in a program without a loop


async def arun(pipeline: IngestionPipeline) -> Any:
    return await pipeline.arun(documents=TEXT)


@pytest.mark.parametrize("ingest", [run, arun])
async def test_extractors_at_once_within_rate_limits(world: World, servers: Servers, ingest: Any) -> None:
    world.until_down = 5
    for provider in world.providers[1:]:
        provider.rate_limit(rpm=12, counted_by="sliding")
    targets = [servers[name].target(model, name=name, rpm=12) for name, model in WIRES.items()]
    with FailoverLLM(targets, strategy="priority", response_cache=False) as llm:
        nodes = await ingest(pipeline_of(llm))
    assert all(node.metadata["section_summary"] == "Well." for node in nodes)
    assert len(world.answered) == 24  # for each of six documents two titles, a summary and keywords
    assert {each.status for each in world.received} == {200, 503}


def test_worker_processes_within_rate_limits(world: World, servers: Servers, tmp_path: Path) -> None:
    """Together they send no more than one process may, because they share what they know."""
    for provider in world.providers[1:]:
        provider.rate_limit(rpm=4, counted_by="sliding")
    targets = [servers[name].target(model, name=name, rpm=4) for name, model in WIRES.items()]
    store = f"sqlite:///{tmp_path / 'failover.db'}"
    with FailoverLLM(targets, strategy="priority", response_cache=False, store=store) as llm:
        extractor = KeywordExtractor(llm=llm, show_progress=False)
        nodes: Any = [TextNode(text=document.text) for document in TEXT]
        nodes = IngestionPipeline(transformations=[extractor]).run(nodes=nodes, num_workers=2)
    assert [node.metadata["excerpt_keywords"] for node in nodes] == ["Well."] * 6
    assert len(world.answered) == 6
    assert {each.status for each in world.received} == {200, 503}


# ------------------------------------------------------------- event loops


def test_one_event_loop_after_the_other(world: World, llm: FailoverLLM) -> None:
    world.until_down = 3

    async def ask() -> Sequence[str | None]:
        hello = [ChatMessage(role="user", content="hi")]
        responses = await asyncio.gather(*(llm.achat(hello) for _ in range(2)))
        streamed = [piece async for piece in await llm.astream_chat(hello)]
        return [each.message.content for each in (*responses, streamed[-1])]

    assert [asyncio.run(ask()) for _ in range(3)] == [["Well."] * 3] * 3
    assert llm.complete("hi").text == "Well."
