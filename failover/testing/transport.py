"""Scripted providers in process: an httpx transport, sync and async, without a socket.

A ``Fleet`` sends each request to the provider whose host it names (``http://openai.simulated/v1/...``), or, with one
provider only, to that one whatever the host.  Broken connections are the exceptions that httpx raises for them on a
real network.  Pauses are slept on the provider's clock, but never beyond the request's read timeout: then
``httpx.ReadTimeout`` is raised, and with a ``VirtualClock`` nothing is really slept.  A provider that hangs while the
client has no timeout hangs for ever in real time, and raises ``ReadTimeout`` at once in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import httpx

from failover.testing.provider import Exchange, ScriptedProvider
from failover.testing.served import Served
from failover.testing.steps import Abort, Close, Data, End, Head, Interim, Stall, Step, Wait

T = TypeVar("T")

DOMAIN = "simulated"

Pause = Generator[float, None, None]
"""Seconds to sleep, before the thing that was waited for."""


def read_timeout(request: httpx.Request) -> float:
    """Seconds the client waits for a read; inf: for ever."""
    timeout = (request.extensions.get("timeout") or {}).get("read")
    return math.inf if timeout is None else float(timeout)


@dataclass(slots=True)
class Wire:
    """One exchange as the client sees it: pulls steps, turns them into sleeps, bytes and exceptions."""

    exchange: Exchange
    request: httpx.Request
    steps: Iterator[Step]
    patience: float
    length: int | None = None
    received: int = 0
    quiet: float = 0.0

    def until_head(self) -> Generator[float, None, Head]:
        """Everything up to the head, yielding seconds to sleep."""
        for step in self.steps:
            match step:
                case Head():
                    self.length = next((int(v) for k, v in step.headers if k == "content-length"), None)
                    return step
                case Wait() | Stall():
                    yield from self.pause(step)
                case Abort():
                    raise self._broken(step, head=False)
                case Close() | End():
                    raise self._broken(step, head=False)
                case Interim() | Data():
                    pass
        raise self._broken(Close(), head=False)

    def until_data(self) -> Generator[float, None, bytes | None]:
        """Everything up to the next bytes, yielding seconds to sleep; None: the body is complete."""
        for step in self.steps:
            match step:
                case Data(content):
                    self.quiet = 0.0
                    self.received += len(content)
                    self.exchange.received.pieces += 1
                    return content
                case Wait() | Stall():
                    yield from self.pause(step)
                case End():
                    return None
                case Abort() | Close():
                    raise self._broken(step, head=True)
                case Head() | Interim():
                    pass
        return None

    def pause(self, step: Wait | Stall) -> Pause:
        """Sleeps, unless the client would have given up before it is over."""
        seconds = step.seconds if isinstance(step, Wait) else math.inf
        limit = read_timeout(self.request)
        if self.quiet + seconds < limit and seconds <= self.patience:
            self.quiet += seconds
            self.patience -= seconds
            yield seconds
            return
        if limit != math.inf:
            yield max(0.0, limit - self.quiet)
        while limit == math.inf and self.patience == math.inf:
            yield 3600.0
        raise httpx.ReadTimeout("The read operation timed out", request=self.request)

    def _broken(self, step: Step, head: bool) -> httpx.TransportError:
        if isinstance(step, Abort):
            return httpx.ReadError("[Errno 104] Connection reset by peer", request=self.request)
        if not head:
            text = "Server disconnected without sending a response."
        elif self.length is None:
            text = "peer closed connection without sending complete message body (incomplete chunked read)"
        else:
            got = f"(received {self.received} bytes, expected {self.length})"
            text = f"peer closed connection without sending complete message body {got}"
        return httpx.RemoteProtocolError(text, request=self.request)


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, wire: Wire, provider: ScriptedProvider) -> None:
        self._wire = wire
        self._provider = provider

    def __iter__(self) -> Iterator[bytes]:
        while (content := _finish(self._wire.until_data(), self._provider)) is not None:
            yield content

    def close(self) -> None:
        self._wire.exchange.abandon()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, wire: Wire, provider: ScriptedProvider) -> None:
        self._wire = wire
        self._provider = provider

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (content := await _afinish(self._wire.until_data(), self._provider)) is not None:
            yield content

    async def aclose(self) -> None:
        self._wire.exchange.abandon()


def _finish(waiting: Generator[float, None, T], provider: ScriptedProvider) -> T:
    """Runs to the end, sleeping what is asked for."""
    while True:
        try:
            seconds = next(waiting)
        except StopIteration as done:
            return cast(T, done.value)
        provider.clock.sleep(seconds)


class Fleet(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Providers in process, found by host: pass it as ``transport`` to ``httpx.Client`` or ``httpx.AsyncClient``."""

    def __init__(self, *providers: ScriptedProvider) -> None:
        self.providers = {provider.name: provider for provider in providers}

    def __getitem__(self, name: str) -> Served:
        """The provider of that name, with its base URL and ``target(model)``."""
        return Served(self.providers[name], f"http://{name}.{DOMAIN}")

    def client(self) -> httpx.Client:
        return httpx.Client(transport=self)

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        provider = self._reach(request)
        wire = self._open(provider, request, request.read())
        try:
            head = _finish(wire.until_head(), provider)
        except BaseException:
            wire.exchange.abandon()
            raise
        return httpx.Response(head.status, headers=list(head.headers), stream=_SyncBody(wire, provider))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        provider = self._reach(request)
        wire = self._open(provider, request, await request.aread())
        try:
            head = await _afinish(wire.until_head(), provider)
        except BaseException:
            wire.exchange.abandon()
            raise
        return httpx.Response(head.status, headers=list(head.headers), stream=_AsyncBody(wire, provider))

    def _reach(self, request: httpx.Request) -> ScriptedProvider:
        name = request.url.host.removesuffix(f".{DOMAIN}")
        only = next(iter(self.providers.values())) if len(self.providers) == 1 else None
        provider = self.providers.get(name) or only
        if provider is None:
            raise httpx.ConnectError(f"[Errno -2] Name or service not known: {request.url.host}", request=request)
        if provider.refuses_connections:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        return provider

    def _open(self, provider: ScriptedProvider, request: httpx.Request, raw: bytes) -> Wire:
        path = request.url.raw_path.decode()
        number = provider.connected()
        exchange = provider.receive(request.method, path, request.headers.multi_items(), raw, number)
        patience = math.inf if provider.clock.patience is None else provider.clock.patience
        return Wire(exchange, request, iter(exchange), patience)


async def _afinish(waiting: Generator[float, None, T], provider: ScriptedProvider) -> T:
    while True:
        try:
            seconds = next(waiting)
        except StopIteration as done:
            return cast(T, done.value)
        await provider.clock.asleep(seconds)
