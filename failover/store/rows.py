"""The state of the gates as rows of a database: what an operation touches is read, and what it changed is written.

``Rows`` is one transaction's view.  Before a step runs, ``need_…`` brings what it will look at into a ``State``; the
step is the same one that every store runs; ``save`` compares and writes.  So the rules are in one place and a busy
store moves a few hundred bytes per operation, however many targets, labels and leases it holds.

All but the limiter's log lies in one table of keys and JSON, because a transaction's price is the pages it touches:

    clock                       how late it is, the next expiry, the retry budget
    desk TARGET                 breaker and limiter, the last entry of its log, and where in ``log`` the others are
    book NAME                   the period that is open, and how many reservations are open on each
    account NAME PAGE SCOPE     one scope's money in one period
    lease ID                    what is in flight; the column ``expires`` says until when
    off NAME                    what is switched off

``log`` holds an entry a row; ``lapsed`` what has expired, ``facts`` what is settled once, ``cache`` the answers.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, cast

from pydantic import TypeAdapter

from failover.rules import budget
from failover.rules.breaker import BreakerState
from failover.rules.limiter import Entry, LimiterState
from failover.rules.retry import RetryState
from failover.store import state as steps
from failover.store.base import Charge, Gates, Lease, Now

VERSION = 1
"""Of the tables below; a file of another version is refused."""
APPLICATION = 0x6661696C  # "fail"
SCHEMA = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT NOT NULL, expires REAL) WITHOUT ROWID;
CREATE TABLE log(target TEXT, n INTEGER, time REAL NOT NULL, requests INTEGER NOT NULL, input INTEGER NOT NULL,
    output INTEGER NOT NULL, PRIMARY KEY(target, n)) WITHOUT ROWID;
CREATE TABLE lapsed(n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, held TEXT NOT NULL);
CREATE TABLE cache(digest BLOB, identity TEXT, expires REAL NOT NULL, used INTEGER NOT NULL, entry BLOB NOT NULL,
    PRIMARY KEY(digest, identity));
CREATE INDEX cache_by_use ON cache(used);
CREATE INDEX cache_by_expiry ON cache(expires);
"""
_clocks = TypeAdapter(tuple[float, float, float | None, RetryState])
_desks = TypeAdapter(tuple[BreakerState, LimiterState, int, int, Entry | None])
_books = TypeAdapter(tuple[str, float | None, dict[str, int]])
_accounts = TypeAdapter(tuple[int, int])
_helds = TypeAdapter(steps.Held)
_offs = TypeAdapter(steps.Off)
NO_LOG: Any = {1: {"log"}}
CLOCK = "clock"
LEASES = ("lease ", "lease!")  # all keys between


def create(db: sqlite3.Connection) -> None:
    """The tables, and what is settled once for all who share the file."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    db.execute("INSERT INTO facts VALUES('salt', ?)", (secrets.token_bytes(16),))
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")


class Log:
    """A limiter's log as a list whose entries are read when they are looked at: rows ``first`` to ``next``.

    The last one, which most operations change, is no row yet: it lies with its target.
    """

    def __init__(self, db: sqlite3.Connection, target: str, first: int, next_: int, last: Entry | None) -> None:
        self._db = db
        self._target = target
        self.first = self._deleted = first
        self.next = next_
        self._read: dict[int, tuple[Any, ...]] = {}
        self._entries: dict[int, Entry] = {} if last is None else {next_ - 1: last}

    @property
    def last(self) -> Entry | None:
        return self._entries.get(self.next - 1) if len(self) else None

    def __len__(self) -> int:
        return self.next - self.first

    def __getitem__(self, at: int) -> Entry:
        n = self.next + at if at < 0 else self.first + at
        if n not in self._entries:
            self._fetch(n, n)
        return self._entries[n]

    def __iter__(self) -> Iterator[Entry]:
        """The first by itself, since whoever looks for what is old seldom goes further; then all the others."""
        for n in range(self.first, self.next):
            if n not in self._entries:
                self._fetch(n, n if n == self.first else self.next)
            yield self._entries[n]

    def __delitem__(self, gone: slice) -> None:
        """Only from the front."""
        self.first += gone.stop

    def append(self, entry: Entry) -> None:
        self._entries[self.next] = entry
        self.next += 1

    def _fetch(self, first: int, last: int) -> None:
        rows = self._db.execute(
            "SELECT n, time, requests, input, output FROM log WHERE target = ? AND n BETWEEN ? AND ?",
            (self._target, first, last),
        )
        for n, *values in rows:
            if n not in self._entries:
                self._read[n], self._entries[n] = tuple(values), Entry(*values)

    def save(self) -> None:
        if self.first != self._deleted:
            self._db.execute("DELETE FROM log WHERE target = ? AND n < ?", (self._target, self.first))
        for n, entry in self._entries.items():
            values = (entry.time, entry.requests, entry.input, entry.output)
            if self.first <= n < self.next - 1 and self._read.get(n) != values:
                self._db.execute("INSERT OR REPLACE INTO log VALUES(?, ?, ?, ?, ?, ?)", (self._target, n, *values))


class Rows:
    """One transaction's view.  ``state`` holds what has been needed so far; nothing is read twice.

    pages: which period each book was last seen open at; a guess at what to read at once, corrected here.
    """

    def __init__(self, db: sqlite3.Connection, pages: dict[str, str]) -> None:
        self.db = db
        self.state = steps.State()
        self._guess = pages
        self._raw: dict[str, str | None] = {}  # as read; None: not there
        self._have: set[str] = set()  # keys whose value is in the state
        self._lapsed: set[str] = set()
        self._pages: dict[str, set[str]] = {}  # of each book, as read
        self._changed: list[tuple[str, str, float | None]] = []
        self._gone: list[tuple[str]] = []

    # ------------------------------------------------------------------ reading

    def fetch(self, *keys: str) -> None:
        """Read these rows, as far as they have not been read, in one go."""
        missing = [key for key in keys if key not in self._raw]
        if missing:
            marks = ",".join("?" * len(missing))
            self._raw.update(dict.fromkeys(missing))
            self._raw.update(self.db.execute(f"SELECT key, value FROM state WHERE key IN ({marks})", missing))  # noqa: S608  # only marks

    def fetch_for(self, gates: Gates, charges: Iterable[Charge]) -> None:
        """What an admission looks at, as far as can be known before."""
        money = [key for each in charges for key in self._money(each.book, each.scope, self._guess.get(each.book, ""))]
        self.fetch(CLOCK, _desk(gates.target), *map(_off, steps.switches(gates)), *money)

    def fetch_held(self, lease: Lease) -> None:
        """What the end of a lease looks at."""
        accounts = dict.fromkeys((charge.book, charge.scope) for charge in lease.ask.charges)
        money = [key for at, page in zip(accounts, lease.period, strict=True) for key in self._money(*at, page)]
        self.fetch(CLOCK, f"lease {lease.id}", _desk(lease.ask.gates.target), *money)

    def _money(self, book: str, scope: str, page: str) -> tuple[str, str]:
        return f"book {book}", _account(book, page, scope)

    def _new(self, key: str) -> str | None:
        """What is there, the first time that it is asked for."""
        if key in self._have:
            return None
        self._have.add(key)
        if key not in self._raw:
            self.fetch(key)
        return self._raw[key]

    def need_clock(self) -> None:
        state = self.state
        if (raw := self._new(CLOCK)) is not None:
            state.mono, state.wall, state.next_expiry, state.retries = _clocks.validate_json(raw)

    def need_desk(self, target: str) -> None:
        raw = self._new(_desk(target))
        if raw is not None:
            circuit, limits, first, next_, last = _desks.validate_json(raw)
            limits.log = cast(list[Entry], Log(self.db, target, first, next_, last))
            self.state.desks[target] = steps.Desk(circuit, limits)
        elif target not in self.state.desks:
            desk = self.state.desks[target] = steps.Desk()
            desk.limiter.log = cast(list[Entry], Log(self.db, target, 0, 0, None))

    def need_off(self, gates: Gates) -> None:
        for name in steps.switches(gates):
            if (raw := self._new(_off(name))) is not None:
                self.state.off[name] = _offs.validate_json(raw)

    def need_money(self, charges: Iterable[Charge]) -> None:
        """The open period of each budget."""
        for charge in charges:
            book = self._need_book(charge.book)
            if book is not None:
                self._need_account(charge.book, book.key, charge.scope)

    def need_lease(self, lease: str) -> None:
        """A lease, living or lapsed, and all it holds."""
        key = f"lease {lease}"
        if key in self._have:
            return
        if (raw := self._new(key)) is not None:
            self._bring(self.state.leases, lease, raw)
            return
        row = self.db.execute("SELECT held FROM lapsed WHERE id = ?", (lease,)).fetchone()
        if row is not None:
            self._lapsed.add(lease)
            self._bring(self.state.lapsed, lease, row[0])

    def _bring(self, into: dict[str, steps.Held], lease: str, raw: str) -> None:
        held = into[lease] = _helds.validate_json(raw)
        self.need_desk(held.target)
        for share in held.shares:
            self._need_book(share.book)
            self._need_account(share.book, share.page, share.scope)

    def _need_book(self, name: str) -> budget.Book | None:
        if (raw := self._new(f"book {name}")) is not None:
            per, _, timezone = name.partition(" ")
            key, end, held = _books.validate_json(raw)
            pages = {page: budget.Page(held=open_) for page, open_ in held.items()}
            self.state.books[name] = budget.Book(per, timezone or None, key, end, pages)
            self._pages[name] = set(pages)
        return self.state.books.get(name)

    def _need_account(self, book: str, page: str, scope: str) -> None:
        raw = self._new(_account(book, page, scope))
        if raw is not None and page in self.state.books[book].pages:
            self.state.books[book].pages[page].accounts[scope] = budget.Account(*_accounts.validate_json(raw))

    # ------------------------------------------------------------------- expiry

    def expire(self, now: Now) -> list[steps.Held]:
        """``steps.expire`` over all leases, of which only those that are over are read."""
        state = self.state
        if state.next_expiry is None or now.mono < state.next_expiry:
            return []
        over = "SELECT key, value FROM state WHERE key BETWEEN ? AND ? AND expires <= ?"
        for key, raw in self.db.execute(over, (*LEASES, now.mono)).fetchall():
            self._raw.setdefault(key, raw)
            self.need_lease(key.removeprefix("lease "))
        least = "SELECT min(expires) FROM state WHERE key BETWEEN ? AND ? AND expires > ?"
        unread: float | None = self.db.execute(least, (*LEASES, now.mono)).fetchone()[0]
        ended = steps.expire(state, now)
        if state.next_expiry is None or (unread is not None and unread < state.next_expiry):
            state.next_expiry = unread
        return ended

    # ------------------------------------------------------------------ writing

    def save(self) -> None:
        state = self.state
        for target, desk in state.desks.items():
            log = cast(Log, desk.limiter.log)
            row = (desk.breaker, desk.limiter, log.first, log.next, log.last)
            self._put(_desk(target), _desks.dump_json(row, exclude=NO_LOG))
            log.save()
        for lease, held in state.leases.items():
            self._put(f"lease {lease}", _helds.dump_json(held), held.expires)
        for name, off in state.off.items():
            self._put(_off(name), _offs.dump_json(off))
        for name, book in state.books.items():
            self._save_book(name, book)
        clock = (state.mono, state.wall, state.next_expiry, state.retries)
        self._put(CLOCK, _clocks.dump_json(clock))
        self._drop_what_is_gone()
        self._save_lapsed()
        self.db.executemany("INSERT OR REPLACE INTO state VALUES(?, ?, ?)", self._changed)
        if self._gone:
            self.db.executemany("DELETE FROM state WHERE key = ?", self._gone)

    def _put(self, key: str, new: bytes, expires: float | None = None) -> None:
        value = new.decode()
        if self._raw.get(key) != value:
            self._changed.append((key, value, expires))

    def _save_book(self, name: str, book: budget.Book) -> None:
        """A period that is over is dropped with all its accounts, read or not."""
        self._guess[name] = book.key
        pages = {key: page.held for key, page in book.pages.items()}
        self._put(f"book {name}", _books.dump_json((book.key, book.end, pages)))
        for key, page in book.pages.items():
            for scope, account in page.accounts.items():
                self._put(_account(name, key, scope), b"[%d,%d]" % (account.spent, account.reserved))
        for key in self._pages.get(name, set()) - pages.keys():
            first = _account(name, key, "")
            self.db.execute("DELETE FROM state WHERE key >= ? AND key < ?", (first, first + "\U0010ffff"))

    def _drop_what_is_gone(self) -> None:
        state = self.state
        for key in self._have:
            sort, _, name = key.partition(" ")
            there = state.leases if sort == "lease" else state.off if sort == "off" else None
            if there is not None and name not in there and self._raw[key] is not None:
                self._gone.append((key,))

    def _save_lapsed(self) -> None:
        lapsed, write = self.state.lapsed, self.db.execute
        for lease in self._lapsed - lapsed.keys():
            write("DELETE FROM lapsed WHERE id = ?", (lease,))
        new = [lease for lease in lapsed if lease not in self._lapsed]
        for lease in new:
            write("INSERT OR REPLACE INTO lapsed(id, held) VALUES(?, ?)", (lease, _helds.dump_json(lapsed[lease])))
        if new:
            write("DELETE FROM lapsed WHERE n <= (SELECT max(n) FROM lapsed) - ?", (steps.MOST_LAPSED,))


def _desk(target: str) -> str:
    return f"desk {target}"


def _off(name: str) -> str:
    return f"off {name}"


def _account(book: str, page: str, scope: str) -> str:
    return f"account {book}\n{page}\n{scope}"


def whole(db: sqlite3.Connection) -> bool:
    """What is reserved on the accounts is what the leases hold; it is not, where half a transaction was copied."""
    reserved: dict[str, int] = {}
    for (raw,) in db.execute("SELECT value FROM state WHERE key BETWEEN ? AND ?", LEASES):
        held = _helds.validate_json(raw)
        for share in held.shares:
            key = _account(share.book, share.page, share.scope)
            reserved[key] = reserved.get(key, 0) + held.cost
    rows = db.execute("SELECT key, value FROM state WHERE key BETWEEN 'account ' AND 'account!'")
    money = {key: _accounts.validate_json(raw)[1] for key, raw in rows}
    return {key: each for key, each in money.items() if each} == {key: each for key, each in reserved.items() if each}
