"""The waiting lines of one process: who stands where, and whose turn it is to ask again.

Order of service is the order of the tickets' numbers, that is of the calls' arrival: whoever asks while a lower
number stands in the same line is told to wait, room or not.  A ticket may stand in several lines; it keeps its place
through any number of refusals.

Only the head of a line is ever called, once, when something has changed that may make room (``touch``); it asks,
and when it is admitted or gives up, its leaving calls the next.  So nobody polls and no herd runs.  No call is lost:
a ticket remembers the change it asked at (``asked``), and if its line has changed before it got to stand in it, it
is called at once.  A ticket that was called and has not come back within ``GRACE`` (its event loop hangs) holds up
nobody: it is counted as absent, the next is called, and it keeps its number for when it wakes up.

Nothing here is called under a foreign lock: ``called`` collects tickets, and the store notifies them outside its own.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from failover.store.base import Ticket

GRACE = 1.0
"""Seconds a ticket that was called may take to ask."""
_number = attrgetter("number")


@dataclass(slots=True)
class Line:
    """Tickets by ascending number; ``changed`` is the count of changes when it was last touched."""

    changed: int
    tickets: list[Ticket] = field(default_factory=list)

    def head(self, now: float) -> Ticket | None:
        """The first who is not absent."""
        return next((ticket for ticket in self.tickets if not _absent(ticket, now)), None)

    def absent(self, now: float) -> int:
        """How many before the head do not count."""
        for at, ticket in enumerate(self.tickets):
            if not _absent(ticket, now):
                return at
        return len(self.tickets)


class Lines:
    """``by_name``: the lines in which somebody stands.  ``called``: tickets to notify, which the owner empties."""

    def __init__(self) -> None:
        self.by_name: dict[str, Line] = {}
        self.changes = 0
        self.called: deque[Ticket] = deque()

    def waiting(self, name: str) -> int:
        line = self.by_name.get(name)
        return len(line.tickets) if line is not None else 0

    def ahead(self, name: str, ticket: Ticket, now: float) -> int:
        """How many stand before ``ticket``, or would if it lined up."""
        line = self.by_name.get(name)
        if line is None:
            return 0
        before = bisect_left(line.tickets, ticket.number, key=_number)
        return max(0, before - line.absent(now))

    def turn(self, name: str, now: float) -> float | None:
        """There is room, but not for who asked: see that the head comes, or the moment at which it is overtaken."""
        line = self.by_name[name]
        self._call(line, now)
        head = line.head(now)
        return None if head is None or head.called is None else head.called + GRACE

    def asked(self, ticket: Ticket) -> None:
        """``ticket`` was refused as things stand now; what has changed from here on is news to it."""
        if ticket.asked is None:
            ticket.asked = self.changes

    def touch(self, names: Sequence[str], now: float) -> None:
        """There may be more room for these lines."""
        self.changes += 1
        for name in names:
            line = self.by_name.get(name)
            if line is not None:
                line.changed = self.changes
                self._call(line, now)

    def stand(self, ticket: Ticket, names: Sequence[str], now: float) -> None:
        """Stand in these lines and no others."""
        self._quit(ticket, [name for name in ticket.lines if name not in names], now)
        since = self.changes if ticket.asked is None else ticket.asked
        ticket.lines = tuple(dict.fromkeys(names))
        ticket.asked, ticket.called, ticket.woken = None, None, False
        news = False
        for name in ticket.lines:
            line = self.by_name.setdefault(name, Line(self.changes))
            at = bisect_left(line.tickets, ticket.number, key=_number)
            if at == len(line.tickets) or line.tickets[at] is not ticket:
                insort(line.tickets, ticket, key=_number)
            news = news or (line.changed > since and line.head(now) is ticket)
        if news:
            self._summon(ticket, now)

    def leave(self, ticket: Ticket, now: float) -> None:
        """Stand nowhere any more; whoever moves up to the head of a line is called."""
        names, ticket.lines = ticket.lines, ()
        ticket.asked = ticket.called = None
        self._quit(ticket, names, now)

    def _quit(self, ticket: Ticket, names: Sequence[str], now: float) -> None:
        for name in names:
            line = self.by_name[name]
            led = line.head(now) is ticket
            del line.tickets[bisect_left(line.tickets, ticket.number, key=_number)]
            if not line.tickets:
                del self.by_name[name]
            elif led:
                self._call(line, now)

    def _call(self, line: Line, now: float) -> None:
        head = line.head(now)
        if head is not None and head.called is None:
            self._summon(head, now)

    def _summon(self, ticket: Ticket, now: float) -> None:
        ticket.called = now
        self.called.append(ticket)


def notify(called: deque[Ticket], leave: Callable[[Ticket], None]) -> None:
    """Tell whoever was called; one whose event loop is gone has to leave its place to the next."""
    while called:
        try:
            ticket = called.popleft()
        except IndexError:  # another thread has told the last one
            return
        try:
            ticket.notify()
        except RuntimeError:
            leave(ticket)


def _absent(ticket: Ticket, now: float) -> bool:
    return ticket.called is not None and now - ticket.called >= GRACE
