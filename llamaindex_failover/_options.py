"""The keyword arguments of every method, as the fields of a ``Request``.

One table says which words are understood and how each is read; everything else is a ``ConfigurationError`` that names
the closest word, never silently ignored.  Values given with a call win over the model's own defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from failover._checked import closest
from failover.errors import ConfigurationError
from failover.types import CallOptions, JsonFormat
from llamaindex_failover._tools import checked_choice, to_tool_choice, to_tools


def _as_it_is(value: Any) -> Any:
    return value


def _words(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _facts(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(value or {})


def to_json_format(given: Any) -> JsonFormat | None:
    """A pydantic class, OpenAI's ``response_format``, or ours."""
    match given:
        case None | {"type": "text"}:
            return None
        case JsonFormat():
            return given
        case {"type": "json_object"}:
            return JsonFormat()
        case {"type": "json_schema", "json_schema": {"schema": schema} as stated}:
            return _schema_format(schema, stated)
        case type() if issubclass(given, BaseModel):
            return JsonFormat(given.model_json_schema(), given.__name__)
    raise ConfigurationError(f"response_format = {given!r}; give a pydantic class, a JsonFormat, or OpenAI's dict")


def _schema_format(schema: Mapping[str, Any], stated: Mapping[str, Any]) -> JsonFormat:
    return JsonFormat(schema, stated.get("name") or "response", stated.get("strict"), stated.get("description"))


READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "tools": ("tools", to_tools),
    "tool_choice": ("tool_choice", to_tool_choice),
    "parallel_tool_calls": ("parallel_tool_calls", _as_it_is),
    "response_format": ("response_format", to_json_format),
    "max_tokens": ("max_tokens", _as_it_is),
    "max_completion_tokens": ("max_tokens", _as_it_is),
    "temperature": ("temperature", _as_it_is),
    "top_p": ("top_p", _as_it_is),
    "top_k": ("top_k", _as_it_is),
    "stop": ("stop", _words),
    "stop_sequences": ("stop", _words),
    "seed": ("seed", _as_it_is),
    "presence_penalty": ("presence_penalty", _as_it_is),
    "frequency_penalty": ("frequency_penalty", _as_it_is),
    "logprobs": ("logprobs", _as_it_is),
    "top_logprobs": ("top_logprobs", _as_it_is),
    "reasoning_effort": ("reasoning_effort", _as_it_is),
    "thinking": ("thinking", _as_it_is),
    "extra_body": ("extra_body", _facts),
    "prefer": ("prefer", _words),
    "deadline": ("deadline", _as_it_is),
    "max_retries": ("max_retries", _as_it_is),
    "response_cache": ("cache", bool),
    "labels": ("labels", _facts),
}
"""Keyword argument → field of ``Request``, and how its value is read."""

PASSED_BY_LLAMAINDEX = frozenset({"extra_headers"})
"""What llama-index-core itself passes to any LLM and no provider needs any more: ``DocumentContextExtractor`` always
sends ``extra_headers`` with a beta header for prompt caching, which has been generally available since 2024.  Headers
of your own belong to a target: ``Target(headers=...)``."""


def fields_of(options: Mapping[str, Any]) -> CallOptions:
    """The options as fields of a ``Request``.  Raises ``ConfigurationError`` for a word that is not in the table."""
    fields: dict[str, Any] = {}
    for word, value in options.items():
        if word in PASSED_BY_LLAMAINDEX:
            continue
        if word not in READERS:
            raise ConfigurationError(_unknown(word))
        field, read = READERS[word]
        fields[field] = read(value)
    return cast(CallOptions, _agreed(fields))


def _unknown(word: str) -> str:
    close = closest(word, READERS)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(READERS))}"
    return f"FailoverLLM: unknown option {word!r}; {hint}"


def _agreed(fields: dict[str, Any]) -> dict[str, Any]:
    """What is said about tools means nothing without tools, and providers refuse it."""
    tools = fields.get("tools")
    if not tools:
        return {name: value for name, value in fields.items() if name not in ABOUT_TOOLS}
    return {**fields, "tool_choice": checked_choice(fields.get("tool_choice"), tools)}


ABOUT_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
