"""How things show themselves: a picture in Jupyter, text in a terminal."""

from __future__ import annotations


def bundle(shown: object) -> dict[str, str]:
    """What Jupyter shows of ``shown``, by MIME type."""
    return {"text/plain": str(shown)}
