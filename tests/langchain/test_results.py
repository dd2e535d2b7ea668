"""Answers and streams as LangChain has them, and back again to their author byte for byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core._api.beta_decorator import suppress_langchain_beta_warning
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_usage
from langchain_core.messages.block_translators import register_translator

from failover._shaper import chunks_of
from failover.types import Answer, Block, Chunk, Media, Message, Response, Step, Text, Thinking, ToolCall, Usage
from langchain_failover._messages import messages_of
from langchain_failover._results import pieces, result_of

USAGE = Usage(10, 20, cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=5)
SIGNED = Thinking("let me see", signature="sig")
CALL2 = ToolCall("c2", "now", "{}")
CALL = ToolCall("c1", "add", '{"a": 1, "b": 2}')


def response(*blocks: Block, **changes: Any) -> Response:
    answer = Answer(Message("assistant", blocks), usage=USAGE, model="claude-haiku-5-5-20261001", id="msg_1")
    given = Response(
        answer,
        target="main",
        provider="anthropic",
        author="anthropic:claude-haiku-5-5",
        cost_nano=1_500_000,
        trail=(Step("first", "timeout", status=504, duration=0.5), Step("main", "ok", started=0.5, duration=1.0)),
    )
    return replace(given, **changes)


def message_of(given: Response, version: str | None = None) -> AIMessage:
    return cast("AIMessage", result_of(given, version).generations[0].message)


def streamed(given: Response, chunks: list[Chunk] | None = None, version: str | None = None) -> AIMessageChunk:
    translate = pieces(version).translate
    whole = [*(chunks if chunks is not None else chunks_of(given.answer)), Chunk(response=given)]
    first, *rest = [cast("AIMessageChunk", translate(chunk).message) for chunk in whole]
    return cast("AIMessageChunk", first + rest) if rest else first


# ------------------------------------------------------------ what is shown


@pytest.mark.parametrize("read", [message_of, streamed])
def test_without_an_output_version_content_is_a_string_whoever_answers(read: Any) -> None:
    message = read(response(SIGNED, Text("It is "), Text("three."), CALL))
    assert message.content == "It is three."
    assert message.additional_kwargs["reasoning_content"] == "let me see"
    assert message.tool_calls == [{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"}]


def test_version_one_is_the_list_of_standard_blocks() -> None:
    given = response(SIGNED, Text("three", extra={"citations": [{"url": "https://x", "title": "T"}]}), CALL)
    reasoning, text, call = cast("list[dict[str, Any]]", message_of(given, "v1").content)
    assert reasoning == {"type": "reasoning", "reasoning": "let me see", "extras": {"signature": "sig"}}
    assert (text["text"], text["annotations"][0]["url"]) == ("three", "https://x")
    assert (call["type"], call["args"]) == ("tool_call", {"a": 1, "b": 2})
    assert message_of(given, "v1").content_blocks == message_of(given, "v1").content


def test_a_version_one_stream_adds_up_to_the_same_blocks() -> None:
    given = response(Thinking("hm", signature="s"), Text("three"), CALL)
    chunks = [
        Chunk(reasoning="h", index=0),
        Chunk(reasoning="m", index=0),
        Chunk(blocks=(Thinking("hm", signature="s"),), index=0),
        Chunk(text="th", index=1),
        Chunk(text="ree", index=1),
        Chunk(tool_calls=(CALL,), index=2),
    ]
    whole = streamed(given, chunks, "v1")
    shown = [{key: value for key, value in block.items() if key != "index"} for block in whole.content_blocks]
    assert shown == message_of(given, "v1").content_blocks
    assert whole.text == "three"


def test_a_vendors_own_block_is_shown_as_that_and_goes_back_whole() -> None:
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    given = response(Thinking(extra={"anthropic_block": search}), Text("found"))
    assert message_of(given, "v1").content[0] == {"type": "non_standard", "value": search}
    for message in (message_of(given), message_of(given, "v1"), streamed(given), streamed(given, version="v1")):
        assert messages_of([message])[0].content == given.answer.message.content


def test_a_finished_block_is_not_shown_twice() -> None:
    given = response(SIGNED, Text("a"))
    chunks = [Chunk(reasoning="let me see", index=0), Chunk(blocks=(SIGNED,), index=0), Chunk(text="a", index=1)]
    assert streamed(given, chunks).additional_kwargs["reasoning_content"] == "let me see"
    whole = [Chunk(blocks=(SIGNED,), index=0), Chunk(text="a", index=1)]
    assert streamed(given, whole).additional_kwargs["reasoning_content"] == "let me see"


def test_an_answer_with_media_is_a_list_in_any_version() -> None:
    picture = Media("image", "image/png", "aGk=")
    given = response(Text("see"), picture)
    shown = [
        {"type": "text", "text": "see"},
        {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
    ]
    assert message_of(given).content == shown
    assert message_of(given, "v1").content == shown


@pytest.mark.parametrize("arguments", ['{"a": 1,,', "[1]", '"a"'])
def test_a_call_that_is_no_object_is_invalid_and_not_lost(arguments: str) -> None:
    given = response(ToolCall("c1", "add", arguments))
    for message in (message_of(given), message_of(given, "v1")):
        assert message.tool_calls == []
        assert (message.invalid_tool_calls[0]["args"], message.invalid_tool_calls[0]["id"]) == (arguments, "c1")
        (turn,) = messages_of([message])
        assert turn.tool_calls == (ToolCall("c1", "add", arguments),)


def test_a_call_without_arguments_has_none() -> None:
    assert message_of(response(ToolCall("c1", "now", ""))).tool_calls[0]["args"] == {}
    assert streamed(response(ToolCall("c1", "now", ""))).tool_calls[0]["args"] == {}


# --------------------------------------------------------- who, and how much


@pytest.mark.parametrize("read", [message_of, streamed])
def test_the_answer_says_who_gave_it_and_what_was_survived(read: Any) -> None:
    notes = read(response(Text("a"))).response_metadata
    assert (notes["model_name"], notes["model_provider"]) == ("claude-haiku-5-5-20261001", "anthropic")
    assert (notes["finish_reason"], notes["id"]) == ("stop", "msg_1")
    entry = notes["failover"]
    assert (entry["target"], entry["cost"], entry["cached"]) == ("main", 0.0015, False)
    assert [(step["target"], step["reason"], step["status"]) for step in entry["attempts"]] == [
        ("first", "timeout", 504),
        ("main", "ok", None),
    ]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "deepseek", "bedrock_converse", "google_genai"])
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize(
    "blocks", [(Text("a"),), (Text("a"), CALL), (Thinking("hm"), Text("a")), (SIGNED, CALL, CALL2)]
)
def test_langchain_reads_every_part_whoever_answered(provider: str, version: str | None, blocks: Any) -> None:
    given = response(*blocks, provider=provider)
    names = {Text: "text", Thinking: "reasoning", ToolCall: "tool_call"}
    for message in (message_of(given, version), streamed(given, version=version)):
        shown = [block["type"] for block in message.content_blocks if block.get("text") != ""]
        assert shown == [names[type(block)] for block in blocks]
        assert message.response_metadata["failover"]["provider"] == provider
        assert message.response_metadata["model_provider"] == provider


def test_a_reader_that_comes_late_is_kept_from_our_messages_and_has_all_others() -> None:
    def theirs(message: Any) -> Any:
        return [{"type": "text", "text": "theirs"}]

    register_translator("late", theirs, theirs)
    ours = message_of(response(Text("a"), CALL, provider="late"))
    assert [block["type"] for block in ours.content_blocks] == ["text", "tool_call"]
    others = AIMessage("a", response_metadata={"model_provider": "late"})
    assert others.content_blocks == theirs(others)


@pytest.mark.parametrize("read", [message_of, streamed])
def test_usage_has_langchains_meaning(read: Any) -> None:
    assert read(response(Text("a"))).usage_metadata == {
        "input_tokens": 10,
        "output_tokens": 20,
        "total_tokens": 30,
        "input_token_details": {"cache_read": 3, "cache_creation": 2},
        "output_token_details": {"reasoning": 5},
    }


def test_usage_that_nobody_reported_is_not_invented() -> None:
    silent = response(Text("a"))
    assert message_of(replace(silent, answer=replace(silent.answer, usage=None))).usage_metadata is None


def test_a_cached_answer_is_shown_as_free() -> None:
    usage = message_of(response(Text("a"), cached=True, cost_nano=0)).usage_metadata
    assert usage is not None
    assert usage["total_cost"] == 0  # type: ignore[typeddict-item]  # LangSmith's own key
    assert add_usage(usage, message_of(response(Text("a"))).usage_metadata)["total_tokens"] == 60


def test_usage_and_metadata_ride_on_the_last_chunk_only() -> None:
    for version in (None, "v1"):
        translate = pieces(version).translate
        given = response(Thinking("hm"), Text("a"), CALL)
        chunks = [translate(chunk).message for chunk in [*chunks_of(given.answer), Chunk(response=given)]]
        *before, last = cast("list[AIMessageChunk]", chunks)
        assert all(chunk.usage_metadata is None and "failover" not in chunk.response_metadata for chunk in before)
        assert (last.chunk_position, last.usage_metadata is not None) == ("last", True)


def test_the_message_id_is_left_to_langchain() -> None:
    assert message_of(response(Text("a"))).id is None


# ------------------------------------------------------------- and back again

texts = st.text(min_size=1, max_size=8)
extras = st.just({}) | st.fixed_dictionaries({"id": texts})
arguments = st.sampled_from(["", "{}", '{"a": 1}', '{"a":1}', "{broken", "[1]", "null", '{"ä": "\\u00e4"}', " {} "])
any_block = st.one_of(
    st.builds(Text, texts, extra=st.just({}) | st.just({"citations": [{"url": "u"}]})),
    st.builds(Thinking, texts, st.none() | texts, st.none(), extras),
    st.builds(Thinking, st.just(""), st.none(), texts),
)
any_call = st.builds(ToolCall, st.uuids().map(str), st.just("add"), arguments, extras)


def saved_and_read(message: Any) -> Any:
    with suppress_langchain_beta_warning():
        return loads(dumps(message), allowed_objects=[AIMessage])


@settings(deadline=None)
@given(st.lists(any_block, max_size=4), st.lists(any_call, max_size=3), st.sampled_from([None, "v1"]), st.booleans())
def test_what_a_model_said_goes_back_to_it_byte_for_byte(
    blocks: list[Block], calls: list[Block], version: str | None, saved: bool
) -> None:
    given = response(*blocks, *calls)
    message: Any = message_of(given, version)
    if saved:
        message = saved_and_read(message)
    (turn,) = messages_of([message])
    assert turn == Message("assistant", (*blocks, *calls), author="anthropic:claude-haiku-5-5")


@settings(deadline=None)
@given(st.lists(any_block, max_size=4), st.lists(any_call, max_size=3), st.sampled_from([None, "v1"]))
def test_a_stream_adds_up_to_the_same_turn(blocks: list[Block], calls: list[Block], version: str | None) -> None:
    given = response(*blocks, *calls)
    (turn,) = messages_of([streamed(given, version=version)])
    assert turn.content == (*blocks, *calls)


def test_a_streamed_call_that_is_no_json_is_not_made_into_one() -> None:
    broken = ToolCall("c1", "delete", '{"path": "/ho')
    message = streamed(response(broken))
    assert message.tool_calls == []
    assert message.invalid_tool_calls[0]["name"] == "delete"
    (turn,) = messages_of([message])
    assert turn.tool_calls == (broken,)


def test_an_edited_answer_keeps_its_edit_and_its_reasoning() -> None:
    message = message_of(response(SIGNED, Text("secret"), CALL))
    edited = message.model_copy(update={"content": "[removed]"})
    (turn,) = messages_of([edited])
    assert turn.content == (SIGNED, Text("[removed]"), ToolCall("c1", "add", '{"a":1,"b":2}'))


def test_an_edited_call_wins_over_what_the_model_wrote() -> None:
    message = message_of(response(SIGNED, CALL))
    edited = message.model_copy(update={"tool_calls": [{**message.tool_calls[0], "args": {"a": 9}}]})
    (turn,) = messages_of([edited])
    assert turn.tool_calls == (ToolCall("c1", "add", '{"a":9}'),)


def test_a_call_that_was_taken_out_or_put_in_by_hand_is_believed() -> None:
    message = message_of(response(SIGNED, Text("a"), CALL))
    (without,) = messages_of([message.model_copy(update={"tool_calls": []})])
    assert without.content == (SIGNED, Text("a"))
    more = {"name": "now", "args": {}, "id": "c9", "type": "tool_call"}
    (with_one_more,) = messages_of([message.model_copy(update={"tool_calls": [*message.tool_calls, more]})])
    assert [call.id for call in with_one_more.tool_calls] == ["c1", "c9"]
    assert with_one_more.content[0] == SIGNED
