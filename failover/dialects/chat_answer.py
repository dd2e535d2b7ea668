"""What Chat Completions servers answer, whole or streamed, read by one reader: a whole message is one large delta.

A stream is over at its ``finish_reason``, not at ``[DONE]`` (some send none, proxies send it after a cut as well) and
not at the end of the bytes.  What follows the ``finish_reason`` may only add: usage (``choices: []``), or noise.
Servers differ in everything else, and all of this is met:

- text: ``content`` as a string, as null, as a list of parts (Mistral); ``refusal``, which is no text but a filter
- reasoning: ``reasoning_content`` or ``reasoning``; OpenRouter's ``reasoning_details``, kept to be sent back
- tool calls: fragments by index; index missing; one index for several calls; ids only first, in every fragment,
  missing or used twice; whole calls in one delta; arguments as an object; the old ``function_call``
- errors: beside ``choices``, instead of them, inside a choice, in ``x_groq``, or as a ``finish_reason``

Calls are handed on only when whole: at the ``finish_reason``, because fragments of parallel calls may interleave.
Types that are not what they should be make the answer malformed; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from pydantic_core import from_json

from failover.dialects.base import Model
from failover.dialects.body import SHAPES, UnreadableError, count, dumps, mapping, string
from failover.dialects.judge import BROKEN_OFF, is_whole, judge, read
from failover.dialects.lenient import is_torn, load, mended, parted
from failover.dialects.media import settled
from failover.failures import classify_error
from failover.types import (
    NANO,
    Answer,
    Block,
    Chunk,
    Failure,
    FinishReason,
    Kind,
    Media,
    Message,
    Outcome,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "context_window",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "refusal": "content_filter",
}
"""Finish reasons, in lower case; Gemini's own names turn up behind gateways."""

FAULTS: Mapping[str, Kind] = {
    "error": Kind.SERVER_ERROR,
    "malformed_function_call": Kind.MODEL_FAULT,
    "insufficient_system_resource": Kind.CAPACITY,
}
"""Finish reasons that are no answer."""

ERROR_BODIES = (("object", "error"), ("status", "failure"))
KEPT = (("system_fingerprint", "system_fingerprint"), ("service_tier", "service_tier"), ("provider", "upstream"))
PROGRESS = ("tool_calls", "function_call", "refusal", "audio")


# ------------------------------------------------------------------- whole


def parse(body: bytes, model: Model) -> Outcome:
    """The outcome in a whole body."""
    data = read(body)
    if isinstance(data, Failure):
        return data
    try:
        return _parsed(data, model)
    except SHAPES as error:
        return _unreadable(error)


def _parsed(data: dict[str, Any], model: Model) -> Outcome:
    if failure := _error(data):
        return failure
    choices = data.get("choices")
    if not isinstance(choices, list):
        return _no_choices(data)
    if not choices:
        return Failure(Kind.EMPTY, "the answer has no choices")
    reader = Reader(model)
    reader.choice(choices[0] if len(choices) == 1 else _first(choices))
    reader.header(data)
    return reader.failure or judge(reader.answer(reader.finish or "stop"))


def _first(choices: list[Any]) -> Any:
    """The choice of index 0, wherever it stands."""
    return next((choice for choice in choices if not choice.get("index")), choices[0])


def _error(data: Mapping[str, Any]) -> Failure | None:
    """An error that came in place of an answer, or beside one."""
    if data.get("error"):
        return classify_error(data, {}, None)
    groq = data.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return classify_error({"error": _error_object(groq["error"])}, {}, None)
    return None


def _error_object(error: Any) -> Any:
    return {"message": error} if isinstance(error, str) else error


def _no_choices(data: Mapping[str, Any]) -> Failure:
    if "detail" in data or any(data.get(key) == value for key, value in ERROR_BODIES):
        return classify_error(data, {}, None)
    return Failure(Kind.MALFORMED, "the answer has no choices")


def _unreadable(error: Exception) -> Failure:
    return Failure(Kind.MALFORMED, f"the answer is not what this wire promises: {error}"[:300])


# ------------------------------------------------------------------ stream


class ChatDecoder:
    """Reads one stream."""

    __slots__ = ("_model", "_reader", "done", "failure")

    def __init__(self, model: Model) -> None:
        self._model = model
        self._reader = Reader(model)
        self.done = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        if self.failure is not None:
            return []
        if data.startswith(b"[DONE]"):
            self.done = self.done or not self._model.end_marker
            return self._reader.calls_due() if self.done else []
        try:
            try:
                event = from_json(data)
            except ValueError:
                event = load(data)  # halves of surrogate pairs, or no JSON at all
            more = self._reader.more(event)
            return self._event(event) if more is None else [more]
        except SHAPES as error:
            if not self.done:  # after the terminal marker nothing is missing any more
                self._fail(_unreadable(error))
            return []

    def _event(self, event: Any) -> list[Chunk]:
        if isinstance(event, list) and event:
            event = event[0]
        if not isinstance(event, dict):
            raise UnreadableError(f"expected an object, got {type(event).__name__}")
        if failure := _error(event):
            self._fail(failure)
            return []
        reader = self._reader
        chunks: list[Chunk] = []
        for choice in event.get("choices") or ():
            if not choice.get("index"):
                chunks += reader.choice(choice)
        reader.header(event)
        if reader.failure is not None:
            self._fail(reader.failure)
        elif reader.finish is not None:
            self.done = True
            chunks += reader.calls_due()
        return chunks

    def _fail(self, failure: Failure) -> None:
        self.failure = replace(failure, partial=self.partial()) if self._reader.begun else failure

    def end(self) -> Outcome:
        if self.failure is not None:
            return self.failure
        if self.done or not self._model.end_marker:
            return judge(self._reader.answer(self._reader.finish or "stop"))
        cut = Failure(Kind.CUT, "the stream ended before its finish_reason")
        return replace(cut, partial=self.partial()) if self._reader.begun else cut

    def partial(self) -> Answer:
        return self._reader.answer(None)


# ------------------------------------------------------------------ reader


class _Open:
    """A block of text or reasoning that still grows."""

    __slots__ = ("kind", "pieces")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []


class Reader:
    """One answer, piece by piece.  ``finish`` is the wire's own finish reason; ``begun`` once there is any content."""

    __slots__ = (
        "_annotations",
        "_audio",
        "_blocks",
        "_calls",
        "_details",
        "_given",
        "_half",
        "_id",
        "_kept",
        "_logprobs",
        "_model",
        "_named",
        "_native",
        "_refusal",
        "_usage",
        "failure",
        "finish",
    )

    def __init__(self, model: Model) -> None:
        self._model = model
        self._blocks: list[_Open | Media] = []
        self._calls = Calls()
        self._given: list[ToolCall] = []
        self._details: list[dict[str, Any]] = []
        self._annotations: list[Any] = []
        self._refusal: list[str] = []
        self._audio: dict[str, Any] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._kept: dict[str, Any] = {}
        self._half = ""
        self._id = ""
        self._named = ""
        self._native: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self.finish: str | None = None
        self.failure: Failure | None = None

    @property
    def begun(self) -> bool:
        return bool(self._blocks or self._calls or self._refusal or self._details)

    # ------------------------------------------------------------ reading

    def header(self, event: Mapping[str, Any]) -> None:
        """What stands beside the choices: who answers, under which id, for how many tokens."""
        if not self._id and isinstance(ident := event.get("id"), str):
            self._id = ident
        if not self._named and isinstance(named := event.get("model"), str):
            self._named = named
        for key, name in KEPT:
            if value := event.get(key):
                self._kept[name] = value
        usage = event.get("usage") or ("x_groq" in event and mapping(event["x_groq"]).get("usage"))
        if isinstance(usage, dict):
            self._usage = usage

    def more(self, event: Any) -> Chunk | None:
        """The commonest event by far: more of the text that is under way, and nothing else.  None for any other."""
        try:
            (choice,) = event["choices"]
            (text,) = choice["delta"].values()
            last = self._blocks[-1]
        except SHAPES:
            return None
        if type(text) is not str or not text or "content" not in choice["delta"] or self._half or not self._id:
            return None
        if type(last) is not _Open or last.kind != "text" or not (text.isascii() or not is_torn(text)):
            return None
        if event.get("usage") or event.get("error") or event.get("x_groq") or choice.get("finish_reason"):
            return None
        if choice.get("index") or choice.get("logprobs") or choice.get("error"):
            return None
        for key, name in KEPT:
            if value := event.get(key):
                self._kept[name] = value
        last.pieces.append(text)
        return Chunk(text, "", (), (), len(self._blocks) - 1)

    def choice(self, choice: Mapping[str, Any]) -> list[Chunk]:
        chunks: list[Chunk] = []
        if delta := choice.get("delta"):
            chunks = self._delta(delta)
        elif "delta" not in choice and (message := choice.get("message")):
            chunks = self._delta(_as_delta(message))
        if choice.get("logprobs"):
            self._add_logprobs(choice["logprobs"])
        if choice.get("error"):
            self.failure = classify_error({"error": _error_object(choice["error"])}, {}, None)
        elif (reason := choice.get("finish_reason")) is not None:
            chunks += self._finished(reason, choice)
        return chunks

    def _finished(self, reason: Any, choice: Mapping[str, Any]) -> list[Chunk]:
        if not isinstance(reason, str):
            raise UnreadableError(f"expected finish_reason as str, got {type(reason).__name__}")
        if kind := FAULTS.get(reason.lower()):
            self.failure = Failure(kind, f"the provider gave up: {reason}", code=reason)
            return []
        if not reason:  # some servers send "" until they have a reason
            return []
        first, self.finish = self.finish is None, reason
        self._native = string(choice.get("native_finish_reason")) or reason
        return self._sealed() if first and self._details else []

    def _delta(self, delta: Mapping[str, Any]) -> list[Chunk]:
        content = delta.get("content")
        if len(delta) == 1 and isinstance(content, str):
            return [self._say("text", content)] if content else []
        chunks: list[Chunk] = []
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            chunks.append(self._say("reasoning", thought))
        if details := delta.get("reasoning_details"):
            self._detail(details)
        if content:
            chunks += [self._say("text", content)] if isinstance(content, str) else self._parts(content)
        if images := delta.get("images"):
            chunks += self._parts(images)
        if annotations := delta.get("annotations"):
            self._annotations += annotations
        return chunks + self._unfinished(delta)

    def _unfinished(self, delta: Mapping[str, Any]) -> list[Chunk]:
        """What is handed on only when whole; meanwhile an empty chunk says that it grows."""
        chunks: list[Chunk] = []
        for key in PROGRESS:
            if value := delta.get(key):
                chunks += PARTS[key](self, value) or [Chunk()]
        return chunks

    def _say(self, kind: str, text: Any) -> Chunk:
        if not isinstance(text, str):
            raise UnreadableError(f"expected {kind} as str, got {type(text).__name__}")
        if self._half or (not text.isascii() and is_torn(text)):
            text, self._half = parted(self._half + text)
        last = self._blocks[-1] if self._blocks else None
        if not isinstance(last, _Open) or last.kind != kind:
            last = _Open(kind)
            self._blocks.append(last)
        last.pieces.append(text)
        index = len(self._blocks) - 1
        return Chunk(text=text, index=index) if kind == "text" else Chunk(reasoning=text, index=index)

    def _parts(self, parts: Iterable[Any]) -> list[Chunk]:
        """Content as a list: text, thinking (Mistral), images (OpenRouter)."""
        chunks: list[Chunk] = []
        for part in [parts] if isinstance(parts, dict) else parts:
            match part:
                case str() | {"type": "text", "text": str()}:
                    text = part if isinstance(part, str) else part["text"]
                    chunks += [self._say("text", text)] if text else []
                case {"type": "thinking", "thinking": list(thoughts)}:
                    chunks += [self._say("reasoning", each["text"]) for each in thoughts if each.get("text")]
                case {"type": "thinking", "thinking": str(thought)} if thought:
                    chunks.append(self._say("reasoning", thought))
                case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                    image = settled(Media("image", url=url))
                    self._blocks.append(image)
                    chunks.append(Chunk(blocks=(image,), index=len(self._blocks) - 1))
                case dict():
                    pass
                case _:
                    raise UnreadableError(f"expected a part of content, got {type(part).__name__}")
        return chunks

    def _detail(self, details: Any) -> None:
        """OpenRouter's reasoning details come in fragments, too: those of one type and index are one."""
        if not any(isinstance(block, _Open) and block.kind == "reasoning" for block in self._blocks):
            self._blocks.append(_Open("reasoning"))
        for detail in details:
            last = self._details[-1] if self._details else None
            if last is not None and all(last.get(key) == detail.get(key) for key in ("type", "index", "format")):
                _grow(last, detail)
            else:
                self._details.append(dict(detail))

    def _sealed(self) -> list[Chunk]:
        """Details have no text form: they are handed on when they are complete."""
        kinds = [block.kind if isinstance(block, _Open) else "" for block in self._blocks]
        return [Chunk(blocks=(Thinking(extra={"reasoning_details": self._details}),), index=kinds.index("reasoning"))]

    def _add_logprobs(self, logprobs: Any) -> None:
        for key, values in mapping(logprobs).items():
            if isinstance(values, list):
                self._logprobs.setdefault(key, []).extend(values)

    def _add_calls(self, fragments: Any) -> list[Chunk]:
        for fragment in fragments:
            self._calls.add(fragment)
        return []

    def _add_function(self, function: Any) -> list[Chunk]:
        self._calls.add({"index": 0, "function": function})
        return []

    def _add_refusal(self, text: Any) -> list[Chunk]:
        self._refusal.append(string(text))
        return []

    def _add_audio(self, audio: Any) -> list[Chunk]:
        for key in ("id", "data"):
            self._audio[key] = self._audio.get(key, "") + string(audio.get(key))
        transcript = string(audio.get("transcript"))
        return [self._say("text", transcript)] if transcript else []

    # ------------------------------------------------------------- giving

    def calls_due(self) -> list[Chunk]:
        """The calls that are whole by now and were not given yet, each under its number among the blocks."""
        calls = self._calls.whole(self._id, _reason(self.finish) in BROKEN_OFF)
        fresh = calls[len(self._given) :]
        first = len(self._blocks) + len(self._given)
        self._given += fresh
        return [Chunk(tool_calls=(call,), index=first + number) for number, call in enumerate(fresh)]

    def answer(self, finish: str | None) -> Answer:
        """What was read so far; ``finish`` None while it is partial: then only calls that were given count."""
        calls = self._given if finish is None else self._calls.all(self._id)
        reason = _reason(finish)
        blocks = self._content()
        blocks += calls
        if self._refusal:
            reason = "content_filter"
            self._kept["refusal"] = mended("".join(self._refusal))
            blocks.append(Text(self._kept["refusal"], extra={"refusal": True}))
        return Answer(
            Message("assistant", tuple(blocks)),
            reason,
            self._native if finish else None,
            usage_of(self._usage, self._model.provider.quirks.get("cost", False)),
            self._named,
            self._id,
            {**self._kept, "logprobs": self._logprobs} if self._logprobs else self._kept,
        )

    def _content(self) -> list[Block]:
        blocks: list[Block] = []
        details, annotations = self._details, self._annotations
        for block in self._blocks:
            if isinstance(block, Media):
                blocks.append(block)
            elif block.kind == "text":
                blocks.append(Text("".join(block.pieces), extra={"annotations": annotations} if annotations else {}))
                annotations = []
            else:
                blocks.append(Thinking("".join(block.pieces), extra={"reasoning_details": details} if details else {}))
                details = []
        if self._half and blocks and isinstance(last := blocks[-1], Text | Thinking):
            blocks[-1] = replace(last, text=last.text + mended(self._half))
        if self._audio.get("data"):
            blocks.append(Media("audio", data=self._audio["data"], file_id=self._audio.get("id") or None))
        return blocks


def _as_delta(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A whole message as one delta: each of its calls is one of its own, whatever their ids."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}


def _reason(finish: str | None) -> FinishReason:
    return FINISH.get(finish.lower(), "other") if finish else "other"


PARTS = {
    "tool_calls": Reader._add_calls,
    "function_call": Reader._add_function,
    "refusal": Reader._add_refusal,
    "audio": Reader._add_audio,
}

GROWING = ("text", "summary", "data", "signature")


def _grow(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if key in GROWING and isinstance(value, str) and isinstance(whole.get(key), str):
            whole[key] += value
        elif value is not None:
            whole[key] = value


# -------------------------------------------------------------- tool calls


class _Call:
    """A call that still grows."""

    __slots__ = ("extra", "id", "index", "name", "pieces")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.extra: dict[str, Any] = {}

    @property
    def arguments(self) -> str:
        return mended("".join(self.pieces))

    def ends_before(self, ident: str, more: str) -> bool:
        """A fragment that brings a name again is another call: if its id is another, or if this one is complete.

        One without a name continues, whatever its id: some servers make up a new id for every fragment.
        """
        if ident and self.id and ident != self.id:
            return True
        whole = self.arguments.strip()
        return bool(more.strip()) and whole.startswith("{") and is_whole(ToolCall("", "", whole))


class Calls:
    """Tool calls, put together from fragments however a server cuts them."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, fragment: Mapping[str, Any]) -> None:
        function = fragment.get("function") or {}
        ident, name = string(fragment.get("id")), string(function.get("name"))
        arguments = function.get("arguments")
        more = arguments if isinstance(arguments, str) else "" if arguments is None else dumps(arguments)
        call = self._belongs(fragment.get("index"), ident, name, more)
        call.id = call.id or ident
        call.name = call.name or name
        call.pieces.append(more)
        for key, value in fragment.items():
            if key not in ("index", "id", "type", "function") and value is not None:
                call.extra[key] = value

    def _belongs(self, index: Any, ident: str, name: str, more: str) -> _Call:
        """The call that a fragment continues, or a new one."""
        index = index if isinstance(index, int) else None
        call = self._latest(index, ident)
        if call is None or (name and call.name and call.ends_before(ident, more)):
            call = _Call(index)
            self._calls.append(call)
        return call

    def _latest(self, index: int | None, ident: str) -> _Call | None:
        """By index, else by id, else the last one."""
        if index is not None:
            return next((call for call in reversed(self._calls) if call.index == index), None)
        last = self._calls[-1] if self._calls else None
        return next((call for call in self._calls if ident and call.id == ident), last)

    def all(self, answer_id: str) -> list[ToolCall]:
        """All calls; ids that are missing or used twice are made, the same for the same answer."""
        used: set[str] = set()
        calls = []
        for number, call in enumerate(self._calls):
            arguments = call.arguments
            ident = call.id
            if not ident or ident in used:
                ident = _made_id(answer_id, number, call.name, arguments)
            used.add(ident)
            calls.append(ToolCall(ident, call.name, arguments, call.extra))
        return calls

    def whole(self, answer_id: str, broken_off: bool) -> list[ToolCall]:
        """Calls that may be handed on: named, and complete where the answer may have broken off."""
        calls = self.all(answer_id)
        return [call for call in calls if call.name and (not broken_off or is_whole(call))]


def _made_id(answer_id: str, number: int, name: str, arguments: str) -> str:
    """An id for a call that came without: of 24 letters, so that calls of different turns do not collide."""
    told = f"{answer_id}\n{number}\n{name}\n{arguments}".encode("utf-8", "replace")
    return f"call_{blake2b(told, digest_size=12).hexdigest()}"


# ------------------------------------------------------------------- usage


def usage_of(raw: Mapping[str, Any] | None, charged: bool = False) -> Usage | None:
    """Tokens as reported, in our meaning; None where none were.

    ``charged``: ``cost`` is what the provider charged.  Where a key of one's own pays the upstream (``is_byok``), that
    is added.  Some servers (xAI, Gemini) leave reasoning out of ``completion_tokens`` but not out of the total.
    """
    if not raw:
        return None
    into, out = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    out = max(out, count(raw.get("total_tokens")) - into)
    if not into and not out:
        return None
    read = mapping(raw.get("prompt_tokens_details"))
    written = mapping(raw.get("completion_tokens_details"))
    cached = read.get("cached_tokens") or raw.get("prompt_cache_hit_tokens") or raw.get("cached_tokens")
    return Usage(
        into,
        out,
        cache_read_tokens=count(cached) if cached else 0,
        cache_write_tokens=count(read["cache_write_tokens"]) if "cache_write_tokens" in read else 0,
        reasoning_tokens=count(written.get("reasoning_tokens")),
        audio_input_tokens=count(read["audio_tokens"]) if "audio_tokens" in read else 0,
        audio_output_tokens=count(written["audio_tokens"]) if "audio_tokens" in written else 0,
        cost=_charged(raw) if charged else None,
    )


def _charged(raw: Mapping[str, Any]) -> int | None:
    cost = _nano(raw.get("cost"))
    if cost is None or not raw.get("is_byok"):
        return cost
    return cost + (_nano(mapping(raw.get("cost_details")).get("upstream_inference_cost")) or 0)


def _nano(dollars: Any) -> int | None:
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars < 1e9:
        return None
    return round(dollars * NANO)
