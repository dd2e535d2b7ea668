"""What a request costs, and what it can cost at most, in integer nano-dollars.

The table (``_prices.json``, made by ``scripts/prices.py``) is read when the first price is asked for.  A name is
looked up as it is written, in lower case; then without the date at its end.  What is not found has no price:
never zero, never a neighbour's.

A ``Price`` says what a million tokens cost.  It is compiled once into a ``Tariff``: integers per token on one common
scale, so that a bill is exact and only the sum is rounded, up.  Which row of a tariff holds is decided for the whole
request, in this order: an announced later price, the service tier, the highest tier its input exceeds, the hour.

``cost`` is for afterwards: what the provider itself says it charged wins.  ``ceiling`` is for before: the dearest row
that can apply and, in it, the dearest kind of token, times the number of answers asked for.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_UP, Decimal
from functools import cache, lru_cache
from typing import Any, NamedTuple

from failover.settings import Hours, Price, Tier
from failover.types import Media, Request, Text, ToolResult, Usage

DAY = 86_400
SAME_TABLE = {"azure": "openai"}
"""Providers that sell another's models at its prices."""
LOCAL = frozenset(("ollama", "vllm", "lmstudio"))
"""Servers on one's own machine: nothing is charged."""
STANDARD = frozenset(("", "auto", "default", "standard", "standard_only", "on_demand"))
"""Names of service tiers that mean the price itself."""


# -------------------------------------------------------------- the table


@lru_cache(maxsize=4096)
def price_for(provider: str, model: str) -> Price | None:
    """The known price of a model, or None.  ``provider`` is a name from the table of providers."""
    if provider in LOCAL:
        return Price.free()
    shelf = _table().get(SAME_TABLE.get(provider, provider))
    if shelf is None:
        return None
    for name in _spellings(model.lower(), shelf["variants"]):
        row = shelf["models"].get(shelf["aliases"].get(name, name))
        if row is not None:
            return Price(**row)
    return Price.free() if model.lower().endswith(tuple(shelf["free"])) else None


@cache
def _table() -> dict[str, Any]:
    data = pkgutil.get_data("failover", "_prices.json")
    assert data is not None  # it is part of the package
    shelves: dict[str, Any] = json.loads(data)["providers"]
    return shelves


DATED = re.compile(r"[-@]20\d\d-?[01]\d-?[0-3]\d$|-0\d\d$")
"""``-2026-10-01``, ``-20261001``, ``@20261001``; Google's revisions end in ``-001``."""


def _spellings(model: str, variants: list[str]) -> Iterator[str]:
    """The names under which a model may stand in the table, the most specific first."""
    name = model.removeprefix("models/")
    yield name
    plain = next((name.removesuffix(each) for each in variants if name.endswith(each)), name)
    yield plain
    yield DATED.sub("", plain)


# ------------------------------------------------------------- the tariff


class Row(NamedTuple):
    """What one token costs, in nano-dollars times the tariff's scale."""

    fresh: int
    read: int
    write: int
    write_1h: int
    audio_in: int
    text_out: int
    audio_out: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """A compiled ``Price``.

    tiers: (edge, row), the highest edge first.  hours: (start, end, weekdays, row).
    later: (epoch seconds from which it holds, tariff), the latest first.
    """

    scale: int
    base: Row
    tiers: tuple[tuple[int, Row], ...] = ()
    hours: tuple[tuple[int, int, frozenset[int], Row], ...] = ()
    services: Mapping[str, Tariff] = field(default_factory=dict)
    later: tuple[tuple[float, Tariff], ...] = ()
    caches_unasked: bool = False

    def row(self, tokens: int, wall: float) -> Row:
        """The row that holds for a request of so many input tokens at a moment."""
        for above, row in self.tiers:
            if tokens > above:
                return row
        if self.hours:
            days, seconds = divmod(int(wall), DAY)
            minute, weekday = seconds // 60, (days + 3) % 7  # 1 January 1970 was a Thursday
            for start, end, weekdays, row in self.hours:
                if start <= minute < end and weekday in weekdays:
                    return row
        return self.base

    def rows(self, tokens: int) -> list[Row]:
        """Every row that can hold for at most so many input tokens, at whatever hour."""
        rows = [self.base]
        if self.hours:
            rows += [row for *_, row in self.hours]
        if self.tiers:
            rows += [row for above, row in self.tiers if tokens > above]
        return rows


def tariff(price: Price) -> Tariff:
    """The compiled price; made once and kept with the price itself, which never changes."""
    kept: Tariff | None = price.__dict__.get("_tariff")
    if kept is None:
        kept = price.__dict__["_tariff"] = _compiled(price)
    return kept


def _compiled(price: Price) -> Tariff:
    parts: tuple[Price | Tier | Hours, ...] = (price, *price.tiers, *price.hours)
    exact = [_filled(part, price) for part in parts]
    scale = 10 ** max(0, *(-_exponent(amount) for amounts in exact for amount in amounts))
    rows = [Row(*(int(amount * scale) for amount in amounts)) for amounts in exact]
    base, tiered, hourly = rows[0], rows[1 : 1 + len(price.tiers)], rows[1 + len(price.tiers) :]
    return Tariff(
        scale,
        base,
        tuple(reversed([(tier.above, row) for tier, row in zip(price.tiers, tiered, strict=True)])),
        tuple((at.start, at.end, at.weekdays, row) for at, row in zip(price.hours, hourly, strict=True)),
        {name: tariff(other) for name, other in price.services.items()},
        tuple((_midnight(day), tariff(price.later[day])) for day in sorted(price.later, reverse=True)),
        price.caches_unasked,
    )


def _filled(part: Price | Tier | Hours, price: Price) -> tuple[Decimal, ...]:
    """A row in nano-dollars a token; what is not said costs what its nearest kin costs."""
    write = part.input if part.cache_write is None else part.cache_write
    amounts = (
        part.input,
        part.input if part.cache_read is None else part.cache_read,
        write,
        write if part.cache_write_1h is None else part.cache_write_1h,
        part.input if price.audio_input is None else price.audio_input,
        part.output,
        part.output if price.audio_output is None else price.audio_output,
    )
    return tuple(_nano(Decimal(amount)) for amount in amounts)


def _nano(dollars: Decimal) -> Decimal:
    """Nano-dollars a token from dollars a million tokens, to twelve places, rounded up."""
    return (dollars * 1000).quantize(Decimal("1e-12"), ROUND_UP).normalize()


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # settings refuse NaN and infinity
    return exponent


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


# --------------------------------------------------------------- the bill


def cost(price: Price, usage: Usage, wall: float, service: str = "") -> int:
    """Nano-dollars that ``usage`` costs, rounded up; what the provider says it charged wins.

    wall: epoch seconds at which the request was sent.  service: the service tier that the answer names.
    """
    if usage.cost is not None:
        return usage.cost
    book = tariff(price)
    for since, other in book.later:
        if wall >= since:
            book = other
            break
    book = book.services.get(service, book)
    row = book.row(usage.input_tokens, wall)
    long_writes = usage.cache_write_1h_tokens
    short_writes = max(0, usage.cache_write_tokens - long_writes)
    fresh = usage.input_tokens - usage.cache_read_tokens - short_writes - long_writes - usage.audio_input_tokens
    total = (
        max(0, fresh) * row.fresh
        + usage.cache_read_tokens * row.read
        + short_writes * row.write
        + long_writes * row.write_1h
        + usage.audio_input_tokens * row.audio_in
        + max(0, usage.output_tokens - usage.audio_output_tokens) * row.text_out
        + usage.audio_output_tokens * row.audio_out
    )
    return -(-total // book.scale)


@dataclass(frozen=True, slots=True)
class Terms:
    """What in a request changes its price.

    answers: how many are asked for (``n``).  service: the service tier asked for.  caching: it asks for its prompt to
    be cached.  audio: sound goes in or comes out.
    """

    answers: int = 1
    service: str = ""
    caching: bool = False
    audio: bool = False


PLAIN = Terms()


def terms_of(request: Request) -> Terms:
    """The terms a request asks for, in its blocks and in what it adds to the body."""
    extra = request.extra_body
    answers = extra.get("n")
    caching = _asks_to_cache(extra) or any(_asks_to_cache(tool.native) for tool in request.tools)
    audio = "audio" in extra.get("modalities", ())
    for message in request.messages:
        for block in message.content:
            for part in _parts(block) if isinstance(block, ToolResult) else (block,):
                if isinstance(part, Text | Media):
                    caching = caching or part.cache_point
                    audio = audio or (isinstance(part, Media) and part.kind == "audio")
    if not (extra or caching or audio):
        return PLAIN
    return Terms(
        answers if isinstance(answers, int) and answers > 1 else 1,
        str(extra.get("speed") or extra.get("service_tier") or ""),
        caching,
        audio,
    )


def _asks_to_cache(wire: object) -> bool:
    """Whether a piece of a wire's own JSON does so, however deep inside."""
    if isinstance(wire, Mapping):
        return "cache_control" in wire or any(map(_asks_to_cache, wire.values()))
    return isinstance(wire, list | tuple) and any(map(_asks_to_cache, wire))


def _parts(result: ToolResult) -> tuple[Text | Media, ...]:
    return () if isinstance(result.content, str) else result.content


def ceiling(
    price: Price, input_tokens: int, output_tokens: int, terms: Terms = PLAIN, wall: float | None = None
) -> int:
    """Nano-dollars that a request can cost at most.

    input_tokens, output_tokens: upper bounds (of one answer).  wall: epoch seconds at which it is sent; announced
    prices count from a day before they hold, and always where no moment is given.
    """
    book = tariff(price)
    dearest = _dearest(book, input_tokens, output_tokens, terms)
    for since, other in book.later:
        if wall is None or wall >= since - DAY:
            dearest = max(dearest, _dearest(other, input_tokens, output_tokens, terms))
    return dearest * terms.answers


def _dearest(book: Tariff, taken: int, given: int, terms: Terms) -> int:
    """The most that so many tokens can cost by a tariff, or by one of its service tiers that can be meant."""
    own = max([taken * _into(row, book, terms) + given * _out(row, terms) for row in book.rows(taken)])
    dearest = max(-(-own // book.scale), 0)
    asked = book.services.get(terms.service)
    for each in (asked,) if asked else () if terms.service in STANDARD else book.services.values():
        dearest = max(dearest, _dearest(each, taken, given, terms))
    return dearest


def _into(row: Row, book: Tariff, terms: Terms) -> int:
    dearest = max(row.fresh, row.read)
    if terms.caching:
        dearest = max(dearest, row.write, row.write_1h)
    elif book.caches_unasked:
        dearest = max(dearest, row.write)
    return max(dearest, row.audio_in) if terms.audio else dearest


def _out(row: Row, terms: Terms) -> int:
    return max(row.text_out, row.audio_out) if terms.audio else row.text_out
