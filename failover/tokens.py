"""How many tokens a request takes: at most, at least, and probably.  No vocabulary is needed for any of it.

At most, for budgets: a byte-level or byte-fallback tokenizer never makes more tokens than the text has bytes in
UTF-8 (the densest text measured, rare Unicode in o200k, takes 0.86 tokens a byte).  On top come the tokens that are
not in the text: the frame of every message, the preamble of a chat template, the hidden prompt that explains tools.
Images are billed by their size in pixels, never by their bytes, so each counts the most its provider bills for one.
Other media count their decoded bytes.  What cannot be seen (a URL, a file id) counts a whole window.  Whoever knows
the window of a model may clip all of it there: what does not fit is refused, and a refusal is not billed.

At least, for passing over a target whose window is too small: no writing that was measured has more than 8.6 bytes a
token.  (Long runs of blanks have; they are not writing.)

Probably, for rate limits: bytes divided by a ratio that is learnt from the usage that answers report.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from failover.types import Block, Media, Request, Text, Thinking, Tool, ToolCall, ToolResult

PREAMBLE = 128
"""A chat template's own words: about 70 tokens for gpt-oss on Groq, 40 for Llama's dates."""
PER_MESSAGE = 16
HIDDEN_PROMPT = 1_024
"""What a provider writes into the prompt about tools or a schema (Anthropic: up to some 800 tokens)."""
PER_CALL = 48
"""The JSON around one tool, tool call or tool result."""
UNSEEN = 1_050_000
"""Stands for media that only the provider can see: the largest window in wide use."""
SMALLEST_DOCUMENT = 8_000
"""A page is billed as its text (up to 3,000 tokens) and its picture (up to 4,784), however few bytes it has."""
SPARSEST = 9
"""More bytes than any writing has in a token; Russian has 8.6 in o200k."""


class ImageCap(NamedTuple):
    """The most tokens one image is billed, by the ``detail`` asked for."""

    low: int
    high: int
    other: int  # none given, "auto" or "original"


IMAGE_CAPS: Mapping[str, ImageCap] = {
    "anthropic": ImageCap(4_900, 4_900, 4_900),  # 4,784 at the highest resolution it keeps, and a frame
    "gemini": ImageCap(2_600, 2_600, 2_600),  # 1,120 by default, 2,240 at ultra high, ten tiles of 258 in the 2.x
    "mistral": ImageCap(3_200, 3_200, 3_200),  # 1,540 pixels a side in patches of 28
    "": ImageCap(3_000, 3_800, 36_000),
}
"""By provider; the rest is as OpenAI bills: 32-pixel patches times at most 2.46 where there is a budget of 1,536
patches, times 1.2 where there is one of 2,500 (high); since GPT-5.6 ``auto`` keeps an image as it is, up to 30,000
patches.  Source: its guide to images and vision, September 2026.  The retired gpt-4o-mini billed up to 48,169."""

TYPICAL_IMAGE = 1_500
TYPICAL_BYTES = {"document": 40, "audio": 500, "video": 400}
"""Bytes a token in media as they usually come: scanned pages, 128 kbit/s sound, 1 Mbit/s pictures."""


# ------------------------------------------------------------- measuring


@dataclass(slots=True)
class Size:
    """What of a request makes tokens.

    text: UTF-8 bytes of everything written.  frame: tokens around it.  images: the details asked for, one each.
    media: decoded bytes of other media, by kind.  unseen: how many are not here to be measured.
    """

    text: int = 0
    frame: int = PREAMBLE
    images: list[str] = field(default_factory=list)
    media: list[tuple[str, int]] = field(default_factory=list)
    unseen: int = 0

    def upper_bound(self, provider: str = "", window: int | None = None) -> int:
        """Input tokens that can be billed at most.  ``provider`` may lower what images count; ``window`` clips."""
        cap = IMAGE_CAPS.get(provider, IMAGE_CAPS[""])
        bound = self.text + self.frame + self.unseen * UNSEEN
        for each in self.images:
            bound += cap.low if each == "low" else cap.high if each == "high" else cap.other
        for _, size in self.media:
            bound += max(size, SMALLEST_DOCUMENT)
        return bound if window is None else min(bound, window)

    def lower_bound(self) -> int:
        """Input tokens that it takes at least."""
        return self.text // SPARSEST

    def estimate(self, ratio: float) -> int:
        """Input tokens that it probably takes, at ``ratio`` bytes a token."""
        tokens = estimate(self.text, ratio) + self.frame // 4 + (len(self.images) + self.unseen) * TYPICAL_IMAGE
        for kind, size in self.media:
            tokens += size // TYPICAL_BYTES[kind]
        return tokens


def measure(request: Request) -> Size:
    """The size of a request; a prompt of 100 kB takes some microseconds."""
    size = Size(frame=PREAMBLE + PER_MESSAGE * len(request.messages))
    for message in request.messages:
        size.text += len(message.name.encode("utf-8", "surrogatepass")) if message.name else 0
        for block in message.content:
            if type(block) is Text and block.text.isascii() and not block.extra:
                size.text += len(block.text)
            else:
                _add(size, block)
    for tool in request.tools:
        size.text += _tool(tool)
    if request.response_format is not None:
        size.text += _json(request.response_format.schema)
    if request.tools or request.response_format is not None:
        size.frame += HIDDEN_PROMPT
    if request.extra_body:
        size.text += _json(request.extra_body)
    return size


def _add(size: Size, block: Block) -> None:
    match block:
        case Text(text=text, extra=extra):
            size.text += _utf8(text) + (_json(extra) if extra else 0)
        case Media():
            _add_media(size, block)
        case Thinking(text=text, signature=signature, redacted=redacted, extra=extra):
            size.text += _utf8(text) + _utf8(signature or "") + _utf8(redacted or "") + (_json(extra) if extra else 0)
        case ToolCall(id=id, name=name, arguments=arguments):
            size.text += _utf8(id) + _utf8(name) + _utf8(arguments) + PER_CALL
        case ToolResult(content=content):
            size.text += PER_CALL
            for part in (Text(content),) if isinstance(content, str) else content:
                _add(size, part)


def _add_media(size: Size, media: Media) -> None:
    if media.kind == "image":
        size.images.append(media.detail or "auto")
    elif media.data is not None:
        size.media.append((media.kind, len(media.data) * 3 // 4))
    else:
        size.unseen += 1


def _tool(tool: Tool) -> int:
    said = _utf8(tool.name) + _utf8(tool.description) + _json(tool.parameters)
    return said + PER_CALL + (_json(tool.native) if tool.native else 0)


def _utf8(text: str) -> int:
    """Bytes of a text in UTF-8; halves of surrogate pairs, which UTF-8 does not know, count three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _json(value: Any) -> int:
    return _utf8(_ENCODER.encode(value))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=_plain)


def estimate(text_bytes: int, ratio: float) -> int:
    """Tokens that a text of so many bytes probably takes, at ``ratio`` bytes a token."""
    return ceil(text_bytes / ratio)


# --------------------------------------------------------------- learning


class Ratio:
    """How many bytes of a model's requests make one token, learnt from the usage it reports.

    ``value`` is the 10th percentile of the last 50 answers, so that nine requests in ten take no more than was
    estimated; it starts at ``start`` (3.0 suits OpenAI-like vocabularies, 2.4 Claude 5) and counts as four answers
    by itself.  Short requests teach nothing, since their frame outweighs their text, and no answer moves the ratio
    beyond what texts have.
    """

    __slots__ = ("_seen", "value")

    WINDOW = 50
    PERCENTILE = 10
    LEAST_BYTES = 1_000
    RANGE = (1.0, 5.0)

    def __init__(self, start: float = 3.0) -> None:
        self.value = start
        self._seen: deque[float] = deque([start] * 4, self.WINDOW)

    def learn(self, size: int, tokens: int) -> None:
        """An answer reported ``tokens`` of input for a request of ``size`` bytes."""
        if size < self.LEAST_BYTES or tokens <= 0:
            return
        low, high = self.RANGE
        self._seen.append(min(high, max(low, size / tokens)))
        ordered = sorted(self._seen)
        self.value = ordered[(len(ordered) - 1) * self.PERCENTILE // 100]
