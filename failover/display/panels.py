"""Parts of pictures that share a time axis: lanes of states, dots upon them, curves, stacks, bands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise

from failover.display import svg
from failover.display.axes import LEFT, Scale, TimeAxis, decades
from failover.display.theme import STATES, colour, target_colour
from failover.history import Attempted, Span

LANE = 34
"""Pixels of height of one lane: dots above, the bar of its state below."""
BAR = 9
MOST_ARROWS = 80
"""Failovers that are drawn as lines; more would only be noise."""

MARKS: Mapping[str, str] = {"ok": "ok", "cached": "cached", "abandoned": "off"}
"""The colour of what an attempt came to; everything else is a failure."""


@dataclass(frozen=True, slots=True)
class Band:
    """Something that went on from ``start`` to ``end``, with a label."""

    start: float
    end: float
    label: str


def bands(axis: TimeAxis, shown: Sequence[Band], top: float, bottom: float) -> str:
    """Shaded times behind the panels, with their labels above."""
    shapes = []
    for band, x, row in _placed(axis, shown):
        left, right, y = axis.x(band.start), axis.x(band.end), top - 13 * row - 4
        shapes.append(
            svg.rect(left, y + 4, max(1.5, right - left), bottom - y - 4, "currentColor", fill_opacity="0.08")
        )
        shapes.append(svg.text(x, y, band.label, quiet=True))
    return "".join(shapes)


def band_room(axis: TimeAxis, shown: Sequence[Band]) -> int:
    """Pixels that the labels of bands take above the panels."""
    return 13 * max((row + 1 for _, _, row in _placed(axis, shown)), default=0) + 8


def _placed(axis: TimeAxis, shown: Sequence[Band]) -> Iterator[tuple[Band, float, int]]:
    """Each band, where its label begins, and in which row; labels that would overlap go into rows of their own."""
    ends: list[float] = []
    for band in sorted(shown, key=lambda each: each.start):
        width = 5.8 * len(band.label)
        begin = min(axis.x(band.start), axis.right - width)
        row = next((place for place, end in enumerate(ends) if end < begin), len(ends))
        ends[row : row + 1] = [begin + width + 10]
        yield band, begin, row


# ------------------------------------------------------------------- lanes


def lanes(axis: TimeAxis, shown: Mapping[str, Sequence[Span]], top: float, *, height: int = LANE) -> str:
    """A bar for each target, coloured by its state."""
    shapes = []
    for place, (name, spans) in enumerate(shown.items()):
        bottom = top + height * (place + 1) - 4
        shapes.append(label(name, place, bottom - BAR / 2 + 4))
        shapes += [_span(axis, span, bottom - BAR) for span in _visible(axis, spans)]
    return "".join(shapes)


def label(name: str, place: int, y: float) -> str:
    """A target's name with the colour it has in stacks."""
    shown = name if len(name) <= 28 else f"{name[:27]}…"
    return svg.tag("circle", cx=6, cy=y - 4, r=4, fill=target_colour(place)) + svg.text(16, y, shown)


def _span(axis: TimeAxis, span: Span, y: float) -> str:
    left, right = axis.x(span.start), axis.x(span.end)
    said = f"{span.state.replace('_', '-')}, {span.end - span.start:.1f} s"
    fill, opacity = colour(STATES[span.state]), "0.45" if span.state == "closed" else None
    return svg.rect(left, y, max(1.5, right - left), BAR, fill, rx=2, fill_opacity=opacity, title=said)


def _visible(axis: TimeAxis, spans: Sequence[Span]) -> Iterable[Span]:
    """What has a width; trials that would be thinner than a pixel take nothing away from what is around them."""
    return (span for span in spans if axis.x(span.end) - axis.x(span.start) >= 0.3 or span.state != "half_open")


def dots(axis: TimeAxis, attempts: Sequence[Attempted], names: Sequence[str], top: float) -> str:
    """What was sent, and how it ended: a dot for an answer, a cross for a failure, a ring for the cache."""
    heights = {name: top + LANE * place + LANE - 4 - BAR - 8 for place, name in enumerate(names)}
    seen: set[tuple[str, int, str]] = set()
    shapes = []
    for each in attempts:
        key = (each.target, round(axis.x(each.at)), each.reason)
        if each.target in heights and (each.sent or each.reason == "cached") and key not in seen:
            seen.add(key)
            shapes.append(_mark(axis.x(each.at), heights[each.target], each))
    return _arrows(axis, attempts, heights) + "".join(shapes)


def _mark(x: float, y: float, attempt: Attempted) -> str:
    fill = colour(MARKS.get(attempt.reason, "bad"))
    said = svg.tag("title", escape(f"{attempt.target}: {attempt.reason}, {attempt.duration:.2f} s"))
    if attempt.reason == "ok":
        return svg.tag("circle", said, cx=x, cy=y, r=3.5, fill=fill)
    if attempt.reason == "cached":
        return svg.tag("circle", said, cx=x, cy=y, r=3, fill="none", stroke=fill, stroke_width="1.5")
    path = f"M{svg.number(x - 3.2)} {svg.number(y - 3.2)}l6.4 6.4m0 -6.4l-6.4 6.4"
    return svg.tag("path", said, d=path, stroke=fill, stroke_width="2", stroke_linecap="round")


def _arrows(axis: TimeAxis, attempts: Sequence[Attempted], heights: Mapping[str, float]) -> str:
    """From each failed attempt to the next one of the same call."""
    sent = sorted((each for each in attempts if each.sent), key=lambda each: (each.call, each.at))
    calls = [list(steps) for _, steps in groupby(sent, key=lambda each: each.call)]
    moves = [pair for steps in calls for pair in pairwise(steps) if pair[0].target != pair[1].target]
    shapes = []
    for one, two in moves[-MOST_ARROWS:]:
        if one.target in heights and two.target in heights:
            x1, y1, x2, y2 = axis.x(one.at), heights[one.target], axis.x(two.at), heights[two.target]
            shapes.append(svg.line(x1, y1, x2, y2, opacity="0.45"))
    return "".join(shapes)


# ------------------------------------------------------------------ curves


def heading(said: str, top: float) -> str:
    """A panel's name, left of it."""
    return svg.text(0, top, said, bold=True)


def value_axis(axis: TimeAxis, scale: Scale, values: Iterable[tuple[float, str]]) -> str:
    """Horizontal lines with their values, left of the panel."""
    return "".join(
        svg.line(axis.left, scale.y(value), axis.right, scale.y(value), opacity="0.16")
        + svg.text(LEFT - 8, scale.y(value) + 4, said, anchor="end", quiet=True)
        for value, said in values
    )


def magnitude_axis(axis: TimeAxis, scale: Scale) -> str:
    return value_axis(axis, scale, ((value, _seconds(value)) for value in decades(scale)))


def _seconds(value: float) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"


def curve(axis: TimeAxis, scale: Scale, points: Sequence[tuple[float, float | None]], stroke: str, width: str) -> str:
    """A line that is broken where nothing is known."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((axis.x(at), scale.y(value)))
    return "".join(svg.polyline(run, stroke, width) for run in runs if run)


def stack(axis: TimeAxis, scale: Scale, starts: Sequence[float], parts: Sequence[tuple[Sequence[float], str]]) -> str:
    """Amounts upon each other, one colour each, as stairs over time."""
    xs = [axis.x(at) for at in starts]
    below = [scale.bottom] * len(xs)
    sums = [0.0] * len(xs)
    shapes = []
    for amounts, fill in parts:
        sums = [total + amount for total, amount in zip(sums, amounts, strict=True)]
        above = [scale.y(total) for total in sums]
        if any(amounts):
            upper, lower = (svg.steps(list(zip(xs, ys, strict=True)), axis.right) for ys in (above, below))
            shapes.append(svg.polygon([*upper, *reversed(lower)], fill, "0.85"))
        below = above
    return "".join(shapes)


def legend(x: float, y: float, entries: Sequence[tuple[str, str]]) -> str:
    """Coloured dots with their meaning, in a row."""
    shapes = []
    for fill, said in entries:
        shapes.append(svg.tag("circle", cx=x + 4, cy=y - 4, r=4, fill=fill))
        shapes.append(svg.text(x + 12, y, said, quiet=True))
        x += 24 + 6.2 * len(said)
    return "".join(shapes)
