"""Spans, begun and ended as events tell.

The span of an attempt is made current when the attempt begins, and ceases to be when its answer begins to come: until
then nothing of a stream has been handed on, so its consumer never finds a span of ours in its own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass, field

from opentelemetry import context, trace

from failover import events
from failover.telemetry import names
from failover.telemetry.content import messages
from failover.telemetry.names import Attributes

LEFT = ("CancelledError", "Closed", "GeneratorExit")
"""Exceptions by which a caller leaves; they are no error."""


@dataclass(slots=True)
class Ongoing:
    """The span of a call, and how many calls (a hedged one is two) are still of it; ``best`` is the end to tell of."""

    span: trace.Span
    began: float
    streamed: bool
    calls: int = 1
    attempts: int = 0
    cost: int = 0
    best: events.CallFinished | None = None


@dataclass(slots=True)
class Attempt:
    """The span of an attempt; ``token`` while it is current."""

    span: trace.Span
    token: Token[context.Context] | None

    def leave(self) -> None:
        if self.token is not None:
            context.detach(self.token)
            self.token = None


@dataclass(slots=True)
class Spans:
    """A listener.  Calls that had begun before it listened are left alone.

    places: what is the same for every attempt at a target; common: for everything.  took: told of each whole call, how
    many seconds it took and how it ended.
    """

    tracer: trace.Tracer
    places: Mapping[str, Attributes]
    common: Attributes
    took: Callable[[float, Attributes], None]
    calls: dict[int, Ongoing] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)

    def tell(self, event: events.Event) -> None:
        match event:
            case events.CallStarted():
                self._call(event)
            case events.AttemptStarted():
                self._attempt(event)
            case events.FirstContent():
                self._first(event)
            case events.AttemptFinished():
                self._attempted(event)
            case events.CallFinished():
                self._called(event)
            case _:
                self._note(event)

    def show(self, event: events.Event) -> None:
        """A reader of content."""
        attempt = self.attempts.get(event.call)
        if attempt is None:
            return
        match event:
            case events.Asked(request=request):
                attempt.span.set_attribute(names.INPUT_MESSAGES, messages(request.messages))
            case events.Answered(answer=answer):
                attempt.span.set_attribute(names.OUTPUT_MESSAGES, messages([answer.message], answer.finish_reason))

    def end(self) -> None:
        """End what is still going on; nothing more will be heard of it."""
        for span in [each.span for each in self.attempts.values()] + [each.span for each in self.calls.values()]:
            span.end()
        self.attempts.clear()
        self.calls.clear()

    # ------------------------------------------------------------- calls

    def _call(self, event: events.CallStarted) -> None:
        if primary := self.calls.get(event.hedges):
            primary.calls += 1
            self.calls[event.call] = primary
            return
        known: Attributes = {names.CALL: event.call, names.STREAMED: event.streamed, **self.common}
        known |= {f"{names.LABEL}{name}": value for name, value in event.labels.items()}
        span = self.tracer.start_span("failover", attributes=known)
        self.calls[event.call] = Ongoing(span, event.at, event.streamed)

    def _note(self, event: events.Event) -> None:
        ongoing, told = self.calls.get(event.call), names.NOTES.get(type(event))
        if ongoing is not None and told is not None:
            name, facts = told
            ongoing.span.add_event(name, facts(event))

    def _called(self, event: events.CallFinished) -> None:
        ongoing = self.calls.pop(event.call, None)
        if ongoing is None:
            return
        ongoing.calls -= 1
        ongoing.cost += event.cost
        if ongoing.best is None or event.error is None:
            ongoing.best = event
        if not ongoing.calls:
            ended = _ended(ongoing.best)
            self.took(event.at - ongoing.began, {names.STREAMED: ongoing.streamed, **ended})
            _finish(ongoing, ended)

    # ---------------------------------------------------------- attempts

    def _attempt(self, event: events.AttemptStarted) -> None:
        ongoing = self.calls.get(event.call)
        if ongoing is None:
            return
        ongoing.attempts += 1
        place = self.places[event.target]
        span = self.tracer.start_span(
            f"chat {place[names.REQUEST_MODEL]}",
            trace.set_span_in_context(ongoing.span),
            trace.SpanKind.CLIENT,
            place | _asked(event, ongoing.streamed),
        )
        self.attempts[event.call] = Attempt(span, context.attach(trace.set_span_in_context(span)))

    def _first(self, event: events.FirstContent) -> None:
        attempt = self.attempts.get(event.call)
        if attempt is not None:
            attempt.leave()
            attempt.span.set_attribute(names.FIRST_CHUNK, event.seconds)

    def _attempted(self, event: events.AttemptFinished) -> None:
        attempt = self.attempts.pop(event.call, None)
        if attempt is None:
            return
        attempt.leave()
        attempt.span.set_attributes(_outcome(event))
        if names.failed(event):
            attempt.span.set_status(trace.StatusCode.ERROR, event.reason)
        attempt.span.end()


def _asked(event: events.AttemptStarted, streamed: bool) -> Attributes:
    known: Attributes = {names.TARGET: event.target}
    if streamed:
        known[names.REQUEST_STREAM] = True
    if event.probe:
        known[names.PROBE] = True
    if event.reserved:
        known[names.RESERVED] = names.dollars(event.reserved)
    for name, value in event.parameters.items():
        known[names.PARAMETERS[name]] = list(value) if isinstance(value, tuple) else value
    return known


def _outcome(event: events.AttemptFinished) -> Attributes:
    good = event.reason == "ok"
    told: dict[str, names.Value | None] = {
        names.COST: names.dollars(event.cost),
        names.RESPONSE_MODEL: event.model or None,
        names.RESPONSE_ID: event.response_id or None,
        names.FINISH_REASONS: [event.finish_reason if good else "error"] if event.finish_reason else None,
        names.STATUS_CODE: event.status,
        names.REASON: None if good else event.reason,
        names.ERROR_TYPE: event.reason if names.failed(event) else None,
    }
    if event.usage is not None and not event.usage.estimated:
        told |= {key: getattr(event.usage, name) or ZERO.get(name) for name, key in names.USAGE.items()}
    return {key: value for key, value in told.items() if value is not None}


ZERO = {"input_tokens": 0, "output_tokens": 0}
"""What is told of usage even where there was none."""


def _ended(best: events.CallFinished) -> Attributes:
    known: Attributes = {names.CACHED: best.cached}
    if best.target is not None:
        known[names.TARGET] = best.target
    if best.error is not None:
        known[names.ERROR_TYPE] = best.error
    return known


def _finish(ongoing: Ongoing, ended: Attributes) -> None:
    error = ended.get(names.ERROR_TYPE)
    if error is not None and error not in LEFT:
        ongoing.span.set_status(trace.StatusCode.ERROR, str(error))
    ongoing.span.set_attributes({names.ATTEMPTS: ongoing.attempts, names.COST: names.dollars(ongoing.cost), **ended})
    ongoing.span.end()
