"""Waiting lines: first come first served, heads only are called, and no call is ever lost."""

from __future__ import annotations

from failover.settings import RateLimit
from failover.store.base import Lease, Reason, Rejection, Ticket
from failover.store.lines import GRACE
from tests.gates.world import BLAMED, NANO, Bench, charge, gates

ONE = gates("a", limits=RateLimit(concurrency=1))


def busy() -> tuple[Bench, Lease]:
    b = Bench(ONE)
    return b, b.take()


def stand(b: Bench, ticket: Ticket | None = None) -> Ticket:
    """A ticket that asked in vain and stands in line now."""
    ticket = ticket or b.ticket()
    b.line_up(ticket, b.refused(ticket=ticket))
    return ticket


def woken(*tickets: Ticket) -> list[bool]:
    return [ticket.woken for ticket in tickets]


def test_only_the_head_is_called_when_there_is_room() -> None:
    b, lease = busy()
    first, second, third = stand(b), stand(b), stand(b)
    b.settle(lease)
    assert woken(first, second, third) == [True, False, False]


def test_whoever_is_admitted_calls_the_next() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=2)))
    leases = [b.take(), b.take()]
    first, second, third = stand(b), stand(b), stand(b)
    for lease in leases:
        b.settle(lease)
    assert woken(first, second, third) == [True, False, False], "it was called once, and has not come yet"
    b.take(ticket=first)
    assert woken(second, third) == [True, False]
    b.take(ticket=second)
    assert third.woken
    assert isinstance(b.ask(ticket=third), Rejection)


def test_a_newcomer_does_not_overtake_even_where_there_is_room() -> None:
    b, lease = busy()
    first = stand(b)
    b.settle(lease)
    refusal = b.refused()
    assert refusal.reason is Reason.CONCURRENCY
    assert refusal.detail == "1 in line before it"
    assert refusal.line is not None
    b.take(ticket=first)


def test_a_call_that_came_earlier_goes_before_those_who_stand_in_line() -> None:
    b, lease = busy()
    early = b.ticket()
    stand(b)
    b.settle(lease)
    b.take(ticket=early)


def test_a_ticket_keeps_its_place_through_refusals() -> None:
    b, lease = busy()
    first, second = stand(b), stand(b)
    for _ in range(3):
        stand(b, first)
    b.settle(lease)
    assert woken(first, second) == [True, False]


def test_places_are_by_arrival_not_by_when_one_lined_up() -> None:
    b, lease = busy()
    early, late = b.ticket(), b.ticket()
    stand(b, late)
    stand(b, early)
    b.settle(lease)
    assert woken(early, late) == [True, False]


def test_a_head_that_gives_up_passes_the_call_on() -> None:
    b, lease = busy()
    first, second = stand(b), stand(b)
    b.settle(lease)
    b.leave(first)
    assert second.woken
    b.take(ticket=second)


def test_one_in_the_middle_that_gives_up_calls_nobody() -> None:
    b, _ = busy()
    first, second, third = stand(b), stand(b), stand(b)
    b.leave(second)
    assert woken(first, third) == [False, False]


def test_leaving_twice_or_without_standing_does_nothing() -> None:
    b, _ = busy()
    first = stand(b)
    b.leave(first)
    b.leave(first)
    b.leave(b.ticket())
    assert b.state().waiting == 0


def test_a_change_between_the_refusal_and_lining_up_is_not_missed() -> None:
    b, lease = busy()
    ticket = b.ticket()
    refusal = b.refused(ticket=ticket)
    b.settle(lease)
    b.line_up(ticket, refusal)
    assert ticket.woken


def test_a_change_while_the_head_asks_again_is_not_missed() -> None:
    b, lease = busy()
    ticket = stand(b)
    ticket.woken = False
    refusal = b.refused(ticket=ticket)  # its own timer made it ask
    b.settle(lease)
    b.line_up(ticket, refusal)
    assert ticket.woken


def test_without_a_change_nobody_is_called_when_lining_up() -> None:
    b, _ = busy()
    ticket = stand(b)
    assert not ticket.woken
    stand(b, ticket)
    assert not ticket.woken


def test_a_change_elsewhere_does_not_make_the_head_ask_again_and_again() -> None:
    b, _ = busy()
    other = gates("b")
    ticket = stand(b)
    for _ in range(3):
        refusal = b.refused(ticket=ticket)
        b.run(where=other)
        b.line_up(ticket, refusal)
        assert not ticket.woken


def test_a_wake_up_goes_to_the_callback_of_the_driver_once() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=3)))
    leases = [b.take() for _ in range(3)]
    calls: list[int] = []
    ticket = stand(b)
    ticket.wake = lambda: calls.append(1)
    for lease in leases:
        b.settle(lease)
    assert calls == [1], "until it comes, it need not be called again"


def test_a_ticket_may_stand_in_several_lines_and_leaves_all_when_admitted() -> None:
    b = Bench(ONE)
    other = gates("b", limits=RateLimit(concurrency=1))
    here, there = b.take(), b.take(other)
    ticket, next_here, next_there = b.ticket(), b.ticket(), b.ticket()
    b.line_up(ticket, b.refused(ticket=ticket), b.refused(other, ticket=ticket))
    b.line_up(next_here, b.refused(ticket=next_here))
    b.line_up(next_there, b.refused(other, ticket=next_there))
    b.settle(there)
    assert woken(ticket, next_here, next_there) == [True, False, False]
    b.take(other, ticket=ticket)
    assert woken(next_here, next_there) == [True, True]
    b.settle(here)
    b.take(ticket=next_here)
    assert (b.state().waiting, b.state(other).waiting) == (0, 1)


def test_lining_up_anew_leaves_the_lines_that_are_not_named_any_more() -> None:
    b = Bench(ONE)
    other = gates("b", limits=RateLimit(concurrency=1))
    b.take()
    b.take(other)
    ticket, behind = b.ticket(), b.ticket()
    both = b.refused(ticket=ticket), b.refused(other, ticket=ticket)
    b.line_up(ticket, *both)
    b.line_up(behind, b.refused(other, ticket=behind))
    b.line_up(ticket, both[0])
    assert (b.state().waiting, b.state(other).waiting) == (1, 1)
    assert behind.woken, "it is at the head now"


def test_a_line_named_twice_is_stood_in_once() -> None:
    b, lease = busy()
    ticket = b.ticket()
    refusal = b.refused(ticket=ticket)
    b.line_up(ticket, refusal, refusal)
    assert b.state().waiting == 1
    b.settle(lease)
    b.take(ticket=ticket)
    assert b.state().waiting == 0


def test_an_expiry_calls_the_head_as_soon_as_anybody_notices() -> None:
    b = Bench(ONE)
    b.take(ttl=5.0)
    ticket = stand(b)
    b.later(5.0)
    b.run(where=gates("b"))
    assert ticket.woken


def test_the_head_knows_when_to_look_again_by_itself() -> None:
    b = Bench(ONE)
    b.take(ttl=5.0)
    refusal = b.refused()
    assert refusal.recheck == b.mono + 5.0
    b.later(5.0)
    b.take()


def test_a_head_that_was_called_and_does_not_come_holds_up_nobody() -> None:
    b, lease = busy()
    hangs, alive = stand(b), stand(b)
    b.settle(lease)
    assert woken(hangs, alive) == [True, False]
    refusal = b.refused(ticket=alive)
    assert refusal.recheck == b.mono + GRACE
    b.line_up(alive, refusal)
    b.later(GRACE)
    taken = b.take(ticket=alive)
    newcomer = stand(b)
    b.settle(taken)
    b.take(ticket=hangs)
    assert isinstance(b.ask(ticket=newcomer), Rejection), "it had kept its place"


def test_the_next_is_called_in_the_place_of_one_that_does_not_come() -> None:
    b, lease = busy()
    hangs, alive = stand(b), stand(b)
    b.settle(lease)
    b.later(GRACE)
    b.refused()
    assert woken(hangs, alive) == [True, True]


def test_who_asks_out_of_turn_sees_to_it_that_the_head_comes() -> None:
    b = Bench(gates("a", limits=RateLimit(requests=1)))
    b.run()
    head, behind = stand(b), stand(b)
    b.later(60.0)  # there is room, but the head's timer is late
    refusal = b.refused(ticket=behind)
    assert head.woken
    assert refusal.retry_at == b.mono + 60.0, "its own slot comes after the head's"
    assert refusal.recheck == b.mono + GRACE


def test_a_circuit_that_opens_lets_nobody_stand_for_ever() -> None:
    b = Bench(gates("a", limits=RateLimit(concurrency=5)))
    leases = [b.take() for _ in range(5)]
    line = [stand(b) for _ in range(3)]
    for lease in leases:
        b.settle(lease, BLAMED)
    for ticket in line:
        assert ticket.woken, "each is called when the one before it has given up"
        assert b.refused(ticket=ticket).reason is Reason.CIRCUIT_OPEN
        b.leave(ticket)


def test_switching_on_by_hand_calls_who_waits_there() -> None:
    b, _ = busy()
    ticket = stand(b)
    b.store.enable(b.here, b.now)
    assert ticket.woken


def test_the_line_for_money_moves_when_a_lease_at_any_target_ends() -> None:
    b, money = Bench(), charge(1.0)
    lease = b.take(gates("b"), cost=NANO, charges=[money])
    ticket = b.ticket()
    b.line_up(ticket, b.refused(cost=NANO, charges=[money], ticket=ticket))
    b.abandon(lease, 0)
    assert ticket.woken


def test_a_dead_event_loops_place_goes_to_the_next() -> None:
    b, lease = busy()
    dead, alive = stand(b), stand(b)

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    dead.wake = closed
    b.settle(lease)
    assert alive.woken
    assert b.state().waiting == 1


def test_a_thousand_in_line_cost_two_asks_each() -> None:
    b = Bench(ONE)
    leases, asks = [b.take()], 0
    tickets = [stand(b) for _ in range(1_000)]
    for ticket in tickets:
        b.settle(leases.pop())
        assert ticket.woken
        asks += 1
        leases.append(b.take(ticket=ticket))
    assert sum(ticket.woken for ticket in tickets) == 1_000
    assert asks == 1_000
