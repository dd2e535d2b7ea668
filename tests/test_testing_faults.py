"""Every fault, seen by a plain httpx client over real TCP and in process: the same on both, in all three dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from failover.testing import (
    KINDS,
    QUIRKS,
    ROWS,
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
    Filtered,
    Fleet,
    Hang,
    Html,
    Huge,
    Informational,
    JsonForStream,
    Malformed,
    NullContent,
    Quirk,
    Redirect,
    Refusal,
    Refused,
    Reply,
    Reset,
    ScriptedProvider,
    Servers,
    ShortBody,
    Slow,
    SseForJson,
    Status,
    ToolUse,
    Trouble,
    Truncated,
    TruncatedGzip,
    VirtualClock,
    serve,
)

SAY = "one two three four five six"
REPLY = Reply(SAY, reasoning="")
DIALECTS = {
    "chat": ("openai", "gpt-6-luna"),
    "anthropic": ("anthropic", "claude-haiku-5-5"),
    "responses": ("openai", "gpt-6.1-sol"),
}
HEADERS = {"authorization": "Bearer sk-test", "x-api-key": "sk-test", "anthropic-version": "2026-10-21"}


def body(dialect: str, stream: bool) -> dict[str, Any]:
    model = DIALECTS[dialect][1]
    if dialect == "responses":
        return {"model": model, "input": "hi", "stream": stream}
    asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    return asked | ({"max_tokens": 500} if dialect == "anthropic" else {})


PATHS = {"chat": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses"}

# -------------------------------------------------------------- two worlds


@pytest.fixture(scope="module")
def loopback() -> Iterator[Servers]:
    with serve(ScriptedProvider("openai"), ScriptedProvider("anthropic")) as servers:
        yield servers


@pytest.fixture(scope="module")
def inside() -> Fleet:
    clock = VirtualClock()
    return Fleet(ScriptedProvider("openai", clock=clock), ScriptedProvider("anthropic", clock=clock))


@pytest.fixture(params=["loopback", "inside"])
def world(request: pytest.FixtureRequest) -> tuple[Servers | Fleet, httpx.Client]:
    found = request.getfixturevalue(request.param)
    return found, request.getfixturevalue("pool" if isinstance(found, Servers) else "direct")


@pytest.fixture(scope="module")
def pool() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


@pytest.fixture(scope="module")
def direct(inside: Fleet) -> Iterator[httpx.Client]:
    with inside.client() as client:
        yield client


Seen = tuple[str, bytes]


def see(world: tuple[Servers | Fleet, httpx.Client], dialect: str, fault: Any, stream: bool, read: float = 5.0) -> Seen:
    """What came: the status or the exception's name, and the bytes of the body until then."""
    servers, client = world
    served = servers[DIALECTS[dialect][0]]
    served.provider.script(fault)
    timeout = httpx.Timeout(5.0, read=read)
    got = b""
    try:
        with client.stream(
            "POST", f"{served.origin}{PATHS[dialect]}", json=body(dialect, stream), headers=HEADERS, timeout=timeout
        ) as response:
            for piece in response.iter_bytes():
                got += piece
            return str(response.status_code), got
    except httpx.HTTPError as error:
        return type(error).__name__, got


def events(got: bytes) -> list[Any]:
    """The data of every whole event."""
    found = []
    for block in got.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:"))
        if data and data != "[DONE]":
            found.append(json.loads(data))
    return found


def contents(got: bytes) -> str:
    """All text in a stream, whatever its dialect."""
    said = ""
    for event in events(got):
        match event:
            case {"choices": [{"delta": {"content": str(piece)}}, *_]}:
                said += piece
            case {"delta": {"text": str(piece)}} | {"type": "response.output_text.delta", "delta": str(piece)}:
                said += piece
    return said


def ended(got: bytes) -> bool:
    """Whether the stream said that it was complete."""
    marks = (b"[DONE]", b"message_stop", b"response.completed", b"response.incomplete")
    return any(mark in got for mark in marks)


Check = Callable[[Seen], bool]


def whole(seen: Seen) -> bool:
    return seen[0] == "200" and SAY.encode() in seen[1] and bool(json.loads(seen[1]))


def complete(seen: Seen) -> bool:
    return seen[0] == "200" and contents(seen[1]) == SAY and ended(seen[1])


def broken(name: str, text: str | None = "") -> Check:
    """This exception, after this text (None: any)."""
    return lambda seen: seen[0] == name and (text is None or contents(seen[1]) == text) and not ended(seen[1])


def short(text: str) -> Check:
    """A stream that ends well as HTTP goes, after this text and without its mark."""
    return lambda seen: seen[0] == "200" and contents(seen[1]) == text and not ended(seen[1])


def status(code: str) -> Check:
    return lambda seen: seen[0] == code and bool(json.loads(seen[1]))


def not_json(seen: Seen) -> bool:
    if seen[0] != "200":
        return False
    try:
        json.loads(seen[1])
    except ValueError:
        return True
    return False


def error_in_200(seen: Seen) -> bool:
    return seen[0] == "200" and "error" in json.loads(seen[1])


def nothing(seen: Seen) -> bool:
    return seen == ("200", b"")


def html(seen: Seen) -> bool:
    return seen[0] == "200" and seen[1].startswith(b"<!DOCTYPE html>")


def said_nothing(seen: Seen) -> bool:
    """A good answer as HTTP goes, in which nothing is said."""
    if seen[0] != "200":
        return False
    if seen[1].startswith((b"data", b"event")):
        return contents(seen[1]) == "" and ended(seen[1])
    answer = json.loads(seen[1])
    said = answer.get("content") or answer.get("output") or [c["message"]["content"] for c in answer.get("choices", ())]
    return not [
        one
        for one in said
        if one
        and (
            isinstance(one, str)
            or one.get("content") != [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]
        )
    ]


def ends_in_error(seen: Seen) -> bool:
    last = events(seen[1])[-1]
    return (
        seen[0] == "200"
        and ("error" in last or last.get("type") in ("error", "response.failed"))
        and not ended(seen[1])
    )


def anything(seen: Seen) -> bool:
    return seen[0] == "200"


FAULTS: list[tuple[Any, Check, Check]] = [  # the fault, what a plain request sees, what a stream sees
    (REPLY, whole, complete),
    (Status(500), status("500"), status("500")),
    (Status(429, retry_after=2), status("429"), status("429")),
    (Trouble("overloaded"), lambda seen: seen[0] in ("503", "529"), lambda seen: seen[0] in ("503", "529")),
    (Html(), html, html),
    (Html(502), lambda seen: seen[0] == "502", lambda seen: seen[0] == "502"),
    (EmptyBody(), nothing, nothing),
    (Redirect(), lambda seen: seen[0] == "307", lambda seen: seen[0] == "307"),
    (ErrorInBody(), error_in_200, error_in_200),
    (Reset("head"), broken("ReadError"), broken("ReadError")),
    (Reset("body", after=2, answer=REPLY), broken("ReadError", None), broken("ReadError", None)),
    (Cut(2, "clean", REPLY), not_json, short("one two ")),
    (Cut(0, "clean", REPLY), not_json, short("")),
    (Cut(float("inf"), "clean", REPLY), not_json, short(SAY)),
    (Cut(2, "eof", REPLY), broken("RemoteProtocolError", None), broken("RemoteProtocolError", "one two ")),
    (Cut(2, "reset", REPLY), broken("ReadError", None), broken("ReadError", None)),
    (ErrorEvent(0, answer=REPLY), error_in_200, ends_in_error),
    (ErrorEvent(2, answer=REPLY), error_in_200, lambda seen: ends_in_error(seen) and contents(seen[1]) == "one two "),
    (Failed(1, answer=REPLY), error_in_200, ends_in_error),
    (Malformed(), not_json, lambda seen: b'"Hel' in seen[1] and not ended(seen[1])),
    (Truncated(REPLY), not_json, lambda seen: seen[0] == "200" and not ended(seen[1])),
    (ShortBody(REPLY), broken("RemoteProtocolError", None), lambda seen: seen[0] == "RemoteProtocolError"),
    (TruncatedGzip(REPLY), not_json, lambda seen: not ended(seen[1])),
    (BadUtf8(), lambda seen: b"\xff\xfe" in seen[1], lambda seen: b"\xff\xfe" in seen[1] and ended(seen[1])),
    (EmptyChoices(), said_nothing, said_nothing),
    (NullContent(), said_nothing, said_nothing),
    (EmptyContent(), said_nothing, said_nothing),
    (Filtered("one"), anything, lambda seen: contents(seen[1]) == "one"),
    (Refusal("No, thanks."), anything, anything),
    (Huge(0.5), lambda seen: len(seen[1]) > 500_000, lambda seen: len(seen[1]) > 500_000 and ended(seen[1])),
    (
        Huge(0.5, status=500),
        lambda seen: (seen[0], len(seen[1]) > 500_000) == ("500", True),
        lambda seen: seen[0] == "500",
    ),
    (Slow(0.01, 0.01, 0.001, REPLY), whole, complete),
    (Drip(0.001, 3, answer=REPLY), lambda seen: whole(seen) and seen[1].startswith(b"\n\n\n"), complete),
    (Drip(0.001, 3, after=2, answer=REPLY), whole, complete),
    (JsonForStream(REPLY), whole, whole),
    (SseForJson(REPLY), complete, complete),
    (Bytewise(1, answer=REPLY), whole, complete),
    (Bytewise(3, "\r\n", REPLY), whole, lambda seen: complete(seen) and b"\r\n\r\n" in seen[1]),
    (Informational(103, REPLY), whole, complete),
    (CloseAfter(answer=REPLY), whole, complete),
    (CloseAfter("close", REPLY), whole, complete),
    (
        DropReused(REPLY),
        lambda seen: whole(seen) or seen[0] == "RemoteProtocolError",
        lambda seen: complete(seen) or seen[0] == "RemoteProtocolError",
    ),
    (
        Quirk("no_usage", REPLY),
        lambda seen: whole(seen) and b'"usage"' not in seen[1],
        lambda seen: complete(seen) and b'"usage"' not in seen[1],
    ),
    (Quirk("multiline_data", REPLY), whole, complete),
    (Quirk("no_space", REPLY), whole, complete),
    (Quirk("comments", REPLY), whole, complete),
    (Quirk("unknown_events", REPLY), whole, complete),
]


def _named(value: object) -> str:
    """The same in every process: functions by name, not by address."""
    return str(getattr(value, "__name__", value))[:48]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("fault", "plain", "streamed"), FAULTS, ids=_named)
def test_a_fault_is_seen_as_it_was_scripted(
    world: Any, dialect: str, fault: Any, plain: Check, streamed: Check
) -> None:
    seen = see(world, dialect, fault, False)
    assert plain(seen), seen[0] + str(seen[1][-400:])
    seen = see(world, dialect, fault, True)
    assert streamed(seen), seen[0] + str(seen[1][-400:])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("when", ["before", "head", "open", "content"])
def test_a_hang_lasts_until_the_client_gives_up(world: Any, when: Any, stream: bool) -> None:
    name, got = see(world, "chat", Hang(when, after=2, answer=REPLY), stream, read=0.1)
    assert name == "ReadTimeout"
    assert contents(got) == ("one two " if stream and when == "content" else "")
    assert (b'"role":"assistant"' in got) == (when in ("open", "content"))


def test_signs_of_life_without_end_keep_a_naive_client_waiting(inside: Fleet) -> None:
    """In virtual time the patience of an hour ends it; the client's own read timeout never would."""
    name, got = see((inside, inside.client()), "chat", Drip(0.5, answer=REPLY), True, read=1.0)
    assert name == "ReadTimeout"
    assert got.count(b": keep-alive") == 7200


@pytest.mark.parametrize("fault", [Reset(), Dropped(), Refused()], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_breaks_before_an_answer_has_no_status(world: Any, fault: Any, stream: bool) -> None:
    name, got = see(world, "anthropic", fault, stream)
    assert (name, got) in (("ReadError", b""), ("RemoteProtocolError", b""))


def test_a_reused_connection_is_dropped_and_a_fresh_one_serves(loopback: Servers) -> None:
    with httpx.Client() as client:
        first = see((loopback, client), "chat", REPLY, False)
        second = see((loopback, client), "chat", DropReused(REPLY), False)
        third = see((loopback, client), "chat", DropReused(REPLY), False)
    assert (whole(first), second[0], whole(third)) == (True, "RemoteProtocolError", True)


def test_a_provider_that_is_down_refuses_connections_and_comes_back_on_its_port() -> None:
    provider = ScriptedProvider("openai")
    with serve(provider) as servers, httpx.Client() as client:
        world = (servers, client)
        assert whole(see(world, "chat", REPLY, False))
        provider.down()
        seen = [see(world, "chat", REPLY, False)[0] for _ in range(3)]
        assert "ConnectError" in seen
        assert set(seen) <= {"ConnectError", "ReadError", "RemoteProtocolError"}
        provider.up()
        assert provider.calls == 1
        assert whole(see(world, "chat", REPLY, False))
    inside = Fleet(provider)
    provider.down()
    assert see((inside, inside.client()), "chat", REPLY, False)[0] == "ConnectError"


# --------------------------------------------------------- tool call quirks

CALLS = Reply(None, (ToolUse("f", {"a": 1, "b": "two words"}), ToolUse("g", {"c": [1, 2]})), reasoning="")


def added_up(got: bytes) -> list[tuple[Any, str, str]]:
    """Calls as a forgiving client adds them up: by index, else a call with a name begins a new one."""
    calls: list[list[Any]] = []
    for event in events(got):
        for choice in event["choices"]:
            for part in choice["delta"].get("tool_calls") or ():
                if part.get("index", len(calls)) >= len(calls):
                    calls.append([part.get("id"), part["function"]["name"], ""])
                calls[part.get("index", -1)][2] += part["function"]["arguments"]
    return [tuple(call) for call in calls]


@pytest.mark.parametrize("quirk", ["whole_calls", "calls_without_index", "repeated_call_ids", "calls_without_ids"])
def test_tool_calls_in_odd_forms_are_still_whole(inside: Fleet, quirk: Any) -> None:
    world = (inside, inside.client())
    usual = added_up(see(world, "chat", CALLS, True)[1])
    odd = added_up(see(world, "chat", Quirk(quirk, CALLS), True)[1])
    assert (
        [call[1:] for call in odd]
        == [call[1:] for call in usual]
        == [
            ("f", '{"a": 1, "b": "two words"}'),
            ("g", '{"c": [1, 2]}'),
        ]
    )
    assert all(call[0] for call in usual)
    assert all(call[0] for call in odd) == (quirk != "calls_without_ids")


@pytest.mark.parametrize("quirk", QUIRKS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_quirk_never_changes_what_is_said(inside: Fleet, dialect: str, quirk: Any) -> None:
    seen = see((inside, inside.client()), dialect, Quirk(quirk, REPLY), True)
    assert contents(seen[1]) == SAY
    assert ended(seen[1]) == (quirk != "no_done" or dialect != "chat")


# ----------------------------------------------------------------- troubles


@pytest.mark.parametrize("name", ROWS)
def test_every_provider_says_no_in_its_own_shape(name: str) -> None:
    provider = ScriptedProvider(name, [Trouble(kind, retry_after="7") for kind in KINDS])
    url = f"http://x.simulated{next(iter(provider.row.paths.values()))}"
    with Fleet(provider).client() as client:
        answers = [client.post(url, headers=HEADERS, content=b"{}") for _ in KINDS]
    assert all(400 <= answer.status_code < 600 and answer.headers["retry-after"] == "7" for answer in answers)
    told = [json.dumps(answer.json()) for answer in answers]
    assert all("message" in words or "error" in words or "detail" in words for words in told)
    assert len(set(told)) > len(KINDS) // 2


# ----------------------------------------------------- the order of events

BLOCK = ["content_block_start", "content_block_delta", "content_block_stop"]
ORDER = {
    "anthropic": ["message_start", "ping", *BLOCK, *BLOCK, *BLOCK, "message_delta", "message_stop"],
    "responses": [
        "response.created",
        "response.in_progress",
        "response.output_item.added",  # reasoning: no summary was asked for
        "response.output_item.done",
        "response.output_item.added",  # the message
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",  # the call
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ],
}


@pytest.mark.parametrize("dialect", ORDER)
def test_named_events_come_in_the_documented_order(inside: Fleet, direct: httpx.Client, dialect: str) -> None:
    reply = Reply("text", (ToolUse("f", {"a": 1}, id="c"),), reasoning="thought", pieces=("text",))
    got = see((inside, direct), dialect, reply, True)[1]
    names = [line[7:] for line in got.decode().split("\n") if line.startswith("event: ")]
    told = [event["type"] for event in events(got)]
    assert names == told
    assert [name for name, before in zip(told, ["", *told], strict=False) if name != before] == ORDER[dialect]


# -------------------------------------------------------------------- async


async def test_the_same_faults_are_played_to_async_clients(inside: Fleet, loopback: Servers) -> None:
    async def seen(world: Fleet | Servers, client: httpx.AsyncClient, fault: Any, read: float = 5.0) -> tuple[str, str]:
        served = world["openai"]
        served.provider.script(fault)
        got = b""
        try:
            async with client.stream(
                "POST",
                f"{served.origin}{PATHS['chat']}",
                json=body("chat", True),
                headers=HEADERS,
                timeout=httpx.Timeout(5.0, read=read),
            ) as response:
                async for piece in response.aiter_bytes():
                    got += piece
                return str(response.status_code), contents(got)
        except httpx.HTTPError as error:
            return type(error).__name__, contents(got)

    for world in (inside, loopback):
        async with world.async_client() if isinstance(world, Fleet) else httpx.AsyncClient() as client:
            assert await seen(world, client, REPLY) == ("200", SAY)
            assert await seen(world, client, Cut(2, "eof", REPLY)) == ("RemoteProtocolError", "one two ")
            assert await seen(world, client, Hang("content", 1, REPLY), 0.1) == ("ReadTimeout", "one ")
            assert (await seen(world, client, Reset()))[0] == "ReadError"
            assert await seen(world, client, Slow(first=0.01, between=0.001, answer=REPLY)) == ("200", SAY)
