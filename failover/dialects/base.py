"""What a wire format has to be able to do.  Pure: bytes and values in, values out.

A ``Dialect`` renders a ``Request`` for one ``Model`` as a ``Wire`` (path, headers, body) and reads what comes
back: a whole body with ``parse``, a stream with a fresh ``Decoder``, which is fed the data of one server-sent
event at a time.  Answers are judged where they are read: whatever cannot be believed is a ``Failure``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from failover.facts import Facts
from failover.types import Answer, Chunk, Failure, Outcome, Request


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of the PROVIDERS table: what is the same for every model of a vendor or server.

    key_env: environment variables that may hold the key, first found wins; empty: no key is needed.
    auth: header name and its format, ``("Authorization", "Bearer {key}")``.
    free_check: what can be asked for with the key and costs nothing, after the base URL.
    quirks: wire differences inside the dialect, by name, e.g. ``{"max_tokens": "max_completion_tokens"}``.
    """

    name: str
    base_url: str
    dialect: str
    key_env: tuple[str, ...] = ()
    base_url_env: str | None = None
    auth: tuple[str, str] = ("Authorization", "Bearer {key}")
    headers: Mapping[str, str] = field(default_factory=dict)
    quirks: Mapping[str, Any] = field(default_factory=dict)
    default_model: str | None = None
    free_check: str = "/models"


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one provider, as a dialect needs to know it.

    ``id`` is what is sent; ``author`` is ``provider:id``, the identity under which its own turns are recognised.
    ``learned`` holds parameters that this model refused before (see ``adapt``), by name: None to drop, else the
    name to use instead.
    """

    id: str
    provider: Provider
    facts: Facts
    api_version: str | None = None
    end_marker: bool = True
    learned: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def author(self) -> str:
        return f"{self.provider.name}:{self.id}"


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it leaves: ``path`` goes after the base URL; ``notes`` says what was dropped or clamped, and why.

    ``tool_names`` holds the tools whose names the wire could not take: name on the wire → the caller's own.  Whoever
    sends the wire gives what comes back its names again (``replay.with_own_names``).
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tool_names: Mapping[str, str] = field(default_factory=dict)


class Decoder(Protocol):
    """Reads one stream.  ``feed`` takes the data of one event and returns the chunks it completes.

    A tool call is returned only when whole; while its fragments arrive, empty chunks say that it grows.
    ``failure`` is set once the stream has said that it failed; ``done`` once its terminal marker was read
    (usage may still follow).  ``end`` is called at the end of the bytes (or at an error, with what was read so far
    available as ``partial()``) and gives the outcome.
    """

    done: bool
    failure: Failure | None

    def feed(self, data: bytes) -> list[Chunk]: ...
    def end(self) -> Outcome: ...
    def partial(self) -> Answer: ...


class Dialect(Protocol):
    """A wire format, as a stateless object."""

    name: str

    def render(self, request: Request, model: Model, stream: bool) -> Wire: ...
    def parse(self, body: bytes, model: Model) -> Outcome: ...
    def decoder(self, model: Model) -> Decoder: ...
