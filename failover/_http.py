"""One attempt over httpx: a request goes out, an ``Exchange`` reads what comes back, an outcome is returned.

Every attempt has its own clocks (see ``Clocks``).  A clock runs only while we wait for the provider, never while
the caller holds a chunk.  Transport errors become ``Failure`` values by one table.  Where the bytes go is the affair
of ``Connections``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from math import inf

import httpx

from failover._connections import AsyncReply, Connections, Letter
from failover._deadline import due
from failover._exchange import Exchange
from failover._shaper import chunks_of
from failover.attempter import Item, Job
from failover.dialects.base import Dialect, Model, Wire
from failover.dialects.replay import with_own_names
from failover.failures import classify
from failover.settings import Timeouts
from failover.types import Answer, Chunk, Failure, Kind, Outcome, Request


class NoKey(httpx.ConnectError):
    """The function that gives the key has failed, so nothing can be sent."""


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

    def read(self, ended: bool, content: bool) -> None:
        """A piece was read, and the caller has come back for more: content begins the time between contents anew."""
        if ended:
            self._content = time.monotonic() + LINGER
        elif content:
            self._content = time.monotonic() + self._between

    def late(self) -> Failure:
        """Which clock ran out."""
        waited = time.monotonic() - self._started
        which = "total time" if self._end <= self._content else "content"
        return Failure(Kind.TIMEOUT, f"no more {which} after {waited:.3g} s")


class HttpAttempter:
    """Attempts at one target over HTTP.

    speaker: who answers a request, and in which dialect.  url: base URL.  headers: sent with every request.
    key: gives the headers that carry the credential.  noted: told what a dialect had to drop or clamp.
    """

    def __init__(
        self,
        speaker: Callable[[Request], tuple[Model, Dialect]],
        url: str,
        headers: Mapping[str, str],
        key: Callable[[], Mapping[str, str]],
        connections: Connections,
        noted: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._speaker = speaker
        self._url = url.rstrip("/")
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._key = key
        self._connections = connections
        self._noted = noted

    def look(self, path: str, seconds: float) -> bytes | Failure:
        """What a GET brings with this target's key, over a connection of its own: the body of a 200, or why none."""
        try:
            response = httpx.get(self._url + path, headers={**self._headers, **self._key()}, timeout=seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return failure_of(error)
        if response.status_code == 200:
            return response.content
        return classify(response.status_code, response.headers, response.content, time.time())

    # ---------------------------------------------------------------- whole

    def attempt(self, job: Job) -> Outcome:
        clocks = _whole_clocks(job)
        exchange: Exchange | None = None
        try:
            letter, wire, read = self._letter(job, stream=False)
            send = self._connections.sync()
            with due(clocks.due()):
                response = send(letter)
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
        try:
            letter, wire, read = self._letter(job, stream=False)
            send = await self._connections.running()
            async with asyncio.timeout(clocks.left()):
                response = await send(letter)
                try:
                    exchange = read(response)
                    async for data in response.aiter_bytes():
                        exchange.whole(data)
                        if exchange.done:
                            break
                finally:
                    await response.aclose()
        except TimeoutError:
            return clocks.late()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _broken(exchange, error, clocks)
        return _named(exchange.end(), wire)

    # ------------------------------------------------------------- streamed

    def stream(self, job: Job) -> Generator[Item, None, None]:
        clocks = _stream_clocks(job)
        exchange: Exchange | None = None
        try:
            letter, wire, read = self._letter(job, stream=True)
        except NoKey as error:
            yield failure_of(error)
            return
        try:
            send = self._connections.sync()
            with due(clocks.due()):
                response = send(letter)
            try:
                exchange = read(response)
                pieces = response.iter_bytes()
                while not exchange.done:
                    with due(clocks.due()):
                        data = next(pieces, None)
                    if data is None:
                        break
                    if chunks := _read(exchange, data, wire):
                        yield chunks
                    clocks.read(exchange.ended, bool(chunks))
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield _named(_broken(exchange, error, clocks), wire)
            return
        yield from _last(exchange, wire)

    async def astream(self, job: Job) -> AsyncGenerator[Item, None]:
        clocks = _stream_clocks(job)
        exchange: Exchange | None = None
        try:
            letter, wire, read = self._letter(job, stream=True)
        except NoKey as error:
            yield failure_of(error)
            return
        try:
            send = await self._connections.running()
            async with asyncio.timeout(clocks.left()):
                response = await send(letter)
            try:
                exchange = read(response)
                pieces = response.aiter_bytes()
                while not exchange.done:
                    async with asyncio.timeout(clocks.left()):
                        data = await anext(pieces, None)
                    if data is None:
                        break
                    if chunks := _read(exchange, data, wire):
                        yield chunks
                    clocks.read(exchange.ended, bool(chunks))
            finally:
                await response.aclose()
        except TimeoutError:
            yield _named(_late(exchange, clocks), wire)
            return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield _named(_broken(exchange, error, clocks), wire)
            return
        for item in _last(exchange, wire):
            yield item

    # -------------------------------------------------------------- helpers

    def _letter(self, job: Job, stream: bool) -> tuple[Letter, Wire, Callable[[httpx.Response | AsyncReply], Exchange]]:
        model, dialect = self._speaker(job.request)
        wire = dialect.render(job.request, model, stream)
        if wire.notes:
            self._noted(wire.notes)
        headers = {**self._headers, **wire.headers, **self._key()}
        letter = Letter(self._url + wire.path, headers, wire.body, job.timeouts)

        def read(reply: httpx.Response | AsyncReply) -> Exchange:
            return Exchange(dialect, model, reply.status_code, reply.headers, time.time(), letter.url)

        return letter, wire, read


def _whole_clocks(job: Job) -> Clocks:
    return Clocks(job.timeouts, job.budget, inf, job.timeouts.whole)


def _stream_clocks(job: Job) -> Clocks:
    return Clocks(job.timeouts, job.budget, job.timeouts.first_content, job.timeouts.total)


def _read(exchange: Exchange, data: bytes, wire: Wire) -> list[Chunk]:
    """The chunks in a piece of a stream."""
    chunks = exchange.feed(data)
    return [with_own_names(chunk, wire.tool_names) for chunk in chunks] if wire.tool_names else chunks


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
    return with_own_names(outcome, wire.tool_names) if wire.tool_names and isinstance(outcome, Answer) else outcome
