"""The state of the gates as rows of a database: what an operation touches is read, and what it changed is written.

``Rows`` is one transaction's view.  Before a step runs, ``need_…`` brings what it will look at into a ``State``; the
step is the same one that every store runs; ``save`` compares and writes.  So the rules are in one place and a busy
store moves a few hundred bytes per operation, however many targets, labels and leases it holds.

    clock     how late it is, and the retry budget      leases    what is in flight, and ``lapsed``: what has expired
    desks     breaker and limiter of each target        books     periods; ``pages`` and ``accounts``: their money
    log       the limiter's log, an entry per row       off       what is switched off
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from pydantic import TypeAdapter

from failover.rules import budget, retry
from failover.rules.breaker import BreakerState
from failover.rules.limiter import Entry, LimiterState
from failover.store import state as steps
from failover.store.base import Charge, Gates, Now

VERSION = 1
"""Of the tables below; a file of another version is refused."""
APPLICATION = 0x6661696C  # "fail"
SCHEMA = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE clock(id INTEGER PRIMARY KEY, mono REAL NOT NULL, wall REAL NOT NULL, retries TEXT NOT NULL);
CREATE TABLE desks(target TEXT PRIMARY KEY, breaker TEXT NOT NULL, limiter TEXT NOT NULL, first INTEGER NOT NULL,
    next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log(target TEXT, n INTEGER, time REAL NOT NULL, requests INTEGER NOT NULL, input INTEGER NOT NULL,
    output INTEGER NOT NULL, PRIMARY KEY(target, n)) WITHOUT ROWID;
CREATE TABLE leases(id TEXT PRIMARY KEY, expires REAL NOT NULL, held TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX leases_by_expiry ON leases(expires);
CREATE TABLE lapsed(n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, held TEXT NOT NULL);
CREATE TABLE books(name TEXT PRIMARY KEY, key TEXT NOT NULL, ends REAL) WITHOUT ROWID;
CREATE TABLE pages(book TEXT, key TEXT, held INTEGER NOT NULL, PRIMARY KEY(book, key)) WITHOUT ROWID;
CREATE TABLE accounts(book TEXT, page TEXT, scope TEXT, spent INTEGER NOT NULL, reserved INTEGER NOT NULL,
    PRIMARY KEY(book, page, scope)) WITHOUT ROWID;
CREATE TABLE off(name TEXT PRIMARY KEY, until REAL, detail TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cache(digest BLOB, identity TEXT, expires REAL NOT NULL, used INTEGER NOT NULL, entry BLOB NOT NULL,
    PRIMARY KEY(digest, identity));
CREATE INDEX cache_by_use ON cache(used);
"""
_breakers = TypeAdapter(BreakerState)
_limiters = TypeAdapter(LimiterState)
_helds = TypeAdapter(steps.Held)
_retries = TypeAdapter(retry.RetryState)
NO_LOG = {"log"}


class Log:
    """A limiter's log as a list whose entries are read when they are looked at: rows ``first`` to ``next``."""

    def __init__(self, db: sqlite3.Connection, target: str, first: int, next_: int) -> None:
        self._db = db
        self._target = target
        self.first = self._deleted = first
        self.next = next_
        self._read: dict[int, tuple[Any, ...]] = {}
        self._entries: dict[int, Entry] = {}

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
            if n >= self.first and self._read.get(n) != values:
                self._db.execute("INSERT OR REPLACE INTO log VALUES(?, ?, ?, ?, ?, ?)", (self._target, n, *values))


class Rows:
    """One transaction's view.  ``state`` holds what has been needed so far; nothing is read twice."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.state = steps.State()
        mono, wall, self._retries = db.execute("SELECT mono, wall, retries FROM clock").fetchone()
        self.state.mono, self.state.wall = mono, wall
        self._clock = (mono, wall)
        self.state.next_expiry = self._next_expiry(-1.0)
        self._needed: set[tuple[str, ...]] = set()
        self._desks: dict[str, tuple[str, str, int, int]] = {}
        self._leases: dict[str, str] = {}
        self._lapsed: dict[str, str] = {}
        self._books: dict[str, tuple[str, float | None]] = {}
        self._pages: dict[tuple[str, str], int] = {}
        self._accounts: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._off: dict[str, steps.Off] = {}

    # ------------------------------------------------------------------ reading

    def _first_time(self, *what: str) -> bool:
        """Whether this has not been read yet."""
        if what in self._needed:
            return False
        self._needed.add(what)
        return True

    def need_retries(self) -> None:
        if self._first_time("retries"):
            self.state.retries = _retries.validate_json(self._retries)

    def need_desk(self, target: str) -> None:
        if not self._first_time("desk", target):
            return
        select = "SELECT breaker, limiter, first, next FROM desks WHERE target = ?"
        row = self.db.execute(select, (target,)).fetchone()
        if row is None:
            desk, first, next_ = steps.Desk(), 0, 0
        else:
            self._desks[target] = row
            circuit, limits, first, next_ = row
            desk = steps.Desk(_breakers.validate_json(circuit), _limiters.validate_json(limits))
        desk.limiter.log = cast(list[Entry], Log(self.db, target, first, next_))
        self.state.desks[target] = desk

    def need_off(self, gates: Gates) -> None:
        names = steps.switches(gates)
        if not self._first_time("off", *names):
            return
        for name, until, detail in self.db.execute("SELECT * FROM off WHERE name IN (?, ?)", names):
            if name not in self._off:
                self._off[name] = self.state.off[name] = steps.Off(until, detail)

    def need_money(self, charges: Iterable[Charge], now: Now) -> None:
        """The current period of each budget; when it is over, all of the book's periods."""
        for charge in charges:
            self._need_book(charge.book, charge.budget.per, charge.budget.timezone)
            book = self.state.books.get(charge.book)
            if book is None:
                continue
            if book.end is not None and now.wall >= book.end:
                self._need_pages(charge.book)
            else:
                self._need_account(charge.book, book.key, charge.scope)

    def need_lease(self, lease: str) -> None:
        """A lease, living or lapsed, and all it holds."""
        if not self._first_time("lease", lease):
            return
        row = self.db.execute("SELECT held FROM leases WHERE id = ?", (lease,)).fetchone()
        if row is not None:
            self._bring(lease, row[0])
            return
        row = self.db.execute("SELECT held FROM lapsed WHERE id = ?", (lease,)).fetchone()
        if row is not None:
            self._lapsed[lease] = row[0]
            held = self.state.lapsed[lease] = _helds.validate_json(row[0])
            self._need_held(held)

    def need_expired(self, now: Now) -> None:
        for lease, raw in self.db.execute("SELECT id, held FROM leases WHERE expires <= ?", (now.mono,)).fetchall():
            if self._first_time("lease", lease):
                self._bring(lease, raw)

    def _bring(self, lease: str, raw: str) -> None:
        self._leases[lease] = raw
        held = self.state.leases[lease] = _helds.validate_json(raw)
        self._need_held(held)

    def _need_held(self, held: steps.Held) -> None:
        self.need_desk(held.target)
        for share in held.shares:
            per, _, timezone = share.book.partition(" ")
            self._need_book(share.book, per, timezone or None)
            self._need_account(share.book, share.page, share.scope)

    def _need_book(self, name: str, per: str, timezone: str | None) -> None:
        if not self._first_time("book", name):
            return
        row = self.db.execute("SELECT key, ends FROM books WHERE name = ?", (name,)).fetchone()
        if row is not None:
            self._books[name] = row
            self.state.books[name] = budget.Book(per, timezone, *row)

    def _need_pages(self, book: str) -> None:
        for key, held in self.db.execute("SELECT key, held FROM pages WHERE book = ?", (book,)).fetchall():
            self._page(book, key, held)

    def _page(self, book: str, key: str, held: int) -> budget.Page:
        if self._first_time("page", book, key):
            self._pages[book, key] = held
            self.state.books[book].pages[key] = budget.Page(held=held)
        return self.state.books[book].pages.get(key) or budget.Page()

    def _need_account(self, book: str, page: str, scope: str) -> None:
        if not self._first_time("account", book, page, scope):
            return
        row = self.db.execute(
            "SELECT p.held, a.spent, a.reserved FROM pages p LEFT JOIN accounts a"
            " ON a.book = p.book AND a.page = p.key AND a.scope = ? WHERE p.book = ? AND p.key = ?",
            (scope, book, page),
        ).fetchone()
        if row is None:
            return
        held, spent, reserved = row
        if spent is not None:
            self._accounts[book, page, scope] = (spent, reserved)
            self._page(book, page, held).accounts[scope] = budget.Account(spent, reserved)
        else:
            self._page(book, page, held)

    def _next_expiry(self, after: float) -> float | None:
        moment: float | None = self.db.execute(
            "SELECT min(expires) FROM leases WHERE expires > ?", (after,)
        ).fetchone()[0]
        return moment

    # ------------------------------------------------------------------ expiry

    def expire(self, now: Now) -> list[steps.Held]:
        """``steps.expire`` over all leases, of which only those that are over have been read."""
        if self.state.next_expiry is None or now.mono < self.state.next_expiry:
            return []
        self.need_expired(now)
        unread = self._next_expiry(now.mono)
        over = steps.expire(self.state, now)
        read = self.state.next_expiry
        self.state.next_expiry = unread if read is None or (unread is not None and unread < read) else read
        return over

    # ------------------------------------------------------------------ writing

    def save(self) -> None:
        state, write = self.state, self.db.execute
        for target, desk in state.desks.items():
            self._save_desk(target, desk)
        self._save_leases()
        self._save_money()
        changed(
            state.off,
            self._off,
            lambda name, off: write("INSERT OR REPLACE INTO off VALUES(?, ?, ?)", (name, off.until, off.detail)),
            lambda name: write("DELETE FROM off WHERE name = ?", (name,)),
        )
        retries = self._retries
        if ("retries",) in self._needed:
            retries = _retries.dump_json(state.retries).decode()
        if (state.mono, state.wall) != self._clock or retries != self._retries:
            write("UPDATE clock SET mono = ?, wall = ?, retries = ?", (state.mono, state.wall, retries))

    def _save_desk(self, target: str, desk: steps.Desk) -> None:
        log = cast(Log, desk.limiter.log)
        circuit = _breakers.dump_json(desk.breaker).decode()
        limits = _limiters.dump_json(desk.limiter, exclude=NO_LOG).decode()
        row = (circuit, limits, log.first, log.next)
        if row != self._desks.get(target):
            self.db.execute("INSERT OR REPLACE INTO desks VALUES(?, ?, ?, ?, ?)", (target, *row))
        log.save()

    def _save_leases(self) -> None:
        write = self.db.execute
        changed(
            {lease: (held.expires, _held(held)) for lease, held in self.state.leases.items()},
            {lease: (0.0, raw) for lease, raw in self._leases.items()},
            lambda lease, row: write("INSERT OR REPLACE INTO leases VALUES(?, ?, ?)", (lease, *row)),
            lambda lease: write("DELETE FROM leases WHERE id = ?", (lease,)),
            same=lambda new, old: new[1] == old[1],
        )
        changed(
            {lease: _held(held) for lease, held in self.state.lapsed.items()},
            self._lapsed,
            lambda lease, raw: write("INSERT OR REPLACE INTO lapsed(id, held) VALUES(?, ?)", (lease, raw)),
            lambda lease: write("DELETE FROM lapsed WHERE id = ?", (lease,)),
        )
        if self.state.lapsed:
            write("DELETE FROM lapsed WHERE n <= (SELECT max(n) FROM lapsed) - ?", (steps.MOST_LAPSED,))

    def _save_money(self) -> None:
        write, books = self.db.execute, self.state.books
        changed(
            {name: (book.key, book.end) for name, book in books.items()},
            self._books,
            lambda name, row: write("INSERT OR REPLACE INTO books VALUES(?, ?, ?)", (name, *row)),
            lambda name: None,
        )
        changed(
            {(name, key): page.held for name, book in books.items() for key, page in book.pages.items()},
            self._pages,
            lambda at, held: write("INSERT OR REPLACE INTO pages VALUES(?, ?, ?)", (*at, held)),
            self._drop_page,
        )
        accounts = {
            (name, key, scope): (account.spent, account.reserved)
            for name, book in books.items()
            for key, page in book.pages.items()
            for scope, account in page.accounts.items()
        }
        for at, money in accounts.items():
            if self._accounts.get(at) != money:
                write("INSERT OR REPLACE INTO accounts VALUES(?, ?, ?, ?, ?)", (*at, *money))

    def _drop_page(self, at: tuple[str, str]) -> None:
        """A period that is over, with all its accounts, read or not."""
        self.db.execute("DELETE FROM pages WHERE book = ? AND key = ?", at)
        self.db.execute("DELETE FROM accounts WHERE book = ? AND page = ?", at)


def changed(
    new: dict[Any, Any],
    old: dict[Any, Any],
    write: Callable[[Any, Any], Any],
    delete: Callable[[Any], Any],
    same: Callable[[Any, Any], bool] = lambda new, old: new == old,
) -> None:
    """Write what is new or different, delete what is gone."""
    for key, value in new.items():
        if key not in old or not same(value, old[key]):
            write(key, value)
    for key in old.keys() - new.keys():
        delete(key)


def _held(held: steps.Held) -> str:
    return _helds.dump_json(held).decode()


def whole(db: sqlite3.Connection) -> bool:
    """What is reserved on the accounts is what the leases hold; it is not, where half a transaction was copied."""
    reserved: dict[tuple[str, str, str], int] = {}
    for (raw,) in db.execute("SELECT held FROM leases"):
        held = _helds.validate_json(raw)
        for share in held.shares:
            at = (share.book, share.page, share.scope)
            reserved[at] = reserved.get(at, 0) + held.cost
    rows = db.execute("SELECT book, page, scope, reserved FROM accounts WHERE reserved != 0")
    return {(book, page, scope): money for book, page, scope, money in rows} == {
        at: money for at, money in reserved.items() if money
    }


def create(db: sqlite3.Connection) -> None:
    """The tables, and what is settled once for all who share the file."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    db.execute("INSERT INTO facts VALUES('salt', ?)", (secrets.token_bytes(16),))
    db.execute("INSERT INTO clock VALUES(1, 0.0, 0.0, '{}')")
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")
