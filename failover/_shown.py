"""How an object shows itself in a notebook: it asks ``failover.display``, which is loaded only then.

This is the one glance upwards in the house: Jupyter asks the object, so the object has to know whom to ask.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Shown:
    """Something that Jupyter shows as a picture and a terminal as text."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = import_module("failover.display").bundle(self)
        return bundle
