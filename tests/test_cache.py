"""The response cache: what its key covers, what leaves it and when, and one call for identical calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from functools import partial
from threading import Thread
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.cache.flight import Flights
from failover.cache.key import ASKED, NOT_ASKED, digest
from failover.cache.memory import MemoryCache
from failover.settings import Cache
from failover.store.base import Now, Ticket
from failover.types import Answer, JsonFormat, Media, Message, Request, Response, Text, Thinking, Tool

REQUEST = Request((Message("user", "hello"),))

OTHER_VALUES = {
    "messages": (Message("user", "goodbye"),),
    "tools": (Tool("f"),),
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "response_format": JsonFormat(),
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop": ("x",),
    "seed": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "logprobs": True,
    "top_logprobs": 3,
    "reasoning_effort": "low",
    "thinking": {"type": "enabled"},
    "extra_body": {"n": 2},
}


def at(seconds: float) -> Now:
    return Now(seconds, 1e9 + seconds)


def answer(text: str) -> Answer:
    return Answer(Message("assistant", text))


def test_every_field_of_a_request_is_in_the_key_or_declared_not_to_be() -> None:
    assert {field.name for field in fields(Request)} == set(ASKED) | set(NOT_ASKED)
    assert not set(ASKED) & set(NOT_ASKED)


@pytest.mark.parametrize("name", ASKED)
def test_a_change_in_what_is_asked_changes_the_key(name: str) -> None:
    assert digest(replace(REQUEST, **{name: OTHER_VALUES[name]})) != digest(REQUEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefer", ("a",)),
        ("deadline", 1.0),
        ("max_retries", 0),
        ("cache", False),
        ("labels", {"a": "b"}),
        ("origin", 1),
    ],
)
def test_how_a_call_is_run_does_not_change_the_key(name: str, value: object) -> None:
    assert digest(replace(REQUEST, **{name: value})) == digest(REQUEST)


def test_the_order_of_keys_in_a_schema_does_not_matter() -> None:
    one = Tool("f", "", {"type": "object", "properties": {"a": {}, "b": {}}})
    other = Tool("f", "", {"properties": {"b": {}, "a": {}}, "type": "object"})
    assert digest(replace(REQUEST, tools=(one,))) == digest(replace(REQUEST, tools=(other,)))


def test_namespaces_do_not_share_keys() -> None:
    assert digest(REQUEST, "a") != digest(REQUEST, "b")


def test_the_role_and_the_blocks_are_told_apart() -> None:
    split = Request((Message("user", "he"), Message("user", "llo")))
    assert digest(split) != digest(REQUEST)
    assert digest(Request((Message("system", "hello"),))) != digest(REQUEST)


def test_an_entry_is_found_for_any_of_the_models_that_may_serve_in_their_order() -> None:
    cache = MemoryCache(Cache())
    cache.put(b"q", "b", answer("from b"), at(0))
    cache.put(b"q", "c", answer("from c"), at(0))
    hit = cache.get(b"q", ("a", "c", "b"), at(1))
    assert hit is not None
    assert (hit.identity, hit.answer.message.text) == ("c", "from c")
    assert cache.get(b"q", ("a",), at(1)) is None
    assert cache.get(b"other", ("a", "b", "c"), at(1)) is None


def test_an_entry_is_gone_at_the_end_of_its_time() -> None:
    cache = MemoryCache(Cache(ttl=10))
    cache.put(b"q", "a", answer("x"), at(0))
    assert cache.get(b"q", ("a",), at(9.9)) is not None
    assert cache.get(b"q", ("a",), at(10)) is None
    assert len(cache) == 0


def test_the_least_recently_used_entry_leaves_first() -> None:
    cache = MemoryCache(Cache(size=2))
    for name in (b"1", b"2"):
        cache.put(name, "a", answer("x"), at(0))
    cache.get(b"1", ("a",), at(1))
    cache.put(b"3", "a", answer("x"), at(2))
    assert cache.get(b"1", ("a",), at(3)) is not None
    assert cache.get(b"2", ("a",), at(3)) is None


@given(st.lists(st.tuples(st.sampled_from("pgd"), st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 3))))
def test_the_cache_never_holds_more_than_its_size_nor_anything_too_old(steps: list[tuple[str, int, str, int]]) -> None:
    cache, model, now = MemoryCache(Cache(size=3, ttl=4)), {}, 0
    for action, key, identity, passed in steps:
        now += passed
        digest_ = bytes([key])
        if action == "p":
            cache.put(digest_, identity, answer(str(now)), at(now))
            model[(digest_, identity)] = now
        elif (hit := cache.get(digest_, (identity,), at(now))) is not None:
            put_at = model[(digest_, identity)]
            assert hit.answer.message.text == str(put_at)
            assert now < put_at + 4
        assert len(cache) <= 3
        assert sum(cache._digests.values()) == len(cache)


# ------------------------------------------------------------------ flights


def response(text: str) -> Response:
    return Response(answer(text), "t", "p", "p:m")


def test_the_first_leads_and_the_others_get_its_answer() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(4)]
    flight = flights.join(("k",), tickets[0], False)
    assert all(flights.join(("k",), ticket, False) is flight for ticket in tickets[1:])
    flights.land(flight, response("x"))
    assert all(ticket.woken for ticket in tickets[1:])
    assert flight.outcome is not None
    assert flights.join(("k",), Ticket(9), False) is not flight


def test_a_leader_that_goes_hands_over_to_whoever_waited_longest() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    for ticket in tickets[1:]:
        flights.join(("k",), ticket, False)
    flights.leave(flight, tickets[0])
    assert flight.leader is tickets[1]
    assert [ticket.woken for ticket in tickets] == [False, True, False]
    assert flights.join(("k",), Ticket(9), False) is flight


def test_a_follower_that_goes_harms_nobody() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    for ticket in tickets[1:]:
        flights.join(("k",), ticket, False)
    flights.leave(flight, tickets[1])
    flights.leave(flight, tickets[0])
    assert flight.leader is tickets[2]


def test_the_last_to_leave_ends_the_flight() -> None:
    flights, ticket = Flights(), Ticket(0)
    flight = flights.join(("k",), ticket, False)
    flights.leave(flight, ticket)
    assert flights.join(("k",), ticket, False) is not flight


class Collected(dict[Any, Any]):
    """A dict during whose first operation a garbage collection lets somebody leave."""

    def __init__(self, items: dict[Any, Any], leave: Callable[[], None]) -> None:
        super().__init__(items)
        self._leaving = [leave]

    def _collect(self) -> None:
        while self._leaving:
            self._leaving.pop()()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._collect()
        super().__setitem__(key, value)

    def __iter__(self) -> Iterator[Any]:
        number = next(super().__iter__())
        self._collect()
        return iter((number,))


def test_a_leader_that_is_collected_while_another_joins_leaves_the_lead_to_it() -> None:
    flights, leader, ticket = Flights(), Ticket(0), Ticket(1)
    flight = flights.join(("k",), leader, False)
    flight.followers = Collected({}, lambda: flights.leave(flight, leader))
    assert flights.join(("k",), ticket, False) is flight
    assert flight.leader is ticket
    assert ticket.woken
    flights.leave(flight, ticket)
    assert len(flights) == 0


def test_an_heir_that_is_collected_while_it_inherits_leaves_the_lead_to_the_next() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    for ticket in tickets[1:]:
        flights.join(("k",), ticket, False)
    flight.followers = Collected(flight.followers, lambda: flights.leave(flight, tickets[1]))
    flights.leave(flight, tickets[0])
    assert flight.leader is tickets[2]
    assert tickets[2].woken


def test_an_heir_who_is_not_there_any_more_leaves_the_lead_to_the_next() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    for ticket in tickets[1:]:
        flights.join(("k",), ticket, False)
    loop = asyncio.new_event_loop()
    tickets[1].wake = partial(loop.call_soon_threadsafe, print)
    loop.close()
    flights.leave(flight, tickets[0])
    assert flight.leader is tickets[2]


def test_a_follower_who_is_not_there_any_more_does_not_keep_the_answer_from_the_others() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    for ticket in tickets[1:]:
        flights.join(("k",), ticket, False)
    loop = asyncio.new_event_loop()
    tickets[1].wake = partial(loop.call_soon_threadsafe, print)
    loop.close()
    flights.land(flight, response("x"))
    assert tickets[2].woken


def test_followers_learn_when_the_lead_passes_to_a_stream_that_may_pause() -> None:
    flights, tickets = Flights(), [Ticket(number) for number in range(3)]
    flight = flights.join(("k",), tickets[0], False)
    flights.join(("k",), tickets[1], True)
    flights.join(("k",), tickets[2], False)
    flights.leave(flight, tickets[0])
    assert flight.leader is tickets[1]
    assert flight.streamed
    assert tickets[2].woken


def test_exactly_one_of_many_threads_leads() -> None:
    flights, leaders = Flights(), []

    def join(number: int) -> None:
        ticket = Ticket(number)
        leaders.append(flights.join(("k",), ticket, False).leader is ticket)

    threads = [Thread(target=join, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leaders.count(True) == 1


def test_the_key_of_a_request_is_the_same_in_any_process() -> None:
    known = "605cd693524051dda5133eb383a19a12ede53c7b1462f759491abf524bf22a2d"
    asked = Request(
        (Message("user", (Text("hel\ud83d lo"), Media("image", url="https://x/y.png"))),),
        tools=(Tool("f", "", {"type": "object"}),),
        extra_body=MappingProxyType({"z": {"b": 1, "a": [1.5, None, True]}}),
    )
    assert digest(asked, "space").hex() == known


def test_blocks_of_different_kinds_with_the_same_values_are_told_apart() -> None:
    said, thought = Request((Message("assistant", Text("x")),)), Request((Message("assistant", Thinking("x")),))
    assert digest(said) != digest(thought)


@pytest.mark.parametrize(
    "odd", [{1: "a", "b": 2}, {"at": date(2026, 1, 1)}, {"amount": Decimal(1)}, {"torn": "\ud83d"}]
)
def test_whatever_stands_in_extra_body_has_a_key(odd: dict[str, object]) -> None:
    one, same = replace(REQUEST, extra_body=odd), replace(REQUEST, extra_body=dict(odd))
    assert digest(one) == digest(same) != digest(REQUEST)
    assert digest(replace(REQUEST, extra_body={"amount": "1"})) != digest(one)
