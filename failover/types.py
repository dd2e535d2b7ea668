"""The values that travel through the house: messages, requests, answers, chunks.

Everything here is plain data, immutable, and knows neither a framework nor a
wire format.  Three families:

- what is asked:    ``Message`` (made of blocks), ``Tool``, ``Request``
- what comes back:  ``Answer`` (what a model said), ``Failure`` (why it did not),
  ``Chunk`` (a piece of a stream), ``Usage``
- what the caller gets: ``Response``: an ``Answer`` plus who gave it, what it cost
  and the ``Trail`` of attempts that led there.

An outcome is a value, never an exception: ``Outcome = Answer | Failure``.
Exceptions are made at the doors, from values (see ``errors``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, TypedDict

from failover._shown import Shown

Role = Literal["system", "user", "assistant", "tool"]
MediaKind = Literal["image", "document", "audio", "video"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "context_window", "pause", "other"]

NANO = 1_000_000_000
"""Nano-dollars in a dollar.  All money inside is an integer number of them."""


# ---------------------------------------------------------------- blocks


@dataclass(frozen=True, slots=True)
class Text:
    """A run of text.  ``extra`` keeps what a provider attached to it (citations, annotations)."""

    text: str
    cache_point: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Media:
    """An image, document, audio or video: base64 ``data`` with ``mime_type``, a ``url``, or a ``file_id``."""

    kind: MediaKind
    mime_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None
    cache_point: bool = False


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning a model showed.  Only the model that wrote it may see it again.

    ``signature`` and ``redacted`` are opaque and go back byte for byte; ``extra`` keeps
    whatever else the wire needs (item ids, encrypted content, summaries, detail lists).
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool; ``arguments`` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back for the call ``call_id``."""

    call_id: str
    content: str | tuple[Text | Media, ...]
    is_error: bool = False
    name: str | None = None


Block = Text | Media | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.  ``content`` may be given as a string, a block, or blocks; it is kept as a tuple of blocks.

    ``author`` names the model that wrote an assistant turn (``provider:model``, as in
    ``Response.author``), so that its reasoning and ids go back to it untouched, and to no other.
    """

    role: Role
    content: tuple[Block, ...]
    author: str | None = None
    name: str | None = None

    def __init__(
        self,
        role: Role,
        content: str | Block | Iterable[Block] = (),
        author: str | None = None,
        name: str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "role", role)
        put(self, "content", content if type(content) is tuple else _blocks(content))
        put(self, "author", author)
        put(self, "name", name)

    @property
    def text(self) -> str:
        content = self.content
        if len(content) == 1 and isinstance(content[0], Text):
            return content[0].text
        return "".join([block.text for block in content if isinstance(block, Text)])

    @property
    def reasoning(self) -> str:
        return "".join([block.text for block in self.content if isinstance(block, Thinking)])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple([block for block in self.content if isinstance(block, ToolCall)])


def _blocks(content: str | Block | Iterable[Block]) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if isinstance(content, Block):
        return (content,)
    return tuple(content)


# --------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call: ``parameters`` is its JSON schema.

    A provider's own server-side tool is given whole in ``native`` (the wire's JSON); only targets of
    that provider can serve it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None
    native: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Ask for JSON: any object when ``schema`` is None, else one that fits the schema."""

    schema: Mapping[str, Any] | None = None
    name: str = "response"
    strict: bool | None = None
    description: str | None = None


ToolChoice = str
"""``"auto"``, ``"none"``, ``"required"``, or the bare name of one tool."""


class CallOptions(TypedDict, total=False):
    """The keyword arguments every door takes; each is a field of ``Request``."""

    tools: Sequence[Tool]
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool | None
    response_format: JsonFormat | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: Sequence[str]
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: str | None
    thinking: Mapping[str, Any] | None
    extra_body: Mapping[str, Any]
    prefer: Sequence[str]
    deadline: float | None
    max_retries: int | None
    cache: bool
    labels: Mapping[str, str]
    origin: Any


@dataclass(frozen=True, slots=True)
class Request:
    """One call, independent of who will answer it.

    What is asked (part of the cache key):
        messages, tools, tool_choice, parallel_tool_calls, response_format, max_tokens, temperature,
        top_p, top_k, stop, seed, presence_penalty, frequency_penalty, logprobs, top_logprobs,
        reasoning_effort, thinking, extra_body (sent as it is, on top of the body).
    How it is to be run (not part of it):
        prefer: names of targets to try first, in this order.
        deadline: seconds the whole call may take; None takes the orchestrator's.
        max_retries: same-target retries; None takes the orchestrator's.
        cache: False neither reads nor writes the response cache and joins no identical call.
        labels: for budgets kept per label value, and for telemetry.
        origin: the framework's own messages, untouched, for framework models as targets.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: JsonFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    thinking: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    prefer: tuple[str, ...] = ()
    deadline: float | None = None
    max_retries: int | None = None
    cache: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: Any = None


# ---------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt, in one meaning for all providers.

    ``input_tokens`` includes cache reads and writes; ``output_tokens`` includes reasoning.
    ``cost`` is what the provider itself said it charged, in nano-dollars (OpenRouter), else None.
    ``estimated`` marks figures that the provider did not report.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cost: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class RateHint:
    """What rate-limit headers said, on our clock: amounts, and seconds until they are whole again.  None: not said."""

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None
    requests_window: float = 60.0  # 86,400 where the provider counts requests by the day


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, as a value.  ``message`` is the assistant turn, ready to be sent back.

    ``usage`` is None where the provider reported none.  ``model`` is the model the provider names.
    ``extra`` keeps what else may be of use: ``system_fingerprint``, ``logprobs``, ``service_tier``,
    ``upstream`` (OpenRouter's ``provider``).
    """

    message: Message
    finish_reason: FinishReason = "stop"
    native_finish_reason: str | None = None
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    hint: RateHint | None = field(default=None, compare=False, repr=False)


class Kind(StrEnum):
    """Every way an attempt can fail.  What each one means stands in ``failures.VERDICTS``."""

    # never reached the model
    CONNECT = "connect"  # refused, DNS, reset before any byte was sent
    TLS = "tls"  # certificate or handshake
    POOL = "pool"  # no free connection of our own
    CONNECT_TIMEOUT = "connect_timeout"
    # reached it, got nothing usable
    TIMEOUT = "timeout"  # first content, between contents, or total
    DISCONNECTED = "disconnected"  # the connection broke after the request was sent
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    UNAVAILABLE_TLS = "unavailable_tls"  # 525, 526: the provider's edge cannot reach its own origin
    REQUEST_TIMEOUT = "request_timeout"  # 408, 425
    CONFLICT = "conflict"  # 409
    CAPACITY = "capacity"  # 498: no flex capacity
    CANCELLED = "cancelled"  # 499: it believes that we hung up
    # rate and money
    RATE_LIMITED = "rate_limited"
    SLOW_DOWN = "slow_down"  # rate limited, and asked to lower the rate
    OVER_RATE = "over_rate"  # this one request exceeds the whole window
    IN_FLIGHT_BUDGET = "in_flight_budget"  # 402 that passes by itself
    REQUEST_TOO_EXPENSIVE = "request_too_expensive"  # 402 for this request only
    CREDIT = "credit"  # exhausted until someone pays
    SPEND_LIMIT = "spend_limit"  # exhausted until a stated time
    # who we are
    AUTH = "auth"
    PERMISSION = "permission"  # this credential may not use this model
    FORBIDDEN = "forbidden"  # this credential may not use anything here: country, suspension, scope
    MODEL_NOT_FOUND = "model_not_found"
    WRONG_URL = "wrong_url"
    REDIRECT = "redirect"
    BLOCKED = "blocked"  # a firewall's HTML page
    # what was asked
    BAD_REQUEST = "bad_request"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    CONTEXT_OVERFLOW = "context_overflow"
    TOO_LARGE = "too_large"  # 413
    CONTENT_FILTER = "content_filter"
    TRANSLATION = "translation"  # our rendering of the history was refused
    UNSUPPORTED = "unsupported"  # this target cannot do what was asked
    MODEL_FAULT = "model_fault"  # the model wrote an invalid tool call or JSON
    # what was answered
    MALFORMED = "malformed"  # 200 with garbage: HTML, broken JSON, bad encoding, no choices
    EMPTY = "empty"  # 200 with nothing in it
    OVERSIZED = "oversized"  # larger than the stated limit
    CUT = "cut"  # a stream that ended before its terminal marker
    # not theirs
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt gave no answer, as a value.

    ``retry_after``: seconds the provider asked us to wait, already sane (finite, >= 0, capped).
    ``until``: wall-clock epoch seconds at which a stated limit resets (SPEND_LIMIT, daily limits).
    ``parameter``: the refused parameter's name (UNSUPPORTED_PARAMETER), where it could be read.
    ``partial``: what had arrived when a stream broke (text, usage).
    ``sent``: False when no byte of the request left this machine.
    """

    kind: Kind
    message: str = ""
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    until: float | None = None
    request_id: str | None = None
    parameter: str | None = None
    partial: Answer | None = None
    sent: bool = True
    should_retry: bool | None = None
    hint: RateHint | None = field(default=None, compare=False, repr=False)
    cause: BaseException | None = field(default=None, compare=False, repr=False)


Outcome = Answer | Failure


@dataclass(slots=True)
class Chunk:
    """A piece of a stream.  Exactly one of the first four carries something; the last chunk has ``response``.

    ``text`` / ``reasoning``: new text of that sort.  ``tool_calls``: calls, always whole.
    ``blocks``: finished blocks that have no text form (a signed or redacted ``Thinking``, citations).
    ``index``: number of the content block it belongs to, counted over the whole answer.
    A chunk with nothing in it only says that content is on its way (a fragment of a tool call); the
    driver resets its clocks by it and never hands it on.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    blocks: tuple[Block, ...] = ()
    index: int = 0
    response: Response | None = None


# ------------------------------------------------------ what the caller gets


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a trail: an attempt that was sent, or a target that was passed over.

    ``reason`` is a ``Kind`` value, a rejection's reason, ``"abandoned"`` or ``"ok"``.  ``started`` is seconds since
    the call began, ``duration`` the attempt's own, ``first_content`` those until a stream began to answer; ``sent`` is
    False for targets that were passed over.  ``cost`` is in US dollars, ``cost_nano`` / 1e9.
    """

    target: str
    reason: str
    detail: str = ""
    status: int | None = None
    started: float = 0.0
    duration: float = 0.0
    sent: bool = True
    retry_at: float | None = None
    first_content: float | None = None
    cost_nano: int = 0

    @property
    def cost(self) -> Decimal:
        return Decimal(self.cost_nano) / NANO

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.target}: {self.reason}{status}{detail}"


Trail = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Response(Shown):
    """An answer, who gave it, and what it took.

    ``target`` is the target's name, ``author`` its ``provider:model``.  ``cost`` is in US dollars; it is
    ``cost_nano`` (integer nano-dollars) / 1e9, and ``cost_estimated`` says that the provider reported no
    usage.  ``latency`` is seconds from the call's start to its end.  ``cached`` answers cost nothing.
    ``resumed`` names the authors before the last when a cut stream was continued by another target.
    ``capped`` marks an answer cut at an output cap that failover, not the caller, had set.
    """

    answer: Answer
    target: str
    provider: str
    author: str
    cost_nano: int = 0
    cost_estimated: bool = False
    latency: float = 0.0
    cached: bool = False
    capped: bool = False
    resumed: tuple[str, ...] = ()
    trail: Trail = ()

    @property
    def message(self) -> Message:
        """The assistant turn, signed with its author: append it to the next request's messages."""
        return replace_author(self.answer.message, self.author)

    @property
    def content(self) -> str:
        return self.answer.message.text

    @property
    def reasoning(self) -> str:
        return self.answer.message.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.answer.message.tool_calls

    @property
    def finish_reason(self) -> FinishReason:
        return self.answer.finish_reason

    @property
    def usage(self) -> Usage:
        return self.answer.usage or Usage(estimated=True)

    @property
    def model(self) -> str:
        return self.answer.model

    @property
    def cost(self) -> Decimal:
        return Decimal(self.cost_nano) / NANO

    def __str__(self) -> str:
        return self.content


def replace_author(message: Message, author: str) -> Message:
    if message.author == author:
        return message
    return Message(message.role, message.content, author, message.name)


@dataclass(frozen=True, slots=True)
class Result(Shown):
    """What ``try_complete`` gives: an answer or an error, never an exception."""

    success: bool
    response: Response | None = None
    error: Exception | None = None
    trail: Trail = ()
    elapsed: float = 0.0

    def __str__(self) -> str:
        return str(self.response) if self.success else f"{type(self.error).__name__}: {self.error}"

    @property
    def content(self) -> str | None:
        return self.response.content if self.response else None

    @property
    def provider(self) -> str | None:
        return self.response.provider if self.response else None

    @property
    def model(self) -> str | None:
        return self.response.model if self.response else None

    @property
    def tokens(self) -> int:
        return self.response.usage.total_tokens if self.response else 0

    @property
    def latency(self) -> float:
        return self.response.latency if self.response else self.elapsed

    @property
    def cached(self) -> bool:
        return self.response.cached if self.response else False

    @property
    def cost(self) -> Decimal:
        return self.response.cost if self.response else Decimal(0)
