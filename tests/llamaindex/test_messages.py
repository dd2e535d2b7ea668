"""LlamaIndex's messages as failover's, and back."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from pydantic import BaseModel

from failover import Media, Message, Text, Thinking, ToolCall, ToolResult
from llamaindex_failover._authors import Authors
from llamaindex_failover._messages import to_chat_message, to_chat_messages, to_messages

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
POINT = CachePoint(cache_control=CacheControl(type="ephemeral"))


def one(message: ChatMessage) -> Message:
    (converted,) = to_messages([message], Authors().of)
    return converted


def user(*blocks: Any) -> Message:
    return one(ChatMessage(role="user", blocks=list(blocks)))


def assistant(*blocks: Any, **facts: Any) -> Message:
    return one(ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=facts))


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_every_role_has_its_place(role: str, expected: str) -> None:
    assert one(ChatMessage(role=role, content="hi")).role == expected
    assert set(MessageRole) == {MessageRole(each) for each in MessageRole}


def test_a_message_without_content_stays_a_message() -> None:
    assert one(ChatMessage(role="assistant", content=None)) == Message("assistant")


# ------------------------------------------------------------------- media


def test_bytes_of_an_image_travel_as_base64() -> None:
    media = user(ImageBlock(image=PNG, detail="low")).content[0]
    assert media == Media("image", "image/png", base64.b64encode(PNG).decode(), detail="low")


def test_bytes_that_are_base64_already_are_not_encoded_twice() -> None:
    encoded = base64.b64encode(PNG)
    assert user(ImageBlock(image=encoded)).content == user(ImageBlock(image=PNG)).content


def test_a_file_object_is_read_from_its_start_and_encoded() -> None:
    file = BytesIO(PNG)
    file.read()
    (media,) = user(ImageBlock(image=file, image_mimetype="image/png")).content
    assert media == Media("image", "image/png", base64.b64encode(PNG).decode())


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(PNG)
    (media,) = user(ImageBlock(path=path)).content
    assert media == Media("image", "image/png", base64.b64encode(PNG).decode())


def test_a_web_address_is_left_to_the_provider() -> None:
    (media,) = user(ImageBlock(url="https://example.com/cat.png")).content
    assert media == Media("image", "image/png", url="https://example.com/cat.png")


def test_a_data_url_is_unpacked() -> None:
    encoded = base64.b64encode(PNG).decode()
    (media,) = user(ImageBlock(url=f"data:image/png;base64,{encoded}")).content
    assert media == Media("image", "image/png", encoded)


def test_a_data_url_says_its_own_type_and_may_be_plain_text() -> None:
    (media,) = user(DocumentBlock(url="data:text/csv,a;b")).content
    assert isinstance(media, Media)
    assert (media.mime_type, base64.b64decode(media.data or "")) == ("text/csv", b"a;b")


def test_a_document_keeps_its_title_and_its_type() -> None:
    pdf = b"%PDF-1.4 \xff\xfe"
    (media,) = user(DocumentBlock(data=pdf, title="report.pdf")).content
    assert media == Media("document", "application/pdf", base64.b64encode(pdf).decode(), name="report.pdf")


@pytest.mark.parametrize(("data", "mime"), [("Grüße.", "text/plain"), (b"\xff\x00\xfe", "application/octet-stream")])
def test_a_document_of_unknown_type_is_text_if_it_reads_as_text(data: Any, mime: str) -> None:
    raw = data.encode() if isinstance(data, str) else data
    (media,) = user(DocumentBlock(data=raw)).content
    assert isinstance(media, Media)
    assert media.mime_type == mime


@pytest.mark.parametrize(("said", "mime"), [("mp3", "audio/mpeg"), ("wav", "audio/wav")])
def test_audio_has_a_mime_type_and_gets_its_format_back(said: str, mime: str) -> None:
    (media,) = user(AudioBlock(audio=b"\x00\xff\x01", format=said)).content
    assert isinstance(media, Media)
    assert media.mime_type == mime
    back = to_chat_message(Message("assistant", media)).blocks[0]
    assert isinstance(back, AudioBlock)
    assert (back.format, back.audio) == (said, base64.b64encode(b"\x00\xff\x01"))


def test_a_video_travels() -> None:
    (media,) = user(VideoBlock(video=b"\x00\xff", video_mimetype="video/mp4")).content
    assert media == Media("video", "video/mp4", "AP8=")


def test_an_empty_block_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="empty image block: give it bytes, a path or a url"):
        user(ImageBlock())


# ------------------------------------------------- cache points, citations


def test_a_cache_point_marks_the_block_before_it() -> None:
    turn = user(TextBlock(text="a"), POINT, TextBlock(text="b"))
    assert turn.content == (Text("a", cache_point=True), Text("b"))


def test_a_cache_point_inside_a_tool_result_is_kept() -> None:
    message = ChatMessage(role="tool", blocks=[TextBlock(text="long"), POINT], additional_kwargs={"tool_call_id": "c"})
    assert one(message).content == (ToolResult("c", (Text("long", cache_point=True),)),)


def test_a_cache_point_in_an_answer_is_kept() -> None:
    assert assistant(TextBlock(text="a"), POINT).content == (Text("a", cache_point=True),)
    assert assistant(POINT, TextBlock(text="a")).content == (Text("a"),)


def test_a_leading_cache_point_marks_nothing() -> None:
    assert user(POINT, TextBlock(text="a")).content == (Text("a"),)


def test_citable_sources_are_said_as_text() -> None:
    turn = user(CitableBlock(title="Manual", source="https://m", content="Press start."))
    assert turn.text == "[Manual] (https://m)\nPress start."


def test_citations_are_not_sent_back_with_an_answer() -> None:
    cited = CitationBlock(cited_content="x", source="s", title="t", additional_location_info={})
    assert assistant(TextBlock(text="a"), cited).content == (Text("a"),)
    assert user(cited).text == "[t] (s)\nx"


def test_citations_of_an_answer_become_blocks() -> None:
    cited = {"cited_text": "Press start.", "title": "Manual", "source": "https://m", "start_block_index": 2}
    message = to_chat_message(Message("assistant", Text("Start it.", extra={"citations": [cited, {"title": "bare"}]})))
    assert message.content == "Start it."
    (block,) = message.blocks[1:]
    assert isinstance(block, CitationBlock)
    assert (block.source, block.title, block.additional_location_info) == (
        "https://m",
        "Manual",
        {"start_block_index": 2},
    )


# ------------------------------------------------------------------- tools


def test_a_call_and_its_result_find_each_other() -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1})
    history = [
        ChatMessage(role="assistant", blocks=[call]),
        ChatMessage(role="tool", content="2", additional_kwargs={"tool_call_id": "c1"}),
    ]
    turn, result = to_messages(history, Authors().of)
    assert turn.tool_calls == (ToolCall("c1", "add", '{"a": 1}'),)
    assert result.content == (ToolResult("c1", "2", name="add"),)


def test_results_without_an_id_answer_the_waiting_calls_in_order() -> None:
    calls = [ToolCallBlock(tool_call_id=each, tool_name=each, tool_kwargs={}) for each in ("a", "b", "c")]
    history = [
        ChatMessage(role="assistant", blocks=calls),
        ChatMessage(role="tool", content="of b", additional_kwargs={"tool_call_id": "b"}),
        ChatMessage(role="tool", content="of a"),
        ChatMessage(role="function", content="of c"),
    ]
    results = [message.content[0] for message in to_messages(history, Authors().of)[1:]]
    assert [result.call_id for result in results if isinstance(result, ToolResult)] == ["b", "a", "c"]


def test_an_image_in_a_tool_result_stays_an_image() -> None:
    blocks = [TextBlock(text="see"), ImageBlock(url="https://e.com/x.png")]
    (result,) = one(ChatMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": "c"})).content
    assert isinstance(result, ToolResult)
    assert result.content == (Text("see"), Media("image", "image/png", url="https://e.com/x.png"))


class SdkFunction(BaseModel):
    name: str = "add"
    arguments: str = '{"a":1}'


class SdkCall(BaseModel):
    id: str = "c1"
    type: str = "function"
    function: SdkFunction = SdkFunction()


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
        {"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}},
        {"id": "c1", "name": "add", "input": {"a": 1}},
        {"id": "c1", "name": "add", "arguments": {"a": 1}},
        {"id": "c1", "name": "add", "parameters": {"a": 1}},
        {"toolUseId": "c1", "name": "add", "input": {"a": 1}},
        {"tool_id": "c1", "tool_name": "add", "tool_kwargs": {"a": 1}},
        {"id": "c1", "name": "add", "args": {"a": 1}},
        SdkCall(),
    ],
    ids=["openai", "ollama", "anthropic", "mistral", "cohere", "bedrock", "llamaindex", "gemini", "sdk object"],
)
def test_calls_that_stand_only_in_additional_kwargs_are_found(entry: Any) -> None:
    (call,) = assistant(tool_calls=[entry]).tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("c1", "add", {"a": 1})


def test_a_call_of_unknown_shape_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="unknown shape"):
        assistant(tool_calls=[{"what": 1}])


def test_a_call_that_stands_in_both_places_is_one_call_as_the_model_wrote_it() -> None:
    said = Message("assistant", ToolCall("c1", "add", '{"a":1 , "b":2.50}', {"thought_signature": "s"}), "openai:m")
    back = one(to_chat_message(said))
    assert back == said


def test_arguments_changed_in_the_block_win_over_what_the_model_wrote() -> None:
    message = to_chat_message(Message("assistant", ToolCall("c1", "add", '{"a":1}')))
    (block,) = message.blocks
    assert isinstance(block, ToolCallBlock)
    block.tool_kwargs = {"a": 7}
    assert one(message).tool_calls == (ToolCall("c1", "add", '{"a": 7}'),)


@pytest.mark.parametrize(("text", "kwargs"), [("", {}), ("  ", {}), ('{"a":', '{"a":'), ("[1]", "[1]"), ("nul", "nul")])
def test_arguments_that_are_no_object_stay_text(text: str, kwargs: Any) -> None:
    (block,) = to_chat_message(Message("assistant", ToolCall("c1", "add", text))).blocks
    assert isinstance(block, ToolCallBlock)
    assert block.tool_kwargs == kwargs


# ----------------------------------------------------------- thoughts, authors


def test_a_thought_comes_back_with_its_signature_and_its_author() -> None:
    thought = Thinking("hm", "sig", extra={"id": "rs_1"})
    said = Message("assistant", (thought, Text("42")), "anthropic:claude-haiku-5-5")
    assert one(to_chat_message(said)) == said


def test_a_redacted_thought_comes_back() -> None:
    said = Message("assistant", (Thinking(redacted="xyz"), Text("42")), "anthropic:m")
    assert one(to_chat_message(said)) == said


def test_a_thought_from_elsewhere_has_no_author() -> None:
    foreign = ThinkingBlock(content="hm", additional_information={"signature": "sig"})
    assert assistant(foreign, TextBlock(text="42")).author is None


def test_a_text_is_recognised_by_what_it_says_even_after_storage() -> None:
    authors = Authors()
    message = to_chat_message(Message("assistant", "It is 42.", "groq:m"))
    authors.remember(message, "groq:m")
    stored = ChatMessage.model_validate_json(message.model_dump_json())
    assert authors.of(stored) == "groq:m"
    assert authors.of(ChatMessage(role="assistant", content="It is 43.")) is None
    assert "groq" not in str(message.additional_kwargs)


def test_calls_and_thoughts_name_their_author_themselves() -> None:
    call = to_chat_message(Message("assistant", ToolCall("c", "f", "{}"), "openai:m"))
    thought = to_chat_message(Message("assistant", Thinking("hm"), "anthropic:m"))
    stored = [ChatMessage.model_validate_json(each.model_dump_json()) for each in (call, thought)]
    assert [Authors().of(each) for each in stored] == ["openai:m", "anthropic:m"]


def test_only_so_many_authors_are_remembered() -> None:
    authors = Authors(size=2)
    messages = [ChatMessage(role="assistant", content=str(each)) for each in range(3)]
    for message in messages:
        authors.remember(message, "a:m")
    assert [authors.of(message) for message in messages] == [None, "a:m", "a:m"]


def test_an_author_who_said_it_again_is_remembered_longer() -> None:
    authors = Authors(size=2)
    first, second, third = (ChatMessage(role="assistant", content=str(each)) for each in range(3))
    for message in (first, second, first, third):
        authors.remember(message, "a:m")
    assert [authors.of(message) for message in (first, second, third)] == ["a:m", None, "a:m"]


def test_an_empty_answer_is_nobodys() -> None:
    authors = Authors()
    authors.remember(ChatMessage(role="assistant", content=""), "a:m")
    assert authors.of(ChatMessage(role="assistant", content=None)) is None


# -------------------------------------------------------------------- both


def test_text_around_a_thought_is_kept_apart_and_other_text_is_one() -> None:
    blocks = (Text("a"), Text("b"), Thinking("hm", "s"), Text("c"))
    message = to_chat_message(Message("assistant", blocks, "x:m"))
    texts = [block.text for block in message.blocks if isinstance(block, TextBlock)]
    assert texts == ["ab", "c"]


def test_a_whole_history_survives_the_way_there_and_back() -> None:
    history = (
        Message("system", "Be brief."),
        Message("user", (Text("what is this"), Media("image", "image/png", "AP8="))),
        Message("assistant", (Thinking("hm", "s"), Text("let me see"), ToolCall("c1", "look", '{"x":1}')), "a:m"),
        Message("tool", ToolResult("c1", "a cat", name="look")),
        Message("tool", ToolResult("c2", (Text("and"), Media("image", "image/png", "AP8=")))),
        Message("assistant", "A cat.", None),
    )
    assert to_messages(to_chat_messages(history), Authors().of) == history


def test_the_callers_messages_are_not_changed() -> None:
    history = [
        ChatMessage(role="user", blocks=[ImageBlock(image=PNG), POINT]),
        ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"id": "c", "name": "f", "input": {}}]}),
        ChatMessage(role="tool", content="x"),
    ]
    before = [message.model_dump() for message in history]
    to_messages(history, Authors().of)
    assert [message.model_dump() for message in history] == before
