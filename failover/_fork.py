"""After ``fork``: what lives (locks, connections, leases, calls in flight) is the parent's; the child begins afresh.

SQLite's files have hooks of their own (``store/sqlite.py``): they are left alone while a fork happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_living: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def afresh_after_fork(living: T, begin: Callable[[T], None]) -> None:
    """Call ``begin(living)`` in every forked child, before anything else uses it there, for as long as it lives."""
    _living[living] = begin


def _after_fork() -> None:
    for living, begin in list(_living.items()):
        begin(living)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
