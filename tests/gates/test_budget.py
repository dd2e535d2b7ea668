"""Hard budgets: never above the limit, periods by the calendar, and every cent charged where it was reserved."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.rules import budget
from failover.settings import RateLimit
from failover.store.base import Lease, Reason, Settlement
from tests.gates.traffic import Load, Provider, Traffic, same
from tests.gates.world import NANO, WALL, Bench, charge, gates, memory

DOLLAR = charge(1.0)


def paid(cost: int | None) -> Settlement:
    return Settlement(True, cost=cost)


def moment(zone: str, *when: int, fold: int = 0) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone), fold=fold).timestamp()  # type: ignore[arg-type, misc]


# ----------------------------------------------------------------------- money


def test_the_worst_case_is_reserved_and_the_real_cost_settled() -> None:
    b = Bench()
    lease = b.take(cost=NANO // 2, charges=[DOLLAR])
    assert b.money(DOLLAR).reserved == NANO // 2
    assert b.money(DOLLAR).spent == 0
    assert b.money(DOLLAR).left == NANO // 2
    b.settle(lease, paid(NANO // 10))
    assert b.money(DOLLAR).reserved == 0
    assert b.money(DOLLAR).spent == NANO // 10


def test_the_limit_can_be_spent_to_the_last_nano_dollar() -> None:
    b = Bench()
    b.run(paid(NANO - 1), cost=NANO, charges=[DOLLAR])
    b.refused(cost=2, charges=[DOLLAR])
    b.run(paid(1), cost=1, charges=[DOLLAR])
    assert b.money(DOLLAR).left == 0


def test_what_does_not_fit_any_more_is_refused_at_once_until_the_period_ends() -> None:
    b = Bench()
    b.run(paid(NANO // 2), cost=NANO // 2, charges=[DOLLAR])
    refusal = b.refused(cost=NANO // 2 + 1, charges=[DOLLAR])
    assert refusal.reason is Reason.BUDGET_SPENT
    assert refusal.line is None
    midnight = moment("UTC", 2025, 10, 10)
    assert refusal.retry_at == pytest.approx(b.mono + midnight - b.wall)
    assert refusal.detail == (
        "the day's budget of all targets: this call may cost up to $0.500000001, and $0.5 of $1 is spent"
    )


def test_what_can_never_fit_is_refused_without_a_moment_to_hope_for() -> None:
    refusal = Bench().refused(cost=NANO + 1, charges=[DOLLAR])
    assert refusal.reason is Reason.BUDGET_SPENT
    assert refusal.retry_at is None


def test_where_only_others_reservations_stand_in_the_way_it_may_be_waited_for() -> None:
    b = Bench()
    b.take(cost=NANO, charges=[DOLLAR], ttl=50.0)
    refusal = b.refused(cost=1, charges=[DOLLAR])
    assert refusal.reason is Reason.BUDGET_PENDING
    assert refusal.line is not None
    assert refusal.retry_at is None
    assert refusal.recheck == b.mono + 50.0


def test_a_reservation_that_blocks_is_looked_at_again_when_the_period_turns() -> None:
    b = Bench()
    hourly = charge(1.0, "hour")
    b.take(cost=NANO, charges=[hourly], ttl=1e6)
    refusal = b.refused(cost=1, charges=[hourly])
    assert refusal.recheck == pytest.approx(b.mono + 3600.0 - b.wall % 3600.0)


def test_an_abandoned_call_is_charged_what_its_caller_says() -> None:
    b = Bench()
    b.abandon(b.take(cost=NANO, charges=[DOLLAR]), NANO // 4)
    assert (b.money(DOLLAR).spent, b.money(DOLLAR).reserved) == (NANO // 4, 0)


def test_an_unknown_cost_charges_the_reservation() -> None:
    b = Bench()
    b.run(paid(None), cost=NANO // 3, charges=[DOLLAR])
    assert b.money(DOLLAR).spent == NANO // 3


def test_a_cost_of_nothing_is_charged_as_nothing() -> None:
    b = Bench()
    b.run(paid(0), cost=NANO // 3, charges=[DOLLAR])
    assert b.money(DOLLAR).spent == 0


def test_a_providers_surprise_is_recorded_in_full() -> None:
    b = Bench()
    b.run(paid(3 * NANO), cost=NANO // 2, charges=[DOLLAR])
    assert b.money(DOLLAR).spent == 3 * NANO
    assert b.money(DOLLAR).left == -2 * NANO
    assert b.refused(cost=1, charges=[DOLLAR]).reason is Reason.BUDGET_SPENT


def test_what_costs_nothing_is_refused_by_no_budget() -> None:
    b = Bench()
    b.run(paid(3 * NANO), cost=NANO, charges=[DOLLAR])
    b.take(cost=0, charges=[DOLLAR])
    b.take(cost=0, charges=[charge(0.0)])


def test_an_expired_lease_is_charged_not_refunded() -> None:
    b = Bench()
    b.take(cost=NANO // 2, charges=[DOLLAR], ttl=10.0)
    b.later(10.0)
    assert (b.money(DOLLAR).spent, b.money(DOLLAR).reserved) == (NANO // 2, 0)


def test_a_late_settlement_corrects_the_charge_once() -> None:
    b = Bench()
    lease = b.take(cost=NANO // 2, charges=[DOLLAR], ttl=10.0)
    b.later(11.0)
    b.settle(lease, paid(NANO // 10))
    assert b.money(DOLLAR).spent == NANO // 10
    b.settle(lease, paid(NANO // 5))
    b.abandon(lease, 0)
    assert b.money(DOLLAR).spent == NANO // 10


def test_a_late_settlement_without_a_figure_leaves_the_charge() -> None:
    b = Bench()
    lease = b.take(cost=NANO // 2, charges=[DOLLAR], ttl=10.0)
    b.later(11.0)
    b.settle(lease, paid(None))
    assert b.money(DOLLAR).spent == NANO // 2


def test_a_late_give_up_corrects_the_charge_too() -> None:
    b = Bench()
    lease = b.take(cost=NANO // 2, charges=[DOLLAR], ttl=10.0)
    b.later(11.0)
    b.abandon(lease, NANO // 8)
    assert b.money(DOLLAR).spent == NANO // 8


def test_every_budget_a_call_falls_under_must_have_room_or_none_is_touched() -> None:
    b = Bench()
    wide, narrow = charge(5.0, "month"), charge(1.0, scope="label:user=alice")
    b.refused(cost=2 * NANO, charges=[wide, narrow])
    assert b.money(wide).reserved == b.money(narrow).reserved == 0
    lease = b.take(cost=NANO, charges=[wide, narrow])
    assert b.money(wide).reserved == b.money(narrow).reserved == NANO
    b.settle(lease, paid(NANO // 2))
    assert b.money(wide).spent == b.money(narrow).spent == NANO // 2


def test_two_budgets_over_one_account_charge_it_once() -> None:
    b = Bench()
    loose, tight = charge(5.0), charge(1.0)
    b.run(paid(NANO // 2), cost=NANO // 2, charges=[loose, tight])
    assert b.money(loose).spent == NANO // 2
    assert b.refused(cost=NANO, charges=[loose, tight]).reason is Reason.BUDGET_SPENT


def test_scopes_have_accounts_of_their_own() -> None:
    b = Bench()
    alice, bob = charge(1.0, scope="label:user=alice"), charge(1.0, scope="label:user=bob")
    b.run(paid(NANO), cost=NANO, charges=[alice])
    b.refused(cost=1, charges=[alice])
    b.take(cost=NANO, charges=[bob])


def test_a_spent_budget_is_final_even_where_the_rate_could_be_waited_for() -> None:
    b = Bench(gates(limits=RateLimit(requests=1)))
    b.run(paid(NANO), cost=NANO, charges=[DOLLAR])
    assert b.refused(cost=1, charges=[DOLLAR]).reason is Reason.BUDGET_SPENT
    assert b.refused(cost=0, charges=[DOLLAR]).reason is Reason.RATE_LIMITED


def test_of_several_budgets_a_spent_one_is_named_before_a_pending_one() -> None:
    b = Bench()
    pending, spent = charge(2.0), charge(1.0, scope="target:a")
    b.run(paid(NANO), cost=NANO, charges=[spent])
    b.take(cost=2 * NANO, charges=[pending])
    assert b.refused(cost=1, charges=[pending, spent]).reason is Reason.BUDGET_SPENT


# --------------------------------------------------------------------- periods


def test_a_call_is_charged_to_the_period_it_was_reserved_in() -> None:
    b = Bench()
    b.wall = moment("UTC", 2025, 10, 9, 23, 59)
    lease = b.take(cost=NANO, charges=[DOLLAR])
    assert lease.period == ("2025-10-09",)
    b.later(120.0)
    assert b.money(DOLLAR).reserved == 0, "a new day, and nothing is reserved in it"
    b.settle(lease, paid(NANO))
    assert b.money(DOLLAR).spent == 0
    b.take(cost=NANO, charges=[DOLLAR])


def test_a_new_period_begins_with_the_whole_budget() -> None:
    for per, first, second in (
        ("hour", (2025, 10, 9, 13, 59, 59), (2025, 10, 9, 14)),
        ("day", (2025, 10, 9, 23, 59, 59), (2025, 10, 10)),
        ("week", (2025, 10, 12, 23, 59, 59), (2025, 10, 13)),
        ("month", (2025, 10, 31, 23, 59, 59), (2025, 11, 1)),
    ):
        b, watched = Bench(), charge(1.0, per)
        b.wall = moment("UTC", *first)
        b.run(paid(NANO), cost=NANO, charges=[watched])
        b.refused(cost=1, charges=[watched])
        assert b.money(watched).resets_at == moment("UTC", *second), per
        b.later(1.0)
        assert b.money(watched).spent == 0, per
        b.take(cost=NANO, charges=[watched])


def test_a_total_never_resets() -> None:
    b, watched = Bench(), charge(1.0, "total")
    b.run(paid(NANO), cost=NANO, charges=[watched])
    b.later(10 * 365 * 86_400.0)
    assert b.money(watched).resets_at is None
    refusal = b.refused(cost=1, charges=[watched])
    assert refusal.retry_at is None


def test_budgets_of_different_periods_run_side_by_side() -> None:
    b = Bench()
    daily, monthly = charge(1.0), charge(1.5, "month")
    b.run(paid(NANO), cost=NANO, charges=[daily, monthly])
    b.later(86_400.0)
    assert b.money(daily).spent == 0
    assert b.money(monthly).spent == NANO
    assert b.refused(cost=NANO, charges=[daily, monthly]).reason is Reason.BUDGET_SPENT


def test_a_day_begins_at_midnight_of_its_time_zone() -> None:
    b, watched = Bench(), charge(1.0, timezone="Asia/Tokyo")
    b.wall = moment("Asia/Tokyo", 2025, 10, 9, 23, 59, 59)
    b.run(paid(NANO), cost=NANO, charges=[watched])
    b.later(1.0)
    b.take(cost=NANO, charges=[watched])


def test_days_on_which_the_clocks_change_have_23_and_25_hours() -> None:
    for day, after, hours in (((2025, 3, 30), (2025, 3, 31), 23), ((2025, 10, 26), (2025, 10, 27), 25)):
        noon = moment("Europe/Berlin", *day, 12)
        period = budget.period("day", "Europe/Berlin", noon)
        assert period.end == moment("Europe/Berlin", *after)
        assert period.end - moment("Europe/Berlin", *day) == hours * 3600.0


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    first = budget.period("hour", "Europe/Berlin", moment("Europe/Berlin", 2025, 10, 26, 2, 30))
    again = budget.period("hour", "Europe/Berlin", moment("Europe/Berlin", 2025, 10, 26, 2, 30, fold=1))
    assert (first.key, again.key) == ("2025-10-26T02+0200", "2025-10-26T02+0100")
    assert again.end == first.end + 3600.0  # type: ignore[operator]


def test_a_day_without_a_midnight_begins_where_midnight_would_be() -> None:
    # Cairo, 25 April 2025: the clocks go from 00:00 to 01:00
    late = moment("Africa/Cairo", 2025, 4, 24, 23, 59, 59)
    period = budget.period("day", "Africa/Cairo", late)
    assert period == ("2025-04-24", late + 1.0)
    assert budget.period("day", "Africa/Cairo", late + 1.0).key == "2025-04-25"


def test_a_day_whose_last_hour_comes_twice_is_one_day() -> None:
    # Havana, 2 November 2025: the clocks go from 01:00 back to 00:00
    first = moment("America/Havana", 2025, 11, 2, 0, 30)
    again = moment("America/Havana", 2025, 11, 2, 0, 30, fold=1)
    assert again - first == 3600.0
    one, two = (budget.period("day", "America/Havana", at) for at in (first, again))
    assert one == two
    assert budget.period("day", "America/Havana", first - 1801.0).end == first - 1800.0


def test_weeks_begin_on_monday_across_the_turn_of_the_year() -> None:
    keys = [budget.period("week", "UTC", moment("UTC", 2025, 12, day)).key for day in (28, 29, 31)]
    assert keys == ["2025-W52", "2026-W01", "2026-W01"]
    assert budget.period("week", "UTC", moment("UTC", 2026, 1, 4)) == ("2026-W01", moment("UTC", 2026, 1, 5))


def test_december_is_followed_by_january() -> None:
    assert budget.period("month", "UTC", moment("UTC", 2025, 12, 31)) == ("2025-12", moment("UTC", 2026, 1, 1))


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
ZONES += ["America/Havana", "Pacific/Apia", "America/St_Johns", "Asia/Beirut", "Africa/Casablanca"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    st.floats(946_684_800.0, 1_900_000_000.0),
)
def test_a_period_ends_after_it_began_and_the_next_one_is_another(per: str, zone: str, wall: float) -> None:
    now = budget.period(per, zone, wall)
    assert now.end is not None
    assert wall < now.end
    after = budget.period(per, zone, now.end)
    assert after.key != now.key
    assert after.end is not None
    assert after.end > now.end
    if per != "hour":
        assert budget.period(per, zone, now.end - 0.01).key == now.key


def test_without_a_time_zone_the_machines_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(time, "tzset"):
        pytest.skip("the machine's zone cannot be set here")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        noon = moment("Europe/Berlin", 2025, 10, 26, 12)
        assert budget.period("day", None, noon) == budget.period("day", "Europe/Berlin", noon)
        night = moment("Europe/Berlin", 2025, 10, 26, 2, 30, fold=1)
        assert budget.period("hour", None, night) == budget.period("hour", "Europe/Berlin", night)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_clock_that_is_set_back_brings_no_old_period_back() -> None:
    b = Bench()
    b.wall = moment("UTC", 2025, 10, 9, 12)
    b.run(paid(NANO), cost=NANO, charges=[DOLLAR])
    b.later(86_400.0)
    b.run(paid(NANO), cost=NANO, charges=[DOLLAR])
    b.wall -= 86_400.0
    assert b.refused(cost=1, charges=[DOLLAR]).reason is Reason.BUDGET_SPENT


# ---------------------------------------------------------------------- memory


def test_accounts_are_never_forgotten_within_their_period_however_many() -> None:
    b = Bench()
    users = [charge(1.0, scope=f"label:user={number}") for number in range(5_000)]
    for watched in users:
        b.run(paid(NANO), cost=NANO, charges=[watched])
    assert all(b.money(watched).spent == NANO for watched in users)


def test_pages_of_periods_that_are_over_are_dropped() -> None:
    book = budget.Book("day", "UTC")
    for day in range(50):
        budget.turn(book, WALL + day * 86_400.0)
        key = budget.reserve(book, f"user {day}", 10)
        budget.settle(book, key, f"user {day}", 10, 10)
    assert len(book.pages) == 1


def test_an_old_page_lives_as_long_as_money_is_reserved_on_it() -> None:
    book = budget.Book("day", "UTC")
    budget.turn(book, WALL)
    first, second = budget.reserve(book, "all", 10), budget.reserve(book, "all", 10)
    budget.turn(book, WALL + 86_400.0)
    budget.settle(book, first, "all", 10, 7)
    assert book.pages[first].accounts["all"] == budget.Account(7, 10)
    budget.settle(book, second, "all", 10, 7)
    assert list(book.pages) == []


def test_a_correction_for_a_period_that_is_gone_changes_nothing() -> None:
    b = Bench()
    lease = b.take(cost=NANO // 2, charges=[DOLLAR], ttl=10.0)
    b.later(2 * 86_400.0)
    assert b.money(DOLLAR).spent == 0
    b.settle(lease, paid(NANO // 4))
    assert b.money(DOLLAR).spent == 0


# ----------------------------------------------------------------- concurrency


def spend(limit: float, worst: int, real: int, workers: int, calls: int) -> tuple[Traffic, Bench]:
    """Workers that call until they are refused; each call costs ``real`` and could have cost ``worst``."""
    watched = charge(limit)
    made = Traffic(memory(), gates(), Provider())
    load = Load(cost=worst, real_cost=real, charges=(watched,))
    for _ in range(workers):
        for _ in range(calls // workers):
            made.call(load)
    made.run(1_000.0)
    b = Bench()
    b.store, b.mono, b.wall = made.store, made.time, made.now.wall
    return made, b


def test_a_hundred_callers_spend_at_least_the_limit_less_one_reservation_and_never_more() -> None:
    worst, real = 20_000_000, 7_000_000
    made, b = spend(0.5, worst, real, workers=32, calls=320)
    spent = b.money(charge(0.5)).spent
    assert 0.5 * NANO - worst <= spent <= 0.5 * NANO
    assert len(made.served) == spent // real
    assert {refusal.reason for refusal in made.turned_away} == {Reason.BUDGET_SPENT}
    assert len(made.served) + len(made.turned_away) == 320


def test_those_who_wait_for_money_are_served_in_order() -> None:
    made, _ = spend(1.0, NANO // 3, NANO // 100, workers=1, calls=40)
    assert [served.number for served in made.served] == list(range(1, 41))


def test_a_small_call_does_not_overtake_a_large_one_that_waits_for_money() -> None:
    b = Bench()
    first = b.take(cost=NANO // 2, charges=[DOLLAR])
    large = b.ticket()
    b.line_up(large, b.refused(cost=NANO, charges=[DOLLAR], ticket=large))
    small = b.refused(cost=1, charges=[DOLLAR])
    assert small.reason is Reason.BUDGET_PENDING
    assert small.detail == "the day's budget of all targets: 1 in line before it"
    assert isinstance(b.ask(cost=0, charges=[DOLLAR]), Lease), "what is free waits for nobody's money"
    b.settle(first, paid(0))
    assert large.woken
    b.take(cost=NANO, charges=[DOLLAR], ticket=large)


def test_one_after_the_other_the_budget_is_used_up() -> None:
    made = Traffic(memory(), gates(), Provider())
    load = Load(cost=NANO // 10, real_cost=NANO // 10, charges=(DOLLAR,))
    for _ in range(12):
        made.call(load)
    made.run(100.0)
    assert len(made.served) == 10
    assert next(same(load)) is load
