"""What each thing looks like: its text, and its HTML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from failover._words import amount, columns, count, duration, money, share
from failover.client import BudgetStatus, Failover, TargetStatus
from failover.display import html, pictures
from failover.display.theme import STATES, colour, fragment, target_colour
from failover.errors import StoreUnavailable
from failover.history import History
from failover.simulate import result as simulation
from failover.simulate.compare import HEAD, Comparison, row
from failover.types import Response, Result, Step

LONGEST = 20_000
"""Characters of an answer that are shown."""


@singledispatch
def view(shown: object) -> tuple[str, str]:
    """Text and HTML."""
    return str(shown), fragment(html.quiet(str(shown)))


# ------------------------------------------------------------ orchestrator

STATUS_HEAD = ("target", "state", "answered", "failed", "mean", "tokens", "spent", "last trouble")


@view.register
def _guard(guard: Failover) -> tuple[str, str]:
    states, budgets = guard.status(), _budgets(guard)
    text = "\n".join((repr(guard), "", *columns(STATUS_HEAD, map(_status_row, states)), *map(_budget_text, budgets)))
    rows = [_status_cells(place, state) for place, state in enumerate(states)]
    return text, fragment(
        html.table(STATUS_HEAD, rows, left=(0, 1), wide=7),
        "".join(map(_budget_html, budgets)),
        pictures.history(guard.history(), next(iter(budgets), None)),
    )


def _budgets(guard: Failover) -> Sequence[BudgetStatus]:
    """None while nobody knows what was spent, because the store is lost."""
    try:
        return guard.budgets
    except StoreUnavailable:
        return ()


def _status_row(state: TargetStatus) -> tuple[str, ...]:
    said = state.state.replace("_", "-")
    if state.reopens_in is not None:
        said += f" for {amount(state.reopens_in, 's')}"
    tokens = state.input_tokens + state.output_tokens
    return (
        state.name,
        said,
        count(state.successes) + (f" + {count(state.cached)} cached" if state.cached else ""),
        count(state.failures),
        amount(state.latency, "s"),
        count(tokens),
        money(float(state.cost)),
        state.detail,
    )


def _status_cells(place: int, state: TargetStatus) -> tuple[str, ...]:
    name, said, *others = _status_row(state)
    return (html.dot(target_colour(place), name), html.dot(colour(STATES[state.state]), said), *others)


@view.register
def _target(state: TargetStatus) -> tuple[str, str]:
    text = "\n".join(columns(STATUS_HEAD, [_status_row(state)]))
    return text, fragment(html.table(STATUS_HEAD, [_status_cells(0, state)], left=(0, 1), wide=7))


@view.register
def _budget(state: BudgetStatus) -> tuple[str, str]:
    return _budget_text(state), fragment(_budget_html(state))


def _budget_text(state: BudgetStatus) -> str:
    pending = f", {money(float(state.reserved))} reserved" if state.reserved else ""
    scope, _, period = state.scope.rpartition(":")
    whose = "" if scope == "all" else f" of {scope.partition(':')[2]}"
    spent, limit = money(float(state.spent)), money(float(state.limit))
    return f"budget{whose}: {spent} of {limit} spent {WHEN.get(period, period)}{pending}"


WHEN = {"hour": "this hour", "day": "today", "week": "this week", "month": "this month", "total": "in all"}


def _budget_html(state: BudgetStatus) -> str:
    limit = float(state.limit) or 1.0
    spent = float(state.spent) / limit
    parts = [(spent, "bad" if spent > 0.9 else "ok"), (float(state.reserved) / limit, "trial")]
    return html.quiet(_budget_text(state)) + html.meter(parts)


# ---------------------------------------------------------------- response


@view.register
def _response(response: Response) -> tuple[str, str]:
    facts = _facts(response)
    text = f"{response.content}\n\n[{' · '.join(value for value, _ in facts)}]"
    return text, fragment(
        html.title(response.target),
        html.chips(facts[1:]),
        f'<div class="fo-said">{html.said(_shortened(response.content))}</div>',
        *(html.quiet(f"calls {call.name}({call.arguments})") for call in response.tool_calls),
        pictures.trail(response.trail, response.latency) if _worth_a_picture(response.trail) else "",
    )


@view.register
def _outcome(result: Result) -> tuple[str, str]:
    if result.response is not None:
        return view(result.response)
    said = f"{type(result.error).__name__}: {result.error}"
    picture = pictures.trail(result.trail, result.elapsed) if result.trail else ""
    return said, fragment(html.title("No answer"), html.quiet(said), picture)


@view.register
def _history(history: History) -> tuple[str, str]:
    sent = [attempt for attempt in history.attempts if attempt.sent]
    failed = sum(attempt.reason != "ok" for attempt in sent)
    text = (
        f"{count(len(sent))} attempts in {duration(history.until - history.since)}, {count(failed)} without an answer"
    )
    return text, fragment(html.quiet(text), pictures.history(history, None))


def _facts(response: Response) -> list[tuple[str, str]]:
    usage = response.usage
    facts = [(response.target, "answered")]
    if response.cached:
        facts.append(("cached", "free"))
    else:
        facts.append((money(float(response.cost)), "estimated" if response.cost_estimated else "spent"))
    facts.append((f"{count(usage.input_tokens)} + {count(usage.output_tokens)}", "tokens in + out"))
    facts.append((amount(response.latency, "s"), "latency"))
    if response.resumed:
        facts.append((", ".join(response.resumed), "began it"))
    if response.capped:
        facts.append(("cut", "at a cap of ours"))
    return facts


def _shortened(content: str) -> str:
    return content if len(content) <= LONGEST else f"{content[:LONGEST]} …"


def _worth_a_picture(trail: Sequence[Step]) -> bool:
    return len(trail) > 1


# -------------------------------------------------------------- simulation


@view.register
def _simulation(result: simulation.Result) -> tuple[str, str]:
    told = enumerate(map(simulation.target_row, result.targets))
    rows = [(html.dot(target_colour(place), name), *rest) for place, (name, *rest) in told]
    return str(result), fragment(
        html.title(result.name),
        html.chips(_chips(result.figures, result.duration)),
        pictures.simulation(result),
        html.table(simulation.TARGET_HEAD, rows, left=(0,), wide=len(simulation.TARGET_HEAD) - 1),
    )


def _chips(figures: simulation.Figures, length: float) -> list[tuple[str, str]]:
    return [
        (share(figures.success), "answered"),
        (amount(figures.p50, "s"), "p50"),
        (amount(figures.p99, "s"), "p99"),
        (money(figures.cost), "spent"),
        (count(figures.wasted), "wasted calls"),
        (count(figures.calls), f"calls in {duration(length)}"),
    ]


@view.register
def _comparison(comparison: Comparison) -> tuple[str, str]:
    if len(comparison) == 1:
        _, shown = view(next(iter(comparison.values())))
        return str(comparison), shown + "".join(html.quiet(f"missed: {each}") for each in comparison.missed)
    results = list(comparison.values())
    rows = [_compared(result, results) for result in results]
    return str(comparison), fragment(
        html.table(HEAD, rows, left=(0,), wide=len(HEAD) - 1),
        pictures.side_by_side(results),
        *(html.quiet(f"missed: {each}") for each in comparison.missed),
    )


def _compared(result: simulation.Result, results: Sequence[simulation.Result]) -> tuple[str, ...]:
    """A row with bars that can be compared down the column."""
    name, answered, p50, p99, attempts, wasted, cost, errors = row(result)
    figures = result.figures
    slowest = max(each.figures.p99 or 0.0 for each in results) or 1.0
    dearest = max(each.figures.cost for each in results) or 1.0
    most = max(each.figures.wasted for each in results) or 1
    return (
        name,
        html.bar(answered, figures.success or 0.0, colour("ok")),
        p50,
        html.bar(p99, (figures.p99 or 0.0) / slowest, colour("t0")),
        attempts,
        html.bar(wasted, figures.wasted / most, colour("bad")),
        html.bar(cost, figures.cost / dearest, colour("t4")),
        errors,
    )
