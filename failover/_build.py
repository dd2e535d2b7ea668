"""From what was configured to what is at work: every mistake that can be known is raised here.

A target's name says its provider and model (``provider:model``) unless its fields do.  Keys come from the target,
else from the provider's variables in the environment; they stay inside ``SecretStr`` and functions until a request
is made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from failover import prices
from failover._live import Live
from failover.cache.key import digest
from failover.dialects.base import Dialect, Model, Provider
from failover.dialects.choice import dialect_of
from failover.dialects.providers import PROVIDERS, base_url, custom, unknown_provider
from failover.errors import ConfigurationError
from failover.facts import Facts, facts_for
from failover.settings import Budget, CircuitBreaker, Target, Timeouts
from failover.store.base import Charge, Gates
from failover.types import Request

if TYPE_CHECKING:
    import httpx

    from failover._connections import Connections

HEADERS = {"Content-Type": "application/json", "User-Agent": "failover"}


def targets_of(given: Iterable[object]) -> tuple[Target, ...]:
    """Targets from what the user wrote, each checked for its kind, all for distinct names."""
    if isinstance(given, str | Target):
        given = (given,)
    targets = tuple(_target(each) for each in given)
    if not targets:
        raise ConfigurationError('targets = []: write at least one, such as "openai:gpt-6-luna"')
    names = [target.name for target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"targets: the name {twice[0]!r} is used twice; give one of them another: Target('other', model=...)"
        )
    return targets


def _target(given: object) -> Target:
    if isinstance(given, Target):
        return given
    if isinstance(given, str):
        return Target(given)
    raise ConfigurationError(
        f"targets: {type(given).__name__} is neither a model string nor a Target; a LangChain or LlamaIndex model "
        "becomes one with as_target(model) from langchain_failover or llamaindex_failover"
    )


def budgets_of(given: Budget | float | Decimal | Sequence[Budget] | None) -> tuple[Budget, ...]:
    match given:
        case None:
            return ()
        case Budget():
            return (given,)
        case bool() | str():
            raise ConfigurationError(f"budget = {given!r}: write US dollars a day, or Budget(dollars, per=...)")
        case int() | float() | Decimal():
            return (Budget(Decimal(str(given))),)
        case _:
            if not all(isinstance(each, Budget) for each in given):
                raise ConfigurationError(f"budget = {given!r}: write dollars, a Budget, or a list of Budgets")
            return tuple(given)


def charges_of(budgets: Sequence[Budget], scope: str) -> tuple[Charge, ...]:
    """One counter per budget; two over the same scope and period would be one and the same."""
    return tuple(Charge(f"{scope}:{budget.per}", budget) for budget in budgets if budget.per_label is None)


class Builder:
    """Makes live targets that share the orchestrator's defaults and the caller's clients."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        timeouts: Timeouts,
        budgeted: bool,
        connections: Callable[[], Connections],
        noted: Callable[[str, tuple[str, ...]], None],
        salt: bytes,
    ) -> None:
        self._breaker = breaker
        self._timeouts = timeouts
        self._budgeted = budgeted
        self._connections = connections
        self._noted = noted
        self._salt = salt

    def live(self, index: int, target: Target) -> Live:
        provider, model_id = _resolve(target)
        facts = _facts(target, provider, model_id)
        model = Model(model_id, provider, facts, target.api_version, target.end_marker)
        price = target.price or prices.price_for(provider.name, model_id)
        budgets = budgets_of(target.budget)
        if price is None and (self._budgeted or budgets):
            raise ConfigurationError(_no_price(target, model))
        limits = target.limits
        live = Live(
            index,
            target,
            target.name,
            model,
            _identity(target, model),
            Gates(target.name, "", model_id, target.breaker or self._breaker, limits, target.reenable_after),
            _NO_ATTEMPTER if target.attempter is None else target.attempter,
            target.timeouts or self._timeouts,
            price,
            charges_of(budgets, f"target:{target.name}"),
            limited=any((limits.tokens, limits.input_tokens, limits.output_tokens)),
            needs_cap=provider.dialect == "anthropic",
        )
        if target.attempter is None:
            self._connect(live, provider)
        return live

    def _connect(self, live: Live, provider: Provider) -> None:
        from failover._http import HttpAttempter  # and with it httpx: not before there is a target to ask

        target, key = live.config, _key(live.config, provider)
        live.gates = replace(live.gates, credential=_fingerprint(provider, key, self._salt))
        if callable(target.api_key):
            live.fingerprint = lambda: _fingerprint(provider, key, self._salt)
        live.url = _url(target, provider)
        live.attempter = HttpAttempter(
            _speaker(live, provider),
            live.url,
            {**HEADERS, **provider.headers, **target.headers},
            _credential(provider, key),
            self._connections(),
            lambda notes: self._noted(live.name, notes),
        )


def _speaker(live: Live, provider: Provider) -> Callable[[Request], tuple[Model, Dialect]]:
    """Who answers a request, and in which dialect; both may change with what is learned of the model."""
    chosen = live.config.dialect
    gateway = bool(provider.base_url) and live.url != provider.base_url.rstrip("/")

    def speaker(request: Request) -> tuple[Model, Dialect]:
        model = replace(live.model, learned=live.learned) if live.learned else live.model
        return model, dialect_of(model, request, chosen, gateway)

    return speaker


def _credential(provider: Provider, key: Callable[[], str] | None) -> Callable[[], Mapping[str, str]]:
    """The header that carries the key, asked for anew with every request."""
    from failover._http import NoKey  # as above

    header, form = provider.auth

    def credential() -> Mapping[str, str]:
        if key is None:
            return {}
        try:
            return {header: form.format(key=key())}
        except Exception as error:  # what a vault says may hold secrets
            raise NoKey(f"api_key() raised {type(error).__name__}") from error

    return credential


def _resolve(target: Target) -> tuple[Provider, str]:
    """The provider's row and the model's id."""
    head, colon, tail = target.name.partition(":")
    if target.attempter is not None:
        return Provider(target.provider or "framework", "", "chat"), target.model or target.name
    name = target.provider or (head if colon and (head in PROVIDERS or target.base_url) else None)
    model = target.model or (tail if colon and name == head else None)
    if name is not None and name in PROVIDERS:
        return PROVIDERS[name], _needed(target, model)
    if target.base_url is not None:
        return custom(name or target.name, target.base_url, target.dialect or "chat"), _needed(target, model)
    raise ConfigurationError(_unknown(target, name or head))


def _needed(target: Target, model: str | None) -> str:
    if not model:
        raise ConfigurationError(f"Target {target.name!r}: no model; write 'provider:model' or model=...")
    return model


def _unknown(target: Target, name: str) -> str:
    if ":" not in target.name and target.provider is None:
        return f"Target {target.name!r}: no provider; write 'provider:model', or base_url=... and model=..."
    return f"Target {target.name!r}: {unknown_provider(name)}"


def _url(target: Target, provider: Provider) -> str:
    url = base_url(provider, os.environ, target.base_url, target.api_version)
    if url is None:
        raise ConfigurationError(
            f"Target {target.name!r}: set {provider.base_url_env} in the environment, or write base_url=..."
        )
    return url


def _facts(target: Target, provider: Provider, model: str) -> Facts:
    """The table's facts, corrected by what the target says."""
    known = facts_for(provider.name, model)
    said: dict[str, Any] = {
        "context_window": target.context_window,
        "max_output_tokens": target.max_output_tokens,
        "inputs": target.inputs,
        "tools": target.tools,
        "structured_output": target.structured_output,
    }
    return replace(known, **{name: value for name, value in said.items() if value is not None})


def _identity(target: Target, model: Model) -> str:
    """Whose answers it gives: another server's, or those to a body with other additions, are not the same."""
    where = f"{model.author}@{target.base_url}" if target.base_url else model.author
    return f"{where}+{digest(Request((), extra_body=target.extra_body)).hex()}" if target.extra_body else where


def _key(target: Target, provider: Provider) -> Callable[[], str] | None:
    """How to get the key, or None where none is needed."""
    given = target.api_key
    if isinstance(given, SecretStr):
        return given.get_secret_value
    if given is not None:
        return lambda: _revealed(given())
    found = _key_here(provider)
    return None if found is None else SecretStr(found).get_secret_value


def _key_here(provider: Provider) -> str | None:
    return next((value for name in provider.key_env if (value := os.environ.get(name))), None)


def demand_keys(targets: Sequence[Target]) -> None:
    """One error for all the keys that are missing, so that nobody finds them one by one."""
    asked = [(target, _resolve(target)[0]) for target in targets if target.attempter is None and target.api_key is None]
    keyless = [(target.name, provider.key_env) for target, provider in asked if provider.key_env]
    missing = {name: " or ".join(variables) for name, variables in keyless if not any(map(os.environ.get, variables))}
    if missing:
        who = "Target " if len(missing) == 1 else "Targets "
        wanted = " and ".join(dict.fromkeys(missing.values()))
        raise ConfigurationError(
            f"{who}{', '.join(map(repr, missing))}: no API key; set {wanted} in the environment, or write api_key=..."
        )


def _revealed(key: str | SecretStr) -> str:
    return key.get_secret_value() if isinstance(key, SecretStr) else key


def _fingerprint(provider: Provider, key: Callable[[], str] | None, salt: bytes) -> str:
    """Names a credential without revealing it: a keyed hash, salted alike by all who share a store."""
    secret = key() if key is not None else ""
    return f"{provider.name}#{hashlib.blake2b(secret.encode(), digest_size=8, key=salt).hexdigest()}"


def _no_price(target: Target, model: Model) -> str:
    return (
        f"Target {target.name!r}: no price is known for {model.author}, so a budget cannot be kept; write "
        "price=Price(input=..., output=...) in dollars per million tokens, or price=Price.free()"
    )


class _Unreachable:
    """Stands where an attempter will be; never called."""


_NO_ATTEMPTER: Any = _Unreachable()


def connections_maker(
    client: httpx.Client | None, async_client: httpx.AsyncClient | None, http2: bool, made: list[Connections]
) -> Callable[[], Connections]:
    """Makes one pool per target, and remembers them so that they can be closed."""

    def make() -> Connections:
        from failover._connections import Connections  # as above

        connections = Connections(client, async_client, http2)
        made.append(connections)
        return connections

    return make
