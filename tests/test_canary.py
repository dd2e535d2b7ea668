"""One key, planted where keys are given, while everything that can keep or show something is switched on.

Calls succeed, fail, are cut and are refused, over a shared store, with telemetry, history, logs, both frameworks and
notebook pictures; afterwards the key must be nowhere but in the headers that its own provider received.
"""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from failover import Budget, Failover, Price, Retry, Target
from failover.events import Event
from failover.telemetry import instrument
from failover.testing import Cut, ErrorInBody, ScriptedProvider, Served, Status, serve
from langchain_failover import ChatFailover
from llamaindex_failover import FailoverLLM

CANARY = "sk-canary-0123456789abcdef"
FAULTS = (None, Status(500), Cut(after=2), ErrorInBody(), Status(429, retry_after=0.01), Status(401))

HEARD: list[Event] = []
Plant = Callable[[Served, pytest.MonkeyPatch], Target]


def _in_environment(here: Served, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    return Target("openai:gpt-6-luna", base_url=here.base_url)


PLANTED: dict[str, Plant] = {
    "string": lambda here, _: here.target("gpt-6-luna", api_key=CANARY),
    "secret": lambda here, _: here.target("gpt-6-luna", api_key=SecretStr(CANARY)),
    "function": lambda here, _: here.target("gpt-6-luna", api_key=lambda: CANARY),
    "environment": _in_environment,
    "header": lambda here, _: Target(
        "mine", base_url=here.base_url, model="m", price=Price(1, 1), headers={"Authorization": f"Bearer {CANARY}"}
    ),
}


@pytest.fixture
def logged() -> Iterator[StringIO]:
    stream = StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def _attempted(call: Callable[[], Any], said: list[str]) -> None:
    try:
        said.append(repr(call()))
    except Exception as error:
        said += [repr(error), "".join(traceback.format_exception(error)), repr(pickle.dumps(error))]


def _around(text: str) -> str:
    """What holds the key, and where in it."""
    return f"{text[:90]} ... {text[max(0, text.find(CANARY) - 90) :][:150]}"


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_key_reaches_its_provider_and_no_other_place(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logged: StringIO
) -> None:
    provider, said = ScriptedProvider("openai", key=CANARY), list[str]()
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    with serve(provider) as servers:
        target = plant(servers["openai"], monkeypatch)
        guard = Failover(
            [target],
            retry=Retry(base=0.01),
            budget=Budget(1),
            store=f"sqlite:///{tmp_path}/gates.db",
            listeners=[HEARD.append],
        )
        instrument(guard, tracer_provider=tracing, meter_provider=MeterProvider([metrics]), content=True)
        chat, llm = ChatFailover(failover=guard), FailoverLLM(failover=guard)
        for number, fault in enumerate(FAULTS):
            provider.set(fault)
            _attempted(lambda number=number: guard.complete(f"{number}"), said)
            _attempted(lambda number=number: list(guard.stream(f"{number} streamed")), said)
            _attempted(lambda number=number: chat.invoke(f"{number} chat"), said)
            _attempted(lambda number=number: llm.complete(f"{number} llm"), said)
            guard.enable(guard.targets[0].name)
        said += [repr(guard), repr(target), repr(guard.status()), repr(guard.history()), repr(guard.budget)]
        said += [repr(chat), dumps(chat), repr(llm), json.dumps(llm.to_dict(), default=str), repr(copy.copy(guard))]
        said += [repr(pickle.dumps(each)) for each in (guard, chat, llm)]
        for shown in (guard, guard.budget, guard.status()[0]):
            said.append(repr(shown._repr_mimebundle_()))  # type: ignore[union-attr]  # there is a budget
        guard.close()
    said += [repr(event) for event in HEARD]
    said += [span.to_json() for span in spans.get_finished_spans()]
    said += [repr(metrics.get_metrics_data()), logged.getvalue()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    assert {request.headers["authorization"] for request in provider.requests} == {f"Bearer {CANARY}"}
    assert spans.get_finished_spans()
    assert [
        each[:90] + " ... " + each[max(0, each.find(CANARY) - 90) :][:150] for each in said if CANARY[-12:] in each
    ] == []
