"""The money and the tokens of an attempt: what to reserve before it, what to charge after it.

Before: the worst case that can be billed (an upper bound on the input, the ``max_tokens`` really sent, the dearest
price that can apply).  After: what the provider reported; else what was certainly used, from above; else the whole
reservation.  ``Verdict.billed`` says which failures a provider may charge for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from failover import prices, tokens
from failover._live import Live
from failover.failures import VERDICTS, Verdict
from failover.settings import Budget, Price
from failover.store.base import Ask, Charge, Io, Lease, Now, Reason, Rejection, Settlement, Store, Ticket, Transition
from failover.types import Answer, Failure, Kind, Outcome, Request, Usage

DEFAULT_CAP = 4_000
"""Output cap where the caller gives none and one is needed; hidden reasoning counts, hence the second."""
REASONING_CAP = 16_000
OUTPUT_GUESS = 1_000
"""Output tokens reserved in a limiter for a call without a cap; settled by the real figure."""
IN_FLIGHT_OUTPUT = 256
"""Tokens a provider may have made between the last byte that we saw and its noticing that we left."""


LEAST_CAP = 16
"""Responses takes no smaller output cap, so a smaller one is sent as this."""
CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""What an output cap is called on the wires."""

UNBOUNDED = frozenset(
    (
        "model",
        "models",
        "messages",
        "input",
        "previous_response_id",
        "conversation",
        "prompt",
        "plugins",
        "web_search_options",
        "search_parameters",
        "mcp_servers",
    )
)
"""In ``extra_body``: another model's price, input that is not measured, or tools that it runs by itself."""
OURS_TO_RUN = ("function", "custom", "bash", "text_editor", "computer", "memory", "local_shell", "apply_patch")
"""How the types of tools begin that the caller runs, also where the wire's own JSON names them."""


class Weight:
    """A request's size and what in it changes its price; measured once per call, when first needed."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @cached_property
    def size(self) -> tokens.Size:
        return tokens.measure(self._request)

    @cached_property
    def terms(self) -> prices.Terms:
        return prices.terms_of(self._request)

    def bound(self, live: Live) -> int:
        """Input tokens that this target can bill at most."""
        return self.size.upper_bound(live.model.provider.name, live.model.facts.context_window)

    def of(self, request: Request) -> Weight:
        """This one, if nothing that counts is different in ``request``."""
        mine = self._request
        same = request.messages is mine.messages and request.extra_body is mine.extra_body
        return self if same else Weight(request)

    def hides(self, live: Live) -> bool:
        """It may make a model think, and thoughts are billed but need not be shown."""
        request = self._request
        if request.reasoning_effort == "none":
            return False
        asked = request.reasoning_effort or request.thinking or THINKING & request.extra_body.keys()
        return live.model.facts.reasons or bool(asked)

    def unbounded(self) -> str:
        """What in the request can cost any amount, or an empty string."""
        extra = self._request.extra_body
        if not (extra or self._request.tools):
            return ""
        tools = [tool.native for tool in self._request.tools if tool.native is not None]
        added = extra.get("tools")
        for tool in (*tools, *(added if isinstance(added, Sequence) else ())):
            kind = str(tool.get("type") or next(iter(tool), "")) if isinstance(tool, Mapping) else ""
            if not kind.startswith(OURS_TO_RUN):
                return f"the tool {kind!r}, which the provider runs"
        return next((f"extra_body[{name!r}]" for name in extra if name in UNBOUNDED), "")


THINKING = frozenset(("thinking", "reasoning", "reasoning_effort"))


class Ledger:
    """Reserves and settles for all targets of one orchestrator.

    charges: budgets over everything.  labelled: budgets kept per value of a label.
    """

    def __init__(
        self,
        store: Store,
        charges: tuple[Charge, ...],
        labelled: tuple[Budget, ...],
    ) -> None:
        self._store = store
        self._charges = charges
        self._labelled = labelled
        self._budgets = (*(charge.budget for charge in charges), *labelled)

    def budgeted(self, live: Live) -> bool:
        return bool(self._charges or self._labelled or live.charges)

    def stated(self, request: Request, live: Live) -> Request:
        """The request with what its target adds to every body.

        Where a cap is needed, one in ``extra_body`` becomes the request's own: it would go out past the reservation.
        """
        extra: Mapping[str, Any] = request.extra_body
        if live.config.extra_body:
            extra = {**live.config.extra_body, **extra}
        if not extra:
            return request
        caps = [extra[name] for name in CAPS if name in extra] if live.needs_cap or self.budgeted(live) else []
        if caps:
            extra = {name: value for name, value in extra.items() if name not in CAPS}
            given = [cap for cap in caps if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0]
            request = replace(request, max_tokens=max(given, default=request.max_tokens))
        return request if extra is request.extra_body else replace(request, extra_body=extra)

    def prepare(self, request: Request, live: Live) -> Request:
        """The request with the output cap that is really sent to this target."""
        cap, largest = request.max_tokens, live.model.facts.max_output_tokens
        if cap is None and (live.needs_cap or self.budgeted(live)):
            cap = self._default_cap(live)
        if cap is not None and largest is not None and cap > largest:
            cap = largest
        return request if cap == request.max_tokens else replace(request, max_tokens=cap)

    def _default_cap(self, live: Live) -> int:
        budgets = self._budgets
        if live.charges:
            budgets += tuple([charge.budget for charge in live.charges])
        set_by_user = [budget.default_max_tokens for budget in budgets if budget.default_max_tokens is not None]
        return min(set_by_user, default=REASONING_CAP if live.model.facts.reasons else DEFAULT_CAP)

    def ask(self, request: Request, live: Live, weight: Weight, ttl: float, ticket: Ticket) -> Ask | Rejection:
        """What to ask of the gates; a rejection where a budget finds no label, or no bound to what it would pay."""
        charges = self._charges + live.charges
        for budget in self._labelled:
            value = request.labels.get(budget.per_label or "")
            if value is None:
                return Rejection(live.name, Reason.BUDGET_SPENT, _unlabelled(budget))
            charges += (Charge(f"label:{budget.per_label}={value}:{budget.per}", budget),)
        bound = weight.bound(live) if charges else 0
        cost = self._worst_case(request, live, weight, bound) if charges else 0
        if cost and (what := weight.unbounded()):
            return Rejection(live.name, Reason.BUDGET_SPENT, _boundless(what))
        return Ask(
            gates=live.gates,
            input_tokens=weight.size.estimate(live.ratio.value) if live.limited else 0,
            output_tokens=request.max_tokens or OUTPUT_GUESS,
            cost=cost,
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
        return prices.ceiling(live.price, bound, max(output, LEAST_CAP), weight.terms)

    def estimates(self, request: Request) -> Callable[[Live], int]:
        """About what a request costs at each target, for choosing the cheapest; unknown prices come last."""
        size = tokens.measure(request)

        def estimate(live: Live) -> int:
            if live.price is None:
                return UNKNOWN_COST
            return prices.ceiling(live.price, size.estimate(live.ratio.value), request.max_tokens or OUTPUT_GUESS)

        return estimate

    def settle(
        self,
        live: Live,
        lease: Lease,
        weight: Weight,
        outcome: Outcome | None,
        first: float | None,
        left: int | None,
        now: Now,
    ) -> tuple[int, Transition | Io[Transition | None] | None]:
        """Give the lease back with what is known; returns nano-dollars charged, and what the store answered.

        first: seconds to the first content, if there was any; left: bytes that had come of an attempt that was given
        up, None if unknown.
        """
        if outcome is None:
            cost = self._upper(live, lease, weight, left)
            answer: Any = self._store.abandon(lease, cost, now)
        else:
            cost = self._cost(live, lease, weight, outcome)
            answer = self._store.settle(lease, _settlement(lease, outcome, first, cost, now), now)
        self._record(live, lease, outcome, first, cost, now)
        return cost, answer

    def _cost(self, live: Live, lease: Lease, weight: Weight, outcome: Outcome) -> int:
        usage = usage_of(outcome)
        if live.price is None:
            return usage.cost or 0 if usage else 0
        if usage is not None and _credible(usage, outcome):
            return prices.cost(live.price, usage, lease.admitted.wall, _service(live.price, outcome, weight))
        if isinstance(outcome, Failure):
            return self._failed_cost(live, lease, weight, outcome)
        return self._upper(live, lease, weight, _size(outcome))

    def _failed_cost(self, live: Live, lease: Lease, weight: Weight, failure: Failure) -> int:
        """What broke off after something had come is charged, whatever broke it."""
        come = _size(failure.partial) if failure.partial is not None else 0
        if come or (failure.sent and VERDICTS[failure.kind].billed):
            return self._upper(live, lease, weight, come if failure.partial is not None else None)
        return 0

    def _upper(self, live: Live, lease: Lease, weight: Weight, size: int | None) -> int:
        """Certainly enough for ``size`` bytes of output, at least one a token, and no more than was reserved.

        All that was reserved, where the size is unknown or may not be all that was made.
        """
        if live.price is None or not lease.ask.cost or size is None or weight.hides(live):
            return lease.ask.cost
        made = prices.ceiling(live.price, lease.ask.bound, size + IN_FLIGHT_OUTPUT, weight.terms)
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
            tally.last_error = _sentence(outcome)
            if VERDICTS[outcome.kind].blame:
                live.load.observe(now.mono - lease.admitted.mono, now.mono)


def _sentence(failure: Failure) -> str:
    return f"{failure.kind}: {failure.message}" if failure.message else str(failure.kind)


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
        pause=_pause(outcome, verdict),
        slow_down=outcome.kind is Kind.SLOW_DOWN,
        disable=verdict.disable,
        until=_until(outcome, verdict, now),
        detail=_sentence(outcome),
        hint=outcome.hint if outcome.retry_after is None else None,  # resets say when all is whole, not when some is
    )


UNKNOWN_COST = 2**62
DEFAULT_PAUSE = 1.0
"""Seconds a rate-limited target rests when the provider did not say for how long."""


def _pause(failure: Failure, verdict: Verdict) -> float | None:
    """Seconds that the target rests: as it said itself, whatever its trouble; a while where it only said no."""
    if verdict.cool_down:
        return failure.retry_after or DEFAULT_PAUSE
    return failure.retry_after if verdict.blame else None


def _until(failure: Failure, verdict: Verdict, now: Now) -> float | None:
    """When what is switched off is tried again: as the provider said, else as the verdict does; None: by hand."""
    if failure.until is not None or verdict.recheck is None:
        return failure.until
    return now.wall + verdict.recheck


def usage_of(outcome: Outcome) -> Usage | None:
    if isinstance(outcome, Answer):
        return outcome.usage
    return outcome.partial.usage if outcome.partial is not None else None


def _service(price: Price, outcome: Outcome, weight: Weight) -> str:
    """The service tier that is billed: as the answer names it, else as it was asked for."""
    if not price.services:
        return ""
    answer = outcome if isinstance(outcome, Answer) else outcome.partial
    named = [answer.extra[name] for name in ("speed", "service_tier") if name in answer.extra] if answer else []
    for name in named or (weight.terms.service,):
        if name in price.services:
            return str(name)
    return ""


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


def _boundless(what: str) -> str:
    return f"nothing bounds the cost of {what}, so no budget can be kept; leave it out, or keep no budget"


def _unlabelled(budget: Budget) -> str:
    label = budget.per_label
    return f"the budget is kept per {label!r}, and this call has no such label: pass labels={{{label!r}: ...}}"
