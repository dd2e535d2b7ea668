"""How things show themselves: a picture in Jupyter, text in a terminal.

Every view is made of plain data and returns an HTML fragment with inline SVG: no script, nothing is fetched, and
everything that came from outside is escaped.  Text and lines take the page's own colour, so they are readable on any
ground; the few colours that mean something have a shade for light and one for dark themes (see ``theme``).
"""

from __future__ import annotations

from failover.display.views import view


def bundle(shown: object) -> dict[str, str]:
    """What Jupyter shows of ``shown``, by MIME type."""
    text, html = view(shown)
    return {"text/plain": text, "text/html": html}
