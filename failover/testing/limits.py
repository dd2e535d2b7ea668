"""A provider's own rate limits: how it counts, when it says 429, and the headers that it shows.

``Quota`` counts requests and tokens per ``window`` seconds and calls at once:

    fixed     windows that all begin at multiples of their length, as most gateways count
    sliding   any ``window`` seconds
    bucket    continuous refill at limit / window, full at the start (Anthropic, xAI)

A refused request counts as well (OpenAI does so).  Header families are a table, each in the provider's own units:
Go durations, RFC 3339, epoch milliseconds, seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Counting = Literal["fixed", "sliding", "bucket"]


@dataclass(slots=True)
class Counter:
    """One limit.  ``used`` entries are (moment, amount); all methods take the present moment."""

    limit: int
    window: float
    counting: Counting
    used: deque[tuple[float, int]] = field(default_factory=deque)
    level: float = 0.0
    at: float = 0.0

    def spend(self, amount: int, now: float) -> bool:
        """Counts ``amount``; False when it does not fit."""
        fits = self.in_use(now) + amount <= self.limit
        if self.counting == "bucket":
            self.level += amount if fits else 0
        else:
            self.used.append((now, amount))
        return fits

    def in_use(self, now: float) -> float:
        if self.counting == "bucket":
            self.level = max(0.0, self.level - (now - self.at) * self.limit / self.window)
            self.at = now
            return self.level
        start = now - now % self.window if self.counting == "fixed" else now - self.window
        while self.used and (self.used[0][0] < start or (self.counting == "sliding" and self.used[0][0] <= start)):
            self.used.popleft()
        return sum(amount for _, amount in self.used)

    def reset(self, now: float) -> float:
        """Seconds until something is free again (bucket: until one unit is), 0 where something is free now."""
        if self.counting == "bucket":
            return max(0.0, (self.in_use(now) + 1 - self.limit) * self.window / self.limit)
        if self.counting == "fixed":
            return self.window - now % self.window
        return self.used[0][0] + self.window - now if self.used else 0.0

    def left(self, now: float) -> int:
        return max(0, int(self.limit - self.in_use(now)))


@dataclass(frozen=True, slots=True)
class Shown:
    """What headers are made of: the counter's limit, what is left, and seconds until it is whole."""

    limit: int
    left: int
    reset: float


@dataclass(slots=True)
class Quota:
    """A provider's limits.  ``requests`` and ``tokens`` may be None; ``concurrency`` counts calls under way."""

    requests: Counter | None = None
    tokens: Counter | None = None
    concurrency: int | None = None
    shows_headers: bool = True

    def admit(self, tokens: int, in_flight: int, now: float) -> float | None:
        """None if the request may pass, else the seconds to wait (0 where no time can be told)."""
        if self.concurrency is not None and in_flight > self.concurrency:
            return 0.0
        counted = ((self.requests, 1), (self.tokens, tokens))
        refused = [counter for counter, amount in counted if counter is not None and not counter.spend(amount, now)]
        return max(counter.reset(now) for counter in refused) if refused else None

    def headers(self, family: str | None, now: float, wall: float) -> tuple[tuple[str, str], ...]:
        render = FAMILIES.get(family or "")
        if render is None or not self.shows_headers:
            return ()
        shown = {
            name: Shown(counter.limit, counter.left(now), counter.reset(now))
            for name, counter in (("requests", self.requests), ("tokens", self.tokens))
            if counter is not None
        }
        return tuple(header for name, state in shown.items() for header in render(name, state, wall))


Headers = list[tuple[str, str]]


def go_duration(seconds: float) -> str:
    """``6m0s``, ``1.5s``, ``20ms``: as Go prints a duration."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.6g}s" if minutes else f"{rest:.6g}s"


def _openai(name: str, state: Shown, wall: float) -> Headers:
    return [
        (f"x-ratelimit-limit-{name}", str(state.limit)),
        (f"x-ratelimit-remaining-{name}", str(state.left)),
        (f"x-ratelimit-reset-{name}", go_duration(state.reset)),
    ]


def _anthropic(name: str, state: Shown, wall: float) -> Headers:
    whole = datetime.fromtimestamp(wall + state.reset, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        (f"anthropic-ratelimit-{name}-limit", str(state.limit)),
        (f"anthropic-ratelimit-{name}-remaining", str(state.left)),
        (f"anthropic-ratelimit-{name}-reset", whole),
    ]


def _openrouter(name: str, state: Shown, wall: float) -> Headers:
    return [
        ("X-RateLimit-Limit", str(state.limit)),
        ("X-RateLimit-Remaining", str(state.left)),
        ("X-RateLimit-Reset", str(int((wall + state.reset) * 1000))),
    ]


def _cerebras(name: str, state: Shown, wall: float) -> Headers:
    unit = {"requests": "requests-day", "tokens": "tokens-minute"}[name]
    return [
        (f"x-ratelimit-limit-{unit}", str(state.limit)),
        (f"x-ratelimit-remaining-{unit}", str(state.left)),
        (f"x-ratelimit-reset-{unit}", f"{state.reset:.3f}"),
    ]


def _seconds(name: str, state: Shown, wall: float) -> Headers:
    suffix = "" if name == "requests" else "-tokens"
    return [
        (f"x-ratelimit-limit{suffix}", str(state.limit)),
        (f"x-ratelimit-remaining{suffix}", str(state.left)),
        (f"x-ratelimit-reset{suffix}", f"{state.reset:.0f}"),
    ]


def _azure(name: str, state: Shown, wall: float) -> Headers:
    return [(f"x-ratelimit-remaining-{name}", str(state.left))]


FAMILIES: Mapping[str, Callable[[str, Shown, float], Headers]] = {
    "openai": _openai,
    "groq": _openai,
    "anthropic": _anthropic,
    "openrouter": _openrouter,
    "cerebras": _cerebras,
    "together": _seconds,
    "mistral": _seconds,
    "azure": _azure,
}
