"""The response cache that everyone who shares a Redis or Valkey server shares, too.

It keeps to the size and the age it was given, least recently used entries leave first (``store/lua/cache.lua``).  A
lookup is one round trip; storing takes none, for an entry travels with the settlement of the lease that brought it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from failover.cache.entry import pack, unpack
from failover.settings import Cache
from failover.store.base import CLAIMED, Hit, Io, Now
from failover.store.redis_link import Done, Step
from failover.types import Answer

KEYS = ("cache", "cache_used")


class Post(Protocol):
    """Who carries messages to the server: now, or with the next one."""

    def ask(self, step: Step, now: Now, read: Any, undo: Any = None) -> Io[Any]: ...
    def owe(self, step: Step, now: Now) -> None: ...


class RedisCache:
    """A ``ResponseCache``."""

    def __init__(self, post: Post, rules: Cache) -> None:
        self._post = post
        self._rules = rules

    def get(self, digest: bytes, identities: Iterable[str], now: Now) -> Io[Hit | None]:
        call = {"digest": digest.hex(), "identities": list(identities)}
        return self._post.ask(Step("cache_get", call, keys=KEYS), now, _hit)

    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None:
        entry = pack(answer)
        if entry is not None:
            size, ttl = self._rules.size, self._rules.ttl
            call = {"digest": digest.hex(), "identity": identity, "size": size, "ttl": ttl}
            self._post.owe(Step("cache_put", call, keys=KEYS, text=entry), now)


class ClaimingCache(RedisCache):
    """One that knows who is at an answer: ``Claims``."""

    def __init__(self, post: Post, rules: Cache, owner: str) -> None:
        super().__init__(post, rules)
        self._owner = owner

    def claim(self, digest: bytes, now: Now) -> Io[bool]:
        step = self._about("claim", digest)
        step.call["seconds"] = CLAIMED
        return self._post.ask(step, now, lambda done: done.answer == ["1"], lambda: self.release(digest, now))

    def release(self, digest: bytes, now: Now) -> Io[None]:
        return self._post.ask(self._about("release", digest), now, lambda done: None)

    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None:
        super().put(digest, identity, answer, now)
        self._post.owe(self._about("release", digest), now)

    def _about(self, name: str, digest: bytes) -> Step:
        return Step(name, {"digest": digest.hex(), "owner": self._owner}, keys=(f"claim:{digest.hex()}",))


def _hit(done: Done) -> Hit | None:
    match done.answer:
        case [identity, entry]:
            answer = unpack(entry)
            return None if answer is None else Hit(identity, answer)
    return None
