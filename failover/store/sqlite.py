"""The gates in an SQLite file: shared by the processes of one machine, and still there after a restart.

Every operation runs its step (``state``) over the rows it touches (``rows``) inside one transaction (``file``), so
whatever kills a process kills a whole operation or none.  Operations that come together share a transaction.
Blocking callers do their own work, and that of whoever came before them; for event loops a thread does it.

What is only of this process stays here: the waiting lines, whose heads look again every ``RECHECK`` seconds, since
another process may have made room and cannot call them; and ``first_content`` and the response cache's ``put``, which
go along with the operation that follows them.

Time in the file runs forward only, for all processes: it is the creator's monotonic clock, carried on by the others
by the difference of the wall clocks when they join, and by their own monotonic clock from then on.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import random as uniform
from threading import Condition, Lock, RLock, Thread
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from weakref import WeakSet, finalize

from failover.cache.sqlite import SQLiteCache
from failover.errors import ConfigurationError
from failover.rules import retry
from failover.settings import Cache, Retry
from failover.store import state as steps
from failover.store.base import (
    Ask,
    Charge,
    Gates,
    Io,
    Lease,
    Lost,
    Now,
    Rejection,
    Settlement,
    Snapshot,
    Ticket,
    Transition,
)
from failover.store.file import File
from failover.store.lines import Lines, notify
from failover.store.rows import Rows

T = TypeVar("T")
RECHECK = 0.25
"""Seconds after which the head of a line looks again, give or take half of it."""
BEHIND = 20
"""Times as long for those behind it, whom its leaving calls."""
LAG = 5.0
"""Seconds the clocks of two processes may differ before the later one is believed: one was asleep, or set.

Small differences are not followed: every process would push the clock ahead by the time it has waited for the file.
"""
TOGETHER = 100
"""Operations that share a transaction at most, so that no other process waits long for the file."""
IDLE = 5.0
"""Seconds without work after which the thread for event loops ends; it comes again with the next operation."""


@dataclass(slots=True, eq=False)
class Op(Generic[T]):
    """An operation on its way.  ``future``: of the event loop that waits for it; None: a thread does, or nobody."""

    step: Callable[[Rows], T]
    late: bool = False  # it may be done with the next one, for it has no answer
    future: asyncio.Future[T] | None = None
    done: bool = False
    answer: T | None = None
    error: BaseException | None = None


class SQLiteStore:
    """A ``Store`` in the file ``path``, made if it is not there.

    durable: what has been answered survives a power cut, not only a killed process; about a hundred times slower.
    timeout: seconds to wait for other processes before the store counts as lost (default 2; durable: 10, for then
        every one of them waits for the disk).
    retry: the rules of the retry budget, as given to ``Failover``.

    Raises ``ConfigurationError`` where the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durable: bool = False,
        timeout: float | None = None,
        retry: Retry | None = None,
        random: Callable[[], float] = uniform,
    ) -> None:
        if timeout is None:
            timeout = 10.0 if durable else 2.0
        if isinstance(timeout, bool) or not 0 < timeout < float("inf"):
            raise ConfigurationError(f"SQLiteStore: timeout = {timeout!r}: write a number of seconds above 0")
        self._file = File(Path(path).absolute(), durable, timeout)
        self._given = (self._file.path, durable, timeout, retry)
        self._rules = retry or Retry()
        self._random = random
        self._numbers = count(1)
        self._offset: float | None = None  # from this process's monotonic clock to the file's
        self._latest = 0.0
        self._pages: dict[str, str] = {}
        self._begin()
        self._file.create()
        _stores.add(self)
        finalize(self, self._file.close)

    def _begin(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._leases = count(1)
        self._lines = Lines()
        self._short = RLock()  # over the lines
        self._among = False
        self._left: deque[Ticket] = deque()
        self._queue: deque[Op[Any]] = deque()
        self._working = RLock()  # over the file
        self._busy = False
        self._called = Condition(Lock())
        self._thread: Thread | None = None

    # ------------------------------------------------------------ the protocol

    def salt(self) -> bytes:
        return self._do(Op(_salt))

    def shared_cache(self, rules: Cache) -> SQLiteCache:
        return SQLiteCache(self, rules)

    def ticket(self) -> Ticket:
        return Ticket(next(self._numbers))

    def admit(self, ask: Ask, now: Now) -> Io[Lease | Rejection]:
        lease = f"{self._prefix}-{next(self._leases)}"
        return self.io(
            lambda rows: self._admit(rows, ask, lease, now),
            lambda: self.io(lambda rows: self._take_back(rows, lease, now), late=True),
        )

    def first_content(self, lease: Lease, now: Now) -> Io[Transition | None] | None:
        def step(rows: Rows) -> Transition | None:
            rows.fetch_held(lease)
            at = self.at(rows, now)
            rows.need_lease(lease.id)
            return steps.first_content(rows.state, lease, at, self._random)

        if lease.probe:
            return self.io(step)
        self.later(step)
        return None

    def settle(self, lease: Lease, result: Settlement, now: Now) -> Io[Transition | None]:
        def step(rows: Rows) -> Transition | None:
            rows.fetch_held(lease)
            at = self.at(rows, now)
            rows.need_lease(lease.id)
            if result.disable is not None:
                rows.need_off(lease.ask.gates)
            held, transition = steps.settle(rows.state, lease, result, at, self._random)
            self._made_room(held, at)
            return transition

        return self.io(step, late=True)

    def abandon(self, lease: Lease, cost: int, now: Now) -> Io[None]:
        def step(rows: Rows) -> None:
            rows.fetch_held(lease)
            at = self.at(rows, now)
            rows.need_lease(lease.id)
            self._made_room(steps.abandon(rows.state, lease, cost, at), at)

        return self.io(step, late=True)

    def renew(self, lease: Lease, expires: float, now: Now) -> Io[None]:
        def step(rows: Rows) -> None:
            rows.fetch_held(lease)
            at = self.at(rows, now)
            rows.need_lease(lease.id)
            steps.renew(rows.state, lease, expires - now.mono + at.mono)

        return self.io(step, late=True)

    def line_up(self, ticket: Ticket, lines: Sequence[str], now: Now) -> None:
        with self._alone():
            self._lines.stand(ticket, lines, self._mono(now))
        self._notify()

    def leave(self, ticket: Ticket, now: Now) -> None:
        if ticket.lines:
            self._left.append(ticket)
            self._notify()

    def allow_retry(self, now: Now) -> Io[bool]:
        def step(rows: Rows) -> bool:
            at = self.at(rows, now)
            return retry.withdraw(self._rules, rows.state.retries, at.mono)

        return self.io(step)

    def enable(self, gates: Gates, now: Now) -> Io[Transition | None]:
        def step(rows: Rows) -> Transition | None:
            at = self.at(rows, now)
            rows.need_off(gates)
            rows.need_desk(gates.target)
            transition = steps.enable(rows.state, gates)
            with self._alone():
                self._lines.touch([steps.desk_line(gates.target)], at.mono)
            return transition

        return self.io(step)

    def snapshot(self, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Io[Snapshot]:
        return self.io(lambda rows: self._snapshot(rows, gates, charges, now))

    def close(self) -> None:
        """What has queued up is done first."""
        with self._working, suppress(Lost):
            if self._queue:
                self._work()
        with self._working:
            self._file.close()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def __reduce__(self) -> Any:
        """Whoever unpickles it shares the file."""
        return _rebuilt, self._given

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._file.path)!r})"

    # ------------------------------------------------------ inside a transaction

    def at(self, rows: Rows, now: Now) -> Now:
        """The moment that counts, on the file's clock; what has expired by then is given back first."""
        state = rows.state
        rows.need_clock()
        if self._offset is None:
            self._offset = _joined(rows, now)
        if state.mono > now.mono + self._offset + LAG:
            self._offset = state.mono - now.mono
        at = steps.no_earlier(state, Now(now.mono + self._offset, now.wall))
        for held in rows.expire(at):
            self._made_room(held, at)
        self._latest = at.mono
        return at

    def _admit(self, rows: Rows, ask: Ask, lease: str, now: Now) -> Lease | Rejection:
        rows.fetch_for(ask.gates, ask.charges)
        at = self.at(rows, now)
        rows.need_desk(ask.gates.target)
        rows.need_off(ask.gates)
        rows.need_money(ask.charges)
        with self._alone():
            answer = steps.admit(rows.state, ask, lease, self._lines, at)
            ahead = 0
            if isinstance(answer, Lease):
                self._lines.leave(ask.ticket, at.mono)
            elif answer.line is not None:
                self._lines.asked(ask.ticket)
                ahead = self._lines.ahead(answer.line, ask.ticket, at.mono)
        later = at.mono - now.mono
        return _leased(answer, now, later) if isinstance(answer, Lease) else self._refused(answer, ahead, now, later)

    def _refused(self, answer: Rejection, ahead: int, now: Now, later: float) -> Rejection:
        """The same on this process's clock; whoever may wait looks again although nobody has called."""
        slot = None if answer.retry_at is None else answer.retry_at - later
        if answer.line is None:
            return Rejection(answer.target, answer.reason, answer.detail, slot)
        look = now.mono + RECHECK * (BEHIND if ahead else 1) * (0.5 + self._random())
        recheck = look if answer.recheck is None else min(look, answer.recheck - later)
        return Rejection(answer.target, answer.reason, answer.detail, slot, answer.line, recheck)

    def _take_back(self, rows: Rows, lease: str, now: Now) -> None:
        at = self.at(rows, now)
        rows.need_lease(lease)
        self._made_room(steps.take_back(rows.state, lease), at)

    def _snapshot(self, rows: Rows, gates: Sequence[Gates], charges: Sequence[Charge], now: Now) -> Snapshot:
        at = self.at(rows, now)
        for each in gates:
            rows.need_desk(each.target)
            rows.need_off(each)
        rows.need_money(charges)
        with self._alone():
            waiting = [self._lines.waiting(steps.desk_line(each.target)) for each in gates]
        seen = [steps.target_state(rows.state, each, n, at) for each, n in zip(gates, waiting, strict=True)]
        later = at.mono - now.mono
        targets = [each if each.until is None else replace(each, until=each.until - later) for each in seen]
        return Snapshot(tuple(targets), tuple(steps.budget_state(rows.state, charge, at) for charge in charges))

    # ------------------------------------------------------------------ the lines

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone with the lines, for a moment without I/O."""
        with self._short:
            self._among = True
            try:
                yield
            finally:
                self._among = False

    def _mono(self, now: Now) -> float:
        """The file's clock, as far as it is known here."""
        return now.mono + (self._offset or 0.0)

    def _made_room(self, held: steps.Held | None, at: Now) -> None:
        if held is not None:
            with self._alone():
                self._lines.touch(steps.lines_of(held), at.mono)

    def _notify(self) -> None:
        """Let go who has left, and tell whoever was called.

        A garbage collection may make a call leave while this very thread is among the lines; it then goes with the
        next one.
        """
        if self._left and not self._among:
            with self._alone():
                while self._left:
                    self._lines.leave(self._left.popleft(), self._latest)
        notify(self._lines.called, lambda gone: self.leave(gone, Now(0.0, 0.0)))

    # ---------------------------------------------------------------- doing the work

    def io(self, step: Callable[[Rows], T], undo: Callable[[], Io[Any]] | None = None, late: bool = False) -> Io[T]:
        """Do it in a transaction; ``late``: with the next one if need be, for nobody waits for its answer."""
        op = Op(step, late)
        return Io(lambda: self._do(op), lambda: self._ado(op), undo)

    def later(self, step: Callable[[Rows], Any]) -> None:
        """Do it with the operation that follows."""
        self._queue.append(Op(step, late=True))

    def _do(self, op: Op[T]) -> T:
        """Do it in this thread, with all that has queued up before it."""
        self._queue.append(op)
        with self._working:
            if self._busy:  # a garbage collection or a signal handler has brought us here from within a transaction
                if not op.late:
                    raise Lost("asked again from inside the store")
                return op.answer  # type: ignore[return-value]  # it has none
            while not op.done:
                self._work()
        self._notify()
        if op.error is not None:
            raise op.error
        return op.answer  # type: ignore[return-value]  # None where T is

    def _ado(self, op: Op[T]) -> asyncio.Future[T]:
        """Have it done by the thread."""
        op.future = future = asyncio.get_running_loop().create_future()
        self._queue.append(op)
        with self._called:
            if self._thread is None:
                self._thread = Thread(target=self._serve, name=f"failover {self._file.path.name}", daemon=True)
                self._thread.start()
            self._called.notify()
        return future

    def _serve(self) -> None:
        while True:
            with self._called:
                if not self._queue and not self._called.wait(IDLE) and not self._queue:
                    self._thread = None
                    return
            with self._working:
                self._work()
            self._notify()

    def _work(self) -> None:
        """Do what has queued up, in one transaction."""
        self._busy = True
        ops = self._taken(TOGETHER)
        try:
            if ops:
                self._transact(ops)
        except BaseException as error:
            self._offset = None
            ops += self._taken(len(self._queue))  # they would only wait as long for the same
            for op in ops:
                op.error = error if isinstance(error, Exception) else Lost("interrupted")
            if not isinstance(error, Exception):
                raise
        finally:
            self._busy = False
            for op in ops:
                _finish(op)

    def _transact(self, ops: Sequence[Op[Any]]) -> None:
        with self._file.transaction() as db:
            rows = Rows(db, self._pages)
            for op in ops:
                op.answer = op.step(rows)
            rows.save()

    def _taken(self, most: int) -> list[Op[Any]]:
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    def _after_fork(self) -> None:
        self._begin()
        self._file.after_fork()


def _finish(op: Op[Any]) -> None:
    op.done = True
    if op.future is None:
        return
    with suppress(RuntimeError):  # its loop is closed, and nobody waits any more
        op.future.get_loop().call_soon_threadsafe(_deliver, op)


def _deliver(op: Op[Any]) -> None:
    assert op.future is not None
    if op.future.done():
        return
    if op.error is not None:
        op.future.set_exception(op.error)
    else:
        op.future.set_result(op.answer)


def _salt(rows: Rows) -> bytes:
    value: bytes = rows.db.execute("SELECT value FROM facts WHERE name = 'salt'").fetchone()[0]
    return value


def _joined(rows: Rows, now: Now) -> float:
    """What to add to this process's monotonic clock; whoever comes first sets the file's by its own."""
    base = rows.db.execute("SELECT value FROM facts WHERE name = 'base'").fetchone()
    if base is None:
        rows.db.execute("INSERT INTO facts VALUES('base', ?)", (now.wall - now.mono,))
        return 0.0
    offset = float(now.wall - base[0] - now.mono)
    behind = rows.state.mono > now.mono + offset + LAG  # the wall clock has been set back
    return rows.state.mono - now.mono if behind else offset


def _leased(lease: Lease, now: Now, later: float) -> Lease:
    """The same on this process's clock."""
    lease.admitted = now
    lease.expires -= later
    return lease


# ------------------------------------------------------------------------- opening


def open_url(url: str, rules: Retry, random: Callable[[], float]) -> SQLiteStore:
    """``sqlite:///relative.db``, ``sqlite:////absolute.db``; ``?durable=true``, ``?timeout=5``."""
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path or path.startswith(":"):
        raise ConfigurationError(
            f"store = {url!r}: write 'sqlite:///path.db', with four slashes for an absolute path, or 'memory'"
        )
    options: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "durable" and value in ("true", "false"):
            options[name] = value == "true"
        elif name == "timeout" and value.replace(".", "", 1).isdigit():
            options[name] = float(value)
        else:
            raise ConfigurationError(
                f"store = {url!r}: {name} = {value!r}: write durable=true, durable=false or timeout=SECONDS"
            )
    return SQLiteStore(path, retry=rules, random=random, **options)


def _rebuilt(path: Any, durable: bool, timeout: float, rules: Retry | None) -> SQLiteStore:
    return SQLiteStore(path, durable=durable, timeout=timeout, retry=rules)


# A process is never forked in the middle of a transaction: the child would have half of one open.

_stores: WeakSet[SQLiteStore] = WeakSet()
_held: list[SQLiteStore] = []


def _before_fork() -> None:
    for store in list(_stores):
        store._working.acquire()
        _held.append(store)


def _after_in_parent() -> None:
    while _held:
        _held.pop()._working.release()


def _after_in_child() -> None:
    while _held:
        _held.pop()._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
