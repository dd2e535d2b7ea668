"""``FailoverLLM`` keeps what a LlamaIndex LLM owes, on every wire, on several at once, and while providers fail."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from failover import CircuitBreaker, Retry
from failover.testing import (
    Cut,
    Dropped,
    EmptyBody,
    EmptyChoices,
    EmptyContent,
    ErrorEvent,
    ErrorInBody,
    Html,
    Malformed,
    NullContent,
    Reset,
    ScriptedProvider,
    Stage,
    Status,
    Trouble,
    serve,
)
from llamaindex_failover import FailoverLLM
from llamaindex_failover.testing import Bench, LlmConformance

KEY = "sk-test-0123456789"
MODELS = {
    "chat": ("openai", "gpt-4.1"),
    "responses": ("openai", "gpt-6.1-sol"),
    "anthropic": ("anthropic", "claude-haiku-4-5"),
}
SETTINGS: dict[str, Any] = {
    "response_cache": False,
    "breaker": CircuitBreaker(failure_threshold=10_000),
    "retry": Retry(base=0),
}
REFUSALS = (
    Status(500),
    Reset("before"),
    Trouble("overloaded"),
    Html(503),
    Status(429, retry_after=0),
    ErrorInBody(),
    EmptyBody(),
    Dropped(),
    Status(502),
)
SPOILED = (
    Cut(after=0),
    Reset("body", after=0),
    EmptyChoices(),
    ErrorEvent(after=0),
    NullContent(),
    Malformed(after=0),
    EmptyContent(),
)


@dataclass
class Troubled:
    """Fails every time, each time otherwise; with ``answers`` only where there could have been an answer."""

    troubles: tuple[Any, ...]
    answers: bool

    def __post_init__(self) -> None:
        self.course = itertools.cycle(self.troubles)

    def steps(self, stage: Stage) -> Any:
        return next(self.course).steps(stage)


def bench_over(*wires: str, troubled: bool = False, **settings: Any) -> Iterator[Bench]:
    """One provider for each wire; where ``troubled``, two more in front that never give a good answer."""
    providers = [ScriptedProvider(wire, like=MODELS[wire][0], key=KEY) for wire in wires]
    broken = [ScriptedProvider(name, like="openai", key=KEY) for name in ("refusing", "spoiling") if troubled]
    for provider, faults in zip(broken, (Troubled(REFUSALS, False), Troubled(SPOILED, True)), strict=False):
        provider.set(faults)
    with serve(*broken, *providers) as servers:
        targets = [servers[each.name].target("gpt-4.1") for each in broken]
        targets += [servers[wire].target(MODELS[wire][1]) for wire in wires]
        with FailoverLLM(targets, **{**SETTINGS, **settings}) as llm:
            yield Bench(llm, providers)


class OverTargets(LlmConformance):
    """The suite over some wires."""

    __test__ = False
    wires: tuple[str, ...] = ()
    troubled = False
    settings: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield from bench_over(*self.wires, troubled=self.troubled, **self.settings)


class TestOpenAIChat(OverTargets):
    __test__ = True
    wires = ("chat",)
    cannot = frozenset({"shown thinking"})


class TestOpenAIResponses(OverTargets):
    __test__ = True
    wires = ("responses",)
    cannot = frozenset({"shown thinking"})


class TestAnthropic(OverTargets):
    __test__ = True
    wires = ("anthropic",)


class TestMixed(OverTargets):
    __test__ = True
    wires = ("chat", "anthropic", "responses")
    cannot = frozenset({"shown thinking"})


class TestTroubled(OverTargets):
    """Whoever is asked first fails, each time in another way."""

    __test__ = True
    wires = ("anthropic", "chat", "responses")
    troubled = True
    settings = MappingProxyType({"strategy": "priority"})
