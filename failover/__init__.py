"""A call to a language model that survives what its provider does, and never costs more than it may.

``Failover`` is the orchestrator; ``Target``, ``Budget`` and the other settings say what it may do; ``Request``,
``Message`` and ``Response`` are what goes in and comes out; everything it raises is a ``FailoverError``.

Names are fetched when they are first used: ``import failover`` costs next to nothing, and ``from failover import
Message`` loads neither httpx nor pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from failover.client import BudgetStatus, Failover, TargetStatus
    from failover.errors import (
        AllTargetsFailed,
        BadRequest,
        BudgetExceeded,
        CircuitOpen,
        ConfigurationError,
        ContentFiltered,
        ContextOverflow,
        FailoverError,
        Incapable,
        ProviderError,
        RateLimited,
        Rejected,
        StoreUnavailable,
        StreamInterrupted,
        TargetDisabled,
    )
    from failover.history import History
    from failover.settings import (
        Budget,
        Cache,
        CircuitBreaker,
        Hedge,
        Hours,
        Price,
        RateLimit,
        Retry,
        Target,
        Tier,
        Timeouts,
    )
    from failover.store.sliced import SlicedStore
    from failover.store.sqlite import SQLiteStore
    from failover.types import (
        Answer,
        Block,
        CallOptions,
        Chunk,
        Failure,
        JsonFormat,
        Kind,
        Media,
        Message,
        Outcome,
        Request,
        Response,
        Result,
        Step,
        Text,
        Thinking,
        Tool,
        ToolCall,
        ToolResult,
        Trail,
        Usage,
    )

__version__ = "0.1.0"

__all__ = [
    "AllTargetsFailed",
    "Answer",
    "BadRequest",
    "Block",
    "Budget",
    "BudgetExceeded",
    "BudgetStatus",
    "Cache",
    "CallOptions",
    "Chunk",
    "CircuitBreaker",
    "CircuitOpen",
    "ConfigurationError",
    "ContentFiltered",
    "ContextOverflow",
    "Failover",
    "FailoverError",
    "Failure",
    "Hedge",
    "History",
    "Hours",
    "Incapable",
    "JsonFormat",
    "Kind",
    "Media",
    "Message",
    "Outcome",
    "Price",
    "ProviderError",
    "RateLimit",
    "RateLimited",
    "Rejected",
    "Request",
    "Response",
    "Result",
    "Retry",
    "SQLiteStore",
    "SlicedStore",
    "Step",
    "StoreUnavailable",
    "StreamInterrupted",
    "Target",
    "TargetDisabled",
    "TargetStatus",
    "Text",
    "Thinking",
    "Tier",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Trail",
    "Usage",
    "__version__",
]

_HOMES = ("types", "errors", "settings", "history", "client", "store.sqlite", "store.sliced")
"""The modules in which the names are defined, the cheapest to load first."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            found = vars(import_module(f"failover.{home}"))
            if name in found:
                globals()[name] = found[name]
                return found[name]
    raise AttributeError(f"module 'failover' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
