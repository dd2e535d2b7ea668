"""The conformance scripts can fail: whatever is broken in the Lua by hand, some script shows it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha1
from itertools import chain, count

import pytest

from failover.store import redis_link
from tests.gates.conformance import SCRIPTS, random_script, trace
from tests.gates.test_redis import MORE, Prompt
from tests.gates.world import half, memory
from tests.kit.redis_server import Server, running

namespaces = (f"mutant{number}" for number in count())
MOST_SEEDS = 60

MUTANTS = {
    "an open circuit never lets a probe through": ("if now >= state.reopens then", "if false then"),
    "a probe's place stays taken when it is silent": ("if probe.due > now then", "if true then"),
    "results count whatever their generation": ("if generation ~= state.generation then", "if false then"),
    "an opening never lasts longer": ("shortest * 2 ^ math.min(openings, MOST_DOUBLINGS)", "shortest"),
    "a success does not end a row of failures": ("succeeded and 0 or state.failures + 1", "state.failures + 1"),
    "the log never ages": ("if oldest.time + window > now then", "if true then"),
    "a request ages from its admission": ("limiter.answered(desk, held.hold, now.mono)", ""),
    "tokens in flight are not counted": ("state.input + state.output + held", "state.input + state.output"),
    "a call in flight is never given back": ("state.flying = state.flying - 1", ""),
    "a pause is not kept": ("state.paused = math.max(state.paused, now + seconds)", ""),
    "a lower limit is not learned": ("state.request_limit = hint.limit_requests", ""),
    "what remains is not drawn on": ("state.tokens_left = state.tokens_left - input - output", ""),
    "slow is not half as fast": ("state.slow_peak * (0.5 + 0.5 * grown)", "state.slow_peak"),
    "reservations do not count": ("spent + reserved + cost > charge.limit", "spent + cost > charge.limit"),
    "the reservation is charged": ("charge(held, result.cost or held.cost)", "charge(held, held.cost)"),
    "a period never ends": ("wall >= book.ends", "false"),
    "an expired lease is refunded": ("give_up(lease, held.cost, now)", "give_up(lease, 0, now)"),
    "an expired lease is not corrected": ("change(book, page, scope, cost - charged, 0)", ""),
    "a lease is not renewed": ("tonumber(expires) < now.mono + call.seconds", "false"),
    "an account that two budgets watch is charged twice": ("if not done[name] then", "if true then"),
    "a switched-off credential is asked": ("if not ends or now.wall < ends then", "if false then"),
    "the shorter of two findings holds": ("(old_ends and old_ends < ends)", "true"),
    "retries are free": ("retries + 1 > rules.floor", "1 > rules.floor"),
    "time runs backwards": ("math.max(latest.wall, at and at[2] or server)", "(at and at[2] or server)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.mark.parametrize("name", MUTANTS)
def test_a_script_shows_the_mutant(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = MUTANTS[name]
    assert redis_link.SCRIPT.count(whole) == 1
    mutant = redis_link.SCRIPT.replace(whole, broken)
    monkeypatch.setattr(redis_link, "SCRIPT", mutant)
    monkeypatch.setattr(redis_link, "SHA", sha1(mutant.encode(), usedforsecurity=False).hexdigest())
    scripts = chain((script for script, _ in SCRIPTS.values()), MORE.values(), map(random_script, range(MOST_SEEDS)))
    for script in scripts:
        store = Prompt(server.url, random=half, namespace=next(namespaces), by_hand=True)
        try:
            seen = trace(store, script)
        except Exception:  # broken enough to say so itself
            return
        finally:
            store.close()
        if seen != trace(memory(), script):
            return
    pytest.fail("nothing shows it")
