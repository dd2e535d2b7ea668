"""The gates of one process, behind one short lock.

Each operation runs its step over the ``State`` under the lock, and notifies whoever has been called after it.  Any
number of threads and event loops may use it at once.

Two things can bring a thread into the store while it is already inside.  A garbage collection, which may start at
any allocation, closes an abandoned stream, whose end gives its lease back: such a give-back is put off until the
operation under way is done.  A signal handler that makes a call of its own is refused.

After ``fork`` the child begins afresh: lock, lines and leases are its parent's, and so is the money.  A budget kept
in memory is refused there, because both would spend it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from threading import RLock
from typing import Any

from failover._fork import afresh_after_fork
from failover.errors import ConfigurationError
from failover.rules import retry
from failover.settings import Cache, Retry
from failover.store import state as steps
from failover.store.base import (
    Ask,
    Charge,
    Gates,
    Lease,
    Now,
    Reason,
    Rejection,
    Settlement,
    Snapshot,
    Ticket,
    Transition,
)
from failover.store.lines import Lines, notify

Step = Callable[..., Transition | None]


class MemoryStore:
    """A ``Store``.  ``random``: uniform in [0, 1), for the breakers' jitter.  ``rules``: those of the retry budget."""

    def __init__(self, random: Callable[[], float], rules: Retry | None = None) -> None:
        self._random = random
        self._rules = rules or Retry()
        self._numbers = count(1)
        self._leases = count(1)
        self._forked = False
        self._salt = secrets.token_bytes(16)
        self._begin()
        afresh_after_fork(self, MemoryStore._after_fork)

    def _begin(self) -> None:
        self._lock = RLock()
        self._busy = False
        self._put_off: deque[tuple[Step, tuple[Any, ...]]] = deque()
        self._state = steps.State()
        self._lines = Lines()

    # ------------------------------------------------------------ the protocol

    def salt(self) -> bytes:
        return self._salt

    def shared_cache(self, rules: Cache) -> None:
        return None

    def ticket(self) -> Ticket:
        return Ticket(next(self._numbers))

    def admit(self, ask: Ask, now: Now) -> Lease | Rejection:
        """Raises ``ConfigurationError`` for a budget after a fork."""
        if self._forked and ask.charges:
            raise ConfigurationError(_FORKED)
        with self._lock:
            if self._busy:
                return Rejection(ask.gates.target, Reason.STORE_LOST, "asked again from inside the store")
            self._busy = True
            try:
                answer = self._admit(ask, now)
            finally:
                self._busy = False
            if self._put_off:
                self._catch_up()
        if self._lines.called:
            self._notify()
        return answer

    def first_content(self, lease: Lease, now: Now) -> Transition | None:
        return self._do(self._first_content, lease, now)

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Transition | None:
        return self._do(self._settle, lease, result, now)

    def abandon(self, lease: Lease, cost: int, now: Now) -> None:
        self._do(self._abandon, lease, cost, now)

    def renew(self, lease: Lease, expires: float, now: Now) -> None:
        self._do(self._renew, lease, expires, now)

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        self._do(self._line_up, ticket, lines, now)

    def leave(self, ticket: Ticket, now: Now) -> None:
        if ticket.lines:
            self._do(self._leave, ticket, now)

    def allow_retry(self, now: Now) -> bool:
        with self._lock:
            return retry.withdraw(self._rules, self._state.retries, now.mono)

    def enable(self, gates: Gates, now: Now) -> Transition | None:
        return self._do(self._enable, gates, now)

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Snapshot:
        with self._lock:
            at = now if self._busy else self._at(now)
            state, waiting = self._state, self._lines.waiting
            targets = [steps.target_state(state, each, waiting(steps.desk_line(each.target)), at) for each in gates]
            budgets = [steps.budget_state(state, charge, at) for charge in charges]
        self._notify()
        return Snapshot(tuple(targets), tuple(budgets))

    def close(self) -> None:
        """There is nothing to close."""

    async def aclose(self) -> None:
        """There is nothing to close."""

    # --------------------------------------------------------- under the lock

    def _do(self, step: Step, *args: Any) -> Transition | None:
        """What the step led to; None for one that is put off."""
        with self._lock:
            if self._busy:
                self._put_off.append((step, args))
                return None
            self._busy = True
            try:
                moved = step(*args)
            finally:
                self._busy = False
            if self._put_off:
                self._catch_up()
        if self._lines.called:
            self._notify()
        return moved

    def _catch_up(self) -> None:
        while self._put_off:
            step, args = self._put_off.popleft()
            self._do(step, *args)

    def _at(self, now: Now) -> Now:
        """The moment that counts; what has expired by then is given back first."""
        state = self._state
        if now.mono >= state.mono and now.wall >= state.wall:
            state.mono, state.wall = now
        else:
            now = steps.no_earlier(state, now)
        if state.next_expiry is not None and now.mono >= state.next_expiry:
            for held in steps.expire(state, now):
                self._lines.touch(steps.lines_of(held), now.mono)
        return now

    def _admit(self, ask: Ask, now: Now) -> Lease | Rejection:
        at, lines = self._at(now), self._lines
        answer = steps.admit(self._state, ask, str(next(self._leases)), lines, at)
        if isinstance(answer, Rejection):
            if answer.line is not None:
                lines.asked(ask.ticket)
        elif ask.ticket.lines:
            lines.leave(ask.ticket, at.mono)
        return answer

    def _first_content(self, lease: Lease, now: Now) -> Transition | None:
        at = self._at(now)
        return steps.first_content(self._state, lease, at, self._random)

    def _settle(self, lease: Lease, result: Settlement, now: Now) -> Transition | None:
        at = self._at(now)
        held, moved = steps.settle(self._state, lease, result, at, self._random)
        if held is not None:
            self._made_room(held, at)
        return moved

    def _abandon(self, lease: Lease, cost: int, now: Now) -> None:
        at = self._at(now)
        held = steps.abandon(self._state, lease, cost, at)
        if held is not None:
            self._made_room(held, at)

    def _made_room(self, held: steps.Held, at: Now) -> None:
        lines = self._lines
        if lines.by_name:
            lines.touch(steps.lines_of(held), at.mono)
        else:
            lines.changes += 1

    def _renew(self, lease: Lease, expires: float, now: Now) -> None:
        self._at(now)
        steps.renew(self._state, lease, expires)

    def _enable(self, gates: Gates, now: Now) -> Transition | None:
        at = self._at(now)
        moved = steps.enable(self._state, gates)
        self._lines.touch([steps.desk_line(gates.target)], at.mono)
        return moved

    def _line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        self._lines.stand(ticket, lines, self._at(now).mono)

    def _leave(self, ticket: Ticket, now: Now) -> None:
        self._lines.leave(ticket, self._at(now).mono)

    # ------------------------------------------------------- outside the lock

    def _notify(self) -> None:
        notify(self._lines.called, lambda gone: self.leave(gone, Now(self._state.mono, self._state.wall)))

    # ------------------------------------------------------------ after a fork

    def _after_fork(self) -> None:
        self._begin()
        self._forked = True


_FORKED = (
    "a budget kept in memory cannot be shared with a forked process, both would spend it: write "
    'store="sqlite:///failover.db", or build the Failover object in the child'
)
