"""From a command's arguments to targets, options, and an orchestrator."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from failover._checked import without_userinfo
from failover._configured import KEY_ENV, Configuration, configuration
from failover.client import Failover
from failover.dialects.providers import PROVIDERS, key_variables, with_key_here
from failover.errors import ConfigurationError
from failover.settings import Price, Target


def configured(given: Namespace) -> Configuration:
    """What the file says; without one, a target for each key in the environment.  ``--target`` wins over both."""
    here = Configuration("the environment", with_key_here(os.environ), {})
    said = configuration(given.config) if given.config else here
    return Configuration("--target", given.target, said.options) if given.target else said


def orchestrator(given: Namespace, options: Mapping[str, Any]) -> Failover:
    """``options`` win over the file's."""
    said = configured(given)
    return Failover(needed(said).built(), **{**said.options, **options})


def needed(said: Configuration) -> Configuration:
    if not said.targets:
        raise ConfigurationError(
            f"there is nothing to ask: set a key ({', '.join(key_variables()[:3])}, ...), or give --target or --config"
        )
    return said


# ------------------------------------------------------------ shared stores


@contextmanager
def onlooker(given: Namespace, options: Mapping[str, Any]) -> Iterator[tuple[Failover, str]]:
    """An orchestrator that only looks at a shared store, and the store's name.  It needs no key."""
    said = configured(given)
    url = given.store or said.options.get("store", "memory")
    if url == "memory":
        raise ConfigurationError(
            "what is kept in memory cannot be seen from another process; give --store, or a configuration with one"
        )
    _there(url)
    targets = [_keyed(said.target(_unlocked(each))) for each in said.targets] or [NOBODY]
    with Failover(targets, **{**said.options, **options, "store": url}) as guard:
        yield guard, without_userinfo(url)


NOBODY = Target("nobody", base_url="http://localhost", model="nobody", price=Price.free())
"""A budget can be looked at without knowing any target."""


def _unlocked(written: Any) -> Any:
    """A target without the variable of its key, where that holds none."""
    if not isinstance(written, dict) or os.environ.get(str(written.get(KEY_ENV))):
        return written
    return {name: value for name, value in written.items() if name != KEY_ENV}


def _keyed(target: Target) -> Target:
    row = PROVIDERS.get(target.provider or target.name.partition(":")[0])
    if target.api_key is not None or row is None or any(map(os.environ.get, row.key_env)):
        return target
    return replace(target, api_key="none")


def _there(url: str) -> None:
    """Looking at a file that does not exist would make it."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path).removeprefix("/"))
    if parts.scheme == "sqlite" and not path.is_file():
        raise ConfigurationError(f"store: there is no file {path}")
