"""The world that scripted providers play: who serves which models, at which path, for which key and price.

The tables are the judge's own.  They are not derived from the tables that ``failover`` itself works with
(``PROVIDERS``, ``facts``, ``prices``), and nothing in the package reads them: a mistake made there must
not be repeated here, or no test would ever see it.  Where the two disagree, one of them is wrong.

A ``Row`` is a provider, a ``Card`` one of its models.  A name that is not in ``ROWS`` is an OpenAI-like
server that serves any model and takes what it is given.  Prices are US dollars per million tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypedDict, Unpack

DialectName = Literal["chat", "responses", "anthropic"]
MediaKind = Literal["image", "document", "audio", "video"]

IMAGES: frozenset[MediaKind] = frozenset(("image",))
PAPER: frozenset[MediaKind] = frozenset(("image", "document"))
ALL_MEDIA: frozenset[MediaKind] = frozenset(("image", "document", "audio", "video"))
TEXT_ONLY: frozenset[MediaKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Card:
    """What a model can do and what it costs.

    traits name what it refuses or demands; the rules in ``strict`` look them up:
        reasons             thinks unless told not to (effort none, thinking disabled)
        no_sampling         refuses temperature and the like while it thinks
        no_stop             refuses stop sequences
        no_effort           knows no reasoning_effort at all
        effort_required     refuses effort "none"
        quiet_tools         takes tools in Chat Completions only with effort "none"
        no_forced_tools     refuses tool_choice any / required / a name
        no_tools            cannot call tools
        no_schema           cannot follow a JSON schema
        no_penalties        refuses presence_penalty and frequency_penalty
        no_prefill          refuses a trailing assistant message
        system_turns        takes system messages in the middle (Anthropic)
        bound_thinking      thinking blocks are bound to the conversation too
    thinking: the Anthropic thinking modes it takes.
    long: above this many input tokens the whole request costs ``long_factors`` (input, output) times as much.
    off_peak: multiplier outside DeepSeek's peak hours.
    """

    window: int
    max_output: int
    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cached: Decimal | None = None
    written: Decimal | None = None
    inputs: frozenset[MediaKind] = ALL_MEDIA
    traits: frozenset[str] = frozenset()
    thinking: frozenset[str] = frozenset()
    efforts: frozenset[str] = frozenset(("none", "minimal", "low", "medium", "high", "xhigh", "max"))
    long: int | None = None
    long_factors: tuple[Decimal, Decimal] = (Decimal(2), Decimal("1.5"))
    off_peak: Decimal = Decimal(1)

    def cost(self, usage: Tokens, wall: float) -> Decimal:
        """US dollars for ``usage`` at the wall-clock moment ``wall``."""
        over = self.long is not None and usage.input > self.long
        into, out = self.long_factors if over else (Decimal(1), Decimal(1))
        cached = self.cached if self.cached is not None else self.input
        written = self.written if self.written is not None else self.input
        fresh = usage.input - usage.cached - usage.written
        asked = fresh * self.input + usage.cached * cached + usage.written * written
        total = asked * into + usage.output * self.output * out
        return total * (Decimal(1) if is_peak(wall) else self.off_peak) / 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens as they are billed: ``input`` includes cache reads and writes, ``output`` includes reasoning."""

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.written + other.written,
            self.reasoning + other.reasoning,
            self.audio_in + other.audio_in,
            self.audio_out + other.audio_out,
        )


def is_peak(wall: float) -> bool:
    """DeepSeek's dear hours: Monday to Friday 01:00-04:00 and 06:00-10:00 UTC (its pricing page; holidays aside)."""
    at = datetime.fromtimestamp(wall, UTC)
    return at.weekday() < 5 and (1 <= at.hour < 4 or 6 <= at.hour < 10)


@dataclass(frozen=True, slots=True)
class Row:
    """A provider.

    base: path prefix of its base URL.  paths: path after the base, by dialect.
    auth: headers that may carry the key; empty: no key is asked for.
    shape: how its error bodies look (see ``wording``).  request_id: the header that names a request.
    any_model: serves whatever model it is asked for, as ``stranger``.
    vendor: a provider that ``failover`` knows by this name; others are reached as custom servers.
    max_body: bytes of a request body, beyond which its edge answers 413.
    reasoning: field of a message that shows reasoning; None: hidden (or in blocks).
    rate_headers: family of its rate-limit headers (see ``limits``).
    keep_alive: the comment it sends while a stream waits.
    """

    name: str
    base: str = "/v1"
    paths: Mapping[DialectName, str] = field(default_factory=lambda: {"chat": "/chat/completions"})
    auth: tuple[str, ...] = ("authorization",)
    shape: str = "openai"
    request_id: str = "x-request-id"
    models: Mapping[str, Card] = field(default_factory=dict)
    any_model: bool = False
    vendor: bool = True
    stranger: Card = Card(131_072, 32_768)
    max_body: int | None = None
    reasoning: str | None = None
    rate_headers: str | None = None
    keep_alive: str = ": keep-alive"

    def card(self, model: str) -> Card | None:
        """The model's card; dated and tagged names (``gpt-6-sol-2026-10-01``, ``x:free``) are their plain model's."""
        if found := self.models.get(model) or self.models.get(_plain(model)):
            return found
        return self.stranger if self.any_model and model else None


def _plain(model: str) -> str:
    stem = model.split(":", 1)[0]
    head, tail = stem[:-11], stem[-11:]
    dated = len(tail) == 11 and tail[0] == "-" and tail[1:].replace("-", "").isdigit()
    return head if dated else stem


def _card(window: int, max_output: int, prices: str, traits: str = "", **changes: Unpack[Changes]) -> Card:
    """``prices``: input, output, cached, written; ``traits``: separated by blanks."""
    asked, said, cached, written, *_ = [*(Decimal(price) for price in prices.split()), None, None, None, None]
    card = Card(window, max_output, asked or Decimal(0), said or Decimal(0), cached, written)
    return replace(card, traits=frozenset(traits.split()), **changes)


class Changes(TypedDict, total=False):
    """Fields of a ``Card`` beyond sizes, prices and traits."""

    inputs: frozenset[MediaKind]
    thinking: frozenset[str]
    efforts: frozenset[str]
    long: int | None
    off_peak: Decimal


MILLION = 1_000_000
GPT = 1_050_000
GROQ = 131_072

_GPT_6 = "reasons no_sampling no_stop quiet_tools"
_GPT_DEEP = f"{_GPT_6} effort_required"
_DEEP_EFFORTS = frozenset(("low", "medium", "high", "xhigh", "max"))

OPENAI = {
    "gpt-6.1-sol": _card(GPT, 128_000, "2 10 0.10", _GPT_DEEP, inputs=PAPER, efforts=_DEEP_EFFORTS, long=272_000),
    "gpt-6-astra": _card(GPT, 128_000, "10 50 1.0", _GPT_DEEP, inputs=PAPER, efforts=_DEEP_EFFORTS, long=272_000),
    "gpt-6-sol": _card(GPT, 128_000, "2 10 0.20 2.5", _GPT_6, inputs=PAPER),
    "gpt-6-luna": _card(GPT, 128_000, "0.10 0.50 0.01", _GPT_6, inputs=PAPER),
    "gpt-5.6": _card(GPT, 128_000, "4 20 0.4", _GPT_6, inputs=PAPER),
    "gpt-5.6-terra": _card(GPT, 128_000, "2 12 0.2", _GPT_6, inputs=PAPER),
    "gpt-5.6-luna": _card(GPT, 128_000, "0.2 1.2 0.02", _GPT_6, inputs=PAPER),
    "gpt-4.1": _card(1_047_576, 32_768, "2 8 0.5", "no_effort", inputs=PAPER),
    "gpt-4o": _card(128_000, 16_384, "2.5 10 1.25", "no_effort", inputs=PAPER),
}

_CLAUDE_5 = "reasons no_sampling no_prefill bound_thinking system_turns"
_CLAUDE_EFFORTS = frozenset(("low", "medium", "high", "xhigh", "max"))
_ADAPTIVE = frozenset(("adaptive",))
_BETWEEN = frozenset(("adaptive", "between_tools"))
_OPTIONAL = frozenset(("adaptive", "disabled"))
_EITHER = frozenset(("adaptive", "enabled", "disabled"))
_MANUAL = frozenset(("enabled", "disabled"))


def _claude(window: int, output: int, prices: str, traits: str, thinking: frozenset[str]) -> Card:
    return _card(window, output, prices, traits, thinking=thinking, efforts=_CLAUDE_EFFORTS, inputs=PAPER)


ANTHROPIC = {
    "claude-fable-5-2": _claude(MILLION, 128_000, "10 50 0.25 12.5", f"{_CLAUDE_5} no_forced_tools", _ADAPTIVE),
    "claude-fable-5-1": _claude(MILLION, 128_000, "10 50 0.25 12.5", f"{_CLAUDE_5} no_forced_tools", _ADAPTIVE),
    "claude-opus-5-5": _claude(MILLION, 128_000, "4 20 0.20 5", f"{_CLAUDE_5} no_forced_tools", _ADAPTIVE),
    "claude-sonnet-5-5": _claude(MILLION, 128_000, "2 10 0.20 2.5", f"{_CLAUDE_5} no_forced_tools", _BETWEEN),
    "claude-haiku-5-5": _claude(
        MILLION, 128_000, "0.10 0.50 0.01 0.125", "no_sampling no_prefill bound_thinking system_turns", _OPTIONAL
    ),
    "claude-sonnet-5": _claude(MILLION, 128_000, "3 15 0.3 3.75", "no_sampling no_prefill bound_thinking", _OPTIONAL),
    "claude-opus-4-7": _claude(MILLION, 128_000, "5 25 0.5 6.25", "no_sampling no_prefill", _OPTIONAL),
    "claude-sonnet-4-6": _claude(MILLION, 64_000, "3 15 0.3 3.75", "no_prefill", _EITHER),
    "claude-haiku-4-5": _claude(200_000, 64_000, "1 5 0.1 1.25", "", _MANUAL),
}

_HALF = Decimal("0.5")
DEEPSEEK = {
    name: _card(MILLION, 393_216, prices, "reasons no_forced_tools no_schema", inputs=inputs, off_peak=_HALF)
    for name, prices, inputs in (
        ("deepseek-flash", "0.30 1.20 0.006", IMAGES),
        ("deepseek-v4-flash", "0.30 1.20 0.006", IMAGES),
        ("deepseek-v4-pro", "1.32 3.96 0.044", TEXT_ONLY),
    )
}

_OSS_EFFORTS = frozenset(("low", "medium", "high"))
GROQ_MODELS = {
    "openai/gpt-oss-120b": _card(
        GROQ, 65_536, "0.15 0.60 0.075", "reasons effort_required", inputs=TEXT_ONLY, efforts=_OSS_EFFORTS
    ),
    "openai/gpt-oss-20b": _card(
        GROQ, 65_536, "0.075 0.30 0.0375", "reasons effort_required", inputs=TEXT_ONLY, efforts=_OSS_EFFORTS
    ),
    "qwen/qwen3.8-27b": _card(
        GROQ, 16_384, "0.80 4.00", "no_schema", inputs=TEXT_ONLY, efforts=frozenset(("none", "default"))
    ),
}

OPENROUTER = {
    "openai/gpt-6-sol": _card(GPT, 128_000, "2 10 0.20 2.5", "reasons", inputs=PAPER),
    "openai/gpt-6-luna": _card(GPT, 128_000, "0.10 0.50 0.01", "reasons", inputs=PAPER),
    "openai/gpt-oss-120b": _card(GROQ, 65_536, "0.15 0.60", "reasons", inputs=TEXT_ONLY),
    "anthropic/claude-sonnet-5.5": _card(MILLION, 128_000, "2 10 0.20 2.5", "reasons", inputs=PAPER),
    "anthropic/claude-haiku-5.5": _card(MILLION, 128_000, "0.10 0.50 0.01 0.125", "", inputs=PAPER),
    "deepseek/deepseek-v4.1-flash": _card(MILLION, 393_216, "0.30 1.20", "reasons", inputs=IMAGES),
    "meta-llama/llama-guard-4-12b": _card(GROQ, 16_384, "0.18 0.18", "no_tools no_schema", inputs=TEXT_ONLY),
}

GEMINI = {
    "gemini-3.8-flash": _card(1_048_576, 65_536, "0.75 3.75", "reasons"),
    "gemini-flash-latest": _card(1_048_576, 65_536, "0.75 3.75", "reasons"),
    "gemini-4-argon": _card(1_048_576, 65_536, "2 10", "reasons no_penalties"),
}

MISTRAL = {
    "mistral-large-latest": _card(262_144, 262_144, "0.5 1.5", inputs=PAPER),
    "mistral-medium-latest": _card(262_144, 262_144, "1.5 7.5", inputs=PAPER),
    "mistral-small-latest": _card(262_144, 262_144, "0.15 0.6", inputs=IMAGES),
}

XAI = {
    "grok-4.5": _card(500_000, 128_000, "2 6", "reasons no_penalties no_stop", inputs=IMAGES),
    "grok-4.3": _card(MILLION, 128_000, "1.25 2.5", "reasons no_penalties no_stop", inputs=IMAGES),
}
CEREBRAS = {"gpt-oss-120b": _card(131_072, 32_768, "0.35 0.75", "reasons", inputs=TEXT_ONLY, efforts=_OSS_EFFORTS)}
TOGETHER = {
    "openai/gpt-oss-120b": _card(131_072, 65_536, "0.15 0.60", "reasons", inputs=TEXT_ONLY),
    "deepseek-ai/DeepSeek-V4.1-Flash-1017": _card(MILLION, 131_072, "0.30 1.20", inputs=TEXT_ONLY),
}
FIREWORKS = {
    "accounts/fireworks/models/gpt-oss-120b": _card(131_072, 65_536, "0.15 0.60", "reasons", inputs=TEXT_ONLY),
}

BOTH: Mapping[DialectName, str] = {"chat": "/chat/completions", "responses": "/responses"}

ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("openai", paths=BOTH, models=OPENAI, rate_headers="openai"),
        Row(
            "anthropic",
            "",
            {"anthropic": "/v1/messages"},
            ("x-api-key", "authorization"),
            "anthropic",
            "request-id",
            ANTHROPIC,
            max_body=32 * 1024 * 1024,
            rate_headers="anthropic",
        ),
        Row("deepseek", "", models=DEEPSEEK, shape="deepseek", reasoning="reasoning_content"),
        Row("groq", "/openai/v1", BOTH, models=GROQ_MODELS, shape="groq", reasoning="reasoning", rate_headers="groq"),
        Row(
            "openrouter",
            "/api/v1",
            BOTH,
            models=OPENROUTER,
            shape="openrouter",
            reasoning="reasoning",
            rate_headers="openrouter",
            keep_alive=": OPENROUTER PROCESSING",
        ),
        Row("gemini", "/v1beta/openai", models=GEMINI, shape="gemini"),
        Row("mistral", models=MISTRAL, shape="mistral", rate_headers="mistral"),
        Row("together", models=TOGETHER, reasoning="reasoning", rate_headers="together"),
        Row("fireworks", "/inference/v1", models=FIREWORKS, shape="fireworks", reasoning="reasoning_content"),
        Row("xai", paths=BOTH, models=XAI, shape="xai", reasoning="reasoning_content"),
        Row("cerebras", models=CEREBRAS, shape="cerebras", reasoning="reasoning", rate_headers="cerebras"),
        Row("azure", "/openai/v1", BOTH, ("api-key", "authorization"), "azure", models=OPENAI, rate_headers="azure"),
        Row("ollama", auth=(), shape="ollama", any_model=True, reasoning="reasoning"),
        Row("vllm", auth=(), shape="vllm", any_model=True, reasoning="reasoning_content"),
        Row("lmstudio", auth=(), any_model=True),
        Row("transformers", auth=(), shape="fastapi", any_model=True, vendor=False),
    )
}


def row(name: str) -> Row:
    """The provider of that name; an unknown name is an OpenAI-like server that serves any model."""
    return ROWS.get(name) or Row(name, paths=BOTH, any_model=True, vendor=False)
