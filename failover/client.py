"""The orchestrator: four doors, and what can be asked of it between calls.

``Failover`` is one live object: its breakers, limiters, budgets and cache belong to it, and every copy shares them.
All doors take the same options (see ``CallOptions``) and run the same flow; they differ only in who waits.
"""

from __future__ import annotations

import os
import random
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, Unpack

from failover import _batch, _drive, _hedge, events
from failover._audience import Audience
from failover._build import Builder, budgets_of, charges_of, connections_maker, demand_keys, targets_of
from failover._checked import without_userinfo
from failover._closing import Closing
from failover._flow import Call, Core
from failover._fork import afresh_after_fork
from failover._ledger import Ledger
from failover._live import Live
from failover._options import OnContentFilter, OnStoreLost, OnStreamCut, check
from failover._prompt import Prompt, request_of
from failover._routing import Router, Strategy
from failover._shown import LiveView, Shown, live_view
from failover._words import money
from failover.cache.flight import Flights
from failover.cache.memory import MemoryCache
from failover.dialects.providers import key_variables, with_key_here
from failover.errors import AllTargetsFailed, ConfigurationError, FailoverError, ProviderError
from failover.facts import Facts
from failover.history import History
from failover.settings import Budget, Cache, CircuitBreaker, Hedge, Retry, Target, Timeouts
from failover.store.base import BudgetState, Charge, Claims, Now, ResponseCache, Store, TargetState, wait_for
from failover.store.choice import open_store, portable
from failover.store.memory import MemoryStore
from failover.store.shelter import Shelter
from failover.types import NANO, CallOptions, Chunk, Request, Response, Result

if TYPE_CHECKING:
    import httpx

    from failover._connections import Connections


@dataclass(frozen=True, slots=True)
class TargetStatus(Shown):
    """A target now.  ``state``: closed, open, half_open or disabled; ``reopens_in``: seconds, where known.

    ``latency`` is the mean of successful attempts in seconds; ``cost`` in US dollars.
    """

    name: str
    model: str
    state: str
    reopens_in: float | None
    in_flight: int
    attempts: int
    successes: int
    failures: int
    cached: int
    latency: float | None
    input_tokens: int
    output_tokens: int
    cost: Decimal
    detail: str

    def __str__(self) -> str:
        trouble = f"; last trouble: {self.detail}" if self.detail else ""
        answered = f"{self.successes + self.cached} answered, {self.failures} failed"
        return f"{self.name}: {self.state}, {answered}, {money(float(self.cost))}{trouble}"


@dataclass(frozen=True, slots=True)
class BudgetStatus(Shown):
    """A budget now, in US dollars.  ``resets_at``: epoch seconds, None for a total."""

    scope: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal
    left: Decimal
    resets_at: float | None

    @classmethod
    def of(cls, state: BudgetState) -> Self:
        limit, spent, reserved, left = (
            Decimal(nano) / NANO for nano in (state.limit, state.spent, state.reserved, state.left)
        )
        return cls(state.scope, limit, spent, reserved, left, state.resets_at)

    def __str__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


class Failover(Closing, Shown):
    """Sends each call to one of several targets, survives their failures, and keeps within the budget.

    targets: model strings (``"provider:model"``) or ``Target`` objects; at least one, with distinct names.
    strategy: ``round_robin`` (default), ``priority``, ``weighted``, ``fastest`` or ``cheapest``.
    budget: US dollars a day, a ``Budget``, or several; None: no limit.
    response_cache: True (default: 1000 entries, one hour), False, or a ``Cache``.  Switch it off for sampling.
    breaker, timeouts: defaults for every target.
    retry: when the same target is asked again.
    deadline: seconds a whole call may take (default 600).
    max_wait: seconds of it that may be spent waiting for limits (default 60).
    store: where the gates' state lives: ``"memory"`` (default), ``"sqlite:///path.db"``, ``"redis://host:port/0"``,
        or a ``Store``.
    on_store_lost: when a store outside this process cannot be reached, breakers and limiters go on in memory; a call
        under a budget is refused with ``StoreUnavailable`` (``"raise"``, default), or kept within a budget of this
        process until the store is back (``"local"``).
    on_stream_cut: ``"raise"`` (default) or ``"resume"`` by another target.
    on_content_filter: ``"raise"`` (default) or ``"next"`` target.
    hedge: a second attempt elsewhere when the first is late (see ``Hedge``); only the async doors can.
    listeners: functions that are told every event.
    client, async_client: your own httpx clients, for proxies and transports; they stay yours to close.
    http2: whether our own clients speak HTTP/2 (needs the extra ``http2``).

    Raises ``ConfigurationError`` when anything cannot work.
    """

    def __init__(
        self,
        targets: Sequence[str | Target],
        *,
        strategy: Strategy = "round_robin",
        budget: Budget | float | Decimal | Sequence[Budget] | None = None,
        response_cache: bool | Cache = True,
        breaker: CircuitBreaker | None = None,
        retry: Retry | None = None,
        timeouts: Timeouts | None = None,
        deadline: float = 600.0,
        max_wait: float = 60.0,
        store: str | Store = "memory",
        on_store_lost: OnStoreLost = "raise",
        on_stream_cut: OnStreamCut = "raise",
        on_content_filter: OnContentFilter = "raise",
        hedge: Hedge | None = None,
        listeners: Sequence[events.Listener] = (),
        client: httpx.Client | None = None,
        async_client: httpx.AsyncClient | None = None,
        http2: bool = False,
    ) -> None:
        self._config = {name: value for name, value in locals().items() if name not in ("self", "targets")}
        check(self._config)
        self.targets = targets_of(targets)
        self._hedge = hedge
        self._connections: list[Connections] = []
        weakref.finalize(self, _close, self._connections)
        self._budgets = budgets_of(budget)
        self._charges = charges_of(self._budgets, "all")
        self._core = self._assemble(self._sheltered(store, retry or Retry(), on_store_lost == "local"))
        self._audience = Audience(self._core, listeners)
        afresh_after_fork(self, Failover._begin_afresh)

    def _begin_afresh(self) -> None:
        """In a forked child: connections, flights and locks are its parent's."""
        for connections in self._connections:
            connections.begin_afresh()
        self._core.flights = Flights()
        if isinstance(self._core.cache, MemoryCache):
            self._core.cache.begin_afresh()

    def _assemble(self, store: Store) -> Core:
        given = self._config
        ledger = Ledger(store, self._charges, tuple(budget for budget in self._budgets if budget.per_label is not None))
        lives = self._lives(store.salt())
        cache = Cache() if given["response_cache"] is True else given["response_cache"] or None
        return Core(
            lives=lives,
            router=Router(lives, given["strategy"], random.random, ledger.estimates),
            store=store,
            ledger=ledger,
            cache=_cache(store, cache) if cache else None,
            namespace=cache.namespace if cache else "",
            flights=Flights(),
            retry=given["retry"] or Retry(),
            now=_now,
            random=random.random,
            deadline=given["deadline"],
            max_wait=given["max_wait"],
            resume=given["on_stream_cut"] == "resume",
            pass_filtered=given["on_content_filter"] == "next",
            lazy_cache=given["strategy"] == "priority",
        )

    def _lives(self, salt: bytes) -> tuple[Live, ...]:
        given = self._config
        demand_keys(self.targets)
        builder = Builder(
            given["breaker"] or CircuitBreaker(),
            given["timeouts"] or Timeouts(),
            bool(self._budgets),
            connections_maker(given["client"], given["async_client"], given["http2"], self._connections),
            self._noted,
            salt,
        )
        return tuple(builder.live(index, target) for index, target in enumerate(self.targets))

    def _sheltered(self, given: str | Store, rules: Retry, spend: bool) -> Store:
        store = open_store(given, rules, random.random) if isinstance(given, str) else given
        if isinstance(store, MemoryStore):
            return store
        name = without_userinfo(given) if isinstance(given, str) else repr(given)
        return Shelter(
            store,
            lambda: MemoryStore(random.random, rules),
            spend,
            lambda cause: self._core.emit(events.StoreLost(time.monotonic(), 0, name, cause)),
            lambda seconds: self._core.emit(events.StoreBack(time.monotonic(), 0, name, seconds)),
            lambda: self._core.now(),  # not bound at once: there is no core before there is a store
        )

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """One target for each provider that has a key in the environment, with its default model.

        Raises ``ConfigurationError``, naming the variables, when there is no key at all.
        """
        found = with_key_here(os.environ)
        if not found:
            known = ", ".join(key_variables())
            raise ConfigurationError(f"no API key in the environment; set at least one of {known}")
        return cls(found, **options)

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str], **options: Any) -> Self:
        """From a TOML file (its path, or its text), with the names that the options have here.

        Targets are model strings or tables; a key is named by its environment variable, ``api_key_env = "NAME"``.
        options: what a file cannot hold (``client``, ``listeners``), and what is to hold instead of what it says.
        Raises ``ConfigurationError``, also for a name that does not exist and for a key in the file.
        """
        from failover._configured import configuration  # most programs have no such file

        given = configuration(source)
        return cls(given.built(), **{**given.options, **options})

    # --------------------------------------------------------------- doors

    def complete(self, prompt: Prompt, **options: Unpack[CallOptions]) -> Response:
        """The whole answer, blocking.  Raises ``AllTargetsFailed`` and its kin (see ``failover.errors``)."""
        return self.send(request_of(prompt, **options))

    async def acomplete(self, prompt: Prompt, **options: Unpack[CallOptions]) -> Response:
        """The whole answer, on the running event loop."""
        return await self.asend(request_of(prompt, **options))

    def stream(self, prompt: Prompt, **options: Unpack[CallOptions]) -> Generator[Chunk, None, None]:
        """The answer in pieces; the last chunk carries the ``Response``.  Closing it early settles what was used."""
        return self.open(request_of(prompt, **options))

    def astream(self, prompt: Prompt, **options: Unpack[CallOptions]) -> AsyncGenerator[Chunk, None]:
        """The answer in pieces, on the running event loop."""
        return self.aopen(request_of(prompt, **options))

    def send(self, request: Request) -> Response:
        """``complete`` for a ready-made request."""
        self._refuse_hedge()
        return _drive.complete(self._call(request, streamed=False).run())

    async def asend(self, request: Request) -> Response:
        """``acomplete`` for a ready-made request."""
        call = self._call(request, streamed=False)
        return await (_drive.acomplete(call.run()) if self._hedge is None else _hedge.complete(call, self._hedge))

    def open(self, request: Request) -> Generator[Chunk, None, None]:
        """``stream`` for a ready-made request."""
        self._refuse_hedge()
        call = self._call(request, streamed=True)
        return _drive.stream(call.run(), call.shaper)

    def aopen(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """``astream`` for a ready-made request."""
        call = self._call(request, streamed=True)
        return _drive.astream(call.run(), call.shaper) if self._hedge is None else _hedge.stream(call, self._hedge)

    def try_complete(self, prompt: Prompt, **options: Unpack[CallOptions]) -> Result:
        """``complete`` that never raises for what a provider or a gate did: success or error, as a value."""
        began = time.monotonic()
        try:
            return _succeeded(self.complete(prompt, **options))
        except FailoverError as error:
            return _failed(error, began)

    async def atry_complete(self, prompt: Prompt, **options: Unpack[CallOptions]) -> Result:
        """``try_complete`` on the running event loop."""
        began = time.monotonic()
        try:
            return _succeeded(await self.acomplete(prompt, **options))
        except FailoverError as error:
            return _failed(error, began)

    def map(
        self,
        prompts: Iterable[Prompt],
        *,
        concurrency: int = 8,
        progress: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[Result]:
        """``try_complete`` for many prompts, ``concurrency`` at a time in threads; results in the order of prompts.

        progress: show a bar with the cost so far and the time left (needs the extra ``notebook``).
        """
        return _batch.run(lambda prompt: self.try_complete(prompt, **options), prompts, concurrency, progress)

    async def amap(
        self,
        prompts: Iterable[Prompt],
        *,
        concurrency: int = 8,
        progress: bool = False,
        **options: Unpack[CallOptions],
    ) -> list[Result]:
        """``map`` on the running event loop."""
        return await _batch.arun(lambda prompt: self.atry_complete(prompt, **options), prompts, concurrency, progress)

    def _refuse_hedge(self) -> None:
        if self._hedge is not None:
            raise ConfigurationError("hedge: a blocking call cannot be hedged; use acomplete, astream or hedge=None")

    def _call(self, request: Request, streamed: bool) -> Call:
        unknown = self._core.router.unknown(request.prefer) if request.prefer else None
        if unknown:
            raise ConfigurationError(f"prefer: no target is called {unknown[0]!r}; there are {', '.join(self._names)}")
        return Call(self._core, request, streamed)

    # -------------------------------------------------------------- status

    @property
    def abilities(self) -> tuple[Facts, ...]:
        """What each target can do, in the order of ``targets``."""
        return tuple(live.model.facts for live in self._core.lives)

    @property
    def authors(self) -> tuple[str, ...]:
        """``provider:model`` of each target, in the order of ``targets``."""
        return tuple(live.author for live in self._core.lives)

    @property
    def budget(self) -> BudgetStatus | None:
        """The first budget over everything, now; None without one."""
        return next(iter(self.budgets), None)

    @property
    def budgets(self) -> tuple[BudgetStatus, ...]:
        """Every budget with a counter: those over everything, then each target's."""
        charges = self._charges + tuple(charge for live in self._core.lives for charge in live.charges)
        return tuple(map(BudgetStatus.of, self._snapshot_budgets(charges)))

    def spent_by(self, label: str, value: str) -> BudgetStatus | None:
        """The budget of one label value, now; None when no budget is kept per this label."""
        budgets = (budget for budget in self._budgets if budget.per_label == label)
        charges = tuple(Charge(f"label:{label}={value}:{budget.per}", budget) for budget in budgets)
        return next(map(BudgetStatus.of, self._snapshot_budgets(charges)), None)

    def status(self) -> tuple[TargetStatus, ...]:
        """Every target's state and figures, in order, as plain data."""
        now = self._core.now()
        states = zip(self._core.lives, self._states(now), strict=True)
        return tuple(_status(live, state, now) for live, state in states)

    def live(self) -> LiveView:
        """In a notebook: this object, shown now and drawn again in place as calls come and go, from any thread.

        At most five times a second; the notebook keeps the last state.  Ends with ``close`` or a ``with`` block.
        Raises ``ConfigurationError`` where IPython is not installed.
        """
        return live_view(self)

    def history(self) -> History:
        """What has happened lately, as plain data: attempts, states of targets, spending (see ``History``)."""
        core, now = self._core, self._core.now()
        return core.memory.recall(self._states(now), sum(live.tally.cost for live in core.lives), now)

    def enable(self, name: str) -> None:
        """Switch a disabled target on again and close its breaker."""
        live = next((live for live in self._core.lives if live.name == name), None)
        if live is None:
            raise ConfigurationError(f"no target is called {name!r}; there are {', '.join(self._names)}")
        now = self._core.now()
        transition = wait_for(self._core.store.enable(live.gates, now))
        live.off = False
        self._core.emit(events.TargetEnabled(now.mono, 0, name))
        if transition is not None:
            self._core.emit(events.BreakerChanged(now.mono, 0, name, *transition))

    def _states(self, now: Now) -> Sequence[TargetState]:
        """Every target as the store knows it, in order."""
        return wait_for(self._core.store.snapshot([live.gates for live in self._core.lives], (), now)).targets

    def _snapshot_budgets(self, charges: Sequence[Charge]) -> Sequence[BudgetState]:
        return wait_for(self._core.store.snapshot((), charges, self._core.now())).budgets

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(target.name for target in self.targets)

    # -------------------------------------------------------------- events

    def subscribe(self, listener: events.Listener) -> Callable[[], None]:
        """Have ``listener`` told every event from now on; returns a function that ends it.

        Not among them are the events of ``events.CONTENT``: see ``subscribe_to_content``.
        """
        return self._audience.listen(listener)

    def subscribe_to_content(self, reader: events.Listener) -> Callable[[], None]:
        """Have ``reader`` told what every attempt asks and answers (``Asked``, ``Answered``), and nothing else."""
        return self._audience.read(reader)

    def _noted(self, target: str, notes: tuple[str, ...]) -> None:
        self._core.emit(events.RequestAdjusted(self._core.now().mono, 0, target, notes))

    # ------------------------------------------------------------- the end

    def close(self) -> None:
        """Close the connections of the synchronous doors, and to the store.  A client that you gave stays open.

        Whoever shares the store goes on: it opens again with the next call.
        """
        _close(self._connections)
        self._core.store.close()

    async def aclose(self) -> None:
        """Close all connections of this thread's event loop, and those of the synchronous doors."""
        for each in self._connections:
            await each.aclose()
        await self._core.store.aclose()

    def __copy__(self) -> Self:
        """Itself: a copy would multiply breakers and budgets."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"Failover([{', '.join(map(repr, self._names))}])"

    def __reduce__(self) -> Any:
        """Configuration only, without secrets.  A hard budget in memory cannot be in two processes, so it refuses."""
        budgeted = self._budgets or any(live.charges for live in self._core.lives)
        if budgeted and isinstance(self._core.store, MemoryStore):
            raise ConfigurationError(
                "a budget kept in memory cannot be pickled: every process would spend it anew; write "
                'store="sqlite:///failover.db", which all processes of a machine share'
            )
        store = self._config["store"]
        config = {**self._config, "store": portable(store) if isinstance(store, str) else store}
        return _rebuild, (type(self), self.targets, config)


def _rebuild(cls: type[Failover], targets: tuple[Target, ...], config: Mapping[str, Any]) -> Failover:
    return cls(targets, **config)


def _close(connections: Sequence[Connections]) -> None:
    for each in connections:
        each.close()


def _cache(store: Store, rules: Cache) -> ResponseCache:
    shared = store.shared_cache(rules) if rules.shared else None
    kept = MemoryCache(rules) if shared is None else shared
    if rules.single_flight and not isinstance(kept, Claims):
        raise ConfigurationError("Cache: single_flight = True: write store='redis://...' as well, or leave it False")
    return kept


def _now() -> Now:
    return Now(time.monotonic(), time.time())


def _succeeded(response: Response) -> Result:
    return Result(True, response, None, response.trail, response.latency)


def _failed(error: FailoverError, began: float) -> Result:
    trail = error.trail if isinstance(error, AllTargetsFailed | ProviderError) else ()
    return Result(False, None, error, trail, time.monotonic() - began)


def _status(live: Live, state: TargetState, now: Now) -> TargetStatus:
    tally = live.tally
    return TargetStatus(
        name=live.name,
        model=live.author,
        state=state.state,
        reopens_in=None if state.until is None else max(0.0, state.until - now.mono),
        in_flight=live.load.in_flight,
        attempts=tally.attempts,
        successes=tally.successes,
        failures=tally.failures,
        cached=tally.cached,
        latency=tally.latency / tally.successes if tally.successes else None,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost=Decimal(tally.cost) / NANO,
        detail=state.detail or tally.last_error,
    )
