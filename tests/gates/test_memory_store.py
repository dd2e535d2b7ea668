"""The store in memory: give-backs in any order, switching off and on, many threads and loops at once, fork."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from failover.errors import ConfigurationError
from failover.settings import CircuitBreaker, RateLimit
from failover.store.base import Lease, Reason, Rejection, Settlement
from failover.store.state import MOST_LAPSED, State
from failover.types import RateHint
from tests.gates.world import BLAMED, NANO, OK, WALL, Bench, charge, gates, memory

DOLLAR = charge(1.0)
FULL = gates("a", CircuitBreaker(failure_threshold=3), RateLimit(requests=50, tokens=5_000, concurrency=5))


# ----------------------------------------------------------------- give-backs


def test_a_lease_is_given_back_exactly_once_in_whatever_order_its_ends_come() -> None:
    ends: list[Callable[[Bench, Lease], None]] = [
        lambda b, lease: b.settle(lease, Settlement(True, cost=100)),
        lambda b, lease: b.abandon(lease, 100),
        lambda b, lease: b.settle(lease, BLAMED),
        lambda b, lease: b.answered(lease),
        lambda b, lease: b.store.renew(lease, b.mono + 1e6, b.now),
    ]
    for order in permutations(ends):
        b = Bench(FULL)
        lease = b.take(tokens=(10, 10), cost=500, charges=[DOLLAR])
        for end in order:
            end(b, lease)
        money, target = b.money(DOLLAR), b.state()
        assert money.reserved == 0
        assert target.in_flight == 0
        assert money.spent in (100, 500)
        for end in order:
            end(b, lease)
        assert (b.money(DOLLAR), b.state()) == (money, target)


def test_refusal_by_one_gate_takes_nothing_in_the_others() -> None:
    b = Bench(FULL)
    b.run(Settlement(True, cost=NANO), cost=NANO, charges=[DOLLAR])
    b.refused(cost=1, charges=[DOLLAR])
    assert b.state().in_flight == 0
    for _ in range(5):
        b.take()
    b.refused(cost=0)
    assert b.money(DOLLAR).reserved == 0


def test_a_refusal_takes_no_probes_place() -> None:
    b = Bench(gates("a", CircuitBreaker(failure_threshold=1), RateLimit(requests=2)))
    b.run()
    b.trip()
    b.later(30.0)
    assert b.refused().reason is Reason.RATE_LIMITED
    b.later(30.0)
    assert b.take().probe


def test_a_lease_says_what_was_asked_and_until_when() -> None:
    b = Bench(FULL)
    lease = b.take(cost=5, charges=[DOLLAR], ttl=20.0)
    assert lease.expires == b.mono + 20.0
    assert lease.admitted == b.now
    assert lease.ask.cost == 5
    assert lease.period == ("2025-10-09",)
    assert not lease.probe


def test_leases_have_names_of_their_own() -> None:
    b = Bench()
    assert len({b.take().id for _ in range(100)}) == 100


def test_a_late_answer_tells_what_the_target_said_but_moves_no_breaker() -> None:
    b = Bench(gates("a", CircuitBreaker(failure_threshold=1)))
    lease = b.take(ttl=5.0)
    b.later(6.0)
    b.settle(lease, Settlement(False, blamed=True, pause=9.0))
    assert b.state().state == "closed"
    assert b.refused().retry_at == b.mono + 9.0


def test_expired_leases_are_remembered_within_bounds() -> None:
    b = Bench()
    for _ in range(MOST_LAPSED + 500):
        b.take(ttl=1.0)
    b.later(1.0)
    b.run()
    assert len(b.store._state.lapsed) == MOST_LAPSED  # type: ignore[attr-defined]


def test_a_clock_that_runs_backwards_counts_as_standing_still() -> None:
    b = Bench(FULL)
    b.take(ttl=10.0)
    b.later(10.0)
    assert b.state().in_flight == 0
    b.later(-10.0)
    lease = b.take(ttl=10.0)
    assert lease.expires == b.mono + 20.0


# ------------------------------------------------------------- switched off

KEYED = gates("a", model="m1")
SAME_KEY = gates("b", model="m2")
OTHER_KEY = gates("c", credential="other")


def off(scope: Any, until: float | None = None) -> Settlement:
    return Settlement(None, disable=scope, until=until, detail="auth: invalid key")


def test_a_refused_credential_is_off_for_all_its_targets_until_switched_on_by_hand() -> None:
    b = Bench()
    b.run(off("credential"), KEYED)
    for where in (KEYED, SAME_KEY):
        refusal = b.refused(where)
        assert refusal.reason is Reason.DISABLED
        assert refusal.detail == "auth: invalid key"
        assert (refusal.retry_at, refusal.line) == (None, None)
        assert b.state(where).state == "disabled"
    b.take(OTHER_KEY)
    b.later(1e7)
    b.refused(KEYED)
    b.store.enable(SAME_KEY, b.now)
    b.take(KEYED)


def test_a_refused_model_is_off_for_its_credential_only() -> None:
    b = Bench()
    b.run(off("model"), KEYED)
    b.refused(KEYED)
    b.take(SAME_KEY)
    b.take(gates("d", credential="other", model="m1"))
    b.store.enable(KEYED, b.now)
    b.take(KEYED)


def test_it_comes_on_again_at_the_moment_the_provider_stated() -> None:
    b = Bench()
    b.run(off("credential", WALL + 500.0), KEYED)
    assert b.refused(KEYED).retry_at == b.mono + 500.0
    assert b.state(KEYED).until == b.mono + 500.0
    b.later(499.0)
    b.refused(KEYED)
    b.later(1.0)
    b.take(KEYED)
    assert b.state(KEYED).state == "closed"


def test_it_is_tried_again_after_the_interval_that_the_user_set() -> None:
    b, where = Bench(), gates("a", reenable_after=60.0)
    b.run(off("credential"), where)
    assert b.refused(where).retry_at == b.mono + 60.0
    b.later(60.0)
    b.run(off("credential"), where)
    assert b.refused(where).retry_at == b.mono + 60.0


def test_the_users_interval_also_shortens_what_the_provider_stated() -> None:
    b, where = Bench(), gates("a", reenable_after=60.0)
    b.run(off("credential", WALL + 1e6), where)
    assert b.refused(where).retry_at == b.mono + 60.0


def test_of_two_findings_the_longer_one_holds() -> None:
    b = Bench()
    leases = [b.take(KEYED) for _ in range(4)]
    for lease, until in zip(leases, (WALL + 50.0, WALL + 10.0, None, WALL + 99.0), strict=True):
        b.settle(lease, off("credential", until))
    assert b.refused(KEYED).retry_at is None


def test_a_clock_that_is_set_back_switches_nothing_off_again() -> None:
    b = Bench()
    b.run(off("credential", WALL + 50.0), KEYED)
    b.later(50.0)
    b.run(OK, KEYED)
    b.wall -= 30.0
    b.take(KEYED)


def test_targets_without_a_key_are_off_each_for_itself() -> None:
    b = Bench()
    one, two = gates("one", credential=""), gates("two", credential="")
    b.run(off("credential"), one)
    b.refused(one)
    b.take(two)


def test_being_switched_off_touches_no_breaker() -> None:
    b = Bench(gates("a", CircuitBreaker(failure_threshold=1), model="m1"))
    b.run(off("credential"))
    b.store.enable(b.here, b.now)
    assert b.state().state == "closed"
    assert b.state().consecutive_failures == 0


# ---------------------------------------------------------------- looking in


def test_a_snapshot_shows_targets_and_budgets() -> None:
    b = Bench(FULL)
    b.take(cost=5, charges=[DOLLAR])
    for _ in range(2):
        b.run(BLAMED)
    for _ in range(4):
        b.take()
    ticket = b.ticket()
    b.line_up(ticket, b.refused(ticket=ticket))
    state, money = b.state(), b.money(DOLLAR)
    assert (state.target, state.state, state.consecutive_failures) == ("a", "closed", 2)
    assert (state.in_flight, state.waiting, state.detail) == (5, 1, "")
    assert (money.scope, money.limit, money.spent, money.reserved) == ("all", NANO, 0, 5)
    assert money.resets_at == 1_760_054_400.0


def test_what_was_never_asked_is_shown_as_idle() -> None:
    b = Bench()
    assert b.state().state == "closed"
    assert b.money(DOLLAR).left == NANO


def plain(value: Any) -> Any:
    """Checks that a state is made of what JSON knows, and nothing else."""
    return json.loads(json.dumps(dataclasses.asdict(value), allow_nan=False))


def test_the_whole_state_is_plain_data() -> None:
    b = Bench(FULL)
    b.run(Settlement(True, cost=5, hint=RateHint(9, 8, 7.0, 6, 5, 4.0)), cost=9, charges=[DOLLAR])
    b.run(Settlement(None, slow_down=True, disable="model", until=WALL + 1.0))
    b.take(SAME_KEY, cost=9, charges=[DOLLAR], ttl=1.0)
    b.later(2.0)
    b.trip(OTHER_KEY)
    b.later(30.0)
    b.take(OTHER_KEY)
    state: State = b.store._state  # type: ignore[attr-defined]
    kept = plain(state)
    assert set(kept) == {field.name for field in dataclasses.fields(State)}
    assert kept["desks"]["c"]["breaker"]["probes"] == [{"lease": "9", "due": b.mono + 60.0}]


# ------------------------------------------------------------ threads and loops


def in_threads(number: int, work: Callable[[int], None]) -> None:
    """Run ``work`` in so many threads that all begin at once."""
    start, errors = threading.Barrier(number), []

    def run(index: int) -> None:
        start.wait()
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
    finally:
        sys.setswitchinterval(interval)
    assert not errors, errors[0]


def test_a_thousand_callers_in_32_threads_send_exactly_one_probe() -> None:
    b = Bench(gates("a", CircuitBreaker(failure_threshold=1)))
    b.trip()
    b.later(30.0)
    taken: list[Lease] = []

    def callers(_: int) -> None:
        for _ in range(32):
            answer = b.ask()
            if isinstance(answer, Lease):
                taken.append(answer)
            else:
                assert answer.reason is Reason.CIRCUIT_OPEN

    in_threads(32, callers)
    assert len(taken) == 1
    assert taken[0].probe


def test_no_money_is_lost_or_made_between_threads() -> None:
    b, watched = Bench(), charge(0.01)
    spent: list[int] = []

    def callers(index: int) -> None:
        for number in range(60):
            answer = b.ask(cost=90_000, charges=[watched])
            if isinstance(answer, Rejection):
                continue
            money = b.money(watched)
            assert money.spent + money.reserved <= money.limit
            cost = (index * number) % 90_000
            spent.append(cost)
            b.settle(answer, Settlement(True, cost=cost))
            b.abandon(answer, 90_000)

    in_threads(32, callers)
    assert b.money(watched).spent == sum(spent)
    assert b.money(watched).reserved == 0


def test_one_at_a_time_over_many_threads_in_order_of_arrival() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=1)))
    served: list[int] = []
    inside: list[int] = []

    def caller(_: int) -> None:
        for _ in range(10):
            ticket, called = b.ticket(), threading.Event()
            ticket.wake = called.set
            while isinstance(answer := b.ask(ticket=ticket), Rejection):
                b.line_up(ticket, answer)
                assert called.wait(30.0), "a call was lost"
                called.clear()
            inside.append(ticket.number)
            assert len(inside) == 1
            served.append(ticket.number)
            inside.remove(ticket.number)
            b.settle(answer)

    in_threads(32, caller)
    assert sorted(served) == list(range(1, 321))
    assert b.state().waiting == b.state().in_flight == 0


async def in_line(b: Bench, served: list[int]) -> None:
    """A caller on an event loop: waits for its turn, holds the place for a moment, gives it back."""
    ticket, loop, called = b.ticket(), asyncio.get_running_loop(), asyncio.Event()
    ticket.wake = lambda: loop.call_soon_threadsafe(called.set)
    while isinstance(answer := b.ask(ticket=ticket), Rejection):
        called.clear()
        b.line_up(ticket, answer)
        if not ticket.woken:
            await asyncio.wait_for(called.wait(), 10.0)
    served.append(ticket.number)
    await asyncio.sleep(0)
    b.settle(answer)


def test_several_event_loops_and_threads_share_one_line() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=2)))
    served: list[int] = []

    def loop(_: int) -> None:
        async def calls() -> None:
            await asyncio.gather(*(in_line(b, served) for _ in range(50)))

        asyncio.run(calls())

    in_threads(4, loop)
    assert sorted(served) == list(range(1, 201))
    assert b.state().waiting == b.state().in_flight == 0


def test_with_everybody_in_line_the_order_of_service_is_the_order_of_arrival() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=1)))
    first, served = b.take(), list[int]()

    async def calls() -> None:
        waiting = [asyncio.ensure_future(in_line(b, served)) for _ in range(100)]
        await asyncio.sleep(0)
        b.settle(first)
        await asyncio.gather(*waiting)

    in_threads(1, lambda _: asyncio.run(calls()))
    assert served == list(range(2, 102))


def test_a_cancelled_waiter_leaves_no_gap() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=1)))
    first, served = b.take(), list[int]()

    async def patient() -> None:
        ticket = b.ticket()
        try:
            b.line_up(ticket, b.refused(ticket=ticket))
            await asyncio.sleep(30.0)
        finally:
            b.leave(ticket)

    async def calls() -> None:
        leaving = asyncio.ensure_future(patient())
        staying = asyncio.ensure_future(in_line(b, served))
        await asyncio.sleep(0)
        leaving.cancel()
        b.settle(first)
        await asyncio.wait_for(staying, 10.0)

    asyncio.run(calls())
    assert len(served) == 1


# -------------------------------------------------- inside the store already


class Abandoned:
    """Garbage in a cycle, whose finaliser gives a lease back, as that of a stream nobody reads on does."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end
        self.cycle = self

    def __del__(self) -> None:
        self.end()


def test_a_garbage_collection_inside_the_store_gives_back_afterwards() -> None:
    b = Bench(FULL)
    step = b.store._settle  # type: ignore[attr-defined]
    inner, outer = b.take(), b.take()

    def collecting(*args: Any) -> None:
        gc.collect()
        assert b.store._put_off, "it has to wait until this step is done"  # type: ignore[attr-defined]
        step(*args)

    Abandoned(lambda: b.abandon(inner))
    b.store._settle = collecting  # type: ignore[attr-defined]
    gc.disable()
    try:
        b.settle(outer)
    finally:
        gc.enable()
    assert b.state().in_flight == 0


def test_a_call_from_inside_the_store_is_refused_instead_of_spoiling_it() -> None:
    b = Bench(FULL)
    answers: list[Lease | Rejection] = []
    step = b.store._settle  # type: ignore[attr-defined]

    def interrupted(*args: Any) -> None:
        answers.append(b.ask())
        assert b.store.allow_retry(b.now)
        assert b.state().in_flight == 1
        step(*args)

    b.store._settle = interrupted  # type: ignore[attr-defined]
    b.settle(b.take())
    assert isinstance(answers[0], Rejection)
    assert answers[0].reason is Reason.STORE_LOST


# ----------------------------------------------------------------------- fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_the_child_begins_afresh_and_a_budget_is_refused() -> None:
    b = Bench(FULL)
    leases = [b.take(cost=5, charges=[DOLLAR]) for _ in range(5)]
    b.store._lock.acquire()  # type: ignore[attr-defined]  # another thread may be inside at that moment
    child = os.fork()
    if child == 0:
        os._exit(_child(b, leases))
    b.store._lock.release()  # type: ignore[attr-defined]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b.state().in_flight == 5
    assert b.money(DOLLAR).reserved == 25


def _child(b: Bench, leases: list[Lease]) -> int:
    """0 if all is as it should be."""
    try:
        b.settle(leases[0], OK)  # its parent's: nothing happens
        b.settle(b.take())
        assert b.state().in_flight == 0
        with pytest.raises(ConfigurationError, match="sqlite"):
            b.ask(cost=5, charges=[DOLLAR])
        return 0
    except BaseException:
        return 1


# ------------------------------------------------------------------- what it costs


def calls_of(work: Callable[[], None]) -> int:
    """Python functions called."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count - 1


def test_without_limits_a_pair_costs_few_calls() -> None:
    b = Bench()
    ticket = b.ticket()
    ask = b.take(ticket=ticket).ask
    b.run()
    now, store = b.now, b.store

    def pair() -> None:
        answer = store.admit(ask, now)
        assert isinstance(answer, Lease)
        store.settle(answer, OK, now)

    assert calls_of(pair) <= 25
    assert memory().ticket().number == 1
