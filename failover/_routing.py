"""Which targets a call may go to, and in which order.

A strategy gives an order; the targets a caller prefers come first; a conversation stays with the model that wrote
its last turn, so that reasoning and prompt caches survive.  Orders are made lazily: choosing among a thousand
targets costs no more than among two, unless the strategy has to look at all of them.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain, count
from typing import Literal

from failover._live import Live
from failover.types import Media, Request, ToolResult

Strategy = Literal["round_robin", "priority", "weighted", "fastest", "cheapest"]
Random = Callable[[], float]
"""A number in [0, 1)."""


class Router:
    """Orders targets by one strategy.  ``costs(request)`` estimates its price at a target, for ``cheapest``."""

    def __init__(
        self,
        lives: Sequence[Live],
        strategy: Strategy,
        random: Random,
        costs: Callable[[Request], Callable[[Live], int]],
    ) -> None:
        self._lives = tuple(lives)
        self._by_name = {live.name: live for live in lives}
        self._by_author = {live.author: live for live in reversed(lives)}
        self._turn = count()
        self._random = random
        self._costs = costs
        self._shares = list(accumulate(live.config.weight for live in lives))
        self._order = ORDERS[strategy]
        self._sticky = strategy == "round_robin"

    def order(self, request: Request, now: float) -> Iterator[Live]:
        """Every target once, in the order in which to try them."""
        first = [self._by_name[name] for name in request.prefer if name in self._by_name] if request.prefer else []
        if self._sticky and not first and (author := self._author_of(request)) is not None:
            first = [author]
        rest = self._order(self, request, now)
        return _unique(chain(first, rest)) if first else rest

    def unknown(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self._by_name]

    def _author_of(self, request: Request) -> Live | None:
        for message in reversed(request.messages):
            if message.author is not None:
                return self._by_author.get(message.author)
        return None

    def _rotated(self, start: int) -> Iterator[Live]:
        """All of them, beginning with ``start``: counted from the end, where Python goes on by itself."""
        return map(self._lives.__getitem__, range(start - len(self._lives), start))

    def _round_robin(self, request: Request, now: float) -> Iterator[Live]:
        return self._rotated(next(self._turn) % len(self._lives))

    def _priority(self, request: Request, now: float) -> Iterator[Live]:
        return iter(self._lives)

    def _weighted(self, request: Request, now: float) -> Iterator[Live]:
        return self._rotated(bisect(self._shares, self._random() * self._shares[-1]))

    def _fastest(self, request: Request, now: float) -> Iterator[Live]:
        """The better of two at random (Mitzenmacher 2001), then the others by score."""
        size = len(self._lives)
        first = int(self._random() * size)
        second = (first + 1 + int(self._random() * (size - 1))) % size  # another one, or a slow one meets itself
        best = min(self._lives[first], self._lives[second], key=lambda live: live.load.score(now))
        return _unique(chain((best,), _later(lambda: sorted(self._lives, key=lambda live: live.load.score(now)))))

    def _cheapest(self, request: Request, now: float) -> Iterator[Live]:
        return iter(sorted(self._lives, key=self._costs(request)))


ORDERS: dict[Strategy, Callable[[Router, Request, float], Iterator[Live]]] = {
    "round_robin": Router._round_robin,
    "priority": Router._priority,
    "weighted": Router._weighted,
    "fastest": Router._fastest,
    "cheapest": Router._cheapest,
}


def _unique(lives: Iterator[Live]) -> Iterator[Live]:
    seen = set()
    for live in lives:
        if live.index not in seen:
            seen.add(live.index)
            yield live


def _later(make: Callable[[], list[Live]]) -> Iterator[Live]:
    """The list is made only when someone asks for its first item."""
    yield from make()


def needs(request: Request) -> frozenset[str]:
    """The abilities a request asks for, by the names of ``Facts``: input kinds, ``tools``, ``structured_output``."""
    found: set[str] = set()
    if request.tools:
        found.add("tools")
    if request.response_format is not None and request.response_format.schema is not None:
        found.add("structured_output")
    for message in request.messages:
        for block in message.content:
            if isinstance(block, Media):
                found.add(block.kind)
            elif isinstance(block, ToolResult) and not isinstance(block.content, str):
                found.update(part.kind for part in block.content if isinstance(part, Media))
    return frozenset(found)


def incapable(live: Live, wanted: frozenset[str]) -> str:
    """Which of the abilities ``wanted`` this target lacks, as a sentence, or an empty string."""
    facts = live.model.facts
    missing = wanted and [name for name in wanted if name not in facts.inputs and not getattr(facts, name, False)]
    return f"cannot take {', '.join(sorted(missing))}" if missing else ""
