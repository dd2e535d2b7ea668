"""Hard budgets in integer nano-dollars: the worst case is reserved before a call is sent, the real cost settled after.

    spent + reserved ≤ limit, at every moment.  The one exception is a provider's surprise, a real cost above its
    reservation, which is recorded in full: hiding it would not bring the money back.

A *book* keeps all counters of one period length in one time zone (all hourly budgets, all daily ones in Berlin, ...):
a page per period, on it an account per scope.  A call is charged to the page it was reserved on, whenever it ends.
Accounts are never forgotten while their period lasts, however many scopes there are; a page is dropped as a whole
once its period is over and no reservation is open on it.

Periods follow the calendar of the time zone: a day begins at its first midnight, so it has 23 or 25 hours when the
clocks change, and an hour that comes twice is two hours, told apart by their offset.  Weeks begin on Monday (ISO).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from failover.rules.refusal import Reason, Refusal
from failover.types import NANO

HOUR = 3600.0


class Period(NamedTuple):
    """A stretch of the calendar: its name, and the wall-clock moment at which the next begins (None: never)."""

    key: str
    end: float | None


@dataclass(slots=True)
class Account:
    """One scope's money within one period, in nano-dollars."""

    spent: int = 0
    reserved: int = 0


@dataclass(slots=True)
class Page:
    """One period: its accounts by scope, and how many reservations are open on it."""

    accounts: dict[str, Account] = field(default_factory=dict)
    held: int = 0


@dataclass(slots=True)
class Book:
    """Plain data.  ``key`` is the current period's, ``end`` the moment it is over."""

    per: str
    timezone: str | None
    key: str = ""
    end: float | None = None
    pages: dict[str, Page] = field(default_factory=dict)


# ------------------------------------------------------------------- periods


def period(per: str, timezone: str | None, wall: float) -> Period:
    """The period that holds the wall-clock moment ``wall``; without a time zone, by the machine's own."""
    if per == "total":
        return Period("total", None)
    local = datetime.fromtimestamp(wall, ZoneInfo(timezone) if timezone else None)
    return _hour(local, wall) if per == "hour" else _days(per, local)


def _hour(local: datetime, wall: float) -> Period:
    """Named with its offset, which a naive local time gets from the machine's zone."""
    into = local.minute * 60 + local.second + local.microsecond / 1e6
    return Period(local.astimezone(local.tzinfo).strftime("%Y-%m-%dT%H%z"), wall - into + HOUR)


def _days(per: str, local: datetime) -> Period:
    today = local.date()
    if per == "day":
        name, after = today.isoformat(), today + timedelta(1)
    elif per == "week":
        year, week, weekday = today.isocalendar()
        name, after = f"{year}-W{week:02}", today + timedelta(8 - weekday)
    else:
        name, after = f"{today:%Y-%m}", (today.replace(day=1) + timedelta(32)).replace(day=1)
    return Period(name, _midnight(after, local))


def _midnight(day: date, local: datetime) -> float:
    """When ``day`` begins: of a midnight that comes twice the first, of one that is skipped the moment it would be."""
    return datetime(day.year, day.month, day.day, tzinfo=local.tzinfo).timestamp()


# --------------------------------------------------------------------- money


def turn(book: Book, wall: float) -> None:
    """Go on to the page of ``wall``, which must not run backwards; settled old pages are dropped."""
    if book.key and (book.end is None or wall < book.end):
        return
    book.key, book.end = period(book.per, book.timezone, wall)
    book.pages = {key: page for key, page in book.pages.items() if page.held or key == book.key}


def check(book: Book, scope: str, limit: int, cost: int, ahead: int) -> Refusal | None:
    """May ``cost`` be reserved in the current period, with ``ahead`` others waiting before it?  Changes nothing.

    What costs nothing is never refused.
    """
    if cost == 0:
        return None
    account = account_of(book, scope)
    if account.spent + cost > limit:
        left = f"{dollars(account.spent)} of {dollars(limit)} is spent"
        return Refusal(Reason.BUDGET_SPENT, f"this call may cost up to {dollars(cost)}, and {left}")
    if account.spent + account.reserved + cost > limit:
        spent, held = dollars(account.spent), dollars(account.reserved)
        detail = f"{spent} of {dollars(limit)} is spent, and {held} is reserved for calls in flight"
        return Refusal(Reason.BUDGET_PENDING, detail, wait=True)
    if ahead:
        return Refusal(Reason.BUDGET_PENDING, f"{ahead} in line before it", wait=True, turn=True)
    return None


def account_of(book: Book, scope: str) -> Account:
    """The scope's money in the current period, to be read."""
    page = book.pages.get(book.key)
    return (page.accounts.get(scope) if page else None) or Account()


def reserve(book: Book, scope: str, cost: int) -> str:
    """Hold ``cost``, which ``check`` has passed; returns the key of the page it is held on."""
    page = book.pages.setdefault(book.key, Page())
    page.held += 1
    page.accounts.setdefault(scope, Account()).reserved += cost
    return book.key


def settle(book: Book, key: str, scope: str, reserved: int, cost: int) -> None:
    """Give back what was reserved on the page ``key`` and charge ``cost`` there, however much it is."""
    page = book.pages[key]
    account = page.accounts[scope]
    account.reserved -= reserved
    account.spent += cost
    page.held -= 1
    if not page.held and key != book.key:
        del book.pages[key]


def correct(book: Book, key: str, scope: str, charged: int, cost: int) -> None:
    """The real cost of a call that was charged by guess has become known; a period that is gone stays as it was."""
    page = book.pages.get(key)
    if page is not None:
        page.accounts[scope].spent += cost - charged


def dollars(nano: int) -> str:
    return f"${nano / NANO:.9f}".rstrip("0").rstrip(".")
