"""OpenAI Responses as the API sends it, whole and streamed.

The items of one answer share a stem in their ids (``rs_X``, ``msg_X``, ``fc_X_0``), and the stem says whether the
model reasoned (``r0...``) or not (``n0...``): so the judge knows, without a memory, which items belong together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from failover.testing.render.event import Event, EventKind
from failover.testing.replies import Question, Spoken, ToolUse, count, words
from failover.testing.strict import sign
from failover.testing.world import Tokens

Json = dict[str, Any]

REASONS_TO_STOP = {"length": "max_output_tokens", "content_filter": "content_filter"}


def usage(used: Tokens) -> Json:
    return {
        "input_tokens": used.input,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.written},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }


def whole(said: Spoken, question: Question) -> Json:
    """The answer as one body."""
    why = REASONS_TO_STOP.get(said.finish)
    return {
        **_frame(said, question),
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": list(_items(said, question)),
        "usage": usage(said.usage),
    }


def _frame(said: Spoken, question: Question) -> Json:
    body = question.body
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": 1_795_000_000,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": said.model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": "medium", "summary": None} | (body.get("reasoning") or {}),
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
    }


def stem(said: Spoken) -> str:
    return f"{'r0' if said.reasoning else 'n0'}{said.id}"[:40]


def _items(said: Spoken, question: Question) -> Iterator[Json]:
    status = "incomplete" if said.finish in REASONS_TO_STOP else "completed"
    if said.reasoning:
        yield _reasoning(said, question)
    part: Json = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    if said.refusal is not None:
        part = {"type": "refusal", "refusal": said.refusal}
    if said.refusal is not None or (said.text is not None and (said.text or not said.tools)):
        yield _message(said, status) | {"content": [part]}
    for number, tool in enumerate(said.tools):
        yield _call(tool, number, said) | {"arguments": tool.json, "status": "completed"}


def _reasoning(said: Spoken, question: Question) -> Json:
    name = f"rs_{stem(said)}"
    shown = [{"type": "summary_text", "text": said.reasoning}] if question.shows_reasoning else []
    item: Json = {"id": name, "type": "reasoning", "summary": shown}
    if "reasoning.encrypted_content" in (question.body.get("include") or ()):
        item["encrypted_content"] = sign(question.model, name)
    return item


def _message(said: Spoken, status: str) -> Json:
    return {"id": f"msg_{stem(said)}", "type": "message", "status": status, "role": "assistant", "content": []}


def _call(tool: ToolUse, number: int, said: Spoken) -> Json:
    call = tool.id if tool.id is not None else f"call_{number}{said.id[::-1]}"[:29]
    return {
        "id": f"fc_{stem(said)}_{number}",
        "type": "function_call",
        "status": "in_progress",
        "arguments": "",
        "call_id": call,
        "name": tool.name,
    }


# ------------------------------------------------------------------ stream


def events(said: Spoken, question: Question) -> Iterator[Event]:
    """The answer as a stream of numbered events."""
    for number, event in enumerate(_events(said, question)):
        yield Event(event.kind, {**event.data, "sequence_number": number}, event.name, event.tokens)


def _events(said: Spoken, question: Question) -> Iterator[Event]:
    hidden = 0 if question.shows_reasoning else said.usage.reasoning
    for name in ("response.created", "response.in_progress"):
        tokens = hidden if name == "response.created" else 0
        yield _event("open", name, tokens, response=_frame(said, question))
    for index, item in enumerate(_items(said, question)):
        yield from _STREAMED[item["type"]](index, item, said)
        yield _event("extra", "response.output_item.done", output_index=index, item=item)
    final = whole(said, question)
    yield _event("end", f"response.{final['status']}", response=final)


def _event(kind: EventKind, name: str, tokens: int = 0, **fields: Any) -> Event:
    return Event(kind, {"type": name, **fields}, name, tokens)


def _stream_reasoning(index: int, item: Json, said: Spoken) -> Iterator[Event]:
    where = {"item_id": item["id"], "output_index": index}
    yield _event("open", "response.output_item.added", output_index=index, item={**item, "summary": []})
    for number, part in enumerate(item["summary"]):
        place = {**where, "summary_index": number}
        kind = "response.reasoning_summary"
        yield _event("open", f"{kind}_part.added", **place, part={"type": "summary_text", "text": ""})
        for thought in said.thoughts:
            yield _event("content", f"{kind}_text.delta", count(thought), **place, delta=thought)
        yield _event("extra", f"{kind}_text.done", **place, text=part["text"])
        yield _event("extra", f"{kind}_part.done", **place, part=part)


def _stream_message(index: int, item: Json, said: Spoken) -> Iterator[Event]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    field = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if field == "refusal" else "response.output_text"
    rest: Json = {} if field == "refusal" else {"logprobs": []}
    started = {**item, "status": "in_progress", "content": []}
    yield _event("open", "response.output_item.added", output_index=index, item=started)
    yield _event("open", "response.content_part.added", **place, part={**part, field: ""})
    for piece in said.pieces or words(said.refusal or ""):
        yield _event("content", f"{kind}.delta", count(piece), **place, delta=piece, **rest)
    yield _event("extra", f"{kind}.done", **place, **{field: part[field]}, **rest)
    yield _event("extra", "response.content_part.done", **place, part=part)


def _stream_call(index: int, item: Json, said: Spoken) -> Iterator[Event]:
    place = {"item_id": item["id"], "output_index": index}
    kind = "response.function_call_arguments"
    started = {**item, "arguments": "", "status": "in_progress"}
    yield _event("open", "response.output_item.added", output_index=index, item=started)
    for piece in words(item["arguments"]):
        yield _event("content", f"{kind}.delta", count(piece), **place, delta=piece)
    yield _event("extra", f"{kind}.done", **place, arguments=item["arguments"])


_STREAMED = {"reasoning": _stream_reasoning, "message": _stream_message, "function_call": _stream_call}
