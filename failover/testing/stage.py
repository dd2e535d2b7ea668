"""Where a script's items play: one request, the provider's ways, and the usual course of an answer.

A ``Play`` is anything with ``steps(stage)``.  ``Answer`` is the good one; the faults are in ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from failover.testing.render import WIRES, Event, dump, encode
from failover.testing.replies import Question, Reply, Spoken
from failover.testing.steps import Charge, Data, End, Head, Steps
from failover.testing.strict import Violation, error_body
from failover.testing.world import DialectName, Row, Tokens

JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Stage:
    """One request on its way to an answer.

    question: what is asked, or None where the request was not understood (an unknown path, broken JSON).
    say: turns a reply (or None, for the provider's own) into a finished answer.
    headers: sent with every response.  reused: the connection has served a request before.
    """

    row: Row
    dialect: DialectName
    question: Question | None
    say: Callable[[Reply | None], Spoken]
    headers: tuple[tuple[str, str], ...] = ()
    reused: bool = False

    @property
    def stream(self) -> bool:
        return self.question is not None and self.question.stream

    def asked(self) -> Question:
        assert self.question is not None, "only answers ask for the question, and they play on understood requests"
        return self.question

    def head(self, status: int, kind: str, length: int | None = None) -> Head:
        """A head with this content type; without a length the body is chunked."""
        headers = (("content-type", kind), *self.headers)
        if length is None:
            return Head(status, headers, "chunked")
        return Head(status, (*headers, ("content-length", str(length))))

    def full(self, status: int, kind: str, body: bytes) -> Steps:
        """A complete response."""
        yield self.head(status, kind, len(body))
        yield Data(body)
        yield End()

    def refusal(self, violation: Violation) -> Steps:
        """The provider's error response."""
        return self.full(violation.status, JSON, error_body(self.row.shape, violation))

    def body(self, said: Spoken) -> bytes:
        return dump(WIRES[self.dialect].whole(said, self.asked())).encode()

    def events(self, said: Spoken) -> list[Event]:
        return list(WIRES[self.dialect].events(said, self.asked()))

    def error_event(self, violation: Violation) -> Event:
        return WIRES[self.dialect].error(self.row, violation)


class Play(Protocol):
    """An item of a script.  ``answers``: it answers the request, so the request has to be in order."""

    @property
    def answers(self) -> bool: ...
    def steps(self, stage: Stage) -> Steps: ...


# ------------------------------------------------------- the usual course


def asked_tokens(usage: Tokens) -> Tokens:
    """What is billed before anything is said."""
    return replace(usage, output=0, reasoning=0, audio_out=0)


def billed(events: Iterable[Event], usage: Tokens) -> Iterator[Charge | Event]:
    """Events with their charges before them; what they leave of the usage falls due with the finish."""
    yield Charge(asked_tokens(usage))
    left = usage.output
    for event in events:
        due = left if event.kind in ("finish", "end") else min(event.tokens, left)
        left -= due
        if due:
            yield Charge(Tokens(output=due))
        yield event


def played(course: Iterable[Charge | Event], newline: str = "\n") -> Steps:
    """Events as bytes, each its own piece of the body."""
    for item in course:
        yield Data(encode(item, newline)) if isinstance(item, Event) else item


def whole(stage: Stage, reply: Reply | None) -> Steps:
    """The answer as one body."""
    said = stage.say(reply)
    yield Charge(said.usage)
    yield from stage.full(200, JSON, stage.body(said))


def streamed(stage: Stage, reply: Reply | None) -> Steps:
    """The answer as a stream."""
    said = stage.say(reply)
    yield stage.head(200, SSE)
    yield from played(billed(stage.events(said), said.usage))
    yield End()


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: ``reply``, or the provider's own where None."""

    reply: Reply | None = None
    answers: bool = field(default=True, init=False)

    def steps(self, stage: Stage) -> Steps:
        return (streamed if stage.stream else whole)(stage, self.reply)
