"""LangChain messages become failover messages: every sort of message and content part, from any vendor."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models._utils import _normalize_messages
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from failover.errors import BadRequest
from failover.types import Block, Media, Message, Text, Thinking, ToolCall, ToolResult
from langchain_failover._messages import messages_of

PNG = "aGVsbG8="


def blocks(*parts: Any) -> tuple[Block, ...]:
    """What a user's message with these parts becomes."""
    (message,) = messages_of([HumanMessage(list(parts))])
    return message.content


def said(message: BaseMessage) -> Message:
    (turn,) = messages_of([message])
    return turn


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HumanMessage("hi", name="ann"), Message("user", "hi", name="ann")),
        (SystemMessage("be brief"), Message("system", "be brief")),
        (AIMessage("hello"), Message("assistant", "hello")),
        (ChatMessage("hi", role="user"), Message("user", "hi")),
        (ChatMessage("hi", role="developer"), Message("system", "hi")),
        (ToolMessage("5", tool_call_id="c1"), Message("tool", ToolResult("c1", "5"))),
        (
            ToolMessage("no", tool_call_id="c1", status="error", name="add"),
            Message("tool", ToolResult("c1", "no", is_error=True, name="add")),
        ),
        (HumanMessage(""), Message("user", ())),
    ],
)
def test_each_sort_of_message_has_its_role(message: BaseMessage, expected: Message) -> None:
    assert said(message) == expected


def test_a_message_without_meaning_to_a_model_is_refused() -> None:
    with pytest.raises(BadRequest, match="RemoveMessage cannot be sent"):
        messages_of([RemoveMessage(id="1")])
    with pytest.raises(BadRequest, match="role 'critic'"):
        messages_of([ChatMessage("no", role="critic")])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("plain", Text("plain")),
        ({"type": "text", "text": "hi"}, Text("hi")),
        ({"text": "hi"}, Text("hi")),
        ({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, Text("hi", cache_point=True)),
        ({"type": "input_text", "text": "hi"}, Text("hi")),
        ({"type": "text-plain", "text": "file text", "mime_type": "text/plain"}, Text("file text")),
        # images
        ({"type": "image", "base64": PNG, "mime_type": "image/png"}, Media("image", "image/png", PNG)),
        ({"type": "image", "url": "https://x/a.png"}, Media("image", url="https://x/a.png")),
        ({"type": "image", "file_id": "f1"}, Media("image", file_id="f1")),
        (
            {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
            Media("image", "image/png", PNG),
        ),
        ({"type": "image", "source_type": "url", "url": "https://x/a.png"}, Media("image", url="https://x/a.png")),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            Media("image", "image/png", PNG, detail="low"),
        ),
        ({"type": "image_url", "image_url": "https://x/a.png"}, Media("image", url="https://x/a.png")),
        ({"type": "input_image", "image_url": "https://x/a.png"}, Media("image", url="https://x/a.png")),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            Media("image", "image/png", PNG),
        ),
        ({"type": "image", "source": {"type": "url", "url": "https://x/a"}}, Media("image", url="https://x/a")),
        ({"type": "image", "source": {"type": "file", "file_id": "f1"}}, Media("image", file_id="f1")),
        # documents
        (
            {"type": "file", "base64": PNG, "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
            Media("document", "application/pdf", PNG, name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
            Media("document", "application/pdf", PNG, name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_id": "f1"}}, Media("document", file_id="f1")),
        ({"type": "file", "source_type": "id", "id": "f1"}, Media("document", file_id="f1")),
        ({"type": "file", "source_type": "text", "text": "words"}, Text("words")),
        ({"type": "file", "base64": PNG, "mime_type": "image/png"}, Media("image", "image/png", PNG)),
        (
            {"type": "input_file", "file_url": "https://x/a.pdf", "filename": "a.pdf"},
            Media("document", url="https://x/a.pdf", name="a.pdf"),
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
                "cache_control": {"type": "ephemeral"},
            },
            Media("document", "application/pdf", PNG, name="T", cache_point=True),
        ),
        ({"type": "document", "source": {"type": "text", "data": "words"}}, Text("words")),
        # sound and pictures that move
        ({"type": "audio", "base64": PNG, "mime_type": "audio/wav"}, Media("audio", "audio/wav", PNG)),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}, Media("audio", "audio/mp3", PNG)),
        ({"type": "video", "url": "https://x/v.mp4"}, Media("video", url="https://x/v.mp4")),
        ({"type": "video_url", "video_url": {"url": "https://x/v.mp4"}}, Media("video", url="https://x/v.mp4")),
        ({"type": "media", "mime_type": "video/mp4", "data": PNG}, Media("video", "video/mp4", PNG)),
        (
            {"type": "media", "mime_type": "video/mp4", "file_uri": "https://x/v.mp4"},
            Media("video", "video/mp4", url="https://x/v.mp4"),
        ),
        ({"type": "non_standard", "value": {"type": "text", "text": "wrapped"}}, Text("wrapped")),
        ({"type": "json", "json": {"a": 1}}, Text('{"a": 1}')),
    ],
)
def test_each_content_part_becomes_its_block(part: Any, expected: Block) -> None:
    assert blocks(part) == (expected,)


def test_parts_that_langchain_has_normalised_read_the_same() -> None:
    message = HumanMessage(
        [
            {"type": "file", "source_type": "base64", "data": PNG, "mime_type": "application/pdf"},
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}},
        ]
    )
    assert messages_of(_normalize_messages([message])) == messages_of([message])


def test_a_part_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match=r"type 'hologram' is not understood; known types: .*image_url"):
        blocks({"type": "hologram"})
    with pytest.raises(BadRequest, match="neither data, nor a URL, nor a file id"):
        blocks({"type": "image"})


def test_a_cache_point_of_another_vendor_is_no_part() -> None:
    assert blocks({"type": "text", "text": "a"}, {"cachePoint": {"type": "default"}}) == (Text("a"),)


def test_a_search_result_is_read_as_text() -> None:
    part = {"type": "search_result", "title": "T", "source": "u", "content": [{"type": "text", "text": "found"}]}
    assert blocks(part) == (Text("T u"), Text("found"))


def test_a_users_tool_result_becomes_a_turn_of_its_own() -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "5"}], "is_error": True}
    turns = messages_of([HumanMessage([result, {"type": "text", "text": "go on"}])])
    assert turns == (
        Message("tool", ToolResult("c1", (Text("5"),), is_error=True)),
        Message("user", "go on"),
    )


def test_media_in_a_tool_message_stay_in_its_result() -> None:
    message = ToolMessage([{"type": "image", "base64": PNG, "mime_type": "image/png"}], tool_call_id="c1")
    assert said(message).content == (ToolResult("c1", (Media("image", "image/png", PNG),)),)


# -------------------------------------------------------- assistant turns


def test_tool_calls_keep_the_place_that_the_content_gives_them() -> None:
    message = AIMessage(
        [
            {"type": "text", "text": "first"},
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "text", "text": "then"},
        ],
        tool_calls=[{"name": "f", "args": {"x": 1}, "id": "a"}, {"name": "g", "args": {}, "id": "b"}],
    )
    assert said(message).content == (
        Text("first"),
        ToolCall("a", "f", '{"x":1}'),
        Text("then"),
        ToolCall("b", "g", "{}"),
    )


def test_an_unreadable_call_goes_back_as_the_model_wrote_it() -> None:
    broken = {"name": "f", "args": '{"x": 1,,}', "id": "a", "error": "bad", "type": "invalid_tool_call"}
    assert said(AIMessage("", invalid_tool_calls=[broken])).content == (ToolCall("a", "f", '{"x": 1,,}'),)


def test_openais_own_call_dicts_are_read_where_nothing_else_is_there() -> None:
    raw = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    assert said(AIMessage("", additional_kwargs={"tool_calls": [raw]})).tool_calls == (ToolCall("a", "f", '{"x":1}'),)


def test_a_function_call_of_old_finds_its_result() -> None:
    turns = messages_of(
        [
            AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
            FunctionMessage("5", name="f"),
        ]
    )
    call, result = turns[0].tool_calls[0], turns[1].content[0]
    assert isinstance(result, ToolResult)
    assert (call.name, result.call_id, result.content) == ("f", call.id, "5")


def test_calls_without_ids_get_distinct_ones() -> None:
    calls = [{"name": "f", "args": {}, "id": None}, {"name": "g", "args": {}, "id": None}]
    assert [call.id for call in said(AIMessage("", tool_calls=calls)).tool_calls] == ["call_0", "call_1"]


@pytest.mark.parametrize(
    ("message", "thought"),
    [
        (
            AIMessage([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}]),
            Thinking("hm", signature="s"),
        ),
        (
            AIMessage([{"type": "redacted_thinking", "data": "xx"}, {"type": "text", "text": "a"}]),
            Thinking(redacted="xx"),
        ),
        (
            AIMessage([{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s"}}, "a"]),
            Thinking("hm", signature="s"),
        ),
        (
            AIMessage([{"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}}, "a"]),
            Thinking("hm", signature="s"),
        ),
        (AIMessage("a", additional_kwargs={"reasoning_content": "hm"}), Thinking("hm")),
        (AIMessage("a", additional_kwargs={"reasoning": "hm"}), Thinking("hm")),
    ],
)
def test_reasoning_is_found_wherever_an_integration_puts_it(message: AIMessage, thought: Thinking) -> None:
    assert said(message).content == (thought, Text("a"))


def test_a_reasoning_item_of_the_responses_api_keeps_what_belongs_to_it() -> None:
    item = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "e",
    }
    for message in (AIMessage([item, "a"]), AIMessage("a", additional_kwargs={"reasoning": item})):
        (thought, _) = said(message).content
        assert isinstance(thought, Thinking)
        assert (thought.text, thought.signature, thought.extra["id"]) == ("hm", "e", "rs_1")


def test_an_item_that_is_not_sealed_loses_the_id_it_cannot_be_found_by() -> None:
    (thought, _) = said(AIMessage([{"type": "reasoning", "id": "rs_1", "reasoning": "hm"}, "a"])).content
    assert thought == Thinking("hm")


def test_what_only_another_vendor_understands_is_left_out_of_a_models_turn() -> None:
    message = AIMessage([{"type": "server_tool_use", "id": "s", "name": "web_search"}, {"type": "text", "text": "a"}])
    assert said(message).content == (Text("a"),)


def test_the_author_is_who_the_message_says_wrote_it() -> None:
    notes = {"model_provider": "openai", "model_name": "gpt-6-luna"}
    assert said(AIMessage("a", response_metadata=notes)).author == "openai:gpt-6-luna"
    ours = {**notes, "failover": {"author": "groq:openai/gpt-oss-120b"}}
    assert said(AIMessage("a", response_metadata=ours)).author == "groq:openai/gpt-oss-120b"
    assert said(AIMessage("a")).author is None
