"""What the LlamaIndex tests share: scripted targets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from failover import Answer, Chunk, Failure, Message, Outcome, Price, Target, Text, Thinking, ToolCall, Usage
from failover.attempter import Item, Job

USAGE = Usage(10, 5)


def says(*blocks: Any, usage: Usage | None = USAGE, **fields: Any) -> Answer:
    content = [Text(block) if isinstance(block, str) else block for block in blocks]
    return Answer(Message("assistant", content), usage=usage, model="m-2026", **fields)


class Play:
    """A target's attempter that plays outcomes in order, the last one for ever; streams are cut into letters."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.jobs: list[Job] = []
        self.closed = 0

    def _next(self, job: Job) -> Outcome:
        self.jobs.append(job)
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    def attempt(self, job: Job) -> Outcome:
        return self._next(job)

    async def aattempt(self, job: Job) -> Outcome:
        return self._next(job)

    def stream(self, job: Job) -> Iterator[Item]:
        try:
            yield from self._items(job)
        finally:
            self.closed += 1

    async def astream(self, job: Job) -> AsyncIterator[Item]:
        try:
            for item in self._items(job):
                yield item
        finally:
            self.closed += 1

    def _items(self, job: Job) -> Iterator[Item]:
        outcome = self._next(job)
        told = outcome if isinstance(outcome, Answer) else outcome.partial
        for index, block in enumerate(told.message.content if told else ()):
            yield from _pieces(block, index)
        yield outcome

    @property
    def request(self) -> Any:
        """What was asked last."""
        return self.jobs[-1].request


def _pieces(block: Any, index: int) -> Iterator[Chunk]:
    match block:
        case Text(text=text):
            yield from (Chunk(text=letter, index=index) for letter in text)
        case Thinking(text=text):
            yield from (Chunk(reasoning=letter, index=index) for letter in text)
            if block.signature or block.redacted:
                yield Chunk(blocks=(block,), index=index)
        case ToolCall():
            yield Chunk(tool_calls=(block,), index=index)


def target(play: Play | Outcome, name: str = "one", **fields: Any) -> Target:
    attempter = play if isinstance(play, Play) else Play(play)
    known = {"provider": "test", "model": name, "price": Price(1, 1), **fields}
    return Target(name, attempter=attempter, **known)


def fails(kind: Any, **fields: Any) -> Failure:
    return Failure(kind, "scripted", **fields)
