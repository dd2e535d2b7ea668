"""A simulation in a file: scenario, targets, policies, and what is expected of them.

TOML or JSON, with the names that the settings have in Python::

    seed = 7
    targets = ["openai:gpt-6-luna", { name = "anthropic:claude-haiku-5-5", rpm = 500 }]
    traffic = { rate = 1.0, duration = "1d" }

    [[incidents]]
    target = "openai"
    kind = "down"
    start = "9h"
    end = "11h"

    [policies.default]                      # or [policy], when there is one

    [policies.patient]
    breaker = { failure_threshold = 20 }
    budget = { limit = 5.0, per = "day" }

    [[expect]]                              # optional: a test
    policy = "default"                      # every policy, if left out
    start = "9h"                            # the whole run, if left out
    end = "11h"
    success = 0.999                         # at least
    p99 = 20                                # at most: p50, p99, cost, wasted
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any

from failover._checked import settings
from failover._configured import setting
from failover._words import amount, money, share
from failover.errors import ConfigurationError
from failover.settings import NotNegative, ShareOrZero
from failover.simulate.chance import Span, moment
from failover.simulate.compare import Comparison, compare
from failover.simulate.result import Result
from failover.simulate.scenario import Scenario

SCENARIO = tuple(field.name for field in fields(Scenario))
PARTS = (*SCENARIO, "targets", "policy", "policies", "expect")


@settings
class Expectation:
    """What has to hold for it not to be missed; ``success`` at least, the others at most."""

    policy: str | None = None
    start: Span = 0.0
    end: Span | None = None
    success: ShareOrZero | None = None
    p50: NotNegative | None = None
    p99: NotNegative | None = None
    cost: NotNegative | None = None
    wasted: NotNegative | None = None


def run_file(path: str | Path) -> Comparison:
    """Run what a file describes; ``missed`` of the result lists the expectations that did not come true.

    Raises ``ConfigurationError`` for a file that cannot be read or means nothing.
    """
    given = _read(Path(path))
    unknown = next((name for name in given if name not in PARTS), None)
    if unknown is not None:
        raise ConfigurationError(f"{path}: {unknown} is not a part of a simulation; there are {', '.join(PARTS)}")
    scenario = Scenario(**{name: given[name] for name in SCENARIO if name in given})
    targets = setting("targets", _needed(path, given))
    policies = {name: _options(name, options) for name, options in _policies(given).items()}
    expected = [Expectation(**each) for each in given.get("expect", ())]
    _known(expected, policies)
    results = compare(policies, scenario, targets)
    missed = tuple(miss for each in expected for miss in _misses(each, results))
    return Comparison(results.results, missed, len(expected))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _needed(path: str | Path, given: Mapping[str, Any]) -> Any:
    if not given.get("targets"):
        raise ConfigurationError(f'{path}: targets is missing; write targets = ["openai:gpt-6-luna", ...]')
    return given["targets"]


def _policies(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if "policy" in given and "policies" in given:
        raise ConfigurationError("write [policy] for one, or [policies.NAME] for several, not both")
    policies: Mapping[str, Any] = given.get("policies") or {"simulation": given.get("policy", {})}
    return policies


def _options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's options, with tables turned into the settings they stand for."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"policies.{name} = {given!r}: write a table of options")
    return {key: setting(key, value) for key, value in given.items()}


# ------------------------------------------------------------- expectations


def _known(expected: list[Expectation], policies: Mapping[str, Any]) -> None:
    unknown = next((each.policy for each in expected if each.policy is not None and each.policy not in policies), None)
    if unknown is not None:
        raise ConfigurationError(f"expect: no policy is called {unknown!r}; there are {', '.join(policies)}")


def _misses(expected: Expectation, results: Mapping[str, Result]) -> Iterator[str]:
    for name, result in results.items():
        if expected.policy in (None, name):
            for miss in _missed(expected, result):
                yield f"{name}: {miss}"


def _missed(expected: Expectation, result: Result) -> Iterator[str]:
    figures = result.between(expected.start, inf if expected.end is None else moment(expected.end))
    if expected.success is not None and (figures.success or 0.0) < expected.success:
        yield f"success {share(figures.success)}, expected at least {share(expected.success)}"
    for name, show in AT_MOST.items():
        most, found = getattr(expected, name), getattr(figures, name)
        if most is not None and (found is None or found > most):
            yield f"{name} {show(found)}, expected at most {show(most)}"


AT_MOST: Mapping[str, Callable[[Any], str]] = {
    "p50": lambda value: amount(value, "s"),
    "p99": lambda value: amount(value, "s"),
    "cost": money,
    "wasted": "{:,.0f}".format,
}
