"""OpenTelemetry: one span for each call, one CLIENT span for each attempt beneath it, and metrics.

    from failover.telemetry import instrument
    instrument(guard)

Attempts are told as the semantic conventions for generative AI have it, what these have no name for in the namespace
``failover.*``; all names stand in ``names``.

A call's span is a child of whatever span is current where the call is made, in threads, tasks and streams alike, for
events are told there.  The span of an attempt is current until its answer begins to come, so that what instruments
HTTP clients finds its parent.  A hedged call is one call: its backup's attempts are children of the same span.

No prompt, answer, key or provider's own words are recorded.  ``content=True`` records prompts and answers; so does
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true`` in the environment.

Needs ``pip install 'failover[otel]'``, and an SDK with an exporter, which the application chooses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from failover import __version__
from failover._live import Live
from failover.client import Failover
from failover.errors import ConfigurationError

try:
    from opentelemetry import metrics, trace
except ImportError as error:
    raise ConfigurationError("telemetry needs OpenTelemetry: pip install 'failover[otel]'") from error

from failover.telemetry import names
from failover.telemetry.meters import Counts, meters_of
from failover.telemetry.names import Attributes
from failover.telemetry.spans import Spans

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def instrument(
    guard: Failover,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    content: bool | None = None,
    name: str = "",
) -> Callable[[], None]:
    """Record what ``guard`` does from now on; returns a function that ends it.

    tracer_provider, meter_provider: default to the application's global ones.
    content: record prompts and answers on the spans of attempts; None (default): as the environment says.
    name: tells several orchestrators of one process apart, as ``failover.name``.
    """
    common: Attributes = {names.NAME: name} if name else {}
    places = {live.name: _place(live) | common for live in guard._core.lives}
    meters = meters_of(meter_provider)
    tracer = trace.get_tracer("failover", __version__, tracer_provider, names.SCHEMA)
    counts = Counts(meters, places, common)
    spans = Spans(tracer, places, common, counts.took)
    ends = [guard.subscribe(spans.tell), guard.subscribe(counts.tell)]
    if _wanted() if content is None else content:
        ends.append(guard.subscribe_to_content(spans.show))
    meters.watch(guard, common)

    def end() -> None:
        for each in ends:
            each()
        meters.forget(guard)
        spans.end()

    return end


def _wanted() -> bool:
    return os.environ.get(CAPTURE, "").strip().lower() in ("true", "1", "span_only", "span_and_event")


def _place(live: Live) -> Attributes:
    """What is the same for every attempt at a target, as far as the conventions name it."""
    provider = live.model.provider.name
    known: Attributes = {
        names.OPERATION: "chat",
        names.PROVIDER: names.PROVIDERS.get(provider, provider),
        names.REQUEST_MODEL: live.model.id,
    }
    url = urlsplit(live.url)
    if url.hostname:
        known |= {names.ADDRESS: url.hostname, names.PORT: url.port or (80 if url.scheme == "http" else 443)}
    return known
