"""What goes to the standard library's logging: one line for every problem that was survived.

All loggers are children of ``failover``, so that their levels can be set apart.  No line holds a prompt, an answer, a
key, or what a provider wrote; those who want more look at a call's trail or listen to events.  What ends a call is
raised, and not logged as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from failover import events
from failover.types import NANO

ROOT = logging.getLogger("failover")
ROOT.addHandler(logging.NullHandler())

CALLS, TARGETS, BUDGETS, STORES = (ROOT.getChild(name) for name in ("calls", "targets", "budgets", "stores"))

Line = tuple[logging.Logger, int, str, Callable[[Any], tuple[object, ...]]]
"""Where a line goes, how loud, its words, and what fills them."""

LINES: dict[type[events.Event], Line] = {
    events.Retrying: (
        CALLS,
        logging.WARNING,
        "call %d: %s failed (%s); it is asked again, %.2f s later",
        lambda event: (event.call, event.target, event.reason, event.delay),
    ),
    events.FailedOver: (
        CALLS,
        logging.WARNING,
        "call %d: %s failed (%s); going on with %s",
        lambda event: (event.call, event.source, event.reason, event.target),
    ),
    events.StreamResumed: (
        CALLS,
        logging.WARNING,
        "call %d: the stream of %s broke (%s); %s goes on with it",
        lambda event: (event.call, event.source, event.reason, event.target),
    ),
    events.Waiting: (
        CALLS,
        logging.INFO,
        "call %d: waits for room, %.2f s at most",
        lambda event: (event.call, event.seconds),
    ),
    events.RequestAdjusted: (
        CALLS,
        logging.INFO,
        "%s: %s",
        lambda event: (event.target, "; ".join(event.notes)),
    ),
    events.AnswerCapped: (
        CALLS,
        logging.WARNING,
        "call %d: the answer of %s was cut at %d tokens, a cap that you did not set; give max_tokens",
        lambda event: (event.call, event.target, event.max_tokens),
    ),
    events.BreakerChanged: (
        TARGETS,
        logging.WARNING,
        "%s: circuit %s, was %s",
        lambda event: (event.target, event.new, event.old),
    ),
    events.TargetDisabled: (
        TARGETS,
        logging.WARNING,
        "%s: switched off (%s)",
        lambda event: (event.target, event.reason),
    ),
    events.TargetEnabled: (TARGETS, logging.INFO, "%s: switched on again", lambda event: (event.target,)),
    events.BudgetRefused: (
        BUDGETS,
        logging.WARNING,
        "call %d: no room in the budget for its worst case at %s",
        lambda event: (event.call, event.target),
    ),
    events.CostAboveReservation: (
        BUDGETS,
        logging.WARNING,
        "call %d: %s charged $%.6f, above its worst case of $%.6f; it is recorded in full",
        lambda event: (event.call, event.target, event.cost / NANO, event.reserved / NANO),
    ),
    events.StoreLost: (
        STORES,
        logging.WARNING,
        "the store %s does not answer; hard budgets refuse, breakers and limits carry on in this process",
        lambda event: (event.store,),
    ),
    events.StoreBack: (
        STORES,
        logging.INFO,
        "the store %s answers again after %.1f s",
        lambda event: (event.store, event.seconds),
    ),
}


def write(event: events.Event) -> None:
    """The line of an event that has one."""
    line = LINES.get(type(event))
    if line is not None and line[0].isEnabledFor(line[1]):
        logger, level, words, fill = line
        logger.log(level, words, *fill(event))


def listener_failed(event: events.Event) -> None:
    """A listener raised; called while its error is being handled."""
    ROOT.exception("a listener failed at %s", type(event).__name__)
