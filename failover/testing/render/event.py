"""Server-sent events, before they are bytes.

``kind`` says what an event means, so that faults can be placed without knowing the dialect:

    open     the stream begins; nothing said yet (role chunk, message_start, block starts)
    content  a piece of the answer: text, reasoning or a fragment of a tool call
    finish   why it ended                     usage   what it used
    end      the terminal marker              extra   anything else a client must tolerate (pings, done events)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["open", "content", "finish", "usage", "end", "extra"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event.  ``data`` is JSON or, as text, sent as it is; ``tokens`` of output are billed once it was sent."""

    kind: EventKind
    data: Any
    name: str | None = None
    tokens: int = 0


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encode(event: Event, newline: str = "\n") -> bytes:
    """The event as bytes; ``newline`` is one of the three that the standard allows."""
    text = event.data if isinstance(event.data, str) else dump(event.data)
    lines = [f"event: {event.name}"] if event.name else []
    lines += [f"data: {line}" for line in text.split("\n")]
    return (newline.join(lines) + newline * 2).encode()
