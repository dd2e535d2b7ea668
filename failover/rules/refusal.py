"""How a gate says no, as a value: the reason, a sentence for people, and when it may be worth asking again."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why nothing was sent."""

    DISABLED = "disabled"
    CIRCUIT_OPEN = "circuit_open"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY = "concurrency"
    OVER_LIMIT = "over_limit"  # larger than the whole window: never fits
    BUDGET_SPENT = "budget_spent"  # does not fit any more in this period
    BUDGET_PENDING = "budget_pending"  # would fit if others' reservations were given back
    INCAPABLE = "incapable"
    STORE_LOST = "store_lost"


class Refusal(NamedTuple):
    """One gate's no.

    ``retry_at``: earliest monotonic moment at which there can be room; None: unknown, or never.
    ``wait``: it may be waited for.  ``turn``: there is room already, only others stand in line before it.
    """

    reason: Reason
    detail: str
    retry_at: float | None = None
    wait: bool = False
    turn: bool = False
