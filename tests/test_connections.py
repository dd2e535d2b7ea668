"""Who carries the bytes: the caller's client, httpx or aiohttp; the answers are the same."""

from __future__ import annotations

import asyncio
import gc
import gzip
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from benchmarks.count import ANSWER
from failover import Failover, ProviderError, Retry, Target
from failover.testing import Reply, ScriptedProvider, Servers, serve

QUIET = Retry(attempts=0)


@pytest.fixture
def openai() -> ScriptedProvider:
    return ScriptedProvider("openai", respond=lambda question: Reply("A short answer.", reasoning=""))


@pytest.fixture
def servers(openai: ScriptedProvider) -> Iterator[Servers]:
    with serve(openai) as servers:
        yield servers


@pytest.fixture(params=["aiohttp", "httpx"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """aiohttp, or httpx as where aiohttp is not installed."""
    if request.param == "httpx":
        monkeypatch.setitem(sys.modules, "failover._aiohttp", None)
    return str(request.param)


async def ask(target: Target, prompt: str = "hi") -> str:
    async with Failover([target], retry=QUIET) as guard:
        return (await guard.acomplete(prompt)).content


async def test_either_carrier_brings_the_answer(carrier: str, servers: Servers) -> None:
    assert await ask(servers["openai"].target("gpt-6-luna")) == "A short answer."
    assert ("aiohttp.client" in sys.modules) or carrier == "httpx"


async def test_a_request_too_large_for_one_write_arrives_whole(
    carrier: str, servers: Servers, openai: ScriptedProvider
) -> None:
    long = "word " * 400_000
    await ask(servers["openai"].target("gpt-4.1", context_window=10_000_000), long)
    assert long in str(openai.requests[-1].body)


@pytest.mark.parametrize("door", ["sync", "async"])
async def test_the_callers_own_client_wins(door: str) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.content.decode())
        return httpx.Response(200, content=ANSWER)

    target, transport = Target("openai:gpt-4o", api_key="k"), httpx.MockTransport(handle)
    client, async_client = httpx.Client(transport=transport), httpx.AsyncClient(transport=transport)
    with client, Failover([target], client=client, async_client=async_client) as guard:
        answer = guard.complete("hi") if door == "sync" else await guard.acomplete("hi")
    assert (answer.content, len(seen)) == ("A short answer.", 1)
    await async_client.aclose()


async def test_a_proxy_in_the_environment_is_used(
    servers: Servers, openai: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = servers["openai"]
    monkeypatch.setenv("HTTP_PROXY", served.base_url.removesuffix("/v1"))
    key = served.target("gpt-6-luna").api_key
    target = Target("openai:gpt-6-luna", api_key=key, base_url="http://elsewhere.invalid/v1")
    assert await ask(target) == "A short answer."
    assert openai.requests[-1].headers["host"] == "elsewhere.invalid"


# ------------------------------------------------------- over a raw socket

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


async def against(answer: bytes, heads: list[bytes] | None = None, **fields: Any) -> str:
    """What a call makes of the bytes that a server writes before it closes; ``heads``: of the requests it gets."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await ask(Target("openai:gpt-4o", api_key="k", base_url=f"http://127.0.0.1:{port}/v1", **fields))


async def test_every_header_goes_out_once(carrier: str) -> None:
    heads: list[bytes] = []
    await against(PLAIN, heads, headers={"CONTENT-TYPE": "application/json", "X-Mine": "1"})
    names = [line.partition(b":")[0].lower().decode() for line in heads[0].splitlines()[1:] if line]
    assert sorted(set(names)) == sorted(names)
    assert {"content-type", "user-agent", "x-mine", "host", "content-length", "authorization"} <= set(names)


async def test_a_compressed_answer_is_read(carrier: str) -> None:
    packed = gzip.compress(ANSWER)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    assert await against(head + packed) == "A short answer."


BROKEN = {
    "malformed": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot packed",
    "cut": b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{",
    "disconnected": b"HTTP/1.1 2",
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_what_breaks_means_the_same_whoever_carried_it(carrier: str, kind: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await against(BROKEN[kind])
    assert [step.reason for step in caught.value.trail] == [kind]  # type: ignore[attr-defined]  # of AllTargetsFailed


async def test_a_refused_connection_is_told_from_one_that_broke(carrier: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await ask(Target("openai:gpt-4o", api_key="k", base_url="http://127.0.0.1:9/v1"))
    (error,) = caught.value.exceptions
    assert isinstance(error, ProviderError)
    assert (error.failure.kind, error.failure.sent) == ("connect", False)


async def test_a_connection_that_ended_while_the_event_loop_stood_still_is_not_used_again(
    carrier: str, servers: Servers, openai: ScriptedProvider
) -> None:
    async with Failover([servers["openai"].target("gpt-6-luna")], retry=QUIET, response_cache=False) as guard:
        await guard.acomplete("hi")
        openai.down()  # blocks the event loop, while every open connection is reset
        openai.up()
        assert (await guard.acomplete("hi again")).content == "A short answer."
        assert [target.failures for target in guard.status()] == [0]
    assert openai.connections == 2


async def test_a_long_header_is_no_reason_to_refuse_an_answer(carrier: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-policy: %b\r\ncontent-length: %d\r\n\r\n" % (b"a" * 20_000, len(ANSWER))
    assert await against(head + ANSWER) == "A short answer."


MOVED = b"HTTP/1.1 307 Moved\r\nlocation: https://me:secret@other.example/v1?key=k\r\ncontent-length: 0\r\n\r\n"


async def test_an_address_that_does_not_answer_is_named(carrier: str) -> None:
    with pytest.raises(ExceptionGroup) as missing:
        await against(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    assert re.search(r"POST http://127.0.0.1:\d+/v1/chat/completions$", str(missing.value.exceptions[0]))
    with pytest.raises(ExceptionGroup) as moved:
        await against(MOVED)
    assert str(moved.value.exceptions[0]).endswith(
        "/v1/chat/completions is sent on to https://***@other.example/v1?***"
    )


async def test_aiohttp_puts_no_status_of_its_own_before_what_broke() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await against(BROKEN["cut"])
    assert "400" not in str(caught.value.exceptions[0])


def test_the_connections_of_a_closed_event_loop_end_when_the_next_begins(servers: Servers) -> None:
    with Failover([servers["openai"].target("gpt-6-luna")], response_cache=False) as guard:
        for number in range(4):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(guard.acomplete(f"hi {number}"))
            loop.close()
        (connections,) = guard._connections
        assert len(connections._lines) == 1
    assert not connections._lines
    gc.collect()  # a socket that was left open would say so


LEFT_BEHIND = """
import asyncio, gc
from failover import Failover
from failover.testing import Reply, ScriptedProvider, serve

with serve(ScriptedProvider("openai", respond=lambda question: Reply("A short answer."))) as servers:
    guard = Failover([servers["openai"].target("gpt-6-luna")])
    loop = asyncio.new_event_loop()
    loop.run_until_complete(guard.acomplete("hi"))
    {end}
    del guard
    gc.collect()
"""


@pytest.mark.parametrize("end", ["loop.close()", "pass", "loop.run_until_complete(guard.aclose())"])
def test_connections_that_are_left_behind_say_nothing(end: str) -> None:
    command = [sys.executable, "-c", LEFT_BEHIND.format(end=end)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("", "")
