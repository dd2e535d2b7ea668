"""What a type checker knows of failover, seen from outside.  Checked by mypy in strict mode, never run.

``assert_type`` pins what comes out; an ignore that mypy needs pins what must not go in (an ignore that it does not
need is itself an error).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from datetime import date
from decimal import Decimal
from typing import assert_type

import httpx

from failover import (
    AllTargetsFailed,
    Answer,
    BadRequest,
    Block,
    Budget,
    BudgetExceeded,
    BudgetStatus,
    Cache,
    CallOptions,
    Chunk,
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    ContentFiltered,
    ContextOverflow,
    Failover,
    FailoverError,
    Failure,
    Hedge,
    History,
    Hours,
    Incapable,
    JsonFormat,
    Kind,
    Media,
    Message,
    Outcome,
    Price,
    ProviderError,
    RateLimit,
    RateLimited,
    Rejected,
    Request,
    Response,
    Result,
    Retry,
    SlicedStore,
    SQLiteStore,
    Step,
    StoreUnavailable,
    StreamInterrupted,
    Target,
    TargetDisabled,
    TargetStatus,
    Text,
    Thinking,
    Tier,
    Timeouts,
    Tool,
    ToolCall,
    ToolResult,
    Trail,
    Usage,
    __version__,
    simulate,
)
from failover.history import Span

# ---------------------------------------------------------------- settings

local = Target("local", base_url="http://127.0.0.1:8000/v1", model="qwen", price=Price.free(), rpm=500, weight=2)
assert_type(local.rpm, int | None)
assert_type(local.limits, RateLimit)
assert_type(local.price, Price | None)
Target("a", api_key="key", headers={"x": "y"}, budget=Budget(5), breaker=CircuitBreaker(failure_threshold=3))
Target("a", rpm="500")  # type: ignore[arg-type]
Target("a", "a-model")  # type: ignore[call-arg, misc, unused-ignore]  # mypy versions name it differently
Target("a", wieght=2)  # type: ignore[call-arg]
local.rpm = 5  # type: ignore[misc]

Budget(5.00, per="day", timezone="Europe/Berlin")
Budget(Decimal(5), per_label="user")
Budget(5, per="decade")  # type: ignore[arg-type]
Price(2, 10, cache_read=0.2, tiers=(Tier(272_000, 4, 15),), hours=(Hours(60, 240, 4, 20),))
Price(2, 10, services={"priority": Price(4, 20)}, later={date(2027, 1, 1): Price(4, 20)})

Retry(attempts=0, base=0.1, budget=0.2)
Timeouts(first_content=10, between_content=5, whole=60)
Hedge(after=1.5)
Cache(size=10, namespace="tenant", single_flight=True)
Retry(atempts=1)  # type: ignore[call-arg]
Timeouts(connect="soon")  # type: ignore[arg-type]
version: str = __version__

# ------------------------------------------------------------ the calls

guard = Failover(["openai:gpt-6-luna", local], budget=5.00, strategy="priority", client=httpx.Client())
Failover([], strategy="random")  # type: ignore[arg-type]
assert_type(guard.complete("hi"), Response)
assert_type(guard.stream("hi", temperature=0.5), Generator[Chunk, None, None])
assert_type(guard.astream([Message("user", "hi"), {"role": "user", "content": "hi"}]), AsyncGenerator[Chunk, None])
assert_type(guard.try_complete("hi", labels={"user": "alice"}, prefer=["local"], deadline=5), Result)
assert_type(guard.send(Request((Message("user", "hi"),))), Response)
assert_type(guard.budget, BudgetStatus | None)
Failover([local], store=SQLiteStore("failover.db", durable=True), on_store_lost="local")
Failover([local], store=SlicedStore("sqlite:///failover.db", 0.10))
Failover([local], store=5)  # type: ignore[arg-type]
SQLiteStore("failover.db", timeout="soon")  # type: ignore[arg-type]
assert_type(guard.status(), tuple[TargetStatus, ...])
assert_type(Failover.from_toml("failover.toml", budget=5), Failover)
assert_type(guard.history(), History)
assert_type(guard.map(["hi"], concurrency=2, progress=True, max_tokens=5), list[Result])
with guard.live() as view:
    view.update()
guard.map(["hi"], concurency=2)  # type: ignore[call-arg]
assert_type(guard.history().lanes, Mapping[str, tuple[Span, ...]])
assert_type(guard.subscribe(print), Callable[[], None])
options: CallOptions = {"temperature": 0.5, "max_tokens": 5, "labels": {"user": "alice"}}
assert_type(guard.complete("hi", **options), Response)
guard.complete("hi", temprature=0.5)  # type: ignore[call-arg]
guard.complete(5)  # type: ignore[arg-type]


day = simulate.Scenario(simulate.Traffic(rate=1, duration="1d"), [simulate.Incident("openai", "down", "1h", 7200)])
simulate.Incident("openai", "gone", 0, 1)  # type: ignore[arg-type]
assert_type(simulate.run(day, guard), simulate.Result)
assert_type(simulate.run(day, ["openai:gpt-6-luna"], budget=5).figures.success, float | None)
assert_type(simulate.compare({"one": {}, "two": guard}, day, [local])["one"].calls[0], simulate.CallRecord)


async def doors() -> None:
    assert_type(await guard.acomplete("hi", max_tokens=5), Response)
    assert_type(await guard.atry_complete("hi"), Result)
    assert_type(await guard.amap(["hi", "you"], temperature=0.5), list[Result])
    async with Failover(["openai:gpt-6-luna"]) as inside:
        assert_type(inside, Failover)


# ------------------------------------------------------------- what comes out


def answered(response: Response, result: Result) -> None:
    assert_type(response.content, str)
    assert_type(response.tool_calls, tuple[ToolCall, ...])
    assert_type(response.usage, Usage)
    assert_type(response.cost, Decimal)
    assert_type(response.trail, Trail)
    assert_type(response.message, Message)
    assert_type(response.message.content, tuple[Block, ...])
    for block in response.message.content:
        if isinstance(block, Thinking):
            assert_type(block.signature, str | None)
    assert_type(result.content, str | None)
    assert_type(result.error, Exception | None)


def decided(outcome: Outcome) -> Kind | None:
    match outcome:
        case Failure(kind=kind):
            return assert_type(kind, Kind)
        case Answer():
            assert_type(outcome.usage, Usage | None)
    return None


def failed(error: FailoverError) -> None:
    if isinstance(error, AllTargetsFailed):
        assert_type(error.trail, tuple[Step, ...])
        assert_type(error.retry_at, float | None)
        for each in error.exceptions:
            print(each)
    if isinstance(error, StreamInterrupted):
        assert_type(error.partial, str)
        assert_type(error.usage, Usage | None)
    if isinstance(error, ProviderError):
        assert_type(error.kind, Kind)
    if isinstance(error, BadRequest | ContextOverflow | ContentFiltered):
        assert_type(error.failure, Failure)
    if isinstance(error, Rejected):
        assert_type(error.retry_after, float | None)


REFUSED: tuple[type[Rejected], ...] = (
    BudgetExceeded,
    CircuitOpen,
    Incapable,
    RateLimited,
    StoreUnavailable,
    TargetDisabled,
)
MISTAKE: type[FailoverError] = ConfigurationError


# --------------------------------------------------------------- what goes in

Message("user", "text")
Message("user", [Text("look"), Media("image", url="https://example.org/cat.png")])
Message("tool", ToolResult("call_1", "4"))
Message("assistent", "typo")  # type: ignore[arg-type]
Request((Message("user", "hi"),), tools=(Tool("add", parameters={"type": "object"}),), response_format=JsonFormat())
