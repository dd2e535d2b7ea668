"""What a type checker sees of ``llamaindex_failover``; checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

from llama_index.core import Settings
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool

from failover import Budget, CircuitBreaker, Failover, Target
from failover.testing import ScriptedProvider
from llamaindex_failover import FailoverLLM, StructuredOutputError, as_target
from llamaindex_failover.testing import Bench, LlmConformance


def uses(guard: Failover, other: LLM, tool: BaseTool) -> None:
    llm = FailoverLLM(
        ["openai:gpt-6-luna", Target("groq:openai/gpt-oss-120b"), other, as_target(other)],
        budget=Budget(5),
        breaker=CircuitBreaker(),
        temperature=0.5,
        strategy="priority",
    )
    assert_type(FailoverLLM("openai:gpt-6-luna").failover, Failover)
    assert_type(FailoverLLM(failover=guard, max_tokens=100).metadata, LLMMetadata)
    assert_type(FailoverLLM.from_env(budget=1), FailoverLLM)
    assert_type(FailoverLLM.simulated(), FailoverLLM)
    assert_type(FailoverLLM.from_dict(llm.to_dict()), FailoverLLM)
    assert_type(as_target(other, "mine", price=None), Target)
    as_llm: FunctionCallingLLM = llm
    Settings.llm = as_llm

    hello = [ChatMessage(role="user", content="hi")]
    assert_type(llm.chat(hello, prefer=["openai:gpt-6-luna"]), ChatResponse)
    assert_type(llm.complete("hi"), CompletionResponse)
    assert_type(llm.stream_chat(hello), ChatResponseGen)
    assert_type(llm.get_tool_calls_from_response(llm.chat_with_tools([tool], "hi")), list[ToolSelection])
    with llm as same:
        assert_type(same, FailoverLLM)


async def uses_it_on_a_loop(llm: FailoverLLM) -> None:
    hello = [ChatMessage(role="user", content="hi")]
    assert_type(await llm.achat(hello), ChatResponse)
    assert_type(await llm.astream_chat(hello), ChatResponseAsyncGen)
    async with llm as same:
        assert_type(same, FailoverLLM)


def explains(error: StructuredOutputError) -> str:
    return error.text


class TestMine(LlmConformance):
    cannot = frozenset({"images"})

    def bench(self, llm: Any) -> Bench:
        return Bench(llm, [ScriptedProvider("openai")])
