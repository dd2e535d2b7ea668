"""One attempt over httpx: a request goes out, an ``Exchange`` reads what comes back, an outcome is returned.

Every attempt has its own clocks (see ``Clocks``).  A clock runs only while we wait for the provider, never while
the caller holds a chunk.  Transport errors become ``Failure`` values by one table.  Connections are pooled per
target; for async there is one client per event loop, closed with its loop.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from functools import lru_cache
from math import inf
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx

from failover._deadline import due, exact
from failover._exchange import Exchange
from failover._shaper import chunks_of
from failover.attempter import Item, Job
from failover.dialects.base import Dialect, Model, Wire
from failover.dialects.replay import with_own_names
from failover.settings import Timeouts
from failover.types import Answer, Chunk, Failure, Kind, Outcome, Request

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)
"""Few idle connections: httpx's pool looks at every idle one on each request."""
T = TypeVar("T")
LINGER = 2.0
"""Seconds a stream may stay open after its terminal marker before we close it ourselves."""


class Clocks:
    """The deadlines of one attempt, on the monotonic clock."""

    __slots__ = ("_between", "_content", "_end", "_started")

    def __init__(self, timeouts: Timeouts, budget: float, first_content: float, total: float) -> None:
        self._started = time.monotonic()
        self._end = self._started + min(budget, total)
        self._content = self._started + first_content
        self._between = timeouts.between_content

    def due(self) -> float:
        return min(self._end, self._content)

    def left(self) -> float:
        return max(0.0, self.due() - time.monotonic())

    def content(self) -> None:
        """Content has come, or the caller has come back for more: the time between contents begins anew."""
        self._content = time.monotonic() + self._between

    def ended(self) -> None:
        self._content = time.monotonic() + LINGER

    def late(self) -> Failure:
        """Which clock ran out."""
        waited = time.monotonic() - self._started
        which = "total time" if self._end <= self._content else "content"
        return Failure(Kind.TIMEOUT, f"no more {which} after {waited:.3g} s")


@lru_cache
def certificates(http2: bool) -> ssl.SSLContext:
    """What is trusted, as httpx has it, read once for all pools: it takes 25 ms.  Each protocol sets its own ALPN."""
    return httpx.create_ssl_context()


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


class Clients:
    """The httpx clients of one target, made when first needed.  The caller's own win over ours."""

    def __init__(self, client: httpx.Client | None, async_client: httpx.AsyncClient | None, http2: bool) -> None:
        self._given = client
        self._given_async = async_client
        self._http2 = http2
        self._lock = threading.Lock()
        self._sync: httpx.Client | None = None
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()

    def sync(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        if self._sync is None:
            with self._lock:
                self._sync = self._sync or exact(
                    httpx.Client(verify=certificates(self._http2), http2=self._http2, limits=LIMITS)
                )
        return self._sync

    async def running(self) -> httpx.AsyncClient:
        """The client of the running event loop."""
        if self._given_async is not None:
            return self._given_async
        loop = asyncio.get_running_loop()
        kept = self._async.get(loop)
        if kept is None or kept.client.is_closed:
            kept = _Kept(httpx.AsyncClient(verify=certificates(self._http2), http2=self._http2, limits=LIMITS))
            await kept.until_loop_ends()
            self._async[loop] = kept
        return kept.client

    def close(self) -> None:
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    async def aclose(self) -> None:
        self.close()
        kept = self._async.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.aclose()


class _Kept:
    """An async client that is closed with its event loop.

    ``asyncio.run`` closes every async generator that is still open before it closes its loop; one that holds the
    client is how a client learns that its loop ends.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._keeper = self._keep()

    async def until_loop_ends(self) -> None:
        await anext(self._keeper)

    async def aclose(self) -> None:
        await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.client.aclose()


class HttpAttempter:
    """Attempts at one target over HTTP.

    url: base URL; headers: sent with every request; key: gives the headers that carry the credential;
    noted: told what a dialect had to drop or clamp.
    """

    def __init__(
        self,
        dialect: Callable[[Request], Dialect],
        model: Callable[[], Model],
        url: str,
        headers: Mapping[str, str],
        key: Callable[[], Mapping[str, str]],
        clients: Clients,
        noted: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._dialect = dialect
        self._model = model
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._key = key
        self._clients = clients
        self._noted = noted

    # ---------------------------------------------------------------- whole

    def attempt(self, job: Job) -> Outcome:
        clocks = _whole_clocks(job)
        exchange: Exchange | None = None
        request, wire, read = self._request(job, stream=False)
        try:
            with due(clocks.due()):
                response = self._clients.sync().send(request, stream=True, follow_redirects=False)
                try:
                    exchange = read(response)
                    for data in response.iter_bytes():
                        exchange.whole(data)
                        if exchange.done:
                            break
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _broken(exchange, error, clocks)
        return _named(exchange.end(), wire)

    async def aattempt(self, job: Job) -> Outcome:
        clocks = _whole_clocks(job)
        exchange: Exchange | None = None
        request, wire, read = self._request(job, stream=False)
        try:
            client = await self._clients.running()
            async with asyncio.timeout(clocks.left()):
                response = await firmly(client.send(request, stream=True, follow_redirects=False))
                try:
                    exchange = read(response)
                    pieces = response.aiter_bytes()
                    while not exchange.done and (data := await firmly(anext(pieces, None))) is not None:
                        exchange.whole(data)
                finally:
                    await firmly(response.aclose())
        except TimeoutError:
            return clocks.late()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _broken(exchange, error, clocks)
        return _named(exchange.end(), wire)

    # ------------------------------------------------------------- streamed

    def stream(self, job: Job) -> Generator[Item, None, None]:
        clocks = _stream_clocks(job)
        exchange: Exchange | None = None
        request, wire, read = self._request(job, stream=True)
        try:
            with due(clocks.due()):
                response = self._clients.sync().send(request, stream=True, follow_redirects=False)
            try:
                exchange = read(response)
                pieces = response.iter_bytes()
                while not exchange.done:
                    with due(clocks.due()):
                        data = next(pieces, None)
                    if data is None:
                        break
                    yield from _read(exchange, data, clocks, wire)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield _named(_broken(exchange, error, clocks), wire)
            return
        yield from _last(exchange, wire)

    async def astream(self, job: Job) -> AsyncGenerator[Item, None]:
        clocks = _stream_clocks(job)
        exchange: Exchange | None = None
        request, wire, read = self._request(job, stream=True)
        try:
            client = await self._clients.running()
            async with asyncio.timeout(clocks.left()):
                response = await firmly(client.send(request, stream=True, follow_redirects=False))
            try:
                exchange = read(response)
                pieces = response.aiter_bytes()
                while not exchange.done:
                    async with asyncio.timeout(clocks.left()):
                        data = await firmly(anext(pieces, None))
                    if data is None:
                        break
                    for chunk in _read(exchange, data, clocks, wire):
                        yield chunk
            finally:
                await firmly(response.aclose())
        except TimeoutError:
            yield _named(_late(exchange, clocks), wire)
            return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield _named(_broken(exchange, error, clocks), wire)
            return
        for item in _last(exchange, wire):
            yield item

    # -------------------------------------------------------------- helpers

    def _request(self, job: Job, stream: bool) -> tuple[httpx.Request, Wire, Callable[[httpx.Response], Exchange]]:
        model, dialect = self._model(), self._dialect(job.request)
        wire = dialect.render(job.request, model, stream)
        if wire.notes:
            self._noted(wire.notes)
        headers = {**self._headers, **wire.headers, **self._key()}
        request = httpx.Request(
            "POST",
            self._url + wire.path,
            headers=headers,
            content=wire.body,
            extensions={"timeout": _timeouts(job.timeouts)},
        )

        def read(response: httpx.Response) -> Exchange:
            return Exchange(dialect, model, response.status_code, response.headers, time.time())

        return request, wire, read


def _whole_clocks(job: Job) -> Clocks:
    return Clocks(job.timeouts, job.budget, inf, job.timeouts.whole)


def _stream_clocks(job: Job) -> Clocks:
    return Clocks(job.timeouts, job.budget, job.timeouts.first_content, job.timeouts.total)


def _timeouts(timeouts: Timeouts) -> dict[str, float]:
    """What a client of the caller's, which does not know our clocks, is held to."""
    return {
        "connect": timeouts.connect,
        "pool": timeouts.connect,
        "write": timeouts.whole,
        "read": max(timeouts.first_content, timeouts.between_content, timeouts.whole),
    }


def _read(exchange: Exchange, data: bytes, clocks: Clocks, wire: Wire) -> Iterator[Chunk]:
    """The chunks in a piece of a stream; content starts the clock between contents anew."""
    chunks = exchange.feed(data)
    if not chunks:
        if exchange.ended:
            clocks.ended()
        return
    for chunk in chunks:
        yield with_own_names(chunk, wire.tool_names)
    if exchange.ended:
        clocks.ended()
    else:
        clocks.content()


def _last(exchange: Exchange, wire: Wire) -> Iterator[Item]:
    """What the end of the bytes completes, and the outcome.  An answer that came whole is given as chunks."""
    yield from exchange.last()
    outcome = _named(exchange.end(), wire)
    if isinstance(outcome, Answer) and not exchange.streamed:
        yield from chunks_of(outcome)
    yield outcome


def _late(exchange: Exchange | None, clocks: Clocks) -> Outcome:
    return clocks.late() if exchange is None else exchange.broken(clocks.late())


def _broken(exchange: Exchange | None, error: Exception, clocks: Clocks) -> Outcome:
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        failure = clocks.late()
    else:
        failure = failure_of(error, answered=exchange is not None)
    return failure if exchange is None else exchange.broken(failure)


TRANSPORT: tuple[tuple[type[Exception], Kind, bool], ...] = (
    # (exception, kind, whether the request may have reached the provider)
    (httpx.ConnectTimeout, Kind.CONNECT_TIMEOUT, False),
    (httpx.PoolTimeout, Kind.POOL, False),
    (httpx.ProxyError, Kind.CONNECT, False),
    (httpx.ConnectError, Kind.CONNECT, False),
    (httpx.TimeoutException, Kind.TIMEOUT, True),
    (httpx.DecodingError, Kind.MALFORMED, True),
    (httpx.UnsupportedProtocol, Kind.WRONG_URL, False),
    (httpx.InvalidURL, Kind.WRONG_URL, False),
    (httpx.LocalProtocolError, Kind.WRONG_URL, False),
    (Exception, Kind.DISCONNECTED, True),
)


def failure_of(error: Exception, answered: bool = False) -> Failure:
    """A transport's exception as a value; ``answered`` when status and headers had come."""
    kind, sent = next((kind, sent) for base, kind, sent in TRANSPORT if isinstance(error, base))
    if kind is Kind.CONNECT and _is_tls(error):
        kind = Kind.TLS
    if kind is Kind.DISCONNECTED and answered:
        kind = Kind.CUT
    return Failure(kind, str(error) or type(error).__name__, sent=sent, cause=error)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _named(outcome: Outcome, wire: Wire) -> Outcome:
    """With tool names as the caller knows them."""
    return with_own_names(outcome, wire.tool_names) if isinstance(outcome, Answer) else outcome
