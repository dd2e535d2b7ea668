"""The money and the tokens of an attempt: what to reserve before it, what to charge after it.

Before: the worst case that can be billed (an upper bound on the input, the ``max_tokens`` really sent, the dearest
price that can apply).  After: what the provider reported; else what was certainly used, from above; else the whole
reservation.  ``Verdict.billed`` says which failures a provider may charge for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from failover import events, prices, tokens
from failover._live import Live
from failover.failures import VERDICTS, Verdict
from failover.settings import Budget
from failover.store.base import Ask, Charge, Lease, Now, Reason, Rejection, Settlement, Store, Ticket
from failover.types import Answer, Failure, Kind, Outcome, Request, Usage

DEFAULT_CAP = 4_000
"""Output cap where the caller gives none and one is needed; hidden reasoning counts, hence the second."""
REASONING_CAP = 16_000
OUTPUT_GUESS = 1_000
"""Output tokens reserved in a limiter for a call without a cap; settled by the real figure."""
IN_FLIGHT_OUTPUT = 256
"""Tokens a provider may have made between the last byte that we saw and its noticing that we left."""


@dataclass(frozen=True, slots=True)
class Produced:
    """What had come of an attempt that was given up in mid-stream: UTF-8 bytes of output, at least one a token."""

    size: int


class Weight:
    """A request's size and what in it changes its price; measured once per call, when first needed."""

    __slots__ = ("_request", "_size", "_terms")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._size: tokens.Size | None = None
        self._terms: prices.Terms | None = None

    @property
    def size(self) -> tokens.Size:
        if self._size is None:
            self._size = tokens.measure(self._request)
        return self._size

    @property
    def terms(self) -> prices.Terms:
        if self._terms is None:
            self._terms = prices.terms_of(self._request)
        return self._terms

    def bound(self, live: Live) -> int:
        """Input tokens that this target can bill at most."""
        return self.size.upper_bound(live.model.provider.name, live.model.facts.context_window)


class Ledger:
    """Reserves and settles for all targets of one orchestrator.

    charges: budgets over everything.  labelled: budgets kept per value of a label.
    """

    def __init__(
        self,
        store: Store,
        charges: tuple[Charge, ...],
        labelled: tuple[Budget, ...],
        emit: Callable[[events.Event], None] | None,
    ) -> None:
        self._store = store
        self._charges = charges
        self._labelled = labelled
        self._emit = emit
        caps = [charge.budget.default_max_tokens for charge in charges]
        self._cap = min((cap for cap in caps if cap is not None), default=None)

    def budgeted(self, live: Live) -> bool:
        return bool(self._charges or self._labelled or live.charges)

    def prepare(self, request: Request, live: Live) -> Request:
        """The request with the output cap that is really sent to this target."""
        cap, largest = request.max_tokens, live.model.facts.max_output_tokens
        if cap is None and (live.needs_cap or self.budgeted(live)):
            cap = self._cap or (REASONING_CAP if live.model.facts.reasons else DEFAULT_CAP)
        if cap is not None and largest is not None and cap > largest:
            cap = largest
        return request if cap == request.max_tokens else replace(request, max_tokens=cap)

    def ask(self, request: Request, live: Live, weight: Weight, ttl: float, ticket: Ticket) -> Ask | Rejection:
        """What to ask of the gates; a rejection where a budget per label finds no label."""
        charges = self._charges + live.charges
        for budget in self._labelled:
            value = request.labels.get(budget.per_label or "")
            if value is None:
                return Rejection(live.name, Reason.BUDGET_SPENT, _unlabelled(budget))
            charges += (Charge(f"label:{budget.per_label}={value}:{budget.per}", budget),)
        bound = weight.bound(live) if charges else 0
        return Ask(
            gates=live.gates,
            input_tokens=weight.size.estimate(live.ratio.value) if live.limited else 0,
            output_tokens=request.max_tokens or OUTPUT_GUESS,
            cost=self._worst_case(request, live, weight, bound) if charges else 0,
            charges=charges,
            ttl=ttl,
            ticket=ticket,
            bound=bound,
            patience=live.timeouts.first_content,
        )

    def _worst_case(self, request: Request, live: Live, weight: Weight, bound: int) -> int:
        """Nano-dollars that this request can cost at most."""
        if live.price is None:
            return 0
        output = request.max_tokens or live.model.facts.max_output_tokens or REASONING_CAP
        return prices.ceiling(live.price, bound, output, weight.terms)

    def estimate(self, live: Live, request: Request) -> int:
        """About what a request costs at a target, for choosing the cheapest; unknown prices come last."""
        if live.price is None:
            return UNKNOWN_COST
        size = tokens.measure(request).estimate(live.ratio.value)
        return prices.ceiling(live.price, size, request.max_tokens or OUTPUT_GUESS)

    def settle(
        self, live: Live, lease: Lease, outcome: Outcome | None, first: float | None, left: Produced | None, now: Now
    ) -> int:
        """Give the lease back with what is known; returns nano-dollars charged.

        first: seconds to the first content, if there was any; left: what had come of an attempt that was given up.
        """
        if outcome is None:
            cost = self._left_behind(live, lease, left)
            self._store.abandon(lease, cost, now)
        else:
            cost = self._cost(live, lease, outcome, now)
            self._store.settle(lease, _settlement(lease, outcome, first, cost, now), now)
        self._record(live, lease, outcome, first, cost, now)
        return cost

    def _cost(self, live: Live, lease: Lease, outcome: Outcome, now: Now) -> int:
        usage = usage_of(outcome)
        if live.price is None:
            return usage.cost or 0 if usage else 0
        if usage is not None and _credible(usage, outcome):
            return prices.cost(live.price, usage, now.wall)
        if isinstance(outcome, Failure):
            return self._failed_cost(live, lease, outcome)
        return self._upper(live, lease, _size(outcome))

    def _failed_cost(self, live: Live, lease: Lease, failure: Failure) -> int:
        if not VERDICTS[failure.kind].billed or not failure.sent:
            return 0
        return lease.ask.cost if failure.partial is None else self._upper(live, lease, _size(failure.partial))

    def _left_behind(self, live: Live, lease: Lease, left: Produced | None) -> int:
        return lease.ask.cost if left is None else self._upper(live, lease, left.size)

    def _upper(self, live: Live, lease: Lease, size: int) -> int:
        """Certainly enough for ``size`` bytes of output, and no more than was reserved."""
        if live.price is None or not lease.ask.cost:
            return 0
        made = prices.ceiling(live.price, lease.ask.bound, size + IN_FLIGHT_OUTPUT)
        return min(made, lease.ask.cost)

    def _record(
        self, live: Live, lease: Lease, outcome: Outcome | None, first: float | None, cost: int, now: Now
    ) -> None:
        tally = live.tally
        tally.attempts += 1
        tally.cost += cost
        if isinstance(outcome, Answer):
            tally.successes += 1
            tally.add(outcome.usage)
            latency = now.mono - lease.admitted.mono
            tally.latency += latency
            live.load.observe(first if first is not None else latency, now.mono)
        elif outcome is not None:
            tally.failures += 1
            tally.last_error = f"{outcome.kind}: {outcome.message}" if outcome.message else str(outcome.kind)
            if VERDICTS[outcome.kind].blame:
                live.load.observe(now.mono - lease.admitted.mono, now.mono)


def _settlement(lease: Lease, outcome: Outcome, first: float | None, cost: int, now: Now) -> Settlement:
    usage = usage_of(outcome)
    tokens_in = usage.input_tokens if usage else None
    tokens_out = usage.output_tokens if usage else None
    if isinstance(outcome, Answer):
        latency = first if first is not None else now.mono - lease.admitted.mono
        return Settlement(True, False, latency, tokens_in, tokens_out, cost, hint=outcome.hint)
    verdict = VERDICTS[outcome.kind]
    return Settlement(
        succeeded=False if verdict.blame else None,
        blamed=verdict.blame,
        latency=first,
        input_tokens=tokens_in if outcome.sent else 0,
        output_tokens=tokens_out if outcome.sent and verdict.billed else 0,
        cost=cost,
        pause=(outcome.retry_after or DEFAULT_PAUSE) if verdict.cool_down else None,
        slow_down=outcome.kind is Kind.SLOW_DOWN,
        disable=verdict.disable,
        until=_until(outcome, verdict, now),
        detail=f"{outcome.kind}: {outcome.message}",
        hint=outcome.hint if outcome.retry_after is None else None,  # resets say when all is whole, not when some is
    )


UNKNOWN_COST = 2**62
DEFAULT_PAUSE = 1.0
"""Seconds a rate-limited target rests when the provider did not say for how long."""


def _until(failure: Failure, verdict: Verdict, now: Now) -> float | None:
    """When what is switched off is tried again: as the provider said, else as the verdict does; None: by hand."""
    if failure.until is not None or verdict.recheck is None:
        return failure.until
    return now.wall + verdict.recheck


def usage_of(outcome: Outcome) -> Usage | None:
    if isinstance(outcome, Answer):
        return outcome.usage
    return outcome.partial.usage if outcome.partial is not None else None


def _credible(usage: Usage, outcome: Outcome) -> bool:
    """Reported, and not zero for an answer that has something in it: some servers fill in zeros."""
    if usage.estimated:
        return False
    if usage.input_tokens or usage.output_tokens or usage.cost is not None:
        return True
    return isinstance(outcome, Answer) and not _size(outcome)


def _size(answer: Answer) -> int:
    """UTF-8 bytes of everything a model wrote: at least one a token."""
    calls = sum(len(call.name) + len(call.arguments.encode()) for call in answer.message.tool_calls)
    return len(answer.message.text.encode()) + len(answer.message.reasoning.encode()) + calls


def _unlabelled(budget: Budget) -> str:
    label = budget.per_label
    return f"the budget is kept per {label!r}, and this call has no such label: pass labels={{{label!r}: ...}}"
