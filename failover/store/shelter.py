"""What goes on when a store outside this process is lost: full, locked, read-only, unreachable, slow.

A store says so by raising ``Lost``.  From then on breakers, limiters and the retry budget go on in this process, in
memory; a call under a hard budget is refused, or, if so chosen, kept within a budget that this process keeps for
itself until the store is back.  The store is asked again at most once in ``PAUSE`` seconds, by a call that happens to
pass, and with the first answer everything is as before.  Loss and return are told once each.

Nothing is forgotten that is owed to the store: leases that could not be given back, and admissions of which nobody
knows whether they took effect, are handed in one by one with the operations that follow the return.  Should this
process end before, they expire in the store by themselves, charged in full.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from failover.errors import StoreUnavailable
from failover.settings import Cache
from failover.store.base import (
    Ask,
    Charge,
    Claims,
    Gates,
    Hit,
    Io,
    Lease,
    Lost,
    Now,
    Reason,
    Rejection,
    ResponseCache,
    Settlement,
    Snapshot,
    Store,
    Ticket,
    Transition,
)
from failover.store.memory import MemoryStore
from failover.types import Answer

T = TypeVar("T")
PAUSE = 1.0
"""Seconds between two attempts to reach a lost store."""
AT_ONCE = 20
"""Operations owed that one operation hands in after the return."""
MOST_OWED = 10_000
"""Operations kept for a lost store; of more, the oldest are left to expire."""


class Shelter:
    """A ``Store`` in front of one that can be lost.

    near: makes the store in memory that stands in.  spend: budgets go on there too, each process with its own.
    lost: is told why it was lost; back: after how many seconds it is back.
    clock: the moment at which that is found out, which for a store that hangs is long after it was asked.
    """

    def __init__(
        self,
        far: Store,
        near: Callable[[], MemoryStore],
        spend: bool,
        lost: Callable[[str], None],
        back: Callable[[float], None],
        clock: Callable[[], Now],
    ) -> None:
        self._far = far
        self._make_near = near
        self._spend = spend
        self._tell_lost = lost
        self._tell_back = back
        self._clock = clock
        self._near: tuple[int, MemoryStore] | None = None
        self._lock = Lock()
        self._cause = ""  # why it is lost; empty: it is not
        self._since = 0.0
        self._trial = 0.0  # when it may be tried again
        self._owed: deque[Callable[[], Any]] = deque(maxlen=MOST_OWED)
        self._leases: dict[Lease, MemoryStore] = {}  # those that were given here
        self._standing: dict[Ticket, MemoryStore] = {}  # those that stand in lines here

    # ------------------------------------------------------------ the protocol

    def salt(self) -> bytes:
        return self._far.salt()

    def shared_cache(self, rules: Cache) -> ResponseCache | None:
        far = self._far.shared_cache(rules)
        if isinstance(far, Claims):
            return _ShelteredClaims(self, far)
        return None if far is None else _ShelteredCache(self, far)

    def ticket(self) -> Ticket:
        return self._far.ticket()

    def admit(self, ask: Ask, now: Now) -> Lease | Rejection | Io[Lease | Rejection]:
        if self._away(now):
            return self._admit_here(ask, now)
        self._quit(ask.ticket, now)
        answer = self._far.admit(ask, now)
        if not isinstance(answer, Io):
            return answer
        undo = answer.undo or _nothing
        io = self._reach(answer, lambda: self._admit_here(ask, now), now, owed=undo)
        return Io(io.do, io.ado, lambda: self._give(undo, now))

    def first_content(self, lease: Lease, now: Now) -> Transition | Io[Transition | None] | None:
        if (near := self._leases.get(lease)) is not None:
            return near.first_content(lease, now)
        return None if self._away(now) else self._far_or(self._far.first_content(lease, now), _nothing, now)

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Transition | Io[Transition | None] | None:
        if (near := self._leases.pop(lease, None)) is not None:
            return near.settle(lease, result, now)
        return self._give(lambda: self._far.settle(lease, result, now), now)

    def abandon(self, lease: Lease, cost: int, now: Now) -> Io[None] | None:
        if (near := self._leases.pop(lease, None)) is not None:
            near.abandon(lease, cost, now)
            return None
        return self._give(lambda: self._far.abandon(lease, cost, now), now)

    def renew(self, lease: Lease, expires: float, now: Now) -> Io[None] | None:
        if (near := self._leases.get(lease)) is not None:
            near.renew(lease, expires, now)
            return None
        return self._give(lambda: self._far.renew(lease, expires, now), now)

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        if self._cause:
            self._far.leave(ticket, now)
            self._standing.setdefault(ticket, self._here()).line_up(ticket, lines, now)
        else:
            self._quit(ticket, now)
            self._far.line_up(ticket, lines, now)

    def leave(self, ticket: Ticket, now: Now) -> None:
        if ticket in self._standing:
            self._quit(ticket, now)
        else:
            self._far.leave(ticket, now)

    def allow_retry(self, now: Now) -> bool | Io[bool]:
        if self._away(now):
            return self._here().allow_retry(now)
        return self._far_or(self._far.allow_retry(now), lambda: self._here().allow_retry(now), now)

    def enable(self, gates: Gates, now: Now) -> Transition | Io[Transition | None] | None:
        if self._cause:
            self._here().enable(gates, now)
        return self._give(lambda: self._far.enable(gates, now), now)

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Snapshot | Io[Snapshot]:
        """Raises ``StoreUnavailable`` where money is asked for that only the lost store knows."""

        def here() -> Snapshot:
            if charges and not self._spend:
                raise StoreUnavailable(f"what was spent is not known: {self._cause}")
            return self._here().snapshot(gates, charges, now)

        return here() if self._away(now) else self._far_or(self._far.snapshot(gates, charges, now), here, now)

    def close(self) -> None:
        self._far.close()

    async def aclose(self) -> None:
        await self._far.aclose()

    # ------------------------------------------------------------- while it is lost

    def _here(self) -> MemoryStore:
        """The store that stands in: one per process, for after a fork the other's is none of ours."""
        pid = os.getpid()
        if self._near is None or self._near[0] != pid:
            self._near = (pid, self._make_near())
        return self._near[1]

    def _admit_here(self, ask: Ask, now: Now) -> Lease | Rejection:
        near, target, ticket = self._here(), ask.gates.target, ask.ticket
        if ask.charges and not self._spend:
            if ask.cost:
                return Rejection(target, Reason.STORE_LOST, f"no budget can be kept: {self._cause}", self._trial)
            ask = replace(ask, charges=())
        if ticket not in self._standing:
            self._far.leave(ticket, now)
            ticket.asked = None
        answer = near.admit(ask, now)
        if isinstance(answer, Lease):
            self._leases[answer] = near
            self._standing.pop(ticket, None)
        return answer

    def _quit(self, ticket: Ticket, now: Now) -> None:
        """Take the ticket out of the lines here."""
        near = self._standing.pop(ticket, None)
        if near is not None:
            near.leave(ticket, now)
            ticket.asked = None

    # ------------------------------------------------------- losing and finding it

    def _away(self, now: Now) -> bool:
        """It is lost, and this is not the operation that tries it again."""
        if not self._cause:
            return False
        with self._lock:
            if now.mono < self._trial:
                return True
            self._trial = now.mono + PAUSE
            return False

    def _reach(self, io: Io[T], here: Callable[[], T], now: Now, owed: Callable[[], Any] | None = None) -> Io[T]:
        """The same, answered from here when the store is lost; ``owed`` is handed in when it is back."""

        def lost(error: Lost) -> T:
            self._lose(str(error), now)
            if owed is not None:
                self._owed.append(owed)
            return here()

        def do() -> T:
            try:
                answer = io.do()
            except Lost as error:
                return lost(error)
            self._find(now)
            for debt in self._debts(now):
                debt.do()
            return answer

        async def ado() -> T:
            try:
                answer = await io.ado()
            except Lost as error:
                return lost(error)
            self._find(now)
            for debt in self._debts(now):
                await debt.ado()
            return answer

        return Io(do, ado)

    def _far_or(self, answer: T | Io[T], here: Callable[[], T], now: Now) -> T | Io[T]:
        return self._reach(answer, here, now) if isinstance(answer, Io) else answer

    def _give(self, what: Callable[[], T | Io[T]], now: Now) -> T | Io[T] | None:
        """Something that must arrive: now, or when the store is back."""
        if self._away(now):
            self._owed.append(what)
            return None
        answer = what()
        if not isinstance(answer, Io):
            return answer
        io: Io[Any] = answer
        return self._reach(io, _nothing, now, owed=what)

    def _debts(self, now: Now) -> Iterator[Io[Any]]:
        """A few operations that the store has not been told of, oldest first; each is owed again if it fails."""
        for _ in range(min(len(self._owed), AT_ONCE)):
            if self._cause:
                return
            try:
                what = self._owed.popleft()
            except IndexError:  # another thread has paid the last one
                return
            debt = what()
            if isinstance(debt, Io):
                yield _debt(debt, partial(self._unpaid, what, now))

    def _unpaid(self, what: Callable[[], Any], now: Now, error: Lost) -> None:
        self._owed.appendleft(what)
        self._lose(str(error), now)

    def _lose(self, cause: str, now: Now) -> None:
        with self._lock:
            news, self._cause, self._trial = not self._cause, cause, self._clock().mono + PAUSE
            self._since = now.mono if news else self._since
        if news:
            self._tell_lost(cause)

    def _find(self, now: Now) -> None:
        if self._cause:
            with self._lock:
                news, self._cause = bool(self._cause), ""
            if news:
                self._tell_back(now.mono - self._since)


class _ShelteredCache:
    """A shared cache that finds nothing while its store is lost."""

    def __init__(self, shelter: Shelter, far: ResponseCache) -> None:
        self._shelter = shelter
        self._far = far

    def get(self, digest: bytes, identities: Iterable[str], now: Now) -> Hit | Io[Hit | None] | None:
        if self._shelter._away(now):
            return None
        return self._shelter._far_or(self._far.get(digest, identities, now), _nothing, now)

    def put(self, digest: bytes, identity: str, answer: Answer, now: Now) -> None:
        if not self._shelter._cause:
            self._far.put(digest, identity, answer, now)


class _ShelteredClaims(_ShelteredCache):
    """A shared cache that lets everyone make a call of their own while its store is lost."""

    def __init__(self, shelter: Shelter, far: Any) -> None:
        super().__init__(shelter, far)
        self._claims: Claims = far

    def claim(self, digest: bytes, now: Now) -> Io[bool] | bool:
        if self._shelter._away(now):
            return True
        return self._shelter._far_or(self._claims.claim(digest, now), lambda: True, now)

    def release(self, digest: bytes, now: Now) -> Io[None] | None:
        if self._shelter._away(now):
            return None
        return self._shelter._far_or(self._claims.release(digest, now), _nothing, now)


def _debt(io: Io[Any], unpaid: Callable[[Lost], None]) -> Io[None]:
    """The same, which fails by telling ``unpaid``."""

    def do() -> None:
        try:
            io.do()
        except Lost as error:
            unpaid(error)

    async def ado() -> None:
        try:
            await io.ado()
        except Lost as error:
            unpaid(error)

    return Io(do, ado)


def _nothing() -> None:
    return None
