"""A server that costs next to nothing: canned Chat Completions answers, in a process of its own.

    python -m benchmarks.stub             # prints its port, and serves until its input closes

What a request gets is in its path: ``/v1`` an answer, or a stream of 200 chunks where the body asks for one (written
in pieces of ten events); ``/slow/v1`` an answer at the next ``GET /release``; ``/dead/v1`` a 503; ``/big/v1`` an answer
of 2 MB.  ``GET /calls`` gives the number of requests by path.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from benchmarks.count import ANSWER, events

PIECE = 10
WORDS = b"A long answer. " * 140_000


def reply(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def chunked(pieces: list[bytes]) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [head + framed[0], *framed[1:-1], framed[-1] + b"0\r\n\r\n"]


EVENTS = events(200)
STREAM = chunked([b"".join(EVENTS[at : at + PIECE]) for at in range(0, len(EVENTS), PIECE)])
WHOLE = reply(ANSWER)
BIG = reply(ANSWER.replace(b"A short answer.", WORDS))
DEAD = reply(b'{"error":{"message":"The server is overloaded","type":"server_error"}}', b"503 Service Unavailable")


class Stub(asyncio.Protocol):
    """One connection; requests come whole or in parts, one after the other."""

    calls: ClassVar[Counter[str]] = Counter()
    held: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._out = transport
        self._in = b""

    def data_received(self, data: bytes) -> None:
        self._in += data
        while (head := self._in.find(b"\r\n\r\n")) >= 0:
            start = self._in[:head].lower()
            at = start.find(b"content-length:")
            length = int(start[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            end = head + 4 + length
            if len(self._in) < end:
                return
            body, self._in = self._in[head + 4 : end], self._in[end:]
            self._answer(start.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/calls":
            self._out.write(reply(json.dumps(self.calls).encode()))
            return
        if path == "/release":
            while self.held:
                self.held.pop().write(WHOLE)
            self._out.write(reply(b"{}"))
            return
        self.calls[path.split("/")[1]] += 1
        if path.startswith("/slow"):
            self.held.append(self._out)
        elif path.startswith("/dead"):
            self._out.write(DEAD)
        elif path.startswith("/big"):
            self._out.write(BIG)
        elif b'"stream":true' in body.replace(b": ", b":"):
            for piece in STREAM:
                self._out.write(piece)
        else:
            self._out.write(WHOLE)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stub, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def running() -> Iterator[str]:
    """The stub's address, while it runs."""
    command = [sys.executable, "-m", "benchmarks.stub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
