"""What a user hands to ``ChatFailover``: targets in any form, one key or several, and mistakes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding
from pydantic import SecretStr, ValidationError

from failover._checked import closest
from failover.errors import ConfigurationError
from failover.settings import Target
from langchain_failover._target import as_target


def target_of(given: Any) -> Any:
    match given:
        case str():
            return Target(given)
        case Mapping():
            return Target(**given)
        case Target():
            return given
        case BaseChatModel() | RunnableBinding():
            return as_target(given)
        case _:
            raise ConfigurationError(
                f"targets: {given!r} is neither a model string, nor a Target, nor a LangChain chat model"
            )


def keyed(targets: tuple[Target, ...], key: SecretStr | Mapping[str, SecretStr] | None) -> tuple[Target, ...]:
    """The targets, with the given key where they have none of their own."""
    if key is None:
        return targets
    bare = [target for target in targets if target.api_key is None and target.attempter is None]
    providers = {_provider(target) for target in bare}
    if isinstance(key, SecretStr) and len(providers) > 1:
        raise ConfigurationError(
            f"api_key: one key cannot be for {', '.join(sorted(providers))}; write api_key={{'provider': 'key', ...}}"
        )
    keys = dict.fromkeys(providers, key) if isinstance(key, SecretStr) else dict(key)
    return tuple(
        replace(target, api_key=keys[_provider(target)]) if target in bare and _provider(target) in keys else target
        for target in targets
    )


def _provider(target: Target) -> str:
    return target.provider or target.name.partition(":")[0]


CALLED_HERE = {"model": "targets", "models": "targets", "model_name": "targets", "deadline": "timeout"}
"""Names that others have for what is meant."""


def explained(error: ValidationError, fields: Collection[str]) -> str:
    """Pydantic's findings without the values, which may be secrets."""
    return "; ".join(_sentence(finding, fields) for finding in error.errors(include_input=False, include_url=False))


def _sentence(finding: Any, fields: Collection[str]) -> str:
    place = ".".join(str(part) for part in finding["loc"])
    if finding["type"] != "extra_forbidden":
        return f"ChatFailover: {place}: {finding['msg']}"
    near = CALLED_HERE.get(place) or next(iter(closest(place, fields)), None)
    guess = f"; did you mean {near}?" if near else ""
    return f"ChatFailover: {place} is not an option{guess}"
