"""Scripted providers on real loopback ports: real TCP, real SSE, real resets.

``serve(...)`` runs one asyncio loop in a thread of its own and gives each provider a port.  Requests are parsed with
h11; responses are written by hand, because half of them must be wrong in ways that a proper HTTP library refuses
to write.  Every ``Data`` step is one write; every write is flushed before the next step, so that what is cut here
is cut there.  While an answer is on its way, the socket is watched: the moment the client closes it, the exchange is
abandoned, its time recorded, and nothing more is produced or charged.

A provider that is down keeps its port but does not listen, so that connections are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any

import h11

from failover.testing.provider import Exchange, ScriptedProvider
from failover.testing.served import Served
from failover.testing.steps import Abort, Close, Data, End, Framing, Head, Interim, Stall, Step, Wait

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds: closing sends RST


class Gone(Exception):
    """The connection is to end; nothing more can be sent on it."""


# -------------------------------------------------------------- connection


@dataclass(slots=True, eq=False)
class Connection:
    """One TCP connection of one provider: requests in, steps performed."""

    provider: ScriptedProvider
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    parser: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    )
    served: int = 0
    framing: Framing = "length"
    closing: bool = False

    async def run(self) -> None:
        """Requests one after the other, until either side ends it."""
        with contextlib.suppress(Gone, ConnectionError, h11.RemoteProtocolError):
            while await self._one():
                self.parser.start_next_cycle()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _one(self) -> bool:
        request = await self._event()
        if not isinstance(request, h11.Request):
            return False
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        exchange = self.provider.receive(
            request.method.decode(),
            request.target.decode(),
            ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers),
            bytes(body),
            self.number,
            self.served > 0,
        )
        self.served += 1
        await self._watched(exchange)
        return not self.closing

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        """The next event of the client's; the end of the connection is ``ConnectionClosed``."""
        while (event := self.parser.next_event()) is h11.NEED_DATA:
            self._go_ahead()
            self.parser.receive_data(await self.reader.read(1 << 16))
        return event  # type: ignore[return-value]  # NEED_DATA is handled above

    def _go_ahead(self) -> None:
        if self.parser.they_are_waiting_for_100_continue:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.parser.send(h11.InformationalResponse(status_code=100, headers=[]))

    # ---- answering

    async def _watched(self, exchange: Exchange) -> None:
        """Performs the steps; ends at once when the client goes away."""
        answering = asyncio.ensure_future(self._perform(exchange))
        watching = asyncio.ensure_future(self._client_left())
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            else:
                raise Gone
        finally:
            exchange.abandon()
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)

    async def _client_left(self) -> None:
        """Returns when the client closes; bytes that come early are kept for the next request."""
        while data := await self.reader.read(1 << 16):
            self.parser.receive_data(data)

    async def _perform(self, exchange: Exchange) -> None:
        try:
            for step in exchange:
                await self._do(step, exchange)
        except (Gone, ConnectionError):
            raise
        except Exception as error:  # a scripted answer that could not be made is the test's own fault: show it
            self.provider.errors.append(error)
            self._reset()
        self._pretend_sent()

    async def _do(self, step: Step, exchange: Exchange) -> None:
        match step:
            case Head():
                await self._head(step)
            case Data(content):
                await self._write(self._framed(content))
                exchange.received.pieces += 1
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Stall():
                await asyncio.Event().wait()
            case Interim(status):
                await self._write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n\r\n".encode())
            case Abort():
                self._reset()
            case Close():
                raise Gone
            case End():
                await self._end()

    async def _head(self, head: Head) -> None:
        self.framing = head.framing
        names = {name.lower(): value.lower() for name, value in head.headers}
        self.closing = head.framing == "close" or names.get("connection") == "close"
        lines = [
            f"HTTP/1.1 {head.status} {_phrase(head.status)}",
            *(f"{name}: {value}" for name, value in head.headers),
        ]
        if head.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        await self._write("\r\n".join((*lines, "", "")).encode("latin-1", "replace"))

    def _framed(self, content: bytes) -> bytes:
        if self.framing != "chunked" or not content:
            return content
        return b"%x\r\n%b\r\n" % (len(content), content)

    async def _end(self) -> None:
        if self.framing == "chunked":
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    def _reset(self) -> None:
        """RST instead of FIN: what was sent and not yet read may be lost on the other side, as in life."""
        self.abort()
        raise Gone

    def abort(self) -> None:
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()

    def _pretend_sent(self) -> None:
        """Tells the parser that a response went out, so that it accepts the next request."""
        self.parser.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        self.parser.send(h11.EndOfMessage())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Scripted"


# ------------------------------------------------------------------- ports


class Port:
    """One provider's port.  Lives in the server's loop; ``listen`` follows the provider's switches."""

    def __init__(self, provider: ScriptedProvider, host: str, port: int) -> None:
        self.provider = provider
        self.socket = _bound(host, port)
        self.host, self.number = self.socket.getsockname()[:2]
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.number}"

    async def listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=self.socket)

    async def stop(self) -> None:
        """No more connections; those that are open are reset.  The port stays ours, so that nobody else takes it."""
        server, self._server = self._server, None
        if server is None:
            return
        self.socket = _bound(self.host, self.number)
        server.close()
        for connection in tuple(self._connections.values()):
            connection.abort()

    async def follow(self, refuses: bool) -> None:
        await (self.stop() if refuses else self.listen())

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self.provider, reader, writer, self.provider.connected())
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections[task] = connection
        task.add_done_callback(lambda done: self._connections.pop(done, None))


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds the port; SO_REUSEPORT lets the next holder bind before this one is closed."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named: else asyncio leaves Nagle on
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    bound.setblocking(False)
    return bound


# ------------------------------------------------------------------ server


class Servers(Mapping[str, Served]):
    """Providers on loopback, by name.  A context manager; ``close`` ends it as well."""

    def __init__(self, providers: tuple[ScriptedProvider, ...], host: str = "127.0.0.1", port: int = 0) -> None:
        self._ports = {provider.name: Port(provider, host, port) for provider in providers}
        self._served = {name: Served(port.provider, port.origin) for name, port in self._ports.items()}
        self._own: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted providers", daemon=True)
        self._thread.start()
        for each in self._ports.values():
            self._do(each.follow(each.provider.refuses_connections))
            each.provider.watch(self._follower(each))

    def __getitem__(self, name: str) -> Served:
        return self._served[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        broken = [error for port in self._ports.values() for error in port.provider.errors]
        if broken and kind is None:
            raise ExceptionGroup("scripted providers could not make their answers", broken)

    def close(self) -> None:
        """Ends every connection and the thread."""
        if not self._thread.is_alive():
            return
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        for port in self._ports.values():
            await port.stop()
            port.socket.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _follower(self, port: Port) -> Callable[[bool], None]:
        def follow(refuses: bool) -> None:
            if threading.current_thread() is self._thread:  # thrown from within an answer: it cannot wait for itself
                self._own.add(task := self._loop.create_task(port.follow(refuses)))
                task.add_done_callback(self._own.discard)
            elif self._thread.is_alive():
                self._do(port.follow(refuses))

        return follow

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


def serve(*providers: ScriptedProvider, host: str = "127.0.0.1", port: int = 0) -> Servers:
    """Runs these providers on loopback, each on a port of its own (``port`` 0: any free one), until closed."""
    return Servers(providers, host, port)
