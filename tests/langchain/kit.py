"""Targets that play a script, without any wire, and a recorder of what LangChain's callbacks are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from failover import Price, Target
from failover._shaper import chunks_of
from failover.attempter import Item, Job
from failover.types import Answer, Block, Failure, FinishReason, Kind, Message, Outcome, Text, Usage
from langchain_failover import ChatFailover


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """``asyncio.run`` that leaves the thread's event loop, which is pytest-asyncio's, alone."""
    loop = asyncio.new_event_loop()
    try:
        result = loop.run_until_complete(work)
        loop.run_until_complete(loop.shutdown_asyncgens())
        return result
    finally:
        loop.close()


Play = Outcome | BaseException | Sequence[Item]
"""An outcome, an exception to raise, or the items of a stream."""

DOWN = Failure(Kind.SERVER_ERROR, "out of order", status=500)
USAGE = Usage(7, 5)


def says(*blocks: Block | str, finish: FinishReason = "stop", usage: Usage | None = USAGE) -> Answer:
    content = [Text(block) if isinstance(block, str) else block for block in blocks]
    return Answer(Message("assistant", content), finish_reason=finish, usage=usage, model="gpt-6-luna", id="chatcmpl-1")


class Script:
    """Plays its plays in order, the last one for ever; remembers the jobs and whether a stream was closed early."""

    def __init__(self, *plays: Play) -> None:
        self._plays = list(plays)
        self.jobs: list[Job] = []
        self.closed_early = False

    def _next(self, job: Job) -> Any:
        self.jobs.append(job)
        play = self._plays.pop(0) if len(self._plays) > 1 else self._plays[0]
        if isinstance(play, BaseException):
            raise play
        return play

    def attempt(self, job: Job) -> Outcome:
        play = self._next(job)
        return play if isinstance(play, Answer | Failure) else play[-1]

    async def aattempt(self, job: Job) -> Outcome:
        return self.attempt(job)

    def stream(self, job: Job) -> Iterator[Item]:
        play = self._next(job)
        items = _items(play)
        try:
            yield from items
        except GeneratorExit:
            self.closed_early = True
            raise

    async def astream(self, job: Job) -> AsyncIterator[Item]:
        items = _items(self._next(job))
        try:
            for item in items:
                yield item
        except GeneratorExit:
            self.closed_early = True
            raise

    @property
    def last(self) -> Any:
        """The last request it was asked."""
        return self.jobs[-1].request


def _items(play: Any) -> Sequence[Item]:
    if isinstance(play, Answer):
        return [*chunks_of(play), play]
    return [play] if isinstance(play, Failure) else play


def target(name: str, *plays: Play, **fields: Any) -> Target:
    known = {"provider": "openai", "model": "gpt-6-luna", "price": Price.free(), **fields}
    return Target(name, attempter=Script(*(plays or (says("hello"),))), **known)


def chat(*targets: Target, **fields: Any) -> ChatFailover:
    """A model over these targets, asked in their order; without a cache unless it is asked for."""
    return ChatFailover(targets or (target("only"),), **{"strategy": "priority", "response_cache": False, **fields})


def script(model: ChatFailover, index: int = 0) -> Script:
    found = model.core.targets[index].attempter
    assert isinstance(found, Script)
    return found


class Recorder(BaseCallbackHandler):
    """The runs a tracer would see."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.results: list[LLMResult] = []
        self.tokens: list[str] = []
        self.invocation: dict[str, Any] = {}

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.events.append("start")
        self.invocation = {"serialized": serialized, **kwargs}

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.events.append("end")
        self.results.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append("error")
