"""A request on the wire, read back into the neutral ``Request``: what a model would see of it.

Only requests that ``strict`` has found in order come here, so nothing is checked again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from failover.testing.replies import Question
from failover.testing.world import Card, DialectName, Row
from failover.types import (
    Block,
    JsonFormat,
    MediaKind,
    Message,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from failover.types import Media as Medium

Body = Mapping[str, Any]

ROLES: Mapping[str, Role] = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}
MEDIA: Mapping[str, MediaKind] = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "document": "document",
    "document_url": "document",
    "file": "document",
    "input_file": "document",
    "input_audio": "audio",
    "video_url": "video",
}


def read(dialect: DialectName, row: Row, card: Card, body: Body) -> Question:
    """The question that this request puts to the model."""
    thinks, shows = THINKS[dialect](card, body)
    return Question(
        dialect,
        row,
        card,
        str(body["model"]),
        REQUESTS[dialect](body),
        body,
        bool(body.get("stream")),
        bool((body.get("stream_options") or {}).get("include_usage")),
        thinks,
        shows,
    )


# ------------------------------------------------------------------ blocks


def _content(content: Any) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(block for part in content or () if (block := _part(part)) is not None)


def _part(part: Mapping[str, Any]) -> Block | None:
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            return Text(part["text"])
        case "thinking":
            thought = part["thinking"]
            return Thinking(thought if isinstance(thought, str) else "", part.get("signature"))
        case "tool_use":
            return ToolCall(part["id"], part["name"], json.dumps(part["input"], ensure_ascii=False))
        case "tool_result":
            found = part.get("content") or ""
            return ToolResult(part["tool_use_id"], _result(found), bool(part.get("is_error")))
        case str(kind) if kind in MEDIA:
            return Medium(MEDIA[kind])
    return None


def _result(content: Any) -> str | tuple[Text | Medium, ...]:
    if isinstance(content, str):
        return content
    return tuple(block for block in _content(content) if isinstance(block, Text | Medium))


# -------------------------------------------------------------------- chat


def _chat(body: Body) -> Request:
    return Request(
        messages=tuple(_chat_message(message) for message in body["messages"]),
        tools=tuple(_chat_tools(body.get("tools") or ())),
        tool_choice=_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        response_format=_chat_format(body.get("response_format") or {}),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        stop=_stops(body.get("stop")),
        reasoning_effort=body.get("reasoning_effort"),
    )


def _chat_message(message: Body) -> Message:
    if message["role"] == "tool":
        return Message("tool", ToolResult(message["tool_call_id"], _result(message["content"])))
    calls = [
        ToolCall(call["id"], call["function"]["name"], _text(call["function"].get("arguments")))
        for call in message.get("tool_calls") or ()
    ]
    return Message(ROLES[message["role"]], (*_content(message.get("content")), *calls), name=message.get("name"))


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)


def _chat_tools(tools: Iterable[Body]) -> Iterator[Tool]:
    for tool in tools:
        function = tool["function"]
        parameters = function.get("parameters") or {}
        yield Tool(function["name"], function.get("description") or "", parameters, function.get("strict"))


def _chat_format(wanted: Body) -> JsonFormat | None:
    match wanted.get("type"):
        case "json_object":
            return JsonFormat()
        case "json_schema":
            asked = wanted["json_schema"]
            return JsonFormat(asked["schema"], asked["name"], asked.get("strict"))
    return None


def _choice(choice: Any) -> str | None:
    match choice:
        case "any":
            return "required"
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function" | "tool", "name": str(name)}:
            return name
        case {"type": "any"}:
            return "required"
        case {"type": str(kind)} if kind in ("auto", "none"):
            return kind
    return choice if isinstance(choice, str) else None


def _stops(stop: Any) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


# --------------------------------------------------------------- anthropic


def _anthropic(body: Body) -> Request:
    system = Message("system", _content(body.get("system")))
    choice = body.get("tool_choice") or {}
    wanted = (body.get("output_config") or {}).get("format")
    return Request(
        messages=((system,) if system.content else ()) + tuple(_anthropic_message(m) for m in body["messages"]),
        tools=tuple(_own_tools(body.get("tools") or ())),
        tool_choice=_choice(choice),
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        response_format=JsonFormat(wanted["schema"]) if wanted else None,
        max_tokens=body.get("max_tokens"),
        temperature=body.get("temperature"),
        stop=tuple(body.get("stop_sequences") or ()),
        reasoning_effort=(body.get("output_config") or {}).get("effort"),
    )


def _anthropic_message(message: Body) -> Message:
    blocks = _content(message["content"])
    results = bool(blocks) and all(isinstance(block, ToolResult) for block in blocks)
    return Message("tool" if results else ROLES[message["role"]], blocks)


def _own_tools(tools: Iterable[Body]) -> Iterator[Tool]:
    for tool in tools:
        if tool.get("type") in (None, "custom"):
            yield Tool(tool["name"], tool.get("description") or "", tool["input_schema"], tool.get("strict"))


# --------------------------------------------------------------- responses


def _responses(body: Body) -> Request:
    first = (Message("system", body["instructions"]),) if body.get("instructions") else ()
    given = body["input"]
    turns = (Message("user", given),) if isinstance(given, str) else tuple(_items(given))
    wanted = (body.get("text") or {}).get("format") or {}
    return Request(
        messages=(*first, *turns),
        tools=tuple(_flat_tools(body.get("tools") or ())),
        tool_choice=_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        response_format=_flat_format(wanted),
        max_tokens=body.get("max_output_tokens"),
        temperature=body.get("temperature"),
        reasoning_effort=(body.get("reasoning") or {}).get("effort"),
    )


def _items(items: Iterable[Body]) -> Iterator[Message]:
    for item in items:
        match item.get("type") or "message":
            case "message":
                yield Message(ROLES[item["role"]], _content(item["content"]))
            case "function_call":
                yield Message("assistant", ToolCall(item["call_id"], item["name"], item["arguments"]))
            case "function_call_output":
                yield Message("tool", ToolResult(item["call_id"], _result(item["output"])))
            case "reasoning":
                yield Message("assistant", Thinking(extra=item))


def _flat_tools(tools: Iterable[Body]) -> Iterator[Tool]:
    for tool in tools:
        if tool["type"] == "function":
            parameters = tool.get("parameters") or {}
            yield Tool(tool["name"], tool.get("description") or "", parameters, tool.get("strict"))


def _flat_format(wanted: Body) -> JsonFormat | None:
    match wanted.get("type"):
        case "json_object":
            return JsonFormat()
        case "json_schema":
            return JsonFormat(wanted["schema"], wanted["name"], wanted.get("strict"))
    return None


# ---------------------------------------------------------------- thinking


def _chat_thinks(card: Card, body: Body) -> tuple[bool, bool]:
    off = (body.get("thinking") or {}).get("type") == "disabled" or body.get("reasoning_effort") == "none"
    shown = body.get("reasoning_format") != "hidden" and body.get("include_reasoning") is not False
    return "reasons" in card.traits and not off, shown


def _anthropic_thinks(card: Card, body: Body) -> tuple[bool, bool]:
    thinking = body.get("thinking") or {}
    asked = thinking.get("type") in ("adaptive", "enabled", "between_tools")
    always = "reasons" in card.traits and thinking.get("type") != "disabled"
    return asked or always, thinking.get("display") != "omitted"


def _responses_thinks(card: Card, body: Body) -> tuple[bool, bool]:
    reasoning = body.get("reasoning") or {}
    return "reasons" in card.traits and reasoning.get("effort") != "none", bool(reasoning.get("summary"))


REQUESTS: Mapping[DialectName, Callable[[Body], Request]] = {
    "chat": _chat,
    "anthropic": _anthropic,
    "responses": _responses,
}
THINKS: Mapping[DialectName, Callable[[Card, Body], tuple[bool, bool]]] = {
    "chat": _chat_thinks,
    "anthropic": _anthropic_thinks,
    "responses": _responses_thinks,
}
