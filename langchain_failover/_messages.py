"""LangChain messages to failover messages.

One small function per message type, chosen by ``match``.  What a ChatFailover wrote is restored block by block (see
``_kept``); what anything else wrote is read from its content, its tool calls and its ``additional_kwargs``, in the
order in which its blocks stand.

- ``author`` is who wrote an assistant turn (``provider:model``): from our own ``response_metadata`` entry, else from
  LangChain's ``model_provider`` and ``model_name``.
- Tool calls that could not be parsed (``invalid_tool_calls``) go back with the text the model really wrote.
- An Anthropic-style ``tool_result`` inside a user's message becomes a tool's turn before that user's turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from failover.errors import BadRequest
from failover.types import Block, Failure, Kind, Message, Role, Text, Thinking, ToolCall, ToolResult
from langchain_failover._blocks import blocks_of, result_content, said_blocks
from langchain_failover._kept import BROKEN, KEY, kept_reasoning, plain_arguments, restore

ENTRY = "failover"
"""Our entry in an answer's ``response_metadata``."""

ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
}

CALL_PARTS = frozenset(("tool_call", "tool_use", "function_call", "invalid_tool_call", "tool_call_chunk"))


def messages_of(messages: Iterable[BaseMessage]) -> tuple[Message, ...]:
    """Raises ``BadRequest`` for a message or content part that has no meaning to a model."""
    return tuple(turn for message in messages for turn in _turns(message))


def _turns(message: BaseMessage) -> Iterable[Message]:
    match message:
        case AIMessage():
            return (_assistant(message),)
        case HumanMessage():
            return _user(message)
        case SystemMessage():
            return (Message("system", blocks_of(message.content), name=message.name),)
        case ToolMessage():
            return (_tool(message),)
        case FunctionMessage():
            return (Message("tool", ToolResult(_legacy_id(message.name), _text(message), name=message.name)),)
        case ChatMessage():
            return (_chat(message),)
        case _:
            raise _mistake(f"a {type(message).__name__} cannot be sent to a model")


def _user(message: HumanMessage) -> Iterator[Message]:
    blocks = blocks_of(message.content)
    results = tuple(block for block in blocks if isinstance(block, ToolResult))
    said = tuple(block for block in blocks if not isinstance(block, ToolResult))
    if results:
        yield Message("tool", results)
    if said or not results:
        yield Message("user", said, name=message.name)


def _tool(message: ToolMessage) -> Message:
    content = result_content(message.content)
    failed = message.status == "error"
    return Message("tool", ToolResult(message.tool_call_id, content, is_error=failed, name=message.name))


def _chat(message: ChatMessage) -> Message:
    role = ROLES.get(message.role)
    if role is None:
        raise _mistake(f"a ChatMessage has the role {message.role!r}; it may be one of {', '.join(ROLES)}")
    return Message(role, blocks_of(message.content))


# -------------------------------------------------------- assistant turns


def _assistant(message: AIMessage) -> Message:
    return Message("assistant", _written(message), author=author_of(message), name=message.name)


def author_of(message: AIMessage) -> str | None:
    """``provider:model`` of who wrote it, None where the message does not say."""
    notes = message.response_metadata
    entry = notes.get(ENTRY)
    if isinstance(entry, Mapping) and entry.get("author"):
        return str(entry["author"])
    provider, model = notes.get("model_provider"), notes.get("model_name")
    return f"{provider}:{model}" if provider and model else None


def _written(message: AIMessage) -> list[Block]:
    records: Sequence[dict[str, Any]] = message.additional_kwargs.get(KEY) or ()
    calls = _calls(message)
    spoken = _spoken(message, calls)
    if not records:
        return spoken
    text = "".join(block.text for block in spoken if isinstance(block, Text))
    reasoning = "".join(block.text for block in spoken if isinstance(block, Thinking))
    restored = restore(records, text, reasoning, calls)
    if restored is not None:
        return restored
    return [*kept_reasoning(records, reasoning), *(block for block in spoken if not isinstance(block, Thinking))]


def _spoken(message: AIMessage, calls: Mapping[str, ToolCall]) -> list[Block]:
    """What the message itself shows, in the order of its parts; calls that no part mentions come last."""
    parts = [message.content] if isinstance(message.content, str) else message.content
    blocks: list[Block] = []
    for part in parts:
        call = _mentioned(part, calls)
        blocks.extend((call,) if call is not None else said_blocks([part]))
    placed = {block.id for block in blocks if isinstance(block, ToolCall)}
    blocks.extend(call for call in calls.values() if call.id not in placed)
    if not any(isinstance(block, Thinking) for block in blocks):
        blocks[:0] = _beside(message.additional_kwargs)
    return blocks


def _mentioned(part: str | Mapping[str, Any], calls: Mapping[str, ToolCall]) -> ToolCall | None:
    if isinstance(part, str) or part.get("type") not in CALL_PARTS:
        return None
    return calls.get(part.get("call_id") or part.get("id") or "")


def _beside(notes: Mapping[str, Any]) -> Iterator[Thinking]:
    """Reasoning that other integrations put beside the content."""
    said, item = notes.get("reasoning_content"), notes.get("reasoning")
    if text := said or (isinstance(item, str) and item):
        yield Thinking(str(text))
    elif isinstance(item, Mapping) and "summary" in item:
        read = said_blocks([{**item, "type": "reasoning"}])
        yield from (block for block in read if isinstance(block, Thinking))


def _calls(message: AIMessage) -> dict[str, ToolCall]:
    found: dict[str, ToolCall] = {}
    for call in message.tool_calls:
        id_ = call["id"] or f"call_{len(found)}"
        found[id_] = ToolCall(id_, call["name"], plain_arguments(call["args"]))
    for broken in message.invalid_tool_calls:
        id_ = broken["id"] or f"call_{len(found)}"
        found[id_] = ToolCall(id_, broken["name"] or "", (broken["args"] or "").removeprefix(BROKEN))
    if not found and (legacy := message.additional_kwargs.get("function_call")):
        id_ = _legacy_id(legacy.get("name"))
        found[id_] = ToolCall(id_, legacy.get("name") or "", legacy.get("arguments") or "")
    return found


def _legacy_id(name: str | None) -> str:
    """The functions API had no ids: a call and its result are paired by the function's name."""
    return f"call_{name or 'function'}"


def _text(message: BaseMessage) -> str:
    return message.content if isinstance(message.content, str) else str(message.text)


def _mistake(message: str) -> BadRequest:
    return BadRequest(Failure(Kind.BAD_REQUEST, message, sent=False))
