"""Random walks over the gates: random rules, random deeds, and after each of them everything that must hold.

A walk keeps a model of its own: simple books without any of the store's cleverness (an exact log, plain sums).
After every deed it is checked that

- an admission broke no rule: nothing was sent to an open circuit before its ``until``, during a pause or to what is
  switched off; live probes ≤ n; requests, tokens and calls at once within the limit; spent + reserved ≤ limit;
  nobody who stood in line was overtaken;
- a refusal had a reason: the model, too, finds no room (within a grain of the limiter's log), and ``retry_at`` lies
  in the future;
- Σ leases = reserved = in flight, and spent is exactly what was charged;
- a stale or repeated give-back changed nothing;
- at the end, when all leases, pauses, windows and open times are over, every target can be asked again.

Deeds are biased towards trouble: trips, crashes (a lease nobody gives back), cancellations, clocks that jump, results
that come late, twice, or after another end of the same lease.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from failover.rules.limiter import GRAINS
from failover.settings import CircuitBreaker, RateLimit
from failover.store.base import Ask, Charge, Gates, Lease, Now, Reason, Rejection, Settlement, TargetState, Ticket
from failover.store.lines import GRACE
from failover.store.memory import MemoryStore
from failover.types import RateHint
from tests.gates.world import MONO, WALL, charge, gates

DAY = 86_400.0
WINDOW = 60.0
SLACK = WINDOW / GRAINS
BREAKERS = [
    CircuitBreaker(failure_threshold=1, recovery_timeout=10.0, max_recovery_timeout=40.0),
    CircuitBreaker(failure_threshold=2, recovery_timeout=10.0, max_recovery_timeout=40.0, probes=2),
    CircuitBreaker(failure_threshold=3, recovery_timeout=10.0, failure_rate=0.5, minimum_calls=4, window=30.0),
    CircuitBreaker(failure_threshold=2, recovery_timeout=10.0, slow_call_rate=0.5, slow_call=5.0, minimum_calls=3),
]
LIMITS = [
    RateLimit(),
    RateLimit(requests=3),
    RateLimit(tokens=100),
    RateLimit(requests=5, input_tokens=80, output_tokens=80),
    RateLimit(concurrency=2),
    RateLimit(requests=4, tokens=120, concurrency=3),
]
TARGETS = [[gates(name, rules, limits, name) for rules in BREAKERS for limits in LIMITS] for name in ("a", "b")]
BUDGETS = [charge(1e-6), charge(2e-6, "total"), charge(5e-7, scope="label:user=alice")]
TOKENS = ((0, 0), (10, 10), (30, 20), (50, 50), (90, 40))
COSTS = (0, 1, 100, 300, 600)


def moved(before: TargetState, after: TargetState) -> tuple[str, ...]:
    """What of a circuit has changed."""
    names = ("state", "until", "consecutive_failures")
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


@dataclass(slots=True, eq=False)
class Flight:
    """A lease, as the model sees it.  ``epoch`` is the breaker's at admission."""

    lease: Lease
    where: Place
    cost: int
    tokens: tuple[int, int]
    charges: list[tuple[Charge, int]]
    expires: float
    epoch: int
    probe: bool
    due: float
    answered: bool = False


@dataclass(slots=True, eq=False)
class Place:
    """A target, as the model sees it.  ``log`` has a line for each thing counted: when, requests, input, output."""

    gates: Gates
    log: list[tuple[float, int, int, int]] = field(default_factory=list)
    live: list[Flight] = field(default_factory=list)
    paused: float = 0.0
    off: float | None = 0.0
    epoch: int = 0
    state: str = "closed"
    until: float = 0.0
    successes: int = 0
    learned: bool = False
    waiting: dict[int, Ticket] = field(default_factory=dict)
    eye: Gates = field(init=False)  # the same target under a key that is never switched off

    def __post_init__(self) -> None:
        self.eye = replace(self.gates, credential="eye")


class Walk:
    """One walk; ``random`` decides everything."""

    def __init__(self, random: Random, store: Any = None) -> None:
        self.random = random
        self.store = store or MemoryStore(random.random)
        self.mono, self.wall, self.skew = MONO, WALL, 0.0
        self.places = [Place(self.random.choice(targets)) for targets in TARGETS]
        self.budgets = self.random.sample(BUDGETS, self.random.randint(0, 2))
        self.spent: dict[tuple[str, int], int] = {}
        self.reserved: dict[tuple[str, int], int] = {}
        self.surprise: dict[tuple[str, int], int] = {}
        self.ended: list[Flight] = []
        self.lapsed: list[Flight] = []

    def go(self, steps: int) -> None:
        self.look()
        for deed in self.random.choices(DEEDS, WEIGHTS, k=steps):
            deed(self, self.random.choice(self.places))
            self.look()
        self.finish()

    # ------------------------------------------------------------------ time

    @property
    def now(self) -> Now:
        return Now(self.mono, self.wall + self.skew)

    def later(self, seconds: float) -> None:
        """Time passes on both clocks, and leases expire."""
        self.mono += seconds
        self.wall = max(self.wall, self.wall + self.skew + seconds)
        self.skew = 0.0
        for place in self.places:
            for flight in [each for each in place.live if each.expires <= self.mono]:
                self.lapsed.append(flight)
                self.over(flight, *flight.tokens, flight.cost)

    def page(self, watched: Charge) -> tuple[str, int]:
        return watched.scope + watched.book, int(self.wall // DAY) if watched.budget.per == "day" else 0

    # ----------------------------------------------------------------- asking

    def ask(self, place: Place, ticket: Ticket | None = None, **wants: Any) -> Flight | None:
        tokens = wants.get("tokens") or self.random.choice(TOKENS)
        cost = wants.get("cost", self.random.choice(COSTS))
        ttl = wants.get("ttl") or self.random.choice((5.0, 50.0, 500.0))
        stands = ticket or self.store.ticket()
        ask = Ask(place.gates, *tokens, cost, tuple(self.budgets), ttl, stands, patience=20.0)
        answer = self.store.admit(ask, self.now)
        if isinstance(answer, Rejection):
            self.had_a_reason(place, ask, answer)
            if answer.line is not None and self.random.random() < 0.5:
                self.stand(place, stands, answer)
            return None
        self.broke_no_rule(place, ask, answer)
        return self.departed(place, ask, answer)

    def departed(self, place: Place, ask: Ask, lease: Lease) -> Flight:
        charges = [(watched, self.page(watched)[1]) for watched in self.budgets]
        self.see(place)
        due = self.mono + min(ask.patience, ask.ttl)
        flight = Flight(lease, place, ask.cost, (ask.input_tokens, ask.output_tokens), charges, lease.expires,
                        place.epoch, lease.probe, due)  # fmt: skip
        place.live.append(flight)
        for watched, page in charges:
            key = (watched.scope + watched.book, page)
            self.reserved[key] = self.reserved.get(key, 0) + ask.cost
        for each in self.places:
            each.waiting.pop(ask.ticket.number, None)
        return flight

    def stand(self, place: Place, ticket: Ticket, refusal: Rejection) -> None:
        assert refusal.line is not None
        self.store.line_up(ticket, [refusal.line], self.now)
        for each in self.places:
            each.waiting.pop(ticket.number, None)
        if refusal.line.startswith("target"):
            place.waiting[ticket.number] = ticket

    def ahead(self, place: Place, ticket: Ticket) -> bool:
        return any(number < ticket.number and self.present(other) for number, other in place.waiting.items())

    def present(self, ticket: Ticket) -> bool:
        return ticket.called is None or self.mono - ticket.called < GRACE

    # -------------------------------------------------------------- judgement

    def broke_no_rule(self, place: Place, ask: Ask, lease: Lease) -> None:
        rules, limits = place.gates.breaker, place.gates.limits
        assert place.off is not None, "sent to what is switched off"
        assert place.off <= self.wall, "sent to what is switched off"
        assert place.state != "open", "sent to an open circuit"
        assert lease.probe == (place.state == "half_open"), "a probe, and only a probe, while half-open"
        if lease.probe:
            probes = [each for each in place.live if each.probe and each.epoch == place.epoch and not each.answered]
            live = sum(each.due > self.mono for each in probes)
            assert live + 1 + place.successes <= rules.probes, "more probes than allowed"
        assert self.mono >= place.paused, "sent during a pause"
        for limit, used, need in self.demands(place, ask, 0.0):
            assert used + need <= limit, "above the limit of a window"
        assert limits.concurrency is None or len(place.live) < limits.concurrency, "too many at once"
        assert not self.ahead(place, ask.ticket), "overtook somebody in line"
        for watched in self.budgets:
            assert ask.cost == 0 or self.held(watched) + ask.cost <= watched.limit, "above a budget"

    def had_a_reason(self, place: Place, ask: Ask, refusal: Rejection) -> None:
        assert refusal.retry_at is None or refusal.retry_at > self.mono, "told to ask again at once"
        assert refusal.recheck is None or refusal.recheck > self.mono, "told to look again at once"
        limits, reason = place.gates.limits, refusal.reason
        match reason:
            case Reason.DISABLED:
                assert place.off is None or place.off > self.wall
            case Reason.CIRCUIT_OPEN:
                assert place.state != "closed"
                assert refusal.line is None
                if place.state == "open":
                    assert refusal.retry_at == place.until
            case Reason.RATE_LIMITED:
                full = any(used + need > limit for limit, used, need in self.demands(place, ask, SLACK))
                assert full or place.learned or self.mono < place.paused or self.ahead(place, ask.ticket)
            case Reason.CONCURRENCY:
                full = limits.concurrency is not None and len(place.live) >= limits.concurrency
                assert full or self.ahead(place, ask.ticket)
            case Reason.OVER_LIMIT:
                assert any(need > limit for limit, _, need in self.demands(place, ask, 0.0))
            case Reason.BUDGET_SPENT:
                assert any(self.spent.get(self.page(each), 0) + ask.cost > each.limit for each in self.budgets)
                assert refusal.line is None
            case Reason.BUDGET_PENDING:
                pending = any(self.held(each) + ask.cost > each.limit for each in self.budgets)
                assert pending or refusal.detail.endswith("before it")
                assert refusal.line is not None
            case _:
                raise AssertionError(reason)

    def demands(self, place: Place, ask: Ask, slack: float) -> list[tuple[int, int, int]]:
        """Limit, used and needed, for requests and all kinds of tokens; ``slack``: entries count longer by so much."""
        limits, since = place.gates.limits, self.mono - WINDOW - slack
        lines = [line for line in place.log if line[0] > since]
        requests = sum(line[1] for line in lines) + sum(not each.answered for each in place.live)
        used = sum(line[2] for line in lines) + sum(each.tokens[0] for each in place.live)
        made = sum(line[3] for line in lines) + sum(each.tokens[1] for each in place.live)
        wants, makes = ask.input_tokens, ask.output_tokens
        rows = (
            (limits.requests, requests, 1),
            (limits.tokens, used + made, wants + makes),
            (limits.input_tokens, used, wants),
            (limits.output_tokens, made, makes),
        )
        return [(limit, have, need) for limit, have, need in rows if limit is not None]

    def held(self, watched: Charge) -> int:
        key = self.page(watched)
        return self.spent.get(key, 0) + self.reserved.get(key, 0)

    # ----------------------------------------------------------------- ending

    def over(self, flight: Flight, used: int, made: int, cost: int) -> None:
        """The model's books for the end of a lease."""
        place = flight.where
        place.live.remove(flight)
        place.log.append((self.mono, not flight.answered, used, made))
        for watched, page in flight.charges:
            key = (watched.scope + watched.book, page)
            self.reserved[key] -= flight.cost
            self.charge(key, cost, cost - flight.cost)

    def charge(self, key: tuple[str, int], cost: int, above: int) -> None:
        self.spent[key] = self.spent.get(key, 0) + cost
        self.surprise[key] = self.surprise.get(key, 0) + max(0, above)

    def answer(self, flight: Flight) -> None:
        self.settles(flight, lambda: self.store.first_content(flight.lease, self.now), True)
        if not flight.answered:
            flight.answered = True
            flight.where.log.append((self.mono, 1, 0, 0))

    def settle(self, flight: Flight, result: Settlement) -> None:
        verdict = True if result.succeeded else False if result.blamed else None
        self.settles(flight, lambda: self.store.settle(flight.lease, result, self.now), verdict)
        used = flight.tokens[0] if result.input_tokens is None else result.input_tokens
        made = flight.tokens[1] if result.output_tokens is None else result.output_tokens
        self.over(flight, used, made, flight.cost if result.cost is None else result.cost)
        self.hear(flight.where, result)
        self.ended.append(flight)

    def hear(self, place: Place, result: Settlement) -> None:
        if result.pause is not None:
            place.paused = max(place.paused, self.mono + result.pause)
        place.learned = place.learned or result.slow_down or result.hint is not None
        if result.disable is not None and place.off is not None:
            place.off = None if result.until is None else max(place.off, result.until)

    def settles(self, flight: Flight, deed: Any, verdict: bool | None) -> None:
        """Do it; if the flight's epoch is over, the circuit must not have moved."""
        place = flight.where
        before, stale = self.circuit(place), flight.epoch != place.epoch
        probe = flight.probe and not stale and not flight.answered
        deed()
        if stale:
            assert moved(before, self.circuit(place)) == (), "a stale result moved the circuit"
        if probe and verdict:
            place.successes += 1
        self.see(place)

    def abandon(self, flight: Flight, cost: int) -> None:
        before = self.circuit(flight.where)
        self.store.abandon(flight.lease, cost, self.now)
        assert moved(before, self.circuit(flight.where)) == (), "giving up moved the circuit"
        self.over(flight, *flight.tokens, cost)
        self.ended.append(flight)

    # ---------------------------------------------------------------- looking

    def circuit(self, place: Place) -> TargetState:
        """The breaker, even where the target is switched off."""
        return self.store.snapshot([place.eye], [], self.now).targets[0]

    def see(self, place: Place) -> None:
        """Follow the circuit's own transitions."""
        self.follow(place, self.circuit(place))

    def follow(self, place: Place, state: TargetState) -> None:
        if state.state != place.state or (state.until or 0.0) > place.until:
            if state.state == "open":
                assert state.until is not None
                assert state.until >= self.mono + 10.0, "open for too short"
            place.epoch += 1
            place.successes = 0
            place.state, place.until = state.state, state.until or 0.0

    def look(self) -> None:
        """What must hold at every moment."""
        watched = [gates for place in self.places for gates in (place.gates, place.eye)]
        seen = self.store.snapshot(watched, self.budgets, self.now)
        for place, target, circuit in zip(self.places, seen.targets[::2], seen.targets[1::2], strict=True):
            assert target.in_flight == len(place.live), "a place was lost or made"
            off = place.off is None or place.off > self.wall
            assert (target.state == "disabled") == off, "switched off or on by nobody"
            self.follow(place, circuit)
        for budget, money in zip(self.budgets, seen.budgets, strict=True):
            key = self.page(budget)
            assert money.spent == self.spent.get(key, 0), "charged something else than was spent"
            assert money.reserved == self.reserved.get(key, 0), "reserved is not the sum of the leases"
            assert money.spent + money.reserved <= money.limit + self.surprise.get(key, 0), "above a budget"

    def finish(self) -> None:
        """Nothing may be stuck once everything is over."""
        self.budgets = []
        for place in self.places:
            for ticket in list(place.waiting.values()):
                self.store.leave(ticket, self.now)
            place.waiting.clear()
        self.later(500.0)
        self.look()
        for place in self.places:
            assert not place.live
            if place.off is None:
                self.store.enable(place.gates, self.now)
                place.epoch, place.state, place.until, place.off = place.epoch + 1, "closed", 0.0, 0.0
        self.later(3_000.0)
        self.look()
        for place in self.places:
            for _ in range(place.gates.breaker.probes):
                flight = self.ask(place, tokens=(1, 1), cost=0, ttl=5.0)
                assert flight is not None, "stuck"
                self.settle(flight, Settlement(True, latency=0.1, cost=0))
            assert place.state == "closed"

    # ------------------------------------------------------------------ deeds

    def one_of(self, place: Place) -> Flight | None:
        return self.random.choice(place.live) if place.live else None

    def result(self, place: Place) -> Settlement:
        """Some end, more often a plain one."""
        random = self.random
        succeeded = random.choice((True, False, False, None))
        cost = random.choice((None, 0, 50, 300, 700))
        tokens = random.choice((None, (0, 0), (5, 5), (60, 30)))
        result = Settlement(succeeded, succeeded is False, random.choice((None, 0.1, 9.0)), cost=cost)
        if tokens is not None:
            result.input_tokens, result.output_tokens = tokens
        chance = random.random()
        if chance < 0.06:
            result.pause = random.choice((1.0, 30.0))
        elif chance < 0.09:
            result.slow_down = True
        elif chance < 0.13:
            result.hint = RateHint(random.choice((None, 2, 50)), random.randint(0, 3), 20.0, 90, 40, 5.0)
        elif chance < 0.16:
            result.disable, result.until = "credential", random.choice((None, self.wall + 40.0))
        return result

    def do_ask(self, place: Place) -> None:
        self.ask(place)

    def do_burst(self, place: Place) -> None:
        for _ in range(4):
            self.ask(place)

    def do_answer(self, place: Place) -> None:
        if (flight := self.one_of(place)) is not None:
            self.answer(flight)

    def do_settle(self, place: Place) -> None:
        if (flight := self.one_of(place)) is not None:
            self.settle(flight, self.result(place))

    def do_succeed(self, place: Place) -> None:
        if (flight := self.one_of(place)) is not None:
            self.settle(flight, Settlement(True, latency=0.1, cost=self.random.choice((0, 10))))

    def do_trip(self, place: Place) -> None:
        for _ in range(place.gates.breaker.failure_threshold):
            if (flight := self.ask(place, tokens=(1, 1), cost=0)) is not None:
                self.settle(flight, Settlement(False, blamed=True))

    def do_probe(self, place: Place) -> None:
        """Go to where the circuit may be tried again, and try with several at once."""
        if place.state == "open":
            self.later(max(0.0, place.until - self.mono))
            self.see(place)
            for _ in range(3):
                self.ask(place, tokens=(1, 1), cost=0)

    def do_crash(self, place: Place) -> None:
        """A lease nobody ever gives back."""
        self.ask(place, ttl=5.0)
        self.later(self.random.choice((0.0, 5.0)))

    def do_cancel(self, place: Place) -> None:
        if (flight := self.one_of(place)) is not None:
            self.abandon(flight, self.random.choice((0, flight.cost)))

    def do_repeat(self, place: Place) -> None:
        """Ends of what has ended already."""
        if not self.ended:
            return
        flight = self.random.choice(self.ended)
        budgets = self.budgets or BUDGETS[:1]
        before = self.store.snapshot([flight.where.gates], budgets, self.now)
        for _ in range(2):
            self.store.settle(flight.lease, Settlement(False, blamed=True, cost=5, pause=50.0), self.now)
            self.store.abandon(flight.lease, 7, self.now)
            self.store.first_content(flight.lease, self.now)
            self.store.renew(flight.lease, self.mono + 1e5, self.now)
        assert self.store.snapshot([flight.where.gates], budgets, self.now) == before, "ended twice"

    def do_late(self, place: Place) -> None:
        """The end of a call whose lease has expired: only the charge is corrected, once."""
        if not self.lapsed:
            return
        flight = self.lapsed.pop(self.random.randrange(len(self.lapsed)))
        before = self.circuit(flight.where)
        result = Settlement(False, blamed=True, cost=self.random.choice((0, 40, 900)))
        self.store.settle(flight.lease, result, self.now)
        assert moved(before, self.circuit(flight.where)) == (), "a late result moved the circuit"
        for watched, page in flight.charges:
            key = (watched.scope + watched.book, page)
            if key == self.page(watched):
                assert result.cost is not None
                self.charge(key, result.cost - flight.cost, result.cost - flight.cost)
        self.ended.append(flight)

    def do_renew(self, place: Place) -> None:
        if (flight := self.one_of(place)) is not None:
            flight.expires = max(flight.expires, self.mono + 90.0)
            self.store.renew(flight.lease, self.mono + 90.0, self.now)

    def do_wait(self, place: Place) -> None:
        """Somebody in line asks again, or gives up."""
        if not place.waiting:
            return
        ticket = self.random.choice(list(place.waiting.values()))
        if self.random.random() < 0.3:
            self.store.leave(ticket, self.now)
            del place.waiting[ticket.number]
        else:
            self.ask(place, ticket)

    def do_pass(self, place: Place) -> None:
        self.later(self.random.choice((0.05, 1.0, 7.0, 20.0)))

    def do_jump(self, place: Place) -> None:
        """Just before, at, or after something ends; or to another day."""
        self.later(self.random.choice((10.0, WINDOW, WINDOW + SLACK, 500.0, DAY)))

    def do_set_back(self, place: Place) -> None:
        """The wall clock alone is set back; it must not bring a period back."""
        self.skew -= self.random.choice((10.0, DAY))


DEEDS: list[Any] = [Walk.do_ask, Walk.do_burst, Walk.do_answer, Walk.do_settle, Walk.do_succeed, Walk.do_trip,
                    Walk.do_probe, Walk.do_crash, Walk.do_cancel, Walk.do_repeat, Walk.do_late, Walk.do_renew,
                    Walk.do_wait, Walk.do_pass, Walk.do_jump, Walk.do_set_back]  # fmt: skip
WEIGHTS = [16, 6, 7, 14, 6, 5, 7, 4, 5, 3, 4, 2, 6, 8, 5, 1]


def walk(seed: int, steps: int = 14) -> None:
    Walk(Random(seed)).go(steps)
