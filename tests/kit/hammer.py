"""A worker that spends out of one budget as fast as it can, to be killed at any instruction.

    python -m tests.kit.hammer STORE LIMIT BILL

Each call is admitted, billed by a provider that never asks for more than was reserved (a line appended to BILL, which
no kill can undo), and settled.  It ends by itself when the budget is spent.
"""

from __future__ import annotations

import os
import random
import sys
import time

from failover.settings import Budget, CircuitBreaker, RateLimit, Retry
from failover.store.base import Ask, Charge, Gates, Lease, Now, Reason, Settlement, wait_for
from failover.store.choice import open_store

GATES = Gates("a", "key", "m", CircuitBreaker(), RateLimit())
TTL = 3.0
COST = 1_000


def charge(limit: int) -> Charge:
    return Charge("all:total", Budget(limit / 1e9, per="total"))


def now() -> Now:
    return Now(time.monotonic(), time.time())


def main(url: str, limit: int, bill: str) -> None:
    store = open_store(url, Retry(), random.random)
    ledger = os.open(bill, os.O_WRONLY | os.O_APPEND)
    while True:
        ask = Ask(GATES, 0, 0, COST, (charge(limit),), TTL, store.ticket())
        answer = wait_for(store.admit(ask, now()))
        if isinstance(answer, Lease):
            cost = random.randint(1, COST)
            os.write(ledger, b"%d\n" % cost)
            wait_for(store.settle(answer, Settlement(True, cost=cost), now()))
        elif answer.reason is Reason.BUDGET_SPENT:
            return
        else:
            time.sleep(0.05)  # what the killed have reserved has to expire


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
