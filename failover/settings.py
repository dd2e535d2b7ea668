"""What a user may set: targets, budgets, and the behaviour of every gate.

All of it is frozen and checked when it is built.  A wrong value raises ``ConfigurationError``, which
names the field, the value and the range; an unknown field is an error, never ignored.
Times are seconds, money is US dollars, rates are per minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, fields
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Field, SecretStr

from failover._checked import refuse_credential, says, settings, without_userinfo
from failover.errors import ConfigurationError

Positive = Annotated[float, Gt(0), says("a number > 0")]
NotNegative = Annotated[float, Ge(0), says("a number >= 0")]
Count = Annotated[int, Ge(1), says("a whole number >= 1")]
CountOrZero = Annotated[int, Ge(0), says("a whole number >= 0")]
Share = Annotated[float, Gt(0), Le(1), says("a number > 0 and <= 1")]
ShareOrZero = Annotated[float, Ge(0), Le(1), says("a number from 0 to 1")]
Minute = Annotated[int, Ge(0), Le(1440), says("minutes after midnight UTC, a whole number from 0 to 1440")]
Weekday = Annotated[int, Ge(0), Le(6), says("a whole number from 0 (Monday) to 6 (Sunday)")]
if TYPE_CHECKING:
    Dollars = Decimal | float  # what may be written; it is kept as a Decimal
    Cap = Dollars
else:
    Dollars = Annotated[Decimal, Ge(0), Le(10**9), says("a finite amount in US dollars, >= 0")]
    # 2**53 nano-dollars are 9,007,199 dollars: below it every store counts exactly, also one that has only doubles
    Cap = Annotated[Decimal, Ge(0), Le(9_000_000), says("an amount in US dollars, from 0 to 9,000,000")]


# ------------------------------------------------------------------ prices


@settings
class Tier:
    """Prices of a whole request once its input exceeds ``above`` tokens (a cliff, as the vendors bill it).

    above: input tokens.
    input, output, cache_read, cache_write, cache_write_1h: as in ``Price``.
    """

    above: CountOrZero
    input: Dollars
    output: Dollars
    _: KW_ONLY
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None


@settings
class Hours:
    """Prices that hold at certain hours of the day (UTC).

    start: the first minute after midnight.
    end: the minute at which they end, not itself one of them; hours that cross midnight are written as two.
    input, output, cache_read, cache_write, cache_write_1h: as in ``Price``.
    weekdays: the days (Monday = 0) on which they hold; default: all.
    """

    start: Minute
    end: Minute
    input: Dollars
    output: Dollars
    _: KW_ONLY
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    weekdays: frozenset[Weekday] = frozenset(range(7))

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ConfigurationError(
                f"Hours: start = {self.start}, end = {self.end}: write a start before the end;"
                " hours that cross midnight are two"
            )

    def overlaps(self, other: Hours) -> bool:
        return bool(self.weekdays & other.weekdays) and self.start < other.end and other.start < self.end


@settings
class Price:
    """US dollars per million tokens.

    input: of what is sent.
    output: of what is made, hidden reasoning included.
    cache_read: of input that the provider had in its prompt cache; default: the input price.
    cache_write: of input that it puts there; default: the input price.
    cache_write_1h: the same, to be kept for an hour; default: ``cache_write``.
    audio_input: of audio sent; default: the input price.
    audio_output: of audio made; default: the output price.
    tiers: prices of long requests, by ascending ``above``; the highest one that is exceeded holds for the whole
        request, and wins over ``hours``.
    hours: prices at certain hours; elsewhere the base price holds.
    services: prices under another service tier, by the name that the request or the answer gives it (``"priority"``,
        ``"flex"``, ``"fast"``); other names mean this price.
    later: prices that are already announced, by the day (UTC) from which they hold.
    caches_unasked: the provider writes its prompt cache by itself, so that a reservation has to count the write price
        even when no caching is asked for.
    """

    input: Dollars
    output: Dollars
    _: KW_ONLY
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    tiers: tuple[Tier, ...] = ()
    hours: tuple[Hours, ...] = ()
    services: Mapping[str, Price] = Field(default_factory=dict, kw_only=True)
    later: Mapping[date, Price] = Field(default_factory=dict, kw_only=True)
    caches_unasked: bool = False

    def __post_init__(self) -> None:
        edges = [tier.above for tier in self.tiers]
        if any(low >= high for low, high in pairwise(edges)):
            raise ConfigurationError(f"Price: tiers at {edges}: write them by ascending above, each edge once")
        if any(one.overlaps(two) for at, one in enumerate(self.hours) for two in self.hours[:at]):
            raise ConfigurationError("Price: hours overlap: write each minute of a weekday at most once")

    @classmethod
    def free(cls) -> Price:
        """Of a model that costs nothing, such as one on your own machine."""
        return cls(0, 0)


# ------------------------------------------------------------------- gates


@settings
class CircuitBreaker:
    """When a target is left alone, and when it is tried again.

    failure_threshold: consecutive failures that are the target's own (default 5).
    recovery_timeout: seconds open before probes (default 30); doubles with jitter while probes fail.
    max_recovery_timeout: where that doubling ends (default 300 s, and never less than ``recovery_timeout``).
    probes: calls let through at once while half-open (default 1); as many successes close it.
    failure_rate: share of failures in ``window`` that opens it too; None: off.
    slow_call_rate: share of slow calls in ``window`` that opens it too; None: off.
    slow_call: seconds to the first content from which a call is slow (default 30).
    window: seconds over which the rates are counted (default 60).
    minimum_calls: calls in the window before a rate means anything (default 10).
    """

    failure_threshold: Count = 5
    recovery_timeout: Positive = 30.0
    max_recovery_timeout: Positive = 300.0
    probes: Count = 1
    failure_rate: Share | None = None
    slow_call_rate: Share | None = None
    slow_call: Positive = 30.0
    window: Positive = 60.0
    minimum_calls: Count = 10

    def __post_init__(self) -> None:
        if self.max_recovery_timeout < self.recovery_timeout:
            object.__setattr__(self, "max_recovery_timeout", self.recovery_timeout)


@settings
class RateLimit:
    """What may be sent to a target: requests and tokens in any 60 seconds, and calls at once.  None: no limit.

    requests: calls sent.
    tokens: input plus output.
    input_tokens: what is sent alone.
    output_tokens: what is made alone.
    concurrency: calls in flight.
    window: seconds (default 60).
    """

    requests: Count | None = None
    tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    concurrency: Count | None = None
    window: Positive = 60.0


@settings
class Budget:
    """A hard cap in US dollars; the worst case of a call is reserved before it is sent.

    limit: US dollars in a period, at most 9,000,000.
    per: the period (default: day); days, weeks and months begin at midnight in ``timezone``.
    timezone: an IANA name such as ``Europe/Berlin``; default: the machine's own.
    per_label: keep one such budget for each value of this label; a call without the label is refused.
    default_max_tokens: cap on output where the caller gives none (default 4000; 16,000 for models that reason).
    """

    limit: Cap
    per: Literal["hour", "day", "week", "month", "total"] = "day"
    timezone: str | None = None
    per_label: Annotated[str, MinLen(1)] | None = None
    default_max_tokens: Count | None = None

    def __post_init__(self) -> None:
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ConfigurationError(
                    f"Budget: timezone = {self.timezone!r} is unknown; write an IANA name such as 'Europe/Berlin'"
                    " (pip install tzdata where the system has no zone table)"
                ) from None


@settings
class Retry:
    """Trying the same target again, once no other target can take the call.

    attempts: retries of one target within a call (default 2; 0: never).
    base: seconds (default 0.5); the n-th wait is uniform in [0, min(maximum, base * 2**n)] (full jitter, AWS
        Architecture Blog 2015), and no shorter than the provider's Retry-After.
    maximum: seconds that a wait is drawn from at most (default 8).
    max_retry_after: seconds; a provider that asks for more is not retried within the call (default 60).
    budget: retries and hedges together may be this share of the calls of the last 10 s (default 0.2) ...
    floor: ... plus this many in 10 s (default 10).
    """

    attempts: CountOrZero = 2
    base: NotNegative = 0.5
    maximum: NotNegative = 8.0
    max_retry_after: NotNegative = 60.0
    budget: ShareOrZero = 0.2
    floor: CountOrZero = 10


@settings
class Hedge:
    """A second attempt elsewhere when the first content is late; async doors only, off unless it is given.

    after: seconds; None (default): as long as most of the recent answers took.
    quantile: which share of them is most (default 0.95).
    initial: seconds until 20 of them are known (default 1).
    """

    after: Positive | None = None
    quantile: Share = 0.95
    initial: Positive = 1.0


@settings
class Cache:
    """The response cache: least recently used entries leave first, old ones are never served.

    size: entries (default 1000).
    ttl: seconds (default 3600).
    namespace: keeps its entries apart from others', for instance one tenant's.
    single_flight: identical calls of other processes, too, wait for one answer instead of asking for their own, for as
        long as a stream may pause (``between_content``); needs a Redis store (default: only those of this process).
    shared: where the store is shared, so are the answers (default); False keeps them in this process.
    """

    size: Count = 1000
    ttl: Positive = 3600.0
    namespace: str = ""
    single_flight: bool = False
    shared: bool = True


@settings
class Timeouts:
    """Seconds for one attempt, each on its own clock; keep-alives and pings do not reset them.

    connect: until there is a connection (default 5).
    first_content: until the first text, thought or tool call of a stream (default 60).
    between_content: from one such piece of a stream to the next (default 30).
    whole: for an answer that is not streamed (default 300).
    total: for a stream (default 600).
    """

    connect: Positive = 5.0
    first_content: Positive = 60.0
    between_content: Positive = 30.0
    whole: Positive = 300.0
    total: Positive = 600.0


# ----------------------------------------------------------------- targets

CREDENTIAL_HEADER = re.compile("auth|key|token|secret|password|cookie", re.IGNORECASE)
"""Headers whose values are credentials, by their names."""

Input = Literal["image", "document", "audio", "video"]
DialectName = Literal["chat", "responses", "anthropic"]


@settings
class Target:
    """What a call can be sent to: provider + model + credential + its limits.

    name: ``"provider:model"``, or any name when ``model`` is given; unique within an orchestrator.
    model: the provider's id of the model, where the name does not say it.
    provider: which row of the provider table, where the name does not say it; none is needed with a ``base_url``.
    base_url: where requests go, up to and including the version (``http://127.0.0.1:8000/v1``).
    dialect: the wire format; default: the provider's, and OpenAI Chat Completions for a ``base_url`` alone.
    api_key: a string, a ``SecretStr``, or a function that returns it; default: the provider's variable in
        the environment.  A function is asked at every attempt, once more after a 401, and while its key stays
        refused: another key switches the target on again.  Never shown, stored or logged.
    weight: share under the ``weighted`` strategy (default 1).
    rpm: requests in any minute; None: no limit.
    tpm: tokens in any minute, input plus output; None: no limit.
    input_tpm, output_tpm: tokens in any minute, each by itself; None: no limit.
    concurrency: calls in flight; None: no limit.
    price: overrides the table.
    budget: a hard cap on this target alone.
    breaker, timeouts: override the orchestrator's.
    headers: added to every request; those that carry a credential (``Authorization``, ``...-Key``) are kept as secret
        as ``api_key``.
    extra_body: added to every request's body.
    context_window, max_output_tokens: tokens, where the table of models is wrong or silent.
    inputs: which media the model takes beside text, where the table is wrong or silent.
    tools, structured_output: whether it can, where the table is wrong or silent.
    api_version: Anthropic's ``anthropic-version``, Azure's ``api-version``.
    end_marker: False for servers that end a stream without saying so.
    reenable_after: seconds after which a refused credential is tried again; None: never by itself.
    attempter: a framework model in place of HTTP, made by ``as_target`` of an integration.
    """

    name: Annotated[str, MinLen(1)]
    _: KW_ONLY
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
    dialect: DialectName | None = None
    api_key: Any = Field(default=None, repr=False, kw_only=True)
    weight: Positive = 1.0
    rpm: Count | None = None
    tpm: Count | None = None
    input_tpm: Count | None = None
    output_tpm: Count | None = None
    concurrency: Count | None = None
    price: Price | None = None
    budget: Budget | None = None
    breaker: CircuitBreaker | None = None
    timeouts: Timeouts | None = None
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False, kw_only=True)
    extra_body: Mapping[str, Any] = Field(default_factory=dict, kw_only=True)
    context_window: Count | None = None
    max_output_tokens: Count | None = None
    inputs: frozenset[Input] | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    api_version: str | None = None
    end_marker: bool = True
    reenable_after: Positive | None = None
    attempter: Any = Field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key))
        elif self.api_key is not None and not isinstance(self.api_key, SecretStr) and not callable(self.api_key):
            raise ConfigurationError("Target: api_key: write a string, a SecretStr or a function that returns one")
        for field in ("name", "model", "provider"):
            refuse_credential("Target", field, getattr(self, field))
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            shown = without_userinfo(self.base_url)
            raise ConfigurationError(f"Target: base_url = {shown!r}: write a URL that begins with http:// or https://")
        for header, value in self.headers.items():
            if not f"{header}{value}".isprintable():
                raise ConfigurationError(f"Target: headers: {header!r} holds a line break or a control character")

    def __reduce__(self) -> Any:
        """Pickles carry no key: where it arrives, it is looked up in the environment."""
        return _target, (self.portable(),)

    def portable(self) -> dict[str, Any]:
        """The fields as they may leave this process: no key, no header that carries one, no user in the URL."""
        said = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "api_key"}
        said["headers"] = {name: value for name, value in self.headers.items() if not CREDENTIAL_HEADER.search(name)}
        if self.base_url is not None:
            said["base_url"] = re.sub("//[^/]*@", "//", self.base_url)
        return said

    @property
    def limits(self) -> RateLimit:
        return RateLimit(self.rpm, self.tpm, self.input_tpm, self.output_tpm, self.concurrency)


def _target(said: dict[str, Any]) -> Target:
    return Target(**said)
