"""Who is told of events: the memory of an orchestrator, its log, and whoever listens.

Listeners come and go while calls are under way, from any thread: each change makes a new tuple, and who walks along
the old one walks to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

from failover import logs
from failover._flow import Core
from failover.events import CONTENT, Event, Listener
from failover.history import CHANGES


class Audience:
    """Listeners of one orchestrator; readers are those who may also see what is asked and answered."""

    def __init__(self, core: Core, listeners: Iterable[Listener]) -> None:
        self._core = core
        self._changing = Lock()
        self._listeners: tuple[Listener, ...] = tuple(listeners)
        self._readers: tuple[Listener, ...] = ()
        core.emit = self.tell
        self._seat()

    def tell(self, event: Event) -> None:
        if isinstance(event, CONTENT):
            _hand(event, self._readers)
            return
        if isinstance(event, CHANGES):
            self._core.memory.changes.append(event)
        logs.write(event)
        _hand(event, self._listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell it every event but those of ``CONTENT``; returns a function that ends it."""
        with self._changing:
            self._listeners += (listener,)
            self._seat()
        return lambda: self._leave(listener)

    def read(self, reader: Listener) -> Callable[[], None]:
        """Tell it the events of ``CONTENT``; returns a function that ends it."""
        with self._changing:
            self._readers += (reader,)
            self._seat()
        return lambda: self._leave(reader)

    def _leave(self, who: Listener) -> None:
        with self._changing:
            self._listeners = tuple(each for each in self._listeners if each is not who)
            self._readers = tuple(each for each in self._readers if each is not who)
            self._seat()

    def _seat(self) -> None:
        """A call makes only those events that somebody is there for."""
        self._core.read = bool(self._readers)
        self._core.watched = bool(self._listeners) or self._core.read


def _hand(event: Event, listeners: tuple[Listener, ...]) -> None:
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logs.listener_failed(event)
