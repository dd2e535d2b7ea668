"""A bench to try the gates on: one store, a clock that is set by hand, and short ways to ask and to end a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from failover.settings import Budget, CircuitBreaker, RateLimit, Retry
from failover.store.base import (
    Ask,
    BudgetState,
    Charge,
    Gates,
    Lease,
    Now,
    Rejection,
    Settlement,
    Store,
    TargetState,
    Ticket,
    wait_for,
)
from failover.store.memory import MemoryStore

WALL = 1_760_000_000.0  # 9 October 2025, 08:53:20 UTC
MONO = 1_000.0
NANO = 1_000_000_000

OK = Settlement(True)
BLAMED = Settlement(False, blamed=True)
NOBODYS = Settlement(None)


def half() -> float:
    return 0.5


def gates(
    target: str = "a",
    breaker: CircuitBreaker | None = None,
    limits: RateLimit | None = None,
    credential: str = "key",
    model: str = "m",
    reenable_after: float | None = None,
) -> Gates:
    return Gates(target, credential, model, breaker or CircuitBreaker(), limits or RateLimit(), reenable_after)


def charge(dollars: float, per: Any = "day", scope: str = "all", timezone: str | None = "UTC") -> Charge:
    return Charge(scope, Budget(dollars, per=per, timezone=timezone))


def memory() -> MemoryStore:
    return MemoryStore(half, Retry())


class AtOnce:
    """Any store, answering at once."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        return lambda *args: wait_for(method(*args))


class Bench:
    """A store and a clock.  ``here`` holds the gates asked when no others are named."""

    def __init__(self, here: Gates | None = None, make: Callable[[], Store] = memory) -> None:
        self.store = make()
        self.here = here or gates()
        self.mono = MONO
        self.wall = WALL

    @property
    def now(self) -> Now:
        return Now(self.mono, self.wall)

    def later(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds

    def ticket(self) -> Ticket:
        return self.store.ticket()

    def ask(
        self,
        where: Gates | None = None,
        *,
        tokens: tuple[int, int] = (0, 0),
        cost: int = 0,
        charges: Sequence[Charge] = (),
        ttl: float = 600.0,
        ticket: Ticket | None = None,
        patience: float = 60.0,
    ) -> Lease | Rejection:
        stands = ticket or self.store.ticket()
        ask = Ask(where or self.here, *tokens, cost, tuple(charges), ttl, stands, patience=patience)
        return wait_for(self.store.admit(ask, self.now))

    def take(self, where: Gates | None = None, **wants: Any) -> Lease:
        answer = self.ask(where, **wants)
        assert isinstance(answer, Lease), answer
        return answer

    def refused(self, where: Gates | None = None, **wants: Any) -> Rejection:
        answer = self.ask(where, **wants)
        assert isinstance(answer, Rejection), answer
        return answer

    def answered(self, lease: Lease) -> None:
        wait_for(self.store.first_content(lease, self.now))

    def settle(self, lease: Lease, result: Settlement = OK) -> None:
        wait_for(self.store.settle(lease, result, self.now))

    def abandon(self, lease: Lease, cost: int = 0) -> None:
        wait_for(self.store.abandon(lease, cost, self.now))

    def run(self, result: Settlement = OK, where: Gates | None = None, **wants: Any) -> None:
        """A whole call, from beginning to end at once."""
        self.settle(self.take(where, **wants), result)

    def trip(self, where: Gates | None = None) -> None:
        """Open the circuit by failures in a row."""
        for _ in range((where or self.here).breaker.failure_threshold):
            self.run(BLAMED, where)

    def line_up(self, ticket: Ticket, *rejections: Rejection) -> None:
        lines = [rejection.line for rejection in rejections]
        assert None not in lines
        self.store.line_up(ticket, [line for line in lines if line is not None], self.now)

    def leave(self, ticket: Ticket) -> None:
        self.store.leave(ticket, self.now)

    def state(self, where: Gates | None = None) -> TargetState:
        return wait_for(self.store.snapshot([where or self.here], [], self.now)).targets[0]

    def money(self, watched: Charge) -> BudgetState:
        return wait_for(self.store.snapshot([], [watched], self.now)).budgets[0]
