"""Server-sent events: bytes as they arrive, cut anywhere, to the data of whole events.

The standard's rules (WHATWG HTML, section 9.2) as far as data goes: lines end in LF, CRLF or CR; an event ends at
a blank line; ``data:`` with or without one space after it; several data lines are joined by LF; comments and all
other fields are skipped; a byte-order mark at the very start is ignored.  Two differences, both for real servers:
an event without any data is not handed on, and a last event that lacks its blank line is (``end``).

What comes out does not depend on how the bytes were cut, and the work is linear in their number: line ends are made
LF by whole-buffer replacement, pieces of an unfinished event are joined only once it is finished, and Python sees
one event at a time, never one line.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"
PREFIX = b"data: "
FIELD = b"data:"
LF = 10
WHOLE = (b"}", b"]")


class EventTooLargeError(Exception):
    """One event is larger than the limit.  Everything before it was returned."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"a server-sent event of more than {limit} bytes")


class Splitter:
    """Splits one stream into events.  ``limit`` is the size in bytes that one event may have."""

    __slots__ = ("_after_cr", "_after_lf", "_limit", "_over", "_pieces", "_size", "_start", "_usual")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # the unfinished event, without its carriage returns
        self._size = 0
        self._after_lf = False  # the unfinished event ends in a line end, so one more finishes it
        self._after_cr = False  # the last byte was a CR, so an LF that follows belongs to it
        self._over = False
        self._usual = False  # nothing is pending, so bytes that end in a blank line are whole events
        self._start: bytes | None = b""  # the first bytes, until it is known whether they are a byte-order mark

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that ``data`` completes.

        Raises ``EventTooLargeError`` at an event beyond the limit: at once when it is the first one here, else on
        the next call, so that nothing before it is lost.
        """
        if self._usual and data.endswith(b"\n\n") and b"\r" not in data:
            return self._within(data.rstrip(b"\n").split(b"\n\n"))
        if self._over:
            raise EventTooLargeError(self._limit)
        if self._start is not None:
            data = self._without_mark(data)
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        if not self._pieces:
            data = data.lstrip(b"\n")
        return self._collected(data) if data else []

    def _collected(self, data: bytes) -> list[bytes]:
        self._pieces.append(data)
        if b"\n\n" not in data and not (self._after_lf and data[0] == LF):
            self._after_lf = data[-1] == LF
            self._size += len(data)
            self._usual = False
            return self._within([])
        *events, rest = b"".join(self._pieces).split(b"\n\n")
        rest = rest.lstrip(b"\n")
        self._pieces = [rest] if rest else []
        self._after_lf = rest.endswith(b"\n")
        self._size = len(rest)
        self._usual = not rest
        return self._within(events)

    def end(self) -> list[bytes]:
        """The bytes are over: the data of an event that still lacked its blank line.

        Where even its line has no end, it was cut, unless it ends as JSON does.
        """
        if self._over:
            raise EventTooLargeError(self._limit)
        rest = (self._start or b"") + b"".join(self._pieces)
        self._pieces = []
        data = _data(rest)
        return [data] if data and (self._after_lf or data.endswith(WHOLE)) else []

    def _within(self, events: list[bytes]) -> list[bytes]:
        """The data of ``events``, up to the first that is too large."""
        limit = self._limit
        found: list[bytes] = []
        for event in events:
            if len(event) > limit and len(event.lstrip(b"\n")) > limit:
                return self._stopped(found)
            if data := event[6:] if event.startswith(PREFIX) and b"\n" not in event else _data(event):
                found.append(data)
        return self._stopped(found) if self._size - self._after_lf > limit else found

    def _stopped(self, found: list[bytes]) -> list[bytes]:
        self._over = True
        self._usual = False
        self._pieces = []
        if not found:
            raise EventTooLargeError(self._limit)
        return found

    def _without_mark(self, data: bytes) -> bytes:
        start = (self._start or b"") + data
        if len(start) < len(BOM) and BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(BOM)

    def _with_lf(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(event: bytes) -> bytes:
    """The data lines of one event, joined; empty where there are none."""
    lines = event.split(b"\n")
    return b"\n".join([line[5:].removeprefix(b" ") for line in lines if line.startswith(FIELD) or line == b"data"])
