"""A store that is somewhere else: every answer is an ``Io``, as of a store in a file or on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from failover.settings import Retry
from failover.store.base import Ask, Io, Lease, Now
from failover.store.memory import MemoryStore

FAR = ("first_content", "settle", "abandon", "allow_retry", "enable", "snapshot")


class DistantStore:
    """A memory store behind a road.  ``road``: awaited on every journey of the async doors, before it takes effect.

    ``journeys`` names what was asked for, ``arrived`` what took effect, both in order.
    """

    def __init__(self) -> None:
        self.near = MemoryStore(lambda: 0.5, Retry())
        self.journeys: list[str] = []
        self.arrived: list[str] = []
        self.road: Callable[[], Any] = lambda: asyncio.sleep(0)

    def admit(self, ask: Ask, now: Now) -> Io[Any]:
        given: list[Lease] = []

        def do() -> Any:
            answer = self.near.admit(ask, now)
            if isinstance(answer, Lease):
                given.append(answer)
            return answer

        def undo() -> Io[Any] | None:
            return self.far("undo", lambda: self.near.abandon(given[0], 0, now)) if given else None

        return self.far("admit", do, undo)

    def far(self, name: str, do: Callable[[], Any], undo: Any = None) -> Io[Any]:
        self.journeys.append(name)

        def there() -> Any:
            self.arrived.append(name)
            return do()

        async def ado() -> Any:
            await self.road()
            return there()

        return Io(there, ado, undo)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.near, name)
        return method if name not in FAR else lambda *args: self.far(name, lambda: method(*args))
