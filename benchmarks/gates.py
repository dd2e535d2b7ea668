"""What the gates do under load, over real HTTP on loopback: one figure a line, with its goal beside it.

    python benchmarks/gates.py            # all of it, about two minutes
    python benchmarks/gates.py budget     # one part

Figures in seconds depend on the machine; figures in calls and dollars do not.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from failover import AllTargetsFailed, Budget, CircuitBreaker, Failover, FailoverError, Hedge, Retry, Target
from failover.settings import Timeouts
from failover.testing import Hang, Question, Reply, ScriptedProvider, Servers, Slow, Status, Tokens, serve
from failover.testing.limits import Counting
from failover.testing.strict import tokens_of

NO_RETRY = Retry(attempts=0)
ANSWER = Reply("A short answer.", reasoning="")
MODELS = {
    "openai": "gpt-6-luna",
    "groq": "openai/gpt-oss-120b",
    "deepseek": "deepseek-flash",
    "mistral": "mistral-small-latest",
    "anthropic": "claude-haiku-5-5",
    "openrouter": "openai/gpt-6-luna",
}


def providers(*names: str) -> list[ScriptedProvider]:
    return [ScriptedProvider(name, respond=lambda question: ANSWER) for name in names]


def target(servers: Servers, name: str, **fields: object) -> Target:
    return servers[name].target(MODELS[name], **fields)  # type: ignore[arg-type]  # fields of Target, by name


def say(what: str, got: str, goal: str) -> None:
    print(f"  {what:<76}{got:>12}   goal {goal}", flush=True)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def timed(call: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    try:
        result: object = call()
    except FailoverError as error:
        result = error
    return time.perf_counter() - began, result


# ------------------------------------------------------------------ parts


def breaker() -> None:
    dead, alive = providers("openai", "groq")
    with serve(dead, alive) as servers:
        for rate in (10, 30):
            dead.down(Status(503))
            before = dead.calls + alive.calls
            wasted = dead.calls
            rules = CircuitBreaker(failure_threshold=3)
            targets = [target(servers, "openai"), target(servers, "groq")]
            with Failover(targets, strategy="priority", breaker=rules, response_cache=False) as guard:
                for number in range(40):
                    guard.complete(f"{rate} {number}")
                    time.sleep(1 / rate)
            say(f"40 calls at {rate} a second, first target dead: wasted", f"{dead.calls - wasted}", "<= 4")
            say("upstream calls per request", f"{(dead.calls + alive.calls - before) / 40:.3f}", "<= 1.1")
        _recovery(servers, dead)
    _all_down()
    _probes()


def _probes() -> None:
    (openai,) = providers("openai")
    rules = CircuitBreaker(failure_threshold=3, recovery_timeout=0.3, max_recovery_timeout=0.3)

    async def run(guard: Failover) -> int:
        openai.down(Status(503))
        await asyncio.gather(*(guard.acomplete(f"trip {number}") for number in range(3)), return_exceptions=True)
        await asyncio.sleep(0.31)
        openai.set(Slow(0.5, answer=ANSWER))
        before = openai.calls
        await asyncio.gather(*(guard.acomplete(f"q {number}") for number in range(1000)), return_exceptions=True)
        await guard.aclose()
        return openai.calls - before

    with serve(openai) as servers:
        guard = Failover([target(servers, "openai")], breaker=rules, retry=NO_RETRY, response_cache=False)
        sent = asyncio.run(run(guard))
    say("1,000 callers at once after the open time: calls sent", f"{sent}", "1")


def _recovery(servers: Servers, dead: ScriptedProvider) -> None:
    rules = CircuitBreaker(failure_threshold=3, recovery_timeout=0.5, max_recovery_timeout=0.5)
    targets = [target(servers, "openai"), target(servers, "groq")]
    with Failover(targets, strategy="priority", breaker=rules, response_cache=False) as guard:
        for number in range(20):
            guard.complete(f"before {number}")
        dead.up()
        began, number = time.perf_counter(), 0
        while guard.complete(f"after {number}").target.startswith("groq"):
            number += 1
            time.sleep(0.02)
    late = time.perf_counter() - began - 0.5
    say("back in use after its return, beyond the open time", f"{max(0.0, late):.3f} s", "<= 0.3 s")


def _all_down() -> None:
    names = ("openai", "groq", "deepseek")
    dead = providers(*names)
    with serve(*dead) as servers:
        for each in dead:
            each.down(Status(503))
        rules = CircuitBreaker(failure_threshold=3)
        with Failover(
            [target(servers, name) for name in names], breaker=rules, retry=NO_RETRY, response_cache=False
        ) as guard:
            results = [timed(lambda number=number: guard.complete(f"{number}")) for number in range(40)]  # type: ignore[misc]
        last = [seconds for seconds, _ in results[10:]]
        error = results[-1][1]
    assert isinstance(error, AllTargetsFailed)
    say(
        "three targets down, 40 calls: upstream calls per request",
        f"{sum(each.calls for each in dead) / 40:.3f}",
        "<= 0.3",
    )
    say("the error, once the circuits are open (p99)", f"{percentile(last, 0.99) * 1e3:.2f} ms", "<= 10 ms")
    say(
        "causes named, and seconds until the earliest retry",
        f"{len(error.exceptions)}, {error.retry_at:.1f}",
        "3, <= 30",
    )


def budget() -> None:
    (openai,) = providers("openai")
    with serve(openai) as servers:
        limit = Decimal("0.002")
        with Failover([target(servers, "openai")], budget=Budget(limit), response_cache=False) as guard:
            with ThreadPoolExecutor(32) as pool:
                ask = [
                    lambda number=number: guard.complete(f"question {number}", max_tokens=500) for number in range(600)
                ]  # type: ignore[misc]
                results = list(pool.map(timed, ask))
            refused = [seconds for seconds, result in results if isinstance(result, FailoverError)]
            late = [timed(lambda: guard.complete("too late", max_tokens=500))[0] for _ in range(200)]
            status = guard.budget
    assert status is not None
    say("600 calls, 32 at once, $0.002: the provider's bill", f"${openai.bill}", f"<= ${limit}")
    say("spent, of the limit less one reservation", f"${status.spent}", f">= ${limit - Decimal('0.00027')}")
    say(
        f"refused {len(refused)}; a refusal once it is spent (p99)", f"{percentile(late, 0.99) * 1e3:.2f} ms", "<= 5 ms"
    )


def flight() -> None:
    (openai,) = providers("openai")

    async def run(guard: Failover) -> None:
        openai.set(Slow(0.3, answer=ANSWER))
        await asyncio.gather(*(guard.acomplete("the same") for _ in range(1000)))
        await guard.aclose()

    with serve(openai) as servers:
        asyncio.run(run(Failover([target(servers, "openai")])))
    say("1,000 identical concurrent calls: upstream calls", f"{openai.calls}", "1")


def bill() -> None:
    """Cached, written, reasoning and plain tokens, whole and streamed, at each of the five."""
    for name in ("openai", "anthropic", "deepseek", "groq", "openrouter"):
        (provider,) = providers(name)
        usages = [Tokens(90, 7), Tokens(2_000, 300, cached=1_500), Tokens(2_500, 900, reasoning=700)]
        usages += [Tokens(5_000, 40, cached=1_024, written=2_048)] if name in ("anthropic", "openrouter") else []
        with serve(provider) as servers, Failover([target(servers, name)], budget=10, response_cache=False) as guard:
            for usage in usages:
                provider.script(*[Reply("A short answer.", reasoning="", usage=usage)] * 2)
                guard.complete(f"whole {usage}")
                list(guard.stream(f"streamed {usage}"))
            spent = guard.budget.spent
        what = f"{name}: {2 * len(usages)} answers, spent less the bill of ${provider.bill:f}"
        say(what, f"${abs(spent - provider.bill):f}", "< $0.01")


def limiter() -> None:
    """In real minutes, all at the same time."""
    counted: list[Counting] = ["fixed", "sliding", "bucket"]
    with ThreadPoolExecutor(5) as pool:
        parts = [pool.submit(_minute, each) for each in counted]
        parts += [pool.submit(_learned), pool.submit(_quota)]
        for part in parts:
            say(*part.result())


Line = tuple[str, str, str]


def _minute(counted_by: Counting) -> Line:
    (openai,) = providers("openai")
    openai.rate_limit(rpm=120, counted_by=counted_by, headers=False)
    with serve(openai) as servers:
        served, refused = _asked(openai, target(servers, "openai", rpm=120), 180)
    what = f"120 a minute, counted by {counted_by}, 180 calls across the minute: served, 429"
    return what, f"{served}, {refused}", "180, 0"


def _learned() -> Line:
    (openai,) = providers("openai")
    openai.rate_limit(rpm=60, counted_by="sliding")
    with serve(openai) as servers:
        served, refused = _asked(openai, target(servers, "openai"), 90)
    return "60 a minute, known from headers only, 90 calls: served, 429", f"{served}, {refused}", "90, 0"


def _asked(provider: ScriptedProvider, at: Target, count: int) -> tuple[int, int]:
    """Calls from eight threads: how many were served, and how many 429 they provoked."""
    with Failover([at], response_cache=False, max_wait=90) as guard, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: timed(lambda: guard.complete(f"q {number}")), range(count)))
    served = sum(not isinstance(result, FailoverError) for _, result in results)
    return served, sum(request.status == 429 for request in provider.requests)


def _to_the_cap(question: Question) -> Reply:
    return Reply("A short answer.", reasoning="", usage=Tokens(tokens_of(question.body), 100))


def _quota() -> Line:
    """What of a token quota is used in a minute."""
    openai = ScriptedProvider("openai", respond=_to_the_cap)
    limit, began = 20_000, time.monotonic()
    openai.rate_limit(tpm=limit, counted_by="sliding", headers=False)
    with (
        serve(openai) as servers,
        Failover([target(servers, "openai", tpm=limit)], response_cache=False, max_wait=5) as guard,
        ThreadPoolExecutor(8) as pool,
    ):

        def call(number: int) -> None:
            if time.monotonic() < began + 58:
                timed(lambda: guard.complete(f"question {number} " + "word " * 200, max_tokens=100))

        list(pool.map(call, range(2_000)))
    end = openai.requests[0].at + 60
    within = [request for request in openai.requests if request.status == 200 and request.at < end]
    used = sum(request.tokens.input + request.tokens.output for request in within)
    refused = sum(request.status == 429 for request in openai.requests)
    return "of a quota of 20,000 tokens a minute: used, 429", f"{used / limit:.1%}, {refused}", ">= 95%, 0"


def fastest() -> None:
    names = ("openai", "groq", "deepseek", "mistral")
    four = providers(*names)

    async def run(slow: float) -> tuple[list[float], float]:
        before = sum(each.calls for each in four)
        for each in four:
            each.set(Slow(0.02, answer=ANSWER))
        four[0].set(Slow(slow, answer=ANSWER))
        guard = Failover([target(servers, name) for name in names], strategy="fastest", response_cache=False)
        took: list[float] = []

        async def one(number: int) -> None:
            began = time.perf_counter()
            await guard.acomplete(f"{slow} {number}")
            took.append(time.perf_counter() - began)

        for batch in range(60):
            await asyncio.gather(*(one(batch * 8 + number) for number in range(8)))
        await guard.aclose()
        return took[80:], (sum(each.calls for each in four) - before) / len(took) - 1

    with serve(*four) as servers:
        healthy, _ = asyncio.run(run(0.02))
        ill, extra = asyncio.run(run(0.2))
    ratio = percentile(ill, 0.99) / percentile(healthy, 0.99)
    say("one of four 10x slow, fastest: p99 against all healthy", f"{ratio:.2f}x", "<= 1.5x")
    say("extra calls", f"{extra:.1%}", "<= 5%")


def hedging() -> None:
    hanging, healthy = providers("openai", "groq")

    async def run(hedge: Hedge | None) -> list[float]:
        hanging.set(Hang())
        healthy.set(Slow(0.1, answer=ANSWER))
        targets = [target(servers, "openai", timeouts=Timeouts(whole=1.5)), target(servers, "groq")]
        guard = Failover(targets, strategy="priority", hedge=hedge, response_cache=False)
        took = []
        for number in range(40):
            began = time.perf_counter()
            await guard.acomplete(f"{number}")
            took.append(time.perf_counter() - began)
        await guard.aclose()
        return took

    with serve(hanging, healthy) as servers:
        plain = percentile(asyncio.run(run(None)), 0.99)
        hedged = percentile(asyncio.run(run(Hedge(after=0.1))), 0.99)
        closed = hanging.wait_until(lambda provider: provider.in_flight == 0)
    say("the first target hangs, a timeout of 1.5 s, no hedge: p99", f"{plain * 1e3:.0f} ms", "1500 ms")
    say("hedged after 0.1 s: p99", f"{hedged * 1e3:.0f} ms", "<= 400 ms")
    say("connections to the one that hangs, afterwards", "none" if closed else "some", "none")


PARTS: dict[str, Callable[[], None] | Callable[[], Awaitable[None]]] = {
    part.__name__: part for part in (breaker, budget, bill, flight, limiter, fastest, hedging)
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in names or PARTS:
        print(name)
        PARTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
