"""What OpenTelemetry's own SDK receives: over real HTTP, from threads, tasks and streams that are left early."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from failover import Budget, Failover, FailoverError, Hedge, Retry
from failover.telemetry import CAPTURE, instrument, names
from failover.testing import Hang, Reply, ScriptedProvider, Served, Slow, Status, serve

OPENAI, GROQ = "openai:gpt-6-luna", "groq:openai/gpt-oss-120b"
SECRET = "the secret of the pharaoh"


@dataclass
class Telemetry:
    """The SDK, with everything it exports in memory."""

    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracing = TracerProvider()
        self.tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracing.get_tracer("the application")

    def instrument(self, guard: Failover, **options: Any) -> Callable[[], None]:
        return instrument(guard, tracer_provider=self.tracing, meter_provider=self.meters, **options)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.name == name]

    def call(self) -> ReadableSpan:
        [span] = self.named("failover")
        return span

    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.kind is SpanKind.CLIENT]

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Every point by its metric's name: its attributes, and its value (of a histogram, how many)."""
        data: Any = self.reader.get_metrics_data()
        scopes = [scope for resource in getattr(data, "resource_metrics", ()) for scope in resource.scope_metrics]
        return {
            metric.name: [
                (dict(point.attributes), getattr(point, "value", getattr(point, "count", 0)))
                for point in metric.data.data_points
            ]
            for scope in scopes
            for metric in scope.metrics
        }

    def value(self, name: str, **attributes: Any) -> float:
        """The sum of the points whose attributes hold these (with dots as double underscores)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(value for known, value in self.metrics().get(name, []) if wanted.items() <= known.items())


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def openai() -> ScriptedProvider:
    return ScriptedProvider("openai", respond=lambda question: Reply("A short answer.", reasoning=""))


@pytest.fixture
def groq() -> ScriptedProvider:
    return ScriptedProvider("groq", respond=lambda question: Reply("Another answer.", reasoning=""))


Make = Callable[..., Failover]


@pytest.fixture
def make(openai: ScriptedProvider, groq: ScriptedProvider, telemetry: Telemetry) -> Iterator[Make]:
    """Instrumented orchestrators over the two providers, openai first."""
    with serve(openai, groq) as servers:

        def build(*, options: dict[str, Any] | None = None, **fields: Any) -> Failover:
            here: dict[str, Served] = servers
            targets = [here["openai"].target("gpt-6-luna"), here["groq"].target("openai/gpt-oss-120b")]
            guard = Failover(targets, **{"strategy": "priority", "retry": Retry(attempts=0), **fields})
            telemetry.instrument(guard, **(options or {}))
            return guard

        yield build


def test_a_failed_over_call_is_one_span_with_one_client_span_for_each_attempt(
    make: Make, openai: ScriptedProvider, telemetry: Telemetry
) -> None:
    openai.set(Status(503))
    make(budget=Budget(1)).complete("hi", temperature=0.5, labels={"user": "alice"})
    call, (first, second) = telemetry.call(), telemetry.attempts()
    assert call.parent is None
    assert call.kind is SpanKind.INTERNAL
    assert [span.parent.span_id for span in (first, second) if span.parent] == [call.context.span_id] * 2
    assert [span.name for span in (first, second)] == ["chat gpt-6-luna", "chat openai/gpt-oss-120b"]
    assert call.attributes is not None
    assert call.attributes["failover.attempts"] == 2
    assert call.attributes["failover.target"] == GROQ
    assert call.attributes["failover.label.user"] == "alice"
    assert call.attributes["failover.cost"] > 0  # type: ignore[operator]
    assert call.status.status_code is StatusCode.UNSET
    assert [event.name for event in call.events] == ["failover.failed_over"]


def test_an_attempt_that_failed_says_how(make: Make, openai: ScriptedProvider, telemetry: Telemetry) -> None:
    openai.set(Status(503))
    make().complete("hi")
    span = telemetry.attempts()[0]
    known = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "server_error"
    assert known["error.type"] == known["failover.reason"] == "server_error"
    assert known["http.response.status_code"] == 503


def test_an_attempt_that_answered_has_the_attributes_of_the_conventions(make: Make, telemetry: Telemetry) -> None:
    make().complete("hi", max_tokens=50, temperature=0.5, stop=["END"], seed=7)
    [span] = telemetry.attempts()
    known = dict(span.attributes or {})
    port = known.pop("server.port")
    assert isinstance(port, int)
    assert known.pop("failover.cost")
    assert known.pop("gen_ai.response.id")
    assert known.pop("gen_ai.usage.input_tokens")
    assert known.pop("gen_ai.usage.output_tokens")
    assert (
        known
        == {
            "failover.target": OPENAI,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-6-luna",
            "gen_ai.request.max_tokens": 50,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stop_sequences": ("END",),
            "gen_ai.request.seed": 7,
            "gen_ai.response.model": "gpt-6-luna",
            "gen_ai.response.finish_reasons": ("stop",),
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
        }
        or "http.response.status_code" not in known
    )


def test_spans_are_children_of_the_callers_span(make: Make, telemetry: Telemetry) -> None:
    guard = make(response_cache=False)
    with telemetry.tracer.start_as_current_span("request") as request:
        guard.complete("hi")
    assert telemetry.call().parent == request.get_span_context()


async def test_concurrent_tasks_keep_their_own_parents(make: Make, telemetry: Telemetry) -> None:
    guard = make(response_cache=False)

    async def ask(number: int) -> None:
        with telemetry.tracer.start_as_current_span(f"request {number}"):
            await guard.acomplete(f"question {number}", labels={"number": str(number)})

    await asyncio.gather(*map(ask, range(5)))
    await guard.aclose()
    parents = {span.context.span_id: span.name for span in telemetry.spans.get_finished_spans() if span.context}
    calls = telemetry.named("failover")
    found = {
        (parents[span.parent.span_id], (span.attributes or {})["failover.label.number"])
        for span in calls
        if span.parent
    }
    assert found == {(f"request {number}", str(number)) for number in range(5)}
    assert {span.parent.span_id for span in telemetry.attempts() if span.parent} == {
        span.context.span_id for span in calls if span.context
    }


def test_a_stream_says_when_its_first_chunk_came(make: Make, telemetry: Telemetry) -> None:
    list(make().stream("hi"))
    [span] = telemetry.attempts()
    known = dict(span.attributes or {})
    assert known["gen_ai.request.stream"] is True
    assert known["gen_ai.response.time_to_first_chunk"] > 0  # type: ignore[operator]
    assert telemetry.value("gen_ai.client.operation.time_to_first_chunk") == 1


def test_a_stream_that_is_left_early_ends_its_spans_and_is_no_error(
    make: Make, openai: ScriptedProvider, telemetry: Telemetry
) -> None:
    openai.set(Slow(0.05))
    guard = make()
    with telemetry.tracer.start_as_current_span("request") as request:
        stream = guard.stream("hi")
        next(stream)
        assert trace.get_current_span() is request  # nothing of ours is left in the consumer's context
        stream.close()
    assert telemetry.call().parent == request.get_span_context()
    assert [span.status.status_code for span in (telemetry.call(), *telemetry.attempts())] == [StatusCode.UNSET] * 2
    assert (telemetry.attempts()[0].attributes or {})["failover.reason"] == "abandoned"


async def test_a_cancelled_call_ends_its_spans_and_is_no_error(
    make: Make, openai: ScriptedProvider, telemetry: Telemetry
) -> None:
    openai.set(Hang())
    guard = make()
    with telemetry.tracer.start_as_current_span("request") as request:
        task = asyncio.create_task(guard.acomplete("hi"))
        while not openai.in_flight:  # noqa: ASYNC110  # it is counted in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await guard.aclose()
    assert telemetry.call().parent == request.get_span_context()
    assert [span.status.status_code for span in (telemetry.call(), *telemetry.attempts())] == [StatusCode.UNSET] * 2


async def test_an_async_stream_has_its_parent_and_leaves_no_span_in_its_consumer(
    make: Make, telemetry: Telemetry
) -> None:
    guard = make()
    with telemetry.tracer.start_as_current_span("request") as request:
        async for _ in guard.astream("hi"):
            assert trace.get_current_span() is request
    await guard.aclose()
    assert telemetry.call().parent == request.get_span_context()


def test_the_span_of_an_attempt_is_current_while_it_is_made(make: Make, telemetry: Telemetry) -> None:
    """So that what instruments HTTP clients finds its parent."""
    import httpx

    seen: list[trace.Span] = []
    client = httpx.Client(event_hooks={"request": [lambda request: seen.append(trace.get_current_span())]})
    with client, make(client=client, response_cache=False) as guard:
        guard.complete("hi")
        list(guard.stream("hi"))
    assert [span.get_span_context() for span in seen] == [span.context for span in telemetry.attempts()]
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_hedged_call_is_one_call(make: Make, openai: ScriptedProvider, telemetry: Telemetry) -> None:
    openai.set(Hang())
    guard = make(hedge=Hedge(after=0.05))
    response = await guard.acomplete("hi")
    await guard.aclose()
    assert response.target == GROQ
    call = telemetry.call()
    assert {span.parent.span_id for span in telemetry.attempts() if span.parent} == {call.context.span_id}
    assert (call.attributes or {})["failover.attempts"] == 2
    assert (call.attributes or {})["failover.target"] == GROQ
    assert call.status.status_code is StatusCode.UNSET
    assert telemetry.value("failover.call.duration") == 1
    assert telemetry.value("failover.call.duration", failover__target=GROQ) == 1


def test_a_call_that_nobody_answered_is_an_error(
    make: Make, openai: ScriptedProvider, groq: ScriptedProvider, telemetry: Telemetry
) -> None:
    openai.set(Status(500)), groq.set(Status(500))
    with pytest.raises(FailoverError):
        make().complete("hi")
    assert telemetry.call().status.status_code is StatusCode.ERROR
    assert (telemetry.call().attributes or {})["error.type"] == "AllTargetsFailed"


def test_a_cached_answer_is_a_call_without_attempts(make: Make, telemetry: Telemetry) -> None:
    guard = make()
    guard.complete("hi")
    telemetry.spans.clear()
    guard.complete("hi")
    assert telemetry.attempts() == []
    assert (telemetry.call().attributes or {})["failover.cached"] is True
    assert telemetry.value("failover.cache.hits") == 1


def test_the_metrics_of_a_failed_over_call(make: Make, openai: ScriptedProvider, telemetry: Telemetry) -> None:
    openai.set(Status(503))
    make().complete("hi")
    value = telemetry.value
    assert value("gen_ai.client.operation.duration", error__type="server_error", gen_ai__provider__name="openai") == 1
    assert value("gen_ai.client.operation.duration", gen_ai__provider__name="groq") == 1
    assert value("gen_ai.client.token.usage", gen_ai__token__type="input") == 1
    assert value("gen_ai.client.token.usage", gen_ai__token__type="output") == 1
    assert value("failover.failovers", failover__source=OPENAI, failover__target=GROQ) == 1
    assert value("failover.call.duration", failover__target=GROQ) == 1


def test_gauges_show_states_and_budgets_as_they_are_when_they_are_read(
    make: Make, openai: ScriptedProvider, telemetry: Telemetry
) -> None:
    openai.revoke()
    guard = make(budget=Budget(5, per="day"))
    guard.complete("hi")
    states = telemetry.metrics()["failover.target.state"]
    now = {(known["failover.target"], known["failover.state"]) for known, value in states if value}
    assert now == {(OPENAI, "disabled"), (GROQ, "closed")}
    assert telemetry.value("failover.budget.limit") == 5
    assert telemetry.value("failover.budget.spent") == pytest.approx(float(guard.budget.spent))  # type: ignore[union-attr]
    assert telemetry.value("failover.budget.reserved") == 0


def test_two_orchestrators_of_one_process_are_told_apart(make: Make, telemetry: Telemetry) -> None:
    one, two = make(options={"name": "one"}), make(options={"name": "two"})
    one.complete("hi"), two.complete("hi")
    states = telemetry.metrics()["failover.target.state"]
    assert {known["failover.name"] for known, _ in states} == {"one", "two"}
    assert telemetry.value("failover.cost", failover__name="two") > 0


def test_an_orchestrator_that_is_gone_is_not_kept_for_its_gauges(make: Make, telemetry: Telemetry) -> None:
    import gc

    guard = make()
    guard.close()
    del guard
    gc.collect()
    assert "failover.target.state" not in telemetry.metrics()


def test_nothing_is_recorded_after_the_end(make: Make, telemetry: Telemetry) -> None:
    guard = make()
    telemetry.spans.clear()
    end = telemetry.instrument(guard)
    end()
    guard.complete("hi")
    assert len(telemetry.named("failover")) == 1  # of the fixture's own


def test_the_end_ends_what_is_going_on(make: Make, openai: ScriptedProvider, telemetry: Telemetry) -> None:
    openai.set(Slow(0.05))
    guard = make()
    mine = Telemetry()
    end = mine.instrument(guard)
    stream = guard.stream("hi")
    next(stream)
    end()
    assert {span.name for span in mine.spans.get_finished_spans()} == {"failover", "chat gpt-6-luna"}
    stream.close()


def everything(telemetry: Telemetry) -> str:
    spans = [span.to_json() for span in telemetry.spans.get_finished_spans()]
    return json.dumps([*spans, repr(telemetry.reader.get_metrics_data())])


def test_content_is_not_recorded_unless_asked_for(make: Make, openai: ScriptedProvider, telemetry: Telemetry) -> None:
    openai.set(Status(400, message=f"cannot answer {SECRET}"))
    guard = make()
    with pytest.raises(FailoverError):
        guard.complete(SECRET)
    openai.set(Reply(SECRET))
    guard.complete(f"{SECRET}!")
    assert SECRET not in everything(telemetry)


@pytest.mark.parametrize("asked", ["argument", "environment"])
def test_content_is_recorded_on_attempts_when_asked_for(
    make: Make, telemetry: Telemetry, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked == "environment":
        monkeypatch.setenv(CAPTURE, "true")
    make(options={"content": True} if asked == "argument" else {}).complete("hi")
    [span] = telemetry.attempts()
    known = dict(span.attributes or {})
    assert json.loads(str(known["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]}
    ]
    assert json.loads(str(known["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "A short answer."}], "finish_reason": "stop"}
    ]
    assert "A short answer." not in json.dumps(dict(telemetry.call().attributes or {}))


def test_every_name_is_the_conventions_or_in_our_namespace() -> None:
    told = [*names.HISTOGRAMS, *names.COUNTERS, *names.GAUGES, *(name for name, _ in names.NOTES.values())]
    told += [value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)]
    told += [*names.PARAMETERS.values(), *names.USAGE.values()]
    spaces = ("gen_ai.", "failover.", "server.", "error.", "http.", "https://")
    assert [name for name in told if not name.startswith(spaces)] == []
    assert {name for name, _ in names.COUNTED.values()} | {"failover.cost"} == set(names.COUNTERS)
