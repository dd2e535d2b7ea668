"""What a type checker sees of ``langchain_failover``; checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel

from failover import Budget, Failover, Target
from langchain_failover import ChatFailover, as_target, register


class Ticket(BaseModel):
    city: str


def uses(guard: Failover, other: BaseChatModel) -> None:
    model = ChatFailover(["openai:gpt-6-luna", Target("groq:openai/gpt-oss-120b"), other], budget=Budget(5))
    assert_type(ChatFailover(failover=guard, temperature=0.5).core, Failover)
    assert_type(ChatFailover.from_env(), ChatFailover)
    assert_type(ChatFailover.simulated(), ChatFailover)
    assert_type(model.invoke("hi", prefer=["openai:gpt-6-luna"]), AIMessage)
    assert_type(model.stream("hi"), Iterator[AIMessageChunk])
    assert_type(model.astream("hi"), AsyncIterator[AIMessageChunk])
    assert_type(model.bind_tools([], tool_choice="any").invoke("hi"), AIMessage)
    structured = model.with_structured_output(Ticket, method="json_schema", include_raw=True, strict=True)
    assert_type(structured.invoke("hi"), dict[str, Any] | BaseModel)
    assert_type(model.model_copy(update={"temperature": 0.5}), ChatFailover)
    with model as same:
        assert_type(same, ChatFailover)
    assert_type(as_target(other, rpm=5), Target)
    register()
