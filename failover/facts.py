"""What is known about models: windows, what they take in, which parameters they refuse.

One table of model families, keyed by the beginning of a name.  ``facts_for`` looks a model up under the longest key
that its name begins with, at a boundary: ``gpt-6-sol`` also covers ``gpt-6-sol-2026-10-01``, but not ``gpt-6-solar``.
Names are compared without what only says where a model lives: an author or path in front (``openai/gpt-oss-120b``,
``accounts/fireworks/models/gpt-oss-120b``), a variant behind (``:free``), case, and dots in Claude's versions.

What a provider changes about a model comes after: own rows (``AT``) replace the family's, and ``OVERLAYS`` set
single facts for all models of a provider: a router translates parameters, a local server runs whatever window it
was started with.  A model that is not in the table is assumed to be able to do everything: a provider says no
clearly, while an ability wrongly denied would only be missing.

Sources: the vendors' model pages as of November 2026, the types of openai 3.54 and anthropic 2.12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from failover.settings import Input

ALL_INPUTS: frozenset[Input] = frozenset(("image", "document", "audio", "video"))
NO_INPUTS: frozenset[Input] = frozenset()
IMAGES: frozenset[Input] = frozenset(("image",))
PAPER: frozenset[Input] = frozenset(("image", "document"))
AUDIO: frozenset[Input] = frozenset(("audio",))


@dataclass(frozen=True, slots=True)
class Facts:
    """One model's abilities.  Unknown windows are None; unknown abilities are assumed: a provider says no clearly.

    refuses: parameters that are dropped before sending (``temperature``, ``stop``, ``seed``, ...).
    refuses_thinking: parameters that are dropped while the model thinks, and taken when it does not.
    reasons: thinks by default, so hidden tokens count against ``max_tokens``.
    efforts: values of ``reasoning_effort`` it takes; others become the nearest one.  None: unknown, sent as given;
        empty: it knows no such parameter.
    thinking: forms of ``thinking.type`` it takes; None: unknown.
    forced_tool_choice: takes ``required`` and named tools.
    forced_thinking: takes them while it thinks, too.
    json_schema: takes a schema natively; else the schema is put into words.
    prefill: continues a trailing assistant message in place of answering it.
    wire: the dialect that can do all the model can, where it is not the provider's usual one.
    tools_need_responses: Chat Completions takes tools only with ``reasoning_effort`` ``none``.
    """

    context_window: int | None = None
    max_output_tokens: int | None = None
    inputs: frozenset[Input] = ALL_INPUTS
    tools: bool = True
    structured_output: bool = True
    forced_tool_choice: bool = True
    reasons: bool = False
    refuses: frozenset[str] = frozenset()
    refuses_thinking: frozenset[str] = frozenset()
    efforts: tuple[str, ...] | None = None
    thinking: tuple[str, ...] | None = None
    forced_thinking: bool = True
    json_schema: bool = True
    prefill: bool = False
    wire: Literal["chat", "responses"] | None = None
    tools_need_responses: bool = False


UNKNOWN = Facts()

SAMPLING = frozenset(("temperature", "top_p", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty"))
CLAUDE_SAMPLING = frozenset(("temperature", "top_p", "top_k"))
STOP = frozenset(("stop",))
PENALTIES = frozenset(("presence_penalty", "frequency_penalty"))

LOW_HIGH = ("low", "medium", "high")
MINIMAL_HIGH = ("minimal", *LOW_HIGH)
NONE_HIGH = ("none", *LOW_HIGH)
NONE_XHIGH = (*NONE_HIGH, "xhigh")
NONE_MAX = (*NONE_XHIGH, "max")
LOW_MAX = (*LOW_HIGH, "xhigh", "max")


# ------------------------------------------------------------------ OpenAI

_GPT_4O = Facts(128_000, 16_384, PAPER, efforts=())
_GPT_41 = Facts(1_047_576, 32_768, PAPER, efforts=())
_O = Facts(200_000, 100_000, PAPER, reasons=True, refuses=SAMPLING | STOP | {"parallel_tool_calls"}, efforts=LOW_HIGH)
_GPT_5 = Facts(400_000, 128_000, PAPER, reasons=True, refuses=SAMPLING | STOP, efforts=MINIMAL_HIGH)
_GPT_51 = Facts(400_000, 128_000, PAPER, refuses=STOP, refuses_thinking=SAMPLING, efforts=NONE_HIGH)
_GPT_52 = replace(_GPT_51, efforts=NONE_XHIGH)
_GPT_54 = replace(_GPT_52, context_window=1_050_000, wire="responses", tools_need_responses=True)
_GPT_54_MINI = replace(_GPT_54, context_window=400_000)
_GPT_55 = replace(_GPT_54, reasons=True)
_GPT_6 = replace(_GPT_55, efforts=NONE_MAX)
_GPT_6_DEEP = replace(_GPT_6, efforts=LOW_MAX, refuses=SAMPLING | STOP)
_PRO = replace(_GPT_5, wire="responses", efforts=None)

OPENAI: Mapping[str, Facts] = {
    "gpt-3.5-turbo": Facts(16_385, 4_096, NO_INPUTS, efforts=(), json_schema=False),
    "gpt-4": Facts(8_192, 8_192, NO_INPUTS, efforts=(), json_schema=False),
    "gpt-4-turbo": Facts(128_000, 4_096, IMAGES, efforts=(), json_schema=False),
    "gpt-4o": _GPT_4O,
    "gpt-4o-2024-05-13": replace(_GPT_4O, max_output_tokens=4_096, json_schema=False),
    "gpt-4o-audio-preview": replace(_GPT_4O, inputs=AUDIO),
    "gpt-4o-mini-audio-preview": replace(_GPT_4O, inputs=AUDIO),
    "gpt-audio": replace(_GPT_4O, inputs=AUDIO),
    "gpt-audio-mini": replace(_GPT_4O, inputs=AUDIO),
    "gpt-4.1": _GPT_41,
    "o1": _O,
    "o1-pro": replace(_O, wire="responses"),
    "o3": _O,
    "o3-mini": replace(_O, inputs=NO_INPUTS),
    "o3-pro": replace(_O, wire="responses"),
    "o4-mini": _O,
    "gpt-5": _GPT_5,
    "gpt-5-pro": replace(_PRO, max_output_tokens=272_000),
    "gpt-5-codex": replace(_GPT_5, wire="responses"),
    "gpt-5.1": _GPT_51,
    "gpt-5.1-codex": replace(_GPT_5, wire="responses", efforts=None),
    "gpt-5.2": _GPT_52,
    "gpt-5.2-pro": _PRO,
    "gpt-5.2-codex": replace(_GPT_5, wire="responses", efforts=None),
    "gpt-5.3-codex": replace(_GPT_5, wire="responses", efforts=None),
    "gpt-5.4": _GPT_54,
    "gpt-5.4-mini": _GPT_54_MINI,
    "gpt-5.4-nano": _GPT_54_MINI,
    "gpt-5.4-pro": replace(_PRO, context_window=1_050_000),
    "gpt-5.5": _GPT_55,
    "gpt-5.5-pro": replace(_PRO, context_window=1_050_000),
    "gpt-5.6": _GPT_55,
    "gpt-6": _GPT_6,
    "gpt-6-luna": _GPT_6,
    "gpt-6-sol": _GPT_6,
    "gpt-6-astra": _GPT_6_DEEP,
    "gpt-6.1-sol": _GPT_6_DEEP,
    "gpt-6.1-terra": _GPT_6,
    "gpt-6.2-astra": _GPT_6_DEEP,
    "gpt-6.2-sol": _GPT_6_DEEP,
}

# --------------------------------------------------------------- Anthropic

_CLAUDE_3 = Facts(200_000, 4_096, PAPER, efforts=(), thinking=(), prefill=True)
_CLAUDE_4 = Facts(200_000, 64_000, PAPER, efforts=(), thinking=("enabled", "disabled"), prefill=True)
_CLAUDE_46 = Facts(1_000_000, 128_000, PAPER, efforts=LOW_MAX, thinking=("adaptive", "enabled", "disabled"))
_CLAUDE_47 = replace(_CLAUDE_46, refuses=CLAUDE_SAMPLING, thinking=("adaptive", "disabled"))
_CLAUDE_55 = replace(_CLAUDE_47, reasons=True, thinking=("adaptive",), forced_tool_choice=False)

ANTHROPIC: Mapping[str, Facts] = {
    "claude-3": _CLAUDE_3,
    "claude-3-5-haiku": replace(_CLAUDE_3, max_output_tokens=8_192),
    "claude-3-5-sonnet": replace(_CLAUDE_3, max_output_tokens=8_192),
    "claude-3-7-sonnet": replace(_CLAUDE_4, thinking=("enabled", "disabled")),
    "claude-sonnet-4": _CLAUDE_4,
    "claude-sonnet-4-5": _CLAUDE_4,
    "claude-sonnet-4-6": replace(_CLAUDE_46, max_output_tokens=64_000),
    "claude-sonnet-5": _CLAUDE_47,
    "claude-sonnet-5-5": replace(_CLAUDE_55, thinking=("adaptive", "between_tools")),
    "claude-opus-4": replace(_CLAUDE_4, max_output_tokens=32_000),
    "claude-opus-4-1": replace(_CLAUDE_4, max_output_tokens=32_000),
    "claude-opus-4-5": replace(_CLAUDE_4, efforts=LOW_HIGH),
    "claude-opus-4-6": _CLAUDE_46,
    "claude-opus-4-7": _CLAUDE_47,
    "claude-opus-4-8": _CLAUDE_47,
    "claude-opus-5": _CLAUDE_47,
    "claude-opus-5-5": _CLAUDE_55,
    "claude-fable-5": _CLAUDE_47,
    "claude-fable-5-1": _CLAUDE_55,
    "claude-fable-5-2": _CLAUDE_55,
    "claude-mythos": _CLAUDE_55,
    "claude-haiku-4-5": _CLAUDE_4,
    "claude-haiku-5-5": _CLAUDE_47,
}

# ------------------------------------------------------------- the others

_DEEPSEEK = Facts(1_000_000, 393_216, IMAGES, reasons=True)
_GPT_OSS = Facts(131_072, 65_536, NO_INPUTS, reasons=True, efforts=LOW_HIGH)
_QWEN = Facts(131_072, 16_384, IMAGES, reasons=True)
_GEMINI = Facts(1_048_576, 65_536, reasons=True, efforts=MINIMAL_HIGH)
_MISTRAL = Facts(262_144, 262_144, PAPER)
_GROK = Facts(500_000, None, IMAGES, reasons=True, refuses=PENALTIES | STOP, efforts=LOW_HIGH)

OTHERS: Mapping[str, Facts] = {
    "deepseek-flash": _DEEPSEEK,
    "deepseek-v4-flash": _DEEPSEEK,
    "deepseek-v4.1-flash": _DEEPSEEK,
    "deepseek-v4-pro": replace(_DEEPSEEK, inputs=NO_INPUTS),
    "gpt-oss": _GPT_OSS,
    "qwen3.8-27b": _QWEN,
    "qwen-3.8-27b": _QWEN,
    "gemini-flash-latest": _GEMINI,
    "gemini-2.5-flash": replace(_GEMINI, efforts=NONE_HIGH),
    "gemini-2.5-pro": replace(_GEMINI, efforts=LOW_HIGH),
    "gemini-3": _GEMINI,
    "gemini-3.5-flash": _GEMINI,
    "gemini-3.8-flash": _GEMINI,
    "gemini-4-argon": replace(_GEMINI, max_output_tokens=None, refuses=PENALTIES),
    "mistral-large": _MISTRAL,
    "mistral-medium": _MISTRAL,
    "mistral-small": _MISTRAL,
    "grok-4.3": replace(_GROK, context_window=1_000_000, efforts=NONE_HIGH),
    "grok-4.5": _GROK,
    "grok-4.6": _GROK,
    "grok-4.7": _GROK,
    "grok-4.20": replace(_GROK, context_window=1_000_000, efforts=()),
}

FAMILIES: Mapping[str, Facts] = {**OPENAI, **ANTHROPIC, **OTHERS}

# ------------------------------------------------- what a provider changes

_AT_DEEPSEEK = replace(_DEEPSEEK, thinking=("enabled", "disabled"), forced_thinking=False, json_schema=False)

AT: Mapping[str, Mapping[str, Facts]] = {
    "cerebras": {"gpt-oss-120b": replace(_GPT_OSS, max_output_tokens=32_768)},
    "deepseek": {"deepseek": _AT_DEEPSEEK, "deepseek-v4-pro": replace(_AT_DEEPSEEK, inputs=NO_INPUTS)},
    "groq": {"qwen3.8-27b": replace(_QWEN, efforts=("none", "default"), json_schema=False)},
}
"""Rows that hold at one provider only, and replace the family's."""

_ANY_WIRE: Mapping[str, Any] = {"wire": None, "tools_need_responses": False}
_ROUTED: Mapping[str, Any] = {
    **_ANY_WIRE,
    "refuses": frozenset(),
    "refuses_thinking": frozenset(),
    "efforts": None,
    "thinking": None,
    "json_schema": True,
    "forced_thinking": True,
    "prefill": False,
}
_HOSTED: Mapping[str, Any] = {**_ANY_WIRE, "max_output_tokens": None}
_LOCAL: Mapping[str, Any] = {**_ANY_WIRE, "context_window": None, "max_output_tokens": None}

OVERLAYS: Mapping[str, Mapping[str, Any]] = {
    "openai": {},
    "azure": {},
    "openrouter": _ROUTED,
    "together": _HOSTED,
    "fireworks": _HOSTED,
    "ollama": _LOCAL,
    "vllm": _LOCAL,
    "lmstudio": _LOCAL,
}
"""Facts that a provider sets for all its models; a provider that is not named here sets ``_ANY_WIRE``.

OpenRouter maps parameters to each upstream, so nothing is dropped for it.  Who hosts other people's open models sets
limits on output that are not the maker's.  A local server's window is whatever it
was started with.
"""

_BOUNDARY = frozenset("-@:")


@lru_cache(maxsize=1024)
def facts_for(provider: str, model: str) -> Facts:
    """What is known about ``model`` at ``provider``; everything is allowed where nothing is known."""
    name = plain_name(model)
    known = _longest(AT.get(provider, {}), name) or _longest(FAMILIES, name)
    if known is None:
        return UNKNOWN
    return replace(known, **OVERLAYS.get(provider, _ANY_WIRE))


def plain_name(model: str) -> str:
    """``model`` without author, path, variant and case; Claude's versions with dashes: ``claude-sonnet-5-5``."""
    name = model.rsplit("/", 1)[-1].lower()
    name = re.sub(r":(free|nitro|floor|exacto|beta|extended|online|thinking)$", "", name)
    return name.replace(".", "-") if name.startswith("claude") else name


def _longest(table: Mapping[str, Facts], name: str) -> Facts | None:
    """The row with the longest key that ``name`` begins with, at a boundary."""
    for end in range(len(name), 0, -1):
        if (end == len(name) or name[end] in _BOUNDARY) and (found := table.get(name[:end])):
            return found
    return None
