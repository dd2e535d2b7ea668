"""Keyword arguments, tools and tool choices: what is understood, and what is said about the rest."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from failover import CallOptions, ConfigurationError, JsonFormat, Tool
from llamaindex_failover._options import READERS, fields_of
from llamaindex_failover._tools import described, keep_first_call, selections, to_tool, to_tool_choice


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add, name="math.add")


class Fruit(BaseModel):
    name: str


def test_every_option_of_a_call_can_be_given() -> None:
    fields = {field for field, _ in READERS.values()}
    assert fields == set(get_type_hints(CallOptions)) - {"origin"}


def test_an_unknown_word_names_the_closest_one() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'temprature'; did you mean 'temperature'"):
        fields_of({"temprature": 0})


def test_a_word_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(ConfigurationError, match=r"'zzz'; there are deadline, extra_body, .*top_p"):
        fields_of({"zzz": 0})


@pytest.mark.parametrize(
    ("word", "value", "field", "expected"),
    [
        ("response_cache", False, "cache", False),
        ("stop", "END", "stop", ("END",)),
        ("stop", ["a", "b"], "stop", ("a", "b")),
        ("stop", None, "stop", ()),
        ("prefer", "fast", "prefer", ("fast",)),
        ("max_completion_tokens", 5, "max_tokens", 5),
        ("labels", {"user": "alice"}, "labels", {"user": "alice"}),
        ("response_format", None, "response_format", None),
        ("response_format", {"type": "text"}, "response_format", None),
        ("response_format", {"type": "json_object"}, "response_format", JsonFormat()),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "f", "schema": {"type": "object"}, "strict": True}},
            "response_format",
            JsonFormat({"type": "object"}, "f", True),
        ),
        ("response_format", Fruit, "response_format", JsonFormat(Fruit.model_json_schema(), "Fruit")),
    ],
)
def test_values_are_read_in_the_shapes_that_people_write(word: str, value: Any, field: str, expected: Any) -> None:
    assert fields_of({word: value})[field] == expected  # type: ignore[literal-required]


def test_a_response_format_of_unknown_shape_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="response_format"):
        fields_of({"response_format": "json"})


def test_headers_that_llamaindex_always_sends_are_no_error() -> None:
    assert fields_of({"extra_headers": {"anthropic-beta": "prompt-caching-2024-07-31"}}) == {}


# ------------------------------------------------------------------- tools


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "given",
    [
        Tool("f", "does", SCHEMA),
        {"type": "function", "function": {"name": "f", "description": "does", "parameters": SCHEMA}},
        {"name": "f", "description": "does", "input_schema": SCHEMA},
    ],
    ids=["ours", "openai", "anthropic"],
)
def test_tools_are_read_in_every_shape(given: Any) -> None:
    assert to_tool(given) == Tool("f", "does", SCHEMA)


def test_a_tool_keeps_its_own_name() -> None:
    tool = to_tool(ADD)
    assert tool.name == "math.add"
    assert set(tool.parameters["properties"]) == {"a", "b"}
    assert described(ADD)["function"]["name"] == "math.add"


def test_a_servers_own_tool_is_passed_whole() -> None:
    given = {"type": "web_search_20260101", "name": "web_search", "max_uses": 2}
    assert to_tool(given) == Tool("web_search", native=given)


def test_what_is_no_tool_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not a tool"):
        to_tool(42)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        ("math.add", "math.add"),
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ({"type": "tool", "name": "f"}, "f"),
        ({"type": "any"}, "required"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
    ],
)
def test_a_tool_choice_is_read_in_every_shape(given: Any, expected: str | None) -> None:
    assert to_tool_choice(given) == expected


def test_a_choice_of_a_tool_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'sub' names no tool of this call; there are: math\.add"):
        fields_of({"tools": [ADD], "tool_choice": "sub"})


def test_without_tools_nothing_is_said_about_them() -> None:
    assert fields_of({"tools": None, "tool_choice": "required", "parallel_tool_calls": False}) == {}


# ------------------------------------------------------------------- calls


def called(*blocks: ToolCallBlock, **facts: Any) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=facts))


def block(call_id: str, kwargs: Any) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call_id, tool_name="f", tool_kwargs=kwargs)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [({"a": 1}, {"a": 1}), ('{"a": 1', {"a": 1}), ("}{", {}), ("[1]", {}), ("", {})],
)
def test_a_selection_has_arguments_whatever_the_model_wrote(kwargs: Any, expected: dict[str, Any]) -> None:
    (selection,) = selections(called(block("c", kwargs)).message)
    assert selection.tool_kwargs == expected


def test_calls_of_older_histories_are_selections_too() -> None:
    entry = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    (selection,) = selections(called(tool_calls=[entry]).message)
    assert (selection.tool_id, selection.tool_name, selection.tool_kwargs) == ("c", "f", {"a": 1})


def test_one_call_is_kept_where_one_was_asked_for() -> None:
    response = called(block("a", {}), block("b", {}), tool_calls=[{"id": "a"}, {"id": "b"}])
    kept = keep_first_call(response).message
    assert [each.tool_call_id for each in kept.blocks if isinstance(each, ToolCallBlock)] == ["a"]
    assert kept.additional_kwargs["tool_calls"] == [{"id": "a"}]
    assert len(response.message.blocks) == 2


def test_of_two_equal_calls_one_is_kept() -> None:
    kept = keep_first_call(called(block("a", {}), block("a", {}))).message
    assert len(kept.blocks) == 1
