"""Refusals told apart by what was refused.

"Not supported" can be said of a parameter that may be left out, of something without which the answer would not be
what was asked for, or of a field in the history, which is never the caller's: he does not write that wire.  The name
of what was refused is the one the error states, else the one its sentence begins with or quotes.
"""

from __future__ import annotations

import re

from failover.types import Kind

REFUSALS = (Kind.UNSUPPORTED_PARAMETER, Kind.UNSUPPORTED)
HISTORY = frozenset(("messages", "input", "contents", "system", "instructions"))
ESSENTIAL = frozenset(("tools", "functions", "response_format", "text", "stream", "modalities"))
OPTIONAL = frozenset(
    (
        *("temperature", "top_p", "top_k", "stop", "stop_sequences", "seed", "random_seed", "n"),
        *("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"),
        *("tool_choice", "parallel_tool_calls", "reasoning", "reasoning_effort", "thinking", "verbosity"),
        *("stream_options", "service_tier", "metadata", "store", "user", "prompt_cache_key"),
    )
)
"""What may be left out.  Limits on output are not among them: budgets rest on these."""
TOOLS_NEED_NO_EFFORT = "function tools with reasoning_effort"

_NAMED = re.compile(
    r"""(?:unsupported|unrecognized|unknown)\ (?:parameter|value|request\ argument|argument|field|name)s?
        (?:\ supplied)?:?\ ["'`]?([A-Za-z_][\w.\[\]]*)
      | \bfield:\ ["'`]?([A-Za-z_][\w.\[\]]*)
      | ^'([A-Za-z_][\w.\[\]]*)'\ :\ property\b
      | property\ '([A-Za-z_][\w.\[\]]*)'\ is\ unsupported
      | ^argument\ not\ supported[^:]{0,60}:\ (\w+)
      | ^["'`]?([A-Za-z_][\w.\[\]]*)["'`]?(?::\ |\ (?:is|are|may|does|cannot|and)\b)
      | ["'`]([A-Za-z_][\w.\[\]]*)["'`]\ (?:is|are|does)\b""",
    re.I | re.X,
)


def refine(kind: Kind, stated: str | None, words: str) -> tuple[Kind, str | None]:
    """``kind`` as it is meant, and the parameter it is about.

    stated: the name that the error gives.  words: its sentence, without quotations.
    """
    if kind not in REFUSALS:
        return kind, stated
    if words.lower().startswith(TOOLS_NEED_NO_EFFORT):
        return kind, "reasoning_effort"
    name = stated or _named_in(words)
    parameter = _snake(name) if name else None
    return _meant(kind, re.split(r"[.\[]", parameter)[0] if parameter else ""), parameter


def _meant(kind: Kind, root: str) -> Kind:
    if kind is Kind.UNSUPPORTED:
        return Kind.UNSUPPORTED_PARAMETER if root in OPTIONAL else kind
    if root in HISTORY:
        return Kind.TRANSLATION
    return Kind.UNSUPPORTED if root in ESSENTIAL else kind


def _named_in(words: str) -> str | None:
    found = _NAMED.search(words)
    names = [name for name in found.groups() if name] if found else []
    known = [word for word in re.findall(r"\w+", words) if word in OPTIONAL]
    return next((name for name in (*names, *known) if name.lower() not in ARTICLES), None)


ARTICLES = frozenset(("this", "that", "it", "the", "model", "request"))
"""What a sentence begins with when it does not begin with a name."""


def _snake(name: str) -> str:
    """xAI and Google write names in camel case."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
