"""A target's other side in virtual time: how long an attempt takes there, and how it ends.

It answers with the same values that the wire's reader makes of a real provider's bytes: an ``Answer`` with usage and
rate-limit hints, or a ``Failure`` as the classifier would have named it.  The attempt's own clocks hold here as they
do over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, inf, log
from random import Random
from typing import NamedTuple

from failover.attempter import Job
from failover.simulate.chance import LogNormal, Spread
from failover.simulate.scenario import Incident, Profile, Quota, Trouble
from failover.types import Answer, Failure, Kind, Message, Outcome, RateHint, Usage

REFUSED_AFTER = 0.02
"""Seconds until a connection is refused."""
ERROR_AFTER = 0.25
"""Seconds until an error is answered."""
ROUND_TRIP = 0.05
"""Seconds until a 401, 402 or 429 is answered."""

SAID = Message("assistant", "A simulated answer.")


class Course(NamedTuple):
    """One attempt: seconds until its first content (None: none comes), until its end, and how it ends."""

    first: float | None
    end: float
    outcome: Outcome


@dataclass(slots=True)
class Bucket:
    """What is left of a quota, as the provider counts it: refilled continuously, never above its size."""

    size: float
    rate: float
    left: float
    at: float = 0.0

    def lacks(self, amount: float, now: float) -> float:
        """Seconds until there is room; 0.0 when there is.  What is larger than all of it may go alone."""
        self.left = min(self.size, self.left + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (min(amount, self.size) - self.left) / self.rate)

    @property
    def whole_in(self) -> float:
        return (self.size - self.left) / self.rate


class Counter:
    """A provider's quota at work."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._requests = _bucket(quota.requests, quota.window)
        self._tokens = _bucket(quota.tokens, quota.window)

    def refuses(self, tokens: int, now: float) -> float:
        """Seconds to wait before this request fits; 0.0 when it is let through."""
        asked = [(self._requests, 1), (self._tokens, tokens)]
        wait = max(bucket.lacks(amount, now) for bucket, amount in asked if bucket is not None)
        for bucket, amount in asked:
            if bucket is not None and not wait:
                bucket.left -= amount
        return wait

    def hint(self) -> RateHint | None:
        """What its headers say."""
        if not self._quota.headers:
            return None
        asked, used = self._requests, self._tokens
        return RateHint(
            self._quota.requests,
            None if asked is None else int(asked.left),
            None if asked is None else asked.whole_in,
            self._quota.tokens,
            None if used is None else max(0, int(used.left)),
            None if used is None else used.whole_in,
        )


def _bucket(size: int | None, window: float) -> Bucket | None:
    return None if size is None else Bucket(size, size / window, size)


class Provider:
    """One target's other side.  ``random`` is its own, so that nobody else's draws change its weather."""

    def __init__(self, profile: Profile, incidents: Sequence[Incident], random: Random) -> None:
        self._profile = profile
        self._random = random
        self._latency = drawer(profile.first_content, random)
        self._length = drawer(profile.output_tokens, random)
        self._counter = Counter(profile.quota) if _counted(profile.quota) and profile.quota else None
        self._incidents = tuple(incidents)
        self._changes = sorted({edge for each in incidents for span in each.spans() for edge in span})
        self._active: tuple[Incident, ...] = ()
        self._until = self._changes[0] if self._changes else inf

    def course(self, job: Job, prompt_tokens: int, streamed: bool, now: float) -> Course:
        """How an attempt that begins ``now`` will go."""
        if now >= self._until:
            self._look(now)
        course = self._answer(job, prompt_tokens, now) if not self._active else self._troubled(job, prompt_tokens, now)
        return _in_time(course, job, streamed)

    def _look(self, now: float) -> None:
        """Which incidents are on, and until when that holds."""
        self._active = tuple(each for each in self._incidents if any(start <= now < end for start, end in each.spans()))
        self._until = next((edge for edge in self._changes if edge > now), inf)

    def _troubled(self, job: Job, prompt_tokens: int, now: float) -> Course:
        """The first incident that hits decides; slowness adds up."""
        slowness, broken = 1.0, False
        for incident in self._active:
            if incident.share < 1.0 and self._random.random() >= incident.share:
                continue
            if incident.kind == "slow":
                slowness *= incident.factor
            elif incident.kind == "cut":
                broken = True
            else:
                return TROUBLES[incident.kind](incident)
        course = self._answer(job, prompt_tokens, now)
        if isinstance(course.outcome, Failure):
            return course
        slower = Course((course.first or 0.0) * slowness, course.end * slowness, course.outcome)
        return self._broken(slower) if broken else slower

    def _broken(self, course: Course) -> Course:
        """It breaks off at a random place; what had come so far was written, and is charged."""
        first = course.first or 0.0
        share = self._random.random()
        failure = Failure(Kind.CUT, "the answer broke off", 200, partial=Answer(SAID))
        return Course(first, first + (course.end - first) * share, failure)

    def _answer(self, job: Job, prompt_tokens: int, now: float) -> Course:
        """A good day's course."""
        profile, cap = self._profile, job.request.max_tokens
        if self._counter is not None:
            wait = self._counter.refuses(prompt_tokens + (cap or 0), now)
            if wait:
                return Course(None, ROUND_TRIP, _limited(wait, self._counter.hint()))
        if profile.failure_rate and self._random.random() < profile.failure_rate:
            return Course(None, ERROR_AFTER, _ERROR)
        first, length = self._latency(), max(1, int(self._length()))
        reason = "stop"
        if cap is not None and length > cap:
            length, reason = cap, "length"
        hint = None if self._counter is None else self._counter.hint()
        answer = Answer(SAID, "stop" if reason == "stop" else "length", usage=Usage(prompt_tokens, length), hint=hint)
        return Course(first, first + length / profile.tokens_per_second, answer)


def drawer(spread: Spread, random: Random) -> Callable[[], float]:
    """A function that draws one value after another; the common kind without detours, for it is drawn very often."""
    if isinstance(spread, LogNormal):
        middle, width = log(spread.median), spread.sigma
        gauss = random.gauss
        return lambda: exp(middle + width * gauss(0.0, 1.0))
    assert not isinstance(spread, float), "settings keep a bare number as Exactly"
    return partial(spread.draw, random)


def _counted(quota: Quota | None) -> bool:
    return quota is not None and (quota.requests is not None or quota.tokens is not None)


def _in_time(course: Course, job: Job, streamed: bool) -> Course:
    """The course, or where one of the attempt's clocks runs out, its end there."""
    clocks = job.timeouts
    limit = min(job.budget, clocks.total if streamed else min(clocks.whole, clocks.total))
    if streamed:
        begins = inf if course.first is None else course.first
        if min(begins, course.end) > min(limit, clocks.first_content):
            return _late(None, min(limit, clocks.first_content))
    return course if course.end <= limit else _late(course.first, limit)


def _late(first: float | None, after: float) -> Course:
    partial_answer = None if first is None or first > after else Answer(SAID)
    return Course(first, after, Failure(Kind.TIMEOUT, f"no more content after {after:.3g} s", partial=partial_answer))


# ---------------------------------------------------------------- troubles

_ERROR = Failure(Kind.SERVER_ERROR, "internal error", 500)


def _limited(wait: float, hint: RateHint | None) -> Failure:
    return Failure(Kind.RATE_LIMITED, "rate limit reached", 429, retry_after=wait, hint=hint)


def _fails(after: float, failure: Failure) -> Callable[[Incident], Course]:
    return lambda incident: Course(None, after, failure)


def _named(after: float, kind: Kind, message: str, status: int) -> Callable[[Incident], Course]:
    """A failure that names the incident's own ``retry_after``."""
    return lambda incident: Course(None, after, Failure(kind, message, status, retry_after=incident.retry_after))


TROUBLES: Mapping[Trouble, Callable[[Incident], Course]] = {
    "down": _fails(REFUSED_AFTER, Failure(Kind.CONNECT, "connection refused", sent=False)),
    "error": _named(ERROR_AFTER, Kind.SERVER_ERROR, "internal error", 500),
    "overloaded": _named(ERROR_AFTER, Kind.OVERLOADED, "overloaded", 503),
    "hang": _fails(inf, _ERROR),
    "rate_limited": _named(ROUND_TRIP, Kind.RATE_LIMITED, "rate limit reached", 429),
    "malformed": _fails(ERROR_AFTER, Failure(Kind.MALFORMED, "HTML in place of an answer", 200)),
    "refused_key": _fails(ROUND_TRIP, Failure(Kind.AUTH, "invalid api key", 401)),
    "no_credit": _fails(ROUND_TRIP, Failure(Kind.CREDIT, "credit exhausted", 402)),
}
"""What each kind of incident does to an attempt; ``slow`` and ``cut`` change an answer instead."""


def providers(
    names: Sequence[tuple[str, str]],
    profiles: Mapping[str, Profile],
    incidents: Sequence[Incident],
    random: Callable[[str], Random],
) -> Iterator[Provider]:
    """One for each target, given by its own and its provider's name."""
    for name, vendor in names:
        profile = profiles.get(name) or profiles.get(vendor) or profiles.get("*") or Profile()
        yield Provider(profile, [each for each in incidents if each.target in (name, vendor, "*")], random(name))
