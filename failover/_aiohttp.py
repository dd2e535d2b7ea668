"""Connections over aiohttp, for the async doors: a fraction of the work of httpx's, also where 500 calls fly at once.

Used where aiohttp is installed.  What it raises is told in httpx's exceptions, so that one table says what they mean.
"""

from __future__ import annotations

import asyncio
import io
import select
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from yarl import URL

if TYPE_CHECKING:
    from failover._connections import Letter

LARGE = 2**20
"""Bytes of a body beyond which it is written in parts, so that it does not hold up the event loop."""
MAX_HEADER = 64 * 1024
"""Bytes of one header: gateways add long ones, and httpx takes them."""

ERRORS: tuple[tuple[type[Exception], type[Exception]], ...] = (
    # (of aiohttp, what it is in httpx)
    (ConnectionTimeoutError, httpx.ConnectTimeout),
    (ClientConnectorError, httpx.ConnectError),
    (InvalidURL, httpx.UnsupportedProtocol),
    (ClientPayloadError, httpx.RemoteProtocolError),
    (ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
    (ValueError, httpx.LocalProtocolError),  # of a header that cannot be sent
)
RAISED = tuple(theirs for theirs, _ in ERRORS)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it would rather not be inherited from

    class _QuietSession(ClientSession):
        """One that may be left behind, with its event loop or with its ``Failover``: that is nobody's mistake."""

        def __del__(self, *given: object) -> None:
            """Says nothing."""


class _Connector(TCPConnector):
    """Connections that may be left behind just so, and that are not used again once their server has ended them."""

    async def _get(self, *given: Any) -> Connection | None:
        """A kept one to use again.  What ended it may have come while the event loop stood still, and be unread yet."""
        while (found := await super()._get(*given)) is not None and _is_readable(found):
            found.close()
        return found

    def forsake(self) -> None:
        """Closes what is kept, although the event loop is closed and would not take the last step."""
        for transport in [protocol.transport for kept in self._conns.values() for protocol, _ in kept]:
            with suppress(Exception):  # of a private name, for want of a public one; another loop may not have it
                transport._call_connection_lost(None)  # type: ignore[union-attr]

    def __del__(self, *given: object) -> None:
        """Says nothing."""


def _is_readable(connection: Connection) -> bool:
    """Whether there is anything to read.  On a kept connection, that can only be its end."""
    transport = connection.transport
    number = transport.get_extra_info("socket").fileno() if transport is not None else -1
    if number < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select((number,), (), (), 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


class Session:
    """The connections of one target in one event loop; made on that loop."""

    def __init__(self, verify: ssl.SSLContext, keepalive: float | None) -> None:
        self._connector = _Connector(limit=0, ssl=verify, keepalive_timeout=keepalive)
        self._session = _QuietSession(
            connector=self._connector,
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def send(self, letter: Letter) -> Reply:
        body = letter.body
        try:
            response = await self._session.post(
                _address(letter.url),
                data=body if len(body) < LARGE else io.BytesIO(body),
                headers=letter.headers,
                timeout=_timeout(letter.timeouts.connect),
                allow_redirects=False,
            )
        except RAISED as error:
            raise translated(error) from error
        return Reply(response)

    async def aclose(self) -> None:
        await self._session.close()

    def forsake(self) -> None:
        self._connector.forsake()


class Reply:
    """An answer under way, with the names that httpx has for its parts."""

    __slots__ = ("_response", "headers", "status_code")

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.status_code = response.status
        self.headers: Mapping[str, str] = response.headers

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body as it comes, without what it was compressed with."""
        try:
            async for data in self._response.content.iter_any():
                yield data
        except RAISED as error:
            raise translated(error) from error

    async def aclose(self) -> None:
        """One that was cut short takes its connection with it, before whoever leaves it goes on."""
        if self._response.connection is not None:
            self._response.close()
            await asyncio.sleep(0)  # a transport closes its socket in the loop's next round


def translated(error: Exception) -> Exception:
    """The exception that httpx would have raised."""
    said = _said(error)
    if isinstance(error.__cause__, ContentEncodingError):
        return httpx.DecodingError(said)
    ours = next(ours for theirs, ours in ERRORS if isinstance(error, theirs))
    return ours(said)


def _said(error: BaseException) -> str:
    """In words.  Where aiohttp cannot read an answer, it puts "400" before them, which no server has sent."""
    while isinstance(error, ClientPayloadError | ClientResponseError) and error.__cause__ is not None:
        error = error.__cause__
    said = getattr(error, "message", "") if isinstance(error, ClientResponseError | HttpProcessingError) else str(error)
    return str(said) or type(error).__name__


@lru_cache(maxsize=1024)
def _address(url: str) -> URL:
    """As httpx reads it: hosts in ASCII, and what is percent-encoded stays so."""
    return URL(str(httpx.URL(url)), encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect: float) -> ClientTimeout:
    return ClientTimeout(total=None, connect=connect)
