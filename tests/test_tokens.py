"""Bytes bound tokens from above; nothing bounds an image but its provider's cap."""

from __future__ import annotations

import base64
import os
import string
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import tokens
from failover.tokens import (
    HIDDEN_PROMPT,
    IMAGE_CAPS,
    PER_MESSAGE,
    PREAMBLE,
    SMALLEST_DOCUMENT,
    UNSEEN,
    Ratio,
    estimate,
    measure,
)
from failover.types import (
    JsonFormat,
    Media,
    Message,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

FRAME = PREAMBLE + PER_MESSAGE


@cache
def counter() -> Callable[[str], int]:
    """Counts tokens with the cl100k vocabulary that llama-index-core carries; nothing is downloaded."""
    tiktoken = pytest.importorskip("tiktoken")
    core = pytest.importorskip("llama_index.core")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(core.__file__).parent / "_static" / "tiktoken_cache")
    encoding = tiktoken.get_encoding("cl100k_base")
    return lambda text: len(encoding.encode_ordinary(text))


def asked(*content: Any, **options: Any) -> Request:
    return Request((Message("user", content),), **options)


def upper_bound(request: Request, provider: str = "", window: int | None = None) -> int:
    return measure(request).upper_bound(provider, window)


def lower_bound(request: Request) -> int:
    return measure(request).lower_bound()


def text_bytes(text: str) -> int:
    return upper_bound(asked(Text(text))) - FRAME


NASTY = {
    "english": "The quick brown fox jumps over the lazy dog. " * 20,
    "emoji": "🤷🏽‍♀️👩‍👩‍👧‍👦🏴󠁧󠁢󠁷󠁬󠁳󠁿" * 20,
    "rare": "".join(map(chr, range(0x13000, 0x13200))),
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘" * 9,
    "private": "".join(map(chr, range(0xE000, 0xE200))),
    "controls": "".join(map(chr, range(32))) * 9,
    "chinese": "模型的上下文窗口决定了它能读多少内容。" * 20,
    "arabic": "كم عدد الرموز في هذه الجملة" * 20,
    "base64": base64.b64encode(bytes(range(256)) * 8).decode(),
    "uuids": " ".join(str(uuid.UUID(int=n * 7919**9 % 2**128)) for n in range(50)),
    "special": "<|endoftext|><|im_start|><|fim_prefix|>" * 20,
    "spaces": " " * 999 + "\n\t" * 500,
    "digits": "3.14159265358979" * 50,
    "punctuation": string.punctuation * 20,
    "nulls": "\0" * 500,
}


@pytest.mark.parametrize("kind", NASTY)
def test_no_text_has_more_tokens_than_bytes(kind: str) -> None:
    assert counter()(NASTY[kind]) <= text_bytes(NASTY[kind])


@pytest.mark.parametrize("kind", sorted(NASTY.keys() - {"spaces"}))
def test_no_writing_has_fewer_tokens_than_its_lower_bound(kind: str) -> None:
    assert lower_bound(asked(Text(NASTY[kind]))) <= counter()(NASTY[kind])


@given(st.text(max_size=200))
def test_whatever_is_written_has_no_more_tokens_than_bytes(text: str) -> None:
    assert counter()(text) <= text_bytes(text) == len(text.encode())


def test_half_a_surrogate_pair_is_counted_like_its_replacement() -> None:
    assert text_bytes("\ud83d") == len("\ufffd".encode()) == 3


def test_a_message_brings_its_frame_and_its_name() -> None:
    two = Request((Message("user", "hi", name="bob"), Message("user", "yo")))
    assert upper_bound(two) == PREAMBLE + 2 * PER_MESSAGE + len("hibobyo")


def test_an_empty_request_is_not_free() -> None:
    assert upper_bound(Request(())) == PREAMBLE


SCHEMA = {"type": "object", "properties": {"städte": {"type": "array", "items": {"type": "string"}}}}


def test_everything_that_is_sent_is_counted() -> None:
    marker = "x" * 1_000
    places: list[Request] = [
        asked(Text(marker)),
        asked(Text("", extra={"citations": [marker]})),
        asked(Thinking(marker)),
        asked(Thinking(signature=marker)),
        asked(Thinking(redacted=marker)),
        asked(Thinking(extra={"encrypted_content": marker})),
        asked(ToolCall(marker, "f", "{}")),
        asked(ToolCall("1", marker, "{}")),
        asked(ToolCall("1", "f", marker)),
        asked(ToolResult("1", marker)),
        asked(ToolResult("1", (Text(marker),))),
        asked(tools=(Tool(marker),)),
        asked(tools=(Tool("f", marker),)),
        asked(tools=(Tool("f", parameters={"description": marker}),)),
        asked(tools=(Tool("f", native={"type": marker}),)),
        asked(response_format=JsonFormat({"description": marker})),
        asked(extra_body={"prediction": marker}),
        Request((Message("user", (), name=marker),)),
    ]
    assert all(upper_bound(request) >= 1_000 + PREAMBLE for request in places)
    assert all(lower_bound(request) >= 1_000 // tokens.SPARSEST for request in places)


def test_tools_and_schemas_bring_a_hidden_prompt() -> None:
    plain = upper_bound(asked())
    assert upper_bound(asked(tools=(Tool("f", parameters=SCHEMA),))) >= plain + HIDDEN_PROMPT
    assert upper_bound(asked(response_format=JsonFormat())) >= plain + HIDDEN_PROMPT


def test_a_schema_is_counted_as_it_is_written_not_escaped() -> None:
    short = upper_bound(asked(tools=(Tool("f", parameters={"description": "ä" * 100}),)))
    longer = upper_bound(asked(tools=(Tool("f", parameters={"description": "ä" * 101}),)))
    assert longer - short == 2


def test_a_schema_may_hold_what_json_does_not_know() -> None:
    odd = MappingProxyType({"default": uuid.UUID(int=1), "inner": MappingProxyType({"ä": 1})})
    plain = {"default": str(uuid.UUID(int=1)), "inner": {"ä": 1}}
    sizes = {upper_bound(asked(tools=(Tool("f", parameters=parameters),))) for parameters in (odd, plain)}
    assert len(sizes) == 1


# ------------------------------------------------------------------- media

PHOTO = base64.b64encode(b"\0" * 3_000_000).decode()


@pytest.mark.parametrize("provider", [*IMAGE_CAPS, "openai", "somebody"])
@pytest.mark.parametrize("detail", [None, "auto", "low", "high", "original"])
def test_an_image_counts_its_cap_and_never_its_bytes(provider: str, detail: str | None) -> None:
    cap = IMAGE_CAPS.get(provider, IMAGE_CAPS[""])
    expected = {"low": cap.low, "high": cap.high}.get(detail or "", cap.other)
    for image in (Media("image", data=PHOTO, detail=detail), Media("image", url="https://x/y.png", detail=detail)):
        assert upper_bound(asked(image), provider) == FRAME + expected


@pytest.mark.parametrize(
    ("provider", "detail", "billed"),
    [
        # a photo of 4032 x 3024, as the vendors' guides compute it
        ("openai", "auto", 14_364),
        ("openai", "high", 2_942),
        ("anthropic", None, 4_005),
        ("gemini", None, 1_065),
    ],
)
def test_the_caps_hold_for_a_photo_of_twelve_megapixels(provider: str, detail: str | None, billed: int) -> None:
    assert upper_bound(asked(Media("image", data=PHOTO, detail=detail)), provider) >= billed


def test_images_inside_tool_results_count() -> None:
    assert upper_bound(asked(ToolResult("1", (Media("image", data="AAAA"),)))) >= IMAGE_CAPS[""].other


@pytest.mark.parametrize("kind", ["document", "audio", "video"])
def test_other_media_count_their_decoded_bytes(kind: Any) -> None:
    data = base64.b64encode(b"\0" * 30_000).decode()
    assert upper_bound(asked(Media(kind, data=data))) == FRAME + 30_000
    assert upper_bound(asked(Media(kind, data="AAAA"))) == FRAME + SMALLEST_DOCUMENT


def test_what_cannot_be_seen_counts_a_whole_window_and_a_known_window_clips() -> None:
    hidden = asked(Media("document", url="https://x/y.pdf"))
    assert upper_bound(hidden) == FRAME + UNSEEN
    assert upper_bound(hidden, window=200_000) == 200_000
    assert upper_bound(asked(Text("hi")), window=200_000) == FRAME + 2


def test_media_say_nothing_about_the_least_a_request_takes() -> None:
    assert lower_bound(asked(Media("document", data=PHOTO), Media("image", data=PHOTO))) == 0


def test_media_are_estimated_as_they_usually_come() -> None:
    size = measure(asked(Media("document", data=PHOTO), Media("image", data=PHOTO)))
    assert size.estimate(3.0) == 3_000_000 // 40 + 1_500 + FRAME // 4


# ------------------------------------------------------------------ ratios


def test_an_estimate_divides_bytes_by_the_ratio_and_rounds_up() -> None:
    assert estimate(3_000, 3.0) == 1_000
    assert estimate(3_001, 3.0) == 1_001
    assert measure(asked(Text("x" * 3_000))).estimate(3.0) == 1_000 + FRAME // 4


def test_a_ratio_starts_where_it_is_told_and_learns_downwards_at_once() -> None:
    ratio = Ratio(2.4)
    assert ratio.value == 2.4
    ratio.learn(10_000, 5_000)
    assert ratio.value == 2.0


def test_a_ratio_is_the_tenth_percentile_of_the_last_fifty() -> None:
    ratio = Ratio(3.0)
    for _ in range(50):
        ratio.learn(40_000, 10_000)
    assert ratio.value == 4.0
    for _ in range(4):
        ratio.learn(15_000, 10_000)
    assert ratio.value == 4.0, "four in fifty are not a tenth"
    ratio.learn(15_000, 10_000)
    assert ratio.value == 1.5
    for _ in range(50):
        ratio.learn(40_000, 10_000)
    assert ratio.value == 4.0, "what is long past is forgotten"


def test_a_few_generous_answers_do_not_raise_a_ratio() -> None:
    ratio = Ratio(3.0)
    for _ in range(20):
        ratio.learn(45_000, 10_000)
    assert ratio.value == 3.0


def test_the_start_counts_as_four_answers() -> None:
    ratio = Ratio(3.0)
    for _ in range(36):
        ratio.learn(40_000, 10_000)
    assert ratio.value == 3.0
    ratio.learn(40_000, 10_000)
    assert ratio.value == 4.0


def test_short_requests_and_reports_of_nothing_teach_nothing() -> None:
    ratio = Ratio(3.0)
    ratio.learn(999, 900)
    ratio.learn(10_000, 0)
    ratio.learn(10_000, -5)
    assert ratio.value == 3.0


def test_no_report_moves_a_ratio_beyond_what_texts_have() -> None:
    ratio = Ratio(3.0)
    ratio.learn(10_000, 10**9)
    assert ratio.value == 1.0
    for _ in range(60):
        ratio.learn(10**9, 1)
    assert ratio.value == 5.0
