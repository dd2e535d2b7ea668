"""A store that is lost: what goes on in memory, what is refused, what is told, and how it heals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from failover import (
    AllTargetsFailed,
    Budget,
    BudgetExceeded,
    CircuitBreaker,
    ConfigurationError,
    Failover,
    Price,
    Retry,
    StoreUnavailable,
    Target,
)
from failover.display.views import view
from failover.events import Event, StoreBack, StoreLost
from failover.store.base import Io, Lost, Now
from failover.types import Failure, Kind, Outcome
from tests.kit.distant import DistantStore
from tests.kit.virtual import ok
from tests.test_distant_stores import Scripted


class LosableStore(DistantStore):
    """Lost while ``down``; ``late`` makes the journeys take effect before they are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.late = False
        self.hangs: Callable[[], None] = lambda: None

    def far(self, name: str, do: Any, undo: Any = None) -> Io[Any]:
        def there() -> Any:
            if self.down:
                self.hangs()
            if self.down and not self.late:
                raise Lost("no route to it")
            answer = do()
            if self.down:
                raise Lost("no answer from it")
            return answer

        return super().far(name, there, undo)


class World:
    """One target at a price of a dollar a million tokens, a store that can be lost, and a clock set by hand."""

    def __init__(self, *plays: Outcome, **options: Any) -> None:
        self.store = LosableStore()
        self.heard: list[Event] = []
        self.time = 1_000.0
        self.target = Scripted(*plays)
        options = {"budget": Budget(1, default_max_tokens=50), "response_cache": False, **options}
        target = Target("a", attempter=self.target, price=options.pop("price", Price(1, 1)))
        self.guard = Failover([target], store=self.store, listeners=[self.heard.append], **options)  # type: ignore[arg-type]
        self.guard._core.now = lambda: Now(self.time, 1e9 + self.time)

    @property
    def told(self) -> list[Event]:
        return [event for event in self.heard if isinstance(event, StoreLost | StoreBack)]


def test_a_store_that_hangs_is_waited_for_once_and_not_by_every_target_and_call() -> None:
    world = World()
    world.store.down, waited = True, []

    def hang() -> None:
        waited.append(world.time)
        world.time += 5.0

    world.store.hangs = hang
    for _ in range(3):
        with pytest.raises(AllTargetsFailed) as caught:
            world.guard.complete("hi")
        assert caught.value.retry_at == 1.0
    assert waited == [1_000.0]


def test_a_call_under_a_budget_is_refused_while_the_store_is_lost_and_goes_on_when_it_is_back() -> None:
    world = World()
    world.store.down = True
    for _ in range(3):
        with pytest.raises(AllTargetsFailed) as caught:
            world.guard.complete("hi")
        assert isinstance(caught.value.exceptions[0], StoreUnavailable)
        assert "no route to it" in str(caught.value)
    assert [type(event) for event in world.told] == [StoreLost]
    world.store.down = False
    world.time += 1.0
    assert world.guard.complete("hi").content == "fine"
    assert [type(event) for event in world.told] == [StoreLost, StoreBack]
    assert world.told[1].seconds == 1.0  # type: ignore[attr-defined]


def test_a_lost_store_is_asked_once_a_second() -> None:
    world = World(budget=None)
    world.store.down = True
    for _ in range(10):
        world.guard.complete("hi")
    assert len(world.store.journeys) == 1
    world.time += 1.0
    for _ in range(10):
        world.guard.complete("hi")
    assert world.store.journeys == ["admit", "admit"]


def test_breakers_go_on_in_memory() -> None:
    world = World(Failure(Kind.SERVER_ERROR), budget=None, breaker=CircuitBreaker(2), retry=Retry(attempts=0))
    world.store.down = True
    for _ in range(4):
        with pytest.raises(AllTargetsFailed):
            world.guard.complete("hi")
    assert world.guard.status()[0].attempts == 2
    assert world.guard.status()[0].state == "open"


def test_what_costs_nothing_is_not_refused() -> None:
    world = World(price=Price.free())
    world.store.down = True
    assert world.guard.complete("hi").content == "fine"


def test_a_budget_can_be_kept_by_this_process_meanwhile() -> None:
    world = World(on_store_lost="local", budget=Budget(0.0003, default_max_tokens=50))
    world.store.down = True
    assert world.guard.complete("hi").content == "fine"
    assert world.guard.budget is not None
    assert world.guard.budget.spent > 0
    exhaust = map(world.guard.complete, ["hi"] * 100)
    with pytest.raises(BudgetExceeded, match="may cost up to"):
        list(exhaust)


def test_a_settlement_that_did_not_arrive_is_handed_in_when_the_store_is_back() -> None:
    world = World()
    settle = world.target.attempt

    def attempt(job: Any) -> Outcome:
        world.store.down = True
        return settle(job)

    world.target.attempt = attempt  # type: ignore[method-assign]
    assert world.guard.complete("hi").content == "fine"
    assert len(world.store.near._state.leases) == 1
    world.target.attempt = settle  # type: ignore[method-assign]
    world.store.down = False
    world.time += 1.0
    world.guard.complete("hi")
    assert not world.store.near._state.leases
    assert world.guard.budget is not None
    assert world.guard.budget.reserved == 0


def test_an_admission_of_which_nobody_knows_is_taken_back_when_the_store_is_back() -> None:
    world = World()
    world.store.down = world.store.late = True
    with pytest.raises(AllTargetsFailed):
        world.guard.complete("hi")
    assert len(world.store.near._state.leases) == 1
    world.store.down = False
    world.time += 1.0
    world.guard.complete("hi")
    assert not world.store.near._state.leases


def test_a_debt_that_cannot_be_paid_stays_owed() -> None:
    world = World()
    shelter: Any = world.guard._core.store

    def fail() -> None:
        raise Lost("not yet")

    shelter._owed.append(lambda: world.store.far("owed", fail))
    world.guard.complete("hi")
    assert world.store.journeys == ["admit", "owed"]
    assert len(shelter._owed) == 2  # it, and the settlement that came after it


def test_what_was_spent_is_not_made_up_while_the_store_is_lost() -> None:
    world = World()
    world.store.down = True
    with pytest.raises(StoreUnavailable):
        _ = world.guard.budget
    assert world.guard.status()[0].state == "closed"
    assert "closed" in view(world.guard)[0]


async def test_the_async_doors_go_on_as_well() -> None:
    world = World(budget=None)
    world.store.down = True
    assert (await world.guard.acomplete("hi")).content == "fine"
    world.store.down = False
    world.time += 1.0
    assert (await world.guard.acomplete("hi")).content == "fine"
    assert [type(event) for event in world.told] == [StoreLost, StoreBack]


def test_the_option_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="on_store_lost = 'open'"):
        Failover([Target("a", attempter=Scripted())], on_store_lost="open")  # type: ignore[arg-type]


def test_a_plain_answer_is_what_it_was_before() -> None:
    world = World(ok("same"))
    assert world.guard.complete("hi").content == "same"
