"""failover for LangChain: ``ChatFailover``, and LangChain's own models as targets.

Names are fetched when they are first used, as in ``failover``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_failover._register import register
    from langchain_failover._target import as_target
    from langchain_failover.chat_models import ChatFailover

__all__ = ["ChatFailover", "as_target", "register"]

_HOMES = {"ChatFailover": "chat_models", "as_target": "_target", "register": "_register"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'langchain_failover' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"langchain_failover.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
