"""The fifth driver: many calls at once in virtual time.

A heap of what comes next takes the place of threads and event loops: the clock jumps to the earliest arrival, first
content, end of an attempt or end of a wait, and the flow that was waiting for it goes on.  The flows are the very
ones that production runs (``Call.run``), over the very gates; only who waits is different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

from failover._flow import CONTINUE, FIRST_CONTENT, Attempt, Call, Command, Event, Flow, Sleep, Wait
from failover._hedge import second_of
from failover.errors import FailoverError
from failover.simulate.provider import Course, Provider
from failover.store.base import Now, wait_for
from failover.types import Chunk, Request, Response

if TYPE_CHECKING:
    from failover.settings import Hedge


class Overtaken(BaseException):
    """Thrown into a flow that another has overtaken; it gives back what it holds and lets it pass."""


class Clock:
    """Virtual time.  ``moment`` is what the flow is given as now."""

    __slots__ = ("_starts", "moment")

    def __init__(self, starts: float) -> None:
        self._starts = starts
        self.moment = Now(0.0, starts)

    def now(self) -> Now:
        return self.moment

    def set(self, seconds: float) -> None:
        self.moment = Now(seconds, self._starts + seconds)


class Flight:
    """A call on its way.  ``turn`` counts what has happened to it, so that what comes too late is recognised.

    ``rival`` is the other one of a hedged pair.
    """

    __slots__ = ("call", "course", "flow", "over", "prompt_tokens", "rival", "turn")

    def __init__(self, call: Call, prompt_tokens: int) -> None:
        self.call = call
        self.flow: Flow = call.run()
        self.prompt_tokens = prompt_tokens
        self.turn = 0
        self.over = False
        self.course: Course | None = None
        self.rival: Flight | None = None


Done = Callable[[Flight, Response | None, FailoverError | None], None]
"""Told of every call's end, with its answer or its error."""


class Engine:
    """Drives calls over ``providers`` (in the order of the targets) and tells ``done`` of each that ends.

    hedge: as in ``Failover``.  tick: called with the time at every multiple of ``every`` seconds.
    """

    def __init__(
        self,
        clock: Clock,
        providers: Sequence[Provider],
        make: Callable[[Request], Call],
        done: Done,
        hedge: Hedge | None = None,
    ) -> None:
        self._clock = clock
        self._providers = providers
        self._make = make
        self._done = done
        self._hedge = hedge
        self._heap: list[tuple[float, int, Flight, int, Any]] = []
        self._numbers = count()

    def run(self, arrivals: Iterator[tuple[float, Request, int]], every: float, tick: Callable[[float], None]) -> None:
        """Until the last call has ended."""
        heap, due = self._heap, 0.0
        arriving = next(arrivals, None)
        while heap or arriving is not None:
            upcoming = heap[0][0] if heap else inf
            at = upcoming if arriving is None else min(upcoming, arriving[0])
            while due <= at:
                self._clock.set(due)
                tick(due)
                due += every
            self._clock.set(at)
            if arriving is not None and arriving[0] <= upcoming:
                self._begin(arriving[1], arriving[2])
                arriving = next(arrivals, None)
            else:
                _, _, flight, turn, event = heappop(heap)
                if turn in (flight.turn, ALWAYS) and not flight.over:
                    self._happens(flight, event)

    def _begin(self, request: Request, prompt_tokens: int) -> None:
        flight = Flight(self._make(request), prompt_tokens)
        if self._hedge is not None:
            self._push(flight.call.core.pace.late_after(self._hedge), flight, BACKUP, ALWAYS)
        self._go_on(flight, None)

    def _push(self, seconds: float, flight: Flight, event: Any, turn: int | None = None) -> None:
        at = self._clock.moment.mono + seconds
        heappush(self._heap, (at, next(self._numbers), flight, flight.turn if turn is None else turn, event))

    def _happens(self, flight: Flight, event: Any) -> None:
        if event is FIRST_CONTENT:
            self._content(flight)
        elif event is BACKUP:
            self._second(flight)
        else:
            self._go_on(flight, event)

    # ----------------------------------------------------------- the flow

    def _go_on(self, flight: Flight, event: Event) -> None:
        """Send a flow what happened, and arrange what it asks for next."""
        flight.call.ticket.wake = None
        flight.turn += 1
        try:
            command = flight.flow.send(event)
        except StopIteration as stop:
            self._ended(flight, stop.value, None)
        except FailoverError as error:
            error.__traceback__ = None  # it holds the frames that hold it; there may be very many
            self._ended(flight, None, error)
        else:
            self._arrange(flight, command)

    def _arrange(self, flight: Flight, command: Command) -> None:
        if isinstance(command, Attempt):
            provider = self._providers[command.live.index]
            streamed = flight.call.streamed
            course = provider.course(command.job, flight.prompt_tokens, streamed, self._clock.moment.mono)
            if streamed and course.first is not None:
                flight.course = course
                self._push(course.first, flight, FIRST_CONTENT)
            else:
                self._push(course.end, flight, course.outcome)
        elif isinstance(command, Sleep):
            self._push(command.seconds, flight, None)
        else:
            assert isinstance(command, Wait)
            self._stand(flight, command)

    def _stand(self, flight: Flight, wait: Wait) -> None:
        """In a line: until called, but no longer than stated."""
        if wait.ticket.woken:
            self._push(0.0, flight, None)
            return
        wait.ticket.wake = partial(self._push, 0.0, flight, None)
        if wait.seconds < inf:
            self._push(wait.seconds, flight, None)

    def _content(self, flight: Flight) -> None:
        """A stream's first content: it is committed, and nobody will overtake it any more."""
        course, flight.course = flight.course, None
        assert course is not None
        answer = flight.flow.send(FIRST_CONTENT)
        assert answer is CONTINUE
        flight.call.shaper.feed(Chunk(text=f"{next(self._numbers)} words of an answer. "))
        self._push(course.end - (course.first or 0.0), flight, course.outcome)
        self._overtake(flight)

    # ------------------------------------------------------------- hedging

    def _second(self, first: Flight) -> None:
        """The first is late: start its backup, where there is one and the retry budget allows it."""
        backup = None if first.call.shaper.committed else second_of(first.call)
        if backup is None or not wait_for(backup.core.store.allow_retry(self._clock.moment)):
            return
        second = Flight(backup, first.prompt_tokens)
        first.rival, second.rival = second, first
        self._go_on(second, None)

    def _overtake(self, flight: Flight) -> None:
        """Give up the other one of a pair."""
        rival = flight.rival
        if rival is None or rival.over:
            return
        rival.over = True
        with suppress(Overtaken):
            rival.flow.throw(Overtaken())

    def _ended(self, flight: Flight, response: Response | None, error: FailoverError | None) -> None:
        """The first success ends a pair, and a failure only when both have failed; what both took belongs to it."""
        flight.over = True
        rival = flight.rival
        if response is not None:
            self._overtake(flight)
        if rival is None:
            self._done(flight, response, error)
        elif rival.over:
            flight.call.spent += rival.call.spent
            flight.call.trail[:0] = rival.call.trail
            self._done(flight, response, error)


BACKUP = object()
ALWAYS = -1
"""A turn that is never too late."""
