"""Everything that goes wrong between a client and a provider, one small class each.

Faults of two sorts: those that put an error in an answer's place (``Status``, ``Trouble``, ``Html``, ``Reset`` ...),
and those that spoil an answer on its way (``Cut``, ``Hang``, ``ErrorEvent``, ``Truncated`` ...).  Each says what it
does to a plain request and what to a stream.  ``answer`` is what is being said meanwhile; None: what the provider
would say.  Good answers that are only sent oddly are in ``oddities``.

A fault with ``answers`` plays only on a request that is in order; any other request gets its refusal first.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from failover.testing.render import Event, encode
from failover.testing.replies import Reply
from failover.testing.stage import JSON, SSE, Answer, Stage, billed, played
from failover.testing.steps import Abort, Charge, Close, Data, End, Stall, Step, Steps
from failover.testing.strict import Violation
from failover.testing.troubles import TroubleKind, trouble, usual
from failover.testing.world import Tokens

MEGABYTE = 1 << 20
BLOCK = 1 << 16


def erring() -> bool:
    return field(default=False, init=False)


def answering() -> bool:
    return field(default=True, init=False)


# ------------------------------------------------------------------- parts


def until(course: Iterable[Charge | Event], contents: float) -> Iterator[Charge | Event]:
    """The course up to its n-th piece of content: opening, that many pieces, and nothing of the end."""
    waiting: list[Charge | Event] = []
    for item in course:
        if isinstance(item, Charge):
            waiting.append(item)
            continue
        if item.kind in ("finish", "usage", "end") or (item.kind == "content" and contents <= 0):
            return
        contents -= item.kind == "content"
        yield from waiting
        waiting.clear()
        yield item


def _opened(stage: Stage, answer: Reply | None, contents: float) -> Steps:
    """A stream up to its n-th piece of content."""
    said = stage.say(answer)
    yield stage.head(200, SSE)
    yield from played(until(billed(stage.events(said), said.usage), contents))


def _halved(stage: Stage, answer: Reply | None) -> Steps:
    """A whole answer of which the second half does not come."""
    said = stage.say(answer)
    body = stage.body(said)
    yield Charge(said.usage)
    yield stage.head(200, JSON, len(body))
    yield Data(body[: len(body) // 2])


def _begun(stage: Stage, answer: Reply | None, contents: float) -> Steps:
    return _opened(stage, answer, contents) if stage.stream else _halved(stage, answer)


def blocks(body: bytes, size: int = BLOCK) -> Iterator[Data]:
    return (Data(body[start : start + size]) for start in range(0, len(body), size))


# ------------------------------------------------- in place of an answer


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status with the provider's error body; what is left open is worded as that provider usually does.

    ``retry_after``: seconds, or whatever text the header is to hold.  ``extra`` is merged into the error object;
    ``body`` replaces the whole body, ``content_type`` goes with it.
    """

    status: int
    message: str | None = None
    type: str | None = None
    code: str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        told = replace(stage, headers=(*stage.headers, *self.headers.items(), *self._wait()))
        if self.body is not None:
            return told.full(self.status, self.content_type, self.body)
        return told.refusal(self._violation(usual(stage.row, self.status)))

    def _wait(self) -> tuple[tuple[str, str], ...]:
        if self.retry_after is None:
            return ()
        shown = self.retry_after if isinstance(self.retry_after, str) else f"{self.retry_after:g}"
        return (("retry-after", shown),)

    def _violation(self, known: Violation) -> Violation:
        if self.message is None and self.type is None and self.code is None:
            return replace(known, extra={**known.extra, **self.extra})
        kind = self.type or known.type
        return Violation(self.status, self.message or known.message, "scripted", kind, self.code, extra=self.extra)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What this very provider answers in that case, in its own words (see ``troubles``)."""

    kind: TroubleKind
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        no = trouble(stage.row, self.kind)
        told = Status(no.status, no.message, no.type, no.code, self.retry_after, self.headers, no.extra)
        return told.steps(stage)


@dataclass(frozen=True, slots=True)
class Html:
    """A page where JSON was expected: an edge's error page, or a login page with status 200."""

    status: int = 200
    title: str = "Just a moment..."
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        page = f"<!DOCTYPE html><html><head><title>{self.title}</title></head><body><h1>{self.title}</h1></body></html>"
        told = replace(stage, headers=(*stage.headers, ("server", "cloudflare"), ("cf-ray", "8f0scripted")))
        return told.full(self.status, "text/html; charset=UTF-8", page.encode())


@dataclass(frozen=True, slots=True)
class EmptyBody:
    """A response without a body.  On a stream: an event stream without events."""

    status: int = 200
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        return stage.full(self.status, SSE if stage.stream else JSON, b"")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Sends the client elsewhere; to follow with the key would give it away."""

    location: str = "http://elsewhere.invalid/v1"
    status: int = 307
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        return replace(stage, headers=(*stage.headers, ("location", self.location))).full(
            self.status, "text/plain", b""
        )


@dataclass(frozen=True, slots=True)
class ErrorInBody:
    """HTTP 200, and an error in the body; a stream request gets the same JSON instead of a stream."""

    message: str = "Provider returned error"
    type: str = "server_error"
    code: str | None = None
    status: int = 502
    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        violation = Violation(self.status, self.message, "scripted", self.type, self.code)
        refused = [step for step in stage.refusal(violation) if isinstance(step, Data)]
        return stage.full(200, JSON, b"".join(step.content for step in refused))


@dataclass(frozen=True, slots=True)
class Refused:
    """No connection: refused in process; on loopback the connection is reset before a byte of the request is read."""

    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        yield Abort()


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset: before the head, after it, or in the body (after ``after`` pieces of content)."""

    when: Literal["before", "head", "body"] = "before"
    after: int = 1
    answer: Reply | None = None

    @property
    def answers(self) -> bool:
        return self.when == "body"

    def steps(self, stage: Stage) -> Steps:
        if self.when == "body":
            yield from _begun(stage, self.answer, self.after)
        elif self.when == "head":
            yield stage.head(200, SSE if stage.stream else JSON)
        yield Abort()


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection ends properly before a byte of the response: what a proxy does that gave up."""

    answers: bool = erring()

    def steps(self, stage: Stage) -> Steps:
        yield Close()


@dataclass(frozen=True, slots=True)
class DropReused:
    """The keep-alive race: a connection that was used before ends as the next request arrives; a fresh one serves."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        return iter((Close(),)) if stage.reused else Answer(self.answer).steps(stage)


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence that only the client can end.

    before: nothing at all.  head: status and headers, then nothing.  open: the stream's opening (a role chunk,
    ``message_start``), then nothing.  content: ``after`` pieces of content, then nothing.  A plain answer hangs in
    the middle of its body for open and content.
    """

    when: Literal["before", "head", "open", "content"] = "before"
    after: int = 1
    answer: Reply | None = None

    @property
    def answers(self) -> bool:
        return self.when in ("open", "content")

    def steps(self, stage: Stage) -> Steps:
        if self.answers:
            yield from _begun(stage, self.answer, self.after if self.when == "content" else 0)
        elif self.when == "head":
            yield stage.head(200, SSE if stage.stream else JSON)
        yield Stall()


# --------------------------------------------------- answers that are spoilt


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer ends too early, after ``after`` pieces of content (inf: all of them, only the end is missing).

    clean: the response is complete as HTTP goes.  eof: the connection ends without completing it.  reset: RST.
    A plain answer loses its second half; cut clean, its Content-Length agrees with what is left.
    """

    after: float = 2
    how: Literal["clean", "eof", "reset"] = "clean"
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        if self.how == "clean" and not stage.stream:
            return Truncated(self.answer).steps(stage)
        ends: Mapping[str, Step] = {"clean": End(), "eof": Close(), "reset": Abort()}
        return chain(_begun(stage, self.answer, self.after), (ends[self.how],))


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """A stream that reports an error after ``after`` pieces of content.  A plain answer carries it with HTTP 200."""

    after: float = 0
    message: str = "Overloaded"
    type: str = "overloaded_error"
    code: str | None = None
    status: int = 529
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        if not stage.stream:
            yield from ErrorInBody(self.message, self.type, self.code, self.status).steps(stage)
            return
        violation = Violation(self.status, self.message, "scripted", self.type, self.code)
        yield from _opened(stage, self.answer, self.after)
        yield Data(encode(stage.error_event(violation)))
        yield End()


@dataclass(frozen=True, slots=True)
class Failed:
    """Responses' own way to fail in mid-stream: ``response.failed``; other dialects send their error event."""

    after: float = 0
    message: str = "The model failed to generate a response."
    code: str = "server_error"
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        if not stage.stream or stage.dialect != "responses":
            event = ErrorEvent(self.after, self.message, "api_error", self.code, 500, self.answer)
            yield from event.steps(stage)
            return
        yield from _opened(stage, self.answer, self.after)
        error = {"code": self.code, "message": self.message}
        failed = {"id": "resp_failed", "object": "response", "status": "failed", "output": [], "error": error}
        data = {"type": "response.failed", "sequence_number": 99, "response": failed}
        yield Data(encode(Event("end", data, "response.failed")))
        yield End()


@dataclass(frozen=True, slots=True)
class Malformed:
    """JSON that is none.  In a stream: one such event after ``after`` pieces of content."""

    after: float = 0
    text: str = '{"choices": [{"message": {"content": "Hel'
    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        if not stage.stream:
            return stage.full(200, JSON, self.text.encode())
        return chain(_opened(stage, self.answer, self.after), (Data(encode(Event("extra", self.text))), End()))


@dataclass(frozen=True, slots=True)
class Truncated:
    """Half an answer with a Content-Length that agrees: only the JSON shows it.  A stream ends inside an event."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        yield Charge(said.usage)
        if stage.stream:
            events = b"".join(map(encode, stage.events(said)))
            yield from stage.full(200, SSE, events[: len(events) // 2])
        else:
            body = stage.body(said)
            yield from stage.full(200, JSON, body[: len(body) // 2])


@dataclass(frozen=True, slots=True)
class ShortBody:
    """A Content-Length that promises more than comes; then the connection ends."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        body = b"".join(map(encode, stage.events(said))) if stage.stream else stage.body(said)
        sent = body[: len(body) // 2]
        yield Charge(said.usage)
        yield stage.head(200, SSE if stage.stream else JSON, len(body))
        yield Data(sent)
        yield Close()


@dataclass(frozen=True, slots=True)
class TruncatedGzip:
    """A compressed answer of which the end is missing, with a Content-Length that agrees."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = stage.say(self.answer)
        body = b"".join(map(encode, stage.events(said))) if stage.stream else stage.body(said)
        packed = gzip.compress(body, mtime=0)
        told = replace(stage, headers=(*stage.headers, ("content-encoding", "gzip")))
        yield Charge(said.usage)
        yield from told.full(200, SSE if stage.stream else JSON, packed[: len(packed) * 2 // 3])


@dataclass(frozen=True, slots=True)
class BadUtf8:
    """An answer with bytes in it that are no UTF-8."""

    answer: Reply | None = None
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        for step in Answer(self.answer or Reply("Gr\u00fc\u00dfe aus der Ferne")).steps(stage):
            if isinstance(step, Data):
                yield Data(step.content.replace("\u00fc".encode(), b"\xff\xfe"))
            else:
                yield step


@dataclass(frozen=True, slots=True)
class EmptyChoices:
    """HTTP 200 with a list of choices (content blocks, output items) that is empty."""

    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        said = replace(stage.say(Reply("")), text=None, pieces=(), tools=(), thoughts=(), reasoning="")
        yield Charge(said.usage)
        if stage.stream:
            events = [
                event for event in stage.events(said) if stage.dialect != "chat" or event.kind in ("usage", "end")
            ]
            yield stage.head(200, SSE)
            yield from played(events)
            yield End()
        else:
            body = stage.body(said)
            start = body.find(b'"choices":[') + len(b'"choices":[') if stage.dialect == "chat" else 0
            end = body.find(b'],"usage"') if stage.dialect == "chat" else 0
            yield from stage.full(200, JSON, body[:start] + body[end:])


@dataclass(frozen=True, slots=True)
class NullContent:
    """A clean stop with nothing said at all: content null, no blocks, no output items."""

    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        told = replace(
            stage, say=lambda reply: replace(stage.say(reply), text=None, pieces=(), thoughts=(), reasoning="")
        )
        return Answer(Reply("")).steps(told)


def EmptyContent() -> Answer:  # noqa: N802  # reads as its neighbours do
    """A clean stop with an empty text."""
    return Answer(Reply("", reasoning=""))


def Filtered(text: str = "") -> Answer:  # noqa: N802  # reads as its neighbours do
    """HTTP 200, stopped by the provider's content filter after ``text``."""
    return Answer(Reply(text, finish="content_filter"))


def Refusal(text: str = "I can't help with that.") -> Answer:  # noqa: N802  # reads as its neighbours do
    """The model declines, in the field or with the stop reason that its dialect has for it."""
    return Answer(Reply(refusal=text))


@dataclass(frozen=True, slots=True)
class Huge:
    """A body of so many megabytes: an answer with status 200, an error otherwise.  A stream makes it one event."""

    megabytes: float = 8
    status: int = 200
    answers: bool = answering()

    def steps(self, stage: Stage) -> Steps:
        text = "x" * int(self.megabytes * MEGABYTE)
        told = replace(stage, say=lambda reply: replace(stage.say(reply), text=text, pieces=(text,)))
        brief = Reply("", usage=Tokens(10, 10), reasoning="")
        course = Answer(brief).steps(told) if self.status == 200 else Status(self.status, text).steps(stage)
        for step in course:
            yield from blocks(step.content) if isinstance(step, Data) else (step,)
