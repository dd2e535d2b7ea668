"""What the options of an orchestrator may be: one row each, checked before anything is built.

A wrong value raises ``ConfigurationError``, which names the option, the value and what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from failover._routing import Strategy
from failover.errors import ConfigurationError
from failover.settings import Cache, CircuitBreaker, Hedge, Retry, Timeouts

OnStreamCut = Literal["raise", "resume"]
OnContentFilter = Literal["raise", "next"]
OnStoreLost = Literal["raise", "local"]


class Rule(NamedTuple):
    """Whether a value will do, and what to write where it does not."""

    holds: Callable[[object], bool]
    write: str


def check(given: Mapping[str, object]) -> None:
    """Raises ``ConfigurationError`` for the first value that cannot be meant."""
    for name, rule in RULES.items():
        if not rule.holds(given[name]):
            raise ConfigurationError(f"{name} = {given[name]!r}: write {rule.write}")


def _one_of(alias: object) -> Rule:
    allowed = get_args(alias)
    return Rule(lambda value: value in allowed, f"one of {', '.join(map(repr, allowed))}")


def _a(kind: type, write: str) -> Rule:
    return Rule(lambda value: value is None or isinstance(value, kind), f"{write}, or None")


def _seconds(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < float("inf")


def _listeners(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(callable, value))


def _client(value: object) -> bool:
    """By what it can do: httpx is not the only package with its interface."""
    return value is None or (callable(getattr(value, "send", None)) and not isinstance(value, type))


def _store(value: object) -> bool:
    """A URL is looked at when it is opened."""
    return isinstance(value, str) or callable(getattr(value, "admit", None))


RULES: Mapping[str, Rule] = {
    "strategy": _one_of(Strategy),
    "response_cache": Rule(lambda value: isinstance(value, bool | Cache), "True, False or Cache(...)"),
    "breaker": _a(CircuitBreaker, "CircuitBreaker(failure_threshold=...)"),
    "retry": _a(Retry, "Retry(attempts=...)"),
    "timeouts": _a(Timeouts, "Timeouts(first_content=...)"),
    "deadline": Rule(_seconds, "a number of seconds above 0"),
    "max_wait": Rule(_seconds, "a number of seconds above 0"),
    "store": Rule(_store, "'memory', a URL such as 'sqlite:///failover.db', or an object with the Store protocol"),
    "on_stream_cut": _one_of(OnStreamCut),
    "on_content_filter": _one_of(OnContentFilter),
    "on_store_lost": _one_of(OnStoreLost),
    "hedge": _a(Hedge, "Hedge()"),
    "listeners": Rule(_listeners, "a list of functions of one event"),
    "client": Rule(_client, "an httpx.Client, or None"),
    "async_client": Rule(_client, "an httpx.AsyncClient, or None"),
    "http2": Rule(lambda value: isinstance(value, bool), "True or False"),
}
"""Targets and budgets are checked where they are made."""
