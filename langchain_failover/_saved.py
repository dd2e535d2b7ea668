"""A ``ChatFailover`` as LangChain's JSON (``dumps``/``loads``): configuration without state, keys as secrets.

Targets become strings where their name says all, else dictionaries of what differs from the defaults; settings
become dictionaries; both are what the constructor takes.  A key that was given is written as LangChain's marker for
a secret, under the name of the provider's environment variable, and is looked up there when it is loaded; a store's
address that holds a password likewise, under ``REDIS_URL``.  Live
things (HTTP clients, stores, listeners, framework models, functions) are left to LangChain, which writes them as
``not_implemented`` and refuses to load them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from langchain_core.load.serializable import Serializable
from pydantic import SecretStr

from failover.dialects.providers import PROVIDERS
from failover.settings import Target
from failover.store.choice import VARIABLE, portable


def saved_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an orchestrator as JSON values."""
    return {name: _store(value) if name == "store" else _saved(value) for name, value in options.items()}


def _store(store: Any) -> Any:
    """An address that holds a password is a secret."""
    hidden = isinstance(store, str) and portable(store) != store
    return _Key(variable=VARIABLE) if hidden else _saved(store)


def saved_targets(targets: Sequence[Target]) -> list[Any]:
    return [_target(target) for target in targets]


def _target(target: Target) -> Any:
    portable = target.portable()
    said = {name: _saved(portable.get(name, value)) for name, value in _changed(target).items()}
    if "api_key" in said:
        said["api_key"] = _secret(target)
    return target.name if said.keys() == {"name"} else said


def _changed(settings: Any) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    known = type(settings).__pydantic_fields__
    defaults = {name: field.get_default(call_default_factory=True) for name, field in known.items()}
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: value for name, value in values.items() if value != defaults[name]}


class _Key(Serializable):
    """LangChain's marker for a secret; a plain dictionary that looks like one would be escaped as user data."""

    variable: str

    def to_json(self) -> Any:
        return {"lc": 1, "type": "secret", "id": [self.variable]}


def _secret(target: Target) -> Any:
    return _Key(variable=variable_of(target)) if isinstance(target.api_key, SecretStr) else target.api_key


def variable_of(target: Target) -> str:
    """The environment variable that a target's key is named after."""
    provider = target.provider or target.name.partition(":")[0]
    row = PROVIDERS.get(provider)
    return row.key_env[0] if row and row.key_env else f"{provider.upper().replace('-', '_')}_API_KEY"


def _saved(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return float(value)
        case Mapping():
            return {str(key): _saved(entry) for key, entry in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_saved(entry) for entry in value]
        case _ if is_dataclass(value) and hasattr(type(value), "__pydantic_fields__"):
            return {name: _saved(entry) for name, entry in _changed(value).items()}
        case _:
            return value
