"""The life of a call in virtual time: who is asked, how often, when, and what the caller gets."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from failover import (
    AllTargetsFailed,
    BadRequest,
    Budget,
    BudgetExceeded,
    CircuitBreaker,
    ContentFiltered,
    ContextOverflow,
    FailoverError,
    Kind,
    ProviderError,
    Request,
    Retry,
    StreamInterrupted,
    Timeouts,
    Usage,
    events,
)
from failover._flow import Attempt, Wait
from failover.store.base import Now
from failover.types import Failure, JsonFormat, Message
from tests.kit.virtual import World, bad, ok


def exhaust(world: World, request: Request) -> None:
    for _ in range(10_000):
        world.send(request)


DOWN = bad(Kind.SERVER_ERROR, status=500)
NO_RETRY = {"retry": Retry(attempts=0)}
ASK = Request((Message("user", "hi"),))


@pytest.mark.parametrize(
    ("scripts", "options", "calls", "gets"),
    [
        # scripts                                 options    calls per target      what the caller gets
        ({"a": ok("A"), "b": ok("B")}, {}, {"a": 1, "b": 0}, "A"),
        ({"a": DOWN, "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.RATE_LIMITED, retry_after=5), "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.AUTH, status=401), "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.MALFORMED), "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.MODEL_NOT_FOUND), "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.BAD_REQUEST, status=400), "b": ok("B")}, {}, {"a": 1, "b": 0}, BadRequest),
        ({"a": bad(Kind.CONTENT_FILTER), "b": ok("B")}, {}, {"a": 1, "b": 0}, ContentFiltered),
        ({"a": bad(Kind.CONTENT_FILTER), "b": ok("B")}, {"on_content_filter": "next"}, {"a": 1, "b": 1}, "B"),
        ({"a": ok("x", finish_reason="content_filter"), "b": ok("B")}, {}, {"a": 1, "b": 0}, ContentFiltered),
        ({"a": bad(Kind.CONTEXT_OVERFLOW), "b": ok("B")}, {}, {"a": 1, "b": 0}, ContextOverflow),
        ({"a": DOWN, "b": DOWN}, NO_RETRY, {"a": 1, "b": 1}, AllTargetsFailed),
        ({"a": [DOWN, ok("A")]}, {}, {"a": 2}, "A"),
        ({"a": [DOWN, DOWN, ok("A")], "b": DOWN}, {}, {"a": 3, "b": 2}, "A"),
        ({"a": DOWN}, {}, {"a": 3}, AllTargetsFailed),
        ({"a": bad(Kind.AUTH, status=401)}, {}, {"a": 1}, AllTargetsFailed),
        ({"a": bad(Kind.EMPTY, partial=ok("")), "b": ok("B")}, {}, {"a": 1, "b": 1}, "B"),
        ({"a": bad(Kind.EMPTY, partial=ok("")), "b": bad(Kind.EMPTY, partial=ok(""))}, NO_RETRY, {"a": 1, "b": 1}, ""),
        ({"a": bad(Kind.EMPTY, partial=ok("")), "b": DOWN}, NO_RETRY, {"a": 1, "b": 1}, AllTargetsFailed),
    ],
)
def test_who_is_asked_and_what_the_caller_gets(
    scripts: dict[str, Any], options: dict[str, Any], calls: dict[str, int], gets: Any
) -> None:
    world = World(options, **scripts)
    if isinstance(gets, str):
        assert world.send().content == gets
    else:
        with pytest.raises(gets):
            world.send()
    assert world.calls() == calls


def test_a_control_flow_exception_passes_through_and_is_nobodys_failure() -> None:
    world = World(a=KeyboardInterrupt(), b=ok())
    with pytest.raises(KeyboardInterrupt):
        world.send()
    assert world.guard.status()[0].failures == 0
    assert world.calls() == {"a": 1, "b": 0}


def test_the_trail_tells_every_attempt_in_order_with_its_reason() -> None:
    world = World(a=(1.5, bad(Kind.OVERLOADED, status=529, message="busy")), b=ok())
    trail = world.send().trail
    assert [(step.target, step.reason, step.status, step.duration) for step in trail] == [
        ("a", "overloaded", 529, 1.5),
        ("b", "ok", None, 0.0),
    ]
    assert trail[1].started == 1.5


def test_the_error_names_every_cause_and_groups_them() -> None:
    world = World(NO_RETRY, a=bad(Kind.SERVER_ERROR, status=500, message="boom"), b=bad(Kind.AUTH, status=401))
    with pytest.raises(AllTargetsFailed) as caught:
        world.send()
    assert "a: server_error (HTTP 500): boom" in str(caught.value)
    assert "b: auth (HTTP 401)" in str(caught.value)
    assert [type(error) for error in caught.value.exceptions] == [ProviderError, ProviderError]


def test_a_retry_waits_within_full_jitter_and_never_less_than_the_provider_asked() -> None:
    world = World(a=[DOWN, bad(Kind.SERVER_ERROR, retry_after=7.0), ok()])
    world.send()
    assert world.slept[0] <= 1.0
    assert world.slept[1] >= 7.0


def test_a_rate_limited_target_that_is_alone_is_waited_for() -> None:
    world = World(a=[bad(Kind.RATE_LIMITED, retry_after=3.0), ok("late")])
    assert world.send().content == "late"
    assert 3.0 <= world.time < 4.0


def test_a_wait_that_would_pass_the_deadline_is_refused_at_once() -> None:
    world = World(a=bad(Kind.RATE_LIMITED, retry_after=30.0))
    with pytest.raises(AllTargetsFailed) as caught:
        world.send(Request(ASK.messages, deadline=5.0))
    assert world.time == 0.0
    assert caught.value.retry_at == pytest.approx(30.0, abs=1.0)


def test_an_open_circuit_is_not_asked_and_not_waited_for() -> None:
    world = World({"breaker": CircuitBreaker(failure_threshold=3), **NO_RETRY}, a=DOWN)
    for _ in range(10):
        with pytest.raises(AllTargetsFailed):
            world.send()
    assert world.calls() == {"a": 3}
    assert world.time == 0.0
    assert world.guard.status()[0].state == "open"


def test_nobody_sleeps_towards_a_circuit_that_the_failure_just_opened() -> None:
    world = World({"breaker": CircuitBreaker(failure_threshold=1)}, a=bad(Kind.SERVER_ERROR, message="boom"))
    with pytest.raises(AllTargetsFailed, match="server_error: boom") as caught:
        world.send()
    assert world.slept == []
    assert world.calls() == {"a": 1}
    assert caught.value.retry_at == 30.0


def test_a_circuit_that_opens_for_moments_only_is_not_tried_more_often_than_retries_are_allowed() -> None:
    rules = CircuitBreaker(failure_threshold=1, recovery_timeout=1e-6, max_recovery_timeout=1e-6)
    world = World({"breaker": rules}, a=DOWN)

    def ticking() -> Now:
        world.time += 0.001
        return world.now()

    world.guard._core.now = ticking
    with pytest.raises(AllTargetsFailed):
        world.send()
    assert world.calls() == {"a": 3}


def test_a_circuit_closes_again_after_a_probe() -> None:
    world = World({"breaker": CircuitBreaker(failure_threshold=1), **NO_RETRY}, a=[DOWN, ok("back")])
    with pytest.raises(AllTargetsFailed):
        world.send()
    world.time += 40.0
    assert world.send().content == "back"
    assert world.guard.status()[0].state == "closed"


def told(*kinds: type[events.Event]) -> tuple[list[Any], dict[str, Any]]:
    """A list that fills with the events of these kinds, and the option that lets it."""
    heard: list[Any] = []
    return heard, {"listeners": [lambda event: heard.append(event) if isinstance(event, kinds) else None]}


def test_every_turn_of_a_breaker_is_told_with_the_call_that_caused_it() -> None:
    heard, listening = told(events.BreakerChanged)
    rules = {"breaker": CircuitBreaker(failure_threshold=2), **NO_RETRY, **listening}
    world = World(rules, a=[DOWN, DOWN, DOWN, ok()])
    for wait in (0.0, 0.0, 40.0, 90.0):
        world.time += wait
        with suppress(AllTargetsFailed):
            world.send()
    assert [(event.call, event.old, event.new, event.detail) for event in heard] == [
        (2, "closed", "open", "2 failures in a row"),
        (3, "open", "half_open", "2 failures in a row"),
        (3, "half_open", "open", "a trial call failed"),
        (4, "open", "half_open", "a trial call failed"),
        (4, "half_open", "closed", ""),
    ]
    assert [event.at for event in heard] == [0.0, 40.0, 40.0, 130.0, 130.0]
    assert {event.target for event in heard} == {"a"}


def test_a_breaker_that_a_streams_first_content_closes_is_told() -> None:
    heard, listening = told(events.BreakerChanged, events.AttemptFinished)
    rules = {"breaker": CircuitBreaker(failure_threshold=1), **NO_RETRY, **listening}
    world = World(rules, a=[DOWN, ["one", ok("one")]])
    with pytest.raises(AllTargetsFailed):
        world.send()
    world.time += 40.0
    world.stream()
    assert [getattr(event, "new", "finished") for event in heard[2:]] == ["half_open", "closed", "finished"]


def test_a_breaker_closed_by_hand_is_told_outside_any_call() -> None:
    heard, listening = told(events.BreakerChanged)
    world = World({"breaker": CircuitBreaker(failure_threshold=1), **NO_RETRY, **listening}, a=DOWN)
    with pytest.raises(AllTargetsFailed):
        world.send()
    world.guard.enable("a")
    world.guard.enable("a")
    assert [(event.call, event.old, event.new) for event in heard] == [(1, "closed", "open"), (0, "open", "closed")]


def test_a_listener_may_look_at_the_gates_and_make_calls_of_its_own() -> None:
    seen: list[str] = []

    def look(event: events.Event) -> None:
        if isinstance(event, events.BreakerChanged):
            seen.append(world.guard.status()[0].state)
            if event.new == "open":
                seen.append(world.send("from within").target)

    rules = {"breaker": CircuitBreaker(failure_threshold=1), **NO_RETRY, "listeners": [look]}
    world = World(rules, a=DOWN, b=ok())
    world.send()
    assert seen == ["open", "b"]


def test_a_cost_above_its_reservation_is_charged_in_full_and_told() -> None:
    heard, listening = told(events.CostAboveReservation)
    dear = replace(ok(), usage=Usage(10, 900))
    world = World({"budget": Budget(1), **listening}, a=[ok(), dear])
    for _ in range(2):
        world.send(Request(ASK.messages, max_tokens=100))
    assert [(event.call, event.reserved < event.cost, event.cost) for event in heard] == [(2, True, 910_000)]
    assert world.guard.budget is not None
    assert world.guard.budget.spent == Decimal("0.000925")


def test_without_a_budget_no_cost_is_above_its_reservation() -> None:
    heard, listening = told(events.CostAboveReservation)
    World(listening, a=ok()).send()
    assert heard == []


def test_a_budget_that_refuses_is_told_with_its_sentence() -> None:
    heard, listening = told(events.BudgetRefused)
    world = World({"budget": Budget("0.0001"), **listening}, a=ok())
    with pytest.raises(BudgetExceeded) as caught:
        world.send(Request(ASK.messages, max_tokens=1000))
    assert [(event.target, event.detail) for event in heard] == [("a", caught.value.args[0])]


def test_a_refused_key_disables_its_target_until_it_is_enabled() -> None:
    world = World(a=[bad(Kind.AUTH, status=401), ok("A")], b=ok("B"))
    assert [world.send().content for _ in range(3)] == ["B", "B", "B"]
    assert world.calls()["a"] == 1
    assert world.guard.status()[0].state == "disabled"
    world.guard.enable("a")
    assert world.send().content == "A"


def test_round_robin_spreads_calls_and_a_conversation_stays_with_its_author() -> None:
    world = World({"strategy": "round_robin"}, a=ok(), b=ok(), c=ok())
    assert [world.send().target for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    turn = Message("assistant", "I am b", author=world.guard.authors[1])
    talk = Request((Message("user", "who?"), turn, Message("user", "sure?")))
    assert [world.send(talk).target for _ in range(3)] == ["b", "b", "b"]


def test_preferred_targets_come_first() -> None:
    world = World(a=ok(), b=ok(), c=DOWN)
    assert world.send(Request(ASK.messages, prefer=("c", "b"))).target == "b"
    assert world.calls() == {"a": 0, "b": 1, "c": 1}


def test_a_cached_answer_costs_nothing_and_is_served_with_everything_down() -> None:
    world = World(
        {"response_cache": True, "breaker": CircuitBreaker(failure_threshold=1), **NO_RETRY}, a=[ok("A"), DOWN]
    )
    first, second = world.send(), world.send()
    assert (first.cached, second.cached) == (False, True)
    assert second.cost == 0 < first.cost
    with pytest.raises(FailoverError):
        world.send("something else")
    assert world.guard.status()[0].state == "open"
    assert world.send().content == "A"


def test_a_lower_targets_cached_answer_waits_for_the_first_to_fail_under_priority() -> None:
    world = World({"response_cache": True, **NO_RETRY}, a=[DOWN, ok("A")], b=ok("B"))
    assert world.send().content == "B"
    assert world.send().content == "A"


def test_a_hit_never_repeats_a_message_id() -> None:
    world = World({"response_cache": True}, a=ok(id="m1"))
    ids = {world.send().answer.id for _ in range(3)}
    assert len(ids) == 3


def test_a_budget_refuses_before_sending_and_says_what_is_left() -> None:
    world = World({"budget": Budget("0.01")}, a=ok())
    ask = Request(ASK.messages, max_tokens=1000)
    reserved = Decimal("0.00116")  # 1,000 tokens out and at most 160 in, at a dollar a million
    with pytest.raises(BudgetExceeded):
        exhaust(world, ask)
    status = world.guard.budget
    assert status is not None
    assert status.limit - reserved < status.spent <= status.limit
    assert world.calls()["a"] == status.spent / Decimal("0.000015")


def test_the_cost_is_what_was_used_not_what_was_reserved() -> None:
    world = World({"budget": 1.0}, a=ok())
    response = world.send(Request(ASK.messages, max_tokens=1000))
    assert response.cost_nano == 15_000  # 15 tokens at a dollar a million
    assert world.guard.budget is not None
    assert world.guard.budget.reserved == 0


def test_a_call_without_the_label_its_budget_is_kept_by_is_refused() -> None:
    world = World({"budget": Budget(1, per_label="user")}, a=ok())
    with pytest.raises(BudgetExceeded, match="labels="):
        world.send()
    assert world.send(Request(ASK.messages, labels={"user": "alice"})).content == "fine"
    alice = world.guard.spent_by("user", "alice")
    assert alice is not None
    assert alice.spent > 0


def test_an_output_cap_of_ours_marks_the_answer_and_keeps_it_out_of_the_cache() -> None:
    cut = ok("and so", finish_reason="length")
    world = World({"budget": 1.0, "response_cache": True}, a=cut)
    assert world.send().capped
    assert not world.send().cached
    assert world.scripts["a"].jobs[0].request.max_tokens == 4000
    asked = Request(ASK.messages, max_tokens=7)
    assert not world.send(asked).capped


# ------------------------------------------------------------------ streams


def cut(text: str = "") -> Any:
    return bad(Kind.CUT, partial=ok(text))


def test_a_stream_that_breaks_before_its_first_content_fails_over_in_silence() -> None:
    world = World(a=[[cut()]], b=[["B1", "B2", ok("B1B2")]])
    chunks, response = world.stream()
    assert [chunk.text for chunk in chunks] == ["B1", "B2"]
    assert response.target == "b"


def test_a_stream_that_breaks_after_its_first_content_raises_with_what_had_arrived() -> None:
    world = World(a=[["one ", cut("one ")]], b=ok("B"))
    with pytest.raises(StreamInterrupted) as caught:
        world.stream()
    assert caught.value.partial == "one "
    assert caught.value.cost_nano > 0
    assert world.calls() == {"a": 1, "b": 0}


def test_a_cut_stream_is_resumed_by_the_next_target_and_marked() -> None:
    world = World({"on_stream_cut": "resume"}, a=[["one ", cut("one ")]], b=[["one two", ok("one two")]])
    chunks, response = world.stream()
    assert "".join(chunk.text for chunk in chunks) == "one two"
    assert response.content == "one two"
    assert response.resumed == (world.guard.authors[0],)
    assert response.target == "b"
    sent = world.scripts["b"].jobs[0].request.messages
    assert Message("assistant", "one ") in sent


def test_structured_output_is_never_resumed() -> None:
    world = World({"on_stream_cut": "resume"}, a=[['{"a":', cut('{"a":')]], b=[["1}", ok("1}")]])
    with pytest.raises(StreamInterrupted):
        world.stream(Request(ASK.messages, response_format=JsonFormat({"type": "object"})))


def test_a_resumed_answer_that_says_something_else_is_never_spliced() -> None:
    said = "The quick brown fox jumps over the lazy dog"
    other = "The quick brown fox jumps over the fence and away"
    world = World({"on_stream_cut": "resume"}, a=[[said, cut(said)]], b=[[other, ok(other)]])
    with pytest.raises(StreamInterrupted) as caught:
        world.stream()
    assert caught.value.partial == said


def test_a_cached_answer_streams_too() -> None:
    world = World({"response_cache": True}, a=[["A1", "A2", ok("A1A2")]])
    world.stream()
    chunks, response = world.stream()
    assert "".join(chunk.text for chunk in chunks) == "A1A2"
    assert response.cached


# --------------------------------------------------- what a budget must see


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "web_search"}]},
        {"model": "another"},
        {"previous_response_id": "r"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
    ],
)
def test_what_nothing_bounds_is_refused_under_a_budget_and_sent_without_one(extra: dict[str, Any]) -> None:
    ask = Request(ASK.messages, extra_body=extra)
    with pytest.raises(BudgetExceeded, match="nothing bounds"):
        World({"budget": 1.0}, a=ok()).send(ask)
    assert World(a=ok()).send(ask).content == "fine"


def test_an_output_cap_in_the_body_is_reserved_like_any_other() -> None:
    world = World({"budget": Budget("0.01")}, a=ok())
    with pytest.raises(BudgetExceeded):
        world.send(Request(ASK.messages, extra_body={"max_tokens": 50_000}))
    world.send(Request(ASK.messages, extra_body={"max_tokens": 500}))
    sent = world.scripts["a"].jobs[0].request
    assert (sent.max_tokens, sent.extra_body) == (500, {})


def test_what_a_target_adds_to_every_body_is_sent_and_counted() -> None:
    world = World({"budget": Budget("0.01")}, a=ok()).target("a", extra_body={"n": 5, "user": "x"})
    with pytest.raises(BudgetExceeded):
        world.send(Request(ASK.messages, max_tokens=3000))
    world.send(Request(ASK.messages, max_tokens=100, extra_body={"user": "y"}))
    assert world.scripts["a"].jobs[0].request.extra_body == {"n": 5, "user": "y"}


def test_a_deadline_that_passes_before_another_target_could_be_asked_says_so() -> None:
    world = World(NO_RETRY, a=(6.0, DOWN), b=ok())
    with pytest.raises(AllTargetsFailed, match="deadline of 5 s passed before another target"):
        world.send(Request(ASK.messages, deadline=5.0))


def test_a_refused_parameter_is_learned_and_the_same_target_asked_again_without_it() -> None:
    refused = bad(Kind.UNSUPPORTED_PARAMETER, status=400, parameter="seed", message="'seed' is not supported")
    world = World(a=[refused, ok("A")], b=ok("B"))
    asked = Request(ASK.messages, seed=1)
    assert [step.target for step in world.send(asked).trail] == ["a", "a"]
    assert world.guard._core.lives[0].learned == {"seed": None}
    assert world.send(asked).target == "a"


def test_a_target_that_refuses_again_after_it_was_adapted_to_is_left() -> None:
    refused = bad(Kind.UNSUPPORTED_PARAMETER, status=400, parameter="seed", message="'seed' is not supported")
    world = World(a=refused, b=ok("B"))
    assert world.send(Request(ASK.messages, seed=1)).target == "b"
    assert world.calls() == {"a": 2, "b": 1}


@pytest.mark.parametrize("base", [0.5, 0.0])
def test_an_outage_of_one_target_takes_nothing_out_of_the_retry_budget_while_another_answers(base: float) -> None:
    rules = {"retry": Retry(budget=0.0, floor=1, base=base), "breaker": CircuitBreaker(failure_threshold=100)}
    world = World(rules, a=DOWN, b=[*[ok()] * 5, DOWN, ok()])
    for _ in range(5):
        world.send()
    assert world.calls() == {"a": 5, "b": 5}
    with pytest.raises(AllTargetsFailed):  # the one retry that is left
        world.send()
    assert sum(world.calls().values()) == 13


def test_nobody_waits_for_a_retry_that_is_not_allowed() -> None:
    world = World({"retry": Retry(budget=0.0, floor=0)}, a=bad(Kind.RATE_LIMITED, retry_after=30.0))
    with pytest.raises(AllTargetsFailed) as caught:
        world.send()
    assert world.time == 0.0
    assert world.calls() == {"a": 1}
    assert caught.value.retry_at == pytest.approx(30.0)


def test_what_was_refused_is_told_in_sentences() -> None:
    poor = World({"budget": Budget(0.01, default_max_tokens=50, timezone="UTC")}, a=ok())
    exhausted = Request((Message("user", "hi"),), max_tokens=12_000)
    with pytest.raises(BudgetExceeded, match=r"^a: the day's budget of all targets: this call may cost up to \$0\.0"):
        poor.send(exhausted)
    cut = World({"breaker": CircuitBreaker(1)}, a=DOWN, b=bad(Kind.AUTH, status=401, message="no such key"))
    for _ in range(2):
        with pytest.raises(AllTargetsFailed) as caught:
            cut.send()
    assert str(caught.value) == (
        "all 2 targets failed (retry in 30.0 s): a: its circuit is open: a failure; next trial in 30.0 s; "
        "b: switched off: auth: no such key"
    )


def test_a_spent_budget_says_when_it_begins_anew() -> None:
    error = BudgetExceeded("the day's budget of all targets: spent", "a", 3_600.0)
    assert str(error) == "a: the day's budget of all targets: spent; it begins anew in 1 h"


def test_an_answer_of_two_authors_is_never_cached() -> None:
    """What the second wrote is only the end of it."""
    options = {"on_stream_cut": "resume", "response_cache": True, "strategy": "cheapest"}
    world = World(options, a=[["one ", cut("one ")], ok("whole")], b=[["two", ok("two")]])
    assert world.stream()[1].content == "one two"
    assert world.send().content == "whole"


def test_a_leaders_error_is_raised_anew_for_each_follower() -> None:
    world = World({"response_cache": True}, a=bad(Kind.BAD_REQUEST, status=400))
    leader, *followers = (world.guard._call(ASK, streamed=False).run() for _ in range(3))
    assert isinstance(next(leader), Attempt)
    assert all(isinstance(next(follower), Wait) for follower in followers)
    with pytest.raises(BadRequest) as first:
        leader.send(Failure(Kind.BAD_REQUEST))
    raised = [first.value]
    for follower in followers:
        with pytest.raises(BadRequest) as caught:
            follower.send(None)
        raised.append(caught.value)
    assert len(set(map(id, raised))) == 3


def test_a_follower_of_a_stream_waits_no_longer_than_a_stream_may_pause() -> None:
    world = World({"response_cache": True, "timeouts": Timeouts(between_content=7.0)}, a=ok("mine"))
    leader, follower = world.guard._call(ASK, streamed=True).run(), world.guard._call(ASK, streamed=True).run()
    assert isinstance(next(leader), Attempt)
    waiting = next(follower)
    assert isinstance(waiting, Wait)
    assert waiting.seconds == 7.0
    world.time += 7.0
    assert isinstance(follower.send(None), Attempt)
    for flow in (leader, follower):
        with suppress(KeyboardInterrupt):
            flow.throw(KeyboardInterrupt())
