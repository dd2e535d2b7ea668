"""What every store must do alike: scripts of operations, and the traces they must leave.

A script is a list of steps over named targets, budgets and leases; ``trace`` plays it on any store and writes down
every decision and every state that can be seen, as plain strings.  ``SCRIPTS`` holds hand-written ones with the trace
that they must leave; ``random_script`` makes as many more as wanted, on which all stores must agree.

Times in a trace are seconds since the script began.  A store that keeps its own time is driven at the same pace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from failover.settings import CircuitBreaker, RateLimit
from failover.store.base import (
    Ask,
    Charge,
    Gates,
    Lease,
    Now,
    Rejection,
    Settlement,
    Store,
    Ticket,
    Transition,
    wait_for,
)
from failover.types import RateHint
from tests.gates.world import MONO, NANO, WALL, Bench, charge, gates

Step = tuple[Any, ...]

TARGETS: dict[str, Gates] = {
    "plain": gates("plain", CircuitBreaker(failure_threshold=3)),
    "tight": gates("tight", CircuitBreaker(failure_threshold=2), RateLimit(requests=4, tokens=100)),
    "narrow": gates("narrow", CircuitBreaker(failure_threshold=2, probes=2), RateLimit(concurrency=2)),
    "rated": gates("rated", CircuitBreaker(failure_threshold=50, failure_rate=0.5, minimum_calls=4)),
    "other": gates("other", credential="other key", reenable_after=40.0),
}
BUDGETS: dict[str, Charge] = {
    "day": charge(1e-6),  # a thousand nano-dollars
    "hour": charge(5e-7, "hour", "target:plain"),
    "total": charge(2e-6, "total"),
    "alice": charge(3e-7, "day", "label:user=alice", "Europe/Berlin"),
}


@dataclass
class Player:
    """Plays steps on a store; each method is a step's name."""

    store: Store
    time: float = 0.0
    skew: float = 0.0
    leases: dict[str, Lease] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
    refusals: dict[str, Rejection] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def now(self) -> Now:
        return Now(MONO + self.time, WALL + self.time + self.skew)

    def after(self, seconds: float) -> None:
        self.time += seconds

    def set_back(self, seconds: float) -> None:
        """The wall clock is set back."""
        self.skew -= seconds

    def ask(self, name: str, target: str, budgets: Sequence[str] = (), **wants: Any) -> None:
        ticket = self.tickets.setdefault(name, self.store.ticket())
        charges = tuple(BUDGETS[budget] for budget in budgets)
        tokens = wants.get("tokens", (0, 0))
        ask = Ask(TARGETS[target], *tokens, wants.get("cost", 0), charges, wants.get("ttl", 100.0), ticket)
        answer = wait_for(self.store.admit(ask, self.now))
        if isinstance(answer, Lease):
            self.leases[name] = answer
            self.say(f"{name}: {'probe' if answer.probe else 'sent'} {' '.join(answer.period)}".rstrip())
            self.turned(target, answer.transition)
        else:
            self.refusals[name] = answer
            self.say(f"{name}: {answer.reason}{self.when(answer.retry_at)}{' in line' if answer.line else ''}")

    def first(self, name: str) -> None:
        self.with_lease(name, self.store.first_content)

    def end(self, name: str, succeeded: bool | None = True, **how: Any) -> None:
        how.setdefault("blamed", succeeded is False)
        if "hint" in how:
            how["hint"] = RateHint(**how["hint"])
        if how.get("until") is not None:
            how["until"] += WALL
        self.with_lease(name, lambda lease, now: self.store.settle(lease, Settlement(succeeded, **how), now))

    def drop(self, name: str, cost: int = 0) -> None:
        self.with_lease(name, lambda lease, now: self.store.abandon(lease, cost, now))

    def renew(self, name: str, seconds: float) -> None:
        self.with_lease(name, lambda lease, now: self.store.renew(lease, now.mono + seconds, now))

    def with_lease(self, name: str, do: Callable[[Lease, Now], Any]) -> None:
        if name in self.leases:
            lease = self.leases[name]
            self.turned(lease.ask.gates.target, wait_for(do(lease, self.now)))

    def turned(self, target: str, transition: Transition | None) -> None:
        if transition is not None:
            cause = f" ({transition.cause})" if transition.cause else ""
            self.say(f"{target}: {transition.old} -> {transition.new}{cause}")

    def line_up(self, name: str) -> None:
        refusal = self.refusals.get(name)
        if refusal is not None and refusal.line is not None:
            self.store.line_up(self.tickets[name], [refusal.line], self.now)

    def leave(self, name: str) -> None:
        if name in self.tickets:
            self.store.leave(self.tickets[name], self.now)

    def called(self, *names: str) -> None:
        """Who of these has been called."""
        self.say("called: " + (" ".join(name for name in names if self.tickets[name].woken) or "nobody"))

    def retry(self) -> None:
        self.say("retry" if wait_for(self.store.allow_retry(self.now)) else "no retry")

    def enable(self, target: str) -> None:
        self.turned(target, wait_for(self.store.enable(TARGETS[target], self.now)))

    def target(self, name: str) -> None:
        state = wait_for(self.store.snapshot([TARGETS[name]], [], self.now)).targets[0]
        detail = f" ({state.detail})" if state.detail else ""
        counts = f"{state.consecutive_failures} failures, {state.in_flight} in flight"
        self.say(f"{name} is {state.state}{self.when(state.until)}: {counts}{detail}")

    def budget(self, name: str) -> None:
        state = wait_for(self.store.snapshot([], [BUDGETS[name]], self.now)).budgets[0]
        self.say(f"{name}: {state.spent} spent, {state.reserved} reserved of {state.limit}")

    def say(self, line: str) -> None:
        self.lines.append(line)

    def when(self, moment: float | None) -> str:
        return "" if moment is None else f" until {moment - MONO:.1f}"


def trace(store: Store, script: Sequence[Step]) -> list[str]:
    """What a store decides and shows, step by step."""
    player = Player(store)
    for name, *arguments in script:
        named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(player, name)(*arguments, **named)
    return player.lines


# --------------------------------------------------------------- written by hand

SCRIPTS: dict[str, tuple[list[Step], list[str]]] = {
    "a circuit opens, is probed, and closes": (
        [
            *[step for name in "abc" for step in (("ask", name, "plain"), ("end", name, False))],
            ("target", "plain"),
            ("ask", "d", "plain"),
            ("after", 30.0),
            ("ask", "e", "plain"),
            ("ask", "f", "plain"),
            ("first", "e"),
            ("target", "plain"),
            ("end", "e", False),
            ("target", "plain"),
        ],
        [
            *["a: sent", "b: sent", "c: sent"],
            "plain: closed -> open (3 failures in a row)",
            "plain is open until 30.0: 0 failures, 0 in flight (3 failures in a row)",
            "d: circuit_open until 30.0",
            "e: probe",
            "plain: open -> half_open (3 failures in a row)",
            "f: circuit_open",
            "plain: half_open -> closed",
            "plain is closed: 0 failures, 1 in flight",
            "plain is closed: 0 failures, 0 in flight",
        ],
    ),
    "a failed probe opens it for longer, and late results change nothing": (
        [
            ("ask", "early", "narrow"),
            *[step for name in "ab" for step in (("ask", name, "narrow"), ("end", name, False))],
            ("after", 30.0),
            ("ask", "p", "narrow"),
            ("end", "early", True),
            ("target", "narrow"),
            ("end", "p", False),
            ("target", "narrow"),
            ("after", 45.0),
            ("ask", "q", "narrow"),
            ("ask", "r", "narrow"),
            ("ask", "s", "narrow"),
            ("drop", "q"),
            ("ask", "t", "narrow"),
            ("end", "r"),
            ("end", "t"),
            ("target", "narrow"),
        ],
        [
            *["early: sent", "a: sent", "b: sent"],
            "narrow: closed -> open (2 failures in a row)",
            "p: probe",
            "narrow: open -> half_open (2 failures in a row)",
            "narrow is half_open: 0 failures, 1 in flight (2 failures in a row)",
            "narrow: half_open -> open (a trial call failed)",
            "narrow is open until 75.0: 0 failures, 0 in flight (a trial call failed)",
            "q: probe",
            "narrow: open -> half_open (a trial call failed)",
            *["r: probe", "s: circuit_open", "t: probe"],
            "narrow: half_open -> closed",
            "narrow is closed: 0 failures, 0 in flight",
        ],
    ),
    "a rate of failures opens it": (
        [
            *[step for name in "abcd" for step in (("ask", name, "rated"), ("end", name, name in "ac"))],
            ("target", "rated"),
        ],
        [
            *["a: sent", "b: sent", "c: sent", "d: sent"],
            "rated: closed -> open (2 of 4 calls failed)",
            "rated is open until 30.0: 0 failures, 0 in flight (2 of 4 calls failed)",
        ],
    ),
    "requests and tokens in a sliding window": (
        [
            ("ask", "a", "tight", {"tokens": (30, 30)}),
            ("ask", "b", "tight", {"tokens": (30, 11)}),
            ("ask", "c", "tight", {"tokens": (100, 1)}),
            ("first", "a"),
            ("after", 10.0),
            ("end", "a", True, {"input_tokens": 30, "output_tokens": 20}),
            ("ask", "b", "tight", {"tokens": (30, 21)}),
            ("ask", "b", "tight", {"tokens": (30, 20)}),
            ("end", "b"),
            ("after", 59.0),
            ("ask", "d", "tight", {"tokens": (1, 0)}),
            ("after", 1.0),
            ("ask", "d", "tight", {"tokens": (100, 0)}),
        ],
        [
            "a: sent",
            "b: rate_limited in line",
            "c: over_limit",
            "b: rate_limited until 70.0 in line",
            "b: sent",
            "d: rate_limited until 70.0 in line",
            "d: sent",
        ],
    ),
    "a provider tightens what was set": (
        [
            ("ask", "a", "plain"),
            ("end", "a", True, {"hint": {"limit_requests": 3, "remaining_requests": 1, "reset_requests": 20.0}}),
            ("ask", "b", "plain"),
            ("ask", "c", "plain"),
            ("after", 20.0),
            ("ask", "c", "plain"),
            ("ask", "d", "plain"),
            ("end", "c"),
            ("end", "b", None, {"pause": 90.0, "slow_down": True}),
            ("after", 70.0),
            ("ask", "d", "plain"),
            ("after", 20.0),
            ("ask", "d", "plain"),
            ("ask", "e", "plain"),
        ],
        [
            *["a: sent", "b: sent", "c: rate_limited until 20.0 in line", "c: sent"],
            "d: rate_limited until 60.0 in line",
            "d: rate_limited until 110.0 in line",
            "d: sent",
            "e: rate_limited until 170.0 in line",
        ],
    ),
    "waiting is first come first served": (
        [
            *[("ask", name, "narrow") for name in "abcde"],
            ("line_up", "d"),
            ("line_up", "c"),
            ("called", "c", "d"),
            ("end", "a"),
            ("called", "c", "d"),
            ("ask", "e", "narrow"),
            ("ask", "c", "narrow"),
            ("called", "d"),
            ("ask", "d", "narrow"),
            ("line_up", "d"),
            ("drop", "b"),
            ("leave", "d"),
            ("ask", "e", "narrow"),
        ],
        [
            *["a: sent", "b: sent", *(f"{name}: concurrency in line" for name in "cde")],
            "called: nobody",
            "called: c",
            "e: concurrency in line",
            "c: sent",
            "called: d",
            "d: concurrency in line",
            "e: sent",
        ],
    ),
    "money is reserved, settled, abandoned, charged": (
        [
            ("ask", "a", "plain", ["day", "hour"], {"cost": 400}),
            ("ask", "b", "plain", ["day", "hour"], {"cost": 200}),
            ("ask", "c", "plain", ["day", "hour"], {"cost": 600}),
            ("budget", "hour"),
            ("end", "a", True, {"cost": 150}),
            ("end", "a", True, {"cost": 400}),
            ("drop", "a", 400),
            ("ask", "b", "plain", ["day", "hour"], {"cost": 200}),
            ("drop", "b", 50),
            ("ask", "c", "plain", ["day", "hour"], {"cost": 300, "ttl": 5.0}),
            ("after", 5.0),
            ("budget", "hour"),
            ("end", "c", True, {"cost": 700}),
            ("budget", "hour"),
            ("budget", "day"),
            ("ask", "d", "plain", ["day"], {"cost": 101}),
            ("ask", "d", "plain", ["day"], {"cost": 100}),
            ("ask", "e", "plain", ["hour"], {"cost": 0}),
        ],
        [
            "a: sent 2025-10-09 2025-10-09T08+0000",
            "b: budget_pending in line",
            "c: budget_spent",
            "hour: 0 spent, 400 reserved of 500",
            "b: sent 2025-10-09 2025-10-09T08+0000",
            "c: sent 2025-10-09 2025-10-09T08+0000",
            "hour: 500 spent, 0 reserved of 500",
            "hour: 900 spent, 0 reserved of 500",
            "day: 900 spent, 0 reserved of 1000",
            "d: budget_spent until 54400.0",
            "d: sent 2025-10-09",
            "e: sent 2025-10-09T08+0000",
        ],
    ),
    "a call is charged to the period it was reserved in": (
        [
            ("ask", "a", "plain", ["alice", "total"], {"cost": 300, "ttl": 1e6}),
            ("after", 47_200.0),
            ("budget", "alice"),
            ("ask", "b", "plain", ["alice", "total"], {"cost": 300}),
            ("end", "a", True, {"cost": 200}),
            ("set_back", 80_000.0),
            ("budget", "alice"),
            ("budget", "total"),
        ],
        [
            "a: sent 2025-10-09 total",
            "alice: 0 spent, 0 reserved of 300",
            "b: sent 2025-10-10 total",
            "alice: 0 spent, 300 reserved of 300",
            "total: 200 spent, 300 reserved of 2000",
        ],
    ),
    "a credential is switched off and on": (
        [
            ("ask", "a", "plain"),
            ("end", "a", None, {"disable": "credential", "detail": "auth"}),
            ("ask", "b", "tight"),
            ("ask", "c", "other"),
            ("end", "c", None, {"disable": "model", "until": 100.0}),
            ("ask", "d", "other"),
            ("after", 40.0),
            ("ask", "d", "other"),
            ("enable", "narrow"),
            ("ask", "b", "tight"),
        ],
        ["a: sent", "b: disabled", "c: sent", "d: disabled until 40.0", "d: sent", "b: sent"],
    ),
    "a lease that nobody gives back expires": (
        [
            ("ask", "a", "narrow", ["day"], {"cost": 10, "ttl": 5.0}),
            ("ask", "b", "narrow", ["day"], {"cost": 20, "ttl": 5.0}),
            ("renew", "b", 50.0),
            ("after", 5.0),
            ("target", "narrow"),
            ("budget", "day"),
            ("ask", "c", "narrow"),
            ("ask", "d", "narrow"),
        ],
        [
            *["a: sent 2025-10-09", "b: sent 2025-10-09"],
            "narrow is closed: 0 failures, 1 in flight",
            "day: 10 spent, 20 reserved of 1000",
            *["c: sent", "d: concurrency in line"],
        ],
    ),
    "retries are a share of the calls": (
        [
            *[("ask", str(number), "plain") for number in range(5)],
            *[("retry",)] * 12,
            ("after", 11.0),
            ("retry",),
        ],
        [*[f"{number}: sent" for number in range(5)], *["retry"] * 11, "no retry", "retry"],
    ),
}


# -------------------------------------------------------------- what is said


def refusals_are_sentences(make: Callable[[], Store]) -> None:
    """What each gate says when it says no."""
    b = Bench(gates(limits=RateLimit(concurrency=1), breaker=CircuitBreaker(1)), make)
    alice, hour = charge(1.0, scope="label:user=alice:day"), charge(2.0, "hour", "target:a:hour")
    whole = charge(0.5, "total", "all:total")
    assert b.refused(cost=NANO // 2 + 1, charges=[whole]).detail == (
        "the whole budget of all targets: this call may cost up to $0.500000001, and $0 of $0.5 is spent"
    )
    lease = b.take(cost=NANO, charges=[alice, hour])
    assert b.refused().detail == "1 of 1 calls in flight"
    assert b.refused(gates("b"), cost=NANO, charges=[alice]).detail == (
        "the day's budget of user=alice: $0 of $1 is spent, and $1 is reserved for calls in flight"
    )
    b.settle(lease, Settlement(False, blamed=True, cost=NANO // 4))
    assert b.refused(gates("b"), cost=2 * NANO, charges=[hour]).detail == (
        "the hour's budget of a: this call may cost up to $2, and $0.25 of $2 is spent"
    )
    assert b.refused().detail == "a failure; next trial in 30.0 s"


# ------------------------------------------------------------------- at random


def random_script(seed: int, length: int = 120) -> list[Step]:
    """Steps at random, biased towards what is interesting; ends by looking at everything."""
    random = Random(seed)
    names = [f"n{number}" for number in range(12)]
    script = [step for _ in range(length) for step in _some(random, names)]
    looks: list[Step] = [("target", name) for name in TARGETS] + [("budget", name) for name in BUDGETS]
    return script + looks


def _some(random: Random, names: list[str]) -> Iterator[Step]:
    """One step, or a few that belong together."""
    name, target = random.choice(names), random.choice(list(TARGETS))
    kind = random.choices(("ask", "end", "trip", "other"), (40, 25, 4, 31))[0]
    if kind == "ask":
        wants = {"tokens": random.choice(((0, 0), (10, 20), (60, 50))), "cost": random.choice((0, 40, 300))}
        budgets = random.sample(list(BUDGETS), random.randint(0, 3))
        yield ("ask", name, target, budgets, {**wants, "ttl": random.choice((1.0, 30.0, 400.0))})
        yield ("line_up", name)
    elif kind == "end":
        yield ("end", name, random.choice((True, False, False, None)), _how(random))
    elif kind == "trip":
        for _ in range(3):
            yield ("ask", name, target)
            yield ("end", name, False)
    else:
        yield random.choice(_single(random, name, target))


def _single(random: Random, name: str, target: str) -> list[Step]:
    """Steps to choose from; what stands here more often is chosen more often."""
    soon = ("after", random.choice((0.01, 1.0, 10.0, 31.0, 61.0, 700.0)))
    later = ("after", random.choice((3_600.0, 86_400.0)))
    drop, first = ("drop", name, random.choice((0, 40))), ("first", name)
    waiting: list[Step] = [("leave", name), ("renew", name, random.choice((2.0, 90.0))), ("retry",)]
    looking: list[Step] = [("enable", target), ("target", target), ("budget", random.choice(list(BUDGETS)))]
    back = ("set_back", random.choice((10.0, 100_000.0)))
    return [*[soon] * 8, *[drop] * 8, *[first] * 8, later, later, back, *waiting, *looking]


def _how(random: Random) -> dict[str, Any]:
    """How a call ended, besides its verdict."""
    how: dict[str, Any] = {"cost": random.choice((None, 0, 25, 300, 500)), "latency": random.choice((None, 0.5, 50.0))}
    how["output_tokens"] = random.choice((None, 0, 15, 80))
    match random.randint(0, 11):
        case 0:
            how["pause"] = random.choice((0.5, 20.0))
        case 1:
            how["slow_down"] = True
        case 2:
            how["disable"], how["until"] = random.choice(("credential", "model")), random.choice((None, 5_000.0))
        case 3:
            how["hint"] = {"limit_requests": 6, "remaining_requests": random.randint(0, 5), "reset_requests": 9.0}
        case 4:
            how["hint"] = {"limit_tokens": 90, "remaining_tokens": random.randint(0, 90), "reset_tokens": 30.0}
    return how
