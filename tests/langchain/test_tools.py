"""Tools, tool choice and formats as LangChain users write them; options and labels of a call."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from failover.errors import ConfigurationError
from failover.types import JsonFormat, Tool
from langchain_failover._options import OPTIONS, labels_in, options_of
from langchain_failover._tools import (
    choice_of,
    format_of,
    openai_format,
    openai_tool,
    openai_tools,
    schema_format,
    tools_of,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@tool
def add(a: int) -> int:
    """Add one."""
    return a + 1


class Add(BaseModel):
    """Add one."""

    a: int = Field(description="a number")


class AddDict(TypedDict):
    """Add one."""

    a: int


def add_plain(a: int) -> int:
    """Add one."""
    return a + 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (add, "add"),
        (Add, "Add"),
        (AddDict, "AddDict"),
        (add_plain, "add_plain"),
        ({"type": "function", "function": {"name": "f", "description": "Add one.", "parameters": SCHEMA}}, "f"),
        ({"name": "f", "description": "Add one.", "parameters": SCHEMA}, "f"),
        ({"name": "f", "description": "Add one.", "input_schema": SCHEMA}, "f"),
        ({"type": "custom", "name": "f", "description": "Add one.", "input_schema": SCHEMA}, "f"),
        ({"title": "F", "description": "Add one.", **SCHEMA}, "F"),
        ({"toolSpec": {"name": "f", "description": "Add one.", "inputSchema": {"json": SCHEMA}}}, "f"),
    ],
)
def test_whatever_langchain_takes_for_a_tool_is_one(given: Any, name: str) -> None:
    (read,) = tools_of([given])
    assert (read.name, read.description, read.native) == (name, "Add one.", None)
    assert list(read.parameters["properties"]) == ["a"]


def test_a_tool_bound_once_reads_the_same_when_it_is_called() -> None:
    assert tools_of(openai_tools([add, Add])) == tools_of([add, Add])


def test_a_providers_own_tool_goes_along_whole() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    (read,) = tools_of([search])
    assert (read.name, read.native) == ("web_search", search)
    assert tools_of([{"type": "web_search"}])[0].native == {"type": "web_search"}


def test_strict_is_set_where_a_tool_does_not_say_itself() -> None:
    loose = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": False}}
    first, second = tools_of(openai_tools([add, loose], strict=True))
    assert (first.strict, second.strict) == (True, False)
    assert first.parameters["additionalProperties"] is False
    assert tools_of([add])[0].strict is None


def test_a_tool_without_parameters_has_an_empty_object() -> None:
    assert tools_of([{"name": "now", "description": ""}])[0].parameters == {"type": "object", "properties": {}}


def test_tools_go_back_to_langchain_as_they_came() -> None:
    native = Tool("web_search", native={"type": "web_search"})
    for one in (*tools_of([add, Add]), native):
        assert tools_of([openai_tool(one)]) == (one,)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("any", "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "tool", "name": "add"}, "add"),
        ({"type": "any"}, "required"),
    ],
)
def test_every_way_to_write_a_tool_choice_is_read(given: Any, expected: str | None) -> None:
    assert choice_of(given, ["add"]) == expected


def test_a_choice_that_nobody_bound_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="names 'sub', which is not among the tools of this call: add"):
        choice_of("sub", ["add"])
    with pytest.raises(ConfigurationError, match="tool_choice = 7 is none of"):
        choice_of(7, ["add"])  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonFormat()),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
            JsonFormat(SCHEMA, name="n", strict=True),
        ),
    ],
)
def test_every_way_to_write_a_format_is_read(given: Any, expected: JsonFormat | None) -> None:
    assert format_of(given) == expected
    if expected is not None:
        assert format_of(openai_format(expected)) == expected


def test_a_format_may_be_any_schema_langchain_reads() -> None:
    for schema in (Add, AddDict, {"title": "Add", "description": "Add one.", **SCHEMA}):
        read = format_of(schema_format(schema, strict=None))
        assert read is not None
        assert (read.description, read.strict) == ("Add one.", None)
        assert read.schema is not None
        assert list(read.schema["properties"]) == ["a"]
    strict = format_of(schema_format(Add, strict=True))
    assert strict is not None
    assert strict.schema is not None
    assert (strict.strict, strict.schema["additionalProperties"]) == (True, False)


# ---------------------------------------------------------------- options


def test_options_have_langchains_names_and_ours() -> None:
    read = options_of(
        {"timeout": 5, "max_completion_tokens": 9, "response_cache": False, "prefer": "a", "stream": True}
    )
    assert read == {"deadline": 5, "max_tokens": 9, "cache": False, "prefer": ("a",)}


def test_an_option_without_a_value_leaves_the_default_alone() -> None:
    assert options_of(dict.fromkeys(OPTIONS)) == {}


def test_an_unknown_option_is_an_error_that_names_the_nearest_one() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'presence' is not an option of .*extra_body=.*mean presence_penalty"
    ):
        options_of({"presence": 1})


def test_a_tool_choice_is_read_against_the_tools_of_its_call() -> None:
    assert options_of({"tools": [add], "tool_choice": "add"})["tool_choice"] == "add"
    with pytest.raises(ConfigurationError, match="not among the tools of this call: none"):
        options_of({"tool_choice": "add"})


def test_labels_are_the_plain_entries_that_a_user_put_into_metadata() -> None:
    metadata = {
        "user": "alice",
        "tenant": 7,
        "langgraph_step": 3,
        "ls_provider": "openai",
        "checkpoint_ns": "x",
        "lc_versions": {"langchain-core": "1"},
        "tags": ["a"],
    }
    assert labels_in(metadata) == {"user": "alice", "tenant": "7"}
    assert labels_in(None) == {}
