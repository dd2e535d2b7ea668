"""Answers are judged before they are believed; the same for all dialects.

A dialect reads an answer as it stands and hands it to ``judge``, which gives it back as it may be believed:

- nothing in it (no text, no call, no media) and yet a clean stop: ``EMPTY``, with the answer as ``partial``, because
  it is the answer if every target says so; reasoning alone does not count, nor does it reach the caller as text
- nothing in it, but a reason for that (length, content filter, context window, pause): an answer
- a call without a name: ``MALFORMED``; nobody could carry it out
- a call whose arguments broke off because the answer did: left out, so that a cut can never corrupt one
- calls, but a finish reason that does not say so (Gemini, Ollama): it says so from here on; and the reverse

Before that, ``read`` makes sure that there is something to read at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from failover.dialects.lenient import load
from failover.types import Answer, Failure, FinishReason, Kind, Media, Message, Outcome, Text, ToolCall

BROKEN_OFF: frozenset[FinishReason] = frozenset(("length", "context_window", "content_filter"))
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")
CLEAN: frozenset[FinishReason] = frozenset(("stop", "tool_calls", "other"))


def read(body: bytes) -> dict[str, Any] | Failure:
    """The JSON object that a whole answer should be; one wrapped in an array (Gemini does it) is unwrapped."""
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        return Failure(Kind.EMPTY, "the answer had no body")
    try:
        value = load(text)
    except ValueError as error:
        html = text[:64].lower().startswith(HTML)
        return Failure(Kind.MALFORMED, "the answer is HTML" if html else f"the answer is not JSON: {error}")
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return Failure(Kind.MALFORMED, f"the answer is a JSON {type(value).__name__}, not an object")
    return value


def judge(answer: Answer) -> Outcome:
    """``answer`` as it may be believed, or why it may not."""
    calls = answer.message.tool_calls
    if calls:
        if not all(call.name for call in calls):
            return Failure(Kind.MALFORMED, "a tool call without a name", partial=answer)
        answer = _with_whole_calls(answer) if answer.finish_reason in BROKEN_OFF else _finished(answer, "tool_calls")
    elif answer.finish_reason == "tool_calls":
        answer = _finished(answer, "stop")
    if answer.finish_reason in CLEAN and not has_content(answer.message):
        return Failure(Kind.EMPTY, "the answer is empty", partial=answer)
    return answer


def has_content(message: Message) -> bool:
    """Anything that a caller could use."""
    for block in message.content:
        if isinstance(block, ToolCall | Media) or (isinstance(block, Text) and block.text):
            return True
    return False


def is_whole(call: ToolCall) -> bool:
    """The arguments are complete JSON; none at all are complete, too."""
    try:
        from_json(call.arguments or "{}")
    except ValueError:
        return False
    return True


def _finished(answer: Answer, reason: FinishReason) -> Answer:
    return answer if answer.finish_reason in (reason, "pause") else replace(answer, finish_reason=reason)


def _with_whole_calls(answer: Answer) -> Answer:
    message = answer.message
    whole = [block for block in message.content if not isinstance(block, ToolCall) or is_whole(block)]
    if len(whole) == len(message.content):
        return answer
    return replace(answer, message=Message("assistant", whole, message.author, message.name))
