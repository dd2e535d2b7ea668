"""Time as a scripted provider sees it: the real one, or one that moves only when somebody sleeps.

With a ``VirtualClock`` an in-process provider never really waits: a pause advances the clock, a pause longer than the
client's read timeout raises ``httpx.ReadTimeout`` at once.  The loopback server always lives in real time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """``now`` is monotonic, ``wall`` epoch seconds; ``patience`` bounds the pauses of one response, None: unbounded."""

    @property
    def patience(self) -> float | None: ...
    def now(self) -> float: ...
    def wall(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    async def asleep(self, seconds: float) -> None: ...


class RealClock:
    """The machine's own clocks."""

    patience: float | None = None

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still between sleeps.  ``advance`` moves it by hand; threads may share it.

    patience: seconds of pauses in one response after which the client is taken to have given up (default an hour):
    without it, a provider that drips comments for ever would never let go of a client without a timeout.
    """

    def __init__(self, now: float = 0.0, wall: float = 1_795_000_000.0, patience: float | None = 3600.0) -> None:
        self.patience = patience
        self._now = now
        self._offset = wall - now
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)
