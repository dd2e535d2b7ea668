"""What a server does with one request, as a list of things to do, without doing any of them.

Replies and faults yield steps; the loopback server and the in-process transports perform them, each in its own way.
So a fault is written once and means the same on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from failover.testing.world import Tokens

Framing = Literal["length", "chunked", "close"]


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers.

    framing: ``length`` (a Content-Length is among the headers, true or not), ``chunked``, or ``close`` (the body
    lasts until the connection ends).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    framing: Framing = "length"


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the body; each reaches the wire as a write of its own."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing until the client gives up."""


@dataclass(frozen=True, slots=True)
class Interim:
    """A 1xx response before the real one."""

    status: int


@dataclass(frozen=True, slots=True)
class End:
    """The response is complete; the connection stays open unless its head said otherwise."""


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends properly (FIN), whatever is still missing."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The connection is reset (RST)."""


@dataclass(frozen=True, slots=True)
class Charge:
    """From here on these tokens are billed: they were produced, whether or not the client takes them."""

    tokens: Tokens


Step = Head | Data | Wait | Stall | Interim | End | Close | Abort | Charge
Steps = Iterator[Step]
