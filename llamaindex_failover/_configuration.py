"""A ``Failover``'s configuration as plain data, for ``to_dict``, and back.

Never in it: keys, headers that carry one, passwords in URLs, and whatever lives (clients, listeners, stores, framework
models).  Keys are taken from the environment again when it is read, and so is a store's password (``REDIS_URL``); so a
``to_dict`` may be stored, logged and compared.  It is equal for equal configurations in every process:
``IngestionPipeline`` keys its cache by it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypedDict

import httpx
from pydantic import TypeAdapter

from failover._checked import closest
from failover._configured import setting
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.events import Listener
from failover.settings import Budget, Cache, CircuitBreaker, Hedge, Retry, Target, Timeouts
from failover.store.choice import portable


class Orchestration(TypedDict, total=False):
    """What ``Failover`` takes besides its targets; see there."""

    strategy: Literal["round_robin", "priority", "weighted", "fastest", "cheapest"]
    budget: Budget | float | Decimal | Sequence[Budget] | None
    response_cache: bool | Cache
    breaker: CircuitBreaker | None
    retry: Retry | None
    timeouts: Timeouts | None
    deadline: float
    max_wait: float
    store: Any
    on_store_lost: Literal["raise", "local"]
    on_stream_cut: Literal["raise", "resume"]
    on_content_filter: Literal["raise", "next"]
    hedge: Hedge | None
    listeners: Sequence[Listener]
    client: httpx.Client | None
    async_client: httpx.AsyncClient | None
    http2: bool


CALLED_HERE = {"model": "targets", "models": "targets", "timeout": "deadline"}
"""Names that others have for what is meant."""


def refuse_unknown(settings: Orchestration) -> None:
    known = Orchestration.__annotations__
    for name in settings:
        if name not in known:
            near = CALLED_HERE.get(name) or next(iter(closest(name, known)), None)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
            raise ConfigurationError(f"FailoverLLM: unknown setting {name!r}; {hint}")


SETTINGS = (Budget, Cache, CircuitBreaker, Hedge, Retry, Timeouts)
LIVE = frozenset({"listeners", "client", "async_client"})
SECRET = {"api_key", "headers", "attempter"}
DEFAULTS = {name: each.default for name, each in inspect.signature(Failover.__init__).parameters.items()}
FRAMEWORK_MODEL = "not_implemented"


# -------------------------------------------------------------------- dump


def dumped(failover: Failover) -> dict[str, Any]:
    """What differs from the defaults, as JSON-friendly data."""
    config = {name: value for name, value in failover._config.items() if name not in LIVE}
    set_here = {name: _plain(value) for name, value in config.items() if value != DEFAULTS[name]}
    store = _store(set_here.pop("store", None))
    return {"targets": [_target(target) for target in failover.targets], **set_here, **store}


def _store(store: Any) -> dict[str, str]:
    """Its address, without a password; a store that lives is left out."""
    return {"store": portable(store)} if isinstance(store, str) else {}


def _target(target: Target) -> str | dict[str, Any]:
    facts = TypeAdapter(Target).dump_python(target, mode="json", exclude=SECRET, exclude_defaults=True)
    facts |= {name: value for name, value in target.portable().items() if value and name in ("base_url", "headers")}
    if target.attempter is not None:
        facts["attempter"] = FRAMEWORK_MODEL
    return target.name if set(facts) == {"name"} else facts


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, SETTINGS):
        return TypeAdapter(type(value)).dump_python(value, mode="json", exclude_defaults=True)
    return value


# -------------------------------------------------------------------- load


def revived(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data as settings again.  What is a setting already stays as it is."""
    return {name: _revived(name, value) for name, value in data.items()}


def _revived(name: str, value: Any) -> Any:
    if name == "targets":
        return [_revived_target(each) for each in value]
    if name == "budget" and isinstance(value, str):
        return Decimal(value)
    return setting(name, value)


def _revived_target(given: Any) -> Any:
    if isinstance(given, Mapping) and given.get("attempter") == FRAMEWORK_MODEL:
        raise ConfigurationError(
            f"target {given['name']!r} is a LlamaIndex LLM, which is not written into a dict; give the targets again: "
            "FailoverLLM.from_dict(data, targets=[...])"
        )
    return setting("targets", given)
