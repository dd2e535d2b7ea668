"""The Redis store when things go wrong: a server that dies, hangs, forgets, is full or read-only; killed workers."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event as Gate

import pytest
import redis

from failover import ConfigurationError
from failover.settings import RateLimit, Retry
from failover.store.base import Ask, Charge, Lease, Lost, Now, Settlement, wait_for
from failover.store.redis import RedisStore, open_url
from tests.gates.world import Bench, charge, gates, half
from tests.kit.redis_server import Server, running

MONEY = charge(1e-6)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture
def bench(server: Server) -> Iterator[Bench]:
    store = RedisStore(server.url, random=half, timeout=0.2, by_hand=True)
    yield Bench(gates(limits=RateLimit(concurrency=5)), lambda: store)
    store.close()


# ------------------------------------------------------------------ the server


def test_a_server_that_is_gone_is_lost_and_found_again(server: Server, bench: Bench) -> None:
    bench.run()
    server.kill()
    with pytest.raises(Lost, match=f"127.0.0.1:{server.port}"):
        bench.take()
    server.start()
    with pytest.raises(Lost, match="forgotten"):
        bench.take()
    bench.take()


def test_a_server_that_hangs_is_lost_within_its_timeout(server: Server, bench: Bench) -> None:
    lease = bench.take(charges=[MONEY], cost=5)
    server.hang()
    with pytest.raises(Lost):
        bench.take()
    server.wake()
    bench.settle(lease)
    assert bench.money(MONEY).spent == 5


def test_an_emptied_server_is_told_what_was_spent_and_reserved(server: Server, bench: Bench) -> None:
    bench.run(charges=[MONEY], cost=300)
    lease = bench.take(charges=[MONEY], cost=200)
    server.client().flushall()
    with pytest.raises(Lost, match="forgotten"):
        bench.take(charges=[MONEY], cost=600)
    assert bench.refused(charges=[MONEY], cost=501).reason == "budget_spent"
    bench.settle(lease)
    assert bench.money(MONEY).spent == 500


def test_of_several_who_knew_the_largest_figure_counts(server: Server, bench: Bench) -> None:
    bench.run(charges=[MONEY], cost=300)
    other = Bench(make=lambda: RedisStore(server.url, random=half, by_hand=True))
    other.run(charges=[MONEY], cost=400)
    server.client().flushall()
    for each in (bench, other):
        with pytest.raises(Lost):
            each.state()
        each.state()
    assert bench.money(MONEY).spent == other.money(MONEY).spent == 700


def test_money_that_a_server_has_evicted_is_missed(server: Server, bench: Bench) -> None:
    bench.run(charges=[MONEY], cost=300)
    other = Bench(make=lambda: RedisStore(server.url, random=half, by_hand=True))
    other.run(charges=[MONEY], cost=400)
    (page,) = server.client().keys("*page:*")
    server.client().delete(page)
    for each in (bench, other):
        with pytest.raises(Lost, match="forgotten"):
            each.take(charges=[MONEY], cost=1)
        assert each.money(MONEY).spent >= 300
    assert bench.refused(charges=[MONEY], cost=301).reason == "budget_spent"
    assert bench.money(MONEY).spent == 700


def test_a_server_that_wrote_everything_down_goes_on_where_it_was() -> None:
    with running("--appendonly", "yes", "--appendfsync", "always") as server:
        bench = Bench(make=lambda: RedisStore(server.url, random=half, by_hand=True))
        lease = bench.take(charges=[MONEY], cost=300)
        server.kill()
        server.start()
        bench.settle(lease)
        assert bench.money(MONEY).spent == 300


def test_a_full_server_takes_no_new_call_but_what_is_given_back(server: Server, bench: Bench) -> None:
    lease = bench.take(charges=[MONEY], cost=300)
    server.client().config_set("maxmemory", 1)
    with pytest.raises(Lost, match="memory"):
        bench.take(charges=[MONEY], cost=300)
    bench.settle(lease)
    server.client().config_set("maxmemory", 0)
    assert (bench.money(MONEY).spent, bench.state().in_flight) == (300, 0)


def test_a_read_only_replica_is_lost_and_unharmed(server: Server, bench: Bench) -> None:
    bench.run(charges=[MONEY], cost=300)
    server.client().replicaof("127.0.0.1", "1")
    with pytest.raises(Lost, match="read only"):
        bench.take(charges=[MONEY], cost=300)
    server.client().replicaof("NO", "ONE")
    assert (bench.money(MONEY).spent, bench.state().in_flight) == (300, 0)


def test_a_state_of_another_schema_is_left_alone(server: Server, bench: Bench) -> None:
    bench.run(charges=[MONEY], cost=300)
    server.client().hset("failover:{default}:meta", "schema", "99")
    with pytest.raises(Lost, match="schema 99"):
        bench.take()
    with pytest.raises(ConfigurationError, match="schema 99"):
        RedisStore(server.url, random=half).salt()


def test_whoever_shares_a_store_shares_its_salt(server: Server) -> None:
    one, other = (RedisStore(server.url, random=half).salt() for _ in range(2))
    assert one == other
    assert len(one) == 16


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:1/0", "127.0.0.1:1"),
        ("redis://127.0.0.1:port/0", "no Redis URL"),
        ("redis://:sec/ret@127.0.0.1", "no Redis URL"),
        ("redis://u:secret@127.0.0.1:1/0", "127.0.0.1:1"),
        ("redis://127.0.0.1:1/0?speed=9", "speed"),
        ("redis://127.0.0.1:1/0?timeout=soon", "timeout = 'soon'"),
        ("redis://127.0.0.1:1/0?timeout=0", "timeout"),
        ("redis://127.0.0.1:1/0?namespace=a{b", "namespace = 'a{b'"),
    ],
)
def test_a_url_that_cannot_serve_is_refused_by_name_and_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_url(url, Retry(), half).salt()
    assert says in str(refused.value)
    assert "sec" not in str(refused.value).replace("seconds", "")


def test_a_wrong_password_is_said_when_it_is_built(server: Server) -> None:
    server.client().config_set("requirepass", "right")
    with pytest.raises(ConfigurationError, match="cannot be used") as refused:
        open_url(server.url.replace("redis://", "redis://:wrong@"), Retry(), half).salt()
    assert "wrong@" not in str(refused.value)


# ------------------------------------------------------------------- processes

LIMIT = 60_000
COST = 100


def clock() -> Now:
    return Now(time.monotonic(), time.time())


def hammer(url: str, seed: int, go: Gate, budget: Charge) -> None:
    """Spend as fast as one can.  What is sent is written on a bill, before the store is told what it cost."""
    rng = random.Random(seed)
    store = RedisStore(url, random=rng.random, timeout=5.0)
    bill = redis.Redis.from_url(url)
    go.wait()
    while True:
        ask = Ask(gates("a"), 0, 0, COST, (budget,), 1.0, store.ticket())
        lease = wait_for(store.admit(ask, clock()))
        if not isinstance(lease, Lease):
            if lease.reason == "budget_spent":
                return
            time.sleep(0.01)
            continue
        cost = rng.randint(1, COST)
        bill.incrby("bill", cost)
        if rng.random() < 0.05:
            wait_for(store.abandon(lease, cost, clock()))
        else:
            wait_for(store.settle(lease, Settlement(True, cost=cost), clock()))


def test_killed_workers_never_overspend_and_leave_nothing_stuck(server: Server) -> None:
    """Eight processes on one budget, half of them killed at work: at every sample, on the bill, and at the end."""
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    go = context.Event()
    budget = charge(LIMIT / 1e9, "total")
    workers = [context.Process(target=hammer, args=(server.url, seed, go, budget)) for seed in range(8)]
    watcher, client = RedisStore(server.url, random=half), server.client()
    for worker in workers:
        worker.start()
    go.set()
    doomed = workers[:4]
    samples = 0
    while any(worker.is_alive() for worker in workers):
        state = wait_for(watcher.snapshot((), (budget,), clock())).budgets[0]
        assert state.spent + state.reserved <= LIMIT
        assert int(client.get("bill") or 0) <= LIMIT
        samples += 1
        if doomed and state.spent > LIMIT * (5 - len(doomed)) // 10:
            os.kill(doomed.pop().pid or 0, signal.SIGKILL)
    for worker in workers:
        worker.join()
    assert not doomed
    assert samples > 20
    stuck = time.monotonic() + 20.0
    while True:  # until the leases of the dead have run out
        state = wait_for(watcher.snapshot((gates("a"),), (budget,), clock()))
        if not (state.budgets[0].reserved or state.targets[0].in_flight):
            break
        assert time.monotonic() < stuck
    assert LIMIT - COST < state.budgets[0].spent <= LIMIT
    assert int(client.get("bill") or 0) <= state.budgets[0].spent
    watcher.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_takes_leases_of_its_own(server: Server) -> None:
    store = RedisStore(server.url, random=half)
    bench = Bench(gates(limits=RateLimit(concurrency=2)), lambda: store)
    first = bench.take()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if bench.take().id != first.id and not bench.refused().retry_at else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert bench.state().in_flight == 2
    store.close()
