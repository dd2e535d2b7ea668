"""Exact read deadlines for httpx's synchronous transport.

httpx takes one read timeout per request, and every byte of a keep-alive starts it anew.  Here a thread can set the
moment at which whatever it reads or writes next has to be done; sockets are then given no more than what is left.
"""

from __future__ import annotations

import threading
import time
from typing import Any, TypeVar

import httpcore
import httpx

Transport = TypeVar("Transport", bound=httpx.BaseTransport | None)


class _Due(threading.local):
    at: float | None = None


_due = _Due()


class due:  # noqa: N801  # used as a verb
    """Every read and write of this thread inside the block ends by ``at`` (monotonic)."""

    __slots__ = ("_at", "_before")

    def __init__(self, at: float) -> None:
        self._at = at

    def __enter__(self) -> None:
        self._before, _due.at = _due.at, self._at

    def __exit__(self, *exc: object) -> None:
        _due.at = self._before


def _left(timeout: float | None) -> float | None:
    if _due.at is None:
        return timeout
    left = max(0.001, _due.at - time.monotonic())
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **kwargs))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_tcp(*args, **kwargs))

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(*args, **kwargs))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def exact(transport: Transport) -> Transport:
    """The transport, made to honour ``due``.

    httpcore takes a network backend only where httpx does not pass one on, hence the private names; where they are
    missing, timeouts are merely httpx's own.
    """
    pool = getattr(transport, "_pool", None)
    if pool is not None and hasattr(pool, "_network_backend"):
        pool._network_backend = _Backend(pool._network_backend)
    return transport
