"""What the suite is made of: the LLM under test and its providers, the ways to ask it, tools, and ears for events."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import StrEnum
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import BaseOutputParser
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, Field, PrivateAttr

from failover.testing import Question, Received, Reply, ScriptedProvider, Tokens, ToolUse
from failover.types import Media, Text, ToolResult

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF"
SAID = "Hello there, Grüße 👋🏽 — 你好.\n\n  Two lines, two spaces, a tab\t."
USAGE = Tokens(input=123, output=45)

Answering = Reply | str | Callable[[Question], Reply]


class Bench:
    """An LLM under test and the providers it may ask.  ``say`` scripts answers; the last one stays."""

    def __init__(self, llm: FunctionCallingLLM, providers: Sequence[ScriptedProvider]) -> None:
        self.llm: Any = llm
        self.providers = providers
        self._answers: list[Answering] = [SAID]
        for provider in providers:
            provider._respond = self._respond

    def say(self, *answers: Answering) -> None:
        self._answers = list(answers)

    def _respond(self, question: Question) -> Reply:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Reply(answer) if isinstance(answer, str) else answer if isinstance(answer, Reply) else answer(question)

    def trouble(self, fault: Any) -> None:
        """Every request to any provider meets this."""
        for provider in self.providers:
            provider.set(fault)

    @property
    def received(self) -> list[Received]:
        """All requests, as they came."""
        return sorted((each for provider in self.providers for each in provider.requests), key=lambda each: each.at)

    @property
    def asked(self) -> Question:
        """The question that was answered last."""
        question = next(each.question for each in reversed(self.received) if each.question is not None)
        assert question is not None
        return question

    def refusals(self) -> list[str]:
        """What providers found wrong with requests."""
        return [str(violation) for each in self.received for violation in each.violations]


# ------------------------------------------------------------------- modes


async def drained(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


async def _chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return [llm.chat(user(text), **options)]


async def _achat(llm: Any, text: str, **options: Any) -> list[Any]:
    return [await llm.achat(user(text), **options)]


async def _stream_chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return list(llm.stream_chat(user(text), **options))


async def _astream_chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return await drained(await llm.astream_chat(user(text), **options))


async def _complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return [llm.complete(text, **options)]


async def _acomplete(llm: Any, text: str, **options: Any) -> list[Any]:
    return [await llm.acomplete(text, **options)]


async def _stream_complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return list(llm.stream_complete(text, **options))


async def _astream_complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return await drained(await llm.astream_complete(text, **options))


Ask = Callable[..., Coroutine[Any, Any, list[Any]]]
MODES: dict[str, Ask] = {
    each.__name__[1:]: each
    for each in (
        _chat,
        _achat,
        _stream_chat,
        _astream_chat,
        _complete,
        _acomplete,
        _stream_complete,
        _astream_complete,
    )
}
STREAMED = {name: ask for name, ask in MODES.items() if "stream" in name}
each_mode = pytest.mark.parametrize("ask", MODES.values(), ids=MODES)
each_streamed_mode = pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED)


def text_of(response: ChatResponse | CompletionResponse) -> str:
    return response.text if isinstance(response, CompletionResponse) else response.message.content or ""


async def _tools_chat(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return [llm.chat_with_tools(tools, text, **options)]


async def _tools_achat(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return [await llm.achat_with_tools(tools, text, **options)]


async def _tools_stream(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return list(llm.stream_chat_with_tools(tools, text, **options))


async def _tools_astream(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return await drained(await llm.astream_chat_with_tools(tools, text, **options))


TOOL_MODES: dict[str, Ask] = {
    "chat": _tools_chat,
    "achat": _tools_achat,
    "stream_chat": _tools_stream,
    "astream_chat": _tools_astream,
}
each_tool_mode = pytest.mark.parametrize("ask", TOOL_MODES.values(), ids=TOOL_MODES)


# ----------------------------------------------------------------- objects


class Season(StrEnum):
    """When it is at its best."""

    SPRING = "spring"
    AUTUMN = "autumn"


class Leaf(BaseModel):
    """A leaf of a tree."""

    colour: str
    veins: int | None = None


class Tree(BaseModel):
    """A tree."""

    name: str = Field(description="in Latin")
    leaves: list[Leaf]
    season: Season


OAK = Tree(name="Quercus robur", leaves=[Leaf(colour="green"), Leaf(colour="brown", veins=7)], season="autumn")
WISH = PromptTemplate("Name a {kind} tree.")


# ------------------------------------------------------------------- tools


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def ping() -> str:
    """Says pong."""
    return "pong"


def plant(tree: Tree) -> str:
    """Plants a tree."""
    return tree.name


class Planting(BaseModel):
    """What it takes to plant."""

    tree: Tree


ADD = FunctionTool.from_defaults(add)
DOTTED = FunctionTool.from_defaults(add, name="math.add")
PING = FunctionTool.from_defaults(ping)
PLANT = FunctionTool.from_defaults(plant, fn_schema=Planting)


def calls(*arguments: Any, tool: int = 0, text: str | None = None) -> Callable[[Question], Reply]:
    """An answer that calls the n-th tool of the question, once for each of the arguments."""

    def reply(question: Question) -> Reply:
        name = question.request.tools[tool].name
        return Reply(text, tuple(ToolUse(name, each) for each in arguments))

    return reply


def result(call_id: str, text: str) -> ChatMessage:
    return ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": call_id, "name": "add"})


def tree(question: Question) -> Reply:
    """The oak, in whichever way it was asked for."""
    request = question.request
    if request.tools:
        return Reply(None, (ToolUse(request.tools[0].name, OAK.model_dump(mode="json")),))
    return Reply(OAK.model_dump_json())


class Shouting(BaseOutputParser):
    """Asks for, and reads, loud answers."""

    def format(self, query: str) -> str:
        return f"{query} Loud!"

    def parse(self, output: str) -> str:
        return output.upper()


class Waiting:
    """Waits, briefly, for what happens in another thread."""

    @staticmethod
    def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.005)
        return condition()


# -------------------------------------------------------------------- ears


class Ear(BaseEventHandler):
    """Hears every event of instrumentation, by name."""

    _heard: list[str] = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Ear"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._heard.append(event.class_name())


class Book(BaseCallbackHandler):
    """Writes down every callback of an LLM, with its payload, and forgets nothing (as ``LlamaDebugHandler`` does)."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: list[dict[str, Any]] = []
        self.ends: list[dict[str, Any]] = []

    def on_event_start(
        self, event_type: CBEventType, payload: Any = None, event_id: str = "", parent_id: str = "", **kwargs: Any
    ) -> str:
        if event_type is CBEventType.LLM:
            self.starts.append(payload)
        return event_id

    def on_event_end(self, event_type: CBEventType, payload: Any = None, event_id: str = "", **kwargs: Any) -> None:
        if event_type is CBEventType.LLM:
            self.ends.append(payload)

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


# --------------------------------------------------------- what was received


def plain(block: ToolResult) -> str:
    if isinstance(block.content, str):
        return block.content
    return "".join(part.text for part in block.content if isinstance(part, Text))


def kinds(bench: Bench) -> list[str]:
    """The media of the question."""
    blocks = (block for message in bench.asked.request.messages for block in message.content)
    return [block.kind for block in blocks if isinstance(block, Media)]


def holds(bench: Bench, content: bytes | str) -> bool:
    """Whether the request as it was sent holds this content."""
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return text in json.dumps(bench.asked.body)


def thinking_delta(response: ChatResponse) -> str:
    for facts in (response.additional_kwargs, response.message.additional_kwargs):
        if facts.get("thinking_delta"):
            return str(facts["thinking_delta"])
    return ""


# ------------------------------------------------------------------- theme


class Theme:
    """A part of the suite.  ``cannot`` names what the LLM under test is not able to do at all."""

    cannot: frozenset[str] = frozenset()

    def needs(self, ability: str) -> None:
        if ability in self.cannot:
            pytest.skip(f"cannot: {ability}")

    @pytest.fixture
    def ear(self) -> Iterator[list[str]]:
        """The names of all instrumentation events, as they come."""
        root, ear = get_dispatcher(), Ear()
        root.add_event_handler(ear)
        yield ear._heard
        root.event_handlers.remove(ear)
