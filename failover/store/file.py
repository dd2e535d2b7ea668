"""One SQLite file, opened and locked: everything that is about the file, and nothing about gates.

Whoever writes first takes a lock on a small file beside it (``…-queue``).  SQLite alone would let the waiting sleep
for ever longer times, up to 100 ms, while others pass; with the lock they look every few hundred microseconds, and
the waiting times stay short and even.  It is SQLite's own lock that keeps the file safe: where there is no ``flock``
(Windows), or somebody deletes the lock file, only the evenness is lost.

The journal: a write-ahead log from SQLite 3.51.3 on; older ones can corrupt a file when a log is reset (fixed in
3.51.3, see sqlite.org/releaselog), so there a rollback journal is used.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import random

from pydantic import ValidationError

from failover.errors import ConfigurationError
from failover.store import rows
from failover.store.base import Lost

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
except ImportError:  # Windows
    flock = None  # type: ignore[assignment]

SAFE_WAL = (3, 51, 3)
FIRST_LOOK, LAST_LOOK = 20e-6, 1e-3
"""Seconds between two looks at the lock: doubling from the first to the last, with jitter."""

_leaked: list[object] = []


class File:
    """A file that is opened when it is first used, and anew after an error or a fork.

    durable: survives a power cut, not only a killed process.  timeout: seconds to wait for others.
    """

    def __init__(self, path: Path, durable: bool, timeout: float) -> None:
        self.path = path
        self._durable = durable
        self._timeout = timeout
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._lock: int | None = None

    def create(self) -> None:
        """Make the file if there is none, and see that it can be used.  Raises ``ConfigurationError``.

        A new one is its owner's alone: it holds answers, and money that whoever can write to it can spend.
        """
        try:
            with self._queued():
                with suppress(FileExistsError):  # not opened then: closing it would drop SQLite's locks of this process
                    os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                self._db = self._connect("rwc")
                self._db.execute("BEGIN IMMEDIATE")
                if _empty(self._db):
                    rows.create(self._db)
                _check(self._db, self.path)
                self._db.execute("COMMIT")
        except ConfigurationError:
            self.close()
            raise
        except (Lost, OSError, ValidationError, sqlite3.Error) as error:
            self.close()
            raise ConfigurationError(f"store: {self.path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Alone with the file; whatever is written takes effect as a whole or not at all.  Raises ``Lost``."""
        try:
            with self._queued():
                db = self._open()
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise Lost(f"{self.path}: {error}") from error
        except ValidationError as error:
            self.close()
            raise Lost(f"{self.path} holds what failover has not written") from error
        except BaseException:
            self.close()  # which rolls back
            raise

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def after_fork(self) -> None:
        """The connection is the parent's; SQLite wants it neither used nor closed here."""
        _leaked.append(self._db)
        self._db = None
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    # ---------------------------------------------------------------- connections

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that is there; one that has been deleted or replaced is not written to.

        A file that is gone is not made anew: it would have forgotten what was spent.
        """
        stat = os.stat(self.path)
        if self._db is None:
            self._db = self._connect("rw")
        elif self._inode != (stat.st_dev, stat.st_ino):
            raise OSError("it has been replaced by another file")
        return self._db

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, self._timeout, 0, None, False, cached_statements=256, uri=True)
        try:
            db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
            db.execute(f"PRAGMA journal_mode = {'WAL' if sqlite3.sqlite_version_info >= SAFE_WAL else 'PERSIST'}")
            if mode == "rw":
                _check(db, self.path)
        except (ConfigurationError, sqlite3.Error) as error:
            db.close()
            raise sqlite3.DatabaseError(str(error)) from error
        stat = os.stat(self.path)
        self._inode = (stat.st_dev, stat.st_ino)
        return db

    # -------------------------------------------------------------------- the lock

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if flock is None:
            yield
            return
        if self._lock is None:
            self._lock = os.open(f"{self.path}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lock = self._lock
        self._acquire(lock)
        try:
            yield
        finally:
            if self._lock is not None:  # else it has been closed, which releases it
                flock(lock, LOCK_UN)

    def _acquire(self, lock: int) -> None:
        until, pause = time.monotonic() + self._timeout, FIRST_LOOK
        while True:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Lost(f"{self.path} has been locked for {self._timeout:g} s") from None
            time.sleep(pause * (0.5 + random()))  # noqa: S311  # nobody is to guess it
            pause = min(2 * pause, LAST_LOOK)


def _empty(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Ours, of this version, and whole.  Raises ``ConfigurationError``."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("PRAGMA application_id").fetchone()[0] != rows.APPLICATION:
        raise ConfigurationError(f"store: {path} is a database of something else; write another path")
    if version != rows.VERSION:
        raise ConfigurationError(
            f"store: {path} is of version {version}, and this failover writes version {rows.VERSION}; "
            "use the same release everywhere, or move the file away"
        )
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok" or not rows.whole(db):
        raise ConfigurationError(
            f"store: {path} is damaged, perhaps copied while it was written to; move it away, or copy it "
            "with the sqlite3 command's .backup"
        )
