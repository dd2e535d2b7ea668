"""When the same target is asked again: how long to wait, and whether the retry budget has one left.

The retry budget bounds what an outage multiplies: same-target retries and hedges together stay below
``budget`` times the calls of the last ten seconds plus ``floor``.  It is counted in buckets of a second, so it
forgets by itself: calls of a quiet hour cannot be saved up for a storm (cf. the retry budget of Twitter's Finagle).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from failover.settings import Retry

WINDOW = 10
"""Seconds over which calls and retries are weighed against each other."""
MOST_DOUBLINGS = 64


@dataclass(slots=True)
class Second:
    """Calls begun and retries allowed within one second of the clock."""

    number: int
    calls: int = 0
    retries: int = 0


@dataclass(slots=True)
class RetryState:
    """Plain data."""

    seconds: list[Second] = field(default_factory=list)


def backoff(rules: Retry, retry: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Seconds to wait before the ``retry``-th repetition, counted from 1.

    Uniform in [0, min(maximum, base * 2**retry)]: full jitter, as in the AWS Architecture Blog, 2015.
    ``retry_after``, capped at ``max_retry_after``, is a lower bound.  ``random`` is uniform in [0, 1).
    """
    longest = min(rules.maximum, rules.base * 2.0 ** min(retry, MOST_DOUBLINGS))
    return max(longest * random(), min(retry_after or 0.0, rules.max_retry_after))


def deposit(state: RetryState, now: float) -> None:
    """A call begins."""
    seconds = state.seconds
    if seconds and seconds[-1].number >= now // 1:
        seconds[-1].calls += 1
    else:
        _current(state, now).calls += 1


def withdraw(rules: Retry, state: RetryState, now: float) -> bool:
    """Take one retry, if one is left."""
    current = _current(state, now)
    calls = sum(second.calls for second in state.seconds)
    retries = sum(second.retries for second in state.seconds)
    if retries + 1 > rules.floor + rules.budget * calls:
        return False
    current.retries += 1
    return True


def _current(state: RetryState, now: float) -> Second:
    """The bucket of ``now``, or the latest, after forgetting those that have left the window."""
    number = int(now // 1)
    state.seconds = [second for second in state.seconds if second.number > number - WINDOW]
    if not state.seconds or state.seconds[-1].number < number:
        state.seconds.append(Second(number))
    return state.seconds[-1]
