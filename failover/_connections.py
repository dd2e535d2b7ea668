"""Where an attempt's bytes go: the connections of one target, made when first needed and kept for the next attempt.

Who sends, in this order:

- the caller's own client, with all that it was given
- a client of httpx's, where the environment names a proxy (it knows which hosts go without) or HTTP/2 was asked for
- for async aiohttp, where it is installed
- a transport of httpx's, beneath its client: no cookies, redirects, hooks or default headers, none of which we use

Async connections belong to one event loop and are closed with it.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import types
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.request import getproxies

import httpx

from failover._deadline import exact
from failover._loops import UntilLoopEnds
from failover.settings import Timeouts

T = TypeVar("T")
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)
"""Few idle connections: httpx's pool looks at every idle one on each request."""


@dataclass(slots=True)
class Letter:
    """One request, ready to be sent.  Names of headers are in lower case."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeouts: Timeouts


class AsyncReply(Protocol):
    """What comes back, as httpx names its parts."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


Send = Callable[[Letter], httpx.Response]
AsyncSend = Callable[[Letter], Awaitable[AsyncReply]]


class Line(NamedTuple):
    """How to send, and how to close what was opened for it."""

    send: Send
    close: Callable[[], None]


class AsyncLine(NamedTuple):
    """``forsake``: what can still be closed once its event loop is."""

    send: AsyncSend
    aclose: Callable[[], Awaitable[None]]
    forsake: Callable[[], None]


class Connections:
    """Of one target.  The caller's own clients win over ours."""

    def __init__(self, client: httpx.Client | None, async_client: httpx.AsyncClient | None, http2: bool) -> None:
        self._given = None if client is None else _through(client)
        self._given_async = None if async_client is None else _athrough(async_client)
        self._http2 = http2
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._lines: dict[asyncio.AbstractEventLoop, _Kept] = {}

    def begin_afresh(self) -> None:
        """In a forked child: what is open is its parent's.  It is kept, for closing it would use it."""
        self._inherited += (self._line, self._lines)
        self._begin()

    def sync(self) -> Send:
        if self._given is not None:
            return self._given
        line = self._line
        if line is None:
            with self._lock:
                line = self._line = self._line or _open(self._http2)
        return line.send

    async def running(self) -> AsyncSend:
        """Of the running event loop."""
        if self._given_async is not None:
            return self._given_async
        loop = asyncio.get_running_loop()
        kept = self._lines.get(loop)
        if kept is None or kept.over:
            self._forget_closed_loops()
            kept = _Kept(_aopen(self._http2))
            await kept.begin()
            self._lines[loop] = kept
        return kept.send

    def _forget_closed_loops(self) -> None:
        """Of loops that were closed without a word to their generators, as ``asyncio.run`` would not."""
        for loop in list(self._lines):
            if loop.is_closed() and (kept := self._lines.pop(loop, None)) is not None:
                kept.forsake()

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._forget_closed_loops()

    async def aclose(self) -> None:
        self.close()
        kept = self._lines.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.aclose()


class _Kept(UntilLoopEnds):
    """An async line that is closed with its event loop."""

    def __init__(self, line: AsyncLine) -> None:
        super().__init__(line.aclose)
        self.send = line.send
        self.forsake = line.forsake


# ----------------------------------------------------------------- opening


@lru_cache
def certificates(http2: bool) -> ssl.SSLContext:
    """What is trusted, as httpx has it, read once for all pools: it takes 25 ms.  Each protocol sets its own ALPN."""
    return httpx.create_ssl_context()


def _open(http2: bool) -> Line:
    if http2 or getproxies():
        client = httpx.Client(verify=certificates(http2), http2=http2, limits=LIMITS)
        for transport in (client._transport, *client._mounts.values()):
            exact(transport)
        return Line(_through(client), client.close)
    transport = exact(httpx.HTTPTransport(verify=certificates(False), limits=LIMITS))
    return Line(lambda letter: transport.handle_request(_request(letter)), transport.close)


def _aopen(http2: bool) -> AsyncLine:
    if http2 or getproxies():
        client = httpx.AsyncClient(verify=certificates(http2), http2=http2, limits=LIMITS)
        return AsyncLine(_athrough(client), client.aclose, _nothing)
    try:
        from failover._aiohttp import Session
    except ImportError:
        transport = httpx.AsyncHTTPTransport(verify=certificates(False), limits=LIMITS)
        return AsyncLine(_firm(transport.handle_async_request), transport.aclose, _nothing)
    session = Session(certificates(False), LIMITS.keepalive_expiry)
    return AsyncLine(session.send, session.aclose, session.forsake)


def _nothing() -> None:
    """httpx's sockets close with the last reference to them."""


@types.coroutine
def firmly(work: Awaitable[T]) -> Generator[Any, Any, T]:
    """``await work``, cancellable only where it really waits.

    httpx's pool passes through bare checkpoints while it takes and gives back a connection, and a task that is
    cancelled at one of them leaves the connection taken for ever: anyio shields them from its own cancellations, not
    from asyncio's.  Such a cancellation is put off until ``work`` waits for something, or has ended.
    """
    steps: Any = work.__await__()
    step, given = steps.send, None
    late: asyncio.CancelledError | None = None
    while True:
        try:
            future = step(given)
        except StopIteration as done:
            if late is not None:
                raise late from None
            value: T = done.value
            return value
        if late is not None and future is not None and future.cancel():
            late = None
        try:
            step, given = steps.send, (yield future)
        except BaseException as error:
            step, given = steps.throw, error
            if future is None and isinstance(error, asyncio.CancelledError):
                step, given, late = steps.send, None, error


class _Reply:
    """An answer of httpx's, read ``firmly``."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status_code = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def aiter_bytes(self) -> AsyncGenerator[bytes]:
        pieces = self._response.aiter_bytes()
        while (data := await firmly(anext(pieces, None))) is not None:
            yield data

    async def aclose(self) -> None:
        await firmly(self._response.aclose())


def _through(client: httpx.Client) -> Send:
    return lambda letter: client.send(_request(letter), stream=True, follow_redirects=False)


def _athrough(client: httpx.AsyncClient) -> AsyncSend:
    return _firm(lambda request: client.send(request, stream=True, follow_redirects=False))


def _firm(carry: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> AsyncSend:
    async def send(letter: Letter) -> _Reply:
        return _Reply(await firmly(carry(_request(letter))))

    return send


def _request(letter: Letter) -> httpx.Request:
    url = _address(letter.url)
    host = {"host": url.netloc.decode("ascii"), **letter.headers, "content-length": str(len(letter.body))}
    request = httpx.Request(
        "POST", url, headers=host, stream=httpx.ByteStream(letter.body), extensions=_extensions(letter.timeouts)
    )
    request.read()
    return request


@lru_cache(maxsize=1024)
def _address(url: str) -> httpx.URL:
    """Parsed once: it takes a third of all that httpx does to make a request."""
    return httpx.URL(url)


def _extensions(timeouts: Timeouts) -> dict[str, object]:
    """What a client of the caller's, which does not know our clocks, is held to."""
    waits = {
        "connect": timeouts.connect,
        "pool": timeouts.connect,
        "write": timeouts.whole,
        "read": max(timeouts.first_content, timeouts.between_content, timeouts.whole),
    }
    return {"timeout": waits}
