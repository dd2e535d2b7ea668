"""How one attempt is made: the only door to a model, whether over HTTP or through a framework's own class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Protocol

from failover.settings import Timeouts
from failover.types import Answer, Chunk, Failure, Outcome, Request


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt.  ``budget`` is the seconds left of the whole call; ``timeouts`` the attempt's own clocks."""

    request: Request
    timeouts: Timeouts
    budget: float


Item = Chunk | list[Chunk] | Answer | Failure
"""What a streamed attempt gives: chunks, one by one or as many as came at once, and last of all its outcome."""


class Attempter(Protocol):
    """Makes one attempt, exactly one, and says how it ended as a value.

    Raises only what is nobody's failure: ``CancelledError``, ``GeneratorExit``, ``KeyboardInterrupt``, and a
    framework's control flow.  Closing the iterator early closes the connection.
    """

    def attempt(self, job: Job) -> Outcome: ...
    async def aattempt(self, job: Job) -> Outcome: ...
    def stream(self, job: Job) -> Generator[Item, None, None]: ...
    def astream(self, job: Job) -> AsyncGenerator[Item, None]: ...
