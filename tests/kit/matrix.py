"""Every fault, in every mode and dialect, over real HTTP: what the caller gets.

``python -m tests.kit.matrix`` prints the table of ``docs/faults.md``.

The first target has the fault, the second is healthy.  There are four ways for a call to end:

first      the fault was none: the first target's answer, whole
second     survived: the second target's answer, whole, and nothing of the first
partial    ``StreamInterrupted``, with a true beginning of the first target's answer
WRONG      anything else: a wrong or cut answer returned as success, or an error although a healthy target lives
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from failover import Failover, Retry, StreamInterrupted, Timeouts
from failover.testing import (
    BadUtf8,
    Bytewise,
    CloseAfter,
    Cut,
    Drip,
    Dropped,
    DropReused,
    EmptyBody,
    EmptyChoices,
    EmptyContent,
    ErrorEvent,
    ErrorInBody,
    Failed,
    Hang,
    Html,
    Huge,
    Informational,
    JsonForStream,
    Malformed,
    NullContent,
    Redirect,
    Refused,
    Reply,
    Reset,
    ScriptedProvider,
    Servers,
    ShortBody,
    SseForJson,
    Status,
    Trouble,
    Truncated,
    TruncatedGzip,
    serve,
)

FIRST = "The quick brown fox jumps over the lazy dog, again and again."
SECOND = "Pack my box with five dozen liquor jugs, please."
ANSWER = Reply(FIRST, reasoning="")
PATIENT = Timeouts(connect=20.0, first_content=20.0, between_content=20.0, whole=20.0)
HASTY = Timeouts(connect=20.0, first_content=0.3, between_content=0.3, whole=0.3)

DIALECTS = {
    "chat": ("groq", "openai/gpt-oss-120b", None),
    "responses": ("openai", "gpt-6-luna", "responses"),
    "anthropic": ("anthropic", "claude-haiku-5-5", None),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A fault by name, and how a plain call and a stream are to end."""

    name: str
    fault: Any
    plain: str = "second"
    stream: str = "second"
    clocks: Timeouts = PATIENT


ROWS = (
    # in an answer's place
    Row("500", Status(500)),
    Row("503, HTML page", Html(503)),
    Row("529 overloaded", Trouble("overloaded")),
    Row("429, retry after 30 s", Status(429, type="rate_limit_error", retry_after=30)),
    Row("quota exhausted", Trouble("credit")),
    Row("401 revoked key", Status(401, type="authentication_error", code="invalid_api_key")),
    Row("402 payment required", Status(402, type="billing_error")),
    Row("403 forbidden", Status(403, type="permission_error")),
    Row("404 unknown model", Trouble("model_not_found")),
    Row("408", Status(408)),
    Row("307 to another host", Redirect()),
    Row("connection refused", Refused()),
    Row("reset before the head", Reset("before")),
    Row("reset after the head", Reset("head")),
    Row("closed without an answer", Dropped()),
    Row("hangs before the head", Hang("before"), clocks=HASTY),
    Row("hangs after the head", Hang("head"), clocks=HASTY),
    Row("hangs after the role chunk", Hang("open"), clocks=HASTY),
    Row("keep-alives for ever", Drip(0.05), clocks=HASTY),
    # 200, and not an answer
    Row("200 with an error", ErrorInBody()),
    Row("200 with HTML", Html()),
    Row("200 with an empty body", EmptyBody()),
    Row("no choices", EmptyChoices()),
    Row("null content", NullContent()),
    Row("empty content", EmptyContent()),
    Row("malformed JSON", Malformed()),
    Row("invalid UTF-8", BadUtf8(Reply("Gr\u00fc\u00dfe aus der Ferne", reasoning=""))),
    Row("half a JSON document", Truncated(ANSWER), stream="partial"),
    Row("half a gzip body", TruncatedGzip(ANSWER), stream="second or partial"),
    Row("shorter than its Content-Length", ShortBody(ANSWER), stream="partial"),
    Row("an answer of 30 MB", Huge(30)),
    Row("an error of 30 MB", Huge(30, status=500)),
    # streams that break
    Row("error as the first event", ErrorEvent(0)),
    Row("cut before the first content", Cut(0)),
    Row("cut cleanly after two pieces", Cut(2, "clean", ANSWER), stream="partial"),
    Row("connection lost after two pieces", Cut(2, "eof", ANSWER), stream="partial"),
    Row("reset after two pieces", Cut(2, "reset", ANSWER), stream="partial"),
    Row("all content, no end marker", Cut(float("inf"), "clean", ANSWER), stream="partial"),
    Row("error event after two pieces", ErrorEvent(2, answer=ANSWER), stream="partial"),
    Row("response.failed after two pieces", Failed(2, answer=ANSWER), stream="partial"),
    Row("garbage after two pieces", Malformed(2, answer=ANSWER), stream="partial"),
    Row("silence after two pieces", Hang("content", 2, ANSWER), stream="partial", clocks=HASTY),
    # no faults at all
    Row("cut into single bytes", Bytewise(1, answer=ANSWER), "first", "first"),
    Row("CRLF line ends", Bytewise(7, "\r\n", answer=ANSWER), "first", "first"),
    Row("JSON for a stream", JsonForStream(ANSWER), "first", "first"),
    Row("connection closed after the answer", CloseAfter(answer=ANSWER), "first", "first"),
    Row("103 before the answer", Informational(answer=ANSWER), "first", "first"),
    Row("stale keep-alive connection", DropReused(ANSWER), "first", "first"),
    Row("a stream for a plain call", SseForJson(ANSWER), "second", "first"),
)

MODES = ("plain", "stream", "async plain", "async stream")


class Bench:
    """Faulty servers for three dialects and a healthy one."""

    def __init__(self, servers: Servers, faulty: dict[str, ScriptedProvider], healthy: ScriptedProvider) -> None:
        self.servers, self.faulty, self.healthy = servers, faulty, healthy

    def guard(self, dialect: str, row: Row) -> Failover:
        provider, model, stated = DIALECTS[dialect]
        self.faulty[dialect].set(row.fault)
        first = self.servers[f"{provider}-{dialect}"].target(model, dialect=stated, timeouts=row.clocks)
        second = self.servers["deepseek"].target("deepseek-flash")
        return Failover([first, second], strategy="priority", retry=Retry(attempts=0), response_cache=False)


@contextmanager
def bench() -> Iterator[Bench]:
    faulty = {name: ScriptedProvider(f"{row[0]}-{name}", like=row[0]) for name, row in DIALECTS.items()}
    healthy = ScriptedProvider("deepseek", respond=lambda question: Reply(SECOND))
    with serve(*faulty.values(), healthy) as servers:
        yield Bench(servers, faulty, healthy)


def play(bench: Bench, dialect: str, row: Row, mode: str) -> tuple[str, str]:
    """How the call ends, and a word on it."""
    guard = bench.guard(dialect, row)
    try:
        return _told(*PLAYS[mode](guard))
    finally:
        bench.faulty[dialect].up()


def _plain(guard: Failover) -> tuple[str, BaseException | None]:
    with guard:
        try:
            return guard.complete("Say something.").content, None
        except Exception as error:
            return "", error


def _stream(guard: Failover) -> tuple[str, BaseException | None]:
    text = ""
    with guard:
        try:
            for chunk in guard.stream("Say something."):
                text += chunk.text
        except Exception as error:
            return text, error
    return text, None


async def _aplain(guard: Failover) -> tuple[str, BaseException | None]:
    async with guard:
        try:
            return (await guard.acomplete("Say something.")).content, None
        except Exception as error:
            return "", error


async def _astream(guard: Failover) -> tuple[str, BaseException | None]:
    text = ""
    async with guard:
        try:
            async for chunk in guard.astream("Say something."):
                text += chunk.text
        except Exception as error:
            return text, error
    return text, None


def _run(
    door: Callable[[Failover], Awaitable[tuple[str, BaseException | None]]],
) -> Callable[[Failover], tuple[str, BaseException | None]]:
    async def call(guard: Failover) -> tuple[str, BaseException | None]:
        return await door(guard)

    return lambda guard: asyncio.run(call(guard))


PLAYS: dict[str, Callable[[Failover], tuple[str, BaseException | None]]] = {
    "plain": _plain,
    "stream": _stream,
    "async plain": _run(_aplain),
    "async stream": _run(_astream),
}


def _told(text: str, error: BaseException | None) -> tuple[str, str]:
    if error is None:
        return {FIRST: "first", SECOND: "second"}.get(text, "WRONG"), text[:60]
    if isinstance(error, StreamInterrupted) and error.partial == text and _begins(text):
        return "partial", str(error)
    return "WRONG", f"{type(error).__name__}: {error}"


def _begins(text: str) -> bool:
    """A true beginning of what the first target says: of its own answer, or of a huge one."""
    return bool(text) and (FIRST.startswith(text) or not text.strip("x") or "Gr" in text or len(text) > 1000)


SAYS = {
    "first": "the first target's answer",
    "second": "the second target's answer",
    "partial": "`StreamInterrupted` with what had arrived",
    "second or partial": "the second's answer, or `StreamInterrupted` if content had come",
}


def table() -> str:
    """The documentation's table; that it is true is what ``tests/test_faults.py`` shows, row by row."""
    head = "| the first target ... | a plain call gets | a stream gets |\n|---|---|---|"
    return "\n".join([head, *(f"| {row.name} | {SAYS[row.plain]} | {SAYS[row.stream]} |" for row in ROWS)])


if __name__ == "__main__":
    print(table())
