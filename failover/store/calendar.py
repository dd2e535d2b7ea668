"""The periods of budgets by name, for a store whose clock is not ours: it is told which ones are now and next."""

from __future__ import annotations

from typing import NamedTuple

from failover.rules import budget
from failover.store.base import Charge

LOOK_BACK = {"hour": 7_200.0, "day": 2 * 86_400.0, "week": 8 * 86_400.0, "month": 32 * 86_400.0}
"""Seconds before now at which an earlier period is sure to be found."""


class Page(NamedTuple):
    """A period of a book on the calendar: from ``begins`` to before ``ends``, wall-clock; None: always."""

    page: str
    begins: float | None
    ends: float | None


class Calendar:
    """Which periods are now and next, on the server's clock, which runs ``ahead`` of ours by so many seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._pages: dict[str, tuple[Page, Page]] = {}

    def around(self, charge: Charge, wall: float) -> tuple[Page, Page]:
        moment = wall + self.ahead
        pages = self._pages.get(charge.book)
        if pages is None or not _within(pages[0], moment):
            pages = self._pages[charge.book] = pages_at(charge.budget.per, charge.budget.timezone, moment)
        return pages

    def ends(self, book: str, page: str) -> float | None:
        """When a page that has been named is over; 0.0 for one that is not of today."""
        return next((each.ends for each in self._pages.get(book, ()) if each.page == page), 0.0)


def _within(page: Page, moment: float) -> bool:
    return (page.begins is None or page.begins <= moment) and (page.ends is None or moment < page.ends)


def pages_at(per: str, timezone: str | None, moment: float) -> tuple[Page, Page]:
    """The period that holds ``moment``, and the next one; a period begins where the one before it ends."""
    if per == "total":
        always = Page("total", None, None)
        return always, always
    begins = moment - LOOK_BACK[per]
    while True:
        key, ends = budget.period(per, timezone, begins)
        assert ends is not None
        if moment < ends:
            after, end = budget.period(per, timezone, ends)
            return Page(key, begins, ends), Page(after, ends, end)
        begins = ends
