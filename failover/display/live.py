"""A view that follows its orchestrator: drawn again when something happens, in place, five times a second at most.

Events only raise a flag; a thread of its own draws, so no call waits for a picture and calls may come from any thread
or loop.  At the end of each cell, and when it is closed, the last state is drawn by whoever ends it: that is what the
notebook keeps.  Outside IPython it draws nothing.
"""

from __future__ import annotations

import threading
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from failover.errors import ConfigurationError
from failover.events import Event

if TYPE_CHECKING:
    from failover.client import Failover

PAUSE = 0.2
"""Seconds between two drawings: 5 Hz."""

_following: WeakKeyDictionary[Failover, Live] = WeakKeyDictionary()


class Live:
    """Shown when it is made; ``close``, or the end of a ``with`` block, makes the last state stand.

    An orchestrator has one such view: a new one ends the one before.
    """

    def __init__(self, guard: Failover) -> None:
        before = _following.pop(guard, None)
        if before is not None:
            before.close()
        _following[guard] = self
        self._guard = guard
        self._drawing = threading.Lock()
        self._changed = threading.Event()
        self._closed = threading.Event()
        shell = _shell()
        self._hooks = None if shell is None else shell.events
        self._handle: Any = None if shell is None else import_module("IPython.display").display(guard, display_id=True)
        self._unsubscribe = guard.subscribe(self._happened)
        if self._hooks is not None:
            self._hooks.register("post_run_cell", self._cell_ended)
            threading.Thread(target=self._follow, name="failover live", daemon=True).start()

    def update(self) -> None:
        """Draw now, if anything has happened since the last time."""
        with self._drawing:
            if self._changed.is_set() and self._handle is not None:
                self._changed.clear()
                self._handle.update(self._guard)

    def close(self) -> None:
        """Draw the last state and follow no more.  May be called twice."""
        if self._closed.is_set():
            return
        self._unsubscribe()
        if self._hooks is not None:
            self._hooks.unregister("post_run_cell", self._cell_ended)
        self._changed.set()
        self.update()
        self._closed.set()
        self._changed.set()  # the thread looks, and ends

    def _happened(self, event: Event) -> None:
        self._changed.set()

    def _cell_ended(self, *_: object) -> None:
        self.update()

    def _follow(self) -> None:
        while not self._closed.is_set():
            self._changed.wait()
            if not self._closed.is_set():
                self.update()
            self._closed.wait(PAUSE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shell() -> Any:
    """IPython's shell, None where this runs in none."""
    try:
        return import_module("IPython").get_ipython()
    except ImportError:
        raise ConfigurationError("live() needs Jupyter: pip install 'failover[notebook]'") from None
