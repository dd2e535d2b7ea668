"""The limiter of one target: requests and tokens in a sliding window, and calls at once.

Never more than the limit in *any* window of its length, so that nothing is provoked whether the provider counts
fixed windows, sliding windows, or refills a bucket.  The exact log of what was sent is kept in grains of 1/512
window: entries of one grain are merged under the latest one's time, so each is counted for at most a grain too long,
never too short, and the log has at most 513 entries however high the rate.

We do not see when the provider counts, only that it has counted by the time we hear from it.  So an entry is counted
in full while in flight and begins to age when its fate is known: the request at the first byte of the answer, its
tokens at the settlement, for some providers count them as they are written, and some when all is written.  Tokens are
reserved by estimate and settled by the real figures.

What a provider says only tightens what the user has set:
- Retry-After pauses; nothing is sent before ``paused``.
- A limit it names holds in our own window; a request larger than such a limit may still be tried, alone.
- What it says remains is a cap on what we may still send until its reset, less what is in flight and may not be
  counted yet.  An answer to something sent after the last word replaces it; older ones can only lower it.
- "Slow down" halves the rate of requests, which then grows back linearly within five minutes (additive increase,
  multiplicative decrease, as in Chiu and Jain 1989).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from failover.rules.refusal import Reason, Refusal
from failover.settings import RateLimit
from failover.types import RateHint

GRAINS = 512
TOKENS_WINDOW = 60.0
"""Seconds over which every provider known counts tokens."""
SLOW_RECOVERY = 300.0
"""Seconds until the rate is whole again after a provider asked to slow down."""


@dataclass(slots=True)
class Entry:
    """What began to age within one grain; ``time`` is the latest of it."""

    time: float
    requests: int
    input: int
    output: int


@dataclass(slots=True)
class Hold:
    """What one call in flight holds; ``answered``: its request is in the log already."""

    input: int
    output: int
    window: float
    answered: bool = False


@dataclass(slots=True)
class Allowance:
    """How much may still be sent ``until`` a reset, as heard at ``since``."""

    left: int
    until: float
    since: float


@dataclass(slots=True)
class Slow:
    """The rate (requests in a window) that was too fast, and since when we go slower."""

    peak: float
    since: float


@dataclass(slots=True)
class LimiterState:
    """Plain data.  ``requests``, ``input``, ``output`` are sums over the log, ``held_*`` over what does not age yet.

    ``flying``: calls in flight.  ``learned``: the provider has said something, so the fields after it matter.
    """

    log: list[Entry] = field(default_factory=list)
    requests: int = 0
    input: int = 0
    output: int = 0
    flying: int = 0
    held_requests: int = 0
    held_input: int = 0
    held_output: int = 0
    paused: float = 0.0
    learned: bool = False
    request_limit: int | None = None
    token_limit: int | None = None
    request_allowance: Allowance | None = None
    token_allowance: Allowance | None = None
    slow: Slow | None = None


class Demand(NamedTuple):
    """One limit and what is asked of it.  Log entries count by ``weights`` (requests, input, output)."""

    name: str
    limit: int
    need: int
    used: int
    settled: bool  # what is in flight keeps what it holds: nothing may be given back early
    weights: tuple[int, int, int]


# ------------------------------------------------------------------ admission


def check(
    limits: RateLimit, state: LimiterState, input_tokens: int, output_tokens: int, ahead: int, now: float
) -> Refusal | None:
    """May a call with these estimates be sent, with ``ahead`` others standing in line before it?

    Forgets what has left the window, else changes nothing.
    """
    unlimited = limits.requests is limits.tokens is limits.input_tokens is limits.output_tokens is limits.concurrency
    if unlimited and limits.requests is None and not ahead and not state.learned and now >= state.paused:
        return None
    forget(state, limits.window, now)
    refusal = _oversized(limits, input_tokens, output_tokens)
    if refusal is not None:
        return refusal
    full, slot = _room(limits, state, input_tokens, output_tokens, ahead, now)
    if full:
        return Refusal(Reason.RATE_LIMITED, "; ".join(full), slot, wait=True)
    if limits.concurrency is not None and state.flying >= limits.concurrency:
        return Refusal(Reason.CONCURRENCY, f"{state.flying} of {limits.concurrency} calls in flight", wait=True)
    if not ahead:
        return None
    reason = Reason.RATE_LIMITED if limits.concurrency is None or _windowed(limits) else Reason.CONCURRENCY
    return Refusal(reason, f"{ahead} in line before it", slot, wait=True, turn=True)


def take(limits: RateLimit, state: LimiterState, input_tokens: int, output_tokens: int) -> Hold:
    """Hold a place for the call that ``check`` has passed."""
    state.flying += 1
    state.held_requests += 1
    state.held_input += input_tokens
    state.held_output += output_tokens
    if state.learned:
        _draw(state.request_allowance, 1)
        _draw(state.token_allowance, input_tokens + output_tokens)
    return Hold(input_tokens, output_tokens, limits.window)


def answered(state: LimiterState, hold: Hold, now: float) -> None:
    """The first byte of the answer is here, so the provider has counted the request."""
    if not hold.answered:
        hold.answered = True
        state.held_requests -= 1
        _log(state, hold.window, now, 1, 0, 0)


def settle(state: LimiterState, hold: Hold, input_tokens: int | None, output_tokens: int | None, now: float) -> None:
    """The call has ended; None: the real figure is unknown, the estimate stands."""
    used = hold.input if input_tokens is None else input_tokens
    made = hold.output if output_tokens is None else output_tokens
    requests = 0 if hold.answered else 1
    state.flying -= 1
    state.held_requests -= requests
    state.held_input -= hold.input
    state.held_output -= hold.output
    _log(state, hold.window, now, requests, used, made)


def take_back(state: LimiterState, hold: Hold) -> None:
    """The call was never sent, so the provider has nothing to count."""
    state.flying -= 1
    state.held_requests -= 1
    state.held_input -= hold.input
    state.held_output -= hold.output


# ------------------------------------------------------------------- learning


def pause(state: LimiterState, seconds: float, now: float) -> None:
    """The provider asked us to wait.  Never shortens a longer pause."""
    state.paused = max(state.paused, now + seconds)


def slow_down(limits: RateLimit, state: LimiterState, admitted: float, now: float) -> None:
    """The provider asked for a lower rate; what was sent before we last obeyed does not count again."""
    if state.slow is not None and admitted <= state.slow.since:
        return
    forget(state, limits.window, now)
    rate: float = state.requests + state.held_requests
    ceiling = _slowed(state, now)
    state.slow = Slow(rate if ceiling is None else min(rate, ceiling), now)
    state.learned = True


def learn(limits: RateLimit, state: LimiterState, hint: RateHint, admitted: float, now: float) -> None:
    """What rate-limit headers said in the answer to a call that was admitted at ``admitted`` and has been settled."""
    state.learned = True
    if hint.limit_requests and hint.requests_window == limits.window:
        state.request_limit = hint.limit_requests
    if hint.limit_tokens and limits.window == TOKENS_WINDOW:
        state.token_limit = hint.limit_tokens
    if hint.remaining_requests is not None:
        left = max(0, hint.remaining_requests - state.flying)
        until = now + (hint.requests_window if hint.reset_requests is None else hint.reset_requests)
        state.request_allowance = _newer(state.request_allowance, Allowance(left, until, now), admitted)
    if hint.remaining_tokens is not None:
        left = max(0, hint.remaining_tokens - state.held_input - state.held_output)
        until = now + (TOKENS_WINDOW if hint.reset_tokens is None else hint.reset_tokens)
        state.token_allowance = _newer(state.token_allowance, Allowance(left, until, now), admitted)


def _newer(old: Allowance | None, new: Allowance, admitted: float) -> Allowance:
    """What holds after ``new`` was heard; only what was sent after the old word can know more than it."""
    if old is None or new.since >= old.until or admitted > old.since:
        return new
    return Allowance(min(old.left, new.left), max(old.until, new.until), old.since)


def _draw(allowance: Allowance | None, amount: int) -> None:
    if allowance is not None:
        allowance.left -= amount


def _slowed(state: LimiterState, now: float) -> float | None:
    """The ceiling on requests while going slow, None once it has grown back."""
    if state.slow is None or now >= state.slow.since + SLOW_RECOVERY:
        return None
    grown = (now - state.slow.since) / SLOW_RECOVERY
    return max(1.0, state.slow.peak * (0.5 + 0.5 * grown))


# --------------------------------------------------------------------- limits


def _windowed(limits: RateLimit) -> bool:
    return not (
        limits.requests is None
        and limits.tokens is None
        and limits.input_tokens is None
        and limits.output_tokens is None
    )


def _oversized(limits: RateLimit, input_tokens: int, output_tokens: int) -> Refusal | None:
    """Larger than a whole window that the user has set: no waiting helps."""
    for name, limit, need in (
        ("tokens", limits.tokens, input_tokens + output_tokens),
        ("input tokens", limits.input_tokens, input_tokens),
        ("output tokens", limits.output_tokens, output_tokens),
    ):
        if limit is not None and need > limit:
            detail = f"{need} {name} are more than the limit of {limit} in {limits.window:g} s; no waiting helps"
            return Refusal(Reason.OVER_LIMIT, detail)
    return None


def _room(
    limits: RateLimit, state: LimiterState, input_tokens: int, output_tokens: int, ahead: int, now: float
) -> tuple[list[str], float | None]:
    """What leaves no room now, and the slot left when all before it have taken theirs (None: unknown, or now)."""
    full: list[str] = []
    slots: list[float | None] = []
    if now < state.paused:
        full.append(f"the provider asked for {state.paused - now:.1f} s more of pause")
        slots.append(state.paused)
    for demand in _demands(limits, state, input_tokens, output_tokens, now):
        if demand.used + demand.need > demand.limit:
            full.append(f"{demand.used} of {demand.limit} {demand.name} used in {limits.window:g} s")
        if demand.used + demand.need * (ahead + 1) > demand.limit:
            slots.append(_slot(state.log, demand, ahead, limits.window, now))
    for name, allowance, need in _allowances(state, input_tokens + output_tokens, now):
        if allowance.left < need:
            full.append(f"the provider says {max(0, allowance.left)} {name} remain")
            slots.append(allowance.until)
    return full, max((slot for slot in slots if slot is not None), default=None)


def _demands(
    limits: RateLimit, state: LimiterState, input_tokens: int, output_tokens: int, now: float
) -> Iterator[Demand]:
    """Every limit that holds now.  A learned one is never too small for a single request."""
    slow = _slowed(state, now)
    requests = _least(limits.requests, state.request_limit, None if slow is None else int(slow))
    if requests is not None:
        yield Demand("requests", requests, 1, state.requests + state.held_requests, True, (1, 0, 0))
    held = state.held_input + state.held_output
    tokens = _least(limits.tokens, state.token_limit)
    if tokens is not None:
        need = min(tokens, input_tokens + output_tokens)
        yield Demand("tokens", tokens, need, state.input + state.output + held, not held, (0, 1, 1))
    if limits.input_tokens is not None:
        used = state.input + state.held_input
        yield Demand("input tokens", limits.input_tokens, input_tokens, used, not state.held_input, (0, 1, 0))
    if limits.output_tokens is not None:
        used = state.output + state.held_output
        yield Demand("output tokens", limits.output_tokens, output_tokens, used, not state.held_output, (0, 0, 1))


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _allowances(state: LimiterState, tokens: int, now: float) -> Iterator[tuple[str, Allowance, int]]:
    """What the provider said remains, while that holds; a request larger than the whole window may go alone."""
    requests, remaining = state.request_allowance, state.token_allowance
    if requests is not None and now < requests.until:
        yield "requests", requests, 1
    if remaining is not None and now < remaining.until:
        yield "tokens", remaining, tokens if state.token_limit is None else min(tokens, state.token_limit)


def _slot(log: list[Entry], demand: Demand, ahead: int, window: float, now: float) -> float | None:
    """When there will be room for all ``ahead`` and this one, if each of them asks for as much; None: unknown.

    Room comes first from what ages in the log, then, a window later, from what is sent now; and so on in rounds.
    """
    missing = demand.used + demand.need * (ahead + 1) - demand.limit
    rounds, missing = divmod(missing - 1, demand.limit)
    requests, input_tokens, output_tokens = demand.weights
    freed = 0
    for entry in log:
        freed += requests * entry.requests + input_tokens * entry.input + output_tokens * entry.output
        if freed > missing:
            return entry.time + window * (rounds + 1)
    return now + window * (rounds + 1) if demand.settled else None


# ------------------------------------------------------------------- the log


def forget(state: LimiterState, window: float, now: float) -> None:
    """Drop what has left the window."""
    gone = 0
    for entry in state.log:
        if entry.time + window > now:
            break
        state.requests -= entry.requests
        state.input -= entry.input
        state.output -= entry.output
        gone += 1
    if gone:
        del state.log[:gone]


def _log(state: LimiterState, window: float, now: float, requests: int, used: int, made: int) -> None:
    if not (requests or used or made):
        return
    log, grain = state.log, window / GRAINS
    if log and now // grain == log[-1].time // grain:
        last = log[-1]
        last.time = now
        last.requests += requests
        last.input += used
        last.output += made
    else:
        if log and log[0].time + window <= now:
            forget(state, window, now)
        log.append(Entry(now, requests, used, made))
    state.requests += requests
    state.input += used
    state.output += made
