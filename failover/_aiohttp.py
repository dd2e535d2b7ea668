"""Connections over aiohttp, for the async doors: a fraction of the work of httpx's, also where 500 calls fly at once.

Used where aiohttp is installed.  What it raises is told in httpx's exceptions, so that one table says what they mean.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

if TYPE_CHECKING:
    from failover._connections import Letter

LARGE = 2**20
"""Bytes of a body beyond which it is written in parts, so that it does not hold up the event loop."""

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


class _QuietConnector(TCPConnector):
    """The same of the connections: they are closed, without a word."""

    def __del__(self, *given: object) -> None:
        with suppress(Exception):  # at the very end of a process there may be nothing left to do it with
            self._close_immediately()  # type: ignore[attr-defined]  # private; without it the loop's end closes them


class Session:
    """The connections of one target in one event loop; made on that loop."""

    def __init__(self, verify: ssl.SSLContext, keepalive: float | None) -> None:
        connector = _QuietConnector(limit=0, ssl=verify, keepalive_timeout=keepalive)
        quiet = ("Accept", "Accept-Encoding", "User-Agent")
        self._session = _QuietSession(connector=connector, cookie_jar=DummyCookieJar(), skip_auto_headers=quiet)

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
    if isinstance(error.__cause__, ContentEncodingError):
        return httpx.DecodingError(str(error))
    ours = next(ours for theirs, ours in ERRORS if isinstance(error, theirs))
    return ours(str(error) or type(error).__name__)


@lru_cache(maxsize=1024)
def _address(url: str) -> URL:
    """As httpx reads it: hosts in ASCII, and what is percent-encoded stays so."""
    return URL(str(httpx.URL(url)), encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect: float) -> ClientTimeout:
    return ClientTimeout(total=None, connect=connect)
