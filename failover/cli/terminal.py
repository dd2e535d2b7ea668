"""What commands print with: colours where somebody looks, tables within the width, JSON where it is asked for."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from typing import Any, TextIO

from failover.errors import AllTargetsFailed, FailoverError

CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
MARKS = {"good": ("✓", "+", "green"), "bad": ("✗", "x", "red"), "unsure": ("!", "!", "yellow")}
STATES = {"closed": "green", "half_open": "yellow", "open": "red", "disabled": "red"}


def coloured(stream: TextIO) -> bool:
    """A terminal, and nobody asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    return f"\033[{CODES[colour]}m{text}\033[0m" if coloured(stream or sys.stdout) else text


def drawn(text: str, plain: str) -> str:
    """``text``, where the output's encoding has it."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return text


def mark(name: str) -> str:
    text, plain, colour = MARKS[name]
    return paint(drawn(text, plain), colour)


def state(name: str, width: int) -> str:
    return paint(name.replace("_", "-").ljust(width), STATES[name])


def width() -> int:
    return min(100, shutil.get_terminal_size((80, 24)).columns)


def note(text: str, indent: int) -> str:
    """A sentence under a row, within the width."""
    return textwrap.fill(text, width(), initial_indent=" " * indent, subsequent_indent=" " * indent)


def shortened(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}{drawn('…', '.')}"


def bar(share: float, size: int = 20) -> str:
    filled = min(size, max(0, round(share * size)))
    return drawn("█", "#") * filled + drawn("░", "-") * (size - filled)


def dollars(amount: Decimal | float) -> str:
    """Cents, or as many digits as show that it is not nothing."""
    return f"${amount:.2f}" if amount == 0 or amount >= Decimal("0.1") else f"${amount:.6f}"


def duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# -------------------------------------------------------------------- JSON


def show_json(what: Any) -> None:
    print(json.dumps(what, default=_plain, indent=2))


def line_json(what: Any) -> str:
    return json.dumps(what, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


# ------------------------------------------------------------------- errors


def told(error: Exception) -> dict[str, Any]:
    """An error as plain data."""
    known: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, AllTargetsFailed):
        known |= {"trail": error.trail, "retry_in": error.retry_at}
    return known


def fail(error: FailoverError, as_json: bool) -> None:
    """Say why it did not succeed: where JSON is read, as JSON; else on standard error."""
    sys.stdout.flush()
    if as_json:
        show_json({"error": told(error)})
    else:
        print(f"{paint('failover:', 'red', sys.stderr)} {error}", file=sys.stderr)


def leave_pipe() -> None:
    """Nobody reads any more: let nothing be written at exit either (as Python's manual has it)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines of columns; those in ``right`` are numbers."""
    lines = [list(head), *map(list, rows)]
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(size) if place in right else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(line, sizes, strict=True))
        ).rstrip()
        for line in lines
    ]
