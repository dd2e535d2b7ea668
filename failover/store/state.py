"""The state of all gates as plain data, and the steps over it: what every store does, whatever it keeps them in.

A step is handed the moment it happens at and the state, changes it, and neither locks nor waits nor reads a clock.
A store brings its own: a lock in memory, a transaction in a file.  Everything in ``State`` is numbers, strings,
lists, string-keyed dicts and slotted dataclasses of these, so it can be written down and read back at any moment.

``leases`` is the truth about what is in flight.  A lease is taken out of it by whoever ends it first (settle,
abandon, expiry), and only then is anything given back; so nothing is given back twice, in whatever order they come.
An expired lease is charged in full and kept in ``lapsed`` for a while: should its call end after all, the charge is
corrected, and what the target said about itself is still heard.

Time runs forward only: a moment earlier than the last one seen counts as the last one seen (threads arrive out of
order, wall clocks are set back).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from failover.rules import breaker, budget, limiter, retry
from failover.rules.refusal import Reason, Refusal
from failover.store.base import (
    Ask,
    BudgetState,
    Charge,
    Gates,
    Lease,
    Now,
    Rejection,
    Settlement,
    TargetState,
    Transition,
)
from failover.store.lines import Lines

MOST_LAPSED = 10_000
"""Expired leases remembered for a late correction; beyond it the oldest stay charged in full."""


@dataclass(slots=True)
class Desk:
    """The gates of one target."""

    breaker: breaker.BreakerState = field(default_factory=breaker.BreakerState)
    limiter: limiter.LimiterState = field(default_factory=limiter.LimiterState)


@dataclass(slots=True)
class Share:
    """Money reserved in one budget: which book, whose account, which period's page."""

    book: str
    scope: str
    page: str


@dataclass(slots=True)
class Held:
    """What a lease holds in the gates.  ``cost`` is reserved in each of ``shares``."""

    target: str
    expires: float
    admitted: float
    generation: int
    hold: limiter.Hold
    cost: int
    shares: list[Share]


@dataclass(slots=True)
class Off:
    """Switched off until the wall-clock moment ``until`` (None: by hand)."""

    until: float | None
    detail: str


@dataclass(slots=True)
class State:
    """Everything that is kept.  ``next_expiry`` is no later than the earliest expiry of ``leases``, None if empty."""

    desks: dict[str, Desk] = field(default_factory=dict)
    books: dict[str, budget.Book] = field(default_factory=dict)
    off: dict[str, Off] = field(default_factory=dict)
    leases: dict[str, Held] = field(default_factory=dict)
    lapsed: dict[str, Held] = field(default_factory=dict)
    retries: retry.RetryState = field(default_factory=retry.RetryState)
    next_expiry: float | None = None
    mono: float = 0.0
    wall: float = 0.0


# ---------------------------------------------------------------------- time


def no_earlier(state: State, now: Now) -> Now:
    """The moment that counts: ``now``, or on either clock the last one seen if that is later."""
    state.mono, state.wall = max(state.mono, now.mono), max(state.wall, now.wall)
    return Now(state.mono, state.wall)


def expire(state: State, now: Now) -> list[Held]:
    """Give back what expired leases held, and charge them; returns them.  Looks only when one can have expired."""
    if state.next_expiry is None or now.mono < state.next_expiry:
        return []
    over = [(lease, held) for lease, held in state.leases.items() if held.expires <= now.mono]
    for lease, held in over:
        _give_up(state, lease, held.cost, now)
        state.lapsed[lease] = held
    while len(state.lapsed) > MOST_LAPSED:
        del state.lapsed[next(iter(state.lapsed))]
    state.next_expiry = min((held.expires for held in state.leases.values()), default=None)
    return [held for _, held in over]


# ----------------------------------------------------------------- admission


def admit(state: State, ask: Ask, lease: str, lines: Lines, now: Now) -> Lease | Rejection:
    """Ask all gates; only if none refuses, take a place in all of them."""
    desk = state.desks.get(ask.gates.target) or desk_of(state, ask.gates.target)
    books = [_book(state, charge, now) for charge in ask.charges] if ask.charges else []
    refused = _refused(state, ask, desk, books, lines, now)
    if refused is None:
        return _take(state, ask, desk, books, lease, now)
    refusal, line = refused
    if not refusal.wait:
        return Rejection(ask.gates.target, refusal.reason, refusal.detail, refusal.retry_at)
    recheck = _sooner(state.next_expiry, _turns(books, now) if line != desk_line(ask.gates.target) else None)
    if refusal.turn:
        recheck = _sooner(recheck, lines.turn(line, now.mono))
    return Rejection(ask.gates.target, refusal.reason, refusal.detail, refusal.retry_at, line, recheck)


def _refused(
    state: State, ask: Ask, desk: Desk, books: Sequence[budget.Book], lines: Lines, now: Now
) -> tuple[Refusal, str] | None:
    """The first refusal that is final, else the first that can be waited for, and the line to stand in."""
    gates = ask.gates
    line = desk_line(gates.target) if lines.by_name else ""
    refusal = _off(state, gates, now) if state.off else None
    if refusal is None and desk.breaker.phase != breaker.CLOSED:
        refusal = breaker.check(gates.breaker, desk.breaker, now.mono)
    if refusal is None:
        ahead = lines.ahead(line, ask.ticket, now.mono) if line else 0
        refusal = limiter.check(gates.limits, desk.limiter, ask.input_tokens, ask.output_tokens, ahead, now.mono)
    waiting = None if refusal is None else (refusal, line or desk_line(gates.target))
    if waiting is not None and not waiting[0].wait:
        return waiting
    for charge, book in zip(ask.charges, books, strict=True):
        money = _short(ask, charge, book, lines, now)
        if money is not None and not money[0].wait:
            return money
        waiting = waiting or money
    return waiting


def _short(ask: Ask, charge: Charge, book: budget.Book, lines: Lines, now: Now) -> tuple[Refusal, str] | None:
    """What one budget has against it, and its line."""
    ahead = lines.ahead(money_line(charge.book, charge.scope), ask.ticket, now.mono) if lines.by_name else 0
    refusal = budget.check(book, charge.scope, charge.limit, ask.cost, ahead)
    if refusal is None:
        return None
    refusal = refusal._replace(detail=f"{charge.title}: {refusal.detail}")
    if not refusal.wait and ask.cost <= charge.limit and book.end is not None:
        refusal = refusal._replace(retry_at=now.mono + book.end - now.wall)
    return refusal, money_line(charge.book, charge.scope)


def _take(state: State, ask: Ask, desk: Desk, books: Sequence[budget.Book], lease: str, now: Now) -> Lease:
    gates, mono = ask.gates, now.mono
    expires = mono + ask.ttl
    probe = desk.breaker.phase != breaker.CLOSED
    moved = breaker.take(desk.breaker, lease, mono + min(ask.patience, ask.ttl)) if probe else None
    generation = desk.breaker.generation
    hold = limiter.take(gates.limits, desk.limiter, ask.input_tokens, ask.output_tokens)
    shares, pages = _reserve(ask, books) if books else ([], ())
    state.leases[lease] = Held(gates.target, expires, mono, generation, hold, ask.cost, shares)
    if state.next_expiry is None or expires < state.next_expiry:
        state.next_expiry = expires
    if not ask.ticket.counted:
        ask.ticket.counted = True
        retry.deposit(state.retries, mono)
    return Lease(lease, ask, now, expires, generation, probe, pages, moved)


def _reserve(ask: Ask, books: Sequence[budget.Book]) -> tuple[list[Share], tuple[str, ...]]:
    """The worst case, once on every account however many budgets watch it; and the pages it is reserved on."""
    accounts = {(charge.book, charge.scope): book for charge, book in zip(ask.charges, books, strict=True)}
    shares = [Share(name, scope, budget.reserve(book, scope, ask.cost)) for (name, scope), book in accounts.items()]
    return shares, tuple([share.page for share in shares])


# ----------------------------------------------------------------------- end


def first_content(state: State, lease: Lease, now: Now, random: Callable[[], float]) -> Transition | None:
    """A probe is decided; the limiter's entry begins to age."""
    held = state.leases.get(lease.id)
    if held is None:
        return None
    desk = state.desks[held.target]
    limiter.answered(desk.limiter, held.hold, now.mono)
    if not lease.probe:
        return None
    took = now.mono - held.admitted
    rules = lease.ask.gates.breaker
    return breaker.settle(rules, desk.breaker, lease.id, held.generation, True, took, now.mono, 0.0, random)


def settle(
    state: State, lease: Lease, result: Settlement, now: Now, random: Callable[[], float]
) -> tuple[Held | None, Transition | None]:
    """Give everything back with what happened.

    Returns what was held, None if it had been given back before; and the breaker's transition, if any.
    """
    held = state.leases.pop(lease.id, None)
    if held is None:
        _late(state, lease, result, now)
        return None, None
    desk, mono = state.desks[held.target], now.mono
    verdict = True if result.succeeded else False if result.blamed else None
    took = mono - held.admitted if result.latency is None else result.latency
    not_before = 0.0 if result.pause is None else mono + result.pause
    rules = lease.ask.gates.breaker
    moved = breaker.settle(rules, desk.breaker, lease.id, held.generation, verdict, took, mono, not_before, random)
    limiter.settle(desk.limiter, held.hold, result.input_tokens, result.output_tokens, mono)
    _hear(state, lease, desk, held, result, now)
    if held.shares:
        _charge(state, held, held.cost if result.cost is None else result.cost)
    return held, moved


def abandon(state: State, lease: Lease, cost: int, now: Now) -> Held | None:
    """Give everything back, having learned nothing; returns what was held, None if it had been given back before."""
    held = _give_up(state, lease.id, cost, now)
    if held is None:
        _correct(state, lease, cost)
    return held


def _give_up(state: State, lease: str, cost: int, now: Now) -> Held | None:
    held = state.leases.pop(lease, None)
    if held is not None:
        desk = state.desks[held.target]
        breaker.release(desk.breaker, lease)
        limiter.settle(desk.limiter, held.hold, None, None, now.mono)
        _charge(state, held, cost)
    return held


def take_back(state: State, lease: str) -> Held | None:
    """The attempt was never made, because its admission did not reach whoever asked; returns what was held."""
    held = state.leases.pop(lease, None)
    if held is not None:
        desk = state.desks[held.target]
        breaker.release(desk.breaker, lease)
        limiter.take_back(desk.limiter, held.hold)
        _charge(state, held, 0)
    return held


def renew(state: State, lease: Lease, expires: float) -> None:
    """Let it live longer, if it still lives."""
    held = state.leases.get(lease.id)
    if held is not None:
        held.expires = max(held.expires, expires)


def _hear(state: State, lease: Lease, desk: Desk, held: Held, result: Settlement, now: Now) -> None:
    """What the target said about itself."""
    limits = lease.ask.gates.limits
    if result.pause is not None:
        limiter.pause(desk.limiter, result.pause, now.mono)
    if result.slow_down:
        limiter.slow_down(limits, desk.limiter, held.admitted, now.mono)
    if result.hint is not None:
        limiter.learn(limits, desk.limiter, result.hint, held.admitted, now.mono)
    if result.disable is not None:
        _switch_off(state, lease.ask.gates, result, now)


def _late(state: State, lease: Lease, result: Settlement, now: Now) -> None:
    held = _correct(state, lease, result.cost)
    if held is not None:
        _hear(state, lease, state.desks[held.target], held, result, now)


def _correct(state: State, lease: Lease, cost: int | None) -> Held | None:
    """A call has ended after its lease: charge what it really cost.  None if it had been settled before."""
    held = state.lapsed.pop(lease.id, None)
    if held is not None and cost is not None:
        for share in held.shares:
            budget.correct(state.books[share.book], share.page, share.scope, held.cost, cost)
    return held


def _charge(state: State, held: Held, cost: int) -> None:
    for share in held.shares:
        budget.settle(state.books[share.book], share.page, share.scope, held.cost, cost)


# -------------------------------------------------------------- switched off


def enable(state: State, gates: Gates) -> Transition | None:
    """Switch on what was switched off for this target, and close its breaker."""
    for scope in ("credential", "model"):
        state.off.pop(_switch(gates, scope), None)
    return breaker.reset(desk_of(state, gates.target).breaker)


def switches(gates: Gates) -> tuple[str, str]:
    """Names what can be switched off for a target: its credential, and its model under it."""
    return _switch(gates, "credential"), _switch(gates, "model")


def _switch(gates: Gates, scope: str) -> str:
    """Names what is switched off: a credential, or one model under it; a target without one stands for itself."""
    credential = gates.credential or f"target {gates.target}"
    return credential if scope == "credential" else f"{credential}\n{gates.model}"


def _switch_off(state: State, gates: Gates, result: Settlement, now: Now) -> None:
    """Until the provider's own moment or the user's re-check, whichever is earlier; else until enabled by hand.

    Of two findings about the same credential the one that lasts longer holds.
    """
    recheck = None if gates.reenable_after is None else now.wall + gates.reenable_after
    new, name = Off(_sooner(result.until, recheck), result.detail), _switch(gates, result.disable or "credential")
    old = state.off.get(name)
    if old is None or new.until is None or (old.until is not None and old.until < new.until):
        state.off[name] = new


def _off(state: State, gates: Gates, now: Now) -> Refusal | None:
    for scope in ("credential", "model"):
        off = state.off.get(_switch(gates, scope))
        if off is not None and (off.until is None or now.wall < off.until):
            retry_at = None if off.until is None else now.mono + off.until - now.wall
            return Refusal(Reason.DISABLED, off.detail, retry_at)
    return None


# ---------------------------------------------------------------- looking in


def target_state(state: State, gates: Gates, waiting: int, now: Now) -> TargetState:
    """One target, for status pages.  An open circuit whose time is over is shown as half-open."""
    desk = desk_of(state, gates.target)
    circuit, flying = desk.breaker, desk.limiter.flying
    off = _off(state, gates, now)
    if off is not None:
        return TargetState(gates.target, "disabled", off.retry_at, circuit.failures, flying, waiting, off.detail)
    due = circuit.phase == breaker.OPEN and now.mono >= circuit.until
    phase = breaker.HALF_OPEN if due else circuit.phase
    until = circuit.until if phase == breaker.OPEN else None
    detail = "" if phase == breaker.CLOSED else circuit.cause
    return TargetState(gates.target, phase, until, circuit.failures, flying, waiting, detail)


def budget_state(state: State, charge: Charge, now: Now) -> BudgetState:
    """One budget in its current period."""
    book = _book(state, charge, now)
    account = budget.account_of(book, charge.scope)
    return BudgetState(charge.scope, charge.limit, account.spent, account.reserved, book.end)


# --------------------------------------------------------------------- names


def desk_of(state: State, target: str) -> Desk:
    desk = state.desks.get(target)
    if desk is None:
        desk = state.desks[target] = Desk()
    return desk


def _book(state: State, charge: Charge, now: Now) -> budget.Book:
    """The book this budget is kept in, open at the page of ``now``."""
    book = state.books.get(charge.book)
    if book is None:
        book = state.books[charge.book] = budget.Book(charge.budget.per, charge.budget.timezone)
    budget.turn(book, now.wall)
    return book


def desk_line(target: str) -> str:
    """The line for a target's own room: its rate and its concurrency."""
    return f"target {target}"


def money_line(book: str, scope: str) -> str:
    """The line for money that others have reserved."""
    return f"budget {scope} ({book})"


def lines_of(held: Held) -> list[str]:
    """Where the end of this lease may have made room."""
    return [desk_line(held.target), *(money_line(share.book, share.scope) for share in held.shares)]


def _turns(books: Sequence[budget.Book], now: Now) -> float | None:
    """The monotonic moment of the next turn of a period."""
    ends = [book.end for book in books if book.end is not None]
    return now.mono + min(ends) - now.wall if ends else None


def _sooner(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
