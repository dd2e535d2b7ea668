"""Every row of what is known about failures, with bodies as the providers send them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from failover import errors
from failover.error_body import Said
from failover.failures import VERDICTS, classify, classify_error, may_retry, table
from failover.signs import NAMES, SIGNS, by_status, recognise
from failover.types import Failure, Kind

WALL = 1_795_392_000.0  # 2026-11-23 00:00:00 UTC
FIRST_OF_DECEMBER = 1_796_083_200.0
HOUR = 3600.0
DAY = 86_400.0

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Case:
    """An answer and what it is; ``expected`` holds further fields of the failure."""

    name: str
    status: int
    body: Any
    kind: Kind
    headers: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)

    def failure(self) -> Failure:
        return classify(self.status, self.headers, encoded(self.body), WALL)


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def openai(message: str, type_: str | None = "invalid_request_error", code: Any = None, **more: Any) -> Any:
    return {"error": {"message": message, "type": type_, "param": more.pop("param", None), "code": code, **more}}


def anthropic(type_: str, message: str, **more: Any) -> Any:
    return {"type": "error", "error": {"type": type_, "message": message, **more}, "request_id": "req_011CSHoEeqs5"}


def openrouter(code: int, message: str, **metadata: Any) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "user_2m8c2"}


def gemini(code: int, status: str, message: str, *details: Any) -> Any:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def mistral(message: str, type_: str, code: str | None) -> Any:
    return {"object": "error", "message": message, "type": type_, "param": None, "code": code}


def case(name: str, status: int, body: Any, kind: Kind, headers: Mapping[str, str] | None = None, **more: Any) -> Case:
    return Case(name, status, body, kind, headers or {}, more)


CLOUDFLARE = (
    b"<!DOCTYPE html>\n<html><head><title>api.example.com | 521: Web server is down</title></head><body/></html>"
)
QUOTA = "You exceeded your current quota, please check your plan and billing details."
GEMINI_DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        }
    ],
}
GEMINI_WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
GROQ_TOO_LARGE = (
    "Request too large for model `llama-3.1-8b-instant` in organization `org_01` service tier `on_demand` on tokens "
    "per minute (TPM): Limit 6000, Requested 12328, please reduce your message size and try again."
)
GROQ_DAY = (
    "Rate limit reached for model `openai/gpt-oss-120b` in organization `org_01` service tier `on_demand` on tokens "
    "per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s. Need more tokens?"
)
AFFORD = (
    "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford"
)
NO_EFFORT = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function "
    "tools, use /v1/responses or set reasoning_effort to 'none'"
)
AZURE_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
        },
    }
}

SERVERS = [
    case("500", 500, openai("The server had an error", "server_error"), Kind.SERVER_ERROR),
    case("502 page", 502, b"<html><head><title>502 Bad Gateway</title></head></html>", Kind.SERVER_ERROR),
    case("503 text", 503, b"upstream connect error or disconnect/reset before headers", Kind.SERVER_ERROR),
    case("503 waits", 503, b"", Kind.SERVER_ERROR, {"Retry-After": "30"}, retry_after=30.0),
    case("504 is the gateway's clock", 504, b"", Kind.TIMEOUT),
    case("anthropic 504", 504, anthropic("timeout_error", "Request timed out"), Kind.TIMEOUT),
    *(case(f"cloudflare {code}", code, CLOUDFLARE, Kind.SERVER_ERROR) for code in (520, 521, 522, 523, 527, 530)),
    case("cloudflare 524", 524, CLOUDFLARE, Kind.TIMEOUT),
    case("cloudflare 525", 525, CLOUDFLARE, Kind.UNAVAILABLE_TLS),
    case("cloudflare 526", 526, CLOUDFLARE, Kind.UNAVAILABLE_TLS),
    case("529", 529, anthropic("overloaded_error", "Overloaded"), Kind.OVERLOADED),
    case("529 empty", 529, b"", Kind.OVERLOADED),
    case("overloaded_error beats 400", 400, anthropic("overloaded_error", "Overloaded"), Kind.OVERLOADED),
    case(
        "openai 503",
        503,
        openai("Our servers are overloaded", "service_unavailable_error", "server_is_overloaded"),
        Kind.OVERLOADED,
    ),
    case(
        "openrouter overloaded",
        503,
        openrouter(503, "Provider returned error", error_type="provider_overloaded", provider_name="X"),
        Kind.OVERLOADED,
    ),
    case(
        "gemini overloaded",
        503,
        gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        Kind.OVERLOADED,
    ),
    case("mistral capacity", 503, mistral("Service tier capacity exceeded", "x", None), Kind.OVERLOADED),
    case("408", 408, b"", Kind.REQUEST_TIMEOUT),
    case("425", 425, b"", Kind.REQUEST_TIMEOUT),
    case("409", 409, anthropic("conflict_error", "modified concurrently"), Kind.CONFLICT),
    case("groq 498", 498, openai("flex capacity", "x", "capacity_exceeded"), Kind.CAPACITY),
    case("498 empty", 498, b"", Kind.CAPACITY),
    case("openai flex", 429, openai("Resource unavailable", "x", "resource_unavailable"), Kind.CAPACITY),
    case("499", 499, b"", Kind.CANCELLED),
    case("bedrock model error", 424, {"message": "The model failed"}, Kind.MODEL_FAULT),
]

RATES = [
    case("429 empty", 429, b"", Kind.RATE_LIMITED, retry_after=None),
    case("429 page", 429, CLOUDFLARE, Kind.RATE_LIMITED),
    case(
        "openai",
        429,
        openai("Rate limit reached for gpt-6-luna on requests per min. Please try again in 20ms.", "requests"),
        Kind.RATE_LIMITED,
        retry_after=0.02,
    ),
    case(
        "anthropic",
        429,
        anthropic("rate_limit_error", "This request would exceed your organization's rate limit"),
        Kind.RATE_LIMITED,
        {"retry-after": "12"},
        retry_after=12.0,
        request_id="req_011CSHoEeqs5",
    ),
    case("groq day", 429, openai(GROQ_DAY, "tokens", "rate_limit_exceeded"), Kind.RATE_LIMITED, retry_after=578.016),
    case(
        "gemini minute",
        429,
        gemini(429, "RESOURCE_EXHAUSTED", QUOTA, GEMINI_WAIT),
        Kind.RATE_LIMITED,
        retry_after=17.0,
    ),
    case(
        "gemini day ends at midnight in California",
        429,
        gemini(429, "RESOURCE_EXHAUSTED", QUOTA, GEMINI_DAY, GEMINI_WAIT),
        Kind.RATE_LIMITED,
        retry_after=8 * HOUR,
        until=WALL + 8 * HOUR,
    ),
    case(
        "gemini in a message",
        429,
        {"error": {"message": json.dumps(gemini(429, "RESOURCE_EXHAUSTED", QUOTA)[0]), "code": 429}},
        Kind.RATE_LIMITED,
        message=QUOTA,
    ),
    case(
        "openrouter upstream",
        429,
        openrouter(
            429,
            "Provider returned error",
            raw="meta-llama/llama:free is temporarily rate-limited upstream. Please retry shortly.",
            provider_name="Venice",
            is_byok=False,
            retry_after_seconds=17,
            headers={"Retry-After": "17"},
        ),
        Kind.RATE_LIMITED,
        retry_after=17.0,
        message="meta-llama/llama:free is temporarily rate-limited upstream. Please retry shortly.",
    ),
    case(
        "openrouter says it in quoted headers alone",
        429,
        openrouter(429, "Rate limited", headers={"Retry-After": "9"}),
        Kind.RATE_LIMITED,
        retry_after=9.0,
    ),
    case(
        "openrouter free models by the day",
        429,
        openrouter(
            429,
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
            headers={
                "X-RateLimit-Limit": "50",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": str(int((WALL + HOUR) * 1000)),
            },
        ),
        Kind.RATE_LIMITED,
        retry_after=DAY,
    ),
    case(
        "azure",
        429,
        {"error": {"code": "429", "message": "exceeded token rate limit. Please retry after 86400 seconds."}},
        Kind.RATE_LIMITED,
        retry_after=86_400.0,
    ),
    case("azure RateLimitReached", 429, openai("x", None, "RateLimitReached"), Kind.RATE_LIMITED),
    case(
        "mistral calls it invalid",
        429,
        mistral("Service tier capacity exceeded for this model.", "invalid_request_error", None),
        Kind.RATE_LIMITED,
    ),
    case("mistral", 429, mistral("Rate limit exceeded", "rate_limited", "1300"), Kind.RATE_LIMITED),
    case("deepseek concurrency", 429, openai("Too many requests at once"), Kind.RATE_LIMITED),
    case("slow down", 429, openai("Slow down", "rate_limit_error", "slow_down"), Kind.SLOW_DOWN),
    case(
        "ramp",
        429,
        anthropic("rate_limit_error", "x", details={"error_code": "ramp_limit_exceeded"}),
        Kind.SLOW_DOWN,
    ),
    case("groq 413", 413, openai(GROQ_TOO_LARGE, "tokens", "rate_limit_exceeded"), Kind.OVER_RATE),
    case(
        "openai too large",
        429,
        openai(
            "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 30601.",
            "tokens",
            "rate_limit_exceeded",
        ),
        Kind.OVER_RATE,
    ),
    case(
        "reset of what is used up",
        429,
        openai("Too many", "tokens"),
        Kind.RATE_LIMITED,
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2.5s"},
        retry_after=62.5,
    ),
]

MONEY = [
    *(
        case(f"openai {code}", 429, openai(QUOTA, "insufficient_quota", code), kind, {"retry-after": "1"}, until=None)
        for code, kind in {
            "insufficient_quota": Kind.CREDIT,
            "credit_balance_exhausted": Kind.CREDIT,
            "billing_not_active": Kind.CREDIT,
            "organization_spend_limit_exceeded": Kind.SPEND_LIMIT,
            "project_spend_limit_exceeded": Kind.SPEND_LIMIT,
            "organization_usage_limit_exceeded": Kind.SPEND_LIMIT,
            "billing_hard_limit_reached": Kind.SPEND_LIMIT,
        }.items()
    ),
    case("openai by type alone", 429, openai(QUOTA, "insufficient_quota"), Kind.CREDIT),
    *(
        case(
            f"anthropic {code}",
            429,
            anthropic("rate_limit_error", "limit reached", details={"error_code": code}),
            Kind.SPEND_LIMIT,
            until=FIRST_OF_DECEMBER,
        )
        for code in (
            "enforced_spend_limit_reached",
            "contract_spend_limit_reached",
            "linked_organization_spend_limit_reached",
        )
    ),
    case("anthropic 402", 402, anthropic("billing_error", "Your payment failed"), Kind.CREDIT),
    case(
        "anthropic credit in a 400",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        Kind.CREDIT,
    ),
    *(
        case(
            f"anthropic{word} limit until a date",
            400,
            anthropic(
                "invalid_request_error",
                f"You have reached your specified{word} API usage limits. You will regain access on 2026-12-01 at "
                "00:00 UTC.",
            ),
            Kind.SPEND_LIMIT,
            until=FIRST_OF_DECEMBER,
        )
        for word in ("", " workspace")
    ),
    *(
        case(
            limit,
            403,
            openrouter(403, "Budget limit exceeded", limit_source=limit, resets_at="2026-11-24T00:00:00Z"),
            Kind.SPEND_LIMIT,
            until=WALL + DAY,
        )
        for limit in ("openrouter_guardrail_budget", "openrouter_workspace_budget", "openrouter_key_limit")
    ),
    case(
        "openrouter in flight",
        402,
        openrouter(402, "In-flight budget exhausted", limit_source="openrouter_in_flight_budget"),
        Kind.IN_FLIGHT_BUDGET,
        {"Retry-After": "5"},
        retry_after=5.0,
    ),
    case(
        "openrouter one request too dear",
        402,
        openrouter(402, "Too expensive", error_type="weight_exceeds_budget", limit_source="openrouter_credits"),
        Kind.REQUEST_TOO_EXPENSIVE,
    ),
    case(
        "openrouter affords less",
        402,
        openrouter(402, f"{AFFORD} 3395.", provider_name=None),
        Kind.REQUEST_TOO_EXPENSIVE,
    ),
    case("openrouter affords nothing", 402, openrouter(402, f"{AFFORD} 0.", provider_name=None), Kind.CREDIT),
    case("openrouter credits", 402, openrouter(402, "Insufficient credits. Add more"), Kind.CREDIT),
    case("deepseek", 402, openai("Insufficient Balance", "unknown_error"), Kind.CREDIT),
    case("gemini prepaid", 402, gemini(402, "RESOURCE_EXHAUSTED", "depleted"), Kind.CREDIT),
    case(
        "gemini prepaid in a 429",
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio"),
        Kind.CREDIT,
    ),
    case("402 empty", 402, b"", Kind.CREDIT, {"Retry-After": "10"}),
    case(
        "xai credits",
        403,
        {"code": "x y", "error": "Your team 0123 has either used all available credits or reached its spending limit."},
        Kind.CREDIT,
    ),
]

WHO = [
    case("401 empty", 401, b"", Kind.AUTH),
    case(
        "openai key",
        401,
        openai("Incorrect API key provided: sk-abcdef***wxyz.", code="invalid_api_key"),
        Kind.AUTH,
        message="Incorrect API key provided: ***",
    ),
    case("anthropic key", 401, anthropic("authentication_error", "invalid x-api-key"), Kind.AUTH),
    case("mistral key", 401, {"detail": "Unauthorized"}, Kind.AUTH),
    case("openrouter key", 401, openrouter(401, "User not found."), Kind.AUTH),
    case(
        "gemini key in a 400",
        400,
        gemini(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
        ),
        Kind.AUTH,
    ),
    case(
        "gemini no key",
        403,
        gemini(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers without identity)."),
        Kind.AUTH,
    ),
    case(
        "xai key in a 400",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xx***."},
        Kind.AUTH,
    ),
    case(
        "country",
        403,
        openai("Country, region, or territory not supported", "x", "unsupported_country_region_territory"),
        Kind.FORBIDDEN,
    ),
    case(
        "gemini location",
        400,
        gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        Kind.FORBIDDEN,
    ),
    case("fireworks suspended", 412, {"error": "Account example is suspended"}, Kind.FORBIDDEN),
    case(
        "anthropic disabled",
        400,
        anthropic("invalid_request_error", "This organization has been disabled."),
        Kind.FORBIDDEN,
    ),
    case("403 empty", 403, b"", Kind.FORBIDDEN),
    case(
        "403 for everything",
        403,
        anthropic("permission_error", "Your API key does not have permission to use the specified resource"),
        Kind.FORBIDDEN,
    ),
    case(
        "403 for a model",
        403,
        anthropic("permission_error", "Your API key does not have access to model claude-fable-5-1"),
        Kind.PERMISSION,
    ),
    case("403 page is a firewall", 403, CLOUDFLARE, Kind.BLOCKED),
    case("400 page is no API", 400, b"<html><title>400 The plain HTTP request</title></html>", Kind.BLOCKED),
    case(
        "the gateway's key is not ours",
        401,
        openrouter(
            401,
            "Provider returned error",
            raw=json.dumps(anthropic("authentication_error", "invalid x-api-key")),
            provider_name="Anthropic",
            is_byok=False,
        ),
        Kind.SERVER_ERROR,
    ),
    case(
        "our own key at an upstream is",
        401,
        openrouter(
            401,
            "Provider returned error",
            raw=json.dumps(anthropic("authentication_error", "invalid x-api-key")),
            provider_name="Anthropic",
            is_byok=True,
        ),
        Kind.AUTH,
    ),
]

PLACES = [
    case(
        "openai model",
        404,
        openai("The model `gpt-x` does not exist or you do not have access to it.", code="model_not_found"),
        Kind.MODEL_NOT_FOUND,
        until=WALL + HOUR,
    ),
    case("openai model, 403", 403, openai("no access", code="model_not_found"), Kind.MODEL_NOT_FOUND),
    case("anthropic model", 404, anthropic("not_found_error", "model: claude-x"), Kind.MODEL_NOT_FOUND),
    case("azure", 404, openai("x", None, "DeploymentNotFound"), Kind.MODEL_NOT_FOUND),
    case("openrouter", 404, openrouter(404, "No endpoints found for foo/bar."), Kind.MODEL_NOT_FOUND),
    case("openrouter id", 400, openrouter(400, "foo/bar is not a valid model ID"), Kind.MODEL_NOT_FOUND),
    case(
        "litellm",
        400,
        openai("/chat/completions: Invalid model name passed in model=nope. Call `/v1/models` to view", code="400"),
        Kind.MODEL_NOT_FOUND,
    ),
    case(
        "litellm, Anthropic's wire",
        400,
        anthropic("invalid_request_error", "anthropic_messages: Invalid model name passed in model=nope."),
        Kind.MODEL_NOT_FOUND,
    ),
    case(
        "litellm without a database of keys",
        400,
        openai("No connected db.", "no_db_connection", "400"),
        Kind.AUTH,
    ),
    case(
        "litellm overflow",
        400,
        openai("litellm.ContextWindowExceededError: litellm.BadRequestError: this prompt", code="400"),
        Kind.CONTEXT_OVERFLOW,
    ),
    case(
        "litellm says it as an event",
        500,
        b'data: {"error": {"message": "Error processing stream start", "code": "500"}}\n\ndata: [DONE]\n\n',
        Kind.SERVER_ERROR,
        message="Error processing stream start",
    ),
    case("openrouter tools", 404, openrouter(404, "No endpoints found that support tool use."), Kind.UNSUPPORTED),
    case("ollama", 404, {"error": "model 'llama9' not found"}, Kind.MODEL_NOT_FOUND),
    case("ollama pull", 404, {"error": 'model "llama9" not found, try pulling it first'}, Kind.MODEL_NOT_FOUND),
    case("mistral", 400, mistral("Invalid model: foo", "invalid_model", "1500"), Kind.MODEL_NOT_FOUND),
    case(
        "groq retired",
        400,
        openai("The model has been decommissioned", code="model_decommissioned"),
        Kind.MODEL_NOT_FOUND,
    ),
    case(
        "gemini",
        404,
        gemini(404, "NOT_FOUND", "models/foo is not found for API version v1beta, or is not supported for it."),
        Kind.MODEL_NOT_FOUND,
    ),
    case(
        "vllm", 404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, Kind.MODEL_NOT_FOUND
    ),
    case("410", 410, b"", Kind.MODEL_NOT_FOUND),
    case("path page", 404, b"<html><title>404 Not Found</title></html>", Kind.WRONG_URL, until=WALL + HOUR),
    case("path fastapi", 404, {"detail": "Not Found"}, Kind.WRONG_URL),
    case("path go", 404, b"404 page not found", Kind.WRONG_URL),
    case("path empty", 404, b"", Kind.WRONG_URL),
    case("path azure", 404, {"error": {"code": "404", "message": "Resource not found"}}, Kind.WRONG_URL),
    case("path openai", 404, openai("Invalid URL (POST /v1/chat/completion)"), Kind.WRONG_URL),
    case("path groq", 404, openai("Unknown request URL: POST /x", code="unknown_url"), Kind.WRONG_URL),
    case("another thing", 404, anthropic("not_found_error", "File not found: file_x"), Kind.UNSUPPORTED, until=None),
    *(case(str(code), code, b"", Kind.WRONG_URL) for code in (405, 406, 411, 414, 415, 431)),
    *(case(str(code), code, b"", Kind.REDIRECT, {"location": "https://x"}) for code in (301, 302, 307, 308)),
    case(
        "portkey's own", 400, {"status": "failure", "message": "x-portkey-provider header is required"}, Kind.WRONG_URL
    ),
    case(
        "portkey's upstream",
        429,
        {
            "error": {"message": "openai error: slow", "type": "requests", "code": "rate_limit_exceeded"},
            "provider": "o",
        },
        Kind.RATE_LIMITED,
    ),
]

OVERFLOWS = {
    "openai code": openai("x", code="context_length_exceeded"),
    "openai": openai("This model's maximum context length is 128000 tokens. However, your messages resulted in 130000"),
    "responses": openai("Your input exceeds the context window of this model. Please adjust your input."),
    "openai configured": openai("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in"),
    "anthropic": anthropic("invalid_request_error", "prompt is too long: 216868 tokens > 200000 maximum"),
    "anthropic with output": anthropic(
        "invalid_request_error", "input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000, decrease"
    ),
    "openrouter": openrouter(400, "This endpoint's maximum context length is 16384 tokens. However, you requested"),
    "openrouter upstream": openrouter(
        400,
        "Provider returned error",
        raw=json.dumps(openai("x", code="context_length_exceeded")),
        provider_name="OpenAI",
    ),
    "gemini": gemini(
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "mistral": mistral(
        "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "invalid_request_prompt",
        "3051",
    ),
    "groq": openai("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    "cerebras": {
        "message": "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
    "xai": {
        "code": "Client specified an invalid argument",
        "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    },
    "fireworks": openai("The prompt is too long: 1231, model maximum context length: 1000"),
    "vllm": {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "vllm 0.16": openai(
        "You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 1024 "
        "tokens",
        "BadRequestError",
        400,
        param="input_tokens",
    ),
    "vllm older": openai("max_tokens must be at least 1, got -186.", "BadRequestError", 400),
    "llama.cpp": {
        "error": {
            "code": 400,
            "message": "the request exceeds the available context size. try increasing the context size",
            "type": "exceed_context_size_error",
        }
    },
    "llama.cpp by words": {
        "error": {"message": "request (1234 tokens) exceeds the available context size (512 tokens), try increasing it"}
    },
    "llama-cpp-python": {"error": {"message": "Requested tokens (1000) exceed context window of 512"}},
    "ollama": {"error": "the input length exceeds the context length"},
    "bedrock": {"message": "Input is too long for requested model."},
    "cohere": {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292."},
    "together": openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000"),
}

ASKED = [
    *(case(f"context: {name}", 400, body, Kind.CONTEXT_OVERFLOW) for name, body in OVERFLOWS.items()),
    case("context in a 413", 413, openai("x", code="context_length_exceeded"), Kind.CONTEXT_OVERFLOW),
    case("together's 403", 403, openai("`inputs` tokens + `max_new_tokens` must be <= 4097"), Kind.CONTEXT_OVERFLOW),
    case("413 empty", 413, b"", Kind.TOO_LARGE),
    case("anthropic 413", 413, anthropic("request_too_large", "Request exceeds the maximum size"), Kind.TOO_LARGE),
    case("413 nginx", 413, b"<html><title>413 Request Entity Too Large</title></html>", Kind.TOO_LARGE),
    case("string too long is no overflow", 400, openai("x", code="string_above_max_length"), Kind.BAD_REQUEST),
    # content
    case("azure filter", 400, AZURE_FILTER, Kind.CONTENT_FILTER),
    case("openai safety", 400, openai("Invalid prompt: flagged", code="invalid_prompt"), Kind.CONTENT_FILTER),
    case("openai policy", 400, openai("x", code="content_policy_violation"), Kind.CONTENT_FILTER),
    case("dashscope", 400, openai("x", code="data_inspection_failed"), Kind.CONTENT_FILTER),
    case("deepseek", 400, openai("Content Exists Risk"), Kind.CONTENT_FILTER),
    case(
        "anthropic",
        400,
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        Kind.CONTENT_FILTER,
    ),
    case(
        "xai", 403, {"code": "x y", "error": "Content violates usage guidelines. Failed check: X"}, Kind.CONTENT_FILTER
    ),
    case(
        "openrouter moderation",
        403,
        openrouter(403, "Input was flagged", reasons=["violence"], flagged_input="...", provider_name="OpenAI"),
        Kind.CONTENT_FILTER,
    ),
    case(
        "openrouter's invalid_prompt is a malformed message",
        400,
        openrouter(400, "Message 2 is empty", error_type="invalid_prompt"),
        Kind.BAD_REQUEST,
    ),
    # parameters
    case(
        "max_tokens",
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            code="unsupported_parameter",
            param="max_tokens",
        ),
        Kind.UNSUPPORTED_PARAMETER,
        parameter="max_tokens",
    ),
    case(
        "temperature",
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.16 with this model. Only the default is supported.",
            code="unsupported_value",
        ),
        Kind.UNSUPPORTED_PARAMETER,
        parameter="temperature",
    ),
    case(
        "function tools",
        400,
        openai(NO_EFFORT, param="tools"),
        Kind.UNSUPPORTED_PARAMETER,
        parameter="reasoning_effort",
    ),
    *(
        case(f"parameter: {message}", 400, anthropic("invalid_request_error", message), kind, parameter=parameter)
        for message, kind, parameter in (
            ("temperature: Extra inputs are not permitted", Kind.UNSUPPORTED_PARAMETER, "temperature"),
            ("`temperature` is deprecated for this model.", Kind.UNSUPPORTED_PARAMETER, "temperature"),
            ("`temperature` may only be set to 1 when thinking is enabled", Kind.UNSUPPORTED_PARAMETER, "temperature"),
            ("temperature: range: 0..1", Kind.UNSUPPORTED_PARAMETER, "temperature"),
            (
                '"thinking.type.enabled" is not supported for this model.',
                Kind.UNSUPPORTED_PARAMETER,
                "thinking.type.enabled",
            ),
            ("Thinking may not be enabled when tool_choice forces tool use.", Kind.UNSUPPORTED_PARAMETER, "thinking"),
            (
                "messages.0.content.0.text.foo: Extra inputs are not permitted",
                Kind.TRANSLATION,
                "messages.0.content.0.text.foo",
            ),
            ("tools.0.custom.strict: Extra inputs are not permitted", Kind.UNSUPPORTED, "tools.0.custom.strict"),
            (
                "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens",
                Kind.UNSUPPORTED,
                "max_tokens",
            ),
        )
    ),
    case(
        "groq", 400, openai("property 'logit_bias' is unsupported"), Kind.UNSUPPORTED_PARAMETER, parameter="logit_bias"
    ),
    case(
        "deepseek",
        400,
        openai("Thinking mode does not support this tool_choice"),
        Kind.UNSUPPORTED_PARAMETER,
        parameter="tool_choice",
    ),
    case(
        "xai writes camel case",
        400,
        {"code": "x y", "error": "Argument not supported on this model: presencePenalty"},
        Kind.UNSUPPORTED_PARAMETER,
        parameter="presence_penalty",
    ),
    case(
        "gemini",
        400,
        gemini(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
        Kind.UNSUPPORTED_PARAMETER,
        parameter="seed",
    ),
    case(
        "mistral",
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
        Kind.UNSUPPORTED_PARAMETER,
        parameter="seed",
        message="seed: Extra inputs are not permitted",
    ),
    case(
        "transformers serve",
        422,
        {"detail": "Unexpected fields in the request: {'frequency_penalty', 'seed'}"},
        Kind.UNSUPPORTED_PARAMETER,
    ),
    # what this model cannot do
    case("images", 400, openai("This model does not support image input."), Kind.UNSUPPORTED),
    case(
        "media part",
        400,
        openai("Invalid content type. image_url is only supported by certain models."),
        Kind.UNSUPPORTED,
    ),
    case("tools", 400, {"error": "registry.ollama.ai/library/llama3:latest does not support tools"}, Kind.UNSUPPORTED),
    case(
        "a format is never dropped",
        400,
        openai(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            param="response_format",
        ),
        Kind.UNSUPPORTED,
        parameter="response_format",
    ),
    case("400 without a word", 400, b"", Kind.UNSUPPORTED),
    case("501", 501, b"", Kind.UNSUPPORTED),
    # the model's own fault
    case(
        "groq tools",
        400,
        openai("Failed to call a function.", code="tool_use_failed", failed_generation="<function=x>"),
        Kind.MODEL_FAULT,
    ),
    case("groq json", 400, openai("Failed to generate JSON.", code="json_validate_failed"), Kind.MODEL_FAULT),
    # the history, as we put it
    *(
        case(f"history: {message[:40]}", 400, anthropic("invalid_request_error", message), Kind.TRANSLATION)
        for message in (
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
            "messages.6: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01.",
            "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_9.",
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
            "Function call is missing a thought_signature in functionCall parts.",
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'",
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each call",
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            "No tool output found for function call call_1.",
            "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40",
        )
    ),
    case("mistral order", 400, mistral("Unexpected role", "invalid_request_message_order", "3230"), Kind.TRANSLATION),
    case("mistral ids", 400, mistral("Tool call id was x", "invalid_function_call", "3280"), Kind.TRANSLATION),
    case(
        "mistral behind openrouter",
        400,
        openrouter(
            400,
            "Provider returned error",
            raw=json.dumps(mistral("Unexpected role 'tool'", "invalid_request_message_order", "3230")),
            provider_name="Mistral",
        ),
        Kind.TRANSLATION,
        code="3230",
    ),
    # the caller's mistakes
    *(
        case(f"mistake: {name}", status, body, Kind.BAD_REQUEST)
        for name, status, body in (
            ("empty messages", 400, openai("Invalid 'messages': empty array.", code="empty_array", param="messages")),
            ("empty messages", 400, anthropic("invalid_request_error", "messages: at least one message is required")),
            (
                "empty turn",
                400,
                anthropic("invalid_request_error", "messages.0: all messages must have non-empty content"),
            ),
            ("schema", 400, openai("Invalid schema for function 'f': x is not supported", param="tools[0]")),
            ("schema", 400, openai("x", code="invalid_function_parameters", param="tools[0].function.parameters")),
            ("schema", 400, anthropic("invalid_request_error", "tools.0.custom.input_schema: JSON schema is invalid")),
            ("schema", 400, gemini(400, "INVALID_ARGUMENT", "Invalid value at 'tools[0]' (TYPE_ENUM), \"strin\"")),
            (
                "role",
                400,
                openai("Invalid value: 'foo'. Supported values are: 'system', 'user'.", code="invalid_value"),
            ),
            ("field", 422, {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]}),
            ("deepseek", 422, openai("Failed to deserialize the JSON body into the target type: missing field `x`")),
            ("image", 400, openai("Invalid image.", code="invalid_base64_image")),
        )
    ),
]

CASES = [*SERVERS, *RATES, *MONEY, *WHO, *PLACES, *ASKED]


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row.status} {row.name}")
def test_what_a_provider_answers_is_recognised(row: Case) -> None:
    failure = row.failure()
    assert failure.kind is row.kind
    assert failure.status == row.status
    for name, value in row.expected.items():
        assert getattr(failure, name) == (pytest.approx(value) if isinstance(value, float) else value)


# ------------------------------------------------- errors that came with a 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (openrouter(429, "Rate limited"), Kind.RATE_LIMITED, 429),
        (openrouter(402, "Insufficient credits"), Kind.CREDIT, 402),
        (openrouter(502, "Provider returned error"), Kind.SERVER_ERROR, 502),
        (openai("x", "server_error"), Kind.SERVER_ERROR, None),
        (openai("x", "insufficient_quota", "insufficient_quota"), Kind.CREDIT, None),
        (openai("The model produced nonsense", None), Kind.SERVER_ERROR, None),
        (anthropic("overloaded_error", "Overloaded"), Kind.OVERLOADED, None),
        (gemini(503, "UNAVAILABLE", "x"), Kind.SERVER_ERROR, 503),
        ({"error": "model 'x' not found"}, Kind.MODEL_NOT_FOUND, None),
        ({"object": "error", "message": "x", "code": 400}, Kind.BAD_REQUEST, 400),
        ({"status": "failure", "message": "x"}, Kind.SERVER_ERROR, None),
    ],
)
def test_an_error_under_a_200_is_what_it_says(body: Any, kind: Kind, status: int | None) -> None:
    failure = classify(200, {}, encoded(body), WALL)
    assert (failure.kind, failure.status) == (kind, status)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html></html>", b"hello", b"\xff\xfe\x00", b'{"error": null}', b"42"])
def test_a_200_that_holds_no_error_is_malformed(body: bytes) -> None:
    assert classify(200, {}, body, WALL).kind is Kind.MALFORMED


@pytest.mark.parametrize("status", [200, 204])
def test_a_200_with_nothing_in_it_is_empty(status: int) -> None:
    assert classify(status, {}, b" \n\n", WALL).kind is Kind.EMPTY


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Kind.OVERLOADED),
        ({"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}, Kind.SERVER_ERROR),
        ({"type": "error", "error": {"type": "timeout_error", "message": "x"}}, Kind.TIMEOUT),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, Kind.RATE_LIMITED),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "x"}}, Kind.BAD_REQUEST),
        ({"type": "error", "error": {"type": "permission_error", "message": "x"}}, Kind.FORBIDDEN),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x", "param": None}, Kind.RATE_LIMITED),
        ({"type": "error", "code": "server_error", "message": "x", "param": None}, Kind.SERVER_ERROR),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}},
            Kind.SERVER_ERROR,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "invalid_prompt", "message": "x"}}},
            Kind.CONTENT_FILTER,
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "invalid_image_url", "message": "x"}}},
            Kind.BAD_REQUEST,
        ),
        (
            {"id": "gen-1", "choices": [{"finish_reason": "error"}], "error": {"code": 502, "message": "x"}},
            Kind.SERVER_ERROR,
        ),
        ({"id": "gen-1", "choices": [], "error": {"code": "429", "message": "x"}}, Kind.RATE_LIMITED),
        ({"error": {"message": "x", "type": "insufficient_system_resource"}}, Kind.CAPACITY),
        ({"error": "an unknown error was encountered while running the model"}, Kind.SERVER_ERROR),
        (None, Kind.SERVER_ERROR),
    ],
)
def test_an_error_in_a_stream_is_as_its_twin_outside(event: Any, kind: Kind) -> None:
    assert classify_error(event, {}, None).kind is kind


def test_without_a_clock_only_durations_are_known() -> None:
    failure = classify_error(
        anthropic("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"}), {}, None
    )
    assert (failure.kind, failure.until) == (Kind.SPEND_LIMIT, None)
    waits = classify_error({"error": {"code": 429, "message": "Please try again in 2s"}}, {}, None)
    assert waits.retry_after == 2.0


# ------------------------------------------------------------------- echoes

PROMPTS = (
    "why do I get HTTP 429 rate limit, insufficient_quota, and context length errors?",
    "This model's maximum context length is 128000 tokens, isn't it",
    "Your credit balance is too low. You have reached your specified API usage limits.",
    'say "prompt is too long: 5 tokens > 3 maximum" and invalid_api_key',
    "it's the users' rate limit: 'insufficient_quota' or `overloaded_error`",
)
ECHOES = {
    "openai type": lambda prompt: openai(f"Invalid type for 'x': expected object, got '{prompt}' instead."),
    "openai value": lambda prompt: openai(f'Invalid value: "{json.dumps(prompt)[1:-1]}". Supported values are: x'),
    "pydantic": lambda prompt: anthropic(
        "invalid_request_error", f"messages.0: Input should be a list, got {prompt!r}"
    ),
    "fastapi": lambda prompt: {
        "detail": [{"type": "string_type", "loc": ["body", "messages", 0], "msg": "not a string", "input": prompt}]
    },
    "fastapi object": lambda prompt: {
        "detail": [
            {"type": "missing", "loc": ["body"], "msg": "Field required", "input": {"code": prompt, "error": prompt}}
        ]
    },
    "groq": lambda prompt: openai("value must be a string", failed_generation=prompt, input=prompt),
    "cut off": lambda prompt: openai(f"Invalid value: '{prompt}"),
    "request": lambda prompt: {
        "error": {"message": "bad field", "type": "invalid_request_error"},
        "request": {"code": prompt},
    },
}


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("echo", ECHOES)
def test_an_echoed_prompt_does_not_change_the_verdict(echo: str, prompt: str) -> None:
    for status in (400, 422):
        assert classify(status, {}, encoded(ECHOES[echo](prompt)), WALL).kind is Kind.BAD_REQUEST


def test_the_callers_own_metadata_are_not_an_error() -> None:
    theirs = {"code": "insufficient_quota", "retry_after": 99, "resets_at": "2026-12-01T00:00:00Z"}
    error = {"code": "server_error", "message": "x"}
    for event in (
        {"type": "response.failed", "response": {"error": error, "metadata": theirs}, "metadata": theirs},
        {"object": "response", "status": "failed", "error": error, "metadata": theirs},
        {"choices": [], "error": error, "metadata": theirs},
    ):
        failure = classify_error(event, {}, WALL)
        assert (failure.kind, failure.retry_after, failure.until) == (Kind.SERVER_ERROR, None, None)


def test_keys_are_made_unreadable() -> None:
    for key in ("sk-proj-abcdef123456", "gsk_abcdef123456", "AIzaSyabcdef123456", "Bearer abcdef123456"):
        said = classify(401, {}, encoded(openai(f"The key {key} is not known")), WALL).message
        assert "abcdef" not in said
    said = classify(401, {}, encoded(openai("Wrong API key: 0123456789abcdef")), WALL).message
    assert "0123456789" not in said


# ------------------------------------------------------------------ details


def test_a_header_overrules_what_the_status_means() -> None:
    refused = classify(400, {"X-Should-Retry": "true"}, encoded(openai("try once more")), WALL)
    assert (refused.kind, refused.should_retry, may_retry(refused)) == (Kind.CONFLICT, True, True)
    final = classify(500, {"x-should-retry": "false"}, b"", WALL)
    assert (final.kind, final.should_retry, may_retry(final)) == (Kind.SERVER_ERROR, False, False)
    assert may_retry(classify(500, {}, b"", WALL))
    assert may_retry(classify(413, {"x-should-retry": "true"}, b"", WALL))


def test_a_header_does_not_bring_back_what_is_switched_off() -> None:
    spent = classify(429, {"x-should-retry": "true"}, encoded(openai(QUOTA, "insufficient_quota")), WALL)
    assert spent.kind is Kind.CREDIT
    assert not may_retry(spent)


@pytest.mark.parametrize("header", ["x-request-id", "Request-Id", "x-amzn-RequestId", "apim-request-id", "CF-Ray"])
def test_the_requests_id_is_read_from_whichever_header_has_it(header: str) -> None:
    assert classify(500, {header: "abc"}, b"", WALL).request_id == "abc"


@pytest.mark.parametrize(
    ("resets_at", "until"),
    [
        ("2026-11-24T00:00:00Z", WALL + DAY),
        ("2026-11-24T01:00:00+01:00", WALL + DAY),
        (WALL + 2 * DAY, WALL + 2 * DAY),
        ((WALL + 2 * DAY) * 1000, WALL + 2 * DAY),
        ("2026-11-22T00:00:00Z", WALL + 60),  # past by our clock: clocks differ, and a loop of attempts helps nobody
        ("2999-01-01T00:00:00Z", None),
        ("tomorrow", None),
        ({"at": 1}, None),
        (True, None),
    ],
)
def test_a_switch_stays_off_until_the_stated_moment(resets_at: Any, until: float | None) -> None:
    body = openrouter(403, "Budget limit exceeded", limit_source="openrouter_key_limit", resets_at=resets_at)
    failure = classify(403, {}, encoded(body), WALL)
    assert (failure.kind, failure.until) == (Kind.SPEND_LIMIT, until)


def test_a_moment_that_never_comes_is_none() -> None:
    body = openrouter(403, "Budget limit exceeded", limit_source="openrouter_key_limit", resets_at=float("inf"))
    assert classify_error(body, {}, None).until is None


def test_a_month_ends_in_the_next_year() -> None:
    december = FIRST_OF_DECEMBER + 30 * DAY
    body = anthropic("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"})
    assert classify(429, {}, encoded(body), december).until == 1_798_761_600.0  # 2027-01-01


def test_openrouters_free_day_ends_at_midnight_utc() -> None:
    body = openrouter(429, "x", limit_source="openrouter_free_tier_daily", retry_after_seconds=3)
    failure = classify(429, {}, encoded(body), WALL + 20 * HOUR)
    assert (failure.retry_after, failure.until) == (4 * HOUR, WALL + DAY)


def test_a_page_is_named_by_its_title() -> None:
    assert classify(521, {}, CLOUDFLARE, WALL).message == "an HTML page: api.example.com | 521: Web server is down"


# ---------------------------------------------------------------- the table


def test_every_kind_has_a_verdict_in_the_order_of_the_kinds() -> None:
    assert list(VERDICTS) == list(Kind)


def test_what_rate_limits_refuse_never_counts_against_a_breaker() -> None:
    for kind in (Kind.RATE_LIMITED, Kind.SLOW_DOWN, Kind.OVER_RATE, Kind.IN_FLIGHT_BUDGET):
        assert not VERDICTS[kind].blame


def test_nobody_is_to_blame_for_what_was_asked() -> None:
    asked = (Kind.BAD_REQUEST, Kind.UNSUPPORTED_PARAMETER, Kind.CONTEXT_OVERFLOW, Kind.TOO_LARGE, Kind.CONTENT_FILTER)
    for kind in (*asked, Kind.TRANSLATION, Kind.UNSUPPORTED, Kind.MODEL_FAULT, Kind.EMPTY, Kind.CANCELLED, Kind.POOL):
        verdict = VERDICTS[kind]
        assert not verdict.blame
        assert not verdict.cool_down
        assert verdict.disable is None


def test_what_is_switched_off_is_neither_blamed_nor_retried() -> None:
    off = [verdict for verdict in VERDICTS.values() if verdict.disable]
    assert len(off) == 8
    assert not any(verdict.blame or verdict.retry or verdict.cool_down for verdict in off)
    assert all(verdict.failover for verdict in off)


def test_only_what_is_wrong_everywhere_stops_the_call() -> None:
    assert [kind for kind, verdict in VERDICTS.items() if not verdict.failover] == [
        Kind.BAD_REQUEST,
        Kind.CONTENT_FILTER,
    ]


def test_certificates_are_not_tried_twice() -> None:
    assert not VERDICTS[Kind.TLS].retry
    assert not VERDICTS[Kind.UNAVAILABLE_TLS].retry


def test_stops_have_an_exception_of_their_own() -> None:
    assert VERDICTS[Kind.BAD_REQUEST].error is errors.BadRequest
    assert VERDICTS[Kind.CONTENT_FILTER].error is errors.ContentFiltered
    assert VERDICTS[Kind.CONTEXT_OVERFLOW].error is errors.ContextOverflow


def test_the_documentation_is_the_table() -> None:
    assert (ROOT / "docs" / "failures.md").read_text(encoding="utf-8") == table()


@pytest.mark.parametrize(
    ("outer", "inner", "message"),
    [
        ("Provider returned error", "Overloaded", "Overloaded"),
        ("The model is asleep", "Error", "The model is asleep"),
        ("The model is asleep", "internal server error", "The model is asleep"),
        ("Provider returned error", "Error", "Error"),
    ],
)
def test_the_innermost_sentence_that_says_something_is_shown(outer: str, inner: str, message: str) -> None:
    body = openrouter(502, outer, raw=json.dumps(openai(inner, None)), provider_name="X")
    assert classify_error(body, {}, WALL).message == message


# ------------------------------------------------------------- the signs


def test_no_name_is_hidden_behind_another_sign() -> None:
    for sign in SIGNS:
        for code in sign.codes:
            for status in sign.statuses or {None}:
                kind, _ = recognise(Said(status, frozenset((code,)), message="x"))
                assert kind is sign.kind or (code, kind) == ("rate_limit_exceeded", Kind.OVER_RATE), code


def test_names_that_only_repeat_a_status_are_weaker_than_any_status() -> None:
    for name, meant in NAMES.items():
        assert recognise(Said(None, frozenset((name,)), message="x"))[0] is by_status(meant)
        assert recognise(Said(429, frozenset((name,)), message="x"))[0] is Kind.RATE_LIMITED
        assert recognise(Said(502, frozenset((name,)), message="x"))[0] is Kind.SERVER_ERROR


SENTENCES: tuple[tuple[Kind, tuple[int | None, ...], str], ...] = (
    (Kind.REQUEST_TOO_EXPENSIVE, (402,), "Prompt tokens limit exceeded: 230799 > 91442. To increase, visit"),
    (Kind.CREDIT, (402, 429), "Insufficient credits."),
    (Kind.CREDIT, (402,), "Prompt tokens limit exceeded: 9 > 0. To increase, visit"),
    (Kind.CREDIT, (400, 403, 429, None), "You have run out of credits"),
    (Kind.CREDIT, (400, 429), "Usage is blocked due to insufficient credits. Please visit Plans and Billing"),
    (Kind.CREDIT, (403, None), "Your account has insufficient prepaid balance"),
    (Kind.AUTH, (400, 403), "Invalid API Key"),
    (Kind.AUTH, (403,), "Your API key was reported as leaked. Please use another API key."),
    (Kind.AUTH, (400, None), "API key expired. Please renew the API key."),
    (Kind.AUTH, (403,), "No auth credentials found"),
    (Kind.FORBIDDEN, (400, 403, 412, None), "Country, region, or territory not supported"),
    (Kind.FORBIDDEN, (400, 403), "Your account has been deactivated, please check your email"),
    (Kind.FORBIDDEN, (400,), "Access denied due to Virtual Network/Firewall rules."),
    (Kind.OVERLOADED, (500, 502, 503, 529, None), "The engine is currently overloaded, please try again later"),
    (Kind.OVERLOADED, (503,), "No available capacity was found for the model"),
    (Kind.OVERLOADED, (503,), "The system is currently experiencing high demand"),
    (Kind.OVER_RATE, (413, 429, None), "Request too large for gpt-4o in organization org-x"),
    (Kind.OVER_RATE, (429,), "Extra usage is required for long context requests."),
    (Kind.CONTEXT_OVERFLOW, (400, 403, 413, 422, 500, None), "messages: prompt is too long: 216868 tokens > 200000"),
    (Kind.CONTEXT_OVERFLOW, (400,), "Current length is 9000 while limit is 8192"),
    (Kind.CONTEXT_OVERFLOW, (400,), "Please reduce the length of the messages or completion."),
    (Kind.CONTEXT_OVERFLOW, (400,), "Range of input length should be [1, 30720]"),
    (Kind.CONTEXT_OVERFLOW, (400,), "Trying to keep the first 8214 tokens when context the overflows."),
    (Kind.CONTENT_FILTER, (400, 403, 422, None), "Output blocked by content filtering policy"),
    (Kind.CONTENT_FILTER, (403,), "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"),
    (Kind.CONTENT_FILTER, (400,), "Your prompt was flagged as potentially violating our usage policy."),
    (Kind.CONTENT_FILTER, (400,), "The response was blocked due to safety settings"),
    (Kind.CONTENT_FILTER, (403,), "openai/gpt-x requires moderation. Your input was flagged for violence."),
    (Kind.BAD_REQUEST, (400, 422, None), "Invalid schema for response_format 'x': 'uniqueItems' is not supported"),
    (Kind.BAD_REQUEST, (400,), "tools.0.custom.input_schema: JSON schema is invalid, $ref is not supported"),
    (Kind.BAD_REQUEST, (400, None), "messages: at least one message is required"),
    (Kind.MODEL_FAULT, (400, None), "Failed to call a function. Please adjust your prompt."),
    (Kind.MODEL_FAULT, (400,), "Failed to generate JSON. Please adjust your prompt."),
    (Kind.MODEL_FAULT, (400,), "Tool call validation failed: attempted to call tool 'x' which was not in request"),
    *(
        (Kind.TRANSLATION, (400, 422, None), sentence)
        for sentence in (
            "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
            "messages.1.content.0: `thinking` blocks in the latest assistant message cannot be modified.",
            "messages: `tool_use` ids must be unique",
            "messages.2.content.1: each tool_use must have a single result. Found multiple",
            "Duplicate value for 'tool_call_id' of 'call_1' in message[3].",
            "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
            "Not the same number of function calls and responses",
            "Please ensure that function call turn comes immediately after a user turn",
            "No tool call found for function call output with call_id call_1.",
            "Unexpected role 'user' after role 'tool'",
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
            "After the optional system message, conversation roles must alternate user and assistant roles",
            'messages: first message must use the "user" role',
            "messages: final assistant content cannot end with trailing whitespace",
            "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages",
            "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
            "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'.",
            "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.",
            "Invalid 'input[2].call_id': empty string. Expected a string with minimum length 1.",
        )
    ),
    (Kind.MODEL_NOT_FOUND, (400, 404, None), "Unknown model: foo"),
    (Kind.MODEL_NOT_FOUND, (403, 404, 410, 422), "The model foo has been retired"),
    (Kind.MODEL_NOT_FOUND, (400,), "The provided model identifier is invalid."),
    (Kind.MODEL_NOT_FOUND, (404,), "The API deployment for this resource does not exist."),
    (Kind.MODEL_NOT_FOUND, (400, 404), "Unable to access non-serverless model foo/bar."),
    (Kind.WRONG_URL, (404,), "Unknown request URL: POST /openai/v1/foo"),
    (Kind.WRONG_URL, (404,), "The requested URL /v2 was not found on this server."),
    (Kind.UNSUPPORTED_PARAMETER, (400, 422, None), "Function tools with reasoning_effort are not supported for m"),
    (Kind.UNSUPPORTED_PARAMETER, (400, 422, None), "Unrecognized request argument supplied: reasoning_effort"),
    (Kind.UNSUPPORTED_PARAMETER, (400,), "`temperature` and `top_p` cannot both be specified for this model."),
    (Kind.UNSUPPORTED, (404, None), "No endpoints found that can handle the requested parameters."),
    (Kind.UNSUPPORTED, (400,), "The supported range is from 1 (inclusive) to 8193 (exclusive)."),
    (Kind.UNSUPPORTED, (400,), "messages[0].content must be a string"),
    (
        Kind.UNSUPPORTED,
        (422,),
        "Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected",
    ),
    (Kind.UNSUPPORTED, (400,), "'messages' must contain the word 'json' in some form"),
    (Kind.UNSUPPORTED, (400,), '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'),
    (Kind.UNSUPPORTED, (400,), "json mode cannot be combined with tool/function calling"),
    (Kind.UNSUPPORTED, (400, 422, 501, None), "Audio input is not yet supported"),
)


@pytest.mark.parametrize(("kind", "statuses", "sentence"), SENTENCES, ids=lambda value: str(value)[:50])
def test_a_sentence_alone_is_enough(kind: Kind, statuses: tuple[int | None, ...], sentence: str) -> None:
    for status in statuses:
        assert recognise(Said(status, message=sentence))[0] is kind, status


@pytest.mark.parametrize(("kind", "statuses", "sentence"), SENTENCES, ids=lambda value: str(value)[:50])
def test_a_sentence_counts_only_beside_a_status_that_it_comes_with(
    kind: Kind, statuses: tuple[int | None, ...], sentence: str
) -> None:
    assert recognise(Said(409, message=sentence))[0] is Kind.CONFLICT
    assert recognise(Said(408, message=sentence))[0] is Kind.REQUEST_TIMEOUT
