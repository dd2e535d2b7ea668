"""How long to wait: every way to write it, whom to believe first, and what rate-limit headers say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.failures import RateHint, rate_hint, retry_after
from failover.waits import DAY, MAX_WAIT, in_words, moment, next_midnight, next_month, seconds

WALL = 1_795_392_000.0  # 2026-11-23 00:00:00 UTC
NOW = datetime.fromtimestamp(WALL, UTC)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("0.25", 0.25),
        (7, 7.0),
        (1.5, 1.5),
        # Go
        ("20ms", 0.02),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("1h2m3.5s", 3723.5),
        ("1d", MAX_WAIT),
        ("300us", 0.0003),
        ("300µs", 0.0003),
        ("5ns", 5e-9),
        # moments
        ("2026-11-23T00:00:10Z", 10.0),
        ("2026-11-23T01:00:10+01:00", 10.0),
        ("2026-11-23T00:00:10.500Z", 10.5),
        ("2026-11-23T00:00:10", 10.0),
        ("Mon, 23 Nov 2026 00:00:10 GMT", 10.0),
        (str(int(WALL) + 10), 10.0),
        (WALL + 10, 10.0),
        (str(int(WALL + 10) * 1000), 10.0),
        ((WALL + 10) * 1000, 10.0),
        # absurd ones are capped
        ("999999", MAX_WAIT),
        ("99h", MAX_WAIT),
        ("2099-01-01T00:00:00Z", MAX_WAIT),
        ("1e300", MAX_WAIT),
        (10**18, MAX_WAIT),
    ],
)
def test_a_duration_is_read_in_every_way_it_is_written(text: Any, wait: float) -> None:
    assert seconds(text, WALL) == pytest.approx(wait)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "-5", "-1s", "1s-", "s", "5 s", "1.2.3s", "1s2", "5x", "٣s", "NaN", "inf", "-inf", "1e999"),
        *("2026-11-22T00:00:00Z", "Sun, 22 Nov 2026 00:00:00 GMT", "2026-13-45T00:00:00Z", "Mon, 99 Nov 2026"),
        *(None, True, False, math.nan, math.inf, -math.inf, -0.5, [], {}, b"5", 10**400, "9" * 5000, "1s" * 5000),
    ],
)
def test_what_is_negative_not_finite_or_unreadable_was_not_said(text: Any) -> None:
    assert seconds(text, WALL) is None


def test_moments_are_unknown_without_a_clock() -> None:
    assert seconds("2026-11-23T00:00:10Z", None) is None
    assert seconds("5s", None) == 5.0
    assert moment("2026-11-23T00:00:10Z") == WALL + 10


@pytest.mark.parametrize(
    ("sentence", "wait"),
    [
        ("Rate limit reached. Please try again in 7.66s. Visit https://x", 7.66),
        ("Please try again in 1m2.5s.", 62.5),
        ("Please try again in 6ms", 0.006),
        ("Please retry in 45.578569677s.", 45.578569677),
        ("Please retry after 20 seconds.", 20.0),
        ("Please retry after 86400 seconds. Please contact support", MAX_WAIT),
        ("Try again in 2 minutes", 120.0),
        ("please wait 30 seconds", 30.0),
        ("retry after 2026-11-23T00:01:00Z", 60.0),
        ("retry after about 1 hour", 3600.0),
        ("try again in 5", 5.0),
        ("try again in 9m38.016s: Limit 100", 578.016),
        ("try again later", None),
        ("retry 3 times", None),
        ("try again in -5s", None),
        ("try again in 5-10 seconds", None),
        ("got 'please try again in 99s' as input", None),
        ("", None),
    ],
)
def test_a_sentence_may_say_how_long(sentence: str, wait: float | None) -> None:
    assert in_words(sentence, WALL) == (None if wait is None else pytest.approx(wait))


METADATA = {
    "error": {"message": "try again in 6s", "metadata": {"retry_after_seconds": 4, "headers": {"Retry-After": "5"}}}
}


@pytest.mark.parametrize(
    ("headers", "payload", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2", "x-ratelimit-remaining-tokens": "0"}, METADATA, 1.5),
        ({"Retry-After": "2"}, METADATA, 2.0),
        ({"retry-after": "Mon, 23 Nov 2026 00:00:03 GMT"}, METADATA, 3.0),
        ({"retry-after": "-1", "retry-after-ms": "nan"}, METADATA, 4.0),
        ({}, METADATA, 4.0),
        ({}, {"error": {"metadata": {"headers": {"Retry-After": "5"}}, "message": "try again in 6s"}}, 5.0),
        ({}, {"error": {"message": "try again in 6s"}}, 6.0),
        ({}, [{"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "17s"}]}}], 17.0),
        ({}, {"error": {"retry_after_ms": 250}}, 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8s"}, None, 8.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "8s"}, None, None),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T00:00:09Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-23T00:00:07Z",
            },
            None,
            9.0,
        ),
        ({}, None, None),
        ({}, "nonsense", None),
    ],
)
def test_the_most_precise_statement_is_believed_first(
    headers: dict[str, str], payload: Any, wait: float | None
) -> None:
    assert retry_after(headers, payload, WALL) == wait


def test_headers_may_be_those_of_httpx() -> None:
    headers = httpx.Headers({"Retry-After": "3", "X-RateLimit-Limit-Requests": "100"})
    assert retry_after(headers, None, WALL) == 3.0
    hint = rate_hint(headers, WALL)
    assert hint is not None
    assert hint.limit_requests == 100


# ------------------------------------------------------ rate-limit headers


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        pytest.param(
            {
                "x-ratelimit-limit-requests": "5000",
                "x-ratelimit-remaining-requests": "4999",
                "x-ratelimit-reset-requests": "12ms",
                "x-ratelimit-limit-tokens": "160000",
                "x-ratelimit-remaining-tokens": "159976",
                "x-ratelimit-reset-tokens": "8ms",
            },
            RateHint(5000, 4999, 0.012, 160_000, 159_976, 0.008),
            id="openai",
        ),
        pytest.param(
            {
                "x-ratelimit-limit-requests": "14400",
                "x-ratelimit-remaining-requests": "14370",
                "x-ratelimit-reset-requests": "2m59.56s",
                "x-ratelimit-limit-tokens": "18000",
                "x-ratelimit-remaining-tokens": "17997",
                "x-ratelimit-reset-tokens": "7.66s",
            },
            RateHint(14_400, 14_370, 179.56, 18_000, 17_997, 7.66, requests_window=DAY),
            id="groq",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-23T00:00:01Z",
                "anthropic-ratelimit-tokens-limit": "40000",
                "anthropic-ratelimit-tokens-remaining": "39000",
                "anthropic-ratelimit-tokens-reset": "2026-11-23T00:00:02Z",
                "anthropic-ratelimit-input-tokens-limit": "40000",
                "anthropic-ratelimit-input-tokens-remaining": "39000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-23T00:00:02Z",
                "anthropic-ratelimit-output-tokens-limit": "8000",
            },
            RateHint(50, 49, 1.0, 40_000, 39_000, 2.0),
            id="anthropic",
        ),
        pytest.param(
            {
                "X-RateLimit-Limit": "20",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": str(int(WALL + 30) * 1000),
            },
            RateHint(20, 0, 30.0),
            id="openrouter",
        ),
        pytest.param(
            {
                "X-RateLimit-Limit": "50",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": str(int(WALL + 7200) * 1000),
            },
            RateHint(50, 0, 7200.0, requests_window=DAY),
            id="openrouter by the day",
        ),
        pytest.param(
            {
                "x-ratelimit-limit-requests-day": "14400",
                "x-ratelimit-remaining-requests-day": "14399",
                "x-ratelimit-reset-requests-day": "33011.382867",
                "x-ratelimit-limit-tokens-minute": "60000",
                "x-ratelimit-remaining-tokens-minute": "59000",
                "x-ratelimit-reset-tokens-minute": "11.38",
            },
            RateHint(14_400, 14_399, 33_011.382867, 60_000, 59_000, 11.38, requests_window=DAY),
            id="cerebras",
        ),
        pytest.param(
            {
                "x-ratelimit-limit": "10",
                "x-ratelimit-remaining": "9",
                "x-ratelimit-reset": "1",
                "x-ratelimit-limit-tokens": "1000",
            },
            RateHint(10, 9, 1.0, 1000),
            id="together",
        ),
        pytest.param(
            {"x-ratelimit-limit-tokens-prompt": "60000", "x-ratelimit-remaining-tokens-prompt": "100"},
            RateHint(limit_tokens=60_000, remaining_tokens=100),
            id="fireworks",
        ),
        pytest.param(
            {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499000", "ratelimitbysize-reset": "40"},
            RateHint(limit_tokens=500_000, remaining_tokens=499_000, reset_tokens=40.0),
            id="mistral",
        ),
        pytest.param(
            {"x-ratelimit-remaining-requests": "99", "x-ratelimit-remaining-tokens": "9000", "retry-after": "3"},
            RateHint(remaining_requests=99, remaining_tokens=9000),
            id="azure",
        ),
        pytest.param({"ratelimit-limit": "100, 100;w=60"}, RateHint(limit_requests=100), id="IETF"),
        pytest.param({"content-type": "application/json"}, None, id="none"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_rate_limit_headers_are_read(headers: dict[str, str], hint: RateHint | None) -> None:
    assert rate_hint(headers, WALL) == hint


def test_the_tightest_of_several_limits_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests-minute": "29",
        "x-ratelimit-remaining-requests-day": "0",
        "x-ratelimit-reset-requests-day": "40",
    }
    assert rate_hint(headers, WALL) == RateHint(remaining_requests=0, reset_requests=40.0, requests_window=DAY)


def test_a_window_that_headers_do_not_tell_may_be_given() -> None:
    assert rate_hint({"x-ratelimit-limit-requests": "5"}, WALL, requests_window=1.0) == RateHint(5, requests_window=1.0)


@pytest.mark.parametrize("value", ["-1", "many", "", "nan", "inf", "1e99", "None"])
def test_counts_that_make_no_sense_were_not_said(value: str) -> None:
    assert rate_hint({"x-ratelimit-remaining-requests": value}, WALL) == RateHint()


# ----------------------------------------------------------------- calendar


@given(st.integers(0, 4_000_000_000))
def test_a_month_begins_on_the_first_at_midnight(wall: int) -> None:
    first = datetime.fromtimestamp(next_month(wall), UTC)
    assert (first.day, first.hour, first.minute, first.second) == (1, 0, 0, 0)
    assert timedelta(0) < first - datetime.fromtimestamp(wall, UTC) <= timedelta(days=31)


@given(st.integers(0, 4_000_000_000), st.integers(-12, 14))
def test_midnight_is_the_next_one(wall: int, hours: int) -> None:
    offset = timedelta(hours=hours)
    end = next_midnight(wall, offset)
    local = datetime.fromtimestamp(end, UTC) + offset
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert 0 < end - wall <= DAY


@given(st.integers(0, 80_000))
def test_a_date_in_a_header_is_read_back(ahead: int) -> None:
    when = NOW + timedelta(seconds=ahead)
    assert seconds(format_datetime(when, usegmt=True), WALL) == ahead
    assert seconds(when.isoformat(), WALL) == ahead
