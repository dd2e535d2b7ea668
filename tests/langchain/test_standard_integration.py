"""langchain-tests' own integration suite over real HTTP on loopback, unchanged, with every capability switched on.

Runs: targets that speak OpenAI's Responses, OpenAI's Chat Completions, Anthropic's Messages, and a mixture in turn;
then each of them again with a broken target before the others, in another way from test to test (down, refusing, or
cut before its first content).  What a vendor's models cannot take (sound) goes to the one target that can.
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
    Tokens,
    mind,
    serve,
)
from tests.langchain.standard import Able

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),  # v3 events are beta
    pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"),  # it would time recorded traffic only
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


BROKEN = (Refused(), Status(503), Cut(after=0), Reset("head"), EmptyContent())
SOUND = Reply("I heard it.", usage=Tokens(20, 9, audio_in=12, audio_out=4))


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """Nothing is recorded: what the suite would play from a tape is asked of the scripted providers as well."""
    return {"ignore_localhost": True}


class Standard(Able, ChatModelIntegrationTests):
    """Everything switched on; a subclass says which targets, and whether a broken twin of the first comes before."""

    names: ClassVar[tuple[str, ...]] = ("openai", "anthropic", "groq", "house")
    faults: ClassVar[tuple[Play, ...]] = ()
    strategy: ClassVar[Strategy] = "priority"
    details: ClassVar[tuple[Detail, ...]] = (
        "reasoning_output",
        "cache_read_input",
        "cache_creation_input",
        "audio_input",
        "audio_output",
    )
    servers: ClassVar[Servers]
    providers: ClassVar[dict[str, ScriptedProvider]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _served(cls) -> Iterator[None]:
        cls.providers = {name: ScriptedProvider(name, respond=obedient) for name in cls.names}
        if cls.faults:
            cls.providers["twin"] = ScriptedProvider("twin", like=cls.names[0])
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
            self.providers["twin"].set(self.faults[next(fresh) % len(self.faults)])
        yield
        refused = [(r.path, r.violations) for p in self.providers.values() for r in p.requests if r.violations]
        for provider in self.providers.values():
            provider.requests.clear()
        assert refused == []

    @property
    def targets(self) -> list[Target]:
        raise NotImplementedError

    @property
    def chat_model_params(self) -> dict[str, Any]:
        forever = CircuitBreaker(failure_threshold=10_000)
        targets = self.targets
        if self.faults:
            twin = self.servers["twin"].target(str(targets[0].model))
            targets = [replace(targets[0], name="twin", base_url=twin.base_url), *targets]
        guard = Failover(targets, strategy=self.strategy, response_cache=False, breaker=forever)
        self.guards.append(guard)
        return {"failover": guard}

    @property
    def model_override_value(self) -> str | None:
        return "claude-sonnet-4-6"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Detail]]:
        return {"invoke": list(self.details), "stream": list(self.details)}

    @property
    def enable_vcr_tests(self) -> bool:
        return True

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

    def _heard(self, stream: bool) -> AIMessage:
        """No scripted model counts what it hears by itself."""
        self.providers["house"].script(SOUND)
        return self._asked(HumanMessage("Listen."), stream=stream, model="house-model")

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        return self._heard(stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        return self._heard(stream)

    def _cached(self, stream: bool) -> tuple[AIMessage, AIMessage]:
        point = {"type": "text", "text": f"{next(fresh)}. {LONG}", "cache_control": {"type": "ephemeral"}}
        prompt = (SystemMessage([point]), HumanMessage("Hello"))
        return tuple(self._asked(*prompt, stream=stream, model=self.cacher) for _ in range(2))  # type: ignore[return-value]  # two of them

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._cached(stream)[0]

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._cached(stream)[1]


class TestOpenAIResponses(Standard):
    """OpenAI's models over Responses; only sound goes to a local server."""

    names = ("openai", "house")
    thinker = "gpt-6-luna"
    cacher = "gpt-4.1"
    details = ("reasoning_output", "cache_read_input", "audio_input", "audio_output")

    @property
    def targets(self) -> list[Target]:
        openai, house = self.servers["openai"], self.servers["house"]
        here = [openai.target(model, dialect="responses") for model in ("gpt-6-luna", "gpt-4.1")]
        return [*here, house.target("house-model")]

    @property
    def model_override_value(self) -> str | None:
        return "gpt-4.1"


class TestOpenAIChatCompletions(Standard):
    """OpenAI's older models, and a server that speaks like them."""

    names = ("openai", "groq", "house")
    thinker = "openai/gpt-oss-120b"
    cacher = "gpt-4.1"
    details = ("reasoning_output", "cache_read_input", "audio_input", "audio_output")

    @property
    def targets(self) -> list[Target]:
        groq, house = self.servers["groq"], self.servers["house"]
        return [self.servers["openai"].target("gpt-4.1"), house.target("house-model"), groq.target(self.thinker)]

    @property
    def model_override_value(self) -> str | None:
        return "house-model"


class TestAnthropicMessages(Standard):
    """Messages; only sound goes to a local server."""

    names = ("anthropic", "house")
    thinker = "claude-sonnet-5-5"

    @property
    def targets(self) -> list[Target]:
        anthropic, house = self.servers["anthropic"], self.servers["house"]
        models = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-sonnet-4-6")
        return [*map(anthropic.target, models), house.target("house-model")]


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
            self.servers["house"].target("house-model"),
        ]


class TestMixedDown(TestMixed):
    """The first target is down."""

    strategy = "priority"
    faults = (Refused(), Status(503), Status(429, retry_after=3))


class TestMixedCut(TestMixed):
    """The first target begins to answer and breaks off before its first content."""

    strategy = "priority"
    faults = (Cut(after=0), Cut(after=0, how="eof"), Cut(after=0, how="reset"))


class TestOpenAIResponsesBroken(TestOpenAIResponses):
    faults = BROKEN


class TestOpenAIChatCompletionsBroken(TestOpenAIChatCompletions):
    faults = BROKEN


class TestAnthropicMessagesBroken(TestAnthropicMessages):
    faults = BROKEN


del Standard
