"""Callers and providers in virtual time: who is served when, and what a provider that counts its own way says to it.

A provider counts amounts (requests or tokens) by fixed windows, by a sliding window or by a bucket that refills, and
refuses with 429 what does not fit.  Callers ask the store, wait in its lines as a driver would (woken by their
ticket, or by a timer at ``retry_at`` or ``recheck``), send, and settle.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from failover.store.base import Ask, Charge, Gates, Lease, Now, Rejection, Settlement, Store
from failover.types import RateHint
from tests.gates.world import WALL

# ------------------------------------------------------------------ providers


class Counter(Protocol):
    """How much a provider has counted, and when it is whole again (seconds from now)."""

    limit: int

    def used(self, now: float) -> float: ...
    def add(self, now: float, amount: float) -> None: ...
    def reset(self, now: float) -> float: ...


class FixedWindow:
    """Starts from nothing at every multiple of the window (plus ``offset``)."""

    def __init__(self, limit: int, window: float = 60.0, offset: float = 0.0) -> None:
        self.limit, self.window, self.offset = limit, window, offset
        self.number, self.sum = -1, 0.0

    def used(self, now: float) -> float:
        number = int((now + self.offset) // self.window)
        if number != self.number:
            self.number, self.sum = number, 0.0
        return self.sum

    def add(self, now: float, amount: float) -> None:
        self.used(now)
        self.sum += amount

    def reset(self, now: float) -> float:
        return self.window - (now + self.offset) % self.window


class SlidingWindow:
    """Counts exactly what came within the last window."""

    def __init__(self, limit: int, window: float = 60.0) -> None:
        self.limit, self.window = limit, window
        self.log: deque[tuple[float, float]] = deque()
        self.sum = 0.0

    def used(self, now: float) -> float:
        while self.log and self.log[0][0] + self.window <= now:
            self.sum -= self.log.popleft()[1]
        return self.sum

    def add(self, now: float, amount: float) -> None:
        self.log.append((now, amount))
        self.sum += amount

    def reset(self, now: float) -> float:
        return self.log[-1][0] + self.window - now if self.log else 0.0


class Bucket:
    """Holds a window's worth and refills all the time; ``reset`` is until it is full, as OpenAI's headers say it."""

    def __init__(self, limit: int, window: float = 60.0) -> None:
        self.limit, self.window = limit, window
        self.gone, self.at = 0.0, 0.0

    def used(self, now: float) -> float:
        self.gone = max(0.0, self.gone - (now - self.at) * self.limit / self.window)
        self.at = now
        return self.gone

    def add(self, now: float, amount: float) -> None:
        self.used(now)
        self.gone += amount

    def reset(self, now: float) -> float:
        return self.used(now) * self.window / self.limit


@dataclass
class Provider:
    """``requests`` and ``tokens`` it counts by; ``late``: tokens are counted when written, not when asked for."""

    requests: Counter | None = None
    tokens: Counter | None = None
    late: bool = False
    speaks: bool = False

    def arrives(self, now: float, tokens: int) -> bool:
        fits = all(
            counter is None or counter.used(now) + amount <= counter.limit
            for counter, amount in ((self.requests, 1), (self.tokens, tokens))
        )
        if not fits:
            return False
        if self.requests is not None:
            self.requests.add(now, 1)
        if self.tokens is not None and not self.late:
            self.tokens.add(now, tokens)
        return True

    def writes(self, now: float, tokens: int) -> None:
        if self.tokens is not None and self.late:
            self.tokens.add(now, tokens)

    def hint(self, now: float) -> RateHint | None:
        if not self.speaks:
            return None
        said: list[int | float | None] = []
        for counter in (self.requests, self.tokens):
            if counter is None:
                said += [None, None, None]
            else:
                said += [counter.limit, int(counter.limit - counter.used(now)), counter.reset(now)]
        return RateHint(*said)


# -------------------------------------------------------------------- callers

MOST_EVENTS = 60_000


@dataclass
class Load:
    """What one call asks for and really uses (input, output), and how long it takes (to first byte, in all)."""

    asked: tuple[int, int] = (0, 0)
    used: tuple[int, int] = (0, 0)
    first: float = 0.1
    whole: float = 0.2
    cost: int = 0
    real_cost: int = 0
    charges: tuple[Charge, ...] = ()


@dataclass
class Served:
    """A call that was answered: its ticket's number, when it was sent, and its tokens."""

    number: int
    sent: float
    tokens: int


@dataclass
class Traffic:
    """All calls go to one target.  ``uplink``: the share of the time to first byte before the provider counts."""

    store: Store
    gates: Gates
    provider: Provider
    uplink: float = 0.5
    random: Random = field(default_factory=lambda: Random(7))
    time: float = 0.0
    served: list[Served] = field(default_factory=list)
    turned_away: list[Rejection] = field(default_factory=list)
    asks: int = 0
    provoked: int = 0
    give_up_after: float = 1e9

    def __post_init__(self) -> None:
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()

    @property
    def now(self) -> Now:
        return Now(self.time, WALL + self.time)

    def at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (moment, next(self.order), do))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            self.time, number, do = heapq.heappop(self.events)
            assert number < MOST_EVENTS, "they run in circles"
            do()
        self.time = until

    def call(self, load: Load, then: Callable[[], None] | None = None) -> None:
        """One call, which begins now."""
        Caller(self, load, then).ask()

    def worker(self, loads: Iterator[Load], pause: float = 0.0) -> None:
        """Calls one after the other, for ever."""

        def once() -> None:
            self.call(next(loads), lambda: self.at(self.time + pause, once))

        once()


class Caller:
    """One call on its way through the store's lines, as a driver would lead it."""

    def __init__(self, traffic: Traffic, load: Load, then: Callable[[], None] | None) -> None:
        self.world, self.load, self.then = traffic, load, then
        self.ticket = traffic.store.ticket()
        self.ticket.wake = lambda: traffic.at(traffic.time + 0.001, self.woken)
        self.patience = traffic.time + traffic.give_up_after
        self.standing = 0

    def ask(self) -> None:
        self.world.asks += 1
        self.standing += 1
        load = self.load
        answer = self.world.store.admit(
            Ask(self.world.gates, *load.asked, load.cost, load.charges, 600.0, self.ticket), self.world.now
        )
        if isinstance(answer, Lease):
            self.send(answer)
        else:
            self.wait(answer)

    def wait(self, refusal: Rejection) -> None:
        world = self.world
        late = refusal.retry_at is not None and refusal.retry_at > self.patience
        if refusal.line is None or late or world.time >= self.patience:
            world.store.leave(self.ticket, world.now)
            world.turned_away.append(refusal)
            self.finished()
            return
        moments = (refusal.retry_at, refusal.recheck, self.patience)
        attempt = self.standing
        soonest = min(moment for moment in moments if moment is not None)
        world.at(max(soonest, world.time), lambda: self.ask() if self.standing == attempt else None)
        world.store.line_up(self.ticket, [refusal.line], world.now)

    def woken(self) -> None:
        if self.ticket.woken and self.ticket.lines:
            self.ticket.woken = False
            self.ask()

    def send(self, lease: Lease) -> None:
        world, load = self.world, self.load
        self.standing += 1
        sent = world.time
        world.at(sent + load.first * world.uplink, lambda: self.arrive(lease, sent))

    def arrive(self, lease: Lease, sent: float) -> None:
        world, load = self.world, self.load
        if not world.provider.arrives(world.time, sum(load.asked)):
            world.at(world.time + 0.01, lambda: self.refused(lease))
            return
        hint = world.provider.hint(world.time)
        world.at(sent + load.first, lambda: world.store.first_content(lease, world.now))
        world.at(sent + load.whole, lambda: self.done(lease, sent, hint))

    def done(self, lease: Lease, sent: float, hint: RateHint | None) -> None:
        world, load = self.world, self.load
        world.provider.writes(world.time, sum(load.used))
        world.served.append(Served(self.ticket.number, sent, sum(load.used)))
        result = Settlement(True, False, load.first, *load.used, load.real_cost, hint=hint)
        world.store.settle(lease, result, world.now)
        self.finished()

    def refused(self, lease: Lease) -> None:
        """A 429: the pause it asks for, then once more with the same ticket."""
        world = self.world
        world.provoked += 1
        pause = 1.0 if world.provider.requests is None else world.provider.requests.reset(world.time)
        result = Settlement(None, False, None, 0, 0, 0, pause=pause, hint=world.provider.hint(world.time))
        world.store.settle(lease, result, world.now)
        self.ask()

    def finished(self) -> None:
        if self.then is not None:
            self.then()


def same(load: Load) -> Iterator[Load]:
    while True:
        yield load
