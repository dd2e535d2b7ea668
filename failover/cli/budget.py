"""``failover budget``: what is spent of the budgets that a shared store keeps, seen from another process."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from failover import cli
from failover.cli.given import onlooker
from failover.cli.terminal import bar, dollars, duration, paint, show_json
from failover.client import BudgetStatus, Failover
from failover.errors import ConfigurationError
from failover.settings import Budget

HELP = "what is spent of the budgets of a shared store"


def arguments(command: ArgumentParser) -> None:
    cli.shared(command)
    cli.of_store(command)
    command.add_argument("--limit", type=float, metavar="DOLLARS", help="the budget, where no file says it")
    command.add_argument("--per", default="day", choices=("hour", "day", "week", "month", "total"), help="its period")
    command.add_argument("--timezone", metavar="NAME", help="where its days begin (default: this machine's)")
    command.add_argument("--label", metavar="NAME=VALUE", help="what one value of a label has spent")


def run(given: Namespace) -> int:
    options: dict[str, Any] = {}
    if given.limit is not None:
        options["budget"] = Budget(given.limit, given.per, given.timezone)
    with onlooker(given, options) as (guard, store):
        budgets = _wanted(guard, given.label)
    if given.json:
        show_json({"store": store, "budgets": budgets})
    else:
        print(paint(f"store {store}", "dim"), "", *lines(budgets), sep="\n")
    return cli.OK


def _wanted(guard: Failover, label: str | None) -> Sequence[BudgetStatus]:
    if label is None:
        if not guard.budgets:
            raise ConfigurationError("there is no budget to look at; give --config with one, or --limit and --per")
        return guard.budgets
    name, equals, value = label.partition("=")
    found = guard.spent_by(name, value) if equals else None
    if found is None:
        raise ConfigurationError(f"--label {label}: no budget is kept per {name!r}; write NAME=VALUE of one that is")
    return (found,)


def lines(budgets: Sequence[BudgetStatus]) -> Iterator[str]:
    size = max(6, *(len(each.scope) for each in budgets))
    yield paint(f"{'budget':<{size}}  {'':<20}{'spent':>12}{'reserved':>12}{'limit':>11}  resets in", "bold")
    for each in budgets:
        share = float((each.spent + each.reserved) / each.limit) if each.limit else 1.0
        colour = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
        resets = "never" if each.resets_at is None else duration(max(0.0, each.resets_at - time.time()))
        yield (
            f"{each.scope:<{size}}  {paint(bar(share), colour)}{dollars(each.spent):>12}"
            f"{dollars(each.reserved):>12}{dollars(each.limit):>11}  {resets}"
        )
