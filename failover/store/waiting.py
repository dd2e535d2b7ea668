"""The waiting lines of a process whose gates are decided elsewhere (``redis.py``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import NamedTuple

from failover.store.base import Ask, Now, Ticket
from failover.store.lines import Lines, notify
from failover.store.state import desk_line, money_line


class Place(NamedTuple):
    """Where somebody stands, or would: at the head?  And the moment at which a head that does not come is overtaken."""

    first: bool
    overtaken: float | None


class WaitingRoom:
    """The lines of this process, under a lock; who has been called is notified outside it.

    A garbage collection may bring a thread back in here while it is inside: what it wants is done after.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._lock = RLock()
        self._busy = False
        self._put_off: deque[Callable[[Lines], None]] = deque()

    def do(self, step: Callable[[Lines], None]) -> None:
        with self._lock:
            self._put_off.append(step)
            if self._busy:
                return
            self._busy = True
            try:
                while self._put_off:
                    self._put_off.popleft()(self._lines)
            finally:
                self._busy = False
        notify(self._lines.called, lambda gone: self.do(lambda lines: lines.leave(gone, 0.0)))

    def waiting(self, line: str) -> int:
        return self._lines.waiting(line)

    def places(self, ask: Ask, now: Now) -> tuple[int, list[int]]:
        """The count of changes now, and how many stand before who asks: at the target, then at each budget."""
        names = [desk_line(ask.gates.target), *(money_line(each.book, each.scope) for each in ask.charges)]
        with self._lock:
            lines = self._lines
            if not lines.by_name:
                return lines.changes, [0] * len(names)
            return lines.changes, [lines.ahead(name, ask.ticket, now.mono) for name in names]

    def refused(self, ticket: Ticket, line: str, turn: bool, changes: int, now: Now) -> Place:
        """``ticket`` was refused as things stood at ``changes``; where there is room, the head is called."""
        place = Place(True, None)

        def step(lines: Lines) -> None:
            nonlocal place
            if ticket.asked is None:
                ticket.asked = changes
            called = lines.turn(line, now.mono) if turn and lines.waiting(line) else None
            place = Place(lines.ahead(line, ticket, now.mono) == 0, called)

        self.do(step)
        return place
