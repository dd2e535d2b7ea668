"""What a caller may hand to a door, as messages: a string, messages, or dictionaries as OpenAI writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Unpack, cast, get_args

from failover.errors import ConfigurationError
from failover.types import Block, CallOptions, Media, Message, Request, Role, Text, Tool, ToolCall, ToolResult

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]

OPTIONS = frozenset(CallOptions.__optional_keys__)
ROLES: Mapping[str, Role] = {**{role: role for role in get_args(Role)}, "developer": "system", "function": "tool"}
AT_LEAST: Mapping[str, float] = {"max_tokens": 1, "deadline": 0, "max_retries": 0, "top_logprobs": 0, "top_k": 0}


def request_of(prompt: Prompt, **options: Unpack[CallOptions]) -> Request:
    """The request for a prompt and its options; raises ``ConfigurationError`` for what cannot be meant."""
    for name, value in options.items():
        _check(name, value)
    messages = tuple(_messages(prompt))
    given: dict[str, Any] = dict(options)
    for name in TUPLES & given.keys():
        given[name] = tuple(given[name])
    return Request(messages, **given)


TUPLES = frozenset(("tools", "stop", "prefer"))


def _check(name: str, value: object) -> None:
    if name not in OPTIONS:
        close = get_close_matches(name, OPTIONS, 1)
        raise ConfigurationError(f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    if name in TUPLES and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise ConfigurationError(f"{name} = {value!r}: write a list")
    if name == "tools" and not all(isinstance(tool, Tool) for tool in cast("Sequence[object]", value)):
        raise ConfigurationError("tools: write Tool(name, description, parameters) for each")
    if name in AT_LEAST and value is not None:
        _check_number(name, value, AT_LEAST[name])


def _check_number(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise ConfigurationError(f"{name} = {value!r}: write a number of at least {least:g}")


def _messages(prompt: Prompt) -> Iterator[Message]:
    if isinstance(prompt, str):
        yield Message("user", prompt)
    elif isinstance(prompt, Message):
        yield prompt
    elif isinstance(prompt, Sequence):
        yield from map(_message, prompt)
    else:
        raise ConfigurationError(f"a prompt is a string or a list of messages, not {type(prompt).__name__}")


def _message(given: object) -> Message:
    if isinstance(given, Message):
        return given
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
