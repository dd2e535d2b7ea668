"""Money taken in advance: never more than the limit, few journeys, and a lost process loses no more than its slices."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from random import Random
from typing import Any

import pytest

from failover import Budget, ConfigurationError, Failover, Price, SlicedStore, SQLiteStore, Target
from failover.store.base import Ask, Lease, Now, Reason, Settlement, wait_for
from failover.store.memory import MemoryStore
from failover.store.sliced import Slice
from tests.gates.world import MONO, NANO, WALL, AtOnce, Bench, charge, gates, half
from tests.kit.distant import DistantStore
from tests.test_distant_stores import Scripted

LIMIT = 10_000
TEN = charge(LIMIT / NANO)
SLICE = 1_000


class NeverTimer:
    """Nothing times out by itself."""

    def __init__(self, *arguments: Any) -> None:
        self.daemon = False

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failover.store.sliced.Timer", NeverTimer)


def sliced(far: Any, lasts: float = 1e6) -> Any:
    return AtOnce(SlicedStore(far, SLICE / NANO, lasts=lasts, random=half))


def now(seconds: float = 0.0) -> Now:
    return Now(MONO + seconds, WALL + seconds)


def ask(store: Any, cost: int, at: Now, ttl: float = 50.0) -> Any:
    return store.admit(Ask(gates(), 0, 0, cost, (TEN,), ttl, store.ticket()), at)


def money(far: Any, at: Now) -> Any:
    return wait_for(far.snapshot([], [TEN], at)).budgets[0]


def test_calls_are_admitted_from_the_slice_without_a_journey() -> None:
    far = DistantStore()
    store = sliced(far)
    for _ in range(20):
        store.settle(ask(store, 50, now()), Settlement(True, cost=10), now())
    assert far.journeys == ["admit"]
    assert money(far, now()).reserved == SLICE
    store.close()
    assert (money(far, now()).spent, money(far, now()).reserved) == (200, 0)


def test_a_slice_that_is_too_small_is_replaced_and_given_back_when_its_last_call_ends() -> None:
    far = MemoryStore(half)
    store = sliced(far)
    early = ask(store, 600, now())
    ask(store, 500, now())
    assert money(far, now()).reserved == 2 * SLICE
    store.settle(early, Settlement(True, cost=100), now())
    assert (money(far, now()).spent, money(far, now()).reserved) == (100, SLICE)


def test_when_no_whole_slice_is_left_just_what_is_needed_is_taken() -> None:
    far = MemoryStore(half)
    stores = [sliced(far) for _ in range(2)]
    leases = [ask(stores[0], 950, now()) for _ in range(9)]
    assert isinstance(ask(stores[1], 400, now()), Lease)
    assert isinstance(ask(stores[1], 1_000, now()), object)
    refused = ask(stores[0], 900, now())
    assert refused.reason is Reason.BUDGET_PENDING
    assert refused.line is not None
    for lease in leases:
        stores[0].settle(lease, Settlement(True, cost=950), now())
    assert ask(stores[0], 2_000, now()).reason is Reason.BUDGET_SPENT


def test_what_costs_nothing_takes_no_slice() -> None:
    far = DistantStore()
    assert isinstance(ask(sliced(far), 0, now()), Lease)
    assert not far.journeys


def test_a_slice_ends_with_its_period() -> None:
    far = MemoryStore(half)
    store = sliced(far)
    store.settle(ask(store, 100, now()), Settlement(True, cost=40), now())
    tomorrow = now(86_400.0)
    assert isinstance(ask(store, 100, tomorrow), Lease)
    assert (money(far, tomorrow).spent, money(far, tomorrow).reserved) == (0, SLICE)


def test_what_is_left_is_given_back_when_the_slice_has_lasted() -> None:
    far = MemoryStore(half)
    store = sliced(far)
    store.settle(ask(store, 100, now()), Settlement(True, cost=40), now())
    ((at, found),) = store.store._slices.items()
    assert isinstance(found, Slice)
    store.store._time_out(at)
    assert (money(far, now()).spent, money(far, now()).reserved) == (40, 0)


@pytest.mark.parametrize("seed", range(40))
def test_together_they_never_spend_more_and_the_lost_lose_no_more_than_their_slices(seed: int) -> None:
    random = Random(seed)
    far = MemoryStore(half)
    stores, flying, seconds = [sliced(far, 100.0) for _ in range(4)], [], 0.0
    billed = lost = 0
    for _ in range(400):
        seconds += random.choice((0.0, 0.5))
        deed = random.random()
        if deed < 0.6:
            store = random.choice(stores)
            cost = random.randint(1, 400)
            lease = ask(store, cost, now(seconds))
            if isinstance(lease, Lease):
                flying.append((store, lease, random.randint(0, cost)))
        elif deed < 0.97 and flying:
            store, lease, cost = flying.pop(random.randrange(len(flying)))
            billed += cost
            store.settle(lease, Settlement(True, cost=cost), now(seconds))
        elif deed >= 0.97:
            dead = stores.pop(random.randrange(4))
            closing = {each for drawn in dead.store._drawn.values() for each in drawn}
            lost += sum(each.room - each.used for each in closing | set(dead.store._slices.values()))
            billed += sum(cost for store, _, cost in flying if store is dead)
            flying = [each for each in flying if each[0] is not dead]
            stores.append(sliced(far, 100.0))
        seen = money(far, now(seconds))
        assert seen.spent + seen.reserved <= LIMIT
        assert billed <= seen.spent + seen.reserved
    for store, lease, cost in flying:
        billed += cost
        store.settle(lease, Settlement(True, cost=cost), now(seconds))
    for store in stores:
        store.close()
    end = money(far, now(seconds + 200.0))
    assert end.reserved == 0
    assert billed <= end.spent <= min(LIMIT, billed + lost)


def test_a_forked_process_has_none_of_its_parents_money(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork")
    store = sliced(SQLiteStore(tmp_path / "gates.db"))
    ask(store, 100, now())
    child = os.fork()
    if not child:
        try:
            assert not store.store._slices
            assert isinstance(ask(store, 100, now()), Lease)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert money(AtOnce(store.store._far), now()).reserved == 2 * SLICE


async def test_every_door_draws_from_slices(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gates.db"
    target = Target("a", attempter=Scripted(), price=Price(1, 1))
    guard = Failover([target], budget=Budget(1, default_max_tokens=50), store=SlicedStore(url, 0.01))
    for number in range(3):
        await guard.acomplete(f"hi {number}")
        guard.complete(f"ho {number}")
        assert [chunk async for chunk in guard.astream(f"he {number}")]
    assert guard.budget is not None
    assert float(guard.budget.reserved + guard.budget.spent) == pytest.approx(0.01)
    twin = pickle.loads(pickle.dumps(SlicedStore(url, 0.01)))
    await guard._core.store.aclose()
    spent = Bench(make=lambda: twin).money(guard._charges[0])
    assert 0 < spent.spent < 0.01 * NANO
    assert spent.reserved == 0


@pytest.mark.parametrize("wrong", [{"slice": 0}, {"slice": 0.1, "lasts": 0}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="SlicedStore: "):
        SlicedStore("memory", **wrong)
