"""What becomes of the caller's messages before another integration gets them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitationBlock,
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM

from llamaindex_failover._origin import OPTIONAL, portable_id, returned, unknown_to

CALL = ToolCallBlock(tool_call_id="toolu:1", tool_name="math.add", tool_kwargs={"a": 1})
ENTRY = {"id": "toolu:1", "type": "function", "function": {"name": "math.add", "arguments": '{"a": 1}'}}
POINT = CachePoint(cache_control={"type": "ephemeral"})


def assistant(*blocks: ContentBlock, **facts: Any) -> ChatMessage:
    return ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=facts)


def sent(*messages: ChatMessage, unknown: Any = ()) -> list[ChatMessage]:
    return returned(messages, "openai:m", unknown)


@pytest.fixture
def integration(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class of an integration whose ``utils`` know two kinds of blocks."""
    base, utils = ModuleType("others.base"), ModuleType("others.utils")
    vars(utils).update(ToolCallBlock=ToolCallBlock, TextBlock=TextBlock)
    vars(base).update(ThinkingBlock=ThinkingBlock)
    monkeypatch.setitem(sys.modules, "others.base", base)
    monkeypatch.setitem(sys.modules, "others.utils", utils)
    return type("Theirs", (MockLLM,), {"__module__": "others.base"})


def test_an_integration_knows_the_kinds_of_blocks_that_its_modules_hold(integration: Any) -> None:
    assert unknown_to(integration()) == {CachePoint, CitationBlock}
    assert unknown_to(type("Users", (integration,), {"__module__": "app"})()) == {CachePoint, CitationBlock}
    assert unknown_to(type("Own", (MockLLM,), {"__module__": "app"})()) == set(OPTIONAL)


def test_what_it_does_not_know_is_left_out_and_calls_stand_beside_the_blocks() -> None:
    mine = assistant(TextBlock(text="Let me see."), POINT, CALL)
    (turn,) = sent(mine, unknown=OPTIONAL)
    assert turn.blocks == [TextBlock(text="Let me see.")]
    (entry,) = turn.additional_kwargs["tool_calls"]
    assert (entry["function"]["name"], entry["function"]["arguments"]) == ("math_add", '{"a": 1}')
    assert mine == assistant(TextBlock(text="Let me see."), POINT, CALL)


def test_what_it_knows_stays() -> None:
    assert [type(block) for block in sent(assistant(TextBlock(text="x"), POINT, CALL))[0].blocks] == [
        TextBlock,
        CachePoint,
        ToolCallBlock,
    ]


def test_names_and_ids_are_the_same_wherever_they_stand() -> None:
    result = ChatMessage(role="tool", content="1", additional_kwargs={"tool_call_id": "toolu:1", "name": "math.add"})
    turn, told = sent(assistant(CALL, tool_calls=[{**ENTRY, "author": "anthropic:m", "extra": {"x": 1}}]), result)
    (block,), (entry,) = turn.blocks, turn.additional_kwargs["tool_calls"]
    assert isinstance(block, ToolCallBlock)
    new = portable_id("toolu:1")
    assert (block.tool_call_id, block.tool_name) == (new, "math_add")
    assert entry == {"id": new, "type": "function", "function": {"name": "math_add", "arguments": '{"a": 1}'}}
    assert told.additional_kwargs == {"tool_call_id": new}


def test_entries_of_other_shapes_stay_as_they_are() -> None:
    odd = {"name": "add", "input": {"a": 1}}
    assert sent(assistant(tool_calls=[odd]))[0].additional_kwargs["tool_calls"] == [odd]


@pytest.mark.parametrize("given", [None, "", "call_1", "a" * 40])
def test_an_id_that_every_wire_takes_stays(given: str | None) -> None:
    assert portable_id(given) == given


@pytest.mark.parametrize("given", ["a" * 41, "a.b", "ö"])
def test_an_id_that_some_wire_refuses_is_replaced_by_one_of_its_own(given: str) -> None:
    assert portable_id(given) == portable_id(given) != portable_id(f"{given}x")
    assert portable_id(portable_id(given)) == portable_id(given)


def test_a_turn_in_which_nothing_is_left_is_not_sent() -> None:
    thought = ThinkingBlock(content="hm", additional_information={"author": "anthropic:m"})
    asked = ChatMessage(role="user", content="")
    assert sent(assistant(thought), assistant(TextBlock(text="")), asked) == [asked]
