"""How long to wait before a retry, and how many an outage may cause."""

from __future__ import annotations

from failover.rules import retry
from failover.settings import Retry
from failover.store.base import Now
from failover.store.memory import MemoryStore
from tests.gates.world import MONO, WALL, Bench, half

RULES = Retry(base=0.5, maximum=8.0, max_retry_after=60.0, budget=0.2, floor=3)


def most() -> float:
    return 1.0


def least() -> float:
    return 0.0


def test_the_wait_is_uniform_below_a_bound_that_doubles_up_to_the_maximum() -> None:
    assert [retry.backoff(RULES, n, None, most) for n in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert [retry.backoff(RULES, n, None, half) for n in range(1, 4)] == [0.5, 1.0, 2.0]
    assert retry.backoff(RULES, 3, None, least) == 0.0
    assert retry.backoff(RULES, 5_000, None, most) == 8.0


def test_retry_after_is_a_lower_bound() -> None:
    assert retry.backoff(RULES, 1, 5.0, half) == 5.0
    assert retry.backoff(RULES, 4, 5.0, most) == 8.0
    assert retry.backoff(RULES, 1, 0.0, half) == 0.5


def test_retry_after_is_capped() -> None:
    assert retry.backoff(RULES, 1, 86_400.0, half) == 60.0


def budgeted(rules: Retry = RULES) -> Bench:
    return Bench(make=lambda: MemoryStore(half, rules))


def allowed(b: Bench, times: int) -> int:
    return sum(b.store.allow_retry(b.now) for _ in range(times))


def test_a_few_retries_are_always_allowed() -> None:
    assert allowed(budgeted(), 100) == 3


def test_a_fifth_of_the_calls_may_be_repeated() -> None:
    b = budgeted()
    for _ in range(100):
        b.run()
    assert allowed(b, 100) == 23


def test_a_call_counts_once_however_many_targets_it_asks() -> None:
    b = budgeted()
    for _ in range(20):
        ticket = b.ticket()
        for _ in range(10):
            b.run(ticket=ticket)
    assert allowed(b, 100) == 7


def test_a_call_that_was_refused_everywhere_does_not_count() -> None:
    b = budgeted()
    b.trip()
    counted = allowed(b, 100)
    for _ in range(100):
        b.refused()
    assert allowed(b, 100) == 0
    assert counted == 4


def test_both_are_forgotten_after_ten_seconds() -> None:
    b = budgeted()
    for _ in range(100):
        b.run()
    b.later(9.0)
    assert allowed(b, 100) == 23
    b.later(1.0)
    assert allowed(b, 100) == 0, "the calls are forgotten, the retries are not yet"
    b.later(9.0)
    assert allowed(b, 100) == 3


def test_an_outage_is_not_multiplied() -> None:
    b, retries = budgeted(), 0
    for _ in range(600):
        b.run()
        retries += allowed(b, 3)
        b.later(0.1)
    assert retries <= 600 * 0.2 + 3 * 7


def test_without_a_budget_no_retry_is_allowed() -> None:
    b = budgeted(Retry(budget=0.0, floor=0))
    for _ in range(100):
        b.run()
    assert allowed(b, 10) == 0


def test_an_earlier_moment_counts_as_the_latest() -> None:
    b = budgeted()
    assert allowed(b, 2) == 2
    assert b.store.allow_retry(Now(MONO - 100.0, WALL - 100.0))
    assert allowed(b, 2) == 0


def test_its_memory_is_bounded() -> None:
    state = retry.RetryState()
    for number in range(10_000):
        retry.deposit(state, number * 0.37)
        retry.withdraw(RULES, state, number * 0.37)
    assert len(state.seconds) <= retry.WINDOW
