"""What lies in a shared cache: the very answer or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failover.cache.entry import pack, unpack
from failover.types import Answer, Media, Message, RateHint, Text, Thinking, ToolCall, ToolResult, Usage

WHOLE = Answer(
    Message(
        "assistant",
        (
            Thinking("hm", "c2lnbmF0dXJl==", None, {"id": "rs_1", "summary": [{"text": "…"}]}),
            Thinking(redacted="opaque"),
            Text("Grüße 🌍", True, {"annotations": [{"url": "https://a.example", "start": 3}]}),
            Text("hm"),
            ToolCall("call_1", "weather", '{"city": "Köln",  "n": 1.0}', {"index": 0}),
            Media("image", "image/png", "aGk="),
        ),
        "openai:gpt-6-luna",
        "helper",
    ),
    "tool_calls",
    "tool_use",
    Usage(10, 5, 1, 2, 3, 4, 6, 7, 123_456_789_012, True),
    "gpt-6-luna-2026-09",
    "msg_1",
    {"system_fingerprint": "fp", "logprobs": {"content": [{"logprob": -0.1, "top": None}]}},
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_an_answer_comes_back_as_it_was() -> None:
    raw = pack(WHOLE)
    assert raw is not None
    assert unpack(raw) == WHOLE
    assert json.loads(raw)["version"] == 1


def test_what_the_provider_said_of_its_limits_is_not_kept() -> None:
    raw = pack(replace(WHOLE, hint=RateHint(remaining_requests=1)))
    assert raw is not None
    found = unpack(raw)
    assert found is not None
    assert found.hint is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy
@given(st.dictionaries(st.text(), values), st.text())
def test_any_answer_comes_back_as_it_was_or_is_not_kept(extra: dict[str, Any], text: str) -> None:
    answer = Answer(Message("assistant", (Text(text, extra=extra), ToolCall("1", "f", text, extra))), extra=extra)
    raw = pack(answer)
    assert raw is None or unpack(raw) == answer


@pytest.mark.parametrize("odd", [object(), b"\xff", (1, 2), {1: 2}, float("nan"), "\ud800"])
def test_what_json_would_change_is_not_kept(odd: object) -> None:
    assert pack(replace(WHOLE, extra={"odd": odd})) is None


def test_a_block_of_an_unknown_sort_is_not_kept() -> None:
    assert pack(Answer(Message("tool", ToolResult("1", "x")))) is None


def test_whatever_cannot_be_read_is_no_entry() -> None:
    raw = pack(WHOLE)
    assert raw is not None
    whole = json.loads(raw)
    changed: list[dict[str, Any]] = [
        {**whole, "version": 2},
        {**whole, "version": None},
        {**whole, "blocks": [["text", {"text": 5}]]},
        {**whole, "blocks": [["poem", {"text": "x"}]]},
        {**whole, "blocks": None},
        {**whole, "finish_reason": "whenever"},
        {**whole, "usage": {"input_tokens": "many"}},
    ]
    assert all(unpack(json.dumps(entry)) is None for entry in changed)
    assert all(unpack(raw[:cut]) is None for cut in range(len(raw)))
    assert all(unpack(odd) is None for odd in (b"", b"[]", b"null", b"\x80\x04K\x01.", b"{" * 10_000))
