"""Several policies in the same scenario, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failover._shown import Shown
from failover._words import amount, columns, count, money, share
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.settings import Target
from failover.simulate.result import Result
from failover.simulate.run import Policy, check, simulated, targets_in
from failover.simulate.scenario import Scenario

HEAD = ("policy", "answered", "p50", "p99", "attempts", "wasted", "cost", "failed with")


@dataclass(frozen=True)
class Comparison(Mapping[str, Result], Shown):
    """Results by the policies' names.

    ``expected``: how many expectations there were (see ``run_file``); ``missed``: those that did not come true.
    """

    results: Mapping[str, Result]
    missed: tuple[str, ...] = ()
    expected: int = 0

    def __getitem__(self, name: str) -> Result:
        return self.results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"results": [each.to_dict() for each in self.results.values()], "missed": list(self.missed)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        """A table of the policies; of a single one its own table."""
        if len(self.results) == 1:
            lines = [str(next(iter(self.results.values())))]
        else:
            lines = list(columns(HEAD, map(row, self.results.values())))
        if self.expected:
            lines.extend(("", *(f"missed: {each}" for each in self.missed or ("nothing that was expected",))))
        return "\n".join(lines)


def row(result: Result) -> tuple[str, ...]:
    figures = result.figures
    errors = ", ".join(f"{name} ({count(times)})" for name, times in figures.errors.items())
    return (
        result.name,
        share(figures.success),
        amount(figures.p50, "s"),
        amount(figures.p99, "s"),
        count(figures.attempts),
        count(figures.wasted),
        money(figures.cost),
        errors,
    )


def compare(
    policies: Mapping[str, Mapping[str, Any] | Failover],
    scenario: Scenario,
    targets: Sequence[str | Target] = (),
) -> Comparison:
    """Every policy in the same scenario, with the same callers and the same weather.

    policies: by name, a ``Failover`` or its options; ``targets`` among the options wins over the common ones.
    """
    if not policies:
        raise ConfigurationError("policies = {}: write at least one, such as {'default': {}}")
    plans = {name: _plan(policy, targets) for name, policy in policies.items()}
    check(scenario, [target for policy, _ in plans.values() for target in targets_in(policy)])
    return Comparison({name: simulated(scenario, plan[0], name, plan[1]) for name, plan in plans.items()})


def _plan(given: Mapping[str, Any] | Failover, targets: Sequence[str | Target]) -> tuple[Policy, dict[str, Any]]:
    """A policy and its options."""
    if isinstance(given, Failover):
        return given, {}
    options = dict(given)
    return options.pop("targets", targets), options
