"""Who serves models, where, and how each differs from the wire it speaks: one row per provider.

A row holds what is the same for all models of a vendor or server.  ``quirks`` are its differences within a dialect,
by name; a name that is missing means the plain OpenAI behaviour.  The Chat Completions dialect knows these:

rename         {parameter: its name on this wire}
refuses        parameters that are dropped, with a note
ranges         {parameter: (lowest, highest)}: values are clamped into it, with a note
max_stop       how many stop sequences are taken
effort         how thinking is asked for: ``"top"`` (``reasoning_effort``, the default), ``"nested"``
               (``reasoning: {...}``), ``"switch"`` (``thinking: {"type": ...}`` beside ``reasoning_effort``)
required       the word for a forced tool call (default ``"required"``)
stream_usage   False: usage comes by itself, ``stream_options`` is not known
body           members of every request
model_body     {beginning of a model's name: members of its requests}
inline         True: schemas go out without references (``inline``)
json_beside_tools  False: JSON mode and tools exclude each other, so only the instruction asks for JSON
reasoning      the member of an assistant message that takes its own reasoning back
null_content   False: beside tool calls, missing text is ``""``, not null
parts          how documents, audio and video are written: ``"openai"`` (default), ``"mistral"``, ``"openrouter"``
cache_point    what is added to a content part after which the prompt is to be cached
cost           True: ``usage.cost`` is what was really charged, in US dollars
deployments    True: a dated ``api_version`` moves the model into the path

Sources: the providers' API references as of November 2026.  Every value can be overridden per target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urlsplit

from failover._checked import closest
from failover.dialects.base import Provider
from failover.errors import ConfigurationError

_NO_TOP_K = frozenset(("top_k",))
_NO_LOGPROBS = frozenset(("logprobs", "top_logprobs"))
_NO_PENALTIES = frozenset(("presence_penalty", "frequency_penalty"))
_COMPLETION_TOKENS = {"max_tokens": "max_completion_tokens"}
_OPENAI_QUIRKS = {"rename": _COMPLETION_TOKENS, "refuses": _NO_TOP_K, "max_stop": 4}

_ROWS = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        "chat",
        key_env=("OPENAI_API_KEY",),
        quirks=_OPENAI_QUIRKS,
        default_model="gpt-6-luna",
    ),
    Provider(
        "anthropic",
        "https://api.anthropic.com",
        "anthropic",
        key_env=("ANTHROPIC_API_KEY",),
        auth=("x-api-key", "{key}"),
        headers={"anthropic-version": "2023-06-01"},  # a request's own says which it is made for
        default_model="claude-haiku-5-5",
        free_check="/v1/models?limit=1000",
    ),
    Provider(
        "deepseek",
        "https://api.deepseek.com",
        "chat",
        key_env=("DEEPSEEK_API_KEY",),
        quirks={
            "refuses": _NO_TOP_K | {"parallel_tool_calls", "seed"},
            "max_stop": 16,
            "effort": "switch",
            "reasoning": "reasoning_content",
        },
        default_model="deepseek-flash",
    ),
    Provider(
        "groq",
        "https://api.groq.com/openai/v1",
        "chat",
        key_env=("GROQ_API_KEY",),
        quirks={
            "rename": _COMPLETION_TOKENS,
            "refuses": _NO_TOP_K | _NO_LOGPROBS,
            "max_stop": 4,
            "json_beside_tools": False,
            "model_body": {"qwen": {"reasoning_format": "parsed"}},
        },
        default_model="openai/gpt-oss-120b",
    ),
    Provider(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "chat",
        key_env=("OPENROUTER_API_KEY",),
        quirks={
            "effort": "nested",
            "body": {"provider": {"allow_fallbacks": False}},
            "reasoning": "reasoning",
            "parts": "openrouter",
            "cache_point": {"cache_control": {"type": "ephemeral"}},
            "cost": True,
        },
        default_model="openai/gpt-6-luna",
        free_check="/key",  # anybody may see its list of models
    ),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "chat",
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        quirks={"refuses": _NO_TOP_K, "max_stop": 4, "inline": True},
        default_model="gemini-3.8-flash",
    ),
    Provider(
        "mistral",
        "https://api.mistral.ai/v1",
        "chat",
        key_env=("MISTRAL_API_KEY",),
        quirks={
            "rename": {"seed": "random_seed"},
            "refuses": _NO_TOP_K | _NO_LOGPROBS,
            "ranges": {"temperature": (0.0, 1.5)},
            "max_stop": 4,
            "required": "any",
            "stream_usage": False,
            "null_content": False,
            "parts": "mistral",
        },
        default_model="mistral-small-latest",
    ),
    Provider(
        "together",
        "https://api.together.ai/v1",
        "chat",
        key_env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
        default_model="openai/gpt-oss-120b",
    ),
    Provider(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "chat",
        key_env=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        default_model="accounts/fireworks/models/gpt-oss-120b",
    ),
    Provider(
        "xai",
        "https://api.x.ai/v1",
        "chat",
        key_env=("XAI_API_KEY",),
        quirks={"refuses": _NO_TOP_K, "max_stop": 4},
        default_model="grok-4.3",
    ),
    Provider(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "chat",
        key_env=("CEREBRAS_API_KEY",),
        quirks={
            "rename": _COMPLETION_TOKENS,
            "refuses": _NO_TOP_K | _NO_PENALTIES,
            "ranges": {"temperature": (0.0, 1.5)},
            "max_stop": 4,
        },
        default_model="gpt-oss-120b",
    ),
    Provider(
        "azure",
        "",
        "chat",
        key_env=("AZURE_OPENAI_API_KEY",),
        base_url_env="AZURE_OPENAI_ENDPOINT",
        auth=("api-key", "{key}"),
        quirks={**_OPENAI_QUIRKS, "deployments": True},
    ),
    Provider(
        "ollama",
        "http://127.0.0.1:11434/v1",
        "chat",
        base_url_env="OLLAMA_HOST",
        quirks={"null_content": False},
    ),
    Provider("vllm", "http://127.0.0.1:8000/v1", "chat", quirks={"null_content": False, "parts": "openrouter"}),
    Provider("lmstudio", "http://127.0.0.1:1234/v1", "chat", quirks={"null_content": False}),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {row.name: replace(row, base_url_env=row.base_url_env or f"{row.name.upper()}_BASE_URL") for row in _ROWS}
)
"""By name.  ``OPENAI_BASE_URL`` and its like say where a provider is, as its own SDK reads it."""


def with_key_here(env: Mapping[str, str]) -> list[str]:
    """``provider:model`` of each provider that has a default model and a key in the environment."""
    rows = [row for row in PROVIDERS.values() if row.default_model and any(map(env.get, row.key_env))]
    return [f"{row.name}:{row.default_model}" for row in rows]


def key_variables() -> list[str]:
    """The first environment variable of each provider that has a default model."""
    return [row.key_env[0] for row in PROVIDERS.values() if row.default_model and row.key_env]


def unknown_provider(name: str) -> str:
    """What to tell someone who wrote a provider that is not in the table."""
    close = closest(name.lower(), PROVIDERS)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(PROVIDERS)
    return f"unknown provider {name!r}{meant} (known: {known}; any other server works with a base_url)"


def custom(name: str, base_url: str, dialect: str = "chat") -> Provider:
    """A server that is not in the table, spoken to in a plain dialect; no key is needed, one that is given is sent."""
    auth = ("x-api-key", "{key}") if dialect == "anthropic" else ("Authorization", "Bearer {key}")
    free_check = "/v1/models" if dialect == "anthropic" else "/models"
    return Provider(
        name, base_url.rstrip("/"), dialect, auth=auth, quirks={"null_content": False}, free_check=free_check
    )


# --------------------------------------------------------------- base URLs


def base_url(
    provider: Provider, environ: Mapping[str, str], given: str | None = None, api_version: str | None = None
) -> str | None:
    """Where ``provider`` is: ``given``, else its variable in ``environ``, else its row.

    None where nobody knows (Azure without ``AZURE_OPENAI_ENDPOINT``); ``provider.base_url_env`` says what to set.
    """
    stated = given or (environ.get(provider.base_url_env) if provider.base_url_env else None)
    if not stated:
        return provider.base_url or None
    completed = _COMPLETED.get(provider.name)
    return completed(stated.rstrip("/"), api_version) if completed else stated.rstrip("/")


def is_dated(api_version: str | None) -> bool:
    """An Azure API version of the old kind, such as ``2024-10-21``, which wants the model in the path."""
    return bool(api_version and re.match(r"\d{4}-\d\d-\d\d", api_version))


def _azure(endpoint: str, api_version: str | None) -> str:
    """The resource's URL with the path of the API's kind: ``/openai/v1``, or ``/openai`` for dated versions."""
    resource = re.sub(r"/openai(/v1|/deployments/.*)?$", "", endpoint)
    return f"{resource}/openai" if is_dated(api_version) else f"{resource}/openai/v1"


def _ollama(host: str, api_version: str | None) -> str:
    """``OLLAMA_HOST`` as Ollama reads it: a bare host, or one with port, or a whole URL."""
    try:
        parts = urlsplit(host if "://" in host else f"http://{host}")
        port = parts.port or {"https": 443}.get(parts.scheme, 80 if "://" in host else 11434)
    except ValueError:
        raise ConfigurationError(f"OLLAMA_HOST = {host!r} is no address; write host:port or a URL") from None
    name = "127.0.0.1" if parts.hostname in (None, "0.0.0.0", "::") else parts.hostname  # noqa: S104  # not bound to
    name = f"[{name}]" if name and ":" in name else name
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/') or '/v1'}"


_COMPLETED: Mapping[str, Callable[[str, str | None], str]] = {"azure": _azure, "ollama": _ollama}
