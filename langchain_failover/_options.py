"""Per-call keywords (``invoke``, ``bind``, ``with_config``) to the options of a ``Request``.

``OPTIONS`` is the whole list: an unknown keyword is an error that names the known ones, never ignored.  LangChain's
and OpenAI's names for the same thing are accepted (``timeout``, ``max_completion_tokens``); ``response_cache`` is
ours for this call, because ``cache`` is LangChain's word for its own.

Labels also come from the ``metadata`` of the call's config: every plain entry (string, number, truth value) that a
user may have put there; LangChain's and LangGraph's own entries are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from failover._checked import guess
from failover.errors import ConfigurationError
from failover.types import CallOptions
from langchain_failover._tools import choice_of, format_of, tools_of

Converter = Callable[[Any], Any]


def _as_is(value: Any) -> Any:
    return value


def _strings(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _labels(value: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"labels = {value!r}: write a dictionary, as in {{'user': 'alice'}}")
    return {str(key): str(entry) for key, entry in value.items()}


OPTIONS: Mapping[str, tuple[str, Converter]] = {
    "tools": ("tools", tools_of),
    "tool_choice": ("tool_choice", _as_is),
    "parallel_tool_calls": ("parallel_tool_calls", _as_is),
    "response_format": ("response_format", format_of),
    "max_tokens": ("max_tokens", _as_is),
    "max_completion_tokens": ("max_tokens", _as_is),
    "temperature": ("temperature", _as_is),
    "top_p": ("top_p", _as_is),
    "top_k": ("top_k", _as_is),
    "seed": ("seed", _as_is),
    "presence_penalty": ("presence_penalty", _as_is),
    "frequency_penalty": ("frequency_penalty", _as_is),
    "logprobs": ("logprobs", _as_is),
    "top_logprobs": ("top_logprobs", _as_is),
    "reasoning_effort": ("reasoning_effort", _as_is),
    "thinking": ("thinking", _as_is),
    "extra_body": ("extra_body", _as_is),
    "prefer": ("prefer", _strings),
    "deadline": ("deadline", _as_is),
    "timeout": ("deadline", _as_is),
    "max_retries": ("max_retries", _as_is),
    "response_cache": ("cache", bool),
    "labels": ("labels", _labels),
}

SILENT = frozenset(("stream", "ls_structured_output_format", "structured_output_format"))
"""Keywords by which LangChain talks to itself."""

RUN_OPTIONS = frozenset(("prefer", "deadline", "timeout", "max_retries", "response_cache", "labels"))
"""How a call is run, not what is asked: no part of LangChain's cache key."""


def options_of(keywords: Mapping[str, Any]) -> CallOptions:
    """Raises ``ConfigurationError`` for a keyword that means nothing here, and for a tool choice without its tool."""
    options: dict[str, Any] = {}
    for keyword, value in keywords.items():
        if keyword in SILENT:
            continue
        name, convert = _known(keyword)
        if value is not None:
            options[name] = convert(value)
    if "tool_choice" in options:
        names = [tool.name for tool in options.get("tools", ())]
        options["tool_choice"] = choice_of(options["tool_choice"], names)
    return cast("CallOptions", options)


def _known(keyword: str) -> tuple[str, Converter]:
    try:
        return OPTIONS[keyword]
    except KeyError:
        raise ConfigurationError(
            f"{keyword!r} is not an option of a call (what only a provider's own API knows goes into "
            f"extra_body={{{keyword!r}: ...}}){guess(keyword, sorted((*OPTIONS, 'model', 'stop')))}"
        ) from None


# ----------------------------------------------------------------- labels

OWN_METADATA = ("langgraph_", "ls_", "lc_", "checkpoint", "__", "run_")


def labels_in(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """A config's metadata as labels."""
    return {
        key: str(value)
        for key, value in (metadata or {}).items()
        if isinstance(value, str | int | float) and not key.startswith(OWN_METADATA)
    }
