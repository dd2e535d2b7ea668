"""Faults put into the gates by hand, each a single change of source that the tests must notice.

``planted`` compiles a module's changed source and lends the new code to the functions and methods that are already
in use everywhere; afterwards they get their own back.  So the same tests run against the fault, in this process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType

from failover.cache import flight
from failover.rules import breaker, budget, limiter, retry
from failover.store import lines, memory, state


@dataclass(frozen=True)
class Mutant:
    """In ``module``, the only ``old`` becomes ``new``: ``fault`` says what is wrong then."""

    fault: str
    module: ModuleType
    old: str
    new: str


MUTANTS = [
    # ------------------------------------------------------------- breaker
    Mutant("opens one failure late", breaker, "state.failures >= rules.fail", "state.failures > rules.fail"),
    Mutant("late results count", breaker, "if generation != state.generation:", "if False:"),
    Mutant("probes too early", breaker, "if now >= state.until:", "if now >= state.until - 0.01:"),
    Mutant("one probe too many", breaker, "state.successes < rules.probes", "state.successes <= rules.probes"),
    Mutant("as many probes as come", breaker, "state.probes.append(Probe(lease, due))", "pass"),
    Mutant("a used place is free again", breaker, " + state.successes < rules.probes", " < rules.probes"),
    Mutant("a silent probe blocks", breaker, "sum(probe.due > now for", "sum(probe.due > 0 for"),
    Mutant("one generation for ever", breaker, "state.generation += 1", "state.generation += 0"),
    Mutant("the open time never shrinks", breaker, "    state.openings = 0", "    pass"),
    Mutant("the open time never grows", breaker, "state.openings += 1", "state.openings += 0"),
    Mutant("no jitter", breaker, "(0.5 + 0.5 * random())", "1.0"),
    Mutant("no cap on the open time", breaker, "min(longest, shortest", "max(0.0, shortest"),
    Mutant("Retry-After is ignored", breaker, ", random), not_before)", ", random), 0.0)"),
    Mutant("a success does not start anew", breaker, "= 0 if succeeded else", "= state.failures if succeeded else"),
    Mutant("nobody's failure fails a probe", breaker, 'if verdict is None:\n        return ""', "pass"),
    Mutant("slow probes close", breaker, "not None and took > rules.slow_call:", "not None and False:"),
    Mutant("closes at the first success", breaker, "if state.successes >= rules.probes:", "if True:"),
    Mutant("rates of too few calls", breaker, "if calls < rules.minimum_calls:", "if False:"),
    Mutant("the window never ends", breaker, "if bucket.number > number - BUCKETS", "if True"),
    Mutant("a probe's place is kept", breaker, "state.probes.remove(probe)", "pass"),
    Mutant("rates survive a transition", breaker, "state.buckets = []", "pass"),
    Mutant("no transition is told", breaker, "if state.phase == before:", "if True:"),
    Mutant("phases are told that did not change", breaker, "if state.phase == before:", "if False:"),
    Mutant("the cause outlives the open time", breaker, '"" if state.phase == CLOSED else state.cause', "state.cause"),
    # ------------------------------------------------------------- limiter
    Mutant("the window is too short", limiter, "entry.time + window > now:", "entry.time + window > now + 0.5:"),
    Mutant("counts what was answered twice", limiter, "= True\n        state.held_requests -= 1", "= True"),
    Mutant("merges without end", limiter, "now // grain == log[-1].time // grain", "True"),
    Mutant("merged entries age too early", limiter, "last.time = now", "pass"),
    Mutant("a full window is too large", limiter, "and need > limit:", "and need >= limit:"),
    Mutant("one too many at once", limiter, "state.flying >= limits.conc", "state.flying > limits.conc"),
    Mutant("what remains is not drawn", limiter, "allowance.left -= amount", "pass"),
    Mutant("in flight is forgotten", limiter, "hint.remaining_requests - state.flying", "hint.remaining_requests"),
    Mutant("tokens in flight forgotten", limiter, "- state.held_input - state.held_output)", ")"),
    Mutant("old words count as new", limiter, "or admitted > old.since:", "or True:"),
    Mutant("new words are never believed", limiter, " or admitted > old.since:", ":"),
    Mutant("old words raise", limiter, "Allowance(min(old.left, new.left),", "Allowance(new.left,"),
    Mutant("pauses are shortened", limiter, "max(state.paused, now + seconds)", "now + seconds"),
    Mutant("pauses are ignored", limiter, "if now < state.paused:", "if False:"),
    Mutant("one burst slows down often", limiter, "and admitted <= state.slow.since:", "and False:"),
    Mutant("slow for ever", limiter, "state.slow.since + SLOW_RECOVERY:", "state.slow.since * 1e9:"),
    Mutant("slowed to nothing", limiter, "return max(1.0, state", "return max(0.0, state"),
    Mutant("headers loosen", limiter, "_least(limits.requests, state.request_limit,", "_least(state.request_limit,"),
    Mutant("headers are ignored", limiter, "_least(limits.requests, state.request_limit,", "_least(limits.requests,"),
    Mutant("a day is a minute", limiter, " and hint.requests_window == limits.window:", ":"),
    Mutant(
        "stuck above a learned limit",
        limiter,
        "need = min(tokens, input_tokens + output_tokens)",
        "need = input_tokens + output_tokens",
    ),
    Mutant(
        "estimates are never settled", limiter, "hold.input if input_tokens is None else input_tokens", "hold.input"
    ),
    Mutant("output is held for ever", limiter, "state.held_output -= hold.output\n    _log", "_log"),
    Mutant("places are never freed", limiter, "state.flying -= 1\n    state.held_requests -= requests", "pass"),
    Mutant("output does not count", limiter, "last.output += made", "pass"),
    Mutant(
        "slots a window too early",
        limiter,
        "return entry.time + window * (rounds + 1)",
        "return entry.time + window * rounds",
    ),
    Mutant("slots ignore the line", limiter, "demand.need * (ahead + 1) - demand.limit", "demand.need - demand.limit"),
    Mutant("newcomers overtake", limiter, "if not ahead:\n", "if True:\n"),
    # -------------------------------------------------------------- budget
    Mutant("reservations do not count", budget, "account.spent + account.reserved + cost", "account.spent + cost"),
    Mutant("the last cent is kept", budget, "if account.spent + cost > limit:", "if account.spent + cost >= limit:"),
    Mutant("what was reserved stays", budget, "account.reserved -= reserved", "account.reserved -= cost"),
    Mutant("surprises are clamped", budget, "account.spent += cost", "account.spent += min(cost, reserved)"),
    Mutant("old pages are torn out", budget, "if page.held or key == book.key", "if key == book.key"),
    Mutant("old pages are kept", budget, "if not page.held and key != book.key:", "if False:"),
    Mutant("periods never turn", budget, "or wall < book.end)", "or True)"),
    Mutant("weeks end on Saturday", budget, "timedelta(8 - weekday)", "timedelta(7 - weekday)"),
    Mutant("hours that come twice are one", budget, '"%Y-%m-%dT%H%z"', '"%Y-%m-%dT%H"'),
    Mutant("late settlements add up", budget, "+= cost - charged", "+= cost"),
    Mutant("what is free is refused", budget, "if cost == 0:", "if False:"),
    Mutant("money is handed out of turn", budget, "if ahead:", "if False:"),
    # --------------------------------------------------------------- state
    Mutant(
        "expired money is refunded", state, "_give_up(state, lease, held.cost, now)", "_give_up(state, lease, 0, now)"
    ),
    Mutant(
        "charged to today",
        state,
        "_charge(state: State, held: Held, cost: int) -> None:\n    for share in held.shares:\n",
        "_charge(state: State, held: Held, cost: int) -> None:\n    for share in held.shares:\n"
        "        share.page = state.books[share.book].key\n",
    ),
    Mutant("settled twice", state, "held = state.leases.pop(lease.id, None)", "held = state.leases.get(lease.id)"),
    Mutant(
        "abandoned twice", state, ":\n    held = state.leases.pop(lease, None)", ":\n    held = state.leases.get(lease)"
    ),
    Mutant("corrected twice", state, "held = state.lapsed.pop(lease.id, None)", "held = state.lapsed.get(lease.id)"),
    Mutant("expires a moment late", state, "if held.expires <= now.mono]", "if held.expires < now.mono]"),
    Mutant("leases live for ever", state, "or expires < state.next_expiry:", "or False:"),
    Mutant("renewal shortens", state, "held.expires = max(held.expires, expires)", "held.expires = expires"),
    Mutant("off a moment too long", state, "now.wall < off.until):", "now.wall <= off.until):"),
    Mutant("the shorter finding holds", state, "old.until < new.until):", "old.until > new.until):"),
    Mutant("the wall clock runs back", state, "max(state.wall, now.wall)", "now.wall"),
    Mutant("probes are decided at the end", state, "if not lease.probe:", "if True:"),
    Mutant(
        "a lost probe keeps its place", state, "breaker.release(desk.breaker, lease)\n        limiter.s", "limiter.s"
    ),
    Mutant("blame is ignored", state, "else False if result.blamed else None", "else None"),
    Mutant("failures without blame count", state, "else False if result.blamed else None", "else False"),
    Mutant(
        "takes money before all agree",
        state,
        "        if money is not None and not money[0].wait:",
        "        budget.reserve(book, charge.scope, ask.cost)\n        if money is not None and not money[0].wait:",
    ),
    Mutant("calls count often", state, "ask.ticket.counted = True", "pass"),
    Mutant("a spent budget is waited for", state, "money is not None and not money[0].wait:", "False:"),
    # --------------------------------------------------------------- lines
    Mutant("a call is lost", lines, "news = news or (line.changed > since and", "news = news or (False and"),
    Mutant("calls without news", lines, "news = news or (line.changed > since and", "news = news or ("),
    Mutant("nobody is called after a leaver", lines, "            elif led:", "            elif False:"),
    Mutant("any leaver calls the head", lines, "            elif led:", "            else:"),
    Mutant(
        "room calls nobody",
        lines,
        "line.changed = self.changes\n                self._call(line, now)",
        "line.changed = self.changes",
    ),
    Mutant(
        "the head is called again and again",
        lines,
        "if head is not None and head.called is None:",
        "if head is not None:",
    ),
    Mutant("the absent hold up all", lines, "ticket.called is not None and now - ticket.called >= GRACE", "False"),
    Mutant("nobody stands before anybody", lines, "return max(0, before - line.absent(now))", "return 0"),
    Mutant(
        "last come, first served", lines, "insort(line.tickets, ticket, key=_number)", "line.tickets.append(ticket)"
    ),
    Mutant(
        "the head is not fetched",
        lines,
        "        line = self.by_name[name]\n        self._call(line, now)\n",
        "        line = self.by_name[name]\n",
    ),
    # -------------------------------------------------------------- memory
    Mutant("the admitted stay in line", memory, "elif ask.ticket.lines:", "elif False:"),
    Mutant("changes go unnoticed", memory, "lines.changes += 1", "lines.changes += 0"),
    Mutant(
        "spoilt from inside",
        memory,
        "if self._busy:\n                self._put_off",
        "if False:\n                self._put_off",
    ),
    Mutant("what was put off is forgotten", memory, "while self._put_off:", "while False:"),
    Mutant("expiry calls nobody", memory, "self._lines.touch(steps.lines_of(held), now.mono)", "pass"),
    # -------------------------------------------------------------- flight
    Mutant("left from inside at once", flight, "if self._busy or not self._leaving:", "if not self._leaving:"),
    Mutant("the lead goes to someone gone", flight, "if not _reached(each):", "if False and each:"),
    Mutant("one who is gone keeps all waiting", flight, "except RuntimeError:", "except ZeroDivisionError:"),
    Mutant("nobody learns that a stream leads", flight, " if flight.streamed else ()", " if False else ()"),
    Mutant("a stream that follows is not noticed", flight, "flight.streamed or streamed", "flight.streamed"),
    Mutant("nobody inherits", flight, "flight.leader = flight.followers.pop(", "flight.followers.pop("),
    Mutant("the youngest inherits", flight, "next(iter(flight.followers))", "next(reversed(flight.followers))"),
    Mutant(
        "landed calls are joined",
        flight,
        "self._flights.pop(flight.key, None)\n            flight.outcome",
        "flight.outcome",
    ),
    Mutant("followers are not told", flight, "for ticket in waiting.values():", "for ticket in ():"),
    Mutant("empty calls stay in the air", flight, "self._flights.pop(flight.key, None)\n            return", "return"),
    # --------------------------------------------------------------- retry
    Mutant("one retry too many", retry, "if retries + 1 > rules.floor", "if retries > rules.floor"),
    Mutant("retries cost nothing", retry, "current.retries += 1", "pass"),
    Mutant("calls count for nothing", retry, "_current(state, now).calls += 1", "pass"),
    Mutant("waits without bound", retry, "longest = min(rules.maximum, ", "longest = max(0.0, "),
    Mutant("Retry-After is no bound", retry, "max(longest * random(), min", "min(longest * random(), min"),
    Mutant("Retry-After is not capped", retry, "min(retry_after or 0.0, rules.max_retry_after)", "retry_after or 0.0"),
    Mutant("ten seconds are eleven", retry, "second.number > number - WINDOW", "second.number >= number - WINDOW"),
]


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The fault is in the code inside this block."""
    module = mutant.module
    text = Path(str(module.__file__)).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.fault}: {mutant.old!r} stands {text.count(mutant.old)} times there"
    faulty = ModuleType(module.__name__)
    exec(compile(text.replace(mutant.old, mutant.new), str(module.__file__), "exec"), vars(faulty))
    theirs = dict(_functions(faulty))
    own = {function: function.__code__ for _, function in _functions(module)}
    try:
        for name, function in _functions(module):
            function.__code__ = theirs[name].__code__
        yield
    finally:
        for function, code in own.items():
            function.__code__ = code


def _functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """Those that the module itself defines, and the methods of its classes, by qualified name."""
    source = sys.modules[module.__name__].__file__
    holders = [module, *(each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__)]
    for holder in holders:
        for value in list(getattr(holder, "__dict__", {}).values()):
            if isinstance(value, FunctionType) and value.__code__.co_filename == source:
                yield value.__qualname__, value
