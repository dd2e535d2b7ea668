"""The cache key: SHA-256 over everything in a request that can change its answer.

The fields are listed by name, and a test holds that every field of ``Request`` is either here or in ``NOT_ASKED``:
a new sampling parameter that is forgotten here would serve wrong answers.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Any

from pydantic_core import to_json

from failover.types import Request

ASKED = (
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "thinking",
    "extra_body",
)
NOT_ASKED = ("prefer", "deadline", "max_retries", "cache", "labels", "origin")

_asked = attrgetter(*ASKED)


def digest(request: Request, namespace: str = "") -> bytes:
    """The request's digest within a namespace; the same for equal requests, in any process."""
    return hashlib.sha256(to_json((namespace, *map(_canonical, _asked(request))), fallback=str)).digest()


def _canonical(value: Any) -> Any:
    """Mappings in key order, so that the order in which a caller wrote them does not matter."""
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if (fields := getattr(value, "__dataclass_fields__", None)) is not None:
        return [type(value).__name__, *(_canonical(getattr(value, name)) for name in fields)]
    return value
