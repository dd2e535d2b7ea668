"""Parts of HTML: chips, tables, meters; everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from failover.display.theme import colour


class Safe(str):
    """Markup of our own, which is not escaped again."""

    __slots__ = ()


def said(value: str) -> str:
    return value if isinstance(value, Safe) else escape(value)


def title(value: str) -> str:
    return f'<div class="fo-title">{said(value)}</div>'


def quiet(value: str) -> str:
    return f'<div class="fo-quiet">{said(value)}</div>'


def chips(entries: Iterable[tuple[str, str]]) -> str:
    """Figures with what they are."""
    return f'<div class="fo-chips">{"".join(_chip(value, what) for value, what in entries)}</div>'


def _chip(value: str, what: str) -> str:
    return f'<span class="fo-chip"><b>{said(value)}</b><span class="fo-quiet">{said(what)}</span></span>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,), wide: int | None = None
) -> str:
    """``left``: columns of words; ``wide``: one of sentences."""
    kinds = ["w" if place == wide else "l" if place in left else "r" for place in range(len(head))]
    names = zip(head, kinds, strict=True)
    top = "".join(f'<th class="{"r" if kind == "r" else "l"}">{said(name)}</th>' for name, kind in names)
    body = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in rows)
    return f'<div class="fo-scroll"><table class="fo"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(f'<td class="{kind}">{said(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))


def dot(fill: str, value: str) -> Safe:
    return Safe(f'<span class="fo-dot" style="background:{fill}"></span>{said(value)}')


def bar(value: str, share: float, fill: str, width: int = 46) -> Safe:
    """A figure with a bar beside it."""
    pixels = round(max(0.0, min(1.0, share)) * width)
    inner = f'<span class="fo-fill" style="width:{pixels}px;background:{fill}"></span>'
    return Safe(f'{said(value)}<span class="fo-bar" style="width:{width}px">{inner}</span>')


def meter(parts: Iterable[tuple[float, str]]) -> str:
    """Shares of a whole, side by side."""
    return f'<div class="fo-meter">{"".join(_share(share, name) for share, name in parts)}</div>'


def _share(share: float, name: str) -> str:
    return f'<span style="width:{max(0.0, min(1.0, share)):.2%};background:{colour(name)}"></span>'
