"""Outages in virtual time: what the settings do is what they would have done, and the seed decides everything."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from failover import Budget, CircuitBreaker, ConfigurationError, Failover, Hedge, Price, Retry, Target, Timeouts
from failover._words import amount, duration, money, share
from failover.simulate import (
    Exactly,
    Incident,
    LogNormal,
    Profile,
    Quota,
    Result,
    Samples,
    Scenario,
    Traffic,
    compare,
    run,
    run_file,
)
from failover.simulate.chance import seconds
from failover.simulate.result import quantile

TWO = [
    Target("first", base_url="http://127.0.0.1:1/v1", model="a", price=Price(1, 1)),
    Target("second", base_url="http://127.0.0.1:2/v1", model="b", price=Price(2, 2)),
]
STEADY = Profile(Exactly(1.0), tokens_per_second=100, output_tokens=100, failure_rate=0.0)
"""Two seconds for every answer: one until it begins, one for its 100 tokens."""
OUTAGE = Incident("first", "down", "10m", "20m")
DOLLAR = 1_000_000  # tokens that cost one at the first target's price


def scenario(*incidents: Incident, profile: Profile = STEADY, seed: int = 0, **traffic: Any) -> Scenario:
    asked = {"rate": 1.0, "duration": "30m", "prompt_tokens": 100, **traffic}
    return Scenario(Traffic(**asked), incidents, {"*": profile}, seed)


def simulated(*incidents: Incident, targets: Any = TWO, profile: Profile = STEADY, **options: Any) -> Result:
    """Half an hour of one call a second over two targets, the first one first."""
    traffic = options.pop("traffic", {})
    return run(scenario(*incidents, profile=profile, **traffic), targets, **{"strategy": "priority", **options})


# ------------------------------------------------------------- determinism


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    outage = Incident("first", "error", "5m", "20m", share=0.5)
    one, again = (run(scenario(outage, profile=Profile(), seed=7), TWO) for _ in range(2))
    other = run(scenario(outage, profile=Profile(), seed=8), TWO)
    assert list(one.calls) == list(again.calls)
    assert one.to_dict() == again.to_dict()
    assert list(one.calls) != list(other.calls)


def test_every_policy_meets_the_same_callers() -> None:
    found = compare({"a": {}, "b": {"strategy": "priority", "retry": Retry(attempts=0)}}, scenario(OUTAGE), TWO)
    arrivals = [sorted(call.arrived for call in result.calls) for result in found.values()]
    assert arrivals[0] == arrivals[1]


def test_no_key_is_needed_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run(scenario(), ["openai:gpt-6-luna"]).figures.success == 1.0


# ------------------------------------------------------------------ outages


def test_a_quiet_time_takes_what_the_profile_says() -> None:
    figures = simulated().figures
    assert (figures.success, figures.wasted, figures.errors) == (1.0, 0, {})
    assert (figures.p50, figures.p99) == (2.0, 2.0)
    assert figures.cost == pytest.approx(figures.calls * 200 / DOLLAR)


def test_an_outage_is_survived_and_the_breaker_bounds_what_it_wastes() -> None:
    result = simulated(OUTAGE)
    during = result.between("10m", "20m")
    first, second = result.targets
    assert result.figures.success == 1.0
    assert during.calls <= second.answered < during.calls + 310  # and until the longest opening is over
    assert 5 <= during.wasted <= 15  # five open the circuit, then one trial each time it is half-open
    assert first.failures == {"connect": during.wasted}
    assert first.passed_over["circuit_open"] > 500


def test_the_lanes_show_when_the_circuit_was_open() -> None:
    lane = simulated(OUTAGE).lanes["first"]
    states = [span.state for span in lane]
    assert states[0] == states[-1] == "closed"
    assert {"open", "half_open"} <= set(states)
    opened = next(span.start for span in lane if span.state == "open")
    assert 600 < opened < 620
    assert all(earlier.end == later.start for earlier, later in pairwise(lane))


def test_without_a_second_target_an_outage_is_an_outage() -> None:
    result = simulated(OUTAGE, targets=TWO[:1])
    assert result.between("11m", "19m").success == 0.0
    assert result.between("0s", "9m").success == 1.0
    assert result.figures.errors.keys() == {"AllTargetsFailed"}


def test_a_refused_key_switches_the_target_off_until_the_end() -> None:
    result = simulated(Incident("first", "refused_key", "10m", "11m"))
    first, second = result.targets
    assert first.failures["auth"] <= 3  # those in the air
    assert first.state == "disabled"
    assert result.lanes["first"][-1].state == "disabled"
    assert second.answered > 1000


def test_a_hanging_target_costs_the_timeout_and_then_the_breaker_helps() -> None:
    result = simulated(Incident("first", "hang", "10m", "20m"), timeouts=Timeouts(whole=10))
    during = result.between("10m", "19m")
    assert during.success == 1.0
    assert during.p99 == pytest.approx(12.0)  # ten until the clock runs out, two for the answer
    assert during.p50 == pytest.approx(2.0)


def test_a_slow_target_is_left_when_slowness_opens_the_circuit() -> None:
    slow = Incident("first", "slow", "10m", "20m", factor=20)
    patient, strict = (
        simulated(slow, breaker=breaker).between("12m", "20m")
        for breaker in (CircuitBreaker(), CircuitBreaker(slow_call_rate=0.5, slow_call=10))
    )
    assert patient.p50 == pytest.approx(40.0)
    assert strict.p50 == pytest.approx(2.0)


def test_a_share_of_the_calls_is_hit() -> None:
    figures = simulated(Incident("first", "error", 0, "30m", share=0.1), breaker=CircuitBreaker(1000)).figures
    assert 0.07 < figures.wasted / figures.calls < 0.13


def test_a_flapping_target_is_up_in_between() -> None:
    spans = list(Incident("a", "down", 0, 50, flapping=20).spans())
    assert spans == [(0.0, 20.0), (40.0, 50.0)]
    flapping = Incident("first", "down", 0, "30m", flapping="1m")
    wasted = simulated(flapping, breaker=CircuitBreaker(1000)).figures.wasted
    assert 800 < wasted < 1000


def test_an_incident_of_a_provider_takes_all_its_targets() -> None:
    targets = ["openai:gpt-6-luna", "openai:gpt-6-sol", "groq:openai/gpt-oss-120b"]
    result = run(scenario(Incident("openai", "down", "10m", "20m")), targets)
    assert [each.failures.get("connect", 0) > 0 for each in result.targets] == [True, True, False]
    assert result.figures.success == 1.0


# ------------------------------------------------------------------ streams


def test_a_cut_stream_is_an_error_or_is_resumed() -> None:
    cut = Incident("first", "cut", "10m", "20m")
    asked = {"streamed": True}
    raised = simulated(cut, traffic=asked).between("10m", "20m")
    resumed = simulated(cut, traffic=asked, on_stream_cut="resume").between("10m", "20m")
    assert raised.errors.keys() == {"StreamInterrupted"}
    assert raised.errors["StreamInterrupted"] < raised.calls / 4  # each trial begins well, so the circuit closes
    assert resumed.success == 1.0


def test_a_stream_that_does_not_begin_is_given_up_after_first_content() -> None:
    hang = Incident("first", "hang", "10m", "20m")
    figures = simulated(hang, traffic={"streamed": True}, timeouts=Timeouts(first_content=5)).between("10m", "19m")
    assert figures.p99 == pytest.approx(7.0)


# -------------------------------------------------------------------- gates


def test_a_limit_that_is_set_keeps_the_provider_from_answering_429() -> None:
    strict = Profile(Exactly(1.0), output_tokens=100, failure_rate=0.0, quota=Quota(requests=30, headers=False))
    unset = simulated(profile=strict)
    kept = simulated(profile=strict, targets=[Target("first", base_url=TWO[0].base_url, model="a", rpm=29), TWO[1]])
    assert unset.targets[0].failures["rate_limited"] > 10
    assert not kept.targets[0].failures
    assert kept.targets[0].passed_over["rate_limited"] > 10


def test_headers_tell_in_time_what_remains() -> None:
    told, untold = (
        simulated(profile=Profile(Exactly(0.2), failure_rate=0.0, quota=Quota(requests=30, headers=headers)))
        for headers in (True, False)
    )
    assert told.figures.wasted < untold.figures.wasted / 3


def test_calls_stand_in_line_for_room_and_leave_it_in_order() -> None:
    narrow = [Target("first", base_url=TWO[0].base_url, model="a", concurrency=1)]
    result = run(scenario(shape="constant", rate=0.4, duration=100), narrow)
    burst = Scenario(Traffic(trace=(0.0, 0.1, 0.2, 0.3), prompt_tokens=100), (), {"*": STEADY})
    lined = list(run(burst, narrow).calls)
    assert result.figures.p99 == pytest.approx(2.0)
    assert run(burst, narrow).calls[1:3] == lined[1:3]
    assert run(burst, narrow).calls[-1] == lined[-1]
    assert [call.arrived for call in lined] == [0.0, 0.1, 0.2, 0.3]
    assert [round(call.arrived + call.latency, 3) for call in lined] == [2.0, 4.0, 6.0, 8.0]


def test_a_budget_is_never_exceeded_and_begins_anew_each_day() -> None:
    day = {"duration": "2d", "rate": 0.05}
    result = simulated(traffic=day, budget=Budget(0.5, per="day"))
    assert result.figures.errors.keys() == {"BudgetExceeded"}
    assert all(money.spent + money.reserved <= money.limit for money in result.money)
    assert 0.95 <= result.figures.cost <= 1.0
    assert result.between("0h", "1h").success == 1.0
    assert result.between("24h", "25h").success == 1.0
    assert result.between("23h", "24h").success == 0.0


def test_a_budget_per_label_counts_each_caller() -> None:
    labels = {"labels": {"user": ("alice", "bob")}}
    result = simulated(traffic=labels, budget=Budget(0.05, per="total", per_label="user"))
    assert result.figures.cost == pytest.approx(0.1, rel=0.05)


def test_a_hedge_cuts_the_tail_and_costs_calls() -> None:
    tail = Profile(Samples((1.0,) * 19 + (30.0,)), output_tokens=10, failure_rate=0.0)
    plain = simulated(profile=tail).figures
    hedged = simulated(profile=tail, hedge=Hedge(after=3.0)).figures
    assert plain.p99 is not None
    assert hedged.p99 is not None
    assert hedged.p99 < plain.p99 / 4
    assert hedged.wasted > plain.wasted
    assert hedged.success == 1.0


def test_settings_of_a_failover_can_be_tried_without_touching_it() -> None:
    guard = Failover(TWO, strategy="priority", budget=Budget(5, timezone="UTC"))
    told = []
    guard.subscribe(told.append)
    assert run(scenario(OUTAGE), guard).to_dict() == simulated(OUTAGE, budget=5).to_dict()
    assert not told
    assert guard.status()[0].attempts == 0


def test_listeners_hear_events_in_virtual_time() -> None:
    told: list[Any] = []
    simulated(OUTAGE, listeners=[told.append])
    assert max(event.at for event in told) > 1700


# ------------------------------------------------------------------ traffic


def test_traffic_has_the_rate_and_the_shape_it_is_given() -> None:
    day = Scenario(Traffic(rate=0.5, shape="diurnal"), seed=3)
    arrivals = list(day.traffic.arrivals(day.random("arrivals")))
    noon, night = (sum(start <= at < start + 3 * 3600 for at in arrivals) for start in (13.5 * 3600, 1.5 * 3600))
    assert 42_000 < len(arrivals) < 44_400
    assert noon / night == pytest.approx(4.0, rel=0.2)  # (1 + 0.6) / (1 - 0.6)
    constant = Traffic(rate=2.0, duration=3, shape="constant")
    assert list(constant.arrivals(day.random("x"))) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("who,at\nalice,100.5\nbob,103\n")
    assert Traffic.replay(file).trace == (0.0, 2.5)
    assert Traffic.replay(file, streamed=True).streamed
    file.write_text("1\n3\n2\n")
    assert Traffic.replay(file).trace == (0.0, 1.0, 2.0)


def test_a_distribution_has_the_median_and_the_tail_it_is_given() -> None:
    spread, random = LogNormal(2.0, 20.0), Scenario(seed=1).random("x")
    drawn = sorted(spread.draw(random) for _ in range(20_000))
    assert quantile(drawn, 0.5) == pytest.approx(2.0, rel=0.05)
    assert quantile(drawn, 0.99) == pytest.approx(20.0, rel=0.1)
    assert spread.quantile(0.99) == pytest.approx(20.0)


def test_figures_are_the_sum_of_their_pieces() -> None:
    result = simulated(OUTAGE)
    series = result.series(30)
    assert len(series) == 30
    assert sum(piece.figures.calls for piece in series) == result.figures.calls == len(result.calls)
    assert sum(piece.answered_by["second"] for piece in series) == result.targets[1].answered
    assert sum(piece.figures.cost for piece in series) == pytest.approx(result.figures.cost)
    assert sum(piece.figures.calls for piece in Result.series(simulated(traffic={"trace": (0.0,)}))) == 1


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Incident("a", "down", "2h", "1h"), "write a start before the end"),
        (lambda: Incident("a", "gone", 0, 1), "write 'down', 'error'"),
        (lambda: Incident("a", "down", "soon", "1h"), "is no span of time"),
        (lambda: Incident("a", "down", 0, 1, flapping=0), "flapping"),
        (lambda: Traffic(rate=0), "rate = 0: write a number > 0"),
        (lambda: Traffic(trace=(2.0, 1.0)), "ascending"),
        (lambda: LogNormal(2, 1), "below the median"),
        (lambda: simulated(Incident("third", "down", 0, 1)), "incident of 'third'"),
        (lambda: run(Scenario(profiles={"third": STEADY}), TWO), "profile of 'third'"),
        (lambda: simulated(response_cache=True), "never ask the same twice"),
        (lambda: simulated(http2=True), "opens no connection"),
        (lambda: run(scenario(), Failover(TWO), budget=5), "brings its own options"),
        (lambda: compare({}, scenario(), TWO), "write at least one"),
        (lambda: Traffic.replay(__file__), "first column"),
    ],
)
def test_a_mistake_is_named_with_what_to_write_instead(make: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


# -------------------------------------------------------------------- words


def test_spans_of_time_are_read_as_they_are_written() -> None:
    assert [seconds(text) for text in ("90s", "2h 30m", "1d", "1.5min", "250ms")] == [90, 9000, 86400, 90, 0.25]
    for wrong in ("", "h", "5", "2h x", "1y"):
        with pytest.raises(ValueError, match=wrong or "^$"):
            seconds(wrong)


def test_figures_have_units_and_never_round_up_to_everything() -> None:
    assert [share(value) for value in (None, 0.0, 1.0, 0.999999, 0.5, 0.0000001)] == [
        "-",
        "0%",
        "100%",
        "99.999%",
        "50.0%",
        "0.01%",
    ]
    assert [amount(value, "s") for value in (None, 0.25, 2.0, 31.44, 300.0)] == [
        "-",
        "250 ms",
        "2.00 s",
        "31.4 s",
        "5 min",
    ]
    assert [money(value) for value in (0, 12.345, 0.5, 0.000123)] == ["$0.00", "$12.35", "$0.50", "$0.000123"]
    assert [duration(value) for value in (93_600, 0.2, 59.6)] == ["1 d 2 h", "0.2 s", "1 min"]


def test_a_result_is_a_table_and_json() -> None:
    result = simulated(OUTAGE)
    text = str(result)
    assert "100% answered" in text
    assert "connect" in text
    plain = json.loads(result.to_json())
    assert plain["figures"]["success"] == 1.0
    assert plain["incidents"][0]["kind"] == "down"
    both = compare({"one": {}, "two": {"strategy": "priority"}}, scenario(OUTAGE), TWO)
    assert str(both).splitlines()[2].startswith("one")
    assert json.loads(both.to_json())["missed"] == []


# -------------------------------------------------------------------- files

FILE = """
seed = 3
targets = [
    { name = "first", base_url = "http://127.0.0.1:1/v1", model = "a", price = { input = 1, output = 1 } },
    "groq:openai/gpt-oss-120b",
]
traffic = { rate = 1.0, duration = "30m", prompt_tokens = { median = 300, p99 = 900 } }

[profiles."*"]
first_content = 0.5

[[incidents]]
target = "first"
kind = "down"
start = "10m"
end = "20m"

[policies.default]
strategy = "priority"

[policies.alone]
targets = ["groq:openai/gpt-oss-120b"]
breaker = { failure_threshold = 2 }
budget = [{ limit = 0.001, per = "total" }]

[[expect]]
policy = "default"
start = "10m"
end = "20m"
success = 0.999
p99 = 60
wasted = 20

[[expect]]
policy = "alone"
success = 0.9
"""


def test_a_file_is_a_test(tmp_path: Path) -> None:
    file = tmp_path / "outage.toml"
    file.write_text(FILE)
    found = run_file(file)
    assert list(found) == ["default", "alone"]
    assert found["default"].figures.success == 1.0
    assert len(found.missed) == 1
    assert found.missed[0].startswith("alone: success ")
    assert "missed: alone" in str(found)


def test_json_does_as_well_and_one_policy_needs_no_name(tmp_path: Path) -> None:
    file = tmp_path / "outage.json"
    file.write_text(json.dumps({"targets": ["groq:openai/gpt-oss-120b"], "traffic": {"duration": "10m"}}))
    found = run_file(file)
    assert list(found) == ["simulation"]
    assert str(found) == str(found["simulation"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets = [", "outage.toml: "),
        ("", "targets is missing"),
        ("target = 1", "target is not a part of a simulation"),
        ('targets = ["openai:gpt-6-luna"]\n[traffic]\nspeed = 1', "speed"),
        ('targets = ["openai:gpt-6-luna"]\n[policy]\nstrategi = "priority"', "strategi"),
        ('targets = ["openai:gpt-6-luna"]\n[policy]\nbreaker = {failure_treshold = 1}', "did you mean failure_thres"),
        ('targets = ["openai:gpt-6-luna"]\n[policy]\n[policies.a]', "not both"),
        ('targets = ["openai:gpt-6-luna"]\npolicies = {a = 1}', "write a table of options"),
        ('targets = ["openai:gpt-6-luna"]\n[[expect]]\npolicy = "b"', "no policy is called 'b'"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "outage.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        run_file(file)
    with pytest.raises(ConfigurationError, match="No such file"):
        run_file(tmp_path / "none.toml")
