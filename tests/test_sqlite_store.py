"""The store in a file: what survives, what is shared, what happens when the file is in trouble."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from failover import (
    AllTargetsFailed,
    Budget,
    Cache,
    CircuitBreaker,
    ConfigurationError,
    Failover,
    Price,
    RateLimit,
    Request,
    SQLiteStore,
    StoreUnavailable,
    Target,
)
from failover._flow import Attempt, Wait
from failover.events import StoreBack, StoreLost
from failover.store.base import Gates, Io, Lease, Lost, Now, Reason, Settlement, wait_for
from failover.store.file import SAFE_WAL, File
from failover.types import Message
from tests.gates.walks import Walk
from tests.gates.world import BLAMED, AtOnce, Bench, charge, gates, half
from tests.kit import hammer
from tests.kit.virtual import ok
from tests.test_distant_stores import Scripted

DOLLAR = charge(1.0)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gates.db"


def bench(path: Path, here: Gates | None = None) -> Bench:
    return Bench(here, lambda: SQLiteStore(path, random=half, timeout=0.05))


def guard(path: Path, *plays: Any, key: str = "sk-one", **options: Any) -> Failover:
    options = {"budget": Budget(1, default_max_tokens=50), "response_cache": False, **options}
    target = Target("a", attempter=Scripted(*plays), price=Price(1, 1))
    return Failover([target], store=f"sqlite:///{path}", **options)


# ------------------------------------------------------------------ what survives


def test_a_budget_survives_a_restart(path: Path) -> None:
    first = bench(path)
    first.run(Settlement(True, cost=300), cost=500, charges=[DOLLAR])
    first.take(cost=200, charges=[DOLLAR], ttl=100.0)
    second = bench(path)
    assert (second.money(DOLLAR).spent, second.money(DOLLAR).reserved) == (300, 200)
    second.later(100.0)
    assert (second.money(DOLLAR).spent, second.money(DOLLAR).reserved) == (500, 0)


def test_moments_are_on_the_clock_of_whoever_asks(path: Path) -> None:
    first = bench(path, gates(breaker=CircuitBreaker(1, recovery_timeout=30.0)))
    first.trip()
    second = bench(path, first.here)
    second.mono, second.wall = 77.0, first.wall + 10.0  # booted anew, ten seconds later
    assert second.refused().retry_at == pytest.approx(97.0)
    assert second.state().until == pytest.approx(97.0)
    second.later(20.0)
    lease = second.take(ttl=5.0)
    assert lease.probe
    assert lease.admitted == second.now
    assert lease.expires == pytest.approx(second.mono + 5.0)


def test_a_clock_that_was_set_back_brings_no_period_back(path: Path) -> None:
    first = bench(path)
    first.run(Settlement(True, cost=300), cost=500, charges=[DOLLAR])
    lease = first.take(cost=200, charges=[DOLLAR], ttl=50.0)
    second = bench(path)
    second.mono, second.wall = 5.0, first.wall - 3 * 86_400.0
    money = second.money(DOLLAR)
    assert (money.spent, money.reserved) == (300, 200)
    second.later(50.0)
    assert second.money(DOLLAR).spent == 500
    second.settle(lease, Settlement(True, cost=100))
    assert second.money(DOLLAR).spent == 400


def test_whoever_joins_does_not_push_the_clock_ahead(path: Path) -> None:
    first = bench(path)
    first.take(ttl=30.0)
    for _ in range(200):
        other = bench(path)
        other.mono, other.wall = first.mono - 0.2, first.wall - 0.2  # it looked at its clock, and then had to wait
        other.state()
        other.later(0.2)
        other.state()
        first.later(0.1)
        first.state()
    assert first.state().in_flight == 1
    first.later(10.0)
    assert first.state().in_flight == 0


def test_a_process_that_was_asleep_does_not_stop_the_others_clocks(path: Path) -> None:
    asleep, awake = bench(path), bench(path)
    asleep.take()
    awake.later(1_000.0)
    awake.take()
    asleep.take(ttl=10.0)
    asleep.later(10.0)
    assert asleep.state().in_flight == 1  # of these three leases only the second still lives


@pytest.mark.parametrize("seed", range(60))
def test_walks_at_random_find_no_way_around_the_gates(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    Walk(chance, AtOnce(SQLiteStore(path, random=chance.random))).go(14)


# ----------------------------------------------------------------- what is shared


def test_what_one_learns_the_others_know(path: Path) -> None:
    one, other = (bench(path, gates(breaker=CircuitBreaker(3), limits=RateLimit(requests=4))) for _ in range(2))
    one.run(BLAMED)
    other.run(BLAMED)
    one.run(BLAMED)
    assert other.refused().reason is Reason.CIRCUIT_OPEN
    one.later(30.0)
    other.later(30.0)
    assert other.take().probe
    assert one.refused().reason is Reason.CIRCUIT_OPEN


def test_a_window_is_filled_by_all_together(path: Path) -> None:
    one, other = (bench(path, gates(limits=RateLimit(requests=40))) for _ in range(2))
    for number in range(20):
        for each in one, other:
            each.run()
            each.later(0.5 + number / 100)
    assert one.refused().reason is Reason.RATE_LIMITED
    assert other.refused().retry_at == one.refused().retry_at
    one.later(60.0)
    other.later(60.0)
    assert isinstance(other.ask(), Lease)


def test_whoever_waits_for_another_process_looks_again(path: Path) -> None:
    one, other = (bench(path, gates(limits=RateLimit(concurrency=1))) for _ in range(2))
    lease = one.take()
    first, second = other.ticket(), other.ticket()
    head, behind = other.refused(ticket=first), None
    other.line_up(first, head)
    behind = other.refused(ticket=second)
    assert head.recheck is not None
    assert behind.recheck is not None
    assert head.recheck - other.mono < 0.5 < 2.0 < behind.recheck - other.mono
    one.settle(lease)
    assert isinstance(other.ask(ticket=first), Lease)


def test_a_refused_key_is_off_for_all_and_another_key_is_not(path: Path) -> None:
    def build(key: str) -> Failover:
        return Failover(
            [Target("openai:gpt-6-luna", api_key=key)], store=f"sqlite:///{path}", budget=1.0, response_cache=False
        )

    def credential(each: Failover) -> str:
        return each._core.lives[0].gates.credential

    one, same, new = build("sk-secret-one"), build("sk-secret-one"), build("sk-secret-two")
    assert credential(one) == credential(same) != credential(new)
    bench(path, one._core.lives[0].gates).run(Settlement(None, disable="credential", detail="auth"))
    assert [each.status()[0].state for each in (one, same, new)] == ["disabled", "disabled", "closed"]
    assert b"sk-secret" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_budgets_per_label_are_rows_however_many(path: Path) -> None:
    shared = guard(path, budget=Budget(0.01, per_label="user", default_max_tokens=50))
    for number in range(50):
        shared.complete("hi", labels={"user": f"u{number}"})
    again = guard(path, budget=Budget(0.01, per_label="user", default_max_tokens=50))
    spent = [again.spent_by("user", f"u{number}") for number in range(50)]
    assert all(each is not None and each.spent > 0 for each in spent)


def test_what_is_over_leaves_no_rows(path: Path) -> None:
    b = bench(path, gates(limits=RateLimit(requests=50)))
    for _ in range(3):
        for number in range(5):
            b.run(Settlement(True, cost=1), cost=1, charges=[charge(1.0, scope=f"label:user=u{number}")])
            b.later(1.0)
        b.later(86_400.0)
    b.run(Settlement(True, cost=1), cost=1, charges=[DOLLAR])
    with sqlite3.connect(path) as db:
        keys = [key for (key,) in db.execute("SELECT key FROM state ORDER BY key")]
        assert keys == ["account day UTC\n2025-10-12\nall", "book day UTC", "clock", "desk a"]
        assert db.execute("SELECT count(*) FROM log").fetchone() == (0,)


def test_a_pickled_orchestrator_shares_the_budget(path: Path) -> None:
    target = Target("local", base_url="http://127.0.0.1:9/v1", model="m", price=Price(1, 1))
    for store in f"sqlite:///{path}", SQLiteStore(path):
        first = Failover([target], budget=1.0, store=store)
        bench(path).run(Settlement(True, cost=7), cost=9, charges=[first._charges[0]])
        assert pickle.loads(pickle.dumps(first)).budget.spent == first.budget.spent  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_shares_the_budget(path: Path) -> None:
    parent = bench(path)
    parent.run(Settlement(True, cost=1), cost=1, charges=[DOLLAR])
    child = os.fork()
    if not child:
        try:
            parent.run(Settlement(True, cost=10), cost=10, charges=[DOLLAR])
            assert parent.money(DOLLAR).spent == 11
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert parent.money(DOLLAR).spent == 11


def test_answers_are_shared(path: Path) -> None:
    one, other = (guard(path, ok(text), response_cache=True) for text in ("from one", "from other"))
    assert one.complete("hi").content == "from one"
    found = other.complete("hi")
    assert (found.content, found.cached, found.cost) == ("from one", True, 0)
    assert guard(path, ok("mine"), response_cache=Cache(namespace="mine")).complete("hi").content == "mine"
    assert guard(path, ok("mine"), response_cache=Cache(shared=False)).complete("hi").content == "mine"


def test_an_entry_that_was_tampered_with_is_no_entry(path: Path) -> None:
    guard(path, ok("first"), response_cache=True).complete("hi")
    with sqlite3.connect(path) as db:
        assert db.execute("UPDATE cache SET entry = '{\"version\": 1'").rowcount == 1
    assert guard(path, ok("second"), response_cache=True).complete("hi").content == "second"


def test_shared_answers_leave_when_they_are_old_or_unused(path: Path) -> None:
    store = SQLiteStore(path)
    cache = store.shared_cache(Cache(size=2, ttl=10.0))

    def at(seconds: float) -> Now:
        return Now(seconds, 1e9 + seconds)

    def get(digest: bytes, seconds: float) -> Any:
        return wait_for(cache.get(digest, ("b", "a"), at(seconds)))

    for number, name in enumerate((b"1", b"2")):
        cache.put(name, "a", ok(name.decode()), at(number))
    assert get(b"1", 2.0).answer.message.text == "1"
    cache.put(b"3", "a", ok("3"), at(3.0))
    assert get(b"2", 3.0) is None
    assert get(b"1", 9.9) is not None
    assert get(b"1", 10.0) is None
    assert get(b"3", 10.0).identity == "a"


# --------------------------------------------------------------- threads and loops


async def test_the_file_is_never_touched_on_the_event_loops_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = guard(path, response_cache=True)
    threads: set[int] = set()
    transaction = File.transaction

    def watched(self: File) -> Any:
        threads.add(threading.get_ident())
        return transaction(self)

    monkeypatch.setattr(File, "transaction", watched)
    await asyncio.gather(*(shared.acomplete(f"hi {number}") for number in range(10)))
    async for _ in shared.astream("stream"):
        pass
    await shared.aclose()
    assert threads
    assert threading.get_ident() not in threads


async def test_a_cancelled_admission_leaves_nothing_behind(path: Path) -> None:
    shared = guard(path)
    for _ in range(5):
        task = asyncio.create_task(shared.acomplete("hi"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert shared.budget is not None
    assert (shared.budget.spent, shared.budget.reserved) == (0, 0)
    assert shared.status()[0].in_flight == 0


def test_many_threads_and_loops_at_once_lose_nothing(path: Path) -> None:
    shared = guard(path)
    each = shared.complete("hi").cost

    async def loop() -> None:
        await asyncio.gather(*(shared.acomplete("hi") for _ in range(20)))

    threads = [threading.Thread(target=lambda: asyncio.run(loop())) for _ in range(2)]
    threads += [threading.Thread(target=lambda: [shared.complete("hi") for _ in range(20)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.budget is not None
    assert (shared.budget.spent, shared.budget.reserved) == (81 * each, 0)


def test_a_give_back_from_within_a_transaction_goes_with_the_next(path: Path) -> None:
    b = bench(path)
    store: Any = b.store
    lease = b.take(cost=5, charges=[DOLLAR])

    def collected(rows: Any) -> None:
        b.settle(lease, Settlement(True, cost=3))

    store.io(collected).do()
    assert b.money(DOLLAR).spent == 3
    with pytest.raises(Lost, match="from inside"):
        store.io(lambda rows: b.take()).do()


# ------------------------------------------------------------------- the file in trouble


@contextmanager
def locked(path: Path) -> Iterator[None]:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@contextmanager
def gone(path: Path) -> Iterator[None]:
    path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        path.with_suffix(".away").rename(path)


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No page may be added, and a page's worth of leases is."""
    connect = File._connect

    def small(self: File, mode: str) -> sqlite3.Connection:
        db = connect(self, mode)
        db.execute("PRAGMA max_page_count = 1")
        return db

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(File, "_connect", small)
        yield


@contextmanager
def garbled(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT key, value FROM state").fetchall()
        db.execute("UPDATE state SET value = '[]'")
    try:
        yield
    finally:
        with sqlite3.connect(path) as db:
            db.executemany("UPDATE state SET value = ?2 WHERE key = ?1", rows)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    connect = File._connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(File, "_connect", lambda self, mode: connect(self, "ro"))
        yield


@pytest.mark.parametrize("trouble", [locked, gone, garbled, read_only])
def test_in_trouble_a_budget_refuses_and_it_heals_by_itself(path: Path, trouble: Any) -> None:
    heard: list[Any] = []
    store = SQLiteStore(path, timeout=0.05)
    target = Target("a", attempter=Scripted(), price=Price(1, 1))
    shared = Failover([target], budget=1.0, store=store, response_cache=False, listeners=[heard.append])
    free = Failover([target], store=store, response_cache=False)
    clock = [Now(1_000.0, 1e9)]
    shared._core.now = free._core.now = lambda: clock[0]
    shared.complete("hi")
    store._file.close()
    with trouble(path):
        for _ in range(2):
            with pytest.raises(AllTargetsFailed) as caught:
                shared.complete("hi")
            assert isinstance(caught.value.exceptions[0], StoreUnavailable)
        assert free.complete("hi").content == "fine"
    clock[0] = Now(1_001.0, 1e9 + 1)
    assert shared.complete("hi").content == "fine"
    assert [type(event) for event in heard if isinstance(event, StoreLost | StoreBack)] == [StoreLost, StoreBack]


def test_a_full_disk_takes_back_half_an_operation(path: Path) -> None:
    b = bench(path)
    store: Any = b.store
    b.take(cost=1, charges=[DOLLAR])
    store._file.close()
    with full(path), pytest.raises(Lost, match="full"):
        list(map(b.take, [None] * 1_000))
    assert b.money(DOLLAR).reserved == 1
    b.later(600.0)
    assert b.state().in_flight == 0


def test_a_file_that_is_gone_is_not_made_anew(path: Path) -> None:
    b = bench(path)
    b.take()
    path.unlink()
    for _ in range(2):
        with pytest.raises(Lost, match="No such file"):
            b.take()
    assert not path.exists()


def test_another_file_of_the_same_name_is_not_mixed_up_with_it(path: Path) -> None:
    b = bench(path)
    b.run(Settlement(True, cost=5), cost=5, charges=[DOLLAR])
    bench(path.with_suffix(".other")).run(Settlement(True, cost=7), cost=7, charges=[DOLLAR])
    path.with_suffix(".other").rename(path)
    with pytest.raises(Lost, match="replaced"):
        b.take()
    assert b.money(DOLLAR).spent == 7


def test_a_file_that_was_copied_in_the_middle_of_a_write_is_whole_or_refused(path: Path, tmp_path: Path) -> None:
    SQLiteStore(path)
    hammers = [start(path, 10**12) for _ in range(2)]
    try:
        at_work(path)
        whole, refusals = 0, []
        for number in range(60):
            copy = tmp_path / f"copy{number}.db"
            shutil.copyfile(path, copy)
            try:
                store = AtOnce(SQLiteStore(copy))
            except ConfigurationError as error:
                refusals.append(str(error))
            else:
                money = store.snapshot([], [hammer.charge(10**12)], hammer.now()).budgets[0]
                assert 0 <= money.reserved <= 2 * hammer.COST
                whole += 1
        assert whole
        assert all(str(tmp_path / "copy") in refusal for refusal in refusals)
    finally:
        stop(hammers)


def test_opening_it_again_leaves_the_locks_of_this_process_alone(path: Path) -> None:
    SQLiteStore(path)
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match="locked"):
        SQLiteStore(path, timeout=0.05)
    other = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    assert b"locked" in subprocess.run([sys.executable, "-c", other], capture_output=True, check=False).stderr
    held.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough to be looked at" * 30), "not a database"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t(x)").connection.close(), "something else"),
        (lambda path: (bench(path), edit(path, "PRAGMA user_version = 9")), "version 9"),
        (lambda path: lose_the_leases(path), "damaged"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
    ids=["no database", "of something else", "another version", "half a transaction", "a directory"],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_when_the_store_is_built(path: Path, make: Any, says: str) -> None:
    make(path)
    with pytest.raises(ConfigurationError, match=says) as caught:
        guard(path)
    assert str(path) in str(caught.value)


def lose_the_leases(path: Path) -> None:
    bench(path).take(cost=5, charges=[DOLLAR])
    edit(path, "DELETE FROM state WHERE key GLOB 'lease *'")


def edit(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(statement)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///:memory:", "sqlite:///x.db?durable=yes",
     "sqlite:///x.db?timeout=soon", "sqlite:///x.db?mode=ro", "sqlite3:///x.db"],
)  # fmt: skip
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="store = "):
        Failover([Target("a", attempter=Scripted())], store=url)


def test_a_url_says_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, file in (
        ("sqlite:///here.db", "here.db"),
        (f"sqlite:///{tmp_path}/with%20space.db?durable=true&timeout=1.5", "with space.db"),
    ):
        Failover([Target("a", attempter=Scripted())], store=url)
        assert (tmp_path / file).is_file()


def test_a_log_that_older_libraries_get_wrong_is_not_used(path: Path) -> None:
    SQLiteStore(path)
    with sqlite3.connect(path) as db:
        mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    assert (mode == "wal") == (sqlite3.sqlite_version_info >= SAFE_WAL)


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    SQLiteStore(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nonsense_is_refused_by_the_store_itself(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timeout = 0"):
        SQLiteStore(path, timeout=0)


# ----------------------------------------------------------------- kill -9


def start(path: Path, limit: int) -> subprocess.Popen[bytes]:
    bill = path.with_suffix(".bill")
    bill.touch()
    command = [sys.executable, "-m", "tests.kit.hammer", f"sqlite:///{path}", str(limit), str(bill)]
    return subprocess.Popen(command, cwd=ROOT)


def at_work(path: Path) -> None:
    """Wait until the workers have begun."""
    while not path.with_suffix(".bill").stat().st_size:
        time.sleep(0.005)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def test_workers_that_are_killed_at_any_moment_spend_no_more_than_the_budget(path: Path) -> None:
    limit, chance = 400_000, random.Random(7)
    store = SQLiteStore(path)
    watched, bill = hammer.charge(limit), path.with_suffix(".bill")

    def money(now: Now) -> Any:
        return wait_for(store.snapshot([], [watched], now)).budgets[0]

    workers = [start(path, limit) for _ in range(8)]
    try:
        kills = 0
        while any(worker.poll() is None for worker in workers):
            seen = money(hammer.now())
            assert seen.spent + seen.reserved <= limit
            if seen.spent > limit * (kills + 1) / 12 and kills < 8:
                stop([victim := chance.choice(workers)])
                workers.remove(victim)
                workers.append(start(path, limit))
                kills += 1
    finally:
        stop(workers)
    assert kills == 8
    billed = sum(map(int, bill.read_text().split()))
    later = hammer.now()
    end = money(Now(later.mono + hammer.TTL + 1.0, later.wall + hammer.TTL + 1.0))
    assert end.reserved == 0, "something is stuck after a lease time"
    assert billed <= end.spent <= limit
    assert limit - end.spent < hammer.COST


def test_a_call_that_waits_asks_again_when_another_process_has_made_room(path: Path) -> None:
    """Nobody can call it from there."""
    one, other = (
        Failover([Target("a", attempter=Scripted(), concurrency=1)], store=SQLiteStore(path), response_cache=False)
        for _ in range(2)
    )
    late = 0.0
    other._core.now = lambda: Now(time.monotonic() + late, time.time() + late)
    first, second = (each._call(Request((Message("user", "hi"),)), streamed=False).run() for each in (one, other))
    assert isinstance(_travelled(first), Attempt)
    waiting = _travelled(second)
    assert isinstance(waiting, Wait)
    with suppress(StopIteration):
        _travelled(first, ok())
    late += waiting.seconds
    assert isinstance(_travelled(second), Attempt)
    with suppress(StopIteration):
        _travelled(second, ok())


def _travelled(flow: Any, event: Any = None) -> Any:
    """What the flow wants next, besides journeys."""
    command = flow.send(event)
    while isinstance(command, Io):
        command = flow.send(command.do())
    return command
