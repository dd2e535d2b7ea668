"""Every provider's own way to say no: status, error body and headers, by what is wrong.

``trouble(row, kind)`` gives the refusal; kinds that a provider has no words of its own for take the general ones.
``Trouble("credit")`` in a script plays it.  The wordings are those that the providers' documentation and clients show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from failover.testing.strict import Violation
from failover.testing.world import Row

TroubleKind = Literal[
    "rate_limit",
    "day_limit",
    "slow_down",
    "over_rate",
    "concurrency",
    "credit",
    "spend_limit",
    "usage_limit",
    "in_flight_budget",
    "too_expensive",
    "auth",
    "permission",
    "region",
    "suspended",
    "model_not_found",
    "context",
    "too_large",
    "content_filter",
    "model_fault",
    "overloaded",
    "unavailable",
    "server_error",
    "capacity",
    "timeout",
    "conflict",
]
KINDS: tuple[TroubleKind, ...] = get_args(TroubleKind)


def _no(
    status: int, message: str, kind: str, code: str | None = None, extra: Mapping[str, Any] | None = None
) -> Violation:
    return Violation(status, message, "scripted", kind, code, extra=extra or {})


GENERAL: Mapping[TroubleKind, Violation] = {
    "rate_limit": _no(429, "Rate limit reached for requests per minute.", "requests", "rate_limit_exceeded"),
    "day_limit": _no(429, "Rate limit reached: requests per day.", "requests", "rate_limit_exceeded"),
    "slow_down": _no(429, "Slow down: your request rate grows too fast.", "slow_down", "slow_down"),
    "over_rate": _no(
        429,
        "Request too large for this model on tokens per min (TPM): Limit 30000, Requested 90000.",
        "tokens",
        "rate_limit_exceeded",
    ),
    "concurrency": _no(429, "Too many concurrent requests.", "rate_limit_error", "rate_limit_exceeded"),
    "credit": _no(402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
    "spend_limit": _no(429, "Spending limit reached.", "insufficient_quota", "project_spend_limit_exceeded"),
    "usage_limit": _no(429, "Usage limit reached.", "insufficient_quota", "organization_usage_limit_exceeded"),
    "in_flight_budget": _no(402, "Too many requests in flight for your balance.", "payment_required"),
    "too_expensive": _no(402, "This request requires more credits than are left.", "payment_required"),
    "auth": _no(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "permission": _no(403, "You do not have access to this model.", "permission_error", "model_not_allowed"),
    "region": _no(
        403, "Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"
    ),
    "suspended": _no(403, "Your account is suspended.", "access_terminated", "account_deactivated"),
    "model_not_found": _no(404, "The model does not exist.", "invalid_request_error", "model_not_found"),
    "context": _no(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 250000 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "too_large": _no(413, "Request entity too large", "invalid_request_error", "request_too_large"),
    "content_filter": _no(400, "The content was flagged.", "invalid_request_error", "content_policy_violation"),
    "model_fault": _no(400, "Failed to call a function.", "invalid_request_error", "tool_use_failed"),
    "overloaded": _no(503, "The server is overloaded, please try again later.", "server_error", "server_is_overloaded"),
    "unavailable": _no(503, "Service unavailable", "server_error"),
    "server_error": _no(500, "The server had an error while processing your request.", "server_error"),
    "capacity": _no(503, "No capacity available.", "server_error", "capacity_exceeded"),
    "timeout": _no(504, "Gateway timeout", "server_error"),
    "conflict": _no(409, "Conflict", "conflict_error"),
}

_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
_QUOTA = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "250"}],
}


def _router(source: str, **metadata: Any) -> Mapping[str, Any]:
    return {"metadata": {"limit_source": source, **metadata}}


OWN: Mapping[str, Mapping[TroubleKind, Violation]] = {
    "openai": {
        "credit": _no(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "credit_balance_exhausted",
        ),
        "spend_limit": _no(
            429, "You have reached your spend limit.", "insufficient_quota", "organization_spend_limit_exceeded"
        ),
        "context": _no(
            400,
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        "content_filter": _no(
            400,
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "invalid_request_error",
            "invalid_prompt",
        ),
    },
    "anthropic": {
        "rate_limit": _no(
            429,
            "This request would exceed your organization's rate limit of 50 requests per minute.",
            "rate_limit_error",
        ),
        "slow_down": _no(
            429,
            "This request would exceed your organization's maximum usage increase rate for input tokens per minute.",
            "rate_limit_error",
            extra={"details": {"error_code": "ramp_limit_exceeded"}},
        ),
        "over_rate": _no(413, "Request exceeds the input tokens per minute limit.", "request_too_large"),
        "credit": _no(
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
            "purchase credits.",
            "invalid_request_error",
        ),
        "spend_limit": _no(
            429,
            "You have reached your spend limit for this month.",
            "rate_limit_error",
            extra={"details": {"error_code": "enforced_spend_limit_reached"}},
        ),
        "usage_limit": _no(
            400,
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            "invalid_request_error",
        ),
        "suspended": _no(
            400,
            "This organization has been disabled.",
            "invalid_request_error",
            extra={"details": {"error_code": "organization_on_hold"}},
        ),
        "auth": _no(401, "invalid x-api-key", "authentication_error"),
        "permission": _no(
            403, "Your API key does not have permission to use the specified resource.", "permission_error"
        ),
        "region": _no(403, "Request not allowed", "forbidden"),
        "model_not_found": _no(404, "model: claude-none", "not_found_error"),
        "context": _no(400, "prompt is too long: 1204500 tokens > 1000000 maximum", "invalid_request_error"),
        "too_large": _no(413, "Request exceeds the maximum size", "request_too_large"),
        "content_filter": _no(400, "Output blocked by content filtering policy", "invalid_request_error"),
        "overloaded": _no(529, "Overloaded", "overloaded_error"),
        "server_error": _no(500, "Internal server error", "api_error"),
        "timeout": _no(504, "Request timed out", "timeout_error"),
    },
    "deepseek": {
        "context": _no(
            400,
            "This model's maximum context length is 1048576 tokens. However, you requested 1300000 tokens.",
            "invalid_request_error",
            "invalid_request_error",
        ),
        "content_filter": _no(400, "Content Exists Risk", "invalid_request_error", "invalid_request_error"),
    },
    "groq": {
        "rate_limit": _no(
            429,
            "Rate limit reached for model `openai/gpt-oss-120b` in organization `org_1` service tier `on_demand` on "
            "requests per minute (RPM): Limit 30, Used 30, Requested 1. Please try again in 2s.",
            "requests",
            "rate_limit_exceeded",
        ),
        "day_limit": _no(
            429,
            "Rate limit reached for model `openai/gpt-oss-120b` in organization `org_1` service tier `on_demand` on "
            "requests per day (RPD): Limit 1000, Used 1000, Requested 1. Please try again in 1m26.4s.",
            "requests",
            "rate_limit_exceeded",
        ),
        "over_rate": _no(
            413,
            "Request too large for model `openai/gpt-oss-120b` in organization `org_1` service tier `on_demand` on "
            "tokens per minute (TPM): Limit 8000, Requested 9320, please reduce your message size and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
        "context": _no(
            400,
            "Please reduce the length of the messages or completion.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        "model_fault": _no(
            400,
            "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
            "invalid_request_error",
            "tool_use_failed",
            {"failed_generation": "<function=weather>{city: Rome</function>"},
        ),
        "capacity": _no(498, "Flex tier capacity exceeded.", "capacity_exceeded", "capacity_exceeded"),
    },
    "openrouter": {
        "rate_limit": _no(
            429,
            "Provider returned error",
            "rate_limit",
            extra={
                "metadata": {
                    "raw": '{"error":{"message":"Rate limited upstream","code":"rate_limit_exceeded"}}',
                    "provider_name": "Scripted",
                    "retry_after_seconds": 17,
                    "headers": {"Retry-After": "17"},
                }
            },
        ),
        "day_limit": _no(
            429, "Rate limit exceeded: free-models-per-day.", "rate_limit", extra=_router("openrouter_free")
        ),
        "credit": _no(
            402,
            "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
            "payment_required",
            extra=_router("openrouter_credits"),
        ),
        "in_flight_budget": _no(
            402,
            "In-flight requests exceed your balance.",
            "payment_required",
            extra=_router("openrouter_in_flight_budget"),
        ),
        "too_expensive": _no(
            402,
            "This request requires more credits, or fewer max_tokens.",
            "payment_required",
            extra=_router("openrouter_credits", error_type="weight_exceeds_budget"),
        ),
        "spend_limit": _no(
            403,
            "Key limit exceeded (daily limit).",
            "forbidden",
            extra=_router("openrouter_key_limit", resets_at="2026-12-01T00:00:00Z"),
        ),
        "content_filter": _no(
            403,
            "Your input was flagged",
            "moderation",
            extra={"metadata": {"reasons": ["violence"], "flagged_input": "x"}},
        ),
        "model_not_found": _no(404, "No endpoints found for no/such.", "not_found"),
        "context": _no(
            400,
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.",
            "invalid_request_error",
        ),
        "overloaded": _no(
            503, "Provider overloaded", "overloaded", extra={"metadata": {"error_type": "provider_overloaded"}}
        ),
    },
    "gemini": {
        "rate_limit": _no(
            429, "Resource has been exhausted (e.g. check quota).", "rate_limit", extra={"details": [_RETRY_INFO]}
        ),
        "day_limit": _no(
            429, "You exceeded your current quota.", "rate_limit", extra={"details": [_QUOTA, _RETRY_INFO]}
        ),
        "auth": _no(400, "API key not valid. Please pass a valid API key.", "invalid_request_error"),
        "context": _no(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "invalid_request_error",
        ),
        "overloaded": _no(503, "The model is overloaded. Please try again later.", "server_error"),
    },
    "mistral": {
        "rate_limit": _no(429, "Requests rate limit exceeded", "rate_limited", "1300"),
        "capacity": _no(
            429, "Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded", "3505"
        ),
        "context": _no(
            400,
            "Prompt contains 300000 tokens and 0 draft tokens, too large for model with 262144 maximum context length",
            "invalid_request_prompt",
            "3051",
        ),
    },
    "fireworks": {
        "suspended": _no(412, "Account is suspended, possibly due to reaching the monthly spending limit.", "error"),
        "context": _no(
            400, "The prompt is too long: 200000, model maximum context length: 131071", "invalid_request_error"
        ),
    },
    "cerebras": {
        "context": _no(
            400,
            "Please reduce the length of the messages or completion. Current length is 140000 while limit is 131072",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        "overloaded": _no(
            429,
            "We're experiencing high traffic right now! Please try again soon.",
            "too_many_requests_error",
            "queue_exceeded",
        ),
    },
    "azure": {
        "rate_limit": _no(
            429,
            "Requests to the ChatCompletions_Create Operation have exceeded the rate limit. "
            "Please retry after 17 seconds.",
            "rate_limit",
            "RateLimitReached",
        ),
        "content_filter": _no(
            400,
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            "invalid_request_error",
            "content_filter",
            {
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
                }
            },
        ),
        "model_not_found": _no(
            404,
            "The API deployment for this resource does not exist.",
            "invalid_request_error",
            "DeploymentNotFound",
        ),
    },
    "ollama": {
        "model_not_found": _no(404, "model 'none' not found", "api_error"),
        "context": _no(400, "the request exceeds the available context size", "api_error"),
    },
    "vllm": {
        "context": _no(
            400,
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
            "BadRequestError",
        ),
    },
}


def trouble(row: Row, kind: TroubleKind) -> Violation:
    """How this provider says it."""
    return OWN.get(row.name, {}).get(kind) or GENERAL[kind]


BY_STATUS: Mapping[int, TroubleKind] = {
    401: "auth",
    402: "credit",
    403: "permission",
    404: "model_not_found",
    409: "conflict",
    413: "too_large",
    429: "rate_limit",
    498: "capacity",
    500: "server_error",
    503: "unavailable",
    504: "timeout",
    529: "overloaded",
}


def usual(row: Row, status: int) -> Violation:
    """What this provider usually says with that status."""
    kind = BY_STATUS.get(status)
    known = trouble(row, kind) if kind else GENERAL["server_error"]
    return known if known.status == status else _no(status, "The scripted provider says no.", _type(status))


def _type(status: int) -> str:
    return "server_error" if status >= 500 else "invalid_request_error"
