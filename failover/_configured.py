"""An orchestrator written down in TOML, with the names that its options have in Python.

    strategy = "priority"
    store = "sqlite:///failover.db"
    budget = { limit = 5.0, timezone = "Europe/Berlin" }     # or 5.0, or a list of tables

    [[targets]]                                              # or targets = ["openai:gpt-6-luna", ...]
    name = "openai:gpt-6-luna"
    api_key_env = "TEAM_OPENAI_KEY"                          # where the key is; the key itself is refused
    rpm = 500

Everything that can be set is a table or a plain value.  What lives (clients, listeners, framework models) is handed to
``Failover.from_toml`` beside the file.  A name that does not exist is an error that says what is near it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr

from failover._checked import CREDENTIAL, guess
from failover._options import RULES
from failover.errors import ConfigurationError
from failover.settings import Budget, Cache, CircuitBreaker, Hedge, Hours, Price, Retry, Target, Tier, Timeouts

T = TypeVar("T")

LIVE = ("listeners", "client", "async_client")
OPTIONS = ("targets", "budget", *(name for name in RULES if name not in LIVE))
KEY_ENV = "api_key_env"

KINDS: Mapping[str, Callable[..., Any]] = {
    "targets": Target,
    "budget": Budget,
    "response_cache": Cache,
    "breaker": CircuitBreaker,
    "retry": Retry,
    "timeouts": Timeouts,
    "hedge": Hedge,
    "price": Price,
    "tiers": Tier,
    "hours": Hours,
}
"""What a table under this name stands for."""
TABLES: Mapping[str, Callable[..., Any]] = {"services": Price, "later": Price}
"""What each table within a table of this name stands for."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says: its targets as they are written, and every other option as it is handed on."""

    where: str
    targets: Sequence[Any]
    options: Mapping[str, Any]

    def built(self) -> tuple[Target, ...]:
        """The targets.  Raises ``ConfigurationError``, also for a variable that holds no key."""
        return tuple(self.target(each) for each in self.targets)

    def target(self, written: Any) -> Target:
        return _in(self.where, lambda: _target(written))


def configuration(source: str | os.PathLike[str]) -> Configuration:
    """From a file's path, or from the text itself (several lines, or one with an equals sign)."""
    text, where = _text(source)
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    _refuse_keys(said, where)
    unknown = next((name for name in said if name not in OPTIONS), None)
    if unknown is not None:
        raise ConfigurationError(f"{where}: {_no_option(unknown)}")
    targets = said.pop("targets", None)
    if not isinstance(targets, list) or not targets:
        raise ConfigurationError(f'{where}: targets is missing; write targets = ["openai:gpt-6-luna"] or [[targets]]')
    return Configuration(where, targets, _in(where, lambda: {name: setting(name, each) for name, each in said.items()}))


def _text(source: str | os.PathLike[str]) -> tuple[str, str]:
    if isinstance(source, str) and ("\n" in source or "=" in source):
        return source, "the configuration"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except OSError as error:
        raise ConfigurationError(f"{source}: {error.strerror or error}") from None
    except ValueError:
        raise ConfigurationError(f"{source}: it is no UTF-8 text") from None


def _in(where: str, build: Callable[[], T]) -> T:
    """Say in which file a mistake is."""
    try:
        return build()
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _no_option(name: str) -> str:
    if name in LIVE:
        return f"{name} cannot be written in a file; write Failover.from_toml(..., {name}=...)"
    return f"{name} is not an option{guess(name, OPTIONS)}"


# ----------------------------------------------------------------- building


def setting(name: str, value: Any) -> Any:
    """What a plain value under this name stands for; a list of them one by one; what is a setting stays as it is."""
    if isinstance(value, list | tuple):
        return [setting(name, each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if name in TABLES:
        return {key: _made(TABLES[name], each) for key, each in value.items()}
    return _made(KINDS[name], value) if name in KINDS else value


def _made(kind: Callable[..., Any], value: Any) -> Any:
    return kind(**{key: setting(key, each) for key, each in value.items()}) if isinstance(value, Mapping) else value


def _target(written: Any) -> Target:
    if isinstance(written, str):
        return Target(written)
    if not isinstance(written, dict):
        raise ConfigurationError(f"targets: {written!r}: write a model string or a table")
    said = {name: setting(name, value) for name, value in written.items() if name != KEY_ENV}
    unknown = next((name for name in said if name not in FIELDS), None)
    if unknown is not None:
        raise ConfigurationError(f"Target: {unknown} is not a setting{guess(unknown, (*FIELDS, KEY_ENV))}")
    key = _key(written[KEY_ENV], written) if KEY_ENV in written else None
    return Target(**said, api_key=key)


FIELDS = tuple(field.name for field in fields(Target) if field.name not in ("_", "api_key", "attempter"))


def _key(variable: Any, written: Mapping[str, Any]) -> SecretStr:
    target = written.get("name", "?")
    if not isinstance(variable, str) or not variable.isidentifier():
        raise ConfigurationError(f"Target {target!r}: api_key_env: write the name of an environment variable")
    if not (key := os.environ.get(variable)):
        raise ConfigurationError(f"Target {target!r}: api_key_env = {variable!r}: set {variable} in the environment")
    return SecretStr(key)


# ------------------------------------------------------------------ secrets


def _refuse_keys(said: Any, where: str, place: str = "") -> None:
    """Files are copied, committed and shown: no key may be in one.  The value is not repeated."""
    if isinstance(said, dict):
        for name, value in said.items():
            here = f"{place}.{name}" if place else name
            if name == "api_key":
                raise ConfigurationError(f"{where}: {here}: {NO_KEY}")
            _refuse_keys(value, where, here)
    elif isinstance(said, list):
        for number, value in enumerate(said):
            _refuse_keys(value, where, f"{place}[{number}]")
    elif isinstance(said, str) and CREDENTIAL.match(said):
        raise ConfigurationError(f"{where}: {place} looks like a key: {NO_KEY}")


NO_KEY = 'a key does not belong in a file; write api_key_env = "NAME", and set NAME in the environment'
