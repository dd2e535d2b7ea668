"""What a type checker sees of ``langchain_failover``; checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from failover import Budget, Failover, Target
from langchain_failover import ChatFailover, as_target, register


def uses(guard: Failover, other: BaseChatModel) -> None:
    model = ChatFailover(["openai:gpt-6-luna", Target("groq:openai/gpt-oss-120b"), other], budget=Budget(5))
    assert_type(ChatFailover(failover=guard, temperature=0.5).core, Failover)
    assert_type(ChatFailover.from_env(), ChatFailover)
    assert_type(ChatFailover.simulated(), ChatFailover)
    assert_type(model.invoke("hi", prefer=["openai:gpt-6-luna"]), AIMessage)
    assert_type(model.stream("hi"), Iterator[AIMessageChunk])
    assert_type(model.astream("hi"), AsyncIterator[AIMessageChunk])
    assert_type(model.bind_tools([], tool_choice="any").invoke("hi"), AIMessage)
    assert_type(as_target(other, rpm=5), Target)
    register()
