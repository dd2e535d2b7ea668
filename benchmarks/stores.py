"""The stores side by side: what an admission and its settlement cost, alone and with four processes at once.

    python benchmarks/stores.py            # both tables, about a minute; Redis where a server can be had
    python benchmarks/stores.py kill 60    # eight workers on one budget, some killed all the time, for 60 seconds

A pair is an ``admit`` and its ``settle`` under one daily budget, on one target.  Figures depend on the machine, so
compare those of one run only.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the workers and the server of the tests

from failover.settings import Budget, CircuitBreaker, RateLimit, Retry  # noqa: E402
from failover.store.base import Ask, Charge, Gates, Lease, Now, Settlement, wait_for  # noqa: E402
from failover.store.choice import open_store  # noqa: E402
from tests.kit import hammer  # noqa: E402
from tests.kit.redis_server import binary, running  # noqa: E402

GATES = Gates("a", "key", "m", CircuitBreaker(), RateLimit())
CHARGES = (Charge("all:day", Budget(1_000_000)),)
WORKERS = 4


def pairs(url: str, seconds: float, begin: Any = None) -> list[float]:
    """Make pairs for so long; seconds that each operation took."""
    store = open_store(url, Retry(), random.random)
    if begin is not None:
        begin.wait()
    took: list[float] = []
    began = time.perf_counter()
    while (at := time.perf_counter()) < began + seconds:
        ask = Ask(GATES, 10, 10, 1_000, CHARGES, 600.0, store.ticket())
        lease = wait_for(store.admit(ask, hammer.now()))
        assert isinstance(lease, Lease)
        between = time.perf_counter()
        wait_for(store.settle(lease, Settlement(True, cost=10), hammer.now()))
        took += (between - at, time.perf_counter() - between)
    return took


def _worker(url: str, seconds: float, begin: Any, results: Any) -> None:
    results.put(pairs(url, seconds, begin))


def together(url: str, seconds: float) -> list[float]:
    """The same by several processes at once, which begin together."""
    context = get_context("spawn")
    results, begin = context.Queue(), context.Barrier(WORKERS)
    workers = [context.Process(target=_worker, args=(url, seconds, begin, results)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    took = [each for _ in workers for each in results.get()]
    for worker in workers:
        worker.join()
    return took


def show(name: str, took: list[float], seconds: float) -> None:
    took.sort()
    each = [f"{1e3 * took[int(share * (len(took) - 1))]:9.3f}" for share in (0.5, 0.99, 1.0)]
    busy = 2e6 * sum(took) / len(took)
    print(f"  {name:<26}{len(took) / 2 / seconds:>10,.0f}{busy:>12,.0f}{''.join(each)}", flush=True)


def stores(home: Path, stack: ExitStack) -> Iterator[tuple[str, str]]:
    yield "memory", "memory"
    yield "sqlite", f"sqlite:///{home}/fast.db"
    yield "sqlite, durable", f"sqlite:///{home}/durable.db?durable=true"
    if binary() is None:
        print("  no Redis server to be had")
    else:
        yield "redis, on loopback", stack.enter_context(running()).url


def tables(seconds: float = 3.0) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = list(stores(Path(folder), stack))
        head = f"  {'':<26}{'pairs/s':>10}{'µs a pair':>12}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}"
        print(f"one process\n{head}")
        for name, url in found:
            show(name, pairs(url, seconds), seconds)
        print(f"{WORKERS} processes, all of them on one budget\n{head}")
        for name, url in found[1:]:
            show(name, together(url, seconds), seconds)


def kill(seconds: float) -> None:
    """Eight workers on one budget; one of them is killed and replaced again and again."""
    limit = 10**12
    with tempfile.TemporaryDirectory() as folder:
        url, bill = f"sqlite:///{folder}/gates.db", Path(folder, "bill")
        bill.touch()
        store = open_store(url, Retry(), random.random)
        command = [sys.executable, "-m", "tests.kit.hammer", url, str(limit), str(bill)]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, cwd=ROOT)  # noqa: S603  # our own worker

        workers = [start() for _ in range(8)]
        kills = samples = 0
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            state = wait_for(store.snapshot([], [hammer.charge(limit)], hammer.now())).budgets[0]
            assert state.spent + state.reserved <= limit
            samples += 1
            time.sleep(0.005)
            if time.monotonic() - began > 2 * (kills + 1):
                victim = workers.pop(random.randrange(8))  # noqa: S311
                victim.kill()
                victim.wait()
                workers.append(start())
                kills += 1
        for worker in workers:
            worker.kill()
            worker.wait()
        later = hammer.now()
        end = Now(later.mono + hammer.TTL + 1.0, later.wall + hammer.TTL + 1.0)
        state = wait_for(store.snapshot([], [hammer.charge(limit)], end)).budgets[0]
        lines = bill.read_text().split()
        billed = sum(map(int, lines))
        print(f"{len(lines):,} calls, {kills} kills, {samples:,} samples within the limit")
        print(f"billed {billed:,}, charged {state.spent:,}, still reserved {state.reserved:,}")
        assert billed <= state.spent
        assert state.reserved == 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["kill"]:
        kill(float(sys.argv[2]) if sys.argv[2:] else 60.0)
    else:
        tables()
