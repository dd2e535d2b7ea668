"""Just enough SVG: shapes as strings, everything escaped, numbers short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Number = int | float


def number(value: Number) -> str:
    """With one decimal where it needs one."""
    return f"{value:.1f}".removesuffix(".0")


def tag(name: str, *children: str, **attributes: str | Number | None) -> str:
    """An element; underscores in names of attributes become dashes, None leaves one out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{said}>{''.join(children)}</{name}>" if children else f"<{name}{said}/>"


def picture(width: Number, height: Number, *shapes: str, title: str) -> str:
    """A whole picture with its description for those who do not see it."""
    return tag(
        "svg",
        tag("title", escape(title)),
        *shapes,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        font_size=11,
    )


def text(x: Number, y: Number, said: str, *, anchor: str = "start", quiet: bool = False, bold: bool = False) -> str:
    return tag(
        "text",
        escape(said),
        x=x,
        y=y,
        text_anchor=None if anchor == "start" else anchor,
        opacity="0.66" if quiet else None,
        font_weight="600" if bold else None,
    )


def rect(x: Number, y: Number, width: Number, height: Number, fill: str, **more: str | Number | None) -> str:
    title = more.pop("title", None)
    children = [tag("title", escape(str(title)))] if title else []
    return tag("rect", *children, x=x, y=y, width=max(0, width), height=max(0, height), fill=fill, **more)


def line(x1: Number, y1: Number, x2: Number, y2: Number, *, opacity: str = "0.2", dash: str | None = None) -> str:
    """A quiet line in the colour of the text."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="currentColor", stroke_opacity=opacity, stroke_dasharray=dash)


def polyline(points: Iterable[tuple[Number, Number]], stroke: str, width: str = "1.5") -> str:
    return tag(
        "polyline",
        points=_points(points),
        fill="none",
        stroke=stroke,
        stroke_width=width,
        stroke_linejoin="round",
        stroke_linecap="round",
    )


def polygon(points: Iterable[tuple[Number, Number]], fill: str, opacity: str | None = None) -> str:
    return tag("polygon", points=_points(points), fill=fill, fill_opacity=opacity)


def _points(points: Iterable[tuple[Number, Number]]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)


def steps(points: Sequence[tuple[Number, Number]], until: Number) -> list[tuple[Number, Number]]:
    """A staircase: each value holds until the next."""
    stairs: list[tuple[Number, Number]] = []
    for (x, y), (following, _) in zip(points, (*points[1:], (until, 0)), strict=True):
        stairs += ((x, y), (following, y))
    return stairs
