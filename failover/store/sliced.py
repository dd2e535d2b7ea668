"""Money taken in advance: a slice of each budget per process, from which calls are admitted without a journey.

A slice is one reservation in the shared store, and what it reserves is spent here call by call:

    in the shared store    spent + Σ slices ≤ limit
    within a slice         used + pending ≤ slice, where pending is what calls in flight have drawn

so all processes together never spend more than the limit (a provider's surprise apart, as everywhere).  A slice is
given back with what was used of it when it is too small for the next call, when its period ends, after ``lasts``
seconds, and on ``close``.  A process that is lost gives nothing back: its slices expire in the store, charged in full.
It can lose no more than it has out: one open slice per budget, and those whose last calls are still in flight.

The price of few journeys: near the limit, money lies in the slices of others.  When a whole slice is no longer there,
just what the call needs is taken.  Breakers, limiters and the retry budget are each process's own in this mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from random import random as uniform
from threading import Lock, Timer
from typing import Any, TypeVar

from failover._fork import afresh_after_fork
from failover.errors import ConfigurationError
from failover.rules import budget
from failover.settings import Cache, CircuitBreaker, RateLimit, Retry
from failover.store.base import (
    Ask,
    Charge,
    Gates,
    Io,
    Lease,
    Lost,
    Now,
    Rejection,
    ResponseCache,
    Settlement,
    Snapshot,
    Store,
    Ticket,
    Transition,
)
from failover.store.choice import open_store
from failover.store.memory import MemoryStore
from failover.types import NANO

T = TypeVar("T")
Work = Generator[Io[Any], Any, T]
NOBODY = Gates("slices", "", "", CircuitBreaker(), RateLimit())
"""The target under whose name slices are reserved; it has no limits."""


@dataclass(slots=True, eq=False)
class Slice:
    """Money reserved in the shared store, in nano-dollars.  ``ends``: the wall-clock end of its period."""

    lease: Lease
    room: int
    ends: float | None
    timer: Timer
    used: int = 0
    pending: int = 0
    closing: bool = False

    def fits(self, cost: int, now: Now) -> bool:
        return self.used + self.pending + cost <= self.room and (self.ends is None or now.wall < self.ends)

    @property
    def over(self) -> bool:
        return self.closing and not self.pending


class SlicedStore:
    """A ``Store`` that takes ``slice`` dollars of each budget at a time from ``store``, a URL or a ``Store``.

    lasts: seconds after which what is left of a slice is given back (default 60).
    retry: the rules of the retry budget, as given to ``Failover``.
    """

    def __init__(
        self,
        store: str | Store,
        slice: float | Decimal,  # what it is called everywhere else
        *,
        lasts: float = 60.0,
        retry: Retry | None = None,
        random: Callable[[], float] = uniform,
    ) -> None:
        if isinstance(slice, bool) or not 0 < slice < float("inf"):
            raise ConfigurationError(f"SlicedStore: slice = {slice!r}: write an amount in US dollars above 0")
        if isinstance(lasts, bool) or not 0 < lasts < float("inf"):
            raise ConfigurationError(f"SlicedStore: lasts = {lasts!r}: write a number of seconds above 0")
        rules = retry or Retry()
        self._given = (store, slice, lasts, retry)
        self._far = open_store(store, rules, random) if isinstance(store, str) else store
        self._near = MemoryStore(random, rules)
        self._size = int(Decimal(str(slice)) * NANO)
        self._lasts = lasts
        self._begin()
        afresh_after_fork(self, SlicedStore._begin)

    def _begin(self) -> None:
        """With no money: after a fork, the slices are the parent's."""
        self._lock = Lock()
        self._slices: dict[tuple[str, str], Slice] = {}
        self._drawn: dict[Lease, list[Slice]] = {}
        self._owed: list[Slice] = []  # over, and not given back yet

    def __reduce__(self) -> Any:
        return _rebuilt, self._given

    def __repr__(self) -> str:
        return f"SlicedStore({self._far!r}, {self._given[1]})"

    # ------------------------------------------------------------ the protocol

    def salt(self) -> bytes:
        return self._far.salt()

    def shared_cache(self, rules: Cache) -> ResponseCache | None:
        return self._far.shared_cache(rules)

    def ticket(self) -> Ticket:
        return self._near.ticket()

    def admit(self, ask: Ask, now: Now) -> Lease | Rejection | Io[Lease | Rejection]:
        if not ask.cost:
            return self._near.admit(replace(ask, charges=()), now)
        return self._draw(ask, now) or _io(lambda: self._refill(ask, now))

    def first_content(self, lease: Lease, now: Now) -> Transition | None:
        return self._near.first_content(lease, now)

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Transition | Io[Transition | None] | None:
        transition = self._near.settle(lease, result, now)
        self._spend(lease, lease.ask.cost if result.cost is None else result.cost)
        return _io(lambda: self._pay(now, transition)) if self._owed else transition

    def abandon(self, lease: Lease, cost: int, now: Now) -> Io[None] | None:
        self._near.abandon(lease, cost, now)
        self._spend(lease, cost)
        return _io(lambda: self._pay(now, None)) if self._owed else None

    def renew(self, lease: Lease, expires: float, now: Now) -> None:
        self._near.renew(lease, expires, now)

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        self._near.line_up(ticket, lines, now)

    def leave(self, ticket: Ticket, now: Now) -> None:
        self._near.leave(ticket, now)

    def allow_retry(self, now: Now) -> bool:
        return self._near.allow_retry(now)

    def enable(self, gates: Gates, now: Now) -> Transition | None:
        return self._near.enable(gates, now)

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Snapshot | Io[Snapshot]:
        """Targets are this process's; of money, what lies in slices counts as reserved."""
        here = self._near.snapshot(gates, (), now)
        return _io(lambda: self._look(here, charges, now)) if charges else here

    def close(self) -> None:
        """Give back what is left of the slices; what calls in flight have drawn counts as used."""
        with self._lock:
            for each in self._slices.values():
                self._end(each)
            for each in {each for drawn in self._drawn.values() for each in drawn}:
                each.used, each.pending = each.used + each.pending, 0
                self._end(each)
            self._slices.clear()
            self._drawn.clear()
        with suppress(Lost):
            _run(self._pay(None, None))
        self._far.close()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)
        await self._far.aclose()

    # ----------------------------------------------------------------- money here

    def _draw(self, ask: Ask, now: Now) -> Lease | Rejection | None:
        """Admit out of the slices; None where one is missing or too small."""
        with self._lock:
            slices = [self._slices.get(at) for at in _accounts(ask)]
            found = [each for each in slices if each is not None and each.fits(ask.cost, now)]
            if len(found) < len(slices):
                return None
            answer = self._near.admit(replace(ask, charges=()), now)
            if isinstance(answer, Lease):
                answer.ask = ask
                self._drawn[answer] = found
                for each in found:
                    each.pending += ask.cost
            return answer

    def _spend(self, lease: Lease, cost: int) -> None:
        with self._lock:
            for each in self._drawn.pop(lease, ()):
                each.pending -= lease.ask.cost
                each.used += cost
                if each.over:
                    self._owed.append(each)

    def _end(self, each: Slice) -> None:
        """Nothing more is drawn from it; under the lock."""
        if not each.closing:
            each.closing = True
            each.timer.cancel()
        if each.over and each not in self._owed:
            self._owed.append(each)

    def _time_out(self, at: tuple[str, str]) -> None:
        """A slice has lasted; called by its timer."""
        with self._lock:
            each = self._slices.pop(at, None)
            if each is not None:
                self._end(each)
        with suppress(Lost):  # then the next operation gives it back
            _run(self._pay(None, None))

    # ------------------------------------------------------------- journeys

    def _refill(self, ask: Ask, now: Now) -> Work[Lease | Rejection]:
        """Replace the slices that are too small, and admit."""
        yield from self._pay(now, None)
        for at, charge in _accounts(ask).items():
            with self._lock:
                old = self._slices.get(at)
                if old is not None and old.fits(ask.cost, now):
                    continue
                if old is not None:
                    del self._slices[at]
                    self._end(old)
            yield from self._pay(now, None)
            refused = yield from self._take(at, charge, ask, now)
            if refused is not None:
                return replace(refused, target=ask.gates.target)
        return self._draw(ask, now) or (yield from self._refill(ask, now))

    def _take(self, at: tuple[str, str], charge: Charge, ask: Ask, now: Now) -> Work[Rejection | None]:
        """A new slice, or if there is no room for a whole one, just what this call needs."""
        answer: Any = None
        for size in dict.fromkeys((max(self._size, ask.cost), ask.cost)):
            want = Ask(NOBODY, 0, 0, size, (charge,), self._lasts + ask.ttl, self._far.ticket())
            answer = yield from _fetched(self._far.admit(want, now))
            if isinstance(answer, Lease):
                self._open(at, charge, answer, now)
                return None
        assert isinstance(answer, Rejection)
        return answer

    def _open(self, at: tuple[str, str], charge: Charge, lease: Lease, now: Now) -> None:
        ends = budget.period(charge.budget.per, charge.budget.timezone, now.wall).end
        timer = Timer(self._lasts, self._time_out, (at,))
        timer.daemon = True
        with self._lock:
            other = self._slices.get(at)  # somebody else was quicker
            if other is not None:
                self._end(other)
            self._slices[at] = Slice(lease, lease.ask.cost, ends, timer)
        timer.start()

    def _pay(self, now: Now | None, answer: T) -> Work[T]:
        """Give back the slices that are over."""
        while self._owed:
            with suppress(IndexError):
                each = self._owed.pop()
                try:
                    result = Settlement(None, cost=each.used, input_tokens=0, output_tokens=0)
                    yield from _fetched(self._far.settle(each.lease, result, now or each.lease.admitted))
                except BaseException:
                    self._owed.append(each)
                    raise
        return answer

    def _look(self, here: Snapshot, charges: Sequence[Charge], now: Now) -> Work[Snapshot]:
        there: Snapshot = yield from _fetched(self._far.snapshot((), charges, now))
        return replace(here, budgets=there.budgets)


def _accounts(ask: Ask) -> dict[tuple[str, str], Charge]:
    """Each account once, with the tightest of the budgets that watch it."""
    tightest = sorted(ask.charges, key=lambda charge: -charge.limit)
    return {(charge.book, charge.scope): charge for charge in tightest}


def _fetched(answer: T | Io[T]) -> Work[T]:
    if not isinstance(answer, Io):
        return answer
    try:
        fetched: T = yield answer
    except BaseException:
        back = answer.undo() if answer.undo is not None else None
        if back is not None:
            yield back
        raise
    return fetched


def _io(work: Callable[[], Work[T]]) -> Io[T]:
    """Several journeys as one."""

    async def ado() -> T:
        steps = work()
        try:
            io = next(steps)
            while True:
                try:
                    answer = await io.ado()
                except BaseException as error:
                    io = steps.throw(error)
                else:
                    io = steps.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value

    return Io(lambda: _run(work()), ado)


def _run(steps: Work[T]) -> T:
    try:
        io = next(steps)
        while True:
            try:
                answer = io.do()
            except BaseException as error:
                io = steps.throw(error)
            else:
                io = steps.send(answer)
    except StopIteration as done:
        value: T = done.value
        return value


def _rebuilt(store: Any, size: Any, lasts: float, retry: Retry | None) -> SlicedStore:
    return SlicedStore(store, size, lasts=lasts, retry=retry)
