"""The life of one call, without any I/O.

``Call.run`` is a generator.  It yields what it wants done and is sent what happened:

    Attempt   make one attempt        ◄── FIRST_CONTENT (streams only, answered by CONTINUE), then the Outcome
    Sleep     let time pass           ◄── None
    Wait      until woken or late     ◄── None
    Io        reach a store or cache  ◄── its answer (only of stores outside this process; theirs come at once)

and it returns the ``Response`` or raises a ``FailoverError``.  Drivers end it early with ``throw``, never ``close``:
every lease is settled in a ``finally``.  All it knows of time is the ``now`` it is given, so the same code serves
threads, event loops and simulated time.

Every candidate has a moment at which it may be asked (again): at once while untried, after a backoff when its
failure allows a retry, when its line moves up if a gate asked to wait, never if it is out.  The call asks whoever
is ready, waits for the earliest when nobody is, and ends when nobody ever will be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from math import inf
from operator import attrgetter
from typing import Any, Final, TypeVar

from failover import events
from failover._ledger import Ledger, Weight
from failover._live import Live, Pace
from failover._resume import continuation, resumable, shown
from failover._routing import Random, Router, incapable, needs
from failover._shaper import Shaper
from failover.attempter import Job
from failover.cache.flight import Flight, Flights, Key
from failover.cache.key import digest
from failover.dialects.params import adapt
from failover.dialects.replay import estranged
from failover.errors import (
    AllTargetsFailed,
    BadRequest,
    BudgetExceeded,
    CircuitOpen,
    ContentFiltered,
    ContextOverflow,
    FailoverError,
    Incapable,
    ProviderError,
    RateLimited,
    Rejected,
    StoreUnavailable,
    StreamInterrupted,
    TargetDisabled,
)
from failover.failures import VERDICTS, may_retry
from failover.history import Memory
from failover.rules.retry import backoff
from failover.settings import Retry
from failover.store.base import Ask, Claims, Hit, Io, Lease, Now, Reason, Rejection, ResponseCache, Store, Transition
from failover.types import Answer, Failure, Kind, Outcome, Request, Response, Step, Usage


@dataclass(slots=True)
class Core:
    """What all calls of one orchestrator share."""

    lives: tuple[Live, ...]
    router: Router
    store: Store
    ledger: Ledger
    cache: ResponseCache | None
    namespace: str
    flights: Flights
    retry: Retry
    now: Callable[[], Now]
    random: Random
    deadline: float = 600.0
    max_wait: float = 60.0
    resume: bool = False
    pass_filtered: bool = False
    lazy_cache: bool = False
    emit: Callable[[events.Event], None] = lambda event: None
    watched: bool = False  # somebody listens, so that a call's routine is worth an event
    read: bool = False  # somebody wants to see what is asked and answered
    memory: Memory = field(default_factory=Memory)
    pace: Pace = field(default_factory=Pace)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    claims: Claims | None = field(init=False)

    def __post_init__(self) -> None:
        self.claims = self.cache if isinstance(self.cache, Claims) else None


# --------------------------------------------------- what a flow asks for


@dataclass(frozen=True, slots=True)
class Attempt:
    """Make one attempt at ``live``.  Chunks go through ``shaper`` on their way to the caller."""

    live: Live
    job: Job
    shaper: Shaper


@dataclass(frozen=True, slots=True)
class Sleep:
    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Until ``ticket`` is woken, but no longer than ``seconds``."""

    ticket: Any
    seconds: float


class Signal:
    """A message without content."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


FIRST_CONTENT: Final = Signal("FIRST_CONTENT")
CONTINUE: Final = Signal("CONTINUE")

T = TypeVar("T")
Command = Attempt | Sleep | Wait | Signal | Io[Any]
Event = Any
"""An ``Outcome``, a ``Signal``, the answer of an ``Io``, or None."""
Flow = Generator[Command, Event, Response]
Steps = Generator[Command, Event, T]


# ------------------------------------------------------------ candidates


@dataclass(slots=True, eq=False)
class Candidate:
    """A target within one call.

    ready: the monotonic moment at which it may be asked; inf: only if woken.  recheck: when to ask a line again
    although nobody called.
    """

    live: Live
    ready: float = 0.0
    recheck: float = inf
    line: str | None = None
    out: bool = False
    retries: int = 0
    owes: bool = False  # its next attempt is a retry that has not been taken out of the retry budget
    adapted: set[Kind] = field(default_factory=set)  # to what it has been
    credential: str = ""  # that was last used
    opened: bool = False  # its circuit, by its last failure
    capped: bool = False  # with an output cap that the caller did not set
    request: Request | None = None
    error: FailoverError | None = None
    kind: Kind | None = None

    def rest(self, error: FailoverError, until: float, line: str | None = None, recheck: float | None = None) -> None:
        self.error, self.ready, self.line = error, until, line
        self.recheck = inf if recheck is None else recheck

    def leave(self, error: FailoverError) -> None:
        self.error, self.out, self.line = error, True, None


REJECTED: dict[Reason, type[Rejected]] = {
    Reason.DISABLED: TargetDisabled,
    Reason.CIRCUIT_OPEN: CircuitOpen,
    Reason.RATE_LIMITED: RateLimited,
    Reason.CONCURRENCY: RateLimited,
    Reason.OVER_LIMIT: RateLimited,
    Reason.BUDGET_SPENT: BudgetExceeded,
    Reason.BUDGET_PENDING: BudgetExceeded,
    Reason.INCAPABLE: Incapable,
    Reason.STORE_LOST: StoreUnavailable,
}


class Call:
    """One call on its way: the state that lives as long as the call, and the steps of its life."""

    def __init__(self, core: Core, request: Request, streamed: bool) -> None:
        self.core = core
        self.request = request
        self.streamed = streamed
        self.shaper = Shaper()
        self.number = next(core.numbers)
        self.began = core.now()
        self.deadline = self.began.mono + (core.deadline if request.deadline is None else request.deadline)
        self.wait_until = inf
        self.weight = Weight(request)
        self.lazy = core.lazy_cache or bool(request.prefer)
        self.trail: list[Step] = []
        self.tried: list[Candidate] = []
        self.digest: bytes | None = None
        self.ticket = core.store.ticket()
        self.in_line = False
        self.spent = 0
        self.claimed = False  # the making of this answer, of all processes
        self.excluded: frozenset[int] = frozenset()
        self.hedges = 0
        self.late_after = inf
        self.again: Candidate | None = None
        self.larger_than: int | None = None
        self.interrupted: StreamInterrupted | None = None
        self.authors: list[str] = []
        self.empty: tuple[Candidate, Answer] | None = None

    # ------------------------------------------------------------- phases

    def run(self) -> Flow:
        """The whole life; see the module's opening."""
        if self.core.watched:
            self._tell(events.CallStarted, streamed=self.streamed, labels=self.request.labels, hedges=self.hedges)
        response: Response | None = None
        error: BaseException | None = None
        try:
            response = yield from self._answer()
            return response
        except BaseException as raised:
            error = raised
            raise
        finally:
            if self.in_line:
                self.core.store.leave(self.ticket, self.core.now())
            if self.core.watched:
                self._finished(response, error)

    def _answer(self) -> Flow:
        if self.core.cache is None or not self.request.cache:
            return (yield from self._serve())
        self.digest = digest(self.request, self.core.namespace)
        if self.excluded:
            return (yield from self._serve())  # a hedge must not follow the very call that it is to overtake
        if hit := (yield from self._stored()):
            return hit
        return (yield from self._together((self.digest, self.request.prefer)))

    def _together(self, key: Key) -> Flow:
        """Lead or follow the identical calls in the air."""
        flights = self.core.flights
        flight = flights.join(key, self.ticket, self.streamed)
        try:
            if flight.leader is not self.ticket:
                yield from self._follow(flight)
                if flight.outcome is not None:
                    return self._shared(flight.outcome)
                if hit := (yield from self._stored()):  # by a hedge that overtook the leader
                    return hit
            response = (yield from self._elsewhere()) or (yield from self._serve())
            if flight.leader is self.ticket:
                flights.land(flight, response)
            return response
        except ABOUT_THE_REQUEST as error:
            if flight.leader is self.ticket:
                flights.land(flight, error)
            raise
        finally:
            flights.leave(flight, self.ticket)
            if self.claimed and (released := self._release()) is not None:
                yield released

    def _elsewhere(self) -> Steps[Response | None]:
        """The answer that another process is making for the same request, once it is stored; None: make our own."""
        claims = self.core.claims
        if claims is None or self.digest is None or self.lazy:
            return None
        until = min(self.deadline, self._now() + self.core.lives[0].timeouts.between_content)
        waited = False
        while self._now() < until:
            claim = claims.claim(self.digest, self.core.now())
            self.claimed = (yield from self._fetched(claim)) if isinstance(claim, Io) else claim
            if self.claimed and not waited:
                return None
            if hit := (yield from self._stored()):
                return hit
            if self.claimed:
                return None
            waited = True
            yield Sleep(CLAIM_PAUSE * (0.5 + self.core.random()))
        return None

    def _release(self) -> Io[None] | None:
        """Let another process make the call, if this one has not stored an answer."""
        assert self.core.claims is not None
        assert self.digest is not None
        return self.core.claims.release(self.digest, self.core.now())

    def _follow(self, flight: Flight) -> Steps[None]:
        """Until the flight has landed or is ours, or its leader takes longer than a stream may pause."""
        patience = self.core.lives[0].timeouts.between_content
        until = self.deadline
        while True:
            self.ticket.woken = False  # before looking, so that no wake is lost
            if flight.streamed:
                until = min(until, self._now() + patience)
            left = until - self._now()
            if flight.outcome is not None or flight.leader is self.ticket or left <= 0:
                return
            yield Wait(self.ticket, left)

    def _serve(self) -> Flow:
        """Ask targets until one answers."""
        untried = self.core.router.order(self.request, self.began.mono)
        while True:
            candidate = self._next(untried)
            if candidate is None:
                if self.empty is not None and self._nobody_else():
                    return self._respond(*self.empty)
                yield from self._pause()
                continue
            if self.lazy and (hit := (yield from self._cached((candidate.live,)))):
                return hit
            if candidate.owes and not (yield from self._pays(candidate)):
                continue
            outcome = yield from self._ask(candidate)
            if isinstance(outcome, Answer):
                return self._respond(candidate, outcome)
            if outcome is not None:
                self._failed(candidate, outcome)

    # --------------------------------------------------------- candidates

    def _next(self, untried: Iterator[Live]) -> Candidate | None:
        """Whoever is ready: who just learned what to leave out, those never asked, those that may be asked again."""
        now = self.core.now().mono
        if now >= self.deadline:
            return None
        if self.again is not None:
            candidate, self.again = self.again, None
            return candidate
        for live in untried:
            if live.index in self.excluded:
                continue
            candidate = Candidate(live)
            self.tried.append(candidate)
            if self._capable(candidate):
                return candidate
        ready = [each for each in self.tried if not each.out and each.ready <= now]
        return min(ready, key=lambda each: (each.retries, each.ready), default=None)

    @cached_property
    def wanted(self) -> frozenset[str]:
        return needs(self.request)

    def _capable(self, candidate: Candidate) -> bool:
        live = candidate.live
        reason = incapable(live, self.wanted)
        if not reason and (reason := self._too_small(live)):
            candidate.kind = Kind.CONTEXT_OVERFLOW
        if reason:
            self._pass_over(candidate, Reason.INCAPABLE, reason, None)
            candidate.leave(Incapable(reason, live.name))
        return not reason

    def _too_small(self, live: Live) -> str:
        """The prompt cannot fit; after an overflow, only a window that is known to be larger is worth asking."""
        window, least = live.model.facts.context_window, self.weight.size.lower_bound()
        if window is not None and least > window:
            return f"needs at least {least} tokens of input, its window is {window}"
        if self.larger_than is None or (window is not None and window > self.larger_than):
            return ""
        return f"its window is not known to be larger than {self.larger_than} tokens"

    def _pause(self) -> Steps[None]:
        """Nobody is ready: wait for the earliest, in every line that moves, or end the call."""
        now = self._now()
        waiting = [each for each in self.tried if not each.out]
        lines = [each.line for each in waiting if each.line is not None]
        limit = self._limit(now, bool(lines))
        earliest = min((each.ready for each in waiting), default=inf)
        hopeless = earliest > limit and not any(each.line and each.ready == inf for each in waiting)
        if now >= limit or hopeless:
            raise self._exhausted()
        recheck = min((each.recheck for each in waiting), default=inf)
        seconds = max(0.0, min(earliest, limit, recheck) - now)
        if not lines:
            yield from self._sleep(seconds, min(waiting, key=_ready))
            return
        self.core.store.line_up(self.ticket, lines, self.core.now())
        self.in_line = True
        self._tell(events.Waiting, seconds=seconds)
        yield Wait(self.ticket, seconds)
        self._wake(waiting)

    def _sleep(self, seconds: float, candidate: Candidate) -> Steps[None]:
        """Until the moment of this candidate; nobody sleeps towards a retry that will not be allowed."""
        if not candidate.owes or (yield from self._pays(candidate)):
            yield Sleep(seconds)

    def _limit(self, now: float, in_line: bool) -> float:
        """The moment after which waiting makes no sense; time in lines is bounded by itself."""
        if not in_line:
            return self.deadline
        if self.wait_until == inf:
            self.wait_until = now + self.core.max_wait
        return min(self.deadline, self.wait_until)

    def _wake(self, waiting: list[Candidate]) -> None:
        """Who was called, or has to look for itself, is ready to ask."""
        woken, self.ticket.woken = self.ticket.woken, False
        now = self._now()
        for each in waiting:
            if each.line is not None and (woken or each.recheck <= now):
                each.ready = 0.0

    # ----------------------------------------------------------- attempts

    def _ask(self, candidate: Candidate) -> Steps[Outcome | None]:
        """Admit, attempt, settle.  None: a gate said no."""
        live, now = candidate.live, self.core.now()
        request = self._prepared(candidate)
        left = self.deadline - now.mono
        weight = self.weight.of(request)
        ask = self.core.ledger.ask(request, live, weight, left + GRACE, self.ticket)
        admitted = self.core.store.admit(ask, now) if isinstance(ask, Ask) else ask
        if isinstance(admitted, Io):
            admitted = yield from self._fetched(admitted)
        if isinstance(admitted, Rejection):
            self._rejected(candidate, admitted)
            return None
        if live.off:
            live.off = False
            self._tell(events.TargetEnabled, target=live.name)
        return (yield from self._attempt(candidate, admitted, weight, Job(request, live.timeouts, left)))

    def _fetched(self, io: Io[T]) -> Steps[T]:
        """The answer of a store; one that does not arrive leaves nothing behind."""
        try:
            answer: T = yield io
        except BaseException:
            back = io.undo() if io.undo is not None else None
            if back is not None:
                yield back
            raise
        return answer

    def _goes_on(self, live: Live) -> None:
        """Say how the call goes on: with a stream that broke, at another target, once more at this one."""
        sent = [step for step in self.trail if step.sent]
        if not sent:
            return
        last, name = sent[-1], live.name
        if self.authors:
            self._tell(events.StreamResumed, source=last.target, target=name, reason=last.reason)
        elif last.target != name:
            self._tell(events.FailedOver, source=last.target, target=name, reason=last.reason)
        if mine := next((step for step in reversed(sent) if step.target == name), None):
            delay = self._now() - self.began.mono - mine.started - mine.duration
            self._tell(events.Retrying, target=name, delay=delay, reason=mine.reason)

    def _prepared(self, candidate: Candidate) -> Request:
        live = candidate.live
        asked = self.request
        if Kind.TRANSLATION in candidate.adapted:
            asked = replace(asked, messages=estranged(asked.messages))
        stated = self.core.ledger.stated(asked, live)
        request = candidate.request = self.core.ledger.prepare(stated, live)
        candidate.capped = stated.max_tokens is None and request.max_tokens is not None
        return continuation(request, self.shaper.said, live.model) if self.shaper.text else request

    def _attempt(self, candidate: Candidate, lease: Lease, weight: Weight, job: Job) -> Steps[Outcome]:
        live, candidate.credential = candidate.live, lease.ask.gates.credential
        outcome: Outcome | None = None
        first: float | None = None
        live.load.in_flight += 1
        try:
            self._begin(live, lease, job.request)
            event = yield Attempt(live, job, self.shaper)
            if event is FIRST_CONTENT:
                now = self.core.now()
                first = now.mono - lease.admitted.mono
                told = self.core.store.first_content(lease, now)
                transition = (yield told) if isinstance(told, Io) else told
                if transition is not None:
                    self._turned(live, transition)
                if self.core.watched:
                    self._tell(events.FirstContent, target=live.name, seconds=first)
                event = yield CONTINUE
            outcome = self._judged(event)
            if self.digest is not None and isinstance(outcome, Answer):
                self._keep(candidate, outcome)
            return outcome
        finally:
            live.load.in_flight -= 1
            outcome = outcome or self._overtaken(lease, first)
            given_back = self._settle(live, lease, weight, outcome, first)
            transition = (yield given_back) if isinstance(given_back, Io) else given_back
            candidate.opened = transition is not None and transition.new == "open"
            if transition is not None:
                self._turned(live, transition)

    def _begin(self, live: Live, lease: Lease, request: Request) -> None:
        """Say what leads to an attempt, and ready the shaper for it."""
        if self.trail:
            self._goes_on(live)
        if lease.transition is not None:
            self._turned(live, lease.transition)
        if self.core.watched:
            self._started(live, lease, request)
        self.shaper.fresh()
        if self.shaper.text:
            self.shaper.continues(shown(self.shaper.said, live.model))

    def _overtaken(self, lease: Lease, first: float | None) -> Failure | None:
        """What a given-up attempt is: its target's failure, if it was silent for too long (``late_after``)."""
        silent = self._now() - lease.admitted.mono
        if first is not None or silent <= self.late_after:
            return None
        return Failure(Kind.TIMEOUT, f"no content after {silent:.3g} s, when another target had answered")

    def _judged(self, event: Event) -> Outcome:
        """A filtered answer is a typed failure; everything else stands."""
        assert isinstance(event, Answer | Failure)
        if isinstance(event, Answer) and event.finish_reason == "content_filter":
            return Failure(Kind.CONTENT_FILTER, "the provider filtered the answer", 200, partial=event)
        return event

    def _settle(
        self, live: Live, lease: Lease, weight: Weight, outcome: Outcome | None, first: float | None
    ) -> Transition | Io[Transition | None] | None:
        now = self.core.now()
        left = None if first is None else self.shaper.made
        cost, given_back = self.core.ledger.settle(live, lease, weight, outcome, first, left, now)
        self.spent += cost
        duration = now.mono - lease.admitted.mono
        if isinstance(outcome, Answer):
            self.core.pace.observe(duration if first is None else first)
        reason, failure = _reason(outcome)
        started = lease.admitted.mono - self.began.mono
        again = None if failure.retry_after is None else now.mono + failure.retry_after
        step = Step(live.name, reason, failure.message, failure.status, started, duration, True, again, first, cost)
        self.trail.append(step)
        self.core.memory.steps.append((self.number, self.began.mono, step))
        if self.core.watched:
            self._ended(step, outcome, lease)
        if lease.ask.charges and cost > lease.ask.cost:
            self._tell(events.CostAboveReservation, target=live.name, reserved=lease.ask.cost, cost=cost)
        return given_back

    def _turned(self, live: Live, transition: Transition) -> None:
        old, new, cause = transition
        self._tell(events.BreakerChanged, target=live.name, old=old, new=new, detail=cause)

    # ----------------------------------------------------------- outcomes

    def _rejected(self, candidate: Candidate, rejection: Rejection) -> None:
        if rejection.reason is Reason.DISABLED and candidate.live.rekeyed(candidate.live.gates.credential):
            self.again = candidate
            return
        self._pass_over(candidate, rejection.reason, rejection.detail, rejection.retry_at)
        if rejection.reason is Reason.BUDGET_SPENT:
            self._tell(events.BudgetRefused, target=candidate.live.name, detail=rejection.detail)
        if rejection.reason is Reason.DISABLED:
            self._off(candidate.live, rejection.detail, "disabled")
        after = None if rejection.retry_at is None else max(0.0, rejection.retry_at - self._now())
        error: FailoverError = REJECTED[rejection.reason](rejection.detail, candidate.live.name, after)
        if rejection.reason is Reason.CIRCUIT_OPEN and candidate.error is not None:
            error = candidate.error  # what it failed with says more than that it has failed
        if rejection.line is None:
            candidate.leave(error)
        else:
            ready = inf if rejection.retry_at is None else rejection.retry_at
            candidate.rest(error, ready, rejection.line, rejection.recheck)

    def _pass_over(self, candidate: Candidate, reason: Reason, detail: str, retry_at: float | None) -> None:
        name, started = candidate.live.name, self._now() - self.began.mono
        self.trail.append(Step(name, str(reason), detail, None, started, 0.0, False, retry_at))
        self.core.memory.steps.append((self.number, self.began.mono, self.trail[-1]))
        if self.core.watched:
            self._tell(events.PassedOver, target=name, reason=str(reason), detail=detail)

    def _failed(self, candidate: Candidate, failure: Failure) -> None:
        """What a failure means for this call; raises when it must not go on."""
        error = VERDICTS[failure.kind].error(failure, candidate.live.name, tuple(self.trail))
        candidate.kind = failure.kind
        if VERDICTS[failure.kind].adapt and not self.shaper.committed and self._adapts(candidate, failure):
            self._ask_again(candidate, error)
            return
        if VERDICTS[failure.kind].disable is not None:
            self._off(candidate.live, str(error), str(failure.kind))
        if failure.kind is Kind.CONTENT_FILTER and not self.core.pass_filtered:
            raise error
        if self.shaper.committed:
            self._interrupted(candidate, failure)
        if not (VERDICTS[failure.kind].failover or failure.kind is Kind.CONTENT_FILTER):
            raise self.interrupted or error
        if failure.kind is Kind.CONTEXT_OVERFLOW:
            self._only_larger(candidate.live)
        if failure.kind is Kind.EMPTY and failure.partial is not None:
            self.empty = (candidate, failure.partial)
        self._rest_or_leave(candidate, failure, error)

    def _off(self, live: Live, detail: str, reason: str) -> None:
        """Say once that a target is switched off."""
        if not live.off:
            live.off = True
            self._tell(events.TargetDisabled, target=live.name, detail=detail, reason=reason)

    def _rest_or_leave(self, candidate: Candidate, failure: Failure, error: FailoverError) -> None:
        if not self._has_retries(candidate, failure):
            candidate.leave(error)
            return
        candidate.retries += 1
        candidate.owes = not candidate.opened
        if candidate.opened:  # nobody sleeps towards an open circuit; its gate says at once until when it is
            candidate.rest(error, self._now())
            return
        delay = backoff(self.core.retry, candidate.retries, failure.retry_after, self.core.random)
        candidate.rest(error, self._now() + delay)

    def _has_retries(self, candidate: Candidate, failure: Failure) -> bool:
        retry = self.core.retry
        allowed = retry.attempts if self.request.max_retries is None else self.request.max_retries
        if candidate.retries >= allowed or (failure.retry_after or 0.0) > retry.max_retry_after:
            return False
        return may_retry(failure)

    def _pays(self, candidate: Candidate) -> Steps[bool]:
        """Take its retry out of the retry budget, now that nobody else is left to ask; without one it is out."""
        allows = self.core.store.allow_retry(self.core.now())
        allowed = (yield from self._fetched(allows)) if isinstance(allows, Io) else allows
        candidate.owes = False
        candidate.out = not allowed
        return allowed

    def _ask_again(self, candidate: Candidate, error: FailoverError) -> None:
        """This one at once, before anyone else."""
        candidate.rest(error, 0.0)
        self.again = candidate

    def _adapts(self, candidate: Candidate, failure: Failure) -> bool:
        """Whether the same target is worth asking once more, since something about the request is different now."""
        if failure.kind in candidate.adapted:
            return False
        candidate.adapted.add(failure.kind)
        match failure.kind:
            case Kind.AUTH:
                return candidate.live.rekeyed(candidate.credential)
            case Kind.TRANSLATION:
                return self._estranges(candidate)
            case _:
                return self._learns(candidate, failure)

    def _learns(self, candidate: Candidate, failure: Failure) -> bool:
        """Remember what this model refuses."""
        learned = adapt(failure, candidate.request or self.request)
        if not learned:
            return False
        candidate.live.learned.update(learned)
        self._tell(events.RequestAdjusted, target=candidate.live.name, notes=tuple(learned))
        return True

    def _estranges(self, candidate: Candidate) -> bool:
        """It refused the history as its own: the reasoning or ids in it may be stale, so they are left out."""
        live = candidate.live
        if all(message.author != live.author for message in self.request.messages):
            return False
        self._tell(events.RequestAdjusted, target=live.name, notes=("the history goes without its own reasoning",))
        return True

    def _only_larger(self, live: Live) -> None:
        self.larger_than = live.model.facts.context_window or self.weight.size.lower_bound()
        for each in self.tried:
            if not each.out and (reason := self._too_small(each.live)):
                each.leave(Incapable(reason, each.live.name))

    def _interrupted(self, candidate: Candidate, failure: Failure) -> None:
        """A stream broke after something was handed on: go on from there where that is safe, or say so at once."""
        live = candidate.live
        partial = self.shaper.partial(
            failure.partial, self.interrupted.answer if self.interrupted is not None else None
        )
        broken = replace(failure, partial=partial)
        self.interrupted = StreamInterrupted(broken, live.name, tuple(self.trail), self.spent)
        if not self.core.resume or not resumable(self.request, self.shaper):
            raise self.interrupted from failure.cause
        if self.shaper.made != 0:
            self.authors.append(live.author)

    def _respond(self, candidate: Candidate, answer: Answer) -> Response:
        """The answer is good: say who gave it and what it took."""
        live = candidate.live
        if self.interrupted is not None:
            answer = self._joined(answer)
        elif live.limited and answer.usage is not None:
            live.ratio.learn(self.weight.size.text, answer.usage.input_tokens)
        usage = answer.usage
        response = Response(
            answer,
            live.name,
            live.model.provider.name,
            live.author,
            cost_nano=self.spent,
            cost_estimated=usage is None or usage.estimated,
            latency=self.core.now().mono - self.began.mono,
            capped=_capped(candidate, answer),
            resumed=tuple(self.authors),
            trail=tuple(self.trail),
        )
        if response.capped:
            self._tell(events.AnswerCapped, target=live.name, max_tokens=_cap(candidate))
        return response

    def _keep(self, candidate: Candidate, answer: Answer) -> None:
        """Store a whole answer of one author; before the settlement, with which it may travel."""
        cache, whole = self.core.cache, self.interrupted is None and not _capped(candidate, answer)
        if cache is not None and self.digest is not None and whole and _cacheable(answer):
            cache.put(self.digest, candidate.live.identity, answer, self.core.now())
            self.claimed = False

    def _joined(self, answer: Answer) -> Answer:
        """One answer of several authors; raises if the last one did not go on where the first broke off."""
        assert self.interrupted is not None
        if self.shaper.diverged:
            raise self.interrupted
        if not self.interrupted.partial:
            return self.shaper.begun_anew(answer, self.interrupted.usage)
        return self.shaper.joined(answer, self.interrupted.usage)

    # ---------------------------------------------------------------- ends

    def _stored(self) -> Steps[Response | None]:
        """A stored answer, whoever gave it; None where the order of targets decides whose it may be."""
        return None if self.lazy else (yield from self._cached(self.core.lives))

    def _cached(self, lives: tuple[Live, ...]) -> Steps[Response | None]:
        """A stored answer of one of these, as a response that costs nothing."""
        if self.core.cache is None or self.digest is None:
            return None
        found = self.core.cache.get(self.digest, map(_identity, lives), self.core.now())
        hit: Hit | None = (yield found) if isinstance(found, Io) else found
        if hit is None:
            return None
        live = next(live for live in lives if live.identity == hit.identity)
        live.tally.cached += 1
        step = Step(live.name, "cached", started=self._now() - self.began.mono, sent=False)
        self.core.memory.steps.append((self.number, self.began.mono, step))
        if self.core.watched:
            self._tell(events.CacheHit, target=live.name)
        return self._free(hit.answer, live.name, live.model.provider.name, live.author)

    def _shared(self, outcome: Response | ProviderError) -> Response:
        """A landed answer, with the marks it was given; a landed error is raised anew for each."""
        if isinstance(outcome, ProviderError):
            raise copy(outcome)
        response = outcome
        free = self._free(response.answer, response.target, response.provider, response.author)
        return replace(free, capped=response.capped, resumed=response.resumed)

    def _free(self, answer: Answer, target: str, provider: str, author: str) -> Response:
        """The same answer once more, under an id of its own: frameworks take equal ids for the same message."""
        fresh = replace(answer, id=f"{answer.id}-{self.number}" if answer.id else "")
        return Response(
            fresh, target, provider, author, latency=self._now() - self.began.mono, cached=True, trail=tuple(self.trail)
        )

    def _nobody_else(self) -> bool:
        """Every target that was asked answered with nothing, and none is left to ask."""
        return all(each.out and each.kind in (Kind.EMPTY, None) for each in self.tried)

    def _exhausted(self) -> FailoverError:
        """The error to end with, from every candidate's last one."""
        if self.interrupted is not None:
            return self.interrupted
        errors = [each.error for each in self.tried if each.error is not None]
        if self._now() >= self.deadline and len(self.tried) + len(self.excluded) < len(self.core.lives):
            errors.append(self._late())
        if errors and all(isinstance(error, BudgetExceeded) for error in errors):
            return errors[0]
        return self._overflowing(errors) or AllTargetsFailed(errors, tuple(self.trail), self._retry_at())

    def _overflowing(self, errors: list[FailoverError]) -> FailoverError | None:
        """The overflow, if every target that could serve the request has too small a window, said or known."""
        capable = [error for error in errors if not isinstance(error, Incapable)]
        if any(not isinstance(error, ContextOverflow) for error in capable):
            return None
        small = [each for each in self.tried if each.kind is Kind.CONTEXT_OVERFLOW]
        if capable or not small:
            return next(iter(capable), None)
        largest = max(small, key=lambda each: each.live.model.facts.context_window or 0)
        failure = Failure(Kind.CONTEXT_OVERFLOW, self._too_small(largest.live), sent=False)
        return ContextOverflow(failure, largest.live.name, tuple(self.trail))

    def _late(self) -> FailoverError:
        seconds = self.deadline - self.began.mono
        which = "another target" if self.tried else "a target"
        return RateLimited(f"the deadline of {seconds:g} s passed before {which} could be asked")

    def _retry_at(self) -> float | None:
        """Seconds until the earliest target may be asked again."""
        last = {step.target: step.retry_at for step in self.trail}
        moments = [moment for moment in last.values() if moment is not None]
        return max(0.0, min(moments) - self._now()) if moments else None

    # ------------------------------------------------------------- helpers

    def _now(self) -> float:
        return self.core.now().mono

    def _started(self, live: Live, lease: Lease, request: Request) -> None:
        if lease.ask.charges:
            self._tell(events.BudgetReserved, target=live.name, amount=lease.ask.cost)
        self._tell(
            events.AttemptStarted,
            target=live.name,
            probe=lease.probe,
            reserved=lease.ask.cost,
            parameters={name: value for name in PARAMETERS if (value := getattr(request, name)) not in (None, ())},
        )
        if self.core.read:
            self._tell(events.Asked, target=live.name, request=request)

    def _ended(self, step: Step, outcome: Outcome | None, lease: Lease) -> None:
        answer = outcome.partial if isinstance(outcome, Failure) else outcome
        if self.core.read and answer is not None:
            self._tell(events.Answered, target=step.target, answer=answer)
        if lease.ask.charges:
            self._tell(events.BudgetSettled, target=step.target, reserved=lease.ask.cost, cost=step.cost_nano)
        self._tell(
            events.AttemptFinished,
            target=step.target,
            reason=step.reason,
            duration=step.duration,
            status=step.status,
            first_content=step.first_content,
            cost=step.cost_nano,
            detail=step.detail,
            usage=answer.usage if answer is not None else None,
            model=answer.model if answer is not None else "",
            response_id=answer.id if answer is not None else "",
            finish_reason=answer.finish_reason if answer is not None else None,
        )

    def _finished(self, response: Response | None, error: BaseException | None) -> None:
        usage = response.usage if response is not None else Usage()
        self._tell(
            events.CallFinished,
            duration=self._now() - self.began.mono,
            target=response.target if response is not None else None,
            cost=self.spent,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached=response is not None and response.cached,
            error=type(error).__name__ if error is not None else None,
        )

    def _tell(self, kind: type[events.Event], **facts: Any) -> None:
        self.core.emit(kind(self._now(), self.number, **facts))


def _reason(outcome: Outcome | None) -> tuple[str, Failure]:
    """How a trail names an outcome, and the failure whose details it shows."""
    if isinstance(outcome, Failure):
        return str(outcome.kind), outcome
    return "abandoned" if outcome is None else "ok", NO_FAILURE


def _cap(candidate: Candidate) -> int:
    """The output cap that was sent."""
    return candidate.request.max_tokens or 0 if candidate.request is not None else 0


def _capped(candidate: Candidate, answer: Answer) -> bool:
    """Cut at a cap that we, not the caller, had set."""
    return candidate.capped and answer.finish_reason == "length"


def _cacheable(answer: Answer) -> bool:
    """It has something in it, and ended as it should."""
    return bool(answer.message.text or answer.message.tool_calls) and answer.finish_reason in CACHED


_identity, _ready = attrgetter("identity"), attrgetter("ready")
PARAMETERS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
)
"""What an event tells of a request, besides its labels."""
CACHED = frozenset(("stop", "tool_calls", "length"))
NO_FAILURE = Failure(Kind.UNKNOWN)
CLAIM_PAUSE = 0.15
"""Seconds, half more or less by chance, after which one looks again whether another process has the answer."""
ABOUT_THE_REQUEST = (BadRequest, ContentFiltered, ContextOverflow)
"""What a leader need not find out for every follower again."""
GRACE = 30.0
"""Seconds a lease outlives the call's deadline: time to settle before its money counts as spent."""
