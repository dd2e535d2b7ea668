"""One upstream call for identical calls in flight.

The first caller of a key leads; the others follow and are woken when it lands.  A leader that fails or is
cancelled hands the lead to the follower that has waited longest, so nobody is harmed by another's end.  Nothing
here blocks or waits: followers hold a ``Ticket`` whose ``notify`` the driver listens to.
"""

from __future__ import annotations

from threading import Lock

from failover.store.base import Ticket
from failover.types import Response

Key = tuple[object, ...]


class Flight:
    """One call in the air.  ``response`` is set when it has landed; ``leader`` is who flies it now."""

    __slots__ = ("followers", "key", "leader", "response", "streamed")

    def __init__(self, key: Key, leader: Ticket, streamed: bool) -> None:
        self.key = key
        self.leader = leader
        self.streamed = streamed
        self.followers: dict[int, Ticket] = {}
        self.response: Response | None = None


class Flights:
    """The calls in the air, by key.  Thread-safe."""

    def __init__(self) -> None:
        self._flights: dict[Key, Flight] = {}
        self._lock = Lock()

    def join(self, key: Key, ticket: Ticket, streamed: bool) -> Flight:
        """The flight of ``key``: with ``ticket`` as its leader if there was none, else as a follower."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight(key, ticket, streamed)
            else:
                flight.followers[ticket.number] = ticket
            return flight

    def land(self, flight: Flight, response: Response) -> None:
        """The leader has an answer: everyone gets it."""
        with self._lock:
            self._flights.pop(flight.key, None)
            flight.response = response
            waiting, flight.followers = flight.followers, {}
        for ticket in waiting.values():
            ticket.notify()

    def leave(self, flight: Flight, ticket: Ticket) -> None:
        """``ticket`` gives up: a follower just goes; a leader hands over, or ends the flight when nobody follows."""
        with self._lock:
            flight.followers.pop(ticket.number, None)
            heir = self._hand_over(flight) if flight.leader is ticket and flight.response is None else None
        if heir is not None:
            heir.notify()

    def _hand_over(self, flight: Flight) -> Ticket | None:
        if not flight.followers:
            self._flights.pop(flight.key, None)
            return None
        number, heir = next(iter(flight.followers.items()))
        del flight.followers[number]
        flight.leader = heir
        return heir
