"""What a caller may hand to a door, as messages: a string, messages, or dictionaries as OpenAI writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Unpack, cast, get_args

from failover._checked import closest
from failover.errors import ConfigurationError
from failover.types import (
    Block,
    CallOptions,
    JsonFormat,
    Media,
    Message,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]

OPTIONS = frozenset(CallOptions.__optional_keys__)
ROLES: Mapping[str, Role] = {**{role: role for role in get_args(Role)}, "developer": "system", "function": "tool"}
AT_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("temperature", "top_p", "deadline", "max_retries", "top_logprobs", "top_k"), 0),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "seed"), -inf),
    "max_tokens": 1,
}
WHOLE = frozenset(("max_tokens", "max_retries", "top_logprobs", "top_k", "seed"))
KINDS: Mapping[str, tuple[type, str]] = {
    "response_format": (JsonFormat, "JsonFormat() for any object, JsonFormat(schema) for one that fits a schema"),
    "tool_choice": (str, "'auto', 'none', 'required' or the name of a tool"),
    "reasoning_effort": (str, "a word such as 'low', 'medium' or 'high'"),
    "cache": (bool, "True or False"),
    "parallel_tool_calls": (bool, "True or False"),
    "logprobs": (bool, "True or False"),
    "thinking": (Mapping, "a dictionary, as the provider takes it"),
    "extra_body": (Mapping, "a dictionary"),
    "labels": (Mapping, "a dictionary"),
}
TUPLES = frozenset(("tools", "stop", "prefer"))
REQUIRED = frozenset(("cache", "extra_body", "labels"))
"""Options that are never None."""


def request_of(prompt: Prompt, **options: Unpack[CallOptions]) -> Request:
    """The request for a prompt and its options; raises ``ConfigurationError`` for what cannot be meant."""
    for name, value in options.items():
        _check(name, value)
    messages = _messages(prompt)
    if not messages:
        raise ConfigurationError("a prompt of no messages: write a string or at least one message")
    given: dict[str, Any] = dict(options)
    for name in TUPLES & given.keys():
        given[name] = tuple(given[name] or ())
    return Request(messages, **given)


def _check(name: str, value: object) -> None:
    if name not in OPTIONS:
        close = closest(name, OPTIONS)
        raise ConfigurationError(f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    write = None if value is None and name not in REQUIRED else _wrong(name, value)
    if write is not None:
        raise ConfigurationError(f"{name} = {value!r}: write {write}")


def _wrong(name: str, value: object) -> str | None:
    """What to write instead, None if the value will do."""
    if name in TUPLES and (isinstance(value, str) or not isinstance(value, Sequence)):
        return "a list"
    if name == "tools" and not all(isinstance(tool, Tool) for tool in cast("Sequence[object]", value)):
        return "Tool(name, description, parameters) for each"
    if name in AT_LEAST:
        return _wrong_number(name, value)
    kind, write = KINDS.get(name, (object, ""))
    return None if isinstance(value, kind) else write


def _wrong_number(name: str, value: object) -> str | None:
    whole, least = name in WHOLE, AT_LEAST[name]
    number = isinstance(value, int) or (isinstance(value, float) and not whole)
    if number and not isinstance(value, bool) and least <= cast(float, value) < inf:
        return None
    bound = "" if least == -inf else f" of at least {least:g}"
    return f"a {'whole number' if whole else 'number'}{bound}"


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    if isinstance(prompt, list | tuple | Sequence):
        return tuple([each if isinstance(each, Message) else _message(each) for each in prompt])
    raise ConfigurationError(f"a prompt is a string or a list of messages, not {type(prompt).__name__}")


def _message(given: object) -> Message:
    if not isinstance(given, Mapping) or given.get("role") not in ROLES:
        raise ConfigurationError(
            f"{given!r} is not a message: write Message(role, content) or {{'role': ..., 'content': ...}}"
            f" with a role among {', '.join(sorted(ROLES))}"
        )
    role = ROLES[given["role"]]
    if role == "tool":
        return Message("tool", ToolResult(str(given.get("tool_call_id", "")), _tool_content(given.get("content"))))
    blocks = [*_parts(given.get("content")), *map(_tool_call, given.get("tool_calls") or ())]
    return Message(role, blocks, name=given.get("name"))


def _tool_content(content: object) -> str | tuple[Text | Media, ...]:
    if isinstance(content, str):
        return content
    return tuple(part for part in _parts(content) if isinstance(part, Text | Media))


def _parts(content: object) -> list[Block]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    if isinstance(content, Sequence):
        return [_part(part) for part in content]
    raise ConfigurationError(f"content is a string or a list of parts, not {type(content).__name__}")


def _part(part: object) -> Block:
    match part:
        case str():
            return Text(part)
        case Text() | Media():
            return part
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image_url", "image_url": {"url": str(url), **rest}}:
            return _image(url, rest.get("detail"))
        case {"type": "image_url", "image_url": str(url)}:
            return _image(url, None)
        case _:
            raise ConfigurationError(
                f"a content part is text or image_url, not {part!r}; other media: write Media(...)"
            )


def _image(url: str, detail: Any) -> Media:
    head, comma, data = url.partition(",")
    if url.startswith("data:") and comma:
        return Media("image", head.removeprefix("data:").removesuffix(";base64"), data, detail=detail)
    return Media("image", url=url, detail=detail)


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function", {})
    return ToolCall(str(call.get("id", "")), str(function.get("name", "")), str(function.get("arguments", "")))
