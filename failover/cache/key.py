"""The cache key: SHA-256 over everything in a request that can change its answer.

The fields are listed by name, and a test holds that every field of ``Request`` is either here or in ``NOT_ASKED``:
a new sampling parameter that is forgotten here would serve wrong answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from json import JSONEncoder
from operator import attrgetter
from typing import Any

from failover.types import JsonFormat, Media, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult

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
    """The request's digest within a namespace; the same for equal requests, in any process.

    Mappings count in key order, so that the order in which a caller wrote them does not matter.
    """
    asked = (namespace, *_asked(request))
    try:
        told = _ENCODER.encode(asked)
    except TypeError:  # keys of several types, which have no order
        told = ascii(asked)
    return hashlib.sha256(told.encode()).digest()


_VALUES: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*kind.__dataclass_fields__)
    for kind in (Message, Text, Media, Thinking, ToolCall, ToolResult, Tool, JsonFormat)
}


def _values(thing: Any) -> Any:
    """What JSON has no form for: a value of ours as its fields, anything else as its text; both with their type."""
    kind = type(thing)
    if kind in _VALUES:
        return kind.__name__, _VALUES[kind](thing)
    return (kind.__name__, str(thing)) if not isinstance(thing, Mapping) else dict(thing)


_ENCODER = JSONEncoder(check_circular=False, sort_keys=True, separators=(",", ":"), default=_values)
"""Not pydantic's: it sorts no keys, and takes no half surrogate pairs."""
