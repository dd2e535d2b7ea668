"""Good answers, sent oddly: slow, in crumbs, with noise between, or in a form that only some servers use.

A client has to take all of them.  ``QUIRKS`` are small liberties with a stream's events that servers in the wild
take; ``Quirk("calls_without_index")`` plays one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat, zip_longest
from typing import Any, Literal

from failover.testing.faults import answering, blocks, until
from failover.testing.render import Event, dump, encode
from failover.testing.replies import Reply
from failover.testing.stage import JSON, SSE, Answer, Stage, billed, played, streamed, whole
from failover.testing.steps import Charge, Data, End, Head, Interim, Steps, Wait


@dataclass(frozen=True, slots=True)
class Slow:
    """A good answer that takes its time: seconds before the head, before the first content, between contents."""

    head: float = 0.0
    first: float = 0.0
    between: float = 0.0
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        yield Wait(self.head)
        if not stage.stream:
            yield Wait(self.first)
            yield from whole(stage, self.answer)
            return
        said = stage.say(self.answer)
        pause = chain((self.first,), repeat(self.between))
        yield stage.head(200, SSE)
        for item in billed(stage.events(said), said.usage):
            if isinstance(item, Event) and item.kind == "content":
                yield Wait(next(pause))
            yield from played((item,))
        yield End()


@dataclass(frozen=True, slots=True)
class Drip:
    """Signs of life that say nothing (comments, pings; blank lines before plain JSON), every so many seconds.

    ``count`` of them come before the answer, or, after its first ``after`` pieces, in the middle; inf: for ever.
    """

    every: float = 0.05
    count: float = math.inf
    after: float = 0
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        if stage.stream:
            yield from self._stream(stage)
            return
        said = stage.say(self.answer)
        yield stage.head(200, JSON)
        yield from self._drops(b"\n")
        yield Charge(said.usage)
        yield Data(stage.body(said))
        yield End()

    def _stream(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        course = list(billed(stage.events(said), said.usage))
        before = list(until(course, self.after))
        yield stage.head(200, SSE)
        yield from played(before)
        yield from self._drops(alive(stage))
        yield from played(course[len(before) :])
        yield End()

    def _drops(self, content: bytes) -> Steps:
        for _ in repeat(None) if self.count == math.inf else repeat(None, int(self.count)):
            yield Wait(self.every)
            yield Data(content)


def alive(stage: Stage) -> bytes:
    """What this provider sends while nothing happens."""
    if stage.dialect == "anthropic":
        return encode(Event("extra", {"type": "ping"}, "ping"))
    return f"{stage.row.keep_alive}\n\n".encode()


@dataclass(frozen=True, slots=True)
class JsonForStream:
    """A stream was asked for and a whole answer comes."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        return whole(stage, self.answer)


@dataclass(frozen=True, slots=True)
class SseForJson:
    """A whole answer was asked for and a stream comes."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        return streamed(stage, self.answer)


@dataclass(frozen=True, slots=True)
class Bytewise:
    """A good answer cut into writes of ``size`` bytes, with the line ends of your choice."""

    size: int = 1
    newline: str = "\n"
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        events = b"".join(encode(event, self.newline) for event in stage.events(said)) if stage.stream else b""
        yield Charge(said.usage)
        yield stage.head(200, SSE if stage.stream else JSON)
        yield from blocks(events or stage.body(said), self.size)
        yield End()


@dataclass(frozen=True, slots=True)
class Informational:
    """A 1xx response before the answer."""

    status: int = 103
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        return chain((Interim(self.status),), Answer(self.answer).steps(stage))


@dataclass(frozen=True, slots=True)
class CloseAfter:
    """A good answer with ``Connection: close``; with ``framing="close"`` its body lasts until the connection ends."""

    framing: Literal["chunked", "close"] = "chunked"
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        for step in Answer(self.answer).steps(stage):
            if isinstance(step, Head):
                kept = tuple(header for header in step.headers if header[0] != "content-length")
                yield Head(step.status, (*kept, ("connection", "close")), self.framing)
            else:
                yield step


# ------------------------------------------------------------------ quirks

QuirkName = Literal[
    "no_usage",
    "no_done",
    "double_finish",
    "unknown_events",
    "empty_first_chunk",
    "no_opening",
    "nameless_events",
    "multiline_data",
    "no_space",
    "comments",
    "whole_calls",
    "calls_without_index",
    "repeated_call_ids",
    "calls_without_ids",
    "interleaved_calls",
]
Change = Callable[[list[Event]], Iterator[Event]]


def _no_usage(events: list[Event]) -> Iterator[Event]:
    for event in events:
        if event.kind != "usage":
            yield event if isinstance(event.data, str) else replace(event, data=without_usage(event.data))


def without_usage(body: Any) -> Any:
    """The same JSON with no usage anywhere."""
    if isinstance(body, dict):
        return {name: without_usage(value) for name, value in body.items() if name not in ("usage", "x_groq")}
    return [without_usage(item) for item in body] if isinstance(body, list) else body


def _no_done(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event.data != "[DONE]")


def _double_finish(events: list[Event]) -> Iterator[Event]:
    for event in events:
        yield event
        if event.kind == "finish":
            yield event


def _unknown_events(events: list[Event]) -> Iterator[Event]:
    for event in events:
        if event.name:
            yield Event("extra", {"type": "vibe_check", "mood": "good"}, "vibe_check")
        yield event


def _empty_first_chunk(events: list[Event]) -> Iterator[Event]:
    first = events[0].data
    if isinstance(first, dict) and "choices" in first:
        yield Event("open", {**first, "choices": []})
    yield from events


def _no_opening(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event.name or event.kind != "open")


def _nameless_events(events: list[Event]) -> Iterator[Event]:
    return (replace(event, name=None) for event in events)


def _multiline_data(events: list[Event]) -> Iterator[Event]:
    for event in events:
        yield event if isinstance(event.data, str) else replace(event, data=json.dumps(event.data, indent=1))


def _calls(event: Event) -> list[dict[str, Any]]:
    choices = event.data.get("choices") if isinstance(event.data, dict) else None
    return list(choices[0]["delta"].get("tool_calls") or ()) if choices else []


def _with_calls(event: Event, calls: list[dict[str, Any]]) -> Event:
    choice = event.data["choices"][0]
    delta = {**choice["delta"], "tool_calls": calls}
    return replace(event, data={**event.data, "choices": [{**choice, "delta": delta}]})


def _whole_calls(events: list[Event]) -> Iterator[Event]:
    """All fragments of one call in a single chunk."""
    grown: Event | None = None
    for event in events:
        fragment = next(iter(_calls(event)), None)
        if grown is not None and (fragment is None or "id" in fragment):
            yield grown
            grown = None
        if fragment is None:
            yield event
        elif grown is None:
            grown = event
        else:
            grown = _joined(grown, event, fragment)


def _joined(grown: Event, event: Event, fragment: dict[str, Any]) -> Event:
    call = _calls(grown)[0]
    told = call["function"]["arguments"] + fragment["function"]["arguments"]
    joined = {**call, "function": {**call["function"], "arguments": told}}
    return replace(_with_calls(grown, [joined]), tokens=grown.tokens + event.tokens)


def _calls_without_index(events: list[Event]) -> Iterator[Event]:
    for event in _whole_calls(events):
        calls = [{name: value for name, value in call.items() if name != "index"} for call in _calls(event)]
        yield _with_calls(event, calls) if calls else event


def _calls_without_ids(events: list[Event]) -> Iterator[Event]:
    for event in _whole_calls(events):
        calls = [{**call, "id": None} for call in _calls(event)]
        yield _with_calls(event, calls) if calls else event


def _repeated_call_ids(events: list[Event]) -> Iterator[Event]:
    """Every fragment repeats the id and the name of its call."""
    known: dict[int, dict[str, Any]] = {}
    for event in events:
        calls = _calls(event)
        for number, call in enumerate(calls):
            first = known.setdefault(call["index"], call)
            function = {"name": first["function"]["name"], **call["function"]}
            calls[number] = {**call, "id": first["id"], "type": "function", "function": function}
        yield _with_calls(event, calls) if calls else event


def _interleaved_calls(events: list[Event]) -> Iterator[Event]:
    """The fragments of parallel calls take turns."""
    of_call: dict[int, list[Event]] = {}
    for event in events:
        for call in _calls(event):
            of_call.setdefault(call["index"], []).append(event)
    turns = iter([event for turn in zip_longest(*of_call.values()) for event in turn if event is not None])
    return (next(turns) if _calls(event) else event for event in events)


def _as_is(events: list[Event]) -> Iterator[Event]:
    return iter(events)


QUIRKS: Mapping[QuirkName, Change] = {
    "no_usage": _no_usage,
    "no_done": _no_done,
    "double_finish": _double_finish,
    "unknown_events": _unknown_events,
    "empty_first_chunk": _empty_first_chunk,
    "no_opening": _no_opening,
    "nameless_events": _nameless_events,
    "multiline_data": _multiline_data,
    "no_space": _as_is,
    "comments": _as_is,
    "whole_calls": _whole_calls,
    "calls_without_index": _calls_without_index,
    "repeated_call_ids": _repeated_call_ids,
    "calls_without_ids": _calls_without_ids,
    "interleaved_calls": _interleaved_calls,
}
BYTES: Mapping[QuirkName, Callable[[bytes], bytes]] = {
    "no_space": lambda content: content.replace(b"data: ", b"data:", 1).replace(b"event: ", b"event:", 1),
    "comments": lambda content: b": hello\n\n:\n" + content,
}


@dataclass(frozen=True, slots=True)
class Quirk:
    """A good answer in a form that some servers send.  Plain answers are as usual; ``no_usage`` leaves theirs out."""

    name: QuirkName
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        if not stage.stream:
            body = json.loads(stage.body(said))
            shown = without_usage(body) if self.name == "no_usage" else body
            yield Charge(said.usage)
            yield from stage.full(200, JSON, dump(shown).encode())
            return
        change = BYTES.get(self.name, bytes)
        yield stage.head(200, SSE)
        for step in played(billed(QUIRKS[self.name](stage.events(said)), said.usage)):
            yield Data(change(step.content)) if isinstance(step, Data) else step
        yield End()
