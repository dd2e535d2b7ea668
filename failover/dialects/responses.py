"""OpenAI Responses: what comes back.  What is sent stands in ``responses_request``.

The answer is a list of items.  Reasoning keeps its id, its summary and its sealed content, so that it can go back;
items that have no form of ours (the provider's own tools) are kept whole in ``Thinking.extra["responses_item"]``.

A stream is over at ``response.completed``, ``response.incomplete`` or ``response.failed``.  The first two hold the
whole answer once more; it is what counts, and what was not streamed before is handed on then.  As in the Anthropic
dialect, a finished block in ``Chunk.blocks`` never repeats text that was streamed: sealed reasoning comes as
``Thinking("", signature=...)``, annotations as ``Text("", extra=...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from failover.dialects.base import Model, Wire
from failover.dialects.body import SHAPES, UnreadableError, count, decode, encode, given, mapping, need, prose, string
from failover.dialects.judge import BROKEN_OFF, is_whole, judge, read
from failover.dialects.lenient import is_torn, mended, parted
from failover.dialects.params import amend
from failover.dialects.replay import portable, rules_for, tool_names
from failover.dialects.responses_request import OPAQUE
from failover.dialects.responses_request import body as body_of
from failover.failures import classify_error
from failover.types import (
    NANO,
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

INCOMPLETE: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
OVER = ("completed", "incomplete")
REASONING = "reasoning"
CALL = "call"
NONE: list[Chunk] = []


class Responses:
    name = "responses"

    def render(self, request: Request, model: Model, stream: bool) -> Wire:
        notes: list[str] = []
        rules = rules_for(model, self.name)
        turns = portable(request.messages, model, rules)
        body = body_of(request, model, turns, rules, notes)
        body |= ({"stream": True} if stream else {}) | dict(request.extra_body)
        amend(body, model.learned)
        headers = {"content-type": "application/json"}
        return Wire("/responses", encode(body), headers, tuple(notes), tool_names(request.tools, rules))

    def parse(self, body: bytes, model: Model) -> Outcome:
        response = read(body)
        if isinstance(response, Failure):
            return response
        if response.get("error") or response.get("status") == "failed":
            return _failed(response)
        try:
            if response.get("status", "completed") not in OVER:
                return Failure(Kind.MALFORMED, f"the response is {response['status']!r}, not an answer")
            return judge(_answer(response, _read_items(need(response, "output", list))))
        except SHAPES as error:
            return _malformed(error)

    def decoder(self, model: Model) -> ResponsesDecoder:
        return ResponsesDecoder(model)


def _malformed(error: Exception) -> Failure:
    return Failure(Kind.MALFORMED, f"not a response of OpenAI's: {error}")


def _failed(response: Mapping[str, Any]) -> Failure:
    """Errors come as ``{"error": {...}}``, and in a stream as an event that is itself the error."""
    if response.get("error"):
        return classify_error(response, {}, None)
    said = given(response, ("code", "message", "param"))
    return classify_error({"error": said}, {}, None) if said else Failure(Kind.SERVER_ERROR, "the response failed")


# ------------------------------------------------------------------ answer


Placed = tuple[Any, Block]
"""A block, and its place in its item: the content's index, or the sort of block where it is the whole item."""


def _read_items(items: Iterable[Any]) -> list[Block]:
    return [block for item in items for _, block in _read_item(item)]


def _read_item(item: Any) -> Iterator[Placed]:
    match need(item, "type", str):
        case "message":
            known = given(item, ("id", "phase"))
            parts = (_read_part(part, known) for part in need(item, "content", list))
            yield from ((at, block) for at, block in enumerate(parts) if block is not None)
        case "reasoning":
            yield REASONING, _read_reasoning(item)
        case "function_call":
            extra = given(item, ("id", "namespace", "caller"))
            call_id, name = string(item.get("call_id")), need(item, "name", str)
            yield CALL, ToolCall(call_id, name, need(item, "arguments", str), extra)
        case _:
            yield REASONING, Thinking(extra={OPAQUE: item})


def _read_part(part: Any, known: dict[str, Any]) -> Text | None:
    match need(part, "type", str):
        case "output_text":
            lists = {name: value for name in ("annotations", "logprobs") if isinstance(value := part.get(name), list)}
            return Text(prose(part, "text"), extra=known | given(lists, ("annotations", "logprobs")))
        case "refusal":
            return Text(prose(part, "refusal"), extra=known | {"refusal": True})
        case _:
            return None


def _read_reasoning(item: Mapping[str, Any]) -> Thinking:
    summary = "\n\n".join(prose(part, "text") for part in item.get("summary") or ())
    text = summary or "".join(prose(part, "text") for part in item.get("content") or ())
    return Thinking(
        text, string(item.get("encrypted_content")) or None, extra=given(item, ("id", "summary", "content"))
    )


def _answer(response: Mapping[str, Any], content: list[Block]) -> Answer:
    native, finish = _finish(response, content)
    logprobs = [each for block in content if isinstance(block, Text) for each in block.extra.get("logprobs", ())]
    return Answer(
        message=Message("assistant", map(_without_logprobs, content)),
        finish_reason=finish,
        native_finish_reason=native,
        usage=_usage(response.get("usage")),
        model=string(response.get("model")),
        id=string(response.get("id")),
        extra=given(response, ("service_tier", "system_fingerprint")) | ({"logprobs": logprobs} if logprobs else {}),
    )


def _without_logprobs(block: Block) -> Block:
    if isinstance(block, Text) and "logprobs" in block.extra:
        return replace(block, extra={key: value for key, value in block.extra.items() if key != "logprobs"})
    return block


def _finish(response: Mapping[str, Any], content: list[Block]) -> tuple[str | None, FinishReason]:
    """OpenAI says why only where an answer is incomplete; a refusal counts as the content filter's."""
    status = string(response.get("status")) or None
    if status == "incomplete":
        why = string(mapping(response.get("incomplete_details")).get("reason"))
        return why or status, INCOMPLETE.get(why, "other")
    texts = [block for block in content if isinstance(block, Text)]
    if texts and all(block.extra.get("refusal") for block in texts):
        return "refusal", "content_filter"
    return status, "tool_calls" if any(isinstance(block, ToolCall) for block in content) else "stop"


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    into, out = mapping(usage.get("input_tokens_details")), mapping(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=count(into.get("cached_tokens")),
        cache_write_tokens=count(into.get("cache_write_tokens")),
        reasoning_tokens=count(out.get("reasoning_tokens")),
        cost=_nano(usage.get("cost")),
    )


def _nano(cost: Any) -> int | None:
    """US dollars that a router says it charged, in nano-dollars."""
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 1e6:
        return None
    return round(Decimal(str(cost)) * NANO)


# ------------------------------------------------------------------ stream

Key = tuple[Any, Any]  # output index, and content index or the sort of block


@dataclass(slots=True)
class _Run:
    """Text of one sort, as it grows."""

    index: int
    pieces: list[str] = field(default_factory=list)
    half: str = ""  # of a surrogate pair that was torn apart
    summary: Any = None  # the part of a summary it was last heard from

    def add(self, text: Any) -> str:
        if self.half or is_torn(text):  # what is not a string raises here
            text, self.half = parted(self.half + text)
        self.pieces.append(text)
        return str(text)

    def said(self) -> str:
        return "".join(self.pieces) + mended(self.half)


class ResponsesDecoder:
    """Reads one stream of Responses events.  See ``base.Decoder``."""

    __slots__ = ("_held", "_items", "_model", "_numbers", "_response", "_runs", "done", "failure")

    def __init__(self, model: Model) -> None:
        self.done = False
        self.failure: Failure | None = None
        self._model = model
        self._response: dict[str, Any] = {}
        self._items: dict[int, list[Block]] = {}  # blocks of finished items, by output index
        self._runs: dict[Key, _Run] = {}  # text that was streamed
        self._numbers: dict[Key, int] = {}
        self._held: list[Chunk] = []

    def feed(self, data: bytes) -> list[Chunk]:
        if self.done or self.failure is not None or data == b"[DONE]":
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
        if not self.done and (self._model.end_marker or not self._settled()):
            return Failure(Kind.CUT, "the stream ended before response.completed", partial=self.partial())
        return judge(_answer(self._response, self._content()))

    def partial(self) -> Answer:
        answer = _answer(self._response, self._content())
        return replace(answer, usage=None) if not self.done else answer

    def _content(self) -> list[Block]:
        """Finished items, and the text of unfinished ones, in the order of the output."""
        open_items: dict[int, list[Block]] = {}
        for (output, part), run in self._runs.items():
            if output not in self._items:
                text = run.said()
                open_items.setdefault(output, []).append(Thinking(text) if part == REASONING else Text(text))
        known = self._items | open_items
        return [block for output in sorted(known) for block in known[output]]

    def _settled(self) -> bool:
        """Something was said, and every item of it to its end."""
        return bool(self._items) and all(output in self._items for output, _ in self._runs)

    def _run(self, key: Key) -> _Run:
        if not isinstance(key[0], int) or not isinstance(key[1], int | str):
            raise UnreadableError("expected indexes as integers")
        return self._runs.setdefault(key, _Run(self._number(key)))

    def _number(self, key: Key) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    # -------------------------------------------------------------- events

    def began(self, event: dict[str, Any]) -> list[Chunk]:
        self._response = need(event, "response", dict)
        return NONE

    def added(self, event: dict[str, Any]) -> list[Chunk]:
        calls = need(event, "item", dict).get("type") == "function_call"
        return [Chunk(index=self._number((need(event, "output_index", int), CALL)))] if calls else NONE

    def text(self, event: dict[str, Any]) -> list[Chunk]:
        key, delta = (event["output_index"], event.get("content_index", 0)), event["delta"]
        if not delta:
            return NONE
        run = self._runs.get(key) or self._run(key)
        return [Chunk(text=run.add(delta), index=run.index)]

    def thought(self, event: dict[str, Any]) -> list[Chunk]:
        key, delta = (event["output_index"], REASONING), event["delta"]
        if not delta:
            return NONE
        run, summary = self._run(key), event.get("summary_index")
        if run.pieces and run.summary != summary:
            delta = "\n\n" + delta
        run.summary = summary
        return [Chunk(reasoning=run.add(delta), index=run.index)]

    def grown(self, event: dict[str, Any]) -> list[Chunk]:
        return [Chunk(index=self._number((event["output_index"], CALL)))]

    def closed(self, event: dict[str, Any]) -> list[Chunk]:
        return self._close(need(event, "output_index", int), event["item"])

    def _close(self, output: int, item: Any) -> list[Chunk]:
        """What of a finished item was not streamed."""
        placed = list(_read_item(item))
        self._items[output] = [block for _, block in placed]
        chunks = [self._unsaid(block, (output, place)) for place, block in placed]
        return [chunk for chunk in chunks if chunk is not None]

    def _unsaid(self, block: Block, key: Key) -> Chunk | None:
        match block:
            case ToolCall():
                chunk = Chunk(tool_calls=(block,), index=self._number(key))
                if is_whole(block):
                    return chunk
                self._held.append(chunk)
            case Text():
                return self._unsaid_text(block, key)
            case Thinking() if block.signature or OPAQUE in block.extra:
                rest = replace(block, text="") if key in self._runs else block
                return Chunk(blocks=(rest,), index=self._number(key))
            case Thinking() if block.text and key not in self._runs:
                return Chunk(reasoning=block.text, index=self._number(key))
        return None

    def _unsaid_text(self, block: Text, key: Key) -> Chunk | None:
        if key not in self._runs:
            return Chunk(text=block.text, index=self._number(key)) if block.text else None
        noted = given(block.extra, ("annotations",))
        return Chunk(blocks=(Text("", extra=noted),), index=self._number(key)) if noted else None

    def ended(self, event: dict[str, Any]) -> list[Chunk]:
        """The end, with the whole answer: items that were never reported by themselves are handed on now."""
        self._response = need(event, "response", dict)
        output = self._response.get("output") or []
        last = [chunk for at, item in enumerate(output) if at not in self._items for chunk in self._close(at, item)]
        self.done = True
        _, finish = _finish(self._response, self._content())
        return last if finish in BROKEN_OFF else last + self._held

    def failed(self, event: dict[str, Any]) -> list[Chunk]:
        source = event["response"] if isinstance(event.get("response"), dict) else event
        self.failure = replace(_failed(source), partial=self.partial())
        return NONE


EVENTS: Mapping[str, Callable[[ResponsesDecoder, dict[str, Any]], list[Chunk]]] = {
    "response.output_text.delta": ResponsesDecoder.text,
    "response.refusal.delta": ResponsesDecoder.text,
    "response.reasoning_summary_text.delta": ResponsesDecoder.thought,
    "response.reasoning_text.delta": ResponsesDecoder.thought,
    "response.function_call_arguments.delta": ResponsesDecoder.grown,
    "response.output_item.added": ResponsesDecoder.added,
    "response.output_item.done": ResponsesDecoder.closed,
    "response.created": ResponsesDecoder.began,
    "response.in_progress": ResponsesDecoder.began,
    "response.completed": ResponsesDecoder.ended,
    "response.incomplete": ResponsesDecoder.ended,
    "response.failed": ResponsesDecoder.failed,
    "error": ResponsesDecoder.failed,
}
"""Everything else repeats what these said, or is yet to come, and is read past."""
