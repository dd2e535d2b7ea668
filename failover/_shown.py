"""How an object shows itself in a notebook: it asks ``failover.display``, which is loaded only then.

This is the one glance upwards in the house: Jupyter asks the object, so the object has to know whom to ask.
"""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self


class Shown:
    """Something that Jupyter shows as a picture and a terminal as text."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = import_module("failover.display").bundle(self)
        return bundle


class LiveView(Protocol):
    """A view that follows its orchestrator until it is closed."""

    def update(self) -> None:
        """Draw now, if anything has happened since the last time."""

    def close(self) -> None:
        """Draw the last state and follow no more."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def live_view(shown: Any) -> LiveView:
    view: LiveView = import_module("failover.display.live").Live(shown)
    return view
