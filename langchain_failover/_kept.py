"""What a LangChain message has no place for, kept so that a turn goes back to its author as it was written.

A LangChain answer shows text, reasoning and parsed tool calls.  What the wire needs beside them (signatures of
reasoning, encrypted items, citations, the order of blocks, the very bytes of a tool call's arguments) is kept in
``additional_kwargs["failover_blocks"]``: one small record per block, in order.  Text is not stored twice: a record
says how many characters of the visible text, or of the visible reasoning, belong to it.

The visible message wins.  Somebody may have edited it (trimmed, redacted, answered for the model): where the
lengths or the tool calls no longer agree, only the reasoning is taken from the record, and put first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from failover.types import Block, Media, Text, Thinking, ToolCall

KEY = "failover_blocks"
Record = dict[str, Any]

BROKEN = "\ufeff"
"""Stands before the arguments of a streamed call that are not JSON: a byte-order mark, which no JSON parser takes."""


def plain_arguments(args: Any) -> str:
    """Arguments as the models themselves mostly write them: compact, not escaped."""
    return json.dumps(args, ensure_ascii=False, separators=(",", ":"))


# ---------------------------------------------------------------- keeping


def keep(blocks: Sequence[Block]) -> list[Record] | None:
    """The records of an answer, or None where its visible parts say everything."""
    if _is_plain(blocks):
        return None
    return [_record(block) for block in blocks]


def _is_plain(blocks: Sequence[Block]) -> bool:
    """At most one reasoning, then at most one text, then calls, with nothing attached to any of them."""
    order = [_RANK.get(type(block), 9) for block in blocks]
    singles = [rank for rank in order if rank < 2]
    return order == sorted(order) and len(singles) == len(set(singles)) and not any(map(_attached, blocks))


_RANK: Mapping[type, int] = {Thinking: 0, Text: 1, ToolCall: 2}


def _attached(block: Block) -> bool:
    match block:
        case Text(extra=extra):
            return bool(extra)
        case Thinking(signature=signature, redacted=redacted, extra=extra):
            return bool(signature or redacted or extra)
        case ToolCall(arguments=arguments, extra=extra):
            return bool(extra) or _reparsed(arguments) != arguments
        case _:
            return True


def _reparsed(arguments: str) -> str | None:
    """As a reader of the parsed call would write them; None where they are no JSON object."""
    try:
        parsed = json.loads(arguments or "{}") or {}  # as langchain-core reads it
    except ValueError:
        return None
    return plain_arguments(parsed) if isinstance(parsed, dict) else None


def _record(block: Block) -> Record:
    match block:
        case Text(text=text, extra=extra):
            return _filled(type="text", chars=len(text), extra=dict(extra))
        case Thinking(text=text, signature=signature, redacted=redacted, extra=extra):
            said = {"chars": len(text), "signature": signature, "redacted": redacted, "extra": dict(extra)}
            return _filled(type="thinking", **said)
        case ToolCall(id=id_, arguments=arguments, extra=extra):
            return _filled(type="tool_call", id=id_, arguments=arguments, extra=dict(extra))
        case Media():
            return _filled(type="media", **asdict(block))
        case _:
            return {"type": "other"}


def _filled(**record: Any) -> Record:
    return {key: value for key, value in record.items() if value not in (None, {})}


# -------------------------------------------------------------- restoring


def restore(records: Sequence[Record], text: str, reasoning: str, calls: Mapping[str, ToolCall]) -> list[Block] | None:
    """The blocks as they were written, or None where the message was changed since."""
    sizes = {kind: sum(r.get("chars", 0) for r in records if r["type"] == kind) for kind in ("text", "thinking")}
    ids = [record["id"] for record in records if record["type"] == "tool_call"]
    if sizes != {"text": len(text), "thinking": len(reasoning)} or set(ids) != set(calls):
        return None
    visible = {"text": _Reader(text), "thinking": _Reader(reasoning)}
    return [block for record in records if (block := _restored(record, visible, calls)) is not None]


def kept_reasoning(records: Sequence[Record], reasoning: str) -> list[Block]:
    """Only the reasoning, for a message whose text or calls were changed."""
    if sum(record.get("chars", 0) for record in records if record["type"] == "thinking") != len(reasoning):
        return []
    reader = {"thinking": _Reader(reasoning)}
    return [_thinking(record, reader["thinking"]) for record in records if record["type"] == "thinking"]


class _Reader:
    """Hands out a visible text piece by piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, chars: int) -> str:
        self._at += chars
        return self._text[self._at - chars : self._at]


def _restored(record: Record, visible: Mapping[str, _Reader], calls: Mapping[str, ToolCall]) -> Block | None:
    match record["type"]:
        case "text":
            return Text(visible["text"].take(record.get("chars", 0)), extra=record.get("extra", {}))
        case "thinking":
            return _thinking(record, visible["thinking"])
        case "tool_call":
            return _call(record, calls[record["id"]])
        case "media":
            return Media(**{field.name: record[field.name] for field in fields(Media) if field.name in record})
        case _:
            return None


def _thinking(record: Record, reader: _Reader) -> Thinking:
    text = reader.take(record.get("chars", 0))
    return Thinking(text, record.get("signature"), record.get("redacted"), record.get("extra", {}))


def _call(record: Record, call: ToolCall) -> ToolCall:
    """The arguments as written, if they still mean what the message says."""
    written = record.get("arguments", call.arguments)
    same = _reparsed(written) == call.arguments
    return ToolCall(call.id, call.name, written if same else call.arguments, record.get("extra", {}))
