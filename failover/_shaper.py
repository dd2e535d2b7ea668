"""Decides which chunks of a stream are handed on, and remembers what was.

A stream is committed by the first chunk that is handed on; before that a failure can be survived in silence.
When a cut stream is continued by another model, its answer may start over or overlap with what the caller already
has: ``Overlap`` trims that, so that no text is doubled.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile

from failover.types import Answer, Block, Chunk, Message, Text, Thinking, ToolCall, Usage


class Shaper:
    """One caller's stream, over all the attempts it takes.  ``committed`` once something was handed on.

    Blocks without a text form (sealed reasoning) tell the caller nothing, so they commit to nothing: they are held
    until the first content comes, and go with it.
    """

    __slots__ = ("_growing", "_made", "committed", "diverged", "held", "overlap", "text", "tool_calls")

    def __init__(self) -> None:
        self.committed = False
        self.diverged = False
        self.held: tuple[Block, ...] = ()
        self.text: list[str] = []
        self.tool_calls = False
        self.overlap: Overlap | None = None
        self._made = 0
        self._growing = False

    @property
    def made(self) -> int | None:
        """UTF-8 bytes that this attempt has made so far; None within a tool call, whose fragments are not seen."""
        return None if self._growing else self._made

    @property
    def said(self) -> str:
        return "".join(self.text)

    def feed(self, chunk: Chunk) -> Chunk | None:
        """The chunk to hand on, or None."""
        text = chunk.text
        if text and self.committed and self.overlap is None:
            self._made += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            self._growing = False
            self.text.append(text)
            return chunk
        self._count(chunk)
        if self.overlap is not None and chunk.text:
            chunk.text = self.overlap.feed(chunk.text)
        if chunk.text:
            self.text.append(chunk.text)
        elif chunk.tool_calls:
            self.tool_calls = True
        elif chunk.blocks and not self.committed:
            self.held += chunk.blocks
            return None
        elif not (chunk.reasoning or chunk.blocks):
            return None
        if not self.committed:
            self._commit(chunk)
        return chunk

    def _count(self, chunk: Chunk) -> None:
        text = chunk.text or chunk.reasoning
        self._made += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        for call in chunk.tool_calls:
            self._made += len(call.name) + len(call.arguments.encode("utf-8", "replace"))
        self._growing = not (text or chunk.tool_calls or chunk.blocks)

    def _commit(self, chunk: Chunk) -> None:
        self.committed = True
        if self.held:
            chunk.blocks, self.held = (*self.held, *chunk.blocks), ()

    def fresh(self) -> None:
        """Another attempt begins: what was held back of the last one is nobody's any more."""
        self.held = ()
        self._made, self._growing = 0, False

    def flush(self) -> Chunk | None:
        """What trimming still held back at the end of a stream."""
        if self.overlap is None:
            return None  # blocks alone are no content: an answer of nothing else comes whole
        rest = self.overlap.flush()
        self.diverged = self.overlap.diverged
        self.overlap = None
        if not rest:
            return None
        self.text.append(rest)
        return Chunk(text=rest)

    def continues(self, told: str) -> None:
        """The next chunks come from another model, asked to go on after ``told``, with which the text so far begins."""
        self.flush()
        self.overlap = Overlap(self.said, self.said[len(told) :])

    def partial(self, partial: Answer | None, before: Answer | None) -> Answer:
        """What the caller has of a broken stream: its text, the ids of the last to say something, the usage of all.

        before: what had come until the last cut.
        """
        message = Message("assistant", self.said)
        if partial is None:
            return replace(before or Answer(message), message=message)
        usage = partial.usage if before is None else _together(before.usage, partial.usage)
        return replace(partial, message=message, usage=usage)

    def joined(self, last: Answer, before: Usage | None) -> Answer:
        """The whole answer of several authors: all text handed on, then the last one's tool calls."""
        calls = last.message.tool_calls
        message = Message("assistant", (Text(self.said), *calls))
        return replace(last, message=message, usage=_together(before, last.usage))

    def begun_anew(self, last: Answer, before: Usage | None) -> Answer:
        """The whole answer of the last author, where those before had shown nothing but their reasoning."""
        return replace(last, usage=_together(before, last.usage))


def _together(one: Usage | None, other: Usage | None) -> Usage | None:
    """The usage of both; where only one is known, it is marked as estimated."""
    if one is not None and other is not None:
        return _sum(one, other)
    known = one or other
    return None if known is None else replace(known, cost=None, estimated=True)


def _sum(one: Usage, other: Usage) -> Usage:
    """Tokens of both; the cost is known only if both told it."""
    counts = {name: getattr(one, name) + getattr(other, name) for name in COUNTS}
    cost = None if one.cost is None or other.cost is None else one.cost + other.cost
    return Usage(**counts, cost=cost, estimated=one.estimated or other.estimated)


COUNTS = tuple(name for name in Usage.__dataclass_fields__ if name not in ("cost", "estimated"))


class Overlap:
    """Trims from a continuation what it repeats of ``said``.  ``untold``: the end of it that it was not shown.

    An answer that starts over and then says something else cannot be joined to what the caller has:
    ``diverged`` is set and nothing more comes out.

    Held back is only as much as is still undecided: while the new text could be the beginning of ``said`` (an
    answer that starts over) or of a suffix of it (one that overlaps).  A suffix counts from ``SHORTEST``
    characters, so that a coincidence of a letter or two is not eaten.
    """

    SHORTEST = 8
    LONGEST = 4096

    def __init__(self, said: str, untold: str = "") -> None:
        self._said = said
        self._untold = untold
        self._held = ""
        self._decided = not said
        self.diverged = False

    def feed(self, text: str) -> str:
        if self._decided:
            return "" if self.diverged else text
        self._held += text
        if self._undecided():
            return ""
        return self.flush()

    def flush(self) -> str:
        if self._decided:
            return ""
        self._decided = True
        held, self._held = self._held, ""
        self.diverged = self._starts_over(held)
        return "" if self.diverged else held[self._repeated(held) :]

    def _undecided(self) -> bool:
        """The held text is still wholly a part of what was said, so more of it may come."""
        held = self._held
        if len(held) >= len(self._said):
            return False
        return self._said.startswith(held) or held in self._said[-self.LONGEST :]

    def _starts_over(self, held: str) -> bool:
        """It repeats the beginning for a good while, but not up to the point that was reached."""
        return not held.startswith(self._said) and _in_common(held, self._said) >= self.SHORTEST * 4

    def _repeated(self, held: str) -> int:
        """How many characters of ``held`` the caller already has."""
        if held.startswith(self._said):
            return len(self._said)
        longest = min(len(held), len(self._said), self.LONGEST)
        sizes = range(longest, self.SHORTEST - 1, -1)
        untold = len(self._untold) if held.startswith(self._untold) else 0
        return next((size for size in sizes if self._said.endswith(held[:size])), untold)


def _in_common(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def chunks_of(answer: Answer) -> list[Chunk]:
    """A whole answer as a stream: one chunk per block."""
    return [_chunk(block, index) for index, block in enumerate(answer.message.content)]


def _chunk(block: Block, index: int) -> Chunk:
    match block:
        case Text(text=text) if text:
            return Chunk(text=text, index=index)
        case Thinking(text=text, signature=None, redacted=None) if text and not block.extra:
            return Chunk(reasoning=text, index=index)
        case ToolCall():
            return Chunk(tool_calls=(block,), index=index)
        case _:
            return Chunk(blocks=(block,), index=index)
