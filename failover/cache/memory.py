"""The response cache in this process: least recently used entries leave first, old ones are never served.

An entry is stored under the request's digest and the model that answered (``identity``), and looked up with one
digest for every model that may serve, in their order, so that spreading load does not divide the hit rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from failover.settings import Cache
from failover.store.base import Hit, Now
from failover.types import Answer


class MemoryCache:
    """LRU + TTL over ``(digest, identity)``; thread-safe; O(1) for a miss however many targets there are."""

    def __init__(self, config: Cache) -> None:
        self._size = config.size
        self._ttl = config.ttl
        self.begin_afresh()

    def begin_afresh(self) -> None:
        """Empty, with a lock that nobody holds: in a forked child, a thread of its parent may have."""
        self._entries: OrderedDict[tuple[bytes, str], tuple[float, Answer]] = OrderedDict()
        self._digests: dict[bytes, int] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, identities: Iterable[str], now: Now) -> Hit | None:
        with self._lock:
            if digest not in self._digests:
                return None
            return next((hit for each in identities if (hit := self._fresh(digest, each, now.mono))), None)

    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None:
        key = (digest, identity)
        with self._lock:
            if key not in self._entries:
                self._digests[digest] = self._digests.get(digest, 0) + 1
            self._entries[key] = (now.mono + self._ttl, answer)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._digests.clear()

    def _fresh(self, digest: bytes, identity: str, now: float) -> Hit | None:
        key = (digest, identity)
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, answer = entry
        if expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return Hit(identity, answer)

    def _drop(self, key: tuple[bytes, str]) -> None:
        del self._entries[key]
        left = self._digests[key[0]] - 1
        if left:
            self._digests[key[0]] = left
        else:
            del self._digests[key[0]]
