"""What a caller may hand to a door."""

from __future__ import annotations

import re
from typing import Any

import pytest

from failover._prompt import request_of
from failover.errors import ConfigurationError
from failover.types import Media, Message, Text, Tool, ToolCall, ToolResult


def test_a_string_is_a_user_message() -> None:
    assert request_of("hi").messages == (Message("user", "hi"),)


def test_dictionaries_are_read_as_openai_writes_them() -> None:
    request = request_of(
        [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "see"}, "this"]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "42"},
            Message("user", "thanks"),
        ]
    )
    assert request.messages == (
        Message("system", "be brief"),
        Message("user", (Text("see"), Text("this"))),
        Message("user", Media("image", "image/png", "QUJD")),
        Message("assistant", ToolCall("1", "f", "{}")),
        Message("tool", ToolResult("1", "42")),
        Message("user", "thanks"),
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"max_tokens": 0}, "max_tokens = 0"),
        ({"max_tokens": True}, "max_tokens = True"),
        ({"deadline": float("nan")}, "deadline = nan"),
        ({"max_retries": -1}, "max_retries = -1"),
        ({"max_tokens": 2.5}, "max_tokens = 2.5: write a whole number of at least 1"),
        ({"temperature": "hot"}, "temperature = 'hot': write a number of at least 0"),
        ({"seed": "x"}, "seed = 'x': write a whole number"),
        ({"presence_penalty": float("inf")}, "presence_penalty = inf: write a number"),
        ({"response_format": {"type": "json_object"}}, "write JsonFormat()"),
        ({"tool_choice": {"type": "any"}}, "the name of a tool"),
        ({"cache": None}, "cache = None: write True or False"),
        ({"labels": ["a"]}, "labels = ['a']: write a dictionary"),
        ({"prefer": "a"}, "write a list"),
        ({"stop": "x"}, "write a list"),
        ({"tools": [{"type": "function"}]}, "write Tool("),
    ],
)
def test_an_option_that_cannot_be_meant_says_what_to_write(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        request_of("hi", **options)


@pytest.mark.parametrize(
    "prompt",
    [5, None, [], [5], [{"content": "x"}], [{"role": "robot", "content": "x"}], [{"role": "user", "content": 5}]],
)
def test_a_prompt_that_is_none_is_refused(prompt: Any) -> None:
    with pytest.raises(ConfigurationError):
        request_of(prompt)


def test_none_is_as_good_as_nothing() -> None:
    nothing = dict.fromkeys(("tools", "stop", "max_tokens", "temperature", "response_format", "thinking"))
    assert request_of("hi", **nothing) == request_of("hi")


def test_lists_become_tuples() -> None:
    request = request_of("hi", tools=[Tool("f")], stop=["x"], prefer=["a"])
    assert (request.tools, request.stop, request.prefer) == ((Tool("f"),), ("x",), ("a",))
