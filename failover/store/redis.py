"""The gates of many processes on many hosts: their state lives on a Redis or Valkey server.

The decisions are made by a script on the server (``lua/``), which says in Lua what ``state.py`` and the rules say in
Python: one ``admit`` and one ``settle`` are one round trip each.  All that is here is what stays in this process: who
waits in which line, and the translation between the server's clock and ours.

Every lease bears a name that is made here, so whatever goes wrong on the way leaves nothing behind: an ``admit`` whose
answer was lost is followed by an ``abandon``, which may overtake it.  What could not be delivered is owed, and travels
with the next message.

Order of arrival is order of service within a process.  Between processes it is not: the head of a line looks again
every ``RECHECK`` seconds or so whether another process has made room, and whoever comes first is served.

After ``fork`` the child begins afresh: names, lines and connections are its parent's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from failover._checked import without_userinfo
from failover._fork import afresh_after_fork
from failover.cache.redis import ClaimingCache, RedisCache
from failover.errors import ConfigurationError
from failover.settings import Cache, Retry
from failover.store.base import (
    Ask,
    BudgetState,
    Charge,
    Gates,
    Io,
    Lease,
    Lost,
    Now,
    Reason,
    Rejection,
    ResponseCache,
    Settlement,
    Snapshot,
    TargetState,
    Ticket,
    Transition,
)
from failover.store.redis_link import Done, Link, Step
from failover.store.state import desk_line
from failover.store.waiting import Place, WaitingRoom

T = TypeVar("T")
RECHECK = 0.2
"""Seconds after which the head of a line looks whether another process has made room; half as much again by chance."""
EVER = 1e12
"""Seconds that stand for infinity on the wire."""


class RedisStore:
    """A ``Store``.

    url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` with TLS, or ``unix://path``; other options of
        redis-py's ``from_url`` may follow as a query.
    namespace: who shares one state says the same (default ``default``).
    timeout: seconds until a server that does not answer counts as gone (default 1).
    cluster: the address is one of a Redis Cluster's; the whole namespace lives on one of its nodes.
    rules: those of the retry budget.  random: uniform in [0, 1), for jitter.
    by_hand: the moments that callers hand in are taken for the server's own; for tests, which set their clocks.
    """

    def __init__(
        self,
        url: str,
        *,
        random: Callable[[], float],
        rules: Retry | None = None,
        namespace: str = "default",
        timeout: float = 1.0,
        cluster: bool = False,
        by_hand: bool = False,
    ) -> None:
        _check(namespace, timeout)
        self._shown = without_userinfo(url)
        self._random = random
        self._rules = rules or Retry()
        self._by_hand = by_hand
        self._link = Link(url, namespace, timeout, cluster, by_hand)
        self._rules_json: dict[int, tuple[Gates, str]] = {}
        self._begin()
        afresh_after_fork(self, RedisStore._after_fork)

    def _begin(self) -> None:
        self._name = secrets.token_hex(8)
        self._leases = count(1)
        self._numbers = count(1)
        self._lines = WaitingRoom()

    # ------------------------------------------------------------ the protocol

    def salt(self) -> bytes:
        try:
            self._link.open()
        except (Lost, TypeError) as error:  # TypeError: an option that redis-py does not know
            raise ConfigurationError(f"store = {self._shown!r} cannot be used: {error}") from error
        except ValueError:  # its text may quote what stands in a password's place
            raise ConfigurationError(f"store = {self._shown.partition('/')[0] + '//...'!r}: {NO_URL}") from None
        return bytes.fromhex(self._link.salt)

    def shared_cache(self, rules: Cache) -> ResponseCache:
        return ClaimingCache(self, rules, self._name) if rules.single_flight else RedisCache(self, rules)

    def ticket(self) -> Ticket:
        return Ticket(next(self._numbers))

    def admit(self, ask: Ask, now: Now) -> Io[Lease | Rejection]:
        name = f"{self._name}-{next(self._leases)}"
        changes, ahead = self._lines.places(ask, now)
        call = {
            "lease": name,
            "input_tokens": ask.input_tokens,
            "output_tokens": ask.output_tokens,
            "cost": ask.cost,
            "ttl": min(ask.ttl, EVER),
            "patience": min(ask.patience, EVER),
            "counts": not ask.ticket.counted or None,
            "ahead": ahead.pop(0),
            "charges": [_charge(charge, before) for charge, before in zip(ask.charges, ahead, strict=True)],
        }
        step = Step("admit", call, self._gates(ask.gates), (ask.gates.target,), charges=ask.charges)

        def read(done: Done) -> Lease | Rejection:
            return self._admitted(ask, name, done, now, changes)

        return self.ask(step, now, read, lambda: self._forget(name, ask, now))

    def _forget(self, name: str, ask: Ask, now: Now) -> Io[None]:
        """Give back a lease of which nobody knows whether it was, or will be, given."""
        step = Step("abandon", {"lease": name, "cost": 0}, "", (ask.gates.target,), charges=ask.charges)
        return self.ask(step, now, _nothing)

    def first_content(self, lease: Lease, now: Now) -> Io[Transition | None] | None:
        """Only a probe's is told at once; any other is owed, and told with the next message."""
        call = {"lease": lease.id, "random": self._random()}
        step = self._about(lease, "first_content", call)
        if lease.probe:
            return self.ask(step, now, _transition)
        self.owe(step, now)
        return None

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Io[Transition | None]:
        call = {"lease": lease.id, "random": self._random(), "result": _result(result)}
        return self.ask(self._about(lease, "settle", call), now, _transition)

    def abandon(self, lease: Lease, cost: int, now: Now) -> Io[None]:
        return self.ask(self._about(lease, "abandon", {"lease": lease.id, "cost": cost}), now, _nothing)

    def renew(self, lease: Lease, expires: float, now: Now) -> Io[None]:
        call = {"lease": lease.id, "seconds": min(expires - now.mono, EVER)}
        return self.ask(self._about(lease, "renew", call), now, _nothing)

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        self._lines.do(lambda here: here.stand(ticket, lines, now.mono))

    def leave(self, ticket: Ticket, now: Now) -> None:
        if ticket.lines:
            self._lines.do(lambda here: here.leave(ticket, now.mono))

    def allow_retry(self, now: Now) -> Io[bool]:
        call = {"floor": self._rules.floor, "budget": self._rules.budget}
        return self.ask(Step("allow_retry", call), now, lambda done: done.answer == ["1"])

    def enable(self, gates: Gates, now: Now) -> Io[Transition | None]:
        return self.ask(Step("enable", {}, self._gates(gates), (gates.target,)), now, _transition)

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Io[Snapshot]:
        shown = [json.loads(self._gates(each)) for each in gates]
        call = {"gates": shown, "charges": [_charge(charge, 0) for charge in charges]}
        step = Step("snapshot", call, "", tuple(each.target for each in gates), charges=tuple(charges))

        def read(done: Done) -> Snapshot:
            targets, budgets = done.answer
            return Snapshot(
                tuple(self._target(each, row, done, now) for each, row in zip(gates, targets, strict=True)),
                tuple(_budget(charge, row) for charge, row in zip(charges, budgets, strict=True)),
            )

        return self.ask(step, now, read)

    def close(self) -> None:
        self._link.close()

    async def aclose(self) -> None:
        await self._link.aclose()

    # ---------------------------------------------------------------- messages

    def ask(
        self, step: Step, now: Now, read: Callable[[Done], T], undo: Callable[[], Io[Any] | None] | None = None
    ) -> Io[T]:
        """What is yet to be done for the answer to a step.  Raises ``Lost`` when it does not come."""
        self._stamp(step, now)

        def do() -> T:
            return self._arrived(self._link.run(step, now), read, now)

        async def ado() -> T:
            return self._arrived(await self._link.arun(step, now), read, now)

        return Io(do, ado, undo)

    def owe(self, step: Step, now: Now) -> None:
        """Nobody waits for it: it travels with the next message."""
        self._stamp(step, now)
        self._link.owed.append(step)

    def _stamp(self, step: Step, now: Now) -> None:
        if self._by_hand:
            step.call["at"] = now

    def _arrived(self, done: Done, read: Callable[[Done], T], now: Now) -> T:
        if done.touched:
            self._lines.do(lambda here: here.touch(done.touched, now.mono))
        return read(done)

    def _about(self, lease: Lease, name: str, call: dict[str, Any]) -> Step:
        """A step about a lease that was given."""
        gates = lease.ask.gates
        accounts = dict.fromkeys((charge.book, charge.scope) for charge in lease.ask.charges)
        pages = tuple((book, page) for (book, _), page in zip(accounts, lease.period, strict=True))
        return Step(name, call, self._gates(gates), (gates.target,), pages)

    def _gates(self, gates: Gates) -> str:
        """The rules of a target as JSON; the same object is written down once."""
        found = self._rules_json.get(id(gates))
        if found is None or found[0] is not gates:
            credential = gates.credential or f"target {gates.target}"
            said = {
                "target": gates.target,
                "credential": credential,
                "credential_model": f"{credential}\n{gates.model}",
                "breaker": _present(asdict(gates.breaker)),
                "limits": _present(asdict(gates.limits)),
                "reenable_after": gates.reenable_after,
            }
            found = self._rules_json[id(gates)] = (gates, json.dumps(_present(said), ensure_ascii=False))
        return found[1]

    # ----------------------------------------------------------------- answers

    def _admitted(self, ask: Ask, name: str, done: Done, now: Now, changes: int) -> Lease | Rejection:
        match done.answer:
            case ["lease", expires, generation, probe, moved, pages]:
                ask.ticket.counted = True
                self.leave(ask.ticket, now)
                ends = now.mono + float(expires) - done.moment
                return Lease(name, ask, now, ends, int(generation), bool(probe), tuple(pages), _moved(moved))
            case ["no", reason, detail, retry_at, line, recheck, turn]:
                moments = _local(retry_at, done, now), _local(recheck, done, now)
                if not line:
                    return Rejection(ask.gates.target, Reason(reason), detail, moments[0])
                seen = changes + bool(done.touched)  # what this message itself gave back was no news to its answer
                asks = self._lines.refused(ask.ticket, line, bool(turn), seen, now)
                again = self._recheck(asks, moments, now)
                return Rejection(ask.gates.target, Reason(reason), detail, moments[0], line, again)
        raise AssertionError(done.answer)

    def _recheck(self, asks: Place, moments: tuple[float | None, float | None], now: Now) -> float | None:
        """When to ask again uncalled: other processes make room without a call, but only the head need look."""
        retry_at, recheck = moments
        soon = now.mono + RECHECK * (1.0 + 0.5 * self._random()) if asks.first and retry_at is None else None
        return min((each for each in (recheck, asks.overtaken, soon) if each is not None), default=None)

    def _target(self, gates: Gates, row: Sequence[str], done: Done, now: Now) -> TargetState:
        state, until, failures, flying, detail = row
        waiting = self._lines.waiting(desk_line(gates.target))
        moment = _local(until, done, now)
        return TargetState(gates.target, state, moment, int(failures), int(flying), waiting, detail)

    def _after_fork(self) -> None:
        self._link.begin_afresh()
        self._begin()


# -------------------------------------------------------------- on the wire


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is None: JSON's null is not Lua's nil."""
    return {name: value for name, value in values.items() if value is not None}


def _charge(charge: Charge, ahead: int) -> dict[str, Any]:
    said = {"book": charge.book, "scope": charge.scope, "title": charge.title}
    return {**said, "limit": charge.limit, "ahead": ahead}


def _result(result: Settlement) -> dict[str, Any]:
    said = {name: getattr(result, name) for name in _TOLD}
    said["ends"] = result.until
    if result.hint is not None:
        said["hint"] = _present(asdict(result.hint))
    return _present(said)


_TOLD = (
    "succeeded",
    "blamed",
    "latency",
    "input_tokens",
    "output_tokens",
    "cost",
    "pause",
    "slow_down",
    "disable",
    "detail",
)


def _local(moment: str, done: Done, now: Now) -> float | None:
    """A moment of the server's clock on ours; none where nothing was said."""
    return now.mono + (float(moment) - done.moment) if moment else None


def _moved(moved: Sequence[str]) -> Transition | None:
    return Transition(*moved) if moved else None


def _transition(done: Done) -> Transition | None:
    return _moved(done.answer)


def _nothing(done: Done) -> None:
    """Nothing is read from the answer."""


def _budget(charge: Charge, row: Sequence[str]) -> BudgetState:
    spent, reserved, ends = row
    return BudgetState(charge.scope, charge.limit, int(spent), int(reserved), float(ends) if ends else None)


# ------------------------------------------------------------------ by URL


NO_URL = (
    "this is no Redis URL; write redis://[user:password@]host:6379/0, and %-encode what is special in a password "
    "(/ as %2F)"
)
SCHEMES = {"valkey": "redis", "valkeys": "rediss"}
OURS = ("namespace", "timeout", "cluster")
"""What a URL's query may say to us; the rest is redis-py's."""


def open_url(url: str, rules: Retry, random: Callable[[], float]) -> RedisStore:
    """The store at ``redis://...?namespace=...&timeout=...&cluster=true``; nothing is sent yet.

    Raises ``ConfigurationError`` for an option with a value that it cannot have.
    """
    address, _, said = url.partition("?")
    scheme, colon, rest = address.partition(":")
    query = dict(parse_qsl(said, keep_blank_values=True))
    ours = {name: query.pop(name) for name in OURS if name in query}
    plain = f"{SCHEMES.get(scheme, scheme)}{colon}{rest}" + (f"?{urlencode(query)}" if query else "")
    return RedisStore(
        plain,
        random=random,
        rules=rules,
        namespace=ours.get("namespace", "default"),
        timeout=_number(ours.get("timeout", "1")),
        cluster=ours.get("cluster", "").lower() in ("true", "1", "yes"),
    )


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise ConfigurationError(f"store: timeout = {written!r}: write a number of seconds above 0") from None


def _check(namespace: str, timeout: float) -> None:
    if not 0 < timeout < EVER:
        raise ConfigurationError(f"store: timeout = {timeout!r}: write a number of seconds above 0")
    if not namespace or not namespace.isprintable() or set(namespace) & set("{} "):
        raise ConfigurationError(f"store: namespace = {namespace!r}: write a name without spaces and braces")
