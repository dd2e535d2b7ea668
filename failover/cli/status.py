"""``failover status``: how the targets of a shared store are, seen from another process."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass

from failover import cli
from failover.cli.budget import lines as budget_lines
from failover.cli.given import configured, needed, onlooker
from failover.cli.terminal import duration, note, paint, shortened, show_json, state, width
from failover.client import Failover

HELP = "how the targets of a shared store are"


def arguments(command: ArgumentParser) -> None:
    cli.shared(command)
    cli.of_store(command)


@dataclass(frozen=True, slots=True)
class Row:
    """A target as the store knows it.  ``back_in``: seconds until it is tried again, where that is known."""

    name: str
    state: str
    back_in: float | None
    in_flight: int
    waiting: int
    failures: int
    detail: str


def run(given: Namespace) -> int:
    needed(configured(given))
    with onlooker(given, {}) as (guard, store):
        rows, budgets = _rows(guard), guard.budgets
    if given.json:
        show_json({"store": store, "targets": rows, "budgets": budgets})
        return cli.OK
    print(paint(f"store {store}", "dim"), "", *_lines(rows), sep="\n")
    if budgets:
        print("", *budget_lines(budgets), sep="\n")
    return cli.OK


def _rows(guard: Failover) -> list[Row]:
    now = guard._core.now()
    return [
        Row(
            name=each.target,
            state=each.state,
            back_in=None if each.until is None else max(0.0, each.until - now.mono),
            in_flight=each.in_flight,
            waiting=each.waiting,
            failures=each.consecutive_failures,
            detail=each.detail,
        )
        for each in guard._states(now)
    ]


FIGURES = 48
"""Columns that the figures of a row take."""


def _lines(rows: list[Row]) -> Iterator[str]:
    size = min(max(len(row.name) for row in rows), width() - FIGURES)
    yield paint(f"{'target':<{size}}  {'state':<9}{'back in':>9}{'in flight':>11}{'waiting':>9}{'failed':>8}", "bold")
    for row in rows:
        back = "" if row.back_in is None else duration(row.back_in)
        yield (
            f"{shortened(row.name, size):<{size}}  {state(row.state, 9)}{back:>9}"
            f"{row.in_flight:>11}{row.waiting:>9}{row.failures:>8}"
        )
        if row.detail:
            yield paint(note(row.detail, 4), "dim")
