"""A scripted provider: a key, models, a script, switches to throw while it runs, and an honest record of everything.

What happens to a request, in this order: a switched-on fault or one on the timeline that puts an error in the
answer's place; the path (404) and the key (401); the provider's own rate limit (429); the script's next item, if it
is an error; whether the request is in order (its own 4xx, the script's item stays); the script's item, the
switched-on fault, or the provider's own answer.

No I/O is done here.  ``receive`` turns a request into an ``Exchange``, whose steps a server or a transport performs.
All of it may be called from several threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from failover.testing import mind
from failover.testing.clock import Clock, RealClock
from failover.testing.faults import Refused, Trouble
from failover.testing.limits import Counter, Counting, Quota
from failover.testing.prompts import PromptCache, prompt_parts
from failover.testing.reading import read
from failover.testing.replies import Question, Reply, Respond, Spoken, ToolUse, speak
from failover.testing.stage import JSON, Answer, Play, Stage
from failover.testing.steps import Abort, Charge, Close, End, Head, Step, Steps
from failover.testing.strict import Violation, tokens_of, violations
from failover.testing.world import Card, DialectName, Row, Tokens, row

Scripted = Play | Reply | ToolUse | str | Sequence[ToolUse]
"""What a script may hold: a play, a reply, a text to say, a tool call or several."""


def play(item: Scripted) -> Play:
    """The item as a play."""
    match item:
        case str():
            return Answer(Reply(item))
        case Reply():
            return Answer(item)
        case ToolUse():
            return Answer(Reply(None, (item,)))
        case tuple() | list():
            return Answer(Reply(None, tuple(item)))
        case _:
            return item  # type: ignore[return-value]  # a Play: the protocol has no class to match by


# ----------------------------------------------------------------- records


@dataclass(slots=True)
class Received:
    """One request, and what became of it.  Times are the provider's clock (monotonic); None: not yet.

    body: the parsed JSON, None where it was none.  violations: why it was refused.  status: as answered, 0 for none.
    pieces: body writes that were handed to the network.  aborted: the client ended it before it was complete.
    tokens: what was produced, and charged at ``cost`` dollars.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    body: Any
    at: float
    connection: int
    question: Question | None = None
    violations: tuple[Violation, ...] = ()
    status: int = 0
    pieces: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    cost: Decimal = Decimal(0)
    finished_at: float | None = None
    aborted: bool = False

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""

    @property
    def stream(self) -> bool:
        return self.question is not None and self.question.stream


class Exchange:
    """One request being answered.  Iterate it for the steps to perform, then ``close`` it, exactly once."""

    def __init__(self, provider: ScriptedProvider, received: Received, steps: Steps, card: Card) -> None:
        self.received = received
        self._provider = provider
        self._steps = steps
        self._card = card
        self._complete = False
        self._open = True

    def __iter__(self) -> Iterator[Step]:
        for step in self._steps:
            if isinstance(step, Charge):
                self._provider.charge(self.received, self._card, step.tokens)
                continue
            if isinstance(step, Head):
                self.received.status = step.status
            self._complete = self._complete or isinstance(step, End | Close | Abort)
            yield step

    def close(self) -> None:
        """The exchange is over."""
        if self._open:
            self._open = False
            self._provider.finish(self.received)

    def abandon(self) -> None:
        """The exchange is over; if the provider had not ended it yet, the client did."""
        self.received.aborted = self._open and not self._complete
        self.close()


# ---------------------------------------------------------------- provider

SERIALS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class During:
    """A fault between two moments, in seconds since ``restart`` (or since the provider was made)."""

    start: float
    end: float
    fault: Scripted

    def holds(self, elapsed: float) -> bool:
        return self.start <= elapsed < self.end


class ScriptedProvider:
    """A provider that answers as its script says, and by itself when the script is used up.

    name: its name, and which provider it plays (``openai``, ``anthropic``, ``groq``, ...); ``like`` plays another one
    under this name, and a name that is no known provider's is a lenient OpenAI-like server.
    script: consumed one item per request.  respond: makes up answers where the script is silent.
    key: the one credential accepted.  models: more models, or the only ones: names, or names with their ``Card``.
    timeline: faults by the clock.
    """

    def __init__(
        self,
        name: str,
        script: Iterable[Scripted] = (),
        *,
        like: str | None = None,
        key: str = "sk-test",
        models: Mapping[str, Card] | Iterable[str] | None = None,
        respond: Respond = mind.respond,
        timeline: Iterable[During] = (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.row = _with_models(row(like or name), models)
        self.key = key
        self.clock: Clock = clock or RealClock()
        self.requests: list[Received] = []
        self.connections = 0
        self.max_in_flight = 0
        self.errors: list[Exception] = []
        self.timeline = tuple(timeline)
        self._respond = respond
        self._script: deque[Play] = deque(play(item) for item in script)
        self._switch: Play | None = None
        self._quota = Quota()
        self._revoked: set[str] = set()
        self._in_flight = 0
        self._bill = Decimal(0)
        self._cache = PromptCache()
        self._serial = next(SERIALS)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._watchers: list[Callable[[bool], None]] = []
        self.started = self.clock.now()

    def __repr__(self) -> str:
        return f"ScriptedProvider({self.name!r}, {len(self.requests)} requests, ${self.bill:f})"

    # ---- what a test throws while it runs

    def script(self, *items: Scripted) -> None:
        """More items for the script."""
        with self._lock:
            self._script.extend(play(item) for item in items)

    def set(self, fault: Scripted | None) -> None:
        """From now on every request meets this; None: no more."""
        with self._lock:
            self._switch = None if fault is None else play(fault)
        self._tell()

    def down(self, fault: Scripted | None = None) -> None:
        """Out of service: connections are refused, or every request meets ``fault``."""
        self.set(Refused() if fault is None else fault)

    def up(self) -> None:
        """In service again."""
        self.set(None)

    def revoke(self, key: str | None = None) -> None:
        """The key is no longer accepted."""
        self._revoked.add(key or self.key)

    def grant(self, key: str) -> None:
        """``key`` is accepted from now on (and the old one no more)."""
        self._revoked.discard(key)
        self.key = key

    def rate_limit(
        self,
        rpm: int | None = None,
        *,
        tpm: int | None = None,
        concurrency: int | None = None,
        counted_by: Counting = "fixed",
        window: float = 60.0,
        headers: bool = True,
    ) -> None:
        """Limits of its own: requests and tokens per ``window`` seconds, calls at once.  Without any: no limit."""
        requests, tokens = (
            None if limit is None else Counter(limit, window, counted_by, at=self.clock.now()) for limit in (rpm, tpm)
        )
        with self._lock:
            self._quota = Quota(requests, tokens, concurrency, headers)

    def restart(self) -> None:
        """The timeline begins now."""
        self.started = self.clock.now()

    # ---- what a test looks at

    @property
    def bill(self) -> Decimal:
        """US dollars for everything produced so far, streams that were broken off included."""
        return self._bill

    @property
    def in_flight(self) -> int:
        """Requests being answered at this moment."""
        return self._in_flight

    @property
    def calls(self) -> int:
        """Requests received."""
        return len(self.requests)

    def wait_until(self, condition: Callable[[ScriptedProvider], bool], timeout: float = 10.0) -> bool:
        """Waits (real seconds) until a request's arrival or end makes ``condition(self)`` true; False: it did not."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    @property
    def refuses_connections(self) -> bool:
        return isinstance(self._switch, Refused)

    def watch(self, changed: Callable[[bool], None]) -> None:
        """Calls ``changed(refuses_connections)`` whenever that may have changed."""
        self._watchers.append(changed)

    def _tell(self) -> None:
        for changed in self._watchers:
            changed(self.refuses_connections)

    # ---- one request

    def connected(self) -> int:
        """Counts a new connection and gives its number."""
        with self._lock:
            self.connections += 1
            return self.connections

    def receive(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        raw: bytes,
        connection: int = 0,
        reused: bool = False,
    ) -> Exchange:
        """The request has arrived; the exchange says what to do."""
        body = _json(raw)
        lower = {name.lower(): value for name, value in headers}
        received = Received(method, path, lower, raw, body, self.clock.now(), connection)
        with self._lock:
            self.requests.append(received)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            stage = Stage(self.row, self._dialect(path), None, self._unasked, reused=reused)
            chosen, stage = self._decide(received, stage)
            stage = replace(stage, headers=self._headers(received))
            self._changed.notify_all()
        card = stage.question.card if stage.question else self.row.stranger
        return Exchange(self, received, chosen.steps(stage), card)

    def _decide(self, received: Received, stage: Stage) -> tuple[Play, Stage]:
        switched = self._switched(received.at)
        if switched is not None and not switched.answers:
            return switched, stage
        refusal = self._gate(received)
        if refusal is not None:
            return refusal, stage
        item = self._script[0] if self._script else None
        if item is not None and not item.answers:
            return self._script.popleft(), stage
        found = self._judge(received)
        if found is not None:
            return _Refuses(found), stage
        received.question = read(stage.dialect, self.row, self._card(received), received.body)
        asked = replace(stage, question=received.question, say=self._speaker(received, received.question))
        return (self._script.popleft() if item is not None else switched or Answer()), asked

    def _switched(self, now: float) -> Play | None:
        elapsed = now - self.started
        timed = next((during.fault for during in self.timeline if during.holds(elapsed)), None)
        return self._switch or (play(timed) if timed is not None else None)

    def _gate(self, received: Received) -> Play | None:
        """Path, key and rate limit, before anything is read."""
        special = _special(self, received)
        if special is not None and not special.answers:
            return special
        given = [received.headers.get(name, "").removeprefix("Bearer ").strip() for name in self.row.auth]
        token = next((value for value in given if value), "")
        if self.row.auth and (token != self.key or token in self._revoked):
            found = violations(self._dialect(received.path), self.row, {}, received.headers, key="\0")
            received.violations = tuple(found)
            return _Refuses(found[0])
        if special is not None:
            return special
        body = received.body if isinstance(received.body, dict) else {}
        asked = tokens_of(body) + int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        wait = self._quota.admit(asked, self._in_flight, received.at)
        if wait is None:
            return None
        return Trouble("concurrency") if wait == 0 else Trouble("rate_limit", str(max(1, -int(-wait // 1))))

    def _judge(self, received: Received) -> Violation | None:
        """The first thing wrong with the request."""
        if not isinstance(received.body, dict):
            text = "We could not parse the JSON body of your request."
            return Violation(400, text, "not_json")
        if self.row.max_body is not None and len(received.raw) > self.row.max_body:
            return Violation(413, "Request exceeds the maximum size", "too_large", "request_too_large")
        dialect = self._dialect(received.path)
        found = violations(dialect, self.row, received.body, received.headers)
        received.violations = tuple(found)
        return found[0] if found else None

    def _card(self, received: Received) -> Card:
        return self.row.card(received.model) or self.row.stranger

    def _dialect(self, path: str) -> DialectName:
        plain = path.split("?", 1)[0].rstrip("/")
        found: DialectName | None = next((name for name, end in self.row.paths.items() if plain.endswith(end)), None)
        return found if found is not None else next(iter(self.row.paths))

    def _headers(self, received: Received) -> tuple[tuple[str, str], ...]:
        name = (self.row.request_id, f"req_{self._name(len(self.requests))[:24]}")
        return (name, *self._quota.headers(self.row.rate_headers, received.at, self.clock.wall()))

    def _name(self, number: int) -> str:
        """A name for the n-th answer that no other provider gives."""
        return hashlib.sha256(f"{self.name}\0{self._serial}\0{number}".encode()).hexdigest()[:24]

    # ---- answers

    def _unasked(self, reply: Reply | None) -> Spoken:
        raise AssertionError("only a request that was understood can be answered")

    def _speaker(self, received: Received, question: Question) -> Callable[[Reply | None], Spoken]:
        name = self._name(len(self.requests))

        def say(reply: Reply | None) -> Spoken:
            known = reply is not None and (reply.text is not None or reply.tools or reply.refusal is not None)
            own = Reply() if known else self._respond(question)
            return speak(
                _completed(reply or own, own, question), question, name, self._cache.count(received.body, question)
            )

        return say

    def charge(self, received: Received, card: Card, tokens: Tokens) -> None:
        """These tokens were produced for this request."""
        cost = card.cost(received.tokens + tokens, self.clock.wall()) - card.cost(received.tokens, self.clock.wall())
        with self._lock:
            received.tokens += tokens
            received.cost += cost
            self._bill += cost

    def finish(self, received: Received) -> None:
        with self._lock:
            received.finished_at = self.clock.now()
            self._in_flight -= 1
            self._changed.notify_all()


def _completed(reply: Reply, own: Reply, question: Question) -> Reply:
    """The reply with what its author left open: thinking, if the model does, and text, if nothing else is said."""
    text = reply.text if reply.text is not None or reply.tools else own.text
    tools = reply.tools or own.tools
    thought = mind.THOUGHT if question.reasons else ""
    return replace(reply, text=text, tools=tools, reasoning=thought if reply.reasoning is None else reply.reasoning)


def _json(raw: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(raw)
    return None


def _with_models(known: Row, models: Mapping[str, Card] | Iterable[str] | None) -> Row:
    if models is None:
        return known
    if isinstance(models, Mapping):
        return replace(known, models={**known.models, **models})
    return replace(known, any_model=False, models={name: known.card(name) or known.stranger for name in models})


# ------------------------------------------------------------ other answers


@dataclass(frozen=True, slots=True)
class _Refuses:
    violation: Violation
    answers: bool = field(default=False, init=False)

    def steps(self, stage: Stage) -> Steps:
        return stage.refusal(self.violation)


@dataclass(frozen=True, slots=True)
class _Says:
    status: int
    body: Any
    answers: bool = field(default=True, init=False)

    def steps(self, stage: Stage) -> Steps:
        return stage.full(self.status, JSON, json.dumps(self.body).encode())


def _special(provider: ScriptedProvider, received: Received) -> Play | None:
    """Paths beside the answers: the list of models, counting tokens, and all that does not exist."""
    who, path = provider.row, received.path.split("?", 1)[0].rstrip("/")
    if path.endswith("/models") and received.method == "GET":
        return _Says(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in who.models]})
    if path.endswith("/count_tokens") and isinstance(received.body, dict):
        return _Says(200, {"input_tokens": tokens_of(prompt_parts(received.body))})
    if received.method != "POST" or not any(path.endswith(end) for end in who.paths.values()):
        return _Refuses(Violation(404, f"Unknown request URL: {received.method} {path}.", "path", code="unknown_url"))
    return None
