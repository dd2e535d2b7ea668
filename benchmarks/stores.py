"""What the three stores cost, side by side in one run: pairs of ``admit`` and ``settle`` under a daily budget.

    python benchmarks/stores.py                       # memory, a file, a server of its own; one process, then four
    python benchmarks/stores.py redis://host:6379/0   # that store instead

A pair is one call's: a reservation, and the settlement of its cost.  Microseconds of one caller that does nothing else,
then pairs a second and the slowest in a hundred with several processes on one budget.  Absolute figures depend on the
machine and on what else it does; only those of one run may be compared.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the tests know how to start a server

from failover.settings import Budget, CircuitBreaker, RateLimit, Retry
from failover.store.base import Ask, Charge, Gates, Lease, Now, Settlement, Store, wait_for
from failover.store.choice import open_store
from tests.kit.redis_server import running

PAIRS = 2_000
PROCESSES = 4
SECONDS = 5.0
GATES = Gates("a", "key", "m", CircuitBreaker(), RateLimit(requests=10**9, tokens=10**12, concurrency=10_000))
MONEY = Charge("all:day", Budget(1_000_000))


def clock() -> Now:
    return Now(time.monotonic(), time.time())


def pair(store: Store) -> float:
    """Seconds that one call spends in the store."""
    began = time.perf_counter()
    lease = wait_for(store.admit(Ask(GATES, 100, 100, 1_000, (MONEY,), 600.0, store.ticket()), clock()))
    assert isinstance(lease, Lease), lease
    wait_for(store.settle(lease, Settlement(True, input_tokens=100, output_tokens=20, cost=500), clock()))
    return time.perf_counter() - began


def opened(url: str) -> Store:
    store = open_store(url, Retry(), random.random)
    store.salt()
    return store


def hammer(url: str, results: Any) -> None:
    store, took = opened(url), []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        took.append(pair(store))
    results.put(took)


def together(url: str) -> str:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=hammer, args=(url, results)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    took = sorted(seconds for _ in workers for seconds in results.get())
    for worker in workers:
        worker.join()
    slowest = took[int(len(took) * 0.99)] * 1e3
    return f"{len(took) / SECONDS:8.0f} pairs/s by {PROCESSES} processes, 99 % within {slowest:.1f} ms"


def alone(url: str) -> str:
    store = opened(url)
    took = [pair(store) for _ in range(PAIRS)]
    store.close()
    return f"{statistics.median(took) * 1e6:8.0f} us a pair, alone"


@contextmanager
def stores() -> Iterator[list[str]]:
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(running())
        yield ["memory", f"sqlite:///{home}/state.db", server.url]


def main() -> None:
    with stores() as found:
        for url in sys.argv[1:] or found:
            name = url.partition(":")[0]
            print(f"  {name:<8}{alone(url)}", flush=True)
            if name != "memory":
                print(f"  {'':<8}{together(url)}", flush=True)


if __name__ == "__main__":
    main()
