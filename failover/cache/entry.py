"""An answer as it lies in a shared cache: JSON with a version, never pickle.

What comes back is the same answer, or nothing: one that JSON would change is not kept, and whatever cannot be read
(another version, half an entry, one that somebody has tampered with) is no entry.  ``hint`` is not kept: what the
provider said of its limits then says nothing now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from failover.types import Answer, FinishReason, Media, Message, Role, Text, Thinking, ToolCall, Usage


@dataclass(slots=True)
class Entry:
    """An ``Answer`` laid out flat; each block beside the name of its sort."""

    version: Literal[1]
    role: Role
    blocks: list[
        tuple[Literal["text"], Text]
        | tuple[Literal["thinking"], Thinking]
        | tuple[Literal["tool_call"], ToolCall]
        | tuple[Literal["media"], Media]
    ]
    author: str | None = None
    name: str | None = None
    finish_reason: FinishReason = "stop"
    native_finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


SORTS: dict[type, str] = {Text: "text", Thinking: "thinking", ToolCall: "tool_call", Media: "media"}
_entries = TypeAdapter(Entry)


def pack(answer: Answer) -> bytes | None:
    """The entry for an answer; None where it would not come back as it is."""
    message = answer.message
    blocks: list[Any] = [(SORTS.get(type(block), ""), block) for block in message.content]
    entry = Entry(
        1,
        message.role,
        blocks,
        message.author,
        message.name,
        answer.finish_reason,
        answer.native_finish_reason,
        answer.usage,
        answer.model,
        answer.id,
        dict(answer.extra),
    )
    try:
        raw = _entries.dump_json(entry, exclude_defaults=True, warnings=False)
    except PydanticSerializationError:
        return None
    return raw if unpack(raw) == answer else None


def unpack(raw: bytes | str) -> Answer | None:
    """The answer in an entry; None if it is not one."""
    try:
        entry = _entries.validate_json(raw, strict=True)
    except ValidationError:
        return None
    return Answer(
        Message(entry.role, [block for _, block in entry.blocks], entry.author, entry.name),
        entry.finish_reason,
        entry.native_finish_reason,
        entry.usage,
        entry.model,
        entry.id,
        entry.extra,
    )
