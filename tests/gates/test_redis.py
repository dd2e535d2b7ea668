"""The Redis store on a real server: the same decisions as in memory, whatever the order in which messages arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from failover import Budget, ConfigurationError
from failover.settings import RateLimit
from failover.store.base import Ask, Io, Lease, Lost, Now, Rejection, Ticket, wait_for
from failover.store.calendar import pages_at
from failover.store.redis import RedisStore
from failover.store.redis_link import Step
from tests.gates.conformance import SCRIPTS, random_script, refusals_are_sentences, trace
from tests.gates.world import BLAMED, MONO, WALL, Bench, charge, gates, half, memory
from tests.kit.redis_server import Server, running

namespaces = (f"test{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


class Prompt(RedisStore):
    """Puts nothing off, as a store in memory does not: what is owed is brought at once, lines move with the clock."""

    def first_content(self, lease: Lease, now: Now) -> Any:
        told = super().first_content(lease, now)
        return told if told is not None else self.nothing(now)

    def leave(self, ticket: Ticket, now: Now) -> None:
        if ticket.lines:
            wait_for(self.nothing(now))
        super().leave(ticket, now)

    def nothing(self, now: Now) -> Io[None]:
        return self.ask(Step("seed", {"accounts": []}), now, lambda done: None)


def store_on(server: Server, make: type[RedisStore] = RedisStore, namespace: str | None = None) -> RedisStore:
    """A store in a namespace of its own, whose clock is set by hand."""
    return make(server.url, random=half, namespace=namespace or next(namespaces), by_hand=True)


class Awaited:
    """The same store through its asyncio client."""

    def __init__(self, store: RedisStore, runner: asyncio.Runner) -> None:
        self._store = store
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*args: Any) -> Any:
            answer = method(*args)
            return self._runner.run(answer.ado()) if isinstance(answer, Io) else answer

        return call


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


# ---------------------------------------------------------------- conformance


MORE: dict[str, list[tuple[Any, ...]]] = {
    "what a provider says remains is drawn on": [
        ("ask", "a", "plain", [], {"tokens": (10, 20)}),
        ("end", "a", True, {"hint": {"remaining_tokens": 50, "reset_tokens": 30.0}}),
        *[("ask", name, "plain", [], {"tokens": (10, 20)}) for name in "bc"],
        ("after", 30.0),
        ("ask", "c", "plain", [], {"tokens": (10, 20)}),
    ],
    "two budgets over one account reserve once": [
        ("ask", "a", "plain", ["day", "day", "total"], {"cost": 300}),
        ("budget", "day"),
        ("end", "a", True, {"cost": 200}),
        ("budget", "day"),
    ],
    "of two findings the one that lasts longer holds": [
        ("ask", "a", "plain"),
        ("ask", "b", "plain"),
        ("ask", "c", "plain"),
        ("end", "a", None, {"disable": "credential", "until": 100.0}),
        ("end", "b", None, {"disable": "credential", "until": 50.0}),
        ("target", "plain"),
        ("end", "c", None, {"disable": "credential", "until": 200.0, "detail": "longer"}),
        ("target", "plain"),
        ("after", 200.0),
        ("target", "plain"),
    ],
}


@pytest.mark.parametrize("name", MORE)
def test_it_decides_as_memory_does(name: str, server: Server) -> None:
    assert trace(store_on(server, Prompt), MORE[name]) == trace(memory(), MORE[name])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_the_trace_that_it_must(name: str, server: Server) -> None:
    script, expected = SCRIPTS[name]
    assert trace(store_on(server, Prompt), script) == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_the_same_trace_on_an_event_loop(name: str, server: Server, runner: asyncio.Runner) -> None:
    script, expected = SCRIPTS[name]
    store: Any = Awaited(store_on(server, Prompt), runner)
    assert trace(store, script) == expected
    runner.run(store._store.aclose())


def test_what_a_refusal_says_is_a_sentence_for_people(server: Server) -> None:
    refusals_are_sentences(lambda: store_on(server, Prompt))


def test_scripts_at_random_leave_the_same_traces_as_in_memory(server: Server) -> None:
    for seed in range(40):
        script = random_script(seed, 80)
        assert trace(store_on(server, Prompt), script) == trace(memory(), script), seed


def test_scripts_at_random_leave_the_same_traces_on_an_event_loop(server: Server, runner: asyncio.Runner) -> None:
    for seed in range(100, 105):
        script = random_script(seed, 80)
        store: Any = Awaited(store_on(server, Prompt), runner)
        assert trace(store, script) == trace(memory(), script), seed
        runner.run(store._store.aclose())


def test_two_processes_share_one_state(server: Server) -> None:
    one = Bench(gates(limits=RateLimit(concurrency=1)), lambda: store_on(server, namespace="shared"))
    other = Bench(gates(limits=RateLimit(concurrency=1)), lambda: store_on(server, namespace="shared"))
    lease = one.take(charges=[charge(1e-6)], cost=700)
    assert other.refused().line
    assert other.refused(gates("b"), charges=[charge(1e-6)], cost=700).reason == "budget_pending"
    one.settle(lease)
    assert other.money(charge(1e-6)).spent == 700
    other.take()


def test_a_key_of_every_kind_bears_the_namespace_as_its_hash_tag(server: Server) -> None:
    bench = Bench(gates(limits=RateLimit(requests=5)), lambda: store_on(server, namespace="tagged"))
    bench.run(charges=[charge(1e-6)], cost=1)
    bench.take(ttl=1.0)
    bench.later(2.0)
    bench.state()
    keys = server.client().keys("*tagged*")
    assert keys
    assert all(key.startswith("failover:{tagged}:") for key in keys)


# ------------------------------------------------------------ lost and doubled


@pytest.fixture
def bench(server: Server) -> Bench:
    return Bench(gates(limits=RateLimit(concurrency=2)), lambda: store_on(server))


MONEY = charge(1e-6)


def asked(bench: Bench) -> Io[Lease | Rejection]:
    """An admission that is yet to be done."""
    io = bench.store.admit(Ask(bench.here, 0, 0, 400, (MONEY,), 600.0, bench.ticket()), bench.now)
    assert isinstance(io, Io)
    return io


def undone(io: Io[Lease | Rejection]) -> None:
    """What a flow does when the answer did not reach it."""
    assert io.undo is not None
    back = io.undo()
    assert back is not None
    back.do()


def nothing_is_held(bench: Bench) -> bool:
    return (bench.state().in_flight, bench.money(MONEY).reserved, bench.money(MONEY).spent) == (0, 0, 0)


def test_an_abandon_that_overtakes_its_admit_leaves_nothing_behind(bench: Bench) -> None:
    io = asked(bench)
    undone(io)
    answer = io.do()
    assert isinstance(answer, Rejection)
    assert answer.reason == "store_lost"
    assert nothing_is_held(bench)


def test_an_admit_whose_answer_was_lost_is_given_back(bench: Bench) -> None:
    io = asked(bench)
    io.do()
    undone(io)
    assert nothing_is_held(bench)


def test_an_admit_that_comes_twice_takes_one_place(bench: Bench) -> None:
    io = asked(bench)
    first, second = io.do(), io.do()
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert (first.id, first.expires, first.period) == (second.id, second.expires, second.period)
    assert (bench.state().in_flight, bench.money(MONEY).reserved) == (1, 400)


def test_a_lease_is_given_back_once_in_whatever_order_its_ends_come(bench: Bench) -> None:
    lease = bench.take(charges=[MONEY], cost=400)
    bench.abandon(lease, 50)
    bench.settle(lease)
    bench.settle(lease, BLAMED)
    bench.abandon(lease, 400)
    state = bench.state()
    assert (state.in_flight, state.consecutive_failures, bench.money(MONEY).spent) == (0, 0, 50)


def test_what_nobody_waits_for_travels_with_the_next_message(server: Server) -> None:
    bench = Bench(gates(limits=RateLimit(requests=2)), lambda: store_on(server))
    lease = bench.take()
    before = evals(server)
    bench.answered(lease)
    assert evals(server) == before
    bench.later(30.0)
    bench.run()
    assert evals(server) == before + 2
    bench.later(31.0)  # the first request has aged since its first byte, not since its end
    bench.take()


def evals(server: Server) -> int:
    stats = server.client().info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("eval", "evalsha"))


# ------------------------------------------------------------------ the server


def test_a_server_that_has_forgotten_the_script_is_told_it_again(server: Server, bench: Bench) -> None:
    bench.run()
    server.client().script_flush()
    bench.run(BLAMED)
    assert bench.state().consecutive_failures == 1


def test_time_never_runs_backwards(bench: Bench) -> None:
    bench.trip()
    bench.later(29.0)
    assert bench.refused().reason == "circuit_open"
    bench.later(-1_000.0)
    assert bench.state().until is not None
    bench.later(1_001.0)
    assert bench.take().probe


def test_without_a_clock_set_by_hand_the_servers_own_counts(server: Server) -> None:
    """And moments come back on the caller's clock, whatever the two show."""
    store = RedisStore(server.url, random=half, namespace=next(namespaces))
    bench = Bench(gates(limits=RateLimit(requests=1)), lambda: store)
    bench.run(charges=[charge(1.0)], cost=5)
    refused = bench.refused()
    assert refused.retry_at is not None
    assert 59.0 < refused.retry_at - MONO <= 60.0
    assert bench.money(charge(1.0)).spent == 5
    lease = bench.take(gates("b"), ttl=600.0)
    assert lease.expires == pytest.approx(MONO + 600.0)


@pytest.mark.parametrize("per", ["hour", "day", "week", "month"])
def test_a_period_that_the_caller_did_not_expect_is_named_after_asking_again(per: str, server: Server) -> None:
    """The caller's wall clock stands in 2025, the server's does not."""
    store = RedisStore(server.url, random=half, namespace=next(namespaces))
    bench = Bench(make=lambda: store)
    bench.run(charges=[charge(1.0, per)], cost=5)
    wall = float(server.client().time()[0])
    resets_at = bench.money(charge(1.0, per)).resets_at
    assert resets_at is not None
    assert 0 < resets_at - wall <= 31 * 86_400 + 3_600


@pytest.mark.parametrize("per", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_named_periods_join_without_a_gap(per: str, zone: str) -> None:
    for hours in range(0, 24 * 366, 7):
        moment = WALL + hours * 3600.0
        this, after = pages_at(per, zone, moment)
        assert this.begins is not None
        assert this.ends is not None
        assert after.ends is not None
        assert this.begins <= moment < this.ends == after.begins < after.ends


def test_the_script_touches_only_the_keys_that_it_was_given(server: Server) -> None:
    """Else it would not run in a cluster."""
    touched = 0
    with server.client() as watcher, watcher.monitor() as monitor:
        for seed in range(4):
            trace(store_on(server, Prompt), random_script(seed, 80))
        server.client().echo("the end")
        given: list[str] = []
        while True:
            line = monitor.connection.read_response()
            name, *words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
            if name.upper() == "ECHO":
                break
            if name.upper().startswith("EVAL"):
                given = words[2 : 2 + int(words[1])]
            elif " lua]" in line and words:
                touched += 1
                assert words[0] in given, line
    assert touched > 1_000


def test_a_cluster_serves_as_well() -> None:
    with running("--cluster-enabled", "yes") as cluster:
        client = cluster.client()
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        while "ok" not in str(client.execute_command("CLUSTER", "INFO")).partition("cluster_state")[2][:8]:
            pass
        script = random_script(0, 60)
        store = Prompt(cluster.url, random=half, cluster=True, by_hand=True)
        assert trace(store, script) == trace(memory(), script)
        store.close()
        store = Prompt(cluster.url, random=half, cluster=True, by_hand=True, namespace="other")
        with asyncio.Runner() as runner:
            awaited: Any = Awaited(store, runner)
            assert trace(awaited, script) == trace(memory(), script)
            cluster.kill()
            with pytest.raises(Lost):
                awaited.admit(Ask(gates(), 0, 0, 0, (), 600.0, store.ticket()), Now(1e6, 1e6))
            with pytest.raises(Lost):
                wait_for(store.allow_retry(Now(1e6, 1e6)))
            runner.run(store.aclose())


def test_the_largest_budget_is_counted_to_the_nano_dollar(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="9,000,000"):
        Budget(9_000_000.01)
    largest = charge(9_000_000.0)
    bench.run(charges=[largest], cost=largest.limit - 3)
    assert bench.refused(charges=[largest], cost=4).reason == "budget_spent"
    bench.take(charges=[largest], cost=3)
    assert bench.money(largest).left == 0
