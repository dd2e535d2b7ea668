"""The response cache in the file of an SQLite store, shared by all who share the file.

It keeps to the size and the age it was given: least recently used entries leave first, old ones are never served.  An
entry is written with the operation that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from failover.cache.entry import pack, unpack
from failover.settings import Cache
from failover.store.base import Hit, Io, Now
from failover.store.rows import Rows
from failover.types import Answer


class Work(Protocol):
    """Who does steps over the file's rows: now, or with the next one; ``at``: the moment that counts in the file."""

    def io(self, step: Callable[[Rows], Any]) -> Io[Any]: ...
    def later(self, step: Callable[[Rows], Any]) -> None: ...
    def at(self, rows: Rows, now: Now) -> Now: ...


class SQLiteCache:
    """A ``ResponseCache``."""

    def __init__(self, work: Work, rules: Cache) -> None:
        self._work = work
        self._rules = rules

    def get(self, digest: bytes, identities: Iterable[str], now: Now) -> Io[Hit | None]:
        names = tuple(identities)
        return self._work.io(lambda rows: self._get(rows, digest, names, now))

    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None:
        entry = pack(answer)
        if entry is not None:
            self._work.later(lambda rows: self._put(rows, digest, identity, entry, now))

    def _get(self, rows: Rows, digest: bytes, identities: Sequence[str], now: Now) -> Hit | None:
        at = self._work.at(rows, now)
        found = rows.db.execute("SELECT identity, entry FROM cache WHERE digest = ? AND expires > ?", (digest, at.mono))
        entries = dict(found.fetchall())
        for identity in identities:
            if identity in entries and (answer := unpack(entries[identity])) is not None:
                rows.db.execute(
                    "UPDATE cache SET used = (SELECT max(used) + 1 FROM cache) WHERE digest = ? AND identity = ?",
                    (digest, identity),
                )
                return Hit(identity, answer)
        return None

    def _put(self, rows: Rows, digest: bytes, identity: str, entry: bytes, now: Now) -> None:
        at = self._work.at(rows, now)
        rows.db.execute(
            "INSERT OR REPLACE INTO cache VALUES(?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM cache), ?)",
            (digest, identity, at.mono + self._rules.ttl, entry),
        )
        rows.db.execute("DELETE FROM cache WHERE expires <= ?", (at.mono,))
        rows.db.execute(
            "DELETE FROM cache WHERE used <= (SELECT used FROM cache ORDER BY used DESC LIMIT 1 OFFSET ?)",
            (self._rules.size,),
        )
