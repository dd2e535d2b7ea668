"""The orchestrator over real HTTP, with real threads and tasks: what many callers at once must not break."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest

from failover import (
    AllTargetsFailed,
    BadRequest,
    Budget,
    BudgetExceeded,
    CircuitBreaker,
    ConfigurationError,
    Failover,
    FailoverError,
    Hedge,
    Message,
    Price,
    Retry,
    Target,
    Tool,
    ToolResult,
)
from failover.testing import Hang, Reply, ScriptedProvider, Served, Slow, Status, serve

NO_RETRY = Retry(attempts=0)


@pytest.fixture
def openai() -> ScriptedProvider:
    return ScriptedProvider("openai", respond=lambda question: Reply("A short answer.", reasoning=""))


@pytest.fixture
def groq() -> ScriptedProvider:
    return ScriptedProvider("groq", respond=lambda question: Reply("Another answer.", reasoning=""))


@pytest.fixture
def here(openai: ScriptedProvider, groq: ScriptedProvider) -> Iterator[Callable[..., Target]]:
    with serve(openai, groq) as servers:

        def target(name: str = "openai", **fields: Any) -> Target:
            served: Served = servers[name]
            return served.target("gpt-6-luna" if name == "openai" else "openai/gpt-oss-120b", **fields)

        yield target


Here = Callable[..., Target]


def in_threads(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def or_error(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except FailoverError as error:
        return error


# ------------------------------------------------------------------ budget


def test_a_hundred_threads_cannot_overspend_a_budget(here: Here, openai: ScriptedProvider) -> None:
    with Failover([here()], budget=Budget("0.002"), response_cache=False) as guard:
        got = in_threads(lambda i: or_error(lambda: guard.complete(f"question {i}", max_tokens=500)), 100)
        status = guard.budget
    served = [each for each in got if not isinstance(each, Exception)]
    assert all(isinstance(each, BudgetExceeded) for each in got if isinstance(each, Exception))
    assert served
    assert openai.bill <= Decimal("0.002")
    assert status is not None
    assert status.spent + status.reserved <= status.limit
    assert status.reserved == 0
    assert openai.bill == status.spent == sum(each.cost for each in served)


async def test_a_hundred_tasks_cannot_overspend_a_budget(here: Here, openai: ScriptedProvider) -> None:
    async with Failover([here()], budget=Budget("0.002"), response_cache=False) as guard:
        calls = (guard.acomplete(f"question {i}", max_tokens=500) for i in range(100))
        got = await asyncio.gather(*calls, return_exceptions=True)
        assert guard.budget is not None
        assert openai.bill == guard.budget.spent <= guard.budget.limit
    assert {type(each).__name__ for each in got} <= {"Response", "BudgetExceeded"}


def test_one_budget_protects_every_target(here: Here, openai: ScriptedProvider, groq: ScriptedProvider) -> None:
    with Failover([here(), here("groq")], budget=0.002, response_cache=False) as guard:
        in_threads(lambda i: or_error(lambda: guard.complete(f"question {i}", max_tokens=500)), 60)
        assert guard.budget is not None
        assert openai.bill + groq.bill == guard.budget.spent <= Decimal("0.002")
    assert openai.bill > 0
    assert groq.bill > 0


# ----------------------------------------------------------------- breaker


def test_a_dead_provider_is_asked_no_more_than_its_threshold(here: Here, openai: ScriptedProvider) -> None:
    openai.down(Status(503))
    breaker = CircuitBreaker(failure_threshold=3)
    with Failover([here(), here("groq")], strategy="priority", breaker=breaker, response_cache=False) as guard:
        assert {guard.complete(f"question {i}").target for i in range(40)} == {"groq:openai/gpt-oss-120b"}
        assert guard.status()[0].state == "open"
    assert openai.calls == 3


def test_with_everything_down_the_error_names_every_cause_and_when_to_come_back(here: Here) -> None:
    targets = [here(base_url="http://127.0.0.1:1/v1"), here("groq", base_url="http://127.0.0.1:1/v1")]
    with Failover(targets, breaker=CircuitBreaker(failure_threshold=1), retry=NO_RETRY, response_cache=False) as guard:
        guard.try_complete("hi")
        with pytest.raises(AllTargetsFailed) as caught:
            guard.complete("hi")
    assert [step.reason for step in caught.value.trail] == ["circuit_open", "circuit_open"]
    assert caught.value.retry_at is not None
    assert 0 < caught.value.retry_at <= 30


# ------------------------------------------------------------- limits


def test_calls_at_once_stay_below_the_limit_and_all_are_served(here: Here, openai: ScriptedProvider) -> None:
    openai.set(Slow(0.02, answer=Reply("slow")))
    with Failover([here(concurrency=3)], response_cache=False) as guard:
        got = in_threads(lambda i: guard.complete(f"question {i}").content, 24)
    assert got == ["slow"] * 24
    assert openai.max_in_flight <= 3


async def test_waiters_of_several_event_loops_and_threads_are_all_served(here: Here, openai: ScriptedProvider) -> None:
    openai.set(Slow(0.01, answer=Reply("slow")))
    guard = Failover([here(concurrency=2)], response_cache=False)

    async def several(who: int) -> int:
        got = await asyncio.gather(*(guard.acomplete(f"question {who} {i}") for i in range(8)))
        return len(got)

    def own_loop(who: int) -> int:
        return asyncio.run(several(who))

    loops = [asyncio.to_thread(own_loop, who) for who in range(3)]
    counts = await asyncio.gather(*loops, several(9), asyncio.to_thread(lambda: len(guard.complete("q").content) // 4))
    assert counts == [8, 8, 8, 8, 1]
    assert openai.max_in_flight <= 2
    await guard.aclose()


# ------------------------------------------------------- identical calls


async def test_identical_calls_in_flight_make_one_upstream_call(here: Here, openai: ScriptedProvider) -> None:
    openai.set(Slow(0.2, answer=Reply("once")))
    async with Failover([here()]) as guard:
        got = await asyncio.gather(*(guard.acomplete("the same") for _ in range(300)))
    assert openai.calls == 1
    assert {each.content for each in got} == {"once"}
    assert [each.cached for each in got].count(False) == 1
    assert len({each.answer.id for each in got}) == 300


async def test_what_is_wrong_with_a_request_is_found_out_once_for_all_who_make_it(
    here: Here, openai: ScriptedProvider
) -> None:
    openai.set(Status(400, message="messages must not be empty"))
    async with Failover([here(), here("groq")], strategy="priority") as guard:
        got = await asyncio.gather(*(guard.acomplete("the same") for _ in range(50)), return_exceptions=True)
        assert len(guard._core.flights) == 0
    assert all(isinstance(each, BadRequest) for each in got)
    assert len({id(each) for each in got}) == 50
    assert openai.calls == 1


def test_identical_calls_of_threads_and_streams_are_one_too(here: Here, openai: ScriptedProvider) -> None:
    openai.set(Slow(0.2, answer=Reply("once")))
    with Failover([here()]) as guard:
        got = in_threads(lambda i: "".join(chunk.text for chunk in guard.stream("the same")), 20)
    assert set(got) == {"once"}
    assert openai.calls == 1


async def test_a_cancelled_leader_harms_no_follower(here: Here, openai: ScriptedProvider) -> None:
    openai.script(Hang(), Reply("for the heir", reasoning=""))
    async with Failover([here()]) as guard:
        leader = asyncio.create_task(guard.acomplete("the same"))
        while not openai.calls:  # noqa: ASYNC110  # the event is in a server of its own thread
            await asyncio.sleep(0.01)
        followers = [asyncio.create_task(guard.acomplete("the same")) for _ in range(5)]
        await asyncio.sleep(0)
        leader.cancel()
        got = await asyncio.gather(*followers)
        with suppress(asyncio.CancelledError):
            await leader
    assert {each.content for each in got} == {"for the heir"}
    assert openai.calls == 2


# ------------------------------------------------------------ early endings


@pytest.mark.parametrize(("effort", "most"), [("none", "0.0005"), (None, "0.0011")], ids=["says all", "may think"])
def test_a_stream_closed_early_settles_what_may_have_been_used(
    here: Here, openai: ScriptedProvider, effort: str | None, most: str
) -> None:
    """Thoughts that are not shown are billed, so a model that may think is charged all that was reserved."""
    openai.set(Slow(between=0.02, answer=Reply(" ".join(["word"] * 300), reasoning="")))
    with Failover([here()], budget=1) as guard:
        chunks = guard.stream("hi", max_tokens=2000, reasoning_effort=effort)
        assert next(chunks).text
        chunks.close()
        status = guard.budget
    assert status is not None
    assert status.reserved == 0
    assert openai.bill <= status.spent < Decimal(most)
    assert guard.status()[0].in_flight == 0


def test_a_call_survives_one_event_loop_after_the_other(here: Here) -> None:
    guard = Failover([here()], response_cache=False)

    async def call() -> str:
        return (await guard.acomplete("hi")).content

    assert [asyncio.run(call()) for _ in range(3)] == ["A short answer."] * 3


# ---------------------------------------------------------------- hedging


async def test_a_hanging_first_target_is_overtaken_by_a_hedge(here: Here, openai: ScriptedProvider) -> None:
    openai.set(Hang())
    targets = [here(), here("groq")]
    async with Failover(targets, strategy="priority", hedge=Hedge(after=0.05), budget=1) as guard:
        response = await guard.acomplete("hi", max_tokens=50)
        chunks = [chunk async for chunk in guard.astream("hello", max_tokens=50)]
        assert guard.budget is not None
        assert guard.budget.reserved == 0
    assert response.target == "groq:openai/gpt-oss-120b"
    assert [step.reason for step in response.trail] == ["timeout", "ok"]
    assert "".join(chunk.text for chunk in chunks) == "Another answer."
    assert openai.calls == 2


async def test_a_target_that_hangs_opens_its_circuit_though_every_call_is_hedged(
    here: Here, openai: ScriptedProvider
) -> None:
    openai.set(Hang())
    rules = CircuitBreaker(failure_threshold=3)
    targets = [here(breaker=rules), here("groq")]
    async with Failover(targets, strategy="priority", hedge=Hedge(after=0.05), response_cache=False) as guard:
        answers = [await guard.acomplete(f"question {number}") for number in range(40)]
        assert guard.status()[0].state == "open"
    assert {answer.target for answer in answers} == {"groq:openai/gpt-oss-120b"}
    assert openai.calls == 3
    assert openai.wait_until(lambda provider: provider.in_flight == 0)


async def test_a_target_that_is_overtaken_after_a_usual_time_has_not_failed(
    here: Here, openai: ScriptedProvider
) -> None:
    openai.set(Hang())
    targets = [here(breaker=CircuitBreaker(failure_threshold=1)), here("groq")]
    async with Failover(targets, strategy="priority", hedge=Hedge(after=0.05), response_cache=False) as guard:
        for _ in range(200):
            guard._core.pace.observe(30.0)
        assert [step.reason for step in (await guard.acomplete("hi")).trail] == ["abandoned", "ok"]
        assert guard.status()[0].state == "closed"


async def test_a_call_that_its_caller_cancels_is_nobodys_failure_however_late(
    here: Here, openai: ScriptedProvider
) -> None:
    openai.set(Hang())
    target = here(breaker=CircuitBreaker(failure_threshold=1))
    async with Failover([target, here("groq")], strategy="priority", hedge=Hedge(after=60)) as guard:
        guard._core.pace.observe(0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(guard.acomplete("hi"), 0.1)
        assert guard.status()[0].state == "closed"


async def test_a_hedge_that_fails_does_not_harm_the_first_call(here: Here, groq: ScriptedProvider) -> None:
    groq.down()
    async with Failover([here(), here("groq")], strategy="priority", hedge=Hedge(after=0.0001)) as guard:
        assert (await guard.acomplete("hi")).content == "A short answer."


def test_a_blocking_call_cannot_be_hedged(here: Here) -> None:
    with Failover([here()], hedge=Hedge()) as guard, pytest.raises(ConfigurationError, match="hedge"):
        guard.complete("hi")


# ------------------------------------------------------------ conversations


def test_a_tool_loop_moves_to_another_wire_and_back(groq: ScriptedProvider) -> None:
    tool = Tool("price_of", "Price of a ticket", {"type": "object", "properties": {"city": {"type": "string"}}})
    anthropic, groq = ScriptedProvider("anthropic"), ScriptedProvider("groq")
    with serve(anthropic, groq) as servers:
        targets = [servers["anthropic"].target("claude-haiku-5-5"), servers["groq"].target("openai/gpt-oss-120b")]
        with Failover(targets, strategy="priority") as guard:
            talk: list[Any] = [Message("user", "What does a ticket to 'Lisbon' cost? Use the tool price_of.")]
            for turn in range(4):
                (anthropic.down if turn % 2 else anthropic.up)()
                response = guard.complete(talk, tools=[tool])
                talk.append(response.message)
                talk += [Message("tool", ToolResult(call.id, "49 euros")) for call in response.tool_calls]
                if not response.tool_calls:
                    talk.append(Message("user", "And to 'Porto'? Use the tool price_of."))
    authors = [message.author for message in talk if message.role == "assistant"]
    assert authors == ["anthropic:claude-haiku-5-5", "groq:openai/gpt-oss-120b"] * 2


# -------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Failover([]), "write at least one"),
        (lambda: Failover(["nobody:gpt-6"]), "unknown provider 'nobody'"),
        (lambda: Failover(["opena:gpt-6"]), "did you mean 'openai'"),
        (lambda: Failover(["openai:gpt-6-luna"]), "OPENAI_API_KEY"),
        (lambda: Failover(["gpt-6-luna"]), "write 'provider:model'"),
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")] * 2), "used twice"),
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], budget=1), "price=Price"),
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], budget=-1), "limit"),
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], budget="5"), "budget = '5'"),  # type: ignore[arg-type]
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], strategy="best"), "round_robin"),  # type: ignore[arg-type]
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], deadline=0), "deadline = 0"),
        (lambda: Failover([object()]), "as_target"),  # type: ignore[list-item]
        (lambda: Failover([Target("a", model="m", base_url="http://x/v1")], store="mysql://me:pw@x"), "mysql://***@x"),
    ],
)
def test_a_mistake_is_said_when_the_object_is_built(
    build: Callable[[], Failover], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"response_cache": 5}, "response_cache = 5: write True, False or Cache(...)"),
        ({"breaker": 5}, "breaker = 5: write CircuitBreaker("),
        ({"retry": 3}, "retry = 3: write Retry("),
        ({"timeouts": 5}, "timeouts = 5: write Timeouts("),
        ({"hedge": True}, "hedge = True: write Hedge()"),
        ({"max_wait": "long"}, "max_wait = 'long'"),
        ({"listeners": print}, "write a list of functions"),
        ({"listeners": [5]}, "write a list of functions"),
        ({"client": httpx.Client}, "write an httpx.Client"),
        ({"async_client": 5}, "write an httpx.AsyncClient"),
        ({"http2": "yes"}, "http2 = 'yes': write True or False"),
        ({"store": 5}, "store = 5: write 'memory'"),
        ({"on_stream_cut": "go on"}, "write one of 'raise', 'resume'"),
    ],
    ids=str,
)
def test_an_option_of_the_wrong_kind_says_what_to_write(options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        Failover([Target("a", model="m", base_url="http://x/v1")], **options)


def test_from_env_makes_a_target_for_each_key_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC", "DEEPSEEK", "GROQ", "OPENROUTER", "GEMINI", "GOOGLE", "MISTRAL", "XAI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.setenv("GROQ_API_KEY", "gsk-x")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-x")
    assert [target.name for target in Failover.from_env().targets] == [
        "deepseek:deepseek-flash",
        "groq:openai/gpt-oss-120b",
    ]


def test_from_env_without_any_key_names_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        Failover.from_env()


def test_all_missing_keys_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"GROQ_API_KEY": "made-up"})
    with pytest.raises(ConfigurationError, match=r"Targets 'openai:x', 'xai:z'.* set OPENAI_API_KEY and XAI_API_KEY"):
        Failover(["openai:x", "groq:y", "xai:z"])


def test_a_local_server_needs_no_key_and_sends_none() -> None:
    local = ScriptedProvider("local", respond=lambda question: Reply("hi"))
    with serve(local) as servers:
        target = Target("local", base_url=servers["local"].base_url, model="qwen", price=Price.free())
        with Failover([target], budget=1) as guard:
            guard.try_complete("hi")
    assert all("authorization" not in request.headers for request in local.requests)


def test_try_complete_says_how_it_ended_and_never_raises(here: Here, openai: ScriptedProvider) -> None:
    with Failover([here()], retry=NO_RETRY, response_cache=False) as guard:
        good = guard.try_complete("hi")
        openai.down()
        bad = guard.try_complete("hi")
    assert (good.success, good.content, good.provider, good.cached) == (True, "A short answer.", "openai", False)
    assert good.tokens > 0 < good.cost
    assert (bad.success, bad.content, bad.cost) == (False, None, 0)
    assert isinstance(bad.error, AllTargetsFailed)
    assert [step.reason for step in bad.trail] == ["connect"]
    assert str(good) == "A short answer."
    assert str(bad) == f"AllTargetsFailed: {bad.error}"


def test_a_listener_that_raises_harms_nothing(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("listener")

    heard: list[str] = []
    listeners = [broken, lambda event: heard.append(type(event).__name__)]
    with Failover([here()], listeners=listeners) as guard:
        assert guard.complete("hi").content
        assert guard.complete("hi").cached
    first = ["CallStarted", "AttemptStarted", "AttemptFinished", "CallFinished"]
    assert heard == [*first, "CallStarted", "CacheHit", "CallFinished"]
    assert "a listener failed" in caplog.text


def test_a_listener_comes_and_goes_while_calls_are_made(here: Here) -> None:
    heard: list[str] = []
    with Failover([here()], response_cache=False) as guard:
        guard.complete("not heard")
        unsubscribe = guard.subscribe(lambda event: heard.append(type(event).__name__))
        guard.complete("heard")
        unsubscribe()
        unsubscribe()  # once more does nothing
        guard.complete("not heard either")
    assert heard == ["CallStarted", "AttemptStarted", "AttemptFinished", "CallFinished"]


def test_a_copy_is_the_same_orchestrator_and_a_pickle_carries_configuration_only(here: Here) -> None:
    import copy
    import pickle

    guard = Failover([here()], strategy="priority")
    assert copy.copy(guard) is copy.deepcopy(guard) is guard
    with pytest.raises(ConfigurationError, match="budget"):
        pickle.dumps(Failover([here()], budget=1))


def test_many_threads_find_one_probe(here: Here, openai: ScriptedProvider) -> None:
    openai.down(Status(500))
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0.2, max_recovery_timeout=0.2)
    with Failover([here()], breaker=breaker, retry=NO_RETRY, response_cache=False) as guard:
        guard.try_complete("hi")
        openai.set(Hang())
        before, gone = openai.calls, threading.Event()
        gone.wait(0.5)  # the circuit's open time passes; there is no other clock over real sockets
        in_threads(lambda i: guard.try_complete(f"question {i}", deadline=0.5), 30)
    assert openai.calls - before == 1


def test_a_target_that_adds_to_every_body_gives_answers_of_its_own() -> None:
    with serve(ScriptedProvider("openai")) as servers:
        cool, hot = (
            servers["openai"].target("gpt-6-luna", name=name, extra_body=extra)
            for name, extra in (("cool", {"temperature": 0}), ("hot", {"temperature": 2}))
        )
        guard = Failover([cool, hot], strategy="priority")
        assert [guard.complete("hi", prefer=[name]).cached for name in ("cool", "hot", "cool")] == [False, False, True]
