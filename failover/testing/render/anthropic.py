"""Anthropic Messages as the API sends it, whole and streamed.

Thinking blocks carry a signature that only the model that wrote them can show again (``strict.sign``).  Usage comes
twice in a stream: the input with ``message_start``, and cumulative figures with ``message_delta``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from failover.testing.render.event import Event, EventKind
from failover.testing.replies import Question, Spoken, ToolUse, count, words
from failover.testing.strict import opening, sign
from failover.testing.world import Tokens
from failover.types import FinishReason

Json = dict[str, Any]

STOPS: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "context_window": "model_context_window_exceeded",
    "pause": "pause_turn",
    "other": "end_turn",
}


def _usage(used: Tokens) -> Json:
    return {
        "input_tokens": used.input - used.cached - used.written,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.written,
        "cache_creation": {"ephemeral_5m_input_tokens": used.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": used.output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        "service_tier": "standard",
    }


def whole(said: Spoken, question: Question) -> Json:
    """The answer as one body."""
    return {**_message(said), "content": _blocks(said, question), **_stop(said), "usage": _usage(said.usage)}


def _message(said: Spoken) -> Json:
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop(said: Spoken) -> Json:
    if said.refusal is not None:
        details = {"type": "refusal", "category": "general_harms", "explanation": said.refusal}
        return {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    if said.stopped_by and said.finish == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": said.stopped_by}
    return {"stop_reason": STOPS[said.finish], "stop_sequence": None}


def _blocks(said: Spoken, question: Question) -> list[Json]:
    blocks: list[Json] = []
    if said.reasoning:
        shown = said.reasoning if question.shows_reasoning else ""
        blocks.append({"type": "thinking", "thinking": shown, "signature": _signature(shown, question)})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for number, tool in enumerate(said.tools):
        blocks.append({**_call(tool, number, said), "input": _input(tool)})
    return blocks


def _signature(thought: str, question: Question) -> str:
    bound = opening(question.body["messages"]) if "bound_thinking" in question.card.traits else ""
    return sign(question.model, thought, bound)


def _call(tool: ToolUse, number: int, said: Spoken) -> Json:
    name = tool.id if tool.id is not None else f"toolu_01{number}{said.id[::-1]}"[:28]
    return {"type": "tool_use", "id": name, "name": tool.name, "input": {}}


def _input(tool: ToolUse) -> Any:
    try:
        return json.loads(tool.json or "{}")
    except ValueError:  # a scripted call with broken arguments: the wire has no room for text that is not JSON
        return {}


# ------------------------------------------------------------------ stream


def events(said: Spoken, question: Question) -> Iterator[Event]:
    """The answer as a stream of events."""
    started = Tokens(said.usage.input, 1, said.usage.cached, said.usage.written)
    hidden = 0 if question.shows_reasoning else said.usage.reasoning
    first = {"type": "message_start", "message": {**_message(said), "usage": _usage(started)}}
    yield Event("open", first, "message_start", hidden)
    yield _event("extra", "ping")
    for number, block in enumerate(_streamed(said, question)):
        head, deltas = block
        yield _event("open", "content_block_start", index=number, content_block=head)
        for delta, tokens in deltas:
            yield _delta(number, delta, tokens)
        yield _event("extra", "content_block_stop", index=number)
    yield _event("finish", "message_delta", delta=_stop(said), usage=_usage(said.usage))
    yield _event("end", "message_stop")


def _event(kind: EventKind, name: str, **fields: Any) -> Event:
    return Event(kind, {"type": name, **fields}, name)


def _delta(index: int, delta: Json, tokens: int) -> Event:
    name = "content_block_delta"
    kind: EventKind = "extra" if delta["type"] == "signature_delta" else "content"
    return Event(kind, {"type": name, "index": index, "delta": delta}, name, tokens)


Streamed = tuple[Json, list[tuple[Json, int]]]


def _streamed(said: Spoken, question: Question) -> Iterator[Streamed]:
    """Each block as it starts, and its deltas with their tokens."""
    if said.reasoning:
        yield _thought(said, question)
    if said.text:
        deltas = [({"type": "text_delta", "text": piece}, count(piece)) for piece in said.pieces]
        yield {"type": "text", "text": ""}, deltas
    for number, tool in enumerate(said.tools):
        yield _call(tool, number, said), _fragments(tool)


def _thought(said: Spoken, question: Question) -> Streamed:
    shown = said.reasoning if question.shows_reasoning else ""
    thoughts = said.thoughts if question.shows_reasoning else ()
    deltas = [({"type": "thinking_delta", "thinking": piece}, count(piece)) for piece in thoughts]
    deltas.append(({"type": "signature_delta", "signature": _signature(shown, question)}, 0))
    return {"type": "thinking", "thinking": "", "signature": ""}, deltas


def _fragments(tool: ToolUse) -> list[tuple[Json, int]]:
    pieces = words(tool.json) if tool.json != "{}" else ()
    share = -(-count(tool.json) // max(1, len(pieces)))
    deltas: list[tuple[Json, int]] = [({"type": "input_json_delta", "partial_json": ""}, 0)]
    return deltas + [({"type": "input_json_delta", "partial_json": piece}, share) for piece in pieces]
