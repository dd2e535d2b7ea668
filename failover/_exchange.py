"""One HTTP answer, read piece by piece, without I/O: status and headers, then bytes, then its end.

Whether the body is a stream, one JSON document or an error is decided by the status and by the first bytes, not by
what was asked for or by the content type: servers answer JSON to a stream request, and HTML to anything.
Sizes are bounded, so that no body, however large, stalls an event loop: error bodies are read up to 64 KiB, whole
answers and single events up to ``MAX_ANSWER`` and ``MAX_EVENT``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from failover._checked import without_userinfo
from failover.dialects.base import Decoder, Dialect, Model
from failover.dialects.sse import EventTooLargeError, Splitter
from failover.failures import classify, rate_hint, retry_after
from failover.types import Answer, Chunk, Failure, Kind, Outcome

MAX_ERROR = 64 * 1024
MAX_ANSWER = 8 * 1024 * 1024
MAX_EVENT = 4 * 1024 * 1024

NOTHING: list[Chunk] = []


class Exchange:
    """Reads one answer.  ``done`` turns True when no more bytes are wanted.  ``url``: who was asked."""

    __slots__ = (
        "_body",
        "_decoder",
        "_dialect",
        "_failure",
        "_headers",
        "_model",
        "_size",
        "_splitter",
        "_status",
        "_url",
        "_wall",
        "done",
        "failed",
    )

    def __init__(
        self, dialect: Dialect, model: Model, status: int, headers: Mapping[str, str], wall: float, url: str = ""
    ) -> None:
        self._url = url
        self._dialect = dialect
        self._model = model
        self._status = status
        self._headers = headers
        self._wall = wall
        self._body: list[bytes] = []
        self._size = 0
        self._decoder: Decoder | None = None
        self._splitter: Splitter  # made with the decoder: most answers come whole
        self._failure: Failure | None = None
        self.failed = not 200 <= status < 300
        self.done = False

    @property
    def streamed(self) -> bool:
        """It turned out to be a stream, whose chunks were given already."""
        return self._decoder is not None

    @property
    def ended(self) -> bool:
        """The terminal marker was read; only usage may follow."""
        return self._decoder is not None and self._decoder.done

    def whole(self, data: bytes) -> None:
        """A piece of a body that is read as one."""
        limit = MAX_ERROR if self.failed else MAX_ANSWER
        self._body.append(data[: limit + 1 - self._size])
        self._size += len(data)
        self.done = self._size > limit

    def feed(self, data: bytes) -> list[Chunk]:
        """A piece of a body that should be a stream; the chunks it completes."""
        if self._decoder is None:
            self.whole(data)
            if self.failed or not (start := self._start()) or start in b"{[<":
                return NOTHING
            self._decoder, self._splitter = self._dialect.decoder(self._model), Splitter(MAX_EVENT)
            data, self._body = b"".join(self._body), []
        return self._events(self._decoder, self._splitter.feed, data)

    def end(self) -> Outcome:
        """The bytes ended as they should; what came of it."""
        return self._dress(self._outcome())

    def last(self) -> list[Chunk]:
        """Chunks that the end of the bytes completes: of a final event without its blank line."""
        if self._decoder is None or self._failure is not None:
            return NOTHING
        return self._events(self._decoder, lambda _: self._splitter.end(), b"")

    def broken(self, failure: Failure) -> Outcome:
        """The bytes did not end as they should: the failure, with what had arrived.

        Where the terminal marker had been read, nothing is missing: that is the answer.
        """
        if self._decoder is None:
            return self._dress(failure)
        if self._decoder.done:
            return self.end()
        return self._dress(replace(failure, partial=self._decoder.partial()))

    def _start(self) -> bytes:
        """The first byte that is neither blank nor a byte-order mark."""
        return b"".join(self._body).lstrip(b" \t\r\n\xef\xbb\xbf")[:1]

    def _events(self, decoder: Decoder, split: Callable[[bytes], list[bytes]], data: bytes) -> list[Chunk]:
        try:
            chunks = [chunk for event in split(data) for chunk in decoder.feed(event)]
        except EventTooLargeError as error:
            self._failure = Failure(Kind.OVERSIZED, str(error), self._status, partial=decoder.partial())
            chunks = NOTHING
        self.done = self._failure is not None or decoder.failure is not None
        return chunks

    def _outcome(self) -> Outcome:
        if self._decoder is not None:
            return self._failure or self._decoder.failure or self._decoder.end()
        body = b"".join(self._body)
        if self.failed:
            return classify(self._status, self._headers, body[:MAX_ERROR], self._wall)
        if len(body) > MAX_ANSWER:
            return Failure(Kind.OVERSIZED, f"an answer of more than {MAX_ANSWER} bytes", self._status)
        return self._dialect.parse(body, self._model)

    def _dress(self, outcome: Outcome) -> Outcome:
        """Adds what the headers say: limits, waiting time, request id."""
        hint = rate_hint(self._headers, self._wall)
        if isinstance(outcome, Answer):
            return outcome if hint is None else replace(outcome, hint=hint)
        after = outcome.retry_after
        if after is None:
            after = retry_after(self._headers, None, self._wall)
        ident = outcome.request_id or self._headers.get("x-request-id") or self._headers.get("request-id")
        return replace(
            outcome,
            message=self._placed(outcome),
            hint=hint,
            retry_after=after,
            request_id=ident,
            status=outcome.status or self._status,
        )

    def _placed(self, failure: Failure) -> str:
        """What a failure says; where the address is at fault, also which one it was."""
        if failure.kind not in (Kind.WRONG_URL, Kind.REDIRECT) or not self._url:
            return failure.message
        asked = f"POST {without_userinfo(self._url)}"
        if failure.kind is Kind.REDIRECT and (location := self._headers.get("location")):
            asked += f" is sent on to {without_userinfo(location)}"
        return f"{failure.message}; {asked}" if failure.message else asked
