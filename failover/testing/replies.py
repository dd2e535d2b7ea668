"""What a scripted provider may be told to answer, and what it has said once the request's limits were applied.

A ``Reply`` is written by the author of a test; whatever it leaves open, the provider makes up (see ``mind``).
``Spoken`` is the finished answer in no particular dialect: stop sequences and ``max_tokens`` honoured, ids given,
usage counted.  ``render`` turns it into bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failover.testing.world import Card, DialectName, Row, Tokens
from failover.types import FinishReason, Request


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call.  ``arguments`` as JSON text is sent as it is, broken or not; ``id`` is made up where None."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @property
    def json(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer.

    text: what is said; None: the provider answers by itself, as far as it understands the request.
    refusal: what the model says instead, declining.  tools: calls to make.
    reasoning: what is thought first; None: as the model does by default; "": nothing.
    finish: the reason to stop; None: it follows from the rest.  usage: as billed; None: counted.
    model: the name given in the answer, where it differs from the one asked for.
    pieces: how a stream cuts the text; None: into words.
    """

    text: str | None = None
    tools: tuple[ToolUse, ...] = ()
    reasoning: str | None = None
    finish: FinishReason | None = None
    usage: Tokens | None = None
    model: str | None = None
    pieces: tuple[str, ...] | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A request as the model sees it: in the neutral form, with what only the wire says beside it.

    reasons: whether it is to think.  shows_reasoning: whether the answer is to show it.  include_usage: as asked for
    in ``stream_options``.  body is the request as sent.
    """

    dialect: DialectName
    row: Row
    card: Card
    model: str
    request: Request
    body: Mapping[str, Any]
    stream: bool = False
    include_usage: bool = False
    reasons: bool = False
    shows_reasoning: bool = True


Respond = Callable[[Question], Reply]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A finished answer.  ``id`` is its bare name, from which the wire's ids are made; ``pieces`` cut the text."""

    id: str
    model: str
    text: str | None
    tools: tuple[ToolUse, ...]
    reasoning: str
    finish: FinishReason
    stopped_by: str | None
    usage: Tokens
    pieces: tuple[str, ...]
    thoughts: tuple[str, ...]
    refusal: str | None = None


def count(text: str) -> int:
    """Tokens of a piece of output: a quarter of its bytes, never less than one."""
    return max(1, -(-len(text.encode()) // 4)) if text else 0


MOST_PIECES = 200


def words(text: str) -> tuple[str, ...]:
    """The text in words with the space after them, in at most 200 pieces."""
    found = re.findall(r"\s*\S+\s*", text) or ([text] if text else [])
    size = -(-len(found) // MOST_PIECES) or 1
    return tuple("".join(found[start : start + size]) for start in range(0, len(found), size))


def speak(reply: Reply, question: Question, name: str, prompt: Tokens) -> Spoken:
    """Applies the request's limits to ``reply``.  ``prompt``: the input as counted (and cached) by the provider."""
    room = question.request.max_tokens or question.card.max_output
    thought, room = _within(words(reply.reasoning or ""), room)
    text, stopped_by = _until_stop(reply.text, question.request.stop)
    chosen = reply.pieces if reply.pieces and not stopped_by else words(text or "")
    said, room = _within(chosen, room)
    called, room = _within(tuple(tool.json for tool in reply.tools), room)
    tools = tuple(ToolUse(tool.name, tool.json, tool.id) for tool in reply.tools[: len(called)])
    whole = (len(words(reply.reasoning or "")), len(chosen), len(reply.tools))
    finish: FinishReason = "tool_calls" if tools else "stop"
    if (len(thought), len(said), len(called)) != whole:
        finish = "length"
    hidden = sum(map(count, thought))
    written = hidden + sum(map(count, (*said, *called)))
    return Spoken(
        id=name,
        model=reply.model or question.model,
        text=None if text is None else "".join(said),
        tools=tools,
        reasoning="".join(thought),
        finish=reply.finish or finish,
        stopped_by=stopped_by,
        usage=reply.usage or prompt + Tokens(output=max(written, 1), reasoning=hidden),
        pieces=said,
        thoughts=thought,
        refusal=reply.refusal,
    )


def _within(pieces: tuple[str, ...], room: int) -> tuple[tuple[str, ...], int]:
    """As many pieces as fit into ``room`` tokens, and the room left."""
    for number, piece in enumerate(pieces):
        if count(piece) > room:
            return pieces[:number], 0
        room -= count(piece)
    return pieces, room


def _until_stop(text: str | None, stops: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The text before the first stop sequence in it, and that sequence."""
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text] if text else []
    if not found or text is None:
        return text, None
    place, stop = min(found)
    return text[:place], stop
