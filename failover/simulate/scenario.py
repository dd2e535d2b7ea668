"""What happens around the calls: who asks, how each target answers, and what goes wrong when.

A scenario knows nothing of policies: the same one is run under several, so that they can be compared.  Everything is
drawn from its seed; arrivals, sizes and each target's latencies have generators of their own, so that changing a
policy does not change the weather.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import pi, sin
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal, Self

from annotated_types import MinLen
from pydantic import Field

from failover._checked import settings
from failover.errors import ConfigurationError
from failover.settings import Count, NotNegative, Positive, Share, ShareOrZero
from failover.simulate.chance import LogNormal, Span, Spread

DAY = 86_400.0
AN_HOUR = 3_600.0
BUSIEST = 15 * AN_HOUR
"""The hour (UTC) at which diurnal traffic peaks."""

Shape = Literal["poisson", "constant", "diurnal"]
Trouble = Literal[
    "down",
    "error",
    "overloaded",
    "hang",
    "slow",
    "rate_limited",
    "cut",
    "malformed",
    "refused_key",
    "no_credit",
]


@settings
class Traffic:
    """When calls come, and how large they are.

    rate: calls a second on average (default 1).  duration: for how long (default a day).
    shape: ``poisson`` (default: independent callers), ``constant``, or ``diurnal``: Poisson whose rate swings over
        the day by ``swing`` (default 0.6, that is ± 60 %), busiest at 15:00 UTC.
    trace: arrivals in seconds since the beginning, in place of ``rate`` and ``shape`` (see ``Traffic.replay``).
    prompt_tokens: input of a call (default around 400).  max_tokens: the output cap that callers ask for.
    streamed: callers read the answer as a stream.
    labels: values of each label, spread evenly over the calls, for budgets kept per label.
    """

    rate: Positive = 1.0
    duration: Span = DAY
    shape: Shape = "poisson"
    swing: ShareOrZero = 0.6
    trace: tuple[NotNegative, ...] = ()
    prompt_tokens: Spread = LogNormal(400, 4_000)
    max_tokens: Count | None = 1_000
    streamed: bool = False
    labels: Mapping[str, Annotated[tuple[str, ...], MinLen(1)]] = Field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if any(later < earlier for earlier, later in zip(self.trace, self.trace[1:], strict=False)):
            raise ConfigurationError("Traffic: trace: write arrivals in ascending order")

    @classmethod
    def replay(cls, path: str | Path, **others: object) -> Self:
        """The arrivals of a CSV file: its column ``at``, or its first one, in seconds, from the first arrival on."""
        with Path(path).open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        head = rows[0] if rows else []
        place = head.index("at") if "at" in head else 0
        try:
            moments = sorted(float(row[place]) for row in (rows[1:] if "at" in head else rows))
        except (ValueError, IndexError):
            raise ConfigurationError(f"{path}: write seconds in the first column, or in one called 'at'") from None
        return cls(trace=tuple(moment - moments[0] for moment in moments), **others)  # type: ignore[arg-type]

    @property
    def seconds(self) -> float:
        """How long calls keep coming."""
        return self.trace[-1] if self.trace else float(self.duration)

    def arrivals(self, random: Random) -> Iterator[float]:
        """Seconds since the beginning, ascending."""
        if self.trace:
            yield from self.trace
        elif self.shape == "constant":
            yield from (number / self.rate for number in range(int(self.seconds * self.rate)))
        else:
            yield from self._poisson(random, self.swing if self.shape == "diurnal" else 0.0)

    def _poisson(self, random: Random, swing: float) -> Iterator[float]:
        """By thinning: candidates at the highest rate, kept with the share that the moment's rate has in it."""
        now, end, highest = 0.0, self.seconds, self.rate * (1.0 + swing)
        while (now := now + random.expovariate(highest)) < end:
            if not swing or random.random() * (1.0 + swing) < 1.0 + swing * sin(_phase(now)):
                yield now


def _phase(now: float) -> float:
    """Of the day's wave, whose crest is at ``BUSIEST``."""
    return 2.0 * pi * (now - BUSIEST) / DAY + pi / 2.0


@settings
class Quota:
    """What a provider lets through, counted on its side; beyond it, it answers 429 and says when to come back.

    requests, tokens: per ``window`` seconds (default 60), refilled continuously as OpenAI and Anthropic do.
    headers: answers say what remains (default), so that a client can slow down before it is refused.
    """

    requests: Count | None = None
    tokens: Count | None = None
    window: Positive = 60.0
    headers: bool = True


@settings
class Profile:
    """How a target answers on a good day.

    first_content: seconds until an answer begins (default: median 0.6, p99 3).
    tokens_per_second: how fast it writes (default 80).  output_tokens: how much (default around 150).
    failure_rate: share of answers that are HTTP 500 without any incident (default 0.001).
    quota: what it lets through; None: anything.
    """

    first_content: Spread = LogNormal(0.6, 3.0)
    tokens_per_second: Positive = 80.0
    output_tokens: Spread = LogNormal(150, 800)
    failure_rate: ShareOrZero = 0.001
    quota: Quota | None = None


@settings
class Incident:
    """Something goes wrong at a target from ``start`` to ``end`` (seconds, or "2h 30m"; since the beginning).

    target: a target's name, a provider (all its targets), or ``"*"``.
    kind: ``down`` (nothing listens), ``error`` (HTTP 500), ``overloaded`` (503), ``hang`` (no answer ever),
        ``slow`` (``factor`` times slower), ``rate_limited`` (429), ``cut`` (answers break off), ``malformed``
        (a 200 with HTML), ``refused_key`` (401), ``no_credit`` (402).
    share: of the calls that are hit (default all).  flapping: it comes and goes every so many seconds.
    factor: how much slower (default 10).  retry_after: seconds that a 429 or 503 names.
    """

    target: str
    kind: Trouble
    start: Span
    end: Span
    share: Share = 1.0
    flapping: Span | None = None
    factor: Positive = 10.0
    retry_after: NotNegative | None = None

    def __post_init__(self) -> None:
        if float(self.start) >= float(self.end):
            raise ConfigurationError(f"Incident: start = {self.start}, end = {self.end}: write a start before the end")
        if self.flapping is not None and not float(self.flapping) > 0:
            raise ConfigurationError(f"Incident: flapping = {self.flapping}: write a span > 0, or None")

    def spans(self) -> Iterator[tuple[float, float]]:
        """When it is on."""
        start, end = float(self.start), float(self.end)
        step = end - start if self.flapping is None else float(self.flapping)
        while start < end:
            yield start, min(end, start + step)
            start += 2 * step


if TYPE_CHECKING:
    Incidents = Sequence[Incident]  # what may be written; it is kept as a tuple
else:
    Incidents = tuple[Incident, ...]


@settings
class Scenario:
    """Traffic, targets' ways and incidents.

    profiles: how targets answer, by target name, provider, or ``"*"``; the most exact one wins.
    seed: of everything that is drawn; the same seed gives the same run.
    starts: the moment at which it begins, for budgets' days and prices that change by the hour.
    """

    traffic: Traffic = Traffic()
    incidents: Incidents = ()
    profiles: Mapping[str, Profile] = Field(default_factory=dict)
    seed: int = 0
    starts: datetime = datetime(2026, 11, 2, tzinfo=UTC)

    def __post_init__(self) -> None:
        if self.starts.tzinfo is None:
            raise ConfigurationError(f"Scenario: starts = {self.starts}: write its time zone, as in ...T00:00:00Z")

    def random(self, what: str) -> Random:
        """A generator of its own for ``what``."""
        return Random(f"{self.seed} {what}")  # noqa: S311  # a simulation has to be repeatable
