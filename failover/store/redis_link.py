"""The wire between this process and a Redis or Valkey server: one script, one message, one round trip.

A message is a few steps (see ``lua/message.lua``), which the server does in order and at once.  Steps that nobody waits
for are *owed*: they travel in front of the next message.  So do those that could not be delivered, which is how what
happened while the server was away reaches it afterwards; every step bears being done twice or late.

``exchange`` is the conversation as a generator, so that the blocking and the asyncio client share it.  Besides the
usual one message it may have to say more:

    script unknown   the server restarted, or its scripts were flushed: send the whole script
    keys             somebody else's lease has expired, or a period has turned: name the keys that this touches
    clock            the server's clock is in a period that we have not named: name those around its own

A server that has forgotten us (restarted empty, or another one) is lost for a moment, and then begun anew: it is told
what this process knows to be spent or reserved, and takes the largest figure that it hears for each account.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as Late
from redis.retry import Retry

from failover._loops import UntilLoopEnds
from failover.store.base import Charge, Lost, Now
from failover.store.calendar import Calendar, Page

AsyncClient = redis.asyncio.Redis | redis.asyncio.RedisCluster
PARTS = ("records", "breaker", "limiter", "budget", "retry", "state", "cache", "message")
SCRIPT = "\n".join(files("failover.store").joinpath(f"lua/{part}.lua").read_text("utf-8") for part in PARTS)
SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
FIXED = ("meta", "leases", "expiries", "lapsed", "ended", "off", "retries")
"""Keys that any message may touch; ``meta`` must be the first."""
SCHEMA = "1"
FORGOTTEN = "it has forgotten its state (restarted empty?); budgets go on from what this process has seen of them"
MOST_SAID = 6
"""Messages within one exchange; each of the things that can come between comes once, unless the server is unsound."""
TROUBLE = (RedisError, RedisClusterException, OSError)
MOST_OWED = 10_000
MOST_KNOWN = 10_000
CONNECTIONS = 32
"""Connections of one event loop.  A step takes a fraction of a millisecond, so more would only queue on the server."""


@dataclass(slots=True)
class Step:
    """One operation of a message.

    call: what it says, as JSON takes it; what is None is left out.  gates: JSON that is put in under that name.
    keys, targets, pages: what it touches.  charges: budgets whose current page it asks for.  text: what may be large.
    """

    name: str
    call: dict[str, Any]
    gates: str = ""
    targets: tuple[str, ...] = ()
    pages: tuple[tuple[str, str], ...] = ()
    charges: tuple[Charge, ...] = ()
    keys: tuple[str, ...] = ()
    text: str | bytes = ""


class Done(NamedTuple):
    """What the server answered, at which moment on its clock; ``touched``: lines in which there may be more room."""

    moment: float
    touched: list[str]
    answer: Any


@dataclass(slots=True)
class Known:
    """What this process has seen of one account: spent and reserved together, on which page."""

    page: str
    amount: int


class Link:
    """Messages to one namespace of one server.  Raises ``Lost``, and nothing else, when it cannot deliver."""

    def __init__(self, url: str, namespace: str, timeout: float, cluster: bool, by_hand: bool) -> None:
        self._by_hand = by_hand
        self._prefix = f"failover:{{{namespace}}}:"
        self._clients = Clients(url, timeout, cluster)
        self._fixed = [self._prefix + name for name in FIXED]
        self._known: dict[tuple[str, str], Known] = {}
        self._epoch: str | None = None
        self.calendar = Calendar()
        self.salt = secrets.token_hex(16)
        self.owed: deque[Step] = deque(maxlen=MOST_OWED)

    def open(self) -> None:
        """Meet the server: say who we are, and learn the salt.  Blocks."""
        self.run(
            Step("snapshot", {"gates": [], "charges": [], "at": (0.0, 0.0) if self._by_hand else None}), Now(0.0, 0.0)
        )
        self.calendar.ahead = 0.0  # nobody has said what time it is here

    def run(self, step: Step, now: Now) -> Done:
        owed = self._take_owed()
        try:
            return self._clients.drive(self._exchange([*owed, step], now))
        except BaseException:
            self.owed.extendleft(reversed(owed))
            raise

    async def arun(self, step: Step, now: Now) -> Done:
        owed = self._take_owed()
        try:
            return await self._clients.adrive(self._exchange([*owed, step], now))
        except BaseException:
            self.owed.extendleft(reversed(owed))
            raise

    def close(self) -> None:
        self._clients.close()

    async def aclose(self) -> None:
        await self._clients.aclose()

    def begin_afresh(self) -> None:
        """After a fork: the connections, and what is owed, are the parent's."""
        self._clients.begin_afresh()
        self.owed.clear()

    def _take_owed(self) -> list[Step]:
        taken: list[Step] = []
        while self.owed and len(taken) < MOST_OWED:
            try:
                taken.append(self.owed.popleft())
            except IndexError:  # another thread was faster
                break
        return taken

    # ------------------------------------------------------- the conversation

    def _exchange(self, steps: list[Step], now: Now) -> Generator[list[Any], Any, Done]:
        more: set[str] = set()
        for _ in range(MOST_SAID):
            reply = yield from self._say(self._message(steps, now, more))
            match reply:
                case ["done", mono, wall, epoch, salt, touched, seen, answers]:
                    self._heed(float(wall), epoch, salt, seen, now)
                    return Done(float(mono), touched, answers[-1])
                case ["keys", *keys]:
                    more.update(keys)
                case ["clock", wall]:
                    self.calendar.ahead = float(wall) - now.wall
                case ["epoch", _]:  # said once, so that it is told; the next message begins anew
                    self._epoch = None
                    raise Lost(FORGOTTEN)
                case ["schema", found]:
                    raise Lost(f"its state is of schema {found}, this version of failover reads {SCHEMA}")
        raise Lost("it does not come to an answer")

    def _say(self, message: list[Any]) -> Generator[list[Any], Any, Any]:
        reply = yield ["EVALSHA", SHA, *message]
        if isinstance(reply, NoScriptError):
            reply = yield ["EVAL", SCRIPT, *message]
        if isinstance(reply, ResponseError):
            raise Lost(str(reply)) from reply
        return json.loads(reply)

    def _message(self, steps: Sequence[Step], now: Now, more: Iterable[str]) -> list[Any]:
        head: dict[str, Any] = {"epoch": self._epoch}
        if self._epoch is None:
            head = {"open": {"epoch": secrets.token_hex(8), "salt": self.salt}}
            steps = [self._seed(steps[-1].call.get("at")), *steps]
        keys = dict.fromkeys([*self._fixed, *more])
        said: list[Any] = [json.dumps(head)]
        for step in steps:
            keys.update(dict.fromkeys(self._keys(step, now)))
            said += (step.name, self._json(step, now), step.text)
        return [len(keys), *keys, *said]

    def _keys(self, step: Step, now: Now) -> Iterable[str]:
        prefix = self._prefix
        for name in step.keys:
            yield prefix + name
        for target in step.targets:
            yield f"{prefix}desk:{target}"
            yield f"{prefix}log:{target}"
        for book, page in step.pages:
            yield f"{prefix}page:{book}:{page}"
        for charge in step.charges:
            for each in self.calendar.around(charge, now.wall):
                yield f"{prefix}page:{charge.book}:{each.page}"

    def _json(self, step: Step, now: Now) -> bytes:
        call = {name: value for name, value in step.call.items() if value is not None}
        if step.charges:
            call["books"] = {
                charge.book: [_said(page) for page in self.calendar.around(charge, now.wall)] for charge in step.charges
            }
        gates = f', "gates": {step.gates}' if step.gates else ""
        text = json.dumps(call, ensure_ascii=False)
        return f"{text[:-1]}{gates if call else gates[2:]}}}".encode("utf-8", "replace")

    def _seed(self, at: object) -> Step:
        """What this server does not know if it has forgotten: money that is gone, or may be."""
        accounts, pages = [], []
        for (book, scope), known in self._known.items():
            ends = self.calendar.ends(book, known.page)
            if ends != 0.0:
                account = {"book": book, "scope": scope, "page": known.page, "ends": ends, "amount": known.amount}
                accounts.append({name: value for name, value in account.items() if value is not None})
                pages.append((book, known.page))
        return Step("seed", {"accounts": accounts, "at": at}, pages=tuple(pages))

    def _heed(self, wall: float, epoch: str, salt: str, seen: Iterable[Sequence[str]], now: Now) -> None:
        self.calendar.ahead = wall - now.wall
        self._epoch, self.salt = epoch, salt
        for book, page, scope, amount in seen:
            self._known[book, scope] = Known(page, int(float(amount)))
        while len(self._known) > MOST_KNOWN:
            self._known.pop(next(iter(self._known)), None)


def _said(page: Page) -> dict[str, Any]:
    return {name: value for name, value in page._asdict().items() if value is not None}


# -------------------------------------------------------------------- clients


@dataclass(slots=True)
class Clients:
    """One client for threads, and one for each event loop, made when first needed.

    A connection that was found broken is replaced once, at once (the server restarted); a server that does not answer
    within ``timeout`` seconds is given up.
    """

    url: str
    timeout: float
    cluster: bool
    _sync: redis.Redis | redis.RedisCluster | None = None
    _async: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = field(default_factory=WeakKeyDictionary)

    def drive(self, exchange: Generator[list[Any], Any, Done]) -> Done:
        if self._sync is None:
            kind = redis.RedisCluster if self.cluster else redis.Redis
            self._sync = kind.from_url(**self._settings(Retry))
        client = self._sync
        try:
            command = next(exchange)
            while True:
                try:
                    reply: Any = client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own
                except ResponseError as error:
                    reply = error
                command = exchange.send(reply)
        except StopIteration as end:
            done: Done = end.value
            return done
        except TROUBLE as error:
            raise Lost(str(error)) from error

    async def adrive(self, exchange: Generator[list[Any], Any, Done]) -> Done:
        try:
            client = await self._running()
            command = next(exchange)
            while True:
                try:
                    reply: Any = await client.execute_command(*command)
                except ResponseError as error:
                    reply = error
                command = exchange.send(reply)
        except StopIteration as end:
            done: Done = end.value
            return done
        except TROUBLE as error:
            raise Lost(str(error)) from error

    def _settings(self, retry: Callable[..., Any], *errors: type[Exception]) -> dict[str, Any]:
        return {
            "url": self.url,
            "decode_responses": True,
            "encoding_errors": "replace",  # what somebody else has damaged is no entry, but no error either
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": retry(NoBackoff(), 1, supported_errors=(Disconnected, *errors)),
        }

    async def _running(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        kept = self._async.get(loop)
        if kept is None:
            kept = self._async[loop] = _Kept(self._for_loop())
            await kept.begin()
        return kept.client

    def _for_loop(self) -> AsyncClient:
        # An event loop that was held up for longer than the timeout takes an answer that is there for one that is late.
        settings = {**self._settings(AsyncRetry, Late), "max_connections": CONNECTIONS}
        if self.cluster:
            return redis.asyncio.RedisCluster.from_url(**settings)
        return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool.from_url(**settings))

    def close(self) -> None:
        client, self._sync = self._sync, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        self.close()
        kept = self._async.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.aclose()

    def begin_afresh(self) -> None:
        self._sync, self._async = None, WeakKeyDictionary()


class _Kept(UntilLoopEnds):
    """An async client that is closed with its event loop."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client.aclose)
        self.client = client
