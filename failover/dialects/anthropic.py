"""Anthropic Messages: what comes back.  What is sent stands in ``anthropic_request``.

A stream is over at ``message_stop``, nothing else.  Usage in ``message_delta`` is cumulative and replaces what
``message_start`` said.  Unknown events, deltas and blocks are no fault: blocks that have no form of ours (server
tools, and whatever comes next) are kept whole in ``Thinking.extra["anthropic_block"]`` and go back as they came.

Streamed reasoning is never repeated: a signed block is handed on, when it ends, as ``Thinking("", signature=...)`` in
``Chunk.blocks``, its text having been streamed as ``Chunk.reasoning``.  Citations likewise: ``Text("", extra=...)``.
The answer at the end holds whole blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from failover.dialects.anthropic_request import OPAQUE, Draft
from failover.dialects.base import Model, Wire
from failover.dialects.body import SHAPES, count, decode, dumps, encode, given, mapping, need, prose, string
from failover.dialects.judge import BROKEN_OFF, is_whole, judge, read
from failover.dialects.lenient import is_torn, mended, parted
from failover.dialects.params import amend
from failover.dialects.replay import portable, rules_for, tool_names
from failover.failures import classify_error
from failover.types import (
    Answer,
    Block,
    Chunk,
    Failure,
    FinishReason,
    Kind,
    Message,
    Outcome,
    Request,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

FINISH: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "content_filter",
    "model_context_window_exceeded": "context_window",
}

NOTHING_SAID = Text("")
NONE: list[Chunk] = []


class Anthropic:
    name = "anthropic"

    def render(self, request: Request, model: Model, stream: bool) -> Wire:
        rules = rules_for(model, self.name)
        turns = portable(request.messages, model, rules)
        draft = Draft(request, model, rules, turns)
        body = draft.body() | ({"stream": True} if stream else {}) | dict(request.extra_body)
        amend(body, model.learned)
        return Wire(
            path="/messages" if model.provider.base_url.rstrip("/").endswith("/v1") else "/v1/messages",
            body=encode(body),
            headers={"content-type": "application/json", "anthropic-version": draft.version(body)},
            notes=tuple(draft.notes),
            tool_names=tool_names(request.tools, rules),
        )

    def parse(self, body: bytes, model: Model) -> Outcome:
        message = read(body)
        if isinstance(message, Failure):
            return message
        if message.get("type") == "error" or message.get("error"):
            return classify_error(message, {}, None)
        try:
            content = [_read_block(block) for block in need(message, "content", list)]
            return judge(_answer(message, content))
        except SHAPES as error:
            return _malformed(error)

    def decoder(self, model: Model) -> AnthropicDecoder:
        return AnthropicDecoder(model)


def _malformed(error: Exception) -> Failure:
    return Failure(Kind.MALFORMED, f"not a message of Anthropic's: {error}")


# ------------------------------------------------------------------ answer


def _read_block(block: Any) -> Block:
    match need(block, "type", str):
        case "text":
            return Text(prose(block, "text"), extra=given(block, ("citations",)))
        case "thinking":
            return Thinking(prose(block, "thinking"), string(block.get("signature")) or None)
        case "redacted_thinking":
            return Thinking(redacted=need(block, "data", str))
        case "tool_use":
            return _read_call(block, dumps(block.get("input") or {}))
        case _:
            return Thinking(extra={OPAQUE: block})


def _read_call(block: Mapping[str, Any], arguments: str) -> ToolCall:
    extra = given(block, ("caller", "toolset_name"))
    return ToolCall(string(block.get("id")), need(block, "name", str), arguments, extra)


def _answer(message: Mapping[str, Any], content: Sequence[Block]) -> Answer:
    native = message.get("stop_reason")
    return Answer(
        message=Message("assistant", (block for block in content if block != NOTHING_SAID)),
        finish_reason="stop" if native is None else FINISH.get(string(native), "other"),
        native_finish_reason=string(native) or None,
        usage=_usage(message.get("usage")),
        model=string(message.get("model")),
        id=string(message.get("id")),
        extra=given(message, ("stop_sequence", "stop_details", "container", "diagnostics"))
        | given(mapping(message.get("usage")), ("service_tier", "speed", "server_tool_use", "inference_geo")),
    )


def _usage(usage: Any) -> Usage | None:
    """Anthropic counts cached input beside ``input_tokens``; here it is part of it."""
    if not isinstance(usage, dict):
        return None
    read = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) + read + written,
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(
            written, count(mapping(usage.get("cache_creation")).get("ephemeral_1h_input_tokens"))
        ),
        reasoning_tokens=count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


# ------------------------------------------------------------------ stream


@dataclass(slots=True)
class _Part:
    """One content block while it is streamed: its start, and what the deltas added."""

    index: int
    start: dict[str, Any]
    kind: str
    pieces: list[str] = field(default_factory=list)
    half: str = ""  # of a surrogate pair that was torn apart
    citations: list[Any] = field(default_factory=list)
    signature: str = ""
    block: Block | None = None  # once it has ended

    held: list[Chunk] = field(default_factory=list)  # a call whose arguments are not whole

    def add(self, text: Any) -> list[Chunk]:
        if not text:
            return NONE
        if self.half or is_torn(text):  # what is not a string raises here
            text, self.half = parted(self.half + text)
        self.pieces.append(text)
        if self.kind == "text":
            return [Chunk(text=text, index=self.index)]
        if self.kind == "thinking":
            return [Chunk(reasoning=text, index=self.index)]
        return [Chunk(index=self.index)]

    def close(self) -> list[Chunk]:
        """What is to be handed on now that the block is whole, beyond what was streamed of it."""
        if self.block is not None:
            return NONE
        self.block = block = self.whole()
        match block:
            case ToolCall():
                chunk = Chunk(tool_calls=(block,), index=self.index)
                if is_whole(block):
                    return [chunk]
                self.held.append(chunk)
            case Text() if block.extra:
                return [Chunk(blocks=(replace(block, text=""),), index=self.index)]
            case Thinking() if block.signature or block.redacted or block.extra:
                return [Chunk(blocks=(replace(block, text=""),), index=self.index)]
        return NONE

    def whole(self) -> Block:
        text = "".join(self.pieces) + mended(self.half)
        match self.kind:
            case "text":
                cited = {"citations": self.citations} if self.citations else {}
                return Text(text, extra=given(self.start, ("citations",)) | cited)
            case "thinking":
                return Thinking(text, self.signature or string(self.start.get("signature")) or None)
            case "tool_use":
                return _read_call(self.start, text or dumps(self.start.get("input") or {}))
            case _:
                return _read_block(self.start | _given_input(text))

    def so_far(self) -> Block | None:
        """What there is of a block that has not ended; a call without its end is nothing."""
        return self.whole() if self.kind in ("text", "thinking") else None


def _given_input(text: str) -> dict[str, Any]:
    """The input of a server's own tool, where it was streamed, and unless it broke off."""
    try:
        return {"input": from_json(text)} if text else {}
    except ValueError:
        return {}


class AnthropicDecoder:
    """Reads one stream of Messages events.  See ``base.Decoder``."""

    __slots__ = ("_current", "_message", "_model", "_parts", "done", "failure")

    def __init__(self, model: Model) -> None:
        self.done = False
        self.failure: Failure | None = None
        self._model = model
        self._message: dict[str, Any] = {}
        self._parts: list[_Part] = []
        self._current: dict[int, _Part] = {}  # by the wire's index, which some servers use more than once

    def feed(self, data: bytes) -> list[Chunk]:
        if self.done or self.failure is not None:
            return NONE
        try:
            event = decode(data)
            read_event = EVENTS.get(event.get("type") or ("error" if event.get("error") else ""))
            return NONE if read_event is None else read_event(self, event)
        except SHAPES as error:
            self.failure = replace(_malformed(error), partial=self.partial())
            return NONE

    def end(self) -> Outcome:
        if self.failure is not None:
            return self.failure
        if not self.done and (self._model.end_marker or self._message.get("stop_reason") is None):
            return Failure(Kind.CUT, "the stream ended before message_stop", partial=self.partial())
        try:
            return judge(_answer(self._message, [part.block or part.whole() for part in self._parts]))
        except SHAPES as error:
            return replace(_malformed(error), partial=self.partial())

    def partial(self) -> Answer:
        """What had arrived: text and reasoning as far as they came, calls only when whole."""
        blocks = (part.block or part.so_far() for part in self._parts)
        answer = _answer(self._message, [block for block in blocks if block is not None])
        if answer.usage is None or self._message.get("stop_reason") is not None:
            return answer
        return replace(answer, usage=replace(answer.usage, estimated=True))

    def started(self, event: dict[str, Any]) -> list[Chunk]:
        self._message = dict(need(event, "message", dict))
        return NONE

    def opened(self, event: dict[str, Any]) -> list[Chunk]:
        start = need(event, "content_block", dict)
        part = _Part(len(self._parts), start, need(start, "type", str))
        self._current[need(event, "index", int)] = part
        self._parts.append(part)
        if part.kind in ("text", "thinking"):
            return part.add(start.get(part.kind))
        return [Chunk(index=part.index)] if part.kind == "tool_use" else NONE

    def grown(self, event: dict[str, Any]) -> list[Chunk]:
        part, delta = self._current[event["index"]], event["delta"]
        match delta["type"]:
            case "text_delta":
                return part.add(delta["text"])
            case "thinking_delta":
                return part.add(delta["thinking"])
            case "input_json_delta":
                return part.add(delta["partial_json"])
            case "signature_delta":
                part.signature = need(delta, "signature", str)
            case "citations_delta":
                part.citations.append(delta["citation"])
        return NONE

    def closed(self, event: dict[str, Any]) -> list[Chunk]:
        return self._current[event["index"]].close()

    def told(self, event: dict[str, Any]) -> list[Chunk]:
        """Why it stops, and the usage so far, which replaces what was said before."""
        self._message |= {name: value for name, value in need(event, "delta", dict).items() if value is not None}
        fresh = {name: value for name, value in mapping(event.get("usage")).items() if value is not None}
        if fresh:
            self._message["usage"] = mapping(self._message.get("usage")) | fresh
        return NONE

    def stopped(self, event: dict[str, Any]) -> list[Chunk]:
        """The end.  Blocks that were never closed are closed; calls held back as broken go out if nothing cut them."""
        last = [chunk for part in self._parts for chunk in part.close()]
        self.done = True
        if FINISH.get(string(self._message.get("stop_reason"))) not in BROKEN_OFF:
            last += [chunk for part in self._parts for chunk in part.held]
        return last

    def failed(self, event: dict[str, Any]) -> list[Chunk]:
        self.failure = replace(classify_error(event, {}, None), partial=self.partial())
        return NONE


EVENTS: Mapping[str, Callable[[AnthropicDecoder, dict[str, Any]], list[Chunk]]] = {
    "content_block_delta": AnthropicDecoder.grown,
    "content_block_start": AnthropicDecoder.opened,
    "content_block_stop": AnthropicDecoder.closed,
    "message_start": AnthropicDecoder.started,
    "message_delta": AnthropicDecoder.told,
    "message_stop": AnthropicDecoder.stopped,
    "error": AnthropicDecoder.failed,
}
"""Everything else (``ping``, and what is yet to come) is read past."""
