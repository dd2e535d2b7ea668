"""Failover's answers as LlamaIndex's: whole, and as snapshots of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatResponse, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.callbacks.token_counting import get_tokens_from_response

from failover import Answer, Chunk, Message, Response, Step, Text, Thinking, ToolCall, Usage
from llamaindex_failover._messages import to_chat_message
from llamaindex_failover._results import Snapshots, text_of, to_chat_response, to_completion

CALL = ToolCall("c1", "add", '{"a": 1}')


def response(*blocks: Any, usage: Usage | None = None, **fields: Any) -> Response:
    answer = Answer(Message("assistant", blocks), usage=usage, model="m-1", id="r1", extra=fields.pop("extra", {}))
    facts = {"target": "fast", "provider": "openai", "author": "openai:m", **fields}
    return Response(answer, **facts)


def test_an_answer_says_who_gave_it_and_what_it_took() -> None:
    trail = (Step("slow", "timeout"), Step("shut", "circuit_open", sent=False), Step("fast", "ok"))
    chat = to_chat_response(response(Text("hi"), cost_nano=1_500_000, latency=0.5, trail=trail, resumed=("a:m",)))
    account = chat.additional_kwargs["failover"]
    assert account == {
        "target": "fast",
        "author": "openai:m",
        "attempts": 2,
        "trail": ["slow: timeout", "shut: circuit_open", "fast: ok"],
        "cached": False,
        "resumed": ["a:m"],
        "cost": 0.0015,
        "latency": 0.5,
    }


def test_everything_but_the_message_is_plain_json() -> None:
    chat = to_chat_response(response(Text("hi"), usage=Usage(1, 2), extra={"system_fingerprint": "fp"}))
    assert json.loads(json.dumps([chat.raw, chat.additional_kwargs])) == [chat.raw, chat.additional_kwargs]


def test_tokens_stand_where_llamaindex_looks_for_them() -> None:
    chat = to_chat_response(response(Text("hi"), usage=Usage(11, 7, cache_read_tokens=3, reasoning_tokens=2)))
    assert get_tokens_from_response(chat) == (11, 7)
    assert [chat.additional_kwargs[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")] == [
        11,
        7,
        18,
    ]
    assert chat.raw is not None
    assert chat.raw["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert chat.raw["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


def test_unknown_usage_is_left_out_and_not_zero() -> None:
    chat = to_chat_response(response(Text("hi")))
    assert "usage" not in (chat.raw or {})
    assert "prompt_tokens" not in chat.additional_kwargs


def test_a_plain_answer_puts_nothing_into_prompts() -> None:
    assert to_chat_response(response(Text("hi"))).message.additional_kwargs == {}


def test_a_completion_has_the_text_without_what_lies_between() -> None:
    completion = to_completion(to_chat_response(response(Text("a"), Thinking("hm", "s"), Text("b"), usage=Usage(1, 1))))
    assert completion.text == "ab"
    assert completion.raw is not None
    assert completion.raw["usage"]["total_tokens"] == 2
    assert completion.additional_kwargs["failover"]["target"] == "fast"


def test_log_probabilities_are_listed_per_token() -> None:
    token = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    best = [{"token": "b", "logprob": -0.2}, {"token": "c", "logprob": -3.0, "bytes": None}]
    said = {"content": [token, {"token": "b", "logprob": -0.2, "top_logprobs": best}]}
    logprobs = to_chat_response(response(Text("ab"), extra={"logprobs": said})).logprobs
    assert logprobs is not None
    assert [[each.token for each in token] for token in logprobs] == [["a"], ["b", "c"]]


# ----------------------------------------------------------------- streams


def snapshots(*chunks: Chunk) -> list[ChatResponse]:
    builder = Snapshots()
    return [builder.feed(chunk) for chunk in chunks]


def kinds(chat: ChatResponse) -> list[str]:
    return [block.block_type for block in chat.message.blocks]


def test_each_snapshot_holds_the_text_so_far_and_its_own_delta() -> None:
    seen = snapshots(Chunk(text="Hel"), Chunk(text="lo"), Chunk(response=response(Text("Hello"))))
    assert [chat.message.content for chat in seen] == ["Hel", "Hello", "Hello"]
    assert [chat.delta for chat in seen] == ["Hel", "lo", ""]


def test_snapshots_share_nothing() -> None:
    first, second = snapshots(Chunk(text="a"), Chunk(text="b"))
    first.message.blocks.append(TextBlock(text="!"))
    first.message.additional_kwargs["x"] = 1
    assert text_of(second.message) == "ab"
    assert second.message.additional_kwargs == {}


def test_only_the_last_snapshot_has_usage_and_account() -> None:
    seen = snapshots(Chunk(text="a"), Chunk(response=response(Text("a"), usage=Usage(1, 1))))
    assert ["failover" in chat.additional_kwargs for chat in seen] == [False, True]
    assert [get_tokens_from_response(chat) for chat in seen] == [(0, 0), (1, 1)]


def test_reasoning_is_told_as_it_comes_and_is_not_text() -> None:
    seen = snapshots(Chunk(reasoning="h"), Chunk(reasoning="m"), Chunk(text="42"))
    assert [chat.additional_kwargs.get("thinking_delta") for chat in seen] == ["h", "m", None]
    assert [chat.delta for chat in seen] == ["", "", "42"]
    assert kinds(seen[-1]) == ["thinking", "text"]
    thought = seen[-1].message.blocks[0]
    assert isinstance(thought, ThinkingBlock)
    assert thought.content == "hm"


@pytest.mark.parametrize("text", ["", "hm"])
def test_a_finished_thought_takes_the_place_of_its_pieces(text: str) -> None:
    (*_, last) = snapshots(Chunk(reasoning="hm"), Chunk(blocks=(Thinking(text, "sig"),)), Chunk(text="42"))
    assert kinds(last) == ["thinking", "text"]
    thought = last.message.blocks[0]
    assert isinstance(thought, ThinkingBlock)
    assert (thought.content, thought.additional_information) == ("hm", {"signature": "sig"})


def test_a_second_thought_is_a_thought_of_its_own() -> None:
    chunks = (Chunk(reasoning="a"), Chunk(blocks=(Thinking("", "1"),)), Chunk(reasoning="b"))
    (*_, last) = snapshots(*chunks)
    assert [block.content for block in last.message.blocks if isinstance(block, ThinkingBlock)] == ["a", "b"]


def test_a_redacted_thought_replaces_nothing() -> None:
    (*_, last) = snapshots(Chunk(text="a"), Chunk(blocks=(Thinking(redacted="x"),)))
    assert kinds(last) == ["text", "thinking"]


def test_tool_calls_come_whole_in_block_and_entry() -> None:
    (*_, last) = snapshots(Chunk(text="a"), Chunk(tool_calls=(CALL,)))
    (block,) = (block for block in last.message.blocks if isinstance(block, ToolCallBlock))
    assert (block.tool_call_id, block.tool_name, block.tool_kwargs) == ("c1", "add", {"a": 1})
    (entry,) = last.message.additional_kwargs["tool_calls"]
    assert entry["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert last.delta == ""


def test_the_last_snapshot_is_the_answer_itself() -> None:
    whole = response(Thinking("hm", "sig"), Text("42"), CALL, usage=Usage(1, 1))
    (*_, last) = snapshots(Chunk(text="42"), Chunk(response=whole))
    expected = to_chat_response(whole)
    expected.delta = ""
    assert last == expected


@pytest.mark.parametrize("blocks", [(), (Thinking("hm"),)], ids=["nothing", "a thought"])
def test_an_answer_without_words_is_an_empty_text_and_not_none(blocks: Any) -> None:
    assert to_chat_message(Message("assistant", blocks)).content == ""


def test_a_call_without_words_has_no_text() -> None:
    assert to_chat_message(Message("assistant", ToolCall("c", "add", "{}"))).content is None
