"""The circuit breaker of one target: leaves it alone while it fails, and tries it again with a few leased calls.

    closed ──too many failures──► open ──until──► half-open ──as many successes as probes──► closed
                                    ▲                 │
                                    └──a probe fails──┘

What counts is a call's own verdict: True (it answered), False (it failed and the target is to blame), None (nobody's
failure: a caller's mistake, a 429, a cancellation).  None counts neither way and gives a probe's place back.  A
probe that stays silent for longer than its caller's patience loses its place to another; should it answer after all,
while the circuit is still half-open, its answer counts.

Every transition begins a new *generation*.  A call carries the generation it was admitted in, and its result
counts only in that one; so what a late result does is, in each state:

- closed: it was sent before the circuit last closed, and says nothing about the target of today.  Nothing.
- open: nothing is admitted while open, so every result that arrives is late.  Nothing.
- half-open: it is not one of this generation's probes.  Nothing: only a probe decides.

The n-th opening in a row lasts ``recovery_timeout * 2**n`` up to ``max_recovery_timeout``; the first one exactly,
the later ones with equal jitter (uniform in the upper half), so that many processes do not probe in step and none
probes sooner than ``recovery_timeout``.  Rates are counted in a ring of ten buckets per window, of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from failover.rules.refusal import Reason, Refusal
from failover.settings import CircuitBreaker

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
BUCKETS = 10
MOST_DOUBLINGS = 64


@dataclass(slots=True)
class Bucket:
    """What ended in one tenth of the window; ``number`` is its place on the clock, in tenths of windows."""

    number: int
    calls: int = 0
    failures: int = 0
    slow: int = 0


@dataclass(slots=True)
class Probe:
    """A trial call under way: its lease, and the moment at which its place is given to another."""

    lease: str
    due: float


@dataclass(slots=True)
class BreakerState:
    """Plain data.  ``until`` holds while open; ``probes`` under way and ``successes`` while half-open.

    ``openings`` counts openings since it was last closed; ``cause`` says why it opened.
    """

    phase: str = CLOSED
    generation: int = 0
    failures: int = 0
    openings: int = 0
    until: float = 0.0
    probes: list[Probe] = field(default_factory=list)
    successes: int = 0
    buckets: list[Bucket] = field(default_factory=list)
    cause: str = ""


class Transition(NamedTuple):
    """A change of phase, for whoever wants to tell of it.  ``cause``: why the circuit opened; empty once closed."""

    old: str
    new: str
    cause: str


def check(rules: CircuitBreaker, state: BreakerState, now: float) -> Refusal | None:
    """May a call be sent?  Changes nothing.  Half-open, a place once used by a success stays used."""
    if state.phase == CLOSED:
        return None
    if state.phase == OPEN:
        if now >= state.until:
            return None
        return Refusal(Reason.CIRCUIT_OPEN, f"{state.cause}; next trial in {state.until - now:.1f} s", state.until)
    if sum(probe.due > now for probe in state.probes) + state.successes < rules.probes:
        return None
    return Refusal(Reason.CIRCUIT_OPEN, f"{state.cause}; a trial call is under way")


def take(state: BreakerState, lease: str, due: float) -> Transition | None:
    """Let a probe through that ``check`` has passed; it holds its place until ``due``.  Only where not closed."""
    before = state.phase
    if before == OPEN:
        _enter(state, HALF_OPEN)
    state.probes.append(Probe(lease, due))
    return _since(before, state)


def settle(
    rules: CircuitBreaker,
    state: BreakerState,
    lease: str,
    generation: int,
    verdict: bool | None,
    took: float,
    now: float,
    not_before: float,
    random: Callable[[], float],
) -> Transition | None:
    """Count how a call ended; returns the transition it led to, if any.

    took: seconds to the first content, or to the end where there was none.
    not_before: a moment the target itself asked us to wait for (0.0: none); an opening lasts at least until then.
    random: uniform in [0, 1).
    """
    if generation != state.generation:
        return None
    before = state.phase
    if before == CLOSED:
        cause = "" if verdict is None else _count(rules, state, verdict, took, now)
    else:
        cause = _decide(rules, state, verdict, took) if release(state, lease) else ""
    if cause:
        _trip(rules, state, cause, now, not_before, random)
    return _since(before, state)


def release(state: BreakerState, lease: str) -> bool:
    """Give back a probe's place, having learned nothing (cancelled, or its lease has expired); True if it had one."""
    for probe in state.probes:
        if probe.lease == lease:
            state.probes.remove(probe)
            return True
    return False


def reset(state: BreakerState) -> Transition | None:
    """Close it by hand."""
    before = state.phase
    _enter(state, CLOSED)
    state.openings = 0
    return _since(before, state)


def _since(before: str, state: BreakerState) -> Transition | None:
    if state.phase == before:
        return None
    return Transition(before, state.phase, "" if state.phase == CLOSED else state.cause)


def _enter(state: BreakerState, phase: str) -> None:
    state.phase = phase
    state.generation += 1
    state.failures = 0
    state.successes = 0
    state.probes = []
    state.buckets = []


def _trip(
    rules: CircuitBreaker,
    state: BreakerState,
    cause: str,
    now: float,
    not_before: float,
    random: Callable[[], float],
) -> None:
    _enter(state, OPEN)
    state.cause = cause
    state.until = max(now + open_time(rules, state.openings, random), not_before)
    state.openings += 1


def open_time(rules: CircuitBreaker, openings: int, random: Callable[[], float]) -> float:
    """Seconds that the next opening lasts, after ``openings`` in a row."""
    shortest = rules.recovery_timeout
    if openings == 0:
        return shortest
    longest = max(shortest, rules.max_recovery_timeout)
    delay = min(longest, shortest * 2.0 ** min(openings, MOST_DOUBLINGS))
    return max(shortest, delay * (0.5 + 0.5 * random()))


def _decide(rules: CircuitBreaker, state: BreakerState, verdict: bool | None, took: float) -> str:
    """A probe has ended: the cause to open again for, if any.  Where slowness opens a circuit, it fails a probe too."""
    if verdict is None:
        return ""
    if not verdict:
        return "a trial call failed"
    if rules.slow_call_rate is not None and took > rules.slow_call:
        return f"a trial call took {took:.1f} s"
    state.successes += 1
    if state.successes >= rules.probes:
        reset(state)
    return ""


def _count(rules: CircuitBreaker, state: BreakerState, succeeded: bool, took: float, now: float) -> str:
    """A call has ended while closed: the cause to open for, if any."""
    state.failures = 0 if succeeded else state.failures + 1
    if state.failures >= rules.failure_threshold:
        return "a failure" if state.failures == 1 else f"{state.failures} failures in a row"
    if rules.failure_rate is None and rules.slow_call_rate is None:
        return ""
    _record(rules, state, succeeded, took > rules.slow_call, now)
    return _rates(rules, state)


def _record(rules: CircuitBreaker, state: BreakerState, succeeded: bool, slow: bool, now: float) -> None:
    number = int(now * BUCKETS / rules.window)
    state.buckets = [bucket for bucket in state.buckets if bucket.number > number - BUCKETS]
    if not state.buckets or state.buckets[-1].number != number:
        state.buckets.append(Bucket(number))
    bucket = state.buckets[-1]
    bucket.calls += 1
    bucket.failures += not succeeded
    bucket.slow += slow


def _rates(rules: CircuitBreaker, state: BreakerState) -> str:
    calls = sum(bucket.calls for bucket in state.buckets)
    if calls < rules.minimum_calls:
        return ""
    failed = sum(bucket.failures for bucket in state.buckets)
    if rules.failure_rate is not None and failed >= rules.failure_rate * calls:
        return f"{failed} of {calls} calls failed"
    slow = sum(bucket.slow for bucket in state.buckets)
    if rules.slow_call_rate is not None and slow >= rules.slow_call_rate * calls:
        return f"{slow} of {calls} calls were slow"
    return ""
