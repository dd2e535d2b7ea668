"""Where things lie in a picture: a common time axis, scales, round ticks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from failover.display import svg

WIDTH = 840
LEFT = 190
RIGHT = 12
TICK_ROOM = 90
"""Pixels a label of the time axis may take."""

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
HOURS = (3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """From ``start`` to ``end`` seconds, across the picture between its margins."""

    start: float
    end: float
    left: int = LEFT
    right: int = WIDTH - RIGHT

    def x(self, at: float) -> float:
        share = (at - self.start) / (self.end - self.start)
        return self.left + (self.right - self.left) * min(1.0, max(0.0, share))

    @property
    def width(self) -> float:
        return self.end - self.start

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Pixels and labels, counted from the start."""
        most = max(1, int((self.right - self.left) / TICK_ROOM))
        step = next((each for each in (*STEPS, *HOURS) if self.width / each <= most), self.width)
        for place in range(floor(self.width / step) + 1):
            yield self.x(self.start + place * step), elapsed(place * step, step)

    def draw(self, top: float, bottom: float) -> str:
        """Vertical lines and their labels below."""
        shapes = [
            svg.line(x, top, x, bottom, opacity="0.13") + svg.text(x, bottom + 14, label, anchor="middle", quiet=True)
            for x, label in self.ticks()
        ]
        return "".join(shapes)


def elapsed(seconds: float, step: float) -> str:
    """Time since the beginning in the unit of the axis: "12 s", "3 min", "7 h", "day 2"."""
    if step >= 86_400:
        return f"day {round(seconds / 86_400)}"
    if step >= 3600:
        return f"{seconds / 3600:.0f} h"
    if step >= 60:
        return f"{seconds / 60:.0f} min"
    if step >= 1 or not seconds:
        return f"{seconds:.0f} s"
    if step >= 0.1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from ``low`` to ``high``, from ``bottom`` up to ``top`` pixels; by magnitude where ``low`` is above 0."""

    low: float
    high: float
    top: float
    bottom: float

    def y(self, value: float) -> float:
        if self.low > 0:
            share = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = value / self.high
        return self.bottom - (self.bottom - self.top) * min(1.0, max(0.0, share))


def linear(values: Sequence[float], top: float, bottom: float) -> Scale:
    """From zero to a round value above the highest."""
    return Scale(0.0, above(max(values, default=1.0) or 1.0), top, bottom)


def magnitudes(values: Sequence[float], top: float, bottom: float) -> Scale:
    """Whole decades around the values."""
    low, high = min(values, default=1.0), max(values, default=10.0)
    first = 10.0 ** floor(log10(max(low, 1e-4)))
    last = 10.0 ** ceil(log10(max(high, first * 1.01)))
    return Scale(first, last, top, bottom)


def above(value: float) -> float:
    """The next round number."""
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in ROUND if step * power >= value * 0.999)


def decades(scale: Scale) -> Iterator[float]:
    value = scale.low
    while value <= scale.high * 1.001:
        yield value
        value *= 10
