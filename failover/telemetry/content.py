"""Prompts and answers as the conventions' JSON (their schemas of input and output messages).  Media are named only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from failover.types import Block, Media, Message, Text, Thinking, ToolCall, ToolResult


def messages(given: Iterable[Message], finish_reason: str | None = None) -> str:
    ending = {} if finish_reason is None else {"finish_reason": finish_reason}
    told = [{"role": each.role, "parts": [_part(block) for block in each.content], **ending} for each in given]
    return json.dumps(told, ensure_ascii=False)


def _part(block: Block) -> dict[str, Any]:
    match block:
        case Text(text=text):
            return {"type": "text", "content": text}
        case Thinking(text=text):
            return {"type": "reasoning", "content": text}
        case ToolCall(id=call, name=name, arguments=arguments):
            return {"type": "tool_call", "id": call, "name": name, "arguments": arguments}
        case ToolResult(call_id=call, content=said):
            response = said if isinstance(said, str) else [_part(part) for part in said]
            return {"type": "tool_call_response", "id": call, "response": response}
        case Media(kind=kind, mime_type=mime_type, url=url, file_id=file):
            place = {"type": "uri", "uri": url} if url else {"type": "file", "file_id": file or ""}
            return {**place, "modality": kind, "mime_type": mime_type}
