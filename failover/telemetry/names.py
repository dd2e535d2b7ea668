"""Every name that is told to OpenTelemetry, and what an event is told as.

``gen_ai.*`` are those of the semantic conventions for generative AI, released with 1.44 (development status); their
own repository has since begun to rename metrics, and a change of that kind belongs here.  ``failover.*`` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from failover import events
from failover.types import NANO

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]

# ------------------------------------------------------------- attributes

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105  # the name of an attribute
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
STATUS_CODE = "http.response.status_code"
ADDRESS, PORT = "server.address", "server.port"

PARAMETERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "reasoning_effort": "gen_ai.request.reasoning.level",
}
USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
PROVIDERS = {
    "xai": "x_ai",
    "mistral": "mistral_ai",
    "gemini": "gcp.gemini",
    "azure": "azure.ai.openai",
    "moonshot": "moonshot_ai",
}
"""Where the conventions call a provider by another name than we do."""

NAME = "failover.name"
TARGET, SOURCE, REASON = "failover.target", "failover.source", "failover.reason"
STATE, OLD, NEW = "failover.state", "failover.state.old", "failover.state.new"
SCOPE = "failover.budget.scope"
CALL, STREAMED, CACHED = "failover.call", "failover.streamed", "failover.cached"
ATTEMPTS, COST, PROBE, RESERVED = "failover.attempts", "failover.cost", "failover.probe", "failover.reserved"
DELAY = "failover.delay"
LABEL = "failover.label."

# ----------------------------------------------------------------- metrics

SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]

HISTOGRAMS: dict[str, tuple[str, str, Sequence[float]]] = {
    "gen_ai.client.operation.duration": ("s", "Duration of an attempt", SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": ("s", "Until a stream began to answer", SECONDS),
    "gen_ai.client.token.usage": ("{token}", "Tokens of an attempt", TOKENS),
    "failover.call.duration": ("s", "Duration of a whole call, with all its attempts and waits", SECONDS),
}
COUNTERS = {
    "failover.cost": ("{USD}", "What attempts were charged, in US dollars"),
    "failover.failovers": ("{failover}", "Calls that moved on to another target"),
    "failover.retries": ("{retry}", "Attempts at a target that had failed in the same call"),
    "failover.resumptions": ("{stream}", "Cut streams that another target went on with"),
    "failover.passed_over": ("{rejection}", "Targets that a gate refused or that could not serve a request"),
    "failover.waits": ("{wait}", "Times that a call stood in line"),
    "failover.cache.hits": ("{hit}", "Answers from the response cache"),
    "failover.breaker.transitions": ("{transition}", "Changes of a circuit's state"),
    "failover.target.disabled": ("{target}", "Times that a target was switched off"),
    "failover.budget.refusals": ("{refusal}", "Attempts whose worst case did not fit into a budget"),
    "failover.budget.overruns": ("{overrun}", "Attempts that cost more than their worst case"),
    "failover.store.losses": ("{loss}", "Times that the shared store did not answer"),
}
GAUGES = {
    "failover.target.state": ("1", "1 for the state a target is in, 0 for the others"),
    "failover.target.in_flight": ("{attempt}", "Attempts under way"),
    "failover.budget.limit": ("{USD}", "What may be spent in this period, in US dollars"),
    "failover.budget.spent": ("{USD}", "What was spent in this period, in US dollars"),
    "failover.budget.reserved": ("{USD}", "What attempts under way may cost, in US dollars"),
}
STATES = ("closed", "half_open", "open", "disabled")


# ------------------------------------------------------- what events tell

Facts = Callable[[Any], Attributes]


def dollars(nano: int) -> float:
    return nano / NANO


def nothing(event: Any) -> Attributes:
    return {}


def at_target(event: Any) -> Attributes:
    return {TARGET: event.target}


def at_target_because(event: Any) -> Attributes:
    return {TARGET: event.target, REASON: event.reason}


def moved(event: Any) -> Attributes:
    return {SOURCE: event.source, TARGET: event.target, REASON: event.reason}


def turned(event: Any) -> Attributes:
    return {TARGET: event.target, OLD: event.old, NEW: event.new}


def delayed(event: Any) -> Attributes:
    return {DELAY: event.seconds}


def retried(event: Any) -> Attributes:
    return {**at_target_because(event), DELAY: event.delay}


def capped(event: Any) -> Attributes:
    return {TARGET: event.target, PARAMETERS["max_tokens"]: event.max_tokens}


def overran(event: Any) -> Attributes:
    return {TARGET: event.target, RESERVED: dollars(event.reserved), COST: dollars(event.cost)}


NOTES: dict[type[events.Event], tuple[str, Facts]] = {
    events.PassedOver: ("failover.passed_over", at_target_because),
    events.Retrying: ("failover.retrying", retried),
    events.FailedOver: ("failover.failed_over", moved),
    events.StreamResumed: ("failover.resumed", moved),
    events.Waiting: ("failover.waiting", delayed),
    events.CacheHit: ("failover.cache_hit", at_target),
    events.RequestAdjusted: ("failover.adjusted", at_target),
    events.AnswerCapped: ("failover.capped", capped),
    events.BreakerChanged: ("failover.breaker", turned),
    events.TargetDisabled: ("failover.disabled", at_target_because),
    events.TargetEnabled: ("failover.enabled", at_target),
    events.BudgetRefused: ("failover.budget_refused", at_target),
    events.CostAboveReservation: ("failover.cost_above_reservation", overran),
}
"""What the span of a call tells of its way: the name of the span's event, and its attributes."""

COUNTED: dict[type[events.Event], tuple[str, Facts]] = {
    events.FailedOver: ("failover.failovers", moved),
    events.StreamResumed: ("failover.resumptions", moved),
    events.Retrying: ("failover.retries", at_target_because),
    events.PassedOver: ("failover.passed_over", at_target_because),
    events.Waiting: ("failover.waits", nothing),
    events.CacheHit: ("failover.cache.hits", at_target),
    events.BreakerChanged: ("failover.breaker.transitions", turned),
    events.TargetDisabled: ("failover.target.disabled", at_target_because),
    events.BudgetRefused: ("failover.budget.refusals", at_target),
    events.CostAboveReservation: ("failover.budget.overruns", at_target),
    events.StoreLost: ("failover.store.losses", nothing),
}
"""The counter that an event adds one to, and the attributes it does so under."""


def failed(event: events.AttemptFinished) -> bool:
    return event.reason not in ("ok", "abandoned")
