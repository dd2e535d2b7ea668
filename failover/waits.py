"""How long a provider asks to wait, and what its rate-limit headers say.

A duration comes as a number of seconds, as Go writes it (``6m0s``, ``2m59.56s``, ``20ms``), or as the moment when it
ends: RFC 3339, an HTTP date, or an epoch in seconds or milliseconds, told apart by their size.  What is negative, not
finite or unreadable counts as not said.  What is longer than ``MAX_WAIT`` is cut to it: limits that last longer state
their end (``Failure.until``).  Times that need today's date are unknown where ``wall`` is None.

Who is believed first: ``retry-after-ms``, ``Retry-After``, fields of the error's body, the headers of an upstream that
are quoted in it, the provider's sentence ("try again in 7.66s"), and last the reset of whatever limit is used up.

Rate-limit headers differ by provider, but their names do not collide, so they are one table (``COUNTED``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from failover.error_body import Said, plain, read, unquoted
from failover.types import RateHint

MAX_WAIT = 86_400.0
"""Seconds: a day, the longest window after which a rate limit passes by itself."""
DAY = 86_400.0
MAX_COUNT = 10**15
LONGEST = 64
"""Characters of a text that may be a number or a time."""

EPOCH_SECONDS = 1e9
"""A number above this (the year 2001) is a moment, not a duration; above ``EPOCH_MILLISECONDS`` one in milliseconds."""
EPOCH_MILLISECONDS = 1e12

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "millisecond": 1e-3,
    "second": 1.0,
    "sec": 1.0,
    "minute": 60.0,
    "min": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
}
_STEP = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")


# --------------------------------------------------------------- durations


def seconds(value: object, wall: float | None) -> float | None:
    """A stated duration in seconds, from 0 to ``MAX_WAIT``; None if nothing sensible was said."""
    number = _number(value)
    if number is not None and number <= EPOCH_SECONDS:
        return _sane(number)
    if isinstance(value, str) and len(value) <= LONGEST and (span := _go_duration(value.strip())) is not None:
        return _sane(span)
    end = moment(value)
    return None if end is None or wall is None else _sane(end - wall)


def moment(value: object) -> float | None:
    """A stated moment as epoch seconds: RFC 3339 (UTC where it names no offset), an HTTP date, or an epoch."""
    number = _number(value)
    if number is not None:
        return _epoch(number)
    if not isinstance(value, str) or len(value) > LONGEST:
        return None
    date = _iso_date(value.strip()) or _http_date(value)
    try:
        return None if date is None else date.timestamp()
    except (OverflowError, OSError, ValueError):
        return None


def _number(value: object) -> float | None:
    """``value`` as a finite number, if it is one or reads as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > LONGEST:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _epoch(number: float) -> float | None:
    if number > EPOCH_MILLISECONDS:
        return number / 1000
    return number if number > EPOCH_SECONDS else None


def _sane(span: float) -> float | None:
    return min(span, MAX_WAIT) if 0 <= span < math.inf else None


def _go_duration(text: str) -> float | None:
    """``1h2m3.5s``, as Go prints a ``time.Duration``; days are taken too."""
    total, end = 0.0, 0
    for step in _STEP.finditer(text):
        if step.start() != end:
            return None
        total, end = total + float(step[1]) * UNITS[step[2]], step.end()
    return total if end and end == len(text) else None


def _iso_date(text: str) -> datetime | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


# ---------------------------------------------------------------- calendar

_DATE = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2})(?: at ([0-9]{2}:[0-9]{2}))?")


def date_in(message: str) -> float | None:
    """The moment named in a sentence such as "You will regain access on 2026-12-01 at 00:00 UTC"."""
    found = _DATE.search(message)
    return moment(f"{found[1]}T{found[2] or '00:00'}:00+00:00") if found else None


def next_month(wall: float) -> float:
    """00:00 UTC on the first of the month after ``wall``."""
    now = datetime.fromtimestamp(wall, UTC)
    year, month = divmod(now.year * 12 + now.month, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()


def next_midnight(wall: float, offset: timedelta = timedelta(0)) -> float:
    """The next midnight after ``wall`` on clocks that run ``offset`` from UTC."""
    local = wall + offset.total_seconds()
    return (math.floor(local / DAY) + 1) * DAY - offset.total_seconds()


# ----------------------------------------------------------------- wording

_IN_WORDS = re.compile(
    r"(?:(?:try again|retry)(?: your request)? (?:in|after)|\bwait)(?: about)? ([0-9][\w.:+µ-]{0,40})"
    r"(?: (millisecond|second|sec|minute|min|hour|day)s?\b)?",
    re.I,
)


def in_words(message: str, wall: float | None) -> float | None:
    """The wait in a sentence such as "Please try again in 1m2.5s" or "Please retry after 20 seconds"."""
    found = _IN_WORDS.search(unquoted(message))
    if found is None:
        return None
    text = found[1].rstrip(".:+-")
    number = _number(text)
    if found[2] and number is not None:
        return _sane(number * UNITS[found[2].lower()])
    return seconds(text, wall)


# ------------------------------------------------------------- retry after


def retry_after(headers: Mapping[str, str], payload: object, wall: float | None) -> float | None:
    """Seconds the provider asks to wait, from 0 to ``MAX_WAIT``; None if it does not say.

    ``payload`` is the decoded error, or None.
    """
    return stated(plain(headers), read(payload), wall)


def stated(headers: Mapping[str, str], said: Said, wall: float | None) -> float | None:
    """As ``retry_after``, from headers by lower-case names and an error that was read already."""
    return next((wait for wait in _stated(headers, said, wall) if wait is not None), None)


def _stated(headers: Mapping[str, str], said: Said, wall: float | None) -> Iterator[float | None]:
    milliseconds = _number(headers.get("retry-after-ms"))
    yield None if milliseconds is None else _sane(milliseconds / 1000)
    yield seconds(headers.get("retry-after"), wall)
    for value in said.waits:
        yield seconds(value, wall)
    yield seconds(said.headers.get("retry-after"), wall)
    yield in_words(said.message, wall)
    yield _refilled(rate_hint(said.headers, wall))
    yield _refilled(rate_hint(headers, wall))


def _refilled(hint: RateHint | None) -> float | None:
    """Seconds until every limit that is used up has something left again."""
    if hint is None:
        return None
    limits = ((hint.remaining_requests, hint.reset_requests), (hint.remaining_tokens, hint.reset_tokens))
    return max((reset for remaining, reset in limits if remaining == 0 and reset is not None), default=None)


# ------------------------------------------------------ rate-limit headers

COUNTED: tuple[tuple[str, str, float | None], ...] = (
    # (header, its {part} being limit, remaining or reset; what it counts; seconds of its window where the name says it)
    ("x-ratelimit-{part}-requests", "requests", None),  # openai, azure, groq (there by the day), fireworks, xai
    ("x-ratelimit-{part}-tokens", "tokens", None),
    ("anthropic-ratelimit-requests-{part}", "requests", None),
    ("anthropic-ratelimit-tokens-{part}", "tokens", None),  # the most restrictive of anthropic's
    ("anthropic-ratelimit-input-tokens-{part}", "tokens", None),
    ("anthropic-ratelimit-output-tokens-{part}", "tokens", None),
    ("x-ratelimit-{part}-requests-minute", "requests", 60.0),  # cerebras
    ("x-ratelimit-{part}-requests-day", "requests", DAY),
    ("x-ratelimit-{part}-tokens-minute", "tokens", 60.0),  # cerebras, mistral
    ("x-ratelimit-{part}-req-minute", "requests", 60.0),  # mistral
    ("ratelimitbysize-{part}", "tokens", None),
    ("x-ratelimitbysize-{part}-minute", "tokens", 60.0),
    ("x-ratelimit-{part}-tokens-prompt", "tokens", None),  # fireworks
    ("x-ratelimit-{part}-tokens-generated", "tokens", None),
    ("x-ratelimit-{part}", "requests", None),  # openrouter, together
    ("ratelimit-{part}", "requests", None),  # IETF draft
)
PARTS = ("limit", "remaining", "reset")
ROWS = {header.format(part=part): (number, part) for number, (header, _, _) in enumerate(COUNTED) for part in PARTS}


def rate_hint(headers: Mapping[str, str], wall: float | None, requests_window: float = 60.0) -> RateHint | None:
    """What the headers say about limits; None if nothing.

    ``requests_window``: seconds over which this provider counts requests where its headers do not tell.  A reset that
    is further away than that can only be one of a day's count, as Groq and OpenAI's smaller tiers have it.
    """
    rows = _rows(headers)
    if not rows:
        return None
    requests, window = _tightest(rows, "requests")
    tokens, _ = _tightest(rows, "tokens")
    reset = seconds(requests.get("reset"), wall)
    window = window or requests_window
    return RateHint(
        limit_requests=_count(requests.get("limit")),
        remaining_requests=_count(requests.get("remaining")),
        reset_requests=reset,
        limit_tokens=_count(tokens.get("limit")),
        remaining_tokens=_count(tokens.get("remaining")),
        reset_tokens=seconds(tokens.get("reset"), wall),
        requests_window=DAY if reset is not None and reset > window else window,
    )


def _rows(headers: Mapping[Any, Any]) -> dict[int, dict[str, str]]:
    """What was said for each row of the table: row → part → text."""
    rows: dict[int, dict[str, str]] = {}
    for header, value in headers.items():
        if isinstance(header, str) and isinstance(value, str) and (found := ROWS.get(header.lower())):
            rows.setdefault(found[0], {})[found[1]] = value
    return rows


def _tightest(rows: dict[int, dict[str, str]], what: str) -> tuple[dict[str, str], float | None]:
    """The row about ``what`` with the least left, the first of equals, and the window its name states."""
    left = {number: _count(parts.get("remaining")) for number, parts in rows.items() if COUNTED[number][1] == what}
    if not left:
        return {}, None
    best = min(left, key=lambda number: (math.inf if left[number] is None else left[number], number))
    return rows[best], COUNTED[best][2]


def _count(text: str | None) -> int | None:
    """A count from 0 up, as it stands or as the first of a list (``100, 100;w=60``)."""
    number = _number(re.split("[,;]", text[:64])[0]) if text else None
    return int(number) if number is not None and 0 <= number <= MAX_COUNT else None
