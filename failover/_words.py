"""Figures as people write them, with their units; tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

NOTHING = "-"


def count(number: int) -> str:
    return f"{number:,}"


def share(value: float | None) -> str:
    """A percentage that never rounds up to 100 nor down to 0."""
    if value is None:
        return NOTHING
    if value in (0.0, 1.0):
        return f"{value:.0%}"
    digits = 3 if value > 0.999 else 2 if value > 0.99 or value < 0.1 else 1
    least = 10.0**-digits
    return f"{min(100.0 - least, max(least, value * 100)):.{digits}f}%"


def amount(value: float | None, unit: str) -> str:
    """Three significant digits; seconds below one in milliseconds."""
    if value is None:
        return NOTHING
    if unit == "s" and value < 1.0:
        return f"{value * 1000:.{0 if value >= 0.01 else 1}f} ms"
    if unit == "s" and value >= 120.0:
        return duration(value)
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def money(dollars: float) -> str:
    """US dollars: cents from one on, else as many digits as tell something."""
    if dollars == 0 or dollars >= 1:
        return f"${dollars:,.2f}"
    whole, _, rest = f"{dollars:.{4 if dollars >= 0.01 else 6}f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


def duration(seconds: float) -> str:
    """The two largest units: "1 d 2 h", "3 min 20 s"."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left, parts = round(seconds), []
    for name, size in units:
        whole, left = divmod(left, size)
        if whole:
            parts.append(f"{whole} {name}")
    return " ".join(parts[:2]) or f"{seconds:.1f} s"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: first and last column to the left, the others to the right."""
    table = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(head))]
    last = len(head) - 1
    for number, row in enumerate(table):
        cells = (
            text.ljust(width) if place in (0, last) else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)
