"""One upstream call for identical calls in flight.

The first caller of a key leads; the others follow and are woken when it lands: with an answer, or with an error that
is about the request itself and so holds for all of them.  A leader that fails or is
cancelled hands the lead to the follower that has waited longest, so nobody is harmed by another's end.  Nothing
here blocks or waits: followers hold a ``Ticket`` whose ``notify`` the driver listens to.

A garbage collection may begin anywhere and close an abandoned stream, which then leaves its flight; if that happens
to a thread that is inside already, the leaving is put off until it is done.
"""

from __future__ import annotations

from collections import deque
from threading import RLock

from failover.errors import ProviderError
from failover.store.base import Ticket
from failover.types import Response

Key = tuple[object, ...]


class Flight:
    """One call in the air.  ``outcome`` is set when it has landed; ``leader`` is who flies it now.

    ``streamed``: whoever leads, now or one day, may be a stream, which can pause while its consumer does.
    """

    __slots__ = ("followers", "key", "leader", "outcome", "streamed")

    def __init__(self, key: Key, leader: Ticket, streamed: bool) -> None:
        self.key = key
        self.leader = leader
        self.streamed = streamed
        self.followers: dict[int, Ticket] = {}
        self.outcome: Response | ProviderError | None = None


class Flights:
    """The calls in the air, by key.  Thread-safe."""

    def __init__(self) -> None:
        self._flights: dict[Key, Flight] = {}
        self._lock = RLock()
        self._busy = False
        self._leaving: deque[tuple[Flight, Ticket]] = deque()

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Key, ticket: Ticket, streamed: bool) -> Flight:
        """The flight of ``key``: with ``ticket`` as its leader if there was none, else as a follower."""
        with self._lock:
            self._busy = True
            try:
                flight = self._board(key, ticket, streamed)
            finally:
                self._busy = False
        if self._leaving:
            self._let_go()
        return flight

    def _board(self, key: Key, ticket: Ticket, streamed: bool) -> Flight:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(key, ticket, streamed)
        else:
            flight.followers[ticket.number] = ticket
            flight.streamed = flight.streamed or streamed
        return flight

    def land(self, flight: Flight, outcome: Response | ProviderError) -> None:
        """The leader knows how it ends: for everyone."""
        with self._lock:
            self._flights.pop(flight.key, None)
            flight.outcome = outcome
            waiting, flight.followers = flight.followers, {}
        for ticket in waiting.values():
            _reached(ticket)

    def leave(self, flight: Flight, ticket: Ticket) -> None:
        """``ticket`` gives up: a follower just goes; a leader hands over, or ends the flight when nobody follows."""
        self._leaving.append((flight, ticket))
        self._let_go()

    def _let_go(self) -> None:
        while self._leaving:
            with self._lock:
                if self._busy or not self._leaving:
                    return
                self._busy = True
                try:
                    flight, ticket = self._leaving.popleft()
                    told = self._left(flight, ticket)
                finally:
                    self._busy = False
            for each in told:
                if not _reached(each):
                    self._leaving.append((flight, each))

    def _left(self, flight: Flight, ticket: Ticket) -> tuple[Ticket, ...]:
        """Whom to tell: the new leader, and those who waited for one that could not pause if that one may."""
        flight.followers.pop(ticket.number, None)
        if flight.leader is not ticket or flight.outcome is not None:
            return ()
        if not flight.followers:
            self._flights.pop(flight.key, None)
            return ()
        flight.leader = flight.followers.pop(next(iter(flight.followers)))
        return (flight.leader, *(flight.followers.values() if flight.streamed else ()))


def _reached(ticket: Ticket) -> bool:
    """False for one whose event loop is gone: nobody waits there any more."""
    try:
        ticket.notify()
    except RuntimeError:
        return False
    return True
