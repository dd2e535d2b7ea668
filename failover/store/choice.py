"""From what the user wrote as ``store=`` to the store that it names.

A store's module is loaded when somebody names it, so nobody pays for the others or needs their libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import cast
from urllib.parse import urlsplit

from failover._checked import without_userinfo
from failover.errors import ConfigurationError
from failover.settings import Retry
from failover.store.base import Store
from failover.store.memory import MemoryStore

VARIABLE = "REDIS_URL"
"""Where the password of a store's address is found again."""
HIDDEN = "***"
HOMES = {
    "sqlite": "failover.store.sqlite",
    "redis": "failover.store.redis",
    "rediss": "failover.store.redis",
    "valkey": "failover.store.redis",
    "valkeys": "failover.store.redis",
    "unix": "failover.store.redis",
}
"""Which module serves a scheme: by its ``open_url``, with the arguments of ``open_store``.  ``redis`` is an extra."""


def portable(url: str) -> str:
    """The address as it may leave this process: ``***`` in place of a password."""
    parts = urlsplit(url)
    return without_userinfo(url) if parts.password or "password" in parts.query else url


def _whole(url: str) -> str:
    """With the password that was left out."""
    if HIDDEN not in url:
        return url
    whole = os.environ.get(VARIABLE, "")
    if portable(whole) != url:
        raise ConfigurationError(f"store = {url!r}: its password does not travel; set {VARIABLE} to the whole address")
    return whole


def open_store(url: str, rules: Retry, random: Callable[[], float]) -> Store:
    """The store at ``url``.  ``rules``: of the retry budget.  ``random``: uniform in [0, 1), for jitter.

    The password of a ``portable`` address is taken from ``REDIS_URL`` in the environment.

    Raises ``ConfigurationError``: there is no such kind of store, its library is missing, or it cannot be reached.
    """
    if url == "memory":
        return MemoryStore(random, rules)
    url = _whole(url)
    home = HOMES.get(urlsplit(url).scheme)
    if home is None:
        raise ConfigurationError(
            f"store = {without_userinfo(url)!r}: write 'memory', 'sqlite:///path.db', 'redis://host:6379/0' or a Store"
        )
    try:
        module = import_module(home)
    except ModuleNotFoundError as missing:
        if missing.name != "redis":
            raise
        shown = without_userinfo(url)
        raise ConfigurationError(f'store = {shown!r} needs a library: pip install "failover[redis]"') from None
    return cast(Store, module.open_url(url, rules, random))
