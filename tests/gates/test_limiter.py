"""The limiter: never too much in any window, little less than the limit, and a slot for everybody who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from failover.rules import limiter
from failover.settings import RateLimit
from failover.store.base import Reason, Settlement
from failover.types import RateHint
from tests.gates.traffic import Bucket, Counter, FixedWindow, Load, Provider, SlidingWindow, Traffic, same
from tests.gates.world import Bench, gates, memory


def bench(**limits: int | float) -> Bench:
    return Bench(gates(limits=RateLimit(**limits)))


def quickly(b: Bench, times: int, tokens: tuple[int, int] = (0, 0)) -> None:
    for _ in range(times):
        b.run(tokens=tokens)


# ------------------------------------------------------------------- requests


def test_a_full_burst_is_allowed_at_once_and_no_more() -> None:
    b = bench(requests=5)
    quickly(b, 5)
    refusal = b.refused()
    assert refusal.reason is Reason.RATE_LIMITED
    assert refusal.detail == "5 of 5 requests used in 60 s"
    assert refusal.line is not None


def test_the_slot_is_when_the_oldest_entry_leaves_the_window() -> None:
    b = bench(requests=2)
    quickly(b, 1)
    b.later(10.0)
    quickly(b, 1)
    assert b.refused().retry_at == b.mono + 50.0
    b.later(50.0)
    quickly(b, 1)
    assert b.refused().retry_at == b.mono + 10.0


def test_a_call_in_flight_does_not_age() -> None:
    b = bench(requests=1)
    lease = b.take(ttl=1_000.0)
    b.later(500.0)
    assert b.refused().retry_at == b.mono + 60.0, "it may be answered now at the earliest"
    b.settle(lease)
    b.later(59.0)
    assert b.refused().retry_at == b.mono + 1.0
    b.later(1.0)
    b.take()


def test_an_entry_ages_from_the_first_byte_of_the_answer() -> None:
    b = bench(requests=1)
    lease = b.take()
    b.later(10.0)
    b.answered(lease)
    b.later(30.0)
    b.settle(lease)
    b.later(29.0)
    b.refused()
    b.later(1.0)
    b.take()


def test_an_abandoned_call_still_counts_for_it_may_have_arrived() -> None:
    b = bench(requests=1, tokens=100)
    b.abandon(b.take(tokens=(50, 20)))
    refusal = b.refused(tokens=(50, 0))
    assert refusal.retry_at == b.mono + 60.0


def test_a_lease_that_expired_counts_from_then_on() -> None:
    b = bench(requests=1)
    b.take(ttl=10.0)
    b.later(10.0)
    assert b.refused().retry_at == b.mono + 60.0


def test_windows_of_any_length_may_be_set() -> None:
    b = bench(requests=2, window=1.0)
    quickly(b, 2)
    assert b.refused().retry_at == b.mono + 1.0
    b.later(1.0)
    quickly(b, 2)


def test_the_log_is_bounded_and_errs_by_no_more_than_a_grain() -> None:
    state, limits = limiter.LimiterState(), RateLimit(requests=50_000)
    for number in range(200_000):
        now = number * 0.001
        hold = limiter.take(limits, state, 3, 5)
        limiter.settle(state, hold, 3, 5, now)
    assert len(state.log) <= limiter.GRAINS + 1
    exact = 60_000
    assert exact <= state.requests <= exact * (1 + 1.5 / limiter.GRAINS)
    assert state.requests == sum(entry.requests for entry in state.log)
    assert state.input == sum(entry.input for entry in state.log) == 3 * state.requests


def test_an_entry_is_counted_too_long_rather_than_too_short() -> None:
    b = bench(requests=2)
    quickly(b, 1)
    b.later(0.05)  # within the same grain, 60/512 s
    quickly(b, 1)
    b.later(59.96)
    b.refused()
    b.later(0.05)
    b.take()


# --------------------------------------------------------------------- tokens


def test_tokens_are_reserved_by_estimate_and_settled_by_the_real_figure() -> None:
    b = bench(tokens=100)
    lease = b.take(tokens=(40, 40))
    b.refused(tokens=(20, 1))
    b.settle(lease, Settlement(True, input_tokens=30, output_tokens=10))
    b.refused(tokens=(61, 0))
    b.take(tokens=(40, 20))


def test_without_real_figures_the_estimate_stands() -> None:
    b = bench(tokens=100)
    b.run(Settlement(True), tokens=(40, 40))
    b.refused(tokens=(10, 11))
    b.take(tokens=(10, 10))


def test_a_real_figure_above_the_estimate_counts_in_full() -> None:
    b = bench(tokens=100)
    b.run(Settlement(True, input_tokens=50, output_tokens=45), tokens=(10, 10))
    b.refused(tokens=(6, 0))
    b.take(tokens=(5, 0))


def test_tokens_age_from_the_end_for_they_may_be_counted_as_they_are_written() -> None:
    b = bench(tokens=100)
    lease = b.take(tokens=(30, 60))
    b.answered(lease)
    b.later(30.0)
    b.refused(tokens=(11, 0))
    b.settle(lease, Settlement(True, input_tokens=30, output_tokens=50))
    b.later(59.0)
    assert b.refused(tokens=(0, 21)).retry_at == b.mono + 1.0


def test_input_and_output_have_limits_of_their_own() -> None:
    b = bench(input_tokens=100, output_tokens=10)
    b.run(tokens=(50, 5))
    assert "output tokens" in b.refused(tokens=(10, 6)).detail
    assert "input tokens" in b.refused(tokens=(51, 5)).detail
    b.take(tokens=(50, 5))


def test_a_request_larger_than_the_window_is_refused_for_good_with_a_clear_error() -> None:
    b = bench(tokens=100)
    refusal = b.refused(tokens=(90, 11))
    assert refusal.reason is Reason.OVER_LIMIT
    assert refusal.line is None
    assert refusal.retry_at is None
    assert refusal.detail == "101 tokens are more than the limit of 100 in 60 s; no waiting helps"
    b.take(tokens=(90, 10))


def test_larger_than_the_window_is_said_for_input_and_output_too() -> None:
    assert bench(input_tokens=5).refused(tokens=(6, 0)).reason is Reason.OVER_LIMIT
    assert bench(output_tokens=5).refused(tokens=(0, 6)).reason is Reason.OVER_LIMIT


def test_no_slot_is_promised_while_others_may_give_tokens_back() -> None:
    b = bench(tokens=100)
    b.take(tokens=(50, 50))
    assert b.refused(tokens=(1, 0)).retry_at is None


def test_the_latest_of_several_slots_counts() -> None:
    b = bench(requests=1, tokens=100)
    b.run(tokens=(0, 0))
    b.later(10.0)
    first = b.refused(tokens=(100, 0)).retry_at
    assert first == b.mono + 50.0
    b.later(50.0)
    b.run(tokens=(100, 0))
    b.later(10.0)
    assert b.refused(tokens=(1, 0)).retry_at == b.mono + 50.0


# ---------------------------------------------------------------- concurrency


def test_no_more_calls_at_once_than_allowed() -> None:
    b = bench(concurrency=2)
    first, second = b.take(), b.take()
    refusal = b.refused()
    assert refusal.reason is Reason.CONCURRENCY
    assert refusal.line is not None
    assert refusal.retry_at is None
    b.answered(first)
    b.refused()
    b.settle(first)
    b.take()
    b.abandon(second)
    b.take()


def test_an_expired_lease_frees_its_place() -> None:
    b = bench(concurrency=1)
    b.take(ttl=5.0)
    refusal = b.refused()
    assert refusal.recheck == b.mono + 5.0
    b.later(5.0)
    b.take()


def test_a_renewed_lease_keeps_its_place() -> None:
    b = bench(concurrency=1)
    lease = b.take(ttl=5.0)
    b.store.renew(lease, b.mono + 20.0, b.now)
    b.later(19.0)
    b.refused()
    b.later(1.0)
    b.take()


def test_a_renewal_never_shortens() -> None:
    b = bench(concurrency=2)
    b.store.renew(b.take(ttl=50.0), b.mono + 5.0, b.now)
    b.take(ttl=10.0)
    b.later(10.0)
    assert b.state().in_flight == 1


# --------------------------------------------------------- what providers say


def hinted(b: Bench, **hint: int | float | None) -> None:
    b.run(Settlement(True, hint=RateHint(**hint)))


def test_retry_after_pauses_even_a_target_without_limits() -> None:
    b = bench()
    b.run(Settlement(None, pause=7.0))
    refusal = b.refused()
    assert refusal.reason is Reason.RATE_LIMITED
    assert refusal.retry_at == b.mono + 7.0
    b.later(6.999)
    b.refused()
    b.later(0.001)
    b.take()


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    b = bench()
    early = b.take()
    b.run(Settlement(None, pause=30.0))
    b.settle(early, Settlement(None, pause=1.0))
    assert b.refused().retry_at == b.mono + 30.0


def test_a_limit_known_only_from_headers_holds() -> None:
    b = bench()
    hinted(b, limit_requests=4)
    quickly(b, 3)
    assert b.refused().retry_at == b.mono + 60.0


def test_headers_never_loosen_what_the_user_set() -> None:
    b = bench(requests=2)
    hinted(b, limit_requests=100, remaining_requests=99, reset_requests=0.0)
    quickly(b, 1)
    b.refused()


def test_headers_tighten_what_the_user_set() -> None:
    b = bench(requests=100)
    hinted(b, limit_requests=2)
    quickly(b, 1)
    b.refused()


def test_a_raised_limit_is_believed_up_to_the_users() -> None:
    b = bench(requests=5)
    hinted(b, limit_requests=2)
    hinted(b, limit_requests=50)
    quickly(b, 3)
    b.refused()


def test_a_daily_limit_is_not_taken_for_a_minutes() -> None:
    b = bench()
    hinted(b, limit_requests=2, requests_window=86_400.0)
    quickly(b, 50)


def test_what_remains_is_all_that_is_sent_until_the_reset() -> None:
    b = bench()
    hinted(b, remaining_requests=2, reset_requests=20.0)
    b.take()
    b.take()
    assert b.refused().retry_at == b.mono + 20.0
    b.later(20.0)
    b.take()


def test_of_what_remains_the_calls_in_flight_are_taken_off() -> None:
    b = bench()
    b.take()
    b.take()
    hinted(b, remaining_requests=3, reset_requests=20.0)
    b.take()
    b.refused()


def test_an_older_answers_word_cannot_raise_what_remains() -> None:
    b = bench()
    old = b.take()
    b.later(1.0)
    hinted(b, remaining_requests=2, reset_requests=20.0)
    b.settle(old, Settlement(True, hint=RateHint(remaining_requests=9, reset_requests=20.0)))
    b.take()
    b.refused()


def test_a_newer_answers_word_replaces_what_remains() -> None:
    b = bench()
    hinted(b, remaining_requests=2, reset_requests=20.0)
    b.later(1.0)
    hinted(b, remaining_requests=9, reset_requests=20.0)
    for _ in range(9):
        b.take()
    b.refused()


def test_without_a_reset_what_remains_holds_for_a_window() -> None:
    b = bench()
    hinted(b, remaining_requests=0)
    assert b.refused().retry_at == b.mono + 60.0


def test_a_daily_remainder_holds_until_its_reset() -> None:
    b = bench()
    hinted(b, remaining_requests=0, reset_requests=4_000.0, requests_window=86_400.0)
    assert b.refused().retry_at == b.mono + 4_000.0


def test_remaining_tokens_hold_too() -> None:
    b = bench()
    hinted(b, limit_tokens=1_000, remaining_tokens=100, reset_tokens=30.0)
    b.refused(tokens=(60, 41))
    b.take(tokens=(60, 40))
    assert b.refused(tokens=(1, 0)).retry_at == b.mono + 30.0


def test_tokens_in_flight_are_taken_off_what_remains() -> None:
    b = bench()
    b.take(tokens=(30, 20))
    hinted(b, limit_tokens=1_000, remaining_tokens=100, reset_tokens=30.0)
    b.refused(tokens=(51, 0))
    b.take(tokens=(50, 0))


def test_a_request_larger_than_a_learned_limit_may_be_tried_alone() -> None:
    b = bench()
    hinted(b, limit_tokens=100)
    lease = b.take(tokens=(150, 0))
    b.refused(tokens=(1, 0))
    b.settle(lease)
    assert b.refused(tokens=(150, 0)).reason is Reason.RATE_LIMITED
    b.later(60.0)
    b.take(tokens=(150, 0))


def test_a_hint_without_figures_changes_nothing() -> None:
    b = bench()
    hinted(b)
    hinted(b, limit_requests=0)
    quickly(b, 100)


def slowed(sent: int) -> Bench:
    b = bench()
    quickly(b, sent - 1)
    b.run(Settlement(None, slow_down=True))
    return b


def room(b: Bench) -> int:
    """How many requests fit into a fresh window."""
    b.later(60.0)
    sent = 0
    while not hasattr(b.ask(), "reason"):
        sent += 1
        assert sent < 1_000
    return sent


def test_slow_down_halves_the_rate() -> None:
    b = slowed(40)
    assert b.refused().reason is Reason.RATE_LIMITED
    assert room(b) == int(40 * 0.6)  # half, grown back for a minute of five


def test_a_slowed_rate_grows_back_slowly_and_then_is_free() -> None:
    b = slowed(40)
    b.later(120.0)
    assert room(b) == int(40 * 0.8)
    b = slowed(40)
    b.later(300.0)
    quickly(b, 500)


def test_several_answers_to_one_burst_slow_down_once() -> None:
    b = bench()
    burst = [b.take() for _ in range(40)]
    for lease in burst:
        b.settle(lease, Settlement(None, slow_down=True))
    assert room(b) == int(40 * 0.6)


def test_being_asked_again_slows_down_further() -> None:
    b = slowed(40)
    b.later(60.0)
    b.run(Settlement(None, slow_down=True))
    b.later(1.0)
    assert b.refused().reason is Reason.RATE_LIMITED
    assert room(b) <= 1


def test_a_slowed_rate_is_never_nothing() -> None:
    b = slowed(1)
    assert room(b) == 1


# -------------------------------------------- providers that count in their own way

COUNTERS: tuple[Callable[[int], Counter], ...] = (
    FixedWindow,
    lambda limit: FixedWindow(limit, offset=29.0),
    lambda limit: FixedWindow(limit, offset=59.9),
    SlidingWindow,
    Bucket,
)
MINUTES = 5


def traffic(provider: Provider, loads: Iterator[Load], workers: int, **limits: int) -> Traffic:
    """Callers that always want more, for some minutes."""
    made = Traffic(memory(), gates(limits=RateLimit(**limits)), provider)
    for number in range(workers):
        made.at(0.37 * number / workers, lambda: made.worker(loads))
    made.run(60.0 * MINUTES)
    return made


def most_in_any_window(made: Traffic) -> int:
    times = sorted(served.sent for served in made.served)
    return max(sum(start <= time < start + 60.0 for time in times) for start in times)


def test_calls_that_cross_the_minute_are_served_and_no_429_is_provoked() -> None:
    for counter in COUNTERS:
        made = traffic(Provider(requests=counter(120)), same(Load()), workers=30, requests=120)
        assert made.provoked == 0
        assert len(made.served) >= 118 * MINUTES
        assert most_in_any_window(made) <= 120


def test_calls_spread_over_the_minute_are_all_served_at_once() -> None:
    for counter in COUNTERS:
        made = Traffic(memory(), gates(limits=RateLimit(requests=120)), Provider(requests=counter(120)))
        for number in range(118 * MINUTES):
            made.at(number * 60.0 / 118, partial(made.call, Load(first=0.3, whole=0.6)))
        made.run(60.0 * MINUTES + 1.0)
        assert made.provoked == 0
        assert len(made.served) >= 118 * MINUTES


def test_limits_known_only_from_headers_provoke_no_429_either() -> None:
    for counter in COUNTERS:
        made = traffic(Provider(requests=counter(120), speaks=True), same(Load()), workers=30)
        assert made.provoked == 0
        assert len(made.served) >= 110 * MINUTES


def test_others_who_use_the_same_key_are_seen_in_the_headers() -> None:
    for counter in COUNTERS:
        provider = Provider(requests=counter(120), speaks=True)
        made = Traffic(memory(), gates(), provider)
        for number in range(60 * MINUTES):  # one request a second, of somebody else
            made.at(float(number), partial(provider.arrives, float(number), 0))
        for _ in range(10):
            made.worker(same(Load()), pause=0.5)
        made.run(60.0 * MINUTES)
        assert made.provoked <= 3 * MINUTES, "what they sent since the last answer cannot be known"
        assert len(made.served) >= 50 * MINUTES


def mixed(seed: int) -> Iterator[Load]:
    """Calls of all sizes whose real use lies below the estimate, as it does for most."""
    random = Random(seed)
    while True:
        made = random.randint(10, 200)
        asked = random.randint(50, 400)
        first = random.uniform(0.05, 0.4)
        used = (int(asked * random.uniform(0.8, 1.0)), int(made * random.uniform(0.5, 1.0)))
        yield Load((asked, made), used, first, first + random.uniform(0.05, 0.6))


def test_a_token_quota_is_used_to_95_percent_without_a_429() -> None:
    for counter in COUNTERS:
        provider = Provider(tokens=counter(20_000), late=True)
        made = traffic(provider, mixed(3), workers=20, tokens=20_000)
        assert made.provoked == 0
        assert sum(served.tokens for served in made.served) >= 0.95 * 20_000 * MINUTES


def test_a_token_quota_counted_up_front_provokes_no_429() -> None:
    for counter in COUNTERS:
        provider = Provider(tokens=counter(20_000))
        exact = (Load(load.asked, load.asked, load.first, load.whole) for load in mixed(4))
        made = traffic(provider, exact, workers=20, tokens=20_000)
        assert made.provoked == 0
        assert sum(served.tokens for served in made.served) >= 0.95 * 20_000 * MINUTES


def test_slow_answers_never_bring_the_limit_over() -> None:
    random = Random(5)
    for counter in COUNTERS:
        provider = Provider(requests=counter(60), tokens=counter(5_000), late=True)
        loads = (
            Load((20, 60), (20, 60), first, first + random.expovariate(0.2))
            for first in iter(lambda: random.expovariate(0.5), None)
        )
        made = traffic(provider, loads, workers=40, requests=60, tokens=5_000)
        assert made.provoked == 0


def test_waiting_is_first_come_first_served() -> None:
    made = Traffic(memory(), gates(limits=RateLimit(requests=10)), Provider(requests=SlidingWindow(10)))
    for number in range(60):
        made.at(number * 0.01, lambda: made.call(Load()))
    made.run(600.0)
    assert [served.number for served in made.served] == sorted(served.number for served in made.served)
    assert len(made.served) == 60


def test_nobody_polls_while_waiting() -> None:
    made = Traffic(memory(), gates(limits=RateLimit(requests=10)), Provider())
    for _ in range(100):
        made.call(Load())
    made.run(900.0)
    assert len(made.served) == 100
    assert made.asks <= 100 * 4


def test_the_slot_counts_those_who_stand_before() -> None:
    made = Traffic(memory(), gates(limits=RateLimit(requests=10)), Provider(), give_up_after=130.0)
    for _ in range(50):
        made.call(Load())
    assert len(made.turned_away) == 20, "two windows and ten seconds are enough for 30 of them"
    assert {refusal.reason for refusal in made.turned_away} == {Reason.RATE_LIMITED}
    made.run(600.0)
    assert len(made.served) == 30
