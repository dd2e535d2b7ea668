"""A driver in virtual time: the real flow over scripted outcomes, with a clock that jumps instead of sleeping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from failover import Failover, Request, Target
from failover._drive import _ending
from failover._flow import CONTINUE, FIRST_CONTENT, Attempt, Flow, Sleep, Wait
from failover._shaper import Shaper
from failover.attempter import Item, Job
from failover.settings import Price
from failover.store.base import Now
from failover.types import Answer, Chunk, Failure, Kind, Message, Outcome, Response, Usage

START = 1_800_000_000.0


def ok(text: str = "fine", **fields: Any) -> Answer:
    return Answer(Message("assistant", text), usage=Usage(10, 5), **fields)


def bad(kind: Kind, **fields: Any) -> Failure:
    return Failure(kind, **fields)


@dataclass
class Script:
    """An attempter that plays outcomes in order, the last one for ever.  ``(seconds, outcome)`` takes time.

    A list is a stream: its chunks, then its outcome.
    """

    plays: list[Any]
    jobs: list[Job] = field(default_factory=list)

    def next(self, job: Job) -> Any:
        self.jobs.append(job)
        return self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]

    def attempt(self, job: Job) -> Outcome:
        raise AssertionError("driven in virtual time")

    async def aattempt(self, job: Job) -> Outcome:
        raise AssertionError("driven in virtual time")

    def stream(self, job: Job) -> Iterator[Item]:
        raise AssertionError("driven in virtual time")

    def astream(self, job: Job) -> AsyncIterator[Item]:
        raise AssertionError("driven in virtual time")


class World:
    """Targets by name with their scripts, one clock, one orchestrator."""

    def __init__(self, options: dict[str, Any] | None = None, **scripts: Any) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.scripts = {name: Script(play if isinstance(play, list) else [play]) for name, play in scripts.items()}
        self.targets = {name: {"attempter": script, "price": Price(1, 1)} for name, script in self.scripts.items()}
        self.options: dict[str, Any] = {"strategy": "priority", "response_cache": False, **(options or {})}
        self._guard: Failover | None = None

    def target(self, name: str, **fields: Any) -> World:
        self.targets[name] |= fields
        return self

    @property
    def guard(self) -> Failover:
        if self._guard is None:
            self._guard = Failover([Target(name, **each) for name, each in self.targets.items()], **self.options)
            self._guard._core.now = self.now
            self._guard._core.random = lambda: 0.5
        return self._guard

    def now(self) -> Now:
        return Now(self.time, START + self.time)

    def calls(self) -> dict[str, int]:
        return {name: len(script.jobs) for name, script in self.scripts.items()}

    # ------------------------------------------------------------ driving

    def send(self, request: Request | str = "hi") -> Response:
        call = self.guard._call(_request(request), streamed=False)
        return _drained(self._drive(call.run(), None))[1]

    def stream(self, request: Request | str = "hi") -> tuple[list[Chunk], Response]:
        """The chunks handed on and the response; an error has them as ``handed``."""
        call = self.guard._call(_request(request), streamed=True)
        return _drained(self._drive(call.run(), call.shaper))

    def _drive(self, flow: Flow, shaper: Shaper | None) -> Iterator[Chunk]:
        try:
            command = next(flow)
            while True:
                event: Any = None
                if isinstance(command, Attempt):
                    play = self._play(command)
                    if isinstance(play, list):
                        event = yield from self._chunks(flow, command, play)
                    else:
                        event = play
                elif isinstance(command, Sleep | Wait):
                    self.slept.append(command.seconds)
                    self.time += command.seconds
                command = flow.send(event)
        except StopIteration as done:
            yield from _ending(done.value, shaper or Shaper())

    def _play(self, attempt: Attempt) -> Any:
        play = self.scripts[attempt.live.name].next(attempt.job)
        if isinstance(play, tuple):
            seconds, play = play
            self.time += seconds
        if isinstance(play, BaseException):
            raise play
        return play

    def _chunks(self, flow: Flow, attempt: Attempt, play: list[Any]) -> Any:
        *pieces, outcome = play
        for number, text in enumerate(pieces):
            if number == 0:
                assert flow.send(FIRST_CONTENT) is CONTINUE
            chunk = attempt.shaper.feed(Chunk(text=text))
            if chunk is not None:
                yield chunk
        rest = attempt.shaper.flush()
        if rest is not None:
            yield rest
        return outcome


def _request(given: Request | str) -> Request:
    return given if isinstance(given, Request) else Request((Message("user", given),))


def _drained(chunks: Iterator[Chunk]) -> tuple[list[Chunk], Response]:
    *handed, last = chunks
    assert last.response is not None
    return handed, last.response
