"""langchain-tests' own integration suite over real HTTP on loopback, unchanged, with every capability switched on.

Four runs: targets that speak OpenAI's wires, targets that speak Anthropic's, a mixture in turn, and the mixture with
the first target broken (down, refusing, or cut before its first content).  What a vendor's models cannot take (sound)
goes to the one target that can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar, Literal

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from failover import CircuitBreaker, Failover, JsonFormat, Target
from failover._routing import Strategy
from failover.testing import (
    Cut,
    EmptyContent,
    Play,
    Question,
    Refused,
    Reply,
    Reset,
    ScriptedProvider,
    Servers,
    Status,
    mind,
    serve,
)
from langchain_failover import ChatFailover

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),  # v3 events are beta
    pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"),  # by a test that needs recorded traffic
]

Detail = Literal["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]
fresh = count()
LONG = "You are a patient assistant who answers every question kindly and briefly. " * 200


def obedient(question: Question) -> Reply:
    """Scripted models take their wires' parameters to heart; this one also does what it is told in words."""
    words = "".join(message.text for message in question.request.messages if message.role == "system")
    if "JSON object and nothing else" in words and question.request.response_format is None:
        question = replace(question, request=replace(question.request, response_format=JsonFormat()))
    return mind.respond(question)


class Standard(ChatModelIntegrationTests):
    """Everything switched on; a subclass says which targets."""

    names: ClassVar[tuple[str, ...]] = ("openai", "anthropic", "groq", "vllm")
    faults: ClassVar[tuple[Play, ...]] = ()
    strategy: ClassVar[Strategy] = "priority"
    servers: ClassVar[Servers]
    providers: ClassVar[dict[str, ScriptedProvider]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _served(cls) -> Iterator[None]:
        cls.providers = {name: ScriptedProvider(name, respond=obedient) for name in cls.names}
        with serve(*cls.providers.values()) as cls.servers:
            yield

    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite fetches its pictures, papers and sounds from the internet."""
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "tests")
        monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=b"\x89PNG-or-so"))

    @pytest.fixture(autouse=True)
    def _guards(self) -> Iterator[list[Failover]]:
        self.guards: list[Failover] = []
        yield self.guards
        for guard in self.guards:
            guard.close()

    @pytest.fixture(autouse=True)
    def _nothing_refused(self) -> Iterator[None]:
        """The scripted providers refuse what the real ones refuse; nothing may have been."""
        if self.faults:
            self.providers[self.names[0]].set(self.faults[next(fresh) % len(self.faults)])
        yield
        refused = [(r.path, r.violations) for p in self.providers.values() for r in p.requests if r.violations]
        for provider in self.providers.values():
            provider.requests.clear()
        assert refused == []

    @property
    def targets(self) -> list[Target]:
        raise NotImplementedError

    @property
    def chat_model_class(self) -> type[ChatFailover]:
        return ChatFailover

    @property
    def chat_model_params(self) -> dict[str, Any]:
        forever = CircuitBreaker(failure_threshold=10_000)
        guard = Failover(self.targets, strategy=self.strategy, response_cache=False, breaker=forever)
        self.guards.append(guard)
        return {"failover": guard}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_video_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str | None:
        return "claude-sonnet-4-6"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Detail]]:
        details: list[Detail] = ["reasoning_output", "cache_read_input", "cache_creation_input"]
        return {"invoke": details, "stream": details}

    # what the suite leaves to the integration: calls that make such usage

    thinker: ClassVar[str]
    cacher: ClassVar[str] = "claude-haiku-5-5"

    def _asked(self, *messages: Any, stream: bool, model: str) -> AIMessage:
        llm = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return llm.invoke(list(messages), model=model)
        whole: Any = None
        for chunk in llm.stream(list(messages), model=model):
            whole = chunk if whole is None else whole + chunk
        assert isinstance(whole, AIMessage)
        return whole

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._asked(HumanMessage("Think hard."), stream=stream, model=self.thinker)

    def _cached(self, stream: bool) -> tuple[AIMessage, AIMessage]:
        point = {"type": "text", "text": f"{next(fresh)}. {LONG}", "cache_control": {"type": "ephemeral"}}
        prompt = (SystemMessage([point]), HumanMessage("Hello"))
        return tuple(self._asked(*prompt, stream=stream, model=self.cacher) for _ in range(2))  # type: ignore[return-value]  # two of them

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._cached(stream)[0]

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._cached(stream)[1]


class TestOpenAIWire(Standard):
    """Responses for OpenAI's own models, Chat Completions for a local server."""

    names = ("openai", "vllm")
    thinker = "gpt-6-luna"
    cacher = "gpt-4.1"

    @property
    def targets(self) -> list[Target]:
        openai, vllm = self.servers["openai"], self.servers["vllm"]
        return [openai.target("gpt-6-luna"), openai.target("gpt-4.1"), vllm.target("house-model")]

    @property
    def model_override_value(self) -> str | None:
        return "gpt-4.1"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Detail]]:
        details: list[Detail] = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}


class TestAnthropicWire(Standard):
    """Messages; only sound goes to a local server."""

    names = ("anthropic", "vllm")
    thinker = "claude-sonnet-5-5"

    @property
    def targets(self) -> list[Target]:
        anthropic, vllm = self.servers["anthropic"], self.servers["vllm"]
        models = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-sonnet-4-6")
        return [*map(anthropic.target, models), vllm.target("house-model")]


class TestMixed(Standard):
    """Every call starts at another target."""

    strategy = "round_robin"
    thinker = "openai/gpt-oss-120b"

    @property
    def targets(self) -> list[Target]:
        return [
            self.servers["openai"].target("gpt-6-luna"),
            self.servers["anthropic"].target("claude-haiku-5-5"),
            self.servers["anthropic"].target("claude-sonnet-4-6"),
            self.servers["groq"].target("openai/gpt-oss-120b"),
            self.servers["vllm"].target("house-model"),
        ]


class TestFirstTargetBroken(TestMixed):
    """The first target fails in another way in each test, always before its first content."""

    strategy = "priority"
    faults = (Refused(), Status(503), Cut(after=0), Reset("head"), EmptyContent())


del Standard
