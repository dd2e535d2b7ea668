"""JSON as JavaScript servers write it when they cut a string inside a surrogate pair.

A character beyond the basic plane is two UTF-16 units.  A server that slices its text by units, to stream it, sends
``"\\ud83d"`` in one event and ``"\\ude00"`` in the next: two strings that strict parsers refuse, and that no UTF-8 text
may hold.  ``load`` reads them all the same; ``mended`` joins the halves once they stand side by side.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json


def load(data: bytes) -> Any:
    """The JSON value in ``data``.  Raises ``ValueError``.  Its strings may hold half a surrogate pair where it does."""
    try:
        return from_json(data)
    except ValueError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_torn(text: str) -> bool:
    """There is half a pair in it somewhere."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def mended(text: str) -> str:
    """``text`` with its pairs joined and lone halves replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parted(text: str) -> tuple[str, str]:
    """``text`` mended, without a first half at its very end, and that half: it waits for what comes next."""
    if "\ud800" <= text[-1:] <= "\udbff":
        return mended(text[:-1]), text[-1]
    return mended(text), ""
