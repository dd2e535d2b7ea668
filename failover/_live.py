"""A target at work: what was configured, resolved once, plus what is measured while it runs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from failover.attempter import Attempter
from failover.dialects.base import Model
from failover.settings import Hedge, Price, Target, Timeouts
from failover.store.base import Charge, Gates
from failover.tokens import Ratio
from failover.types import Usage


class Load:
    """How busy and how fast a target is: calls in flight, and a peak-sensitive average of the time to first content.

    The average rises at once to a slower sample and decays towards faster ones with a time constant of 10 s
    (peak EWMA, as in Twitter Finagle's load balancer).
    """

    __slots__ = ("ewma", "in_flight", "stamp")

    DECAY = 10.0

    def __init__(self) -> None:
        self.in_flight = 0
        self.ewma = 0.0
        self.stamp = 0.0

    def observe(self, latency: float, now: float) -> None:
        weight = math.exp(-max(0.0, now - self.stamp) / self.DECAY)
        self.ewma = max(latency, self.ewma * weight + latency * (1.0 - weight))
        self.stamp = now

    def score(self, now: float) -> float:
        """Expected cost of one more call; a target that was never measured is worth a look.

        Calls in flight count by their square root: a provider serves them side by side, so a slow one does not become
        attractive because the fast ones are busy.
        """
        aged = self.ewma * math.exp(-max(0.0, now - self.stamp) / (self.DECAY * 6))
        return aged * math.sqrt(self.in_flight + 1)


class Pace:
    """How long answers took to begin, over all targets: what a hedge takes for late."""

    ENOUGH = 20

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=200)

    def observe(self, seconds: float) -> None:
        self._recent.append(seconds)

    def late_after(self, hedge: Hedge) -> float:
        if hedge.after is not None:
            return hedge.after
        return hedge.initial if len(self._recent) < self.ENOUGH else self.usual(hedge.quantile)

    def usual(self, share: float) -> float:
        """Seconds within which this share of recent answers began; without any, for ever."""
        known = sorted(self._recent)
        return known[min(len(known) - 1, int(len(known) * share))] if known else math.inf


@dataclass(slots=True)
class Tally:
    """What a target has done so far, for status pages.  ``cost`` in nano-dollars, ``latency`` summed seconds."""

    attempts: int = 0
    successes: int = 0
    failures: int = 0
    cached: int = 0
    cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency: float = 0.0
    last_error: str = ""

    def add(self, usage: Usage | None) -> None:
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens


@dataclass(slots=True, eq=False)
class Live:
    """One target, resolved.  ``identity`` names the model for the cache: equal identities may share answers."""

    index: int
    config: Target
    name: str
    model: Model
    identity: str
    gates: Gates
    attempter: Attempter
    timeouts: Timeouts
    price: Price | None
    charges: tuple[Charge, ...] = ()
    limited: bool = False
    needs_cap: bool = False
    ratio: Ratio = field(default_factory=Ratio)
    fingerprint: Callable[[], str] | None = None
    learned: dict[str, str | None] = field(default_factory=dict)
    load: Load = field(default_factory=Load)
    tally: Tally = field(default_factory=Tally)
    url: str = ""  # base URL, with whatever it carries; empty for a framework's model
    off: bool = False  # as far as this process knows: what its events have said last

    @property
    def author(self) -> str:
        return self.model.author

    def rekeyed(self, used: str) -> bool:
        """Whether the function that gives the key now gives another than the one named ``used``.

        fingerprint: names the key as that function gives it; None for a key that never changes.
        """
        if self.fingerprint is None:
            return False
        try:
            current = self.fingerprint()
        except Exception:  # it gives no key at all now, which is no reason to give up the other targets
            return False
        if current != self.gates.credential:
            self.gates = replace(self.gates, credential=current)
        return current != used
