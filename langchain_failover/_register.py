"""``init_chat_model("failover:openai:gpt-6-luna,groq:openai/gpt-oss-120b")``.

langchain keeps its providers in a private table and has no door for new ones; ``register()`` adds ours to it, once,
and only when it is called.  Several targets are separated by commas; ``failover:env`` takes whatever has a key in
the environment.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from failover.errors import ConfigurationError
from langchain_failover.chat_models import ChatFailover

NAME = "failover"


def register() -> None:
    """Make langchain's ``init_chat_model`` know ``failover:...``.  Raises ``ConfigurationError`` where it cannot."""
    try:
        table = import_module("langchain.chat_models.base")._BUILTIN_PROVIDERS
    except ImportError:
        raise ConfigurationError("register() needs langchain: pip install langchain") from None
    except AttributeError:
        raise ConfigurationError("this langchain has no table of providers; build ChatFailover(...) yourself") from None
    table[NAME] = (__name__.partition(".")[0], ChatFailover.__name__, _made)


def _made(cls: Callable[..., ChatFailover], *, model: str, **fields: Any) -> ChatFailover:
    if model == "env":
        return ChatFailover.from_env(**fields)
    return cls([name.strip() for name in model.split(",")], **fields)
