"""The circuit breaker, seen through the store as a caller sees it."""

from __future__ import annotations

from failover.rules import breaker
from failover.settings import CircuitBreaker
from failover.store.base import Lease, Reason, Rejection, Settlement
from tests.gates.world import BLAMED, NOBODYS, OK, Bench, gates, half

RULES = CircuitBreaker(failure_threshold=3, recovery_timeout=30.0, max_recovery_timeout=100.0)
RATES = CircuitBreaker(
    failure_threshold=100, failure_rate=0.5, slow_call_rate=0.5, slow_call=2.0, minimum_calls=10, window=60.0
)


def bench(rules: CircuitBreaker = RULES) -> Bench:
    return Bench(gates(breaker=rules))


def tripped(rules: CircuitBreaker = RULES) -> Bench:
    made = bench(rules)
    made.trip()
    return made


def half_open(rules: CircuitBreaker = RULES) -> tuple[Bench, Lease]:
    made = tripped(rules)
    made.later(rules.recovery_timeout)
    return made, made.take()


def test_it_opens_at_the_threshold_and_not_before() -> None:
    b = bench()
    b.run(BLAMED)
    b.run(BLAMED)
    assert b.state().state == "closed"
    assert b.state().consecutive_failures == 2
    b.run(BLAMED)
    assert b.state().state == "open"
    assert b.state().detail == "3 failures in a row"


def test_a_success_in_between_starts_the_count_anew() -> None:
    b = bench()
    for result in (BLAMED, BLAMED, OK, BLAMED, BLAMED):
        b.run(result)
    assert b.state().state == "closed"


def test_nobodys_failure_counts_neither_way() -> None:
    b = bench()
    for result in (BLAMED, BLAMED, NOBODYS, NOBODYS, Settlement(False, blamed=False)):
        b.run(result)
    assert b.state().consecutive_failures == 2
    b.run(BLAMED)
    assert b.state().state == "open"


def test_an_open_circuit_refuses_at_once_and_says_until_when() -> None:
    b = tripped()
    refusal = b.refused()
    assert refusal.reason is Reason.CIRCUIT_OPEN
    assert refusal.line is None, "an open circuit is never waited for"
    assert refusal.retry_at == b.mono + 30.0
    assert refusal.detail == "3 failures in a row; next trial in 30.0 s"


def test_nothing_is_sent_before_the_open_time_is_over() -> None:
    b = tripped()
    b.later(29.999)
    assert b.refused().reason is Reason.CIRCUIT_OPEN
    b.later(0.001)
    assert b.take().probe


def test_exactly_one_probe_is_let_through() -> None:
    b, lease = half_open()
    assert lease.probe
    assert [b.refused().reason for _ in range(20)] == [Reason.CIRCUIT_OPEN] * 20
    assert b.refused().retry_at is None


def test_several_probes_are_let_through_where_asked_for_and_all_must_succeed() -> None:
    b, first = half_open(CircuitBreaker(failure_threshold=3, probes=3))
    second, third = b.take(), b.take()
    b.refused()
    b.settle(first)
    b.refused()  # a place used by a success stays used
    b.settle(second)
    assert b.state().state == "half_open"
    b.settle(third)
    assert b.state().state == "closed"


def test_one_failed_probe_of_several_opens_it_again() -> None:
    b, first = half_open(CircuitBreaker(failure_threshold=3, probes=2))
    second = b.take()
    b.settle(first, OK)
    b.settle(second, BLAMED)
    assert b.state().state == "open"
    assert b.state().detail == "a trial call failed"


def test_a_successful_probe_closes_the_circuit() -> None:
    b, lease = half_open()
    b.settle(lease)
    assert b.state().state == "closed"
    assert not b.take().probe


def test_a_probe_is_decided_at_first_content() -> None:
    b, lease = half_open()
    b.answered(lease)
    assert b.state().state == "closed"
    b.settle(lease, BLAMED)  # the stream broke later: that was the probe's call, and it is stale
    assert b.state().state == "closed"
    assert b.state().consecutive_failures == 0


def test_first_content_of_an_ordinary_call_decides_nothing() -> None:
    b = bench()
    b.run(BLAMED)
    b.answered(b.take())
    assert b.state().consecutive_failures == 1


def test_a_cancelled_probe_gives_its_place_back() -> None:
    b, lease = half_open()
    b.abandon(lease)
    assert b.state().state == "half_open"
    assert b.take().probe


def test_a_probe_that_was_nobodys_failure_gives_its_place_back() -> None:
    b, lease = half_open()
    b.settle(lease, NOBODYS)
    assert b.state().state == "half_open"
    assert b.take().probe


def test_a_probe_that_never_returns_gives_its_place_back_when_its_lease_ends() -> None:
    b = tripped()
    b.later(30.0)
    b.take(ttl=20.0)
    b.later(19.9)
    b.refused()
    b.later(0.1)
    assert b.take().probe


def test_a_silent_probe_loses_its_place_when_patience_ends() -> None:
    b = tripped()
    b.later(30.0)
    b.take(ttl=600.0, patience=5.0)
    b.later(4.9)
    b.refused()
    b.later(0.1)
    assert b.take(patience=5.0).probe
    b.refused()


def test_a_silent_probe_that_answers_after_all_still_counts() -> None:
    b = tripped()
    b.later(30.0)
    slow = b.take(patience=5.0)
    b.later(10.0)
    b.settle(slow)
    assert b.state().state == "closed"


def test_a_late_success_does_not_close_the_circuit() -> None:
    b = bench()
    early = b.take()
    b.trip()
    before = b.state()
    b.settle(early, OK)
    assert b.state().state == before.state == "open"
    assert b.state().until == before.until


def test_a_late_failure_does_not_prolong_the_open_time() -> None:
    b = bench()
    early = b.take()
    b.trip()
    b.later(10.0)
    until = b.state().until
    b.settle(early, BLAMED)
    assert b.state().until == until


def test_a_late_success_is_no_probe() -> None:
    b = bench()
    early = b.take()
    b.trip()
    b.later(30.0)
    probe = b.take()
    b.settle(early, OK)
    assert b.state().state == "half_open"
    b.refused()
    b.settle(probe, OK)
    assert b.state().state == "closed"


def test_a_late_failure_does_not_count_after_the_circuit_has_closed() -> None:
    b = bench()
    early = [b.take() for _ in range(3)]
    b.trip()
    b.later(30.0)
    b.run(OK)
    for lease in early:
        b.settle(lease, BLAMED)
    assert b.state().state == "closed"
    assert b.state().consecutive_failures == 0


def test_the_other_probes_result_is_late_once_one_has_failed() -> None:
    b, first = half_open(CircuitBreaker(failure_threshold=3, probes=2))
    second = b.take()
    b.settle(first, BLAMED)
    until = b.state().until
    b.settle(second, OK)
    assert b.state().state == "open"
    assert b.state().until == until


def open_times(b: Bench, times: int) -> list[float]:
    waits = []
    for _ in range(times):
        until = b.state().until
        assert until is not None
        waits.append(until - b.mono)
        b.later(until - b.mono)
        b.run(BLAMED)
    return waits


def test_the_open_time_doubles_with_jitter_up_to_the_cap() -> None:
    # half() gives the middle of the upper half: 3/4 of the doubled time
    assert open_times(tripped(), 5) == [30.0, 45.0, 75.0, 75.0, 75.0]


def test_the_open_time_is_whole_again_after_a_success() -> None:
    b = tripped()
    open_times(b, 3)
    b.later(100.0)
    b.run(OK)
    b.trip()
    assert b.state().until == b.mono + 30.0


def test_jitter_keeps_within_the_upper_half_and_never_below_the_shortest() -> None:
    for openings in range(1, 80):
        low = breaker.open_time(RULES, openings, lambda: 0.0)
        high = breaker.open_time(RULES, openings, lambda: 1.0)
        assert high == min(100.0, 30.0 * 2.0**openings)
        assert low == max(30.0, high / 2)


def test_it_stays_open_as_long_as_the_provider_itself_asked_for() -> None:
    b = bench()
    b.run(BLAMED)
    b.run(BLAMED)
    b.run(Settlement(False, blamed=True, pause=50.0))
    assert b.state().until == b.mono + 50.0


def test_a_failure_rate_opens_it_once_there_were_enough_calls() -> None:
    b = bench(RATES)
    for number in range(9):
        b.run(BLAMED if number % 2 == 0 else OK)
    assert b.state().state == "closed"
    b.run(OK)
    assert b.state().state == "open"
    assert b.state().detail == "5 of 10 calls failed"


def test_a_failure_rate_below_the_threshold_leaves_it_closed() -> None:
    b = bench(RATES)
    for number in range(100):
        b.run(BLAMED if number % 5 == 0 else OK)
    assert b.state().state == "closed"


def test_slow_calls_open_it() -> None:
    b = bench(RATES)
    for number in range(10):
        b.run(Settlement(True, latency=2.5 if number % 2 else 2.0))
    assert b.state().detail == "5 of 10 calls were slow"


def test_a_call_without_any_content_is_as_slow_as_it_was_long() -> None:
    b = bench(RATES)
    leases = [b.take() for _ in range(10)]
    b.later(2.5)
    for lease in leases:
        b.settle(lease, OK)
    assert b.state().detail == "10 of 10 calls were slow"


def test_where_slowness_opens_a_circuit_a_slow_probe_does_not_close_it() -> None:
    b = bench(RATES)
    for _ in range(10):
        b.run(BLAMED)
    b.later(30.0)
    probe = b.take()
    b.later(2.5)
    b.answered(probe)
    assert b.state().state == "open"
    assert b.state().detail == "a trial call took 2.5 s"


def test_a_slow_probe_closes_it_where_nobody_cares_about_slowness() -> None:
    b, probe = half_open()
    b.later(45.0)
    b.answered(probe)
    assert b.state().state == "closed"


def test_what_left_the_window_does_not_count_for_the_rate() -> None:
    b = bench(RATES)
    for _ in range(9):
        b.run(BLAMED)
    b.later(60.0)
    for _ in range(9):
        b.run(OK)
    assert b.state().state == "closed"
    b.run(OK)
    assert b.state().state == "closed"


def test_the_windows_memory_is_bounded() -> None:
    state = breaker.BreakerState()
    for number in range(5_000):
        breaker.settle(RATES, state, "x", 0, number % 3 > 0, 0.1, number * 0.25, 0.0, half)
    assert state.phase == "closed"
    assert len(state.buckets) <= breaker.BUCKETS


def test_closing_starts_the_rates_anew() -> None:
    b = bench(RATES)
    for _ in range(10):
        b.run(BLAMED)
    b.later(30.0)
    b.run(OK)
    for _ in range(9):
        b.run(OK)
    b.run(BLAMED)
    assert b.state().state == "closed"


def test_enabling_by_hand_closes_it() -> None:
    b = tripped()
    open_times(b, 2)
    b.store.enable(b.here, b.now)
    assert b.state().state == "closed"
    assert not b.take().probe
    b.trip()
    assert b.state().until == b.mono + 30.0, "its open time is the shortest again"


def test_an_open_circuit_whose_time_is_over_is_shown_as_half_open() -> None:
    b = tripped()
    assert b.state().state == "open"
    b.later(30.0)
    assert b.state().state == "half_open"
    assert b.state().until is None


def test_circuits_of_different_targets_are_their_own() -> None:
    b = tripped()
    other = gates("b", RULES)
    assert isinstance(b.ask(other), Lease)
    assert isinstance(b.ask(), Rejection)


def test_a_dead_provider_costs_no_more_than_the_threshold_and_one_probe_per_opening() -> None:
    b, sent = bench(), 0
    for _ in range(40):  # ten calls a second for four seconds
        answer = b.ask()
        if isinstance(answer, Lease):
            sent += 1
            b.settle(answer, BLAMED)
        b.later(0.1)
    assert sent == 3
