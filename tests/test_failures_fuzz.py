"""Whatever a provider sends, the classifier gives a sane value, and gives it soon."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.error_body import MAX_BODY, MAX_MESSAGE, MAX_NAME, unquoted
from failover.failures import VERDICTS, classify, classify_error, classify_exception, rate_hint, retry_after
from failover.types import Failure, Kind
from failover.waits import MAX_WAIT

WALL = 1_795_392_000.0

KEYS = st.sampled_from(
    (
        *("error", "errors", "detail", "details", "metadata", "raw", "innererror", "violations", "response", "message"),
        *(
            "code",
            "type",
            "status",
            "param",
            "loc",
            "msg",
            "reason",
            "reasons",
            "limit_source",
            "error_type",
            "quotaId",
        ),
        *("retry_after", "retryDelay", "retry_after_ms", "retry_after_seconds", "headers", "resets_at", "request_id"),
        *("Retry-After", "x-ratelimit-reset", "x-ratelimit-remaining", "provider_name", "is_byok", "choices", "@type"),
    )
)
WORDS = st.sampled_from(
    (
        *(
            "insufficient_quota",
            "rate_limit_exceeded",
            "overloaded_error",
            "429",
            "400",
            "503",
            "invalid_request_error",
        ),
        *("You have reached your specified API usage limits until 2026-13-45", "try again in 1e9s", "1s", "NaN", "-5"),
        *("2026-12-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "Mon, 99 Foo 2026"),
        *(
            '{"error": {"code": 429}}',
            "[[[[[[",
            "<html><title>x</title>",
            "temperature: Extra inputs are not permitted",
        ),
        *("Unsupported parameter: ''", "`", "'", '"', "\\", "\ud800", "", " ", "x" * 500),
    )
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    WORDS,
    st.just(10**400),
    st.just(-(10**30)),
)
PAYLOADS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=40,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        (
            *("retry-after", "Retry-After-Ms", "x-should-retry", "x-request-id", "content-type", "date"),
            *("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests", "anthropic-ratelimit-tokens-reset"),
            *("x-ratelimit-reset", "x-ratelimit-remaining", "ratelimit-limit", "anthropic-ratelimit-tokens-remaining"),
        )
    ),
    WORDS | st.text(max_size=40) | st.integers().map(str) | st.floats().map(str),
    max_size=6,
)
STATUSES = st.integers(-1, 700) | st.sampled_from((200, 400, 402, 403, 404, 413, 422, 429, 500, 529))


def sane(failure: Failure) -> None:
    assert failure.kind in VERDICTS
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_WAIT
    assert failure.until is None or math.isfinite(failure.until)
    assert len(failure.message) <= MAX_MESSAGE
    failure.message.encode()
    assert len(failure.code or "") <= MAX_NAME
    assert len(failure.parameter or "") <= MAX_MESSAGE
    hash(failure)


@given(PAYLOADS, HEADERS, STATUSES)
def test_no_error_is_too_strange(payload: Any, headers: dict[str, str], status: int) -> None:
    sane(classify_error(payload, headers, WALL))
    sane(classify_error({"error": payload}, headers, None))
    body = json.dumps(payload, default=str).encode("utf-8", "surrogatepass")
    sane(classify(status, headers, body, WALL))


@given(st.binary(max_size=300), HEADERS, STATUSES)
def test_no_body_is_too_strange(body: bytes, headers: dict[str, str], status: int) -> None:
    for start in (b"", b'{"error":', b"<html>", b"[", b'"'):
        sane(classify(status, headers, start + body, WALL))


@given(PAYLOADS, st.none() | STATUSES)
def test_no_exception_is_too_strange(body: Any, status: int | None) -> None:
    error = RuntimeError(body)
    error.body, error.status_code = body, status  # type: ignore[attr-defined]  # that is how SDKs do it
    sane(classify_exception(error, WALL))


@given(HEADERS, PAYLOADS)
def test_waits_are_sane(headers: dict[str, str], payload: Any) -> None:
    wait = retry_after(headers, payload, WALL)
    assert wait is None or 0 <= wait <= MAX_WAIT
    hint = rate_hint(headers, WALL)
    if hint is not None:
        for reset in (hint.reset_requests, hint.reset_tokens):
            assert reset is None or 0 <= reset <= MAX_WAIT
        for count in (hint.limit_requests, hint.remaining_requests, hint.limit_tokens, hint.remaining_tokens):
            assert count is None or count >= 0


@given(st.text(alphabet="'\"`\\ abc“”\n", max_size=200))
def test_quotations_are_taken_out_whole(text: str) -> None:
    assert len(unquoted(text)) <= max(2 * len(text), 2)


@given(st.text(max_size=200))
def test_a_quoted_prompt_says_nothing(prompt: str) -> None:
    quoted = json.dumps(f"{prompt} insufficient_quota 429")
    body = {"error": {"message": f"Invalid value: {quoted}", "type": "invalid_request_error"}}
    assert classify(400, {}, json.dumps(body).encode(), WALL).kind is Kind.BAD_REQUEST


FULL = MAX_BODY + 10
HOSTILE = {
    "nested arrays": b"[" * FULL,
    "nested objects": b'{"error":' * (FULL // 9),
    "closed nesting": b'{"error":' * 400 + b"1" + b"}" * 400,
    "nested text": json.dumps({"error": json.dumps({"error": json.dumps({"error": "x" * 9000})})}).encode(),
    "a long number": b'{"error": {"code": ' + b"9" * FULL + b"}}",
    "a long float": b'{"error": {"retry_after": 1' + b"0" * 4000 + b"e999}}",
    "many errors": json.dumps(
        {"errors": [{"message": "x", "errors": [{"code": i}] * 50} for i in range(300)]}
    ).encode(),
    "many keys": json.dumps({"error": {f"k{i}": i for i in range(5000)}}).encode(),
    "quotes": json.dumps({"error": {"message": "'" * FULL}}).encode(),
    "open quotes": json.dumps({"error": {"message": " 'a" * (FULL // 3)}}).encode(),
    "escapes": json.dumps({"error": {"message": '\\"' * (FULL // 4)}}).encode(),
    "backslashes": json.dumps({"error": {"message": '"' + "\\" * (FULL // 2)}}).encode(),
    "blanks": b" " * FULL,
    "keys": json.dumps({"error": {"message": "api key: " * (FULL // 10)}}).encode(),
    "models": json.dumps({"error": {"message": "model " * (FULL // 6)}}).encode(),
    "page": b"<" * FULL,
    "titles": b"<title" * (FULL // 6),
    "zeros": b"\x00" * FULL,
    "not UTF-8": b'{"error": {"message": "' + b"\xff" * 1000 + b'", "code": "insufficient_quota"}}',
    "half a pair": b'{"error": {"message": "\\ud83d", "code": "\\ud83d"}}',
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_read_soon(name: str) -> None:
    for status in (200, 400, 404, 429, 503):
        for _ in range(5):
            sane(classify(status, {}, HOSTILE[name], WALL))


def test_a_code_is_found_in_a_body_with_bad_bytes() -> None:
    assert classify(429, {}, HOSTILE["not UTF-8"], WALL).kind is Kind.CREDIT


def test_what_lies_too_deep_is_not_looked_at() -> None:
    payload: Any = {"code": "insufficient_quota"}
    for _ in range(60):
        payload = {"error": payload}
    assert classify_error(payload, {}, WALL).kind is Kind.SERVER_ERROR
