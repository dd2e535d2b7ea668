"""From a finished answer to what goes over the wire: one module per dialect, each with ``whole`` and ``events``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from failover.testing.render import anthropic, chat, responses
from failover.testing.render.event import Event, EventKind, dump, encode
from failover.testing.replies import Question, Spoken
from failover.testing.strict import Violation, error_body
from failover.testing.world import DialectName, Row

__all__ = ["WIRES", "Event", "EventKind", "Wire", "dump", "encode"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A dialect's answers: whole, as events, and the event with which a stream says that it failed."""

    whole: Callable[[Spoken, Question], dict[str, Any]]
    events: Callable[[Spoken, Question], Iterator[Event]]
    error: Callable[[Row, Violation], Event]


def _chat_error(row: Row, violation: Violation) -> Event:
    body = json.loads(error_body(row.shape, violation))
    if row.shape == "openrouter":
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        body |= {"id": "gen-error", "object": "chat.completion.chunk", "choices": [choice]}
    return Event("extra", body)


def _anthropic_error(row: Row, violation: Violation) -> Event:
    return Event("extra", json.loads(error_body("anthropic", violation)), "error")


def _responses_error(row: Row, violation: Violation) -> Event:
    code = violation.code or violation.type
    data = {"type": "error", "code": code, "message": violation.message, "param": violation.param}
    return Event("extra", {**data, "sequence_number": 0}, "error")


WIRES: Mapping[DialectName, Wire] = {
    "chat": Wire(chat.whole, chat.events, _chat_error),
    "anthropic": Wire(anthropic.whole, anthropic.events, _anthropic_error),
    "responses": Wire(responses.whole, responses.events, _responses_error),
}
