"""After ``fork``: what lives (locks, connections, leases, calls in flight) is the parent's; the child begins afresh.

SQLite's files have hooks of their own (``store/sqlite.py``): they are left alone while a fork happens.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Living(Protocol):
    """What holds something that no two processes can share."""

    def begin_afresh(self) -> None:
        """Called in a forked child, before anything else uses it there."""


_living: WeakSet[Living] = WeakSet()


def afresh_after_fork(living: Living) -> None:
    """Have it begin afresh in every forked child, for as long as it lives."""
    _living.add(living)


def _after_fork() -> None:
    for living in list(_living):
        living.begin_afresh()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
