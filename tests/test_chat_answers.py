"""What is made of everything that Chat Completions servers answer, whole or streamed, sound or broken."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.dialects.base import Model
from failover.dialects.chat import Chat
from failover.dialects.providers import PROVIDERS, custom
from failover.dialects.sse import Splitter
from failover.facts import Facts
from failover.types import Answer, Chunk, Failure, Kind, Media, Message, Outcome, Text, Thinking, ToolCall, Usage

CHAT = Chat()
GPT = Model("gpt-4.1", PROVIDERS["openai"], Facts())
ROUTED = Model("openai/gpt-6-luna", PROVIDERS["openrouter"], Facts())
LOOSE = Model("m", custom("mine", "http://x/v1"), Facts(), end_marker=False)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()


# ----------------------------------------------------------------- answers


def whole(message: Any = None, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"} if message is None else message}
    return {"id": "c1", "model": "m-1", "choices": [{**choice, "finish_reason": finish}], **fields}


def parsed(data: Any, target: Model = GPT) -> Outcome:
    return CHAT.parse(data if isinstance(data, bytes) else json.dumps(data).encode(), target)


def answer(data: Any, target: Model = GPT) -> Answer:
    outcome = parsed(data, target)
    assert isinstance(outcome, Answer), outcome
    return outcome


def failure(data: Any, target: Model = GPT) -> Failure:
    outcome = parsed(data, target)
    assert isinstance(outcome, Failure), outcome
    return outcome


def calling(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def call(ident: str | None, arguments: Any = "{}", name: str = "weather", **more: Any) -> dict[str, Any]:
    given = {"type": "function", "function": {"name": name, "arguments": arguments}, **more}
    return given if ident is None else {"id": ident, **given}


def test_an_answer_is_read_with_everything_that_stands_around_it():
    data = whole(
        usage={"prompt_tokens": 5, "completion_tokens": 3},
        system_fingerprint="fp",
        service_tier="flex",
        provider="Azure",
        created=1,
    )
    assert answer(data) == Answer(
        Message("assistant", "hello"),
        "stop",
        "stop",
        Usage(5, 3),
        "m-1",
        "c1",
        {"system_fingerprint": "fp", "service_tier": "flex", "upstream": "Azure"},
    )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_found_under_either_name_and_comes_first(key: str):
    said = answer(whole({"role": "assistant", "content": "4", key: "2+2"})).message
    assert said.content == (Thinking("2+2"), Text("4"))


def test_reasoning_under_both_names_is_not_doubled():
    message = {"content": "4", "reasoning_content": "2+2", "reasoning": "2+2"}
    assert answer(whole(message)).message.reasoning == "2+2"


def test_mistrals_list_of_parts_is_reasoning_and_text():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]}, {"type": "text", "text": "4"}]
    assert answer(whole({"content": parts})).message.content == (Thinking("2+2"), Text("4"))


def test_reasoning_details_are_kept_to_be_sent_back():
    details = [{"type": "reasoning.encrypted", "data": "xyz", "index": 0}]
    said = answer(whole({"content": "4", "reasoning": "2+2", "reasoning_details": details})).message
    assert said.content == (Thinking("2+2", extra={"reasoning_details": details}), Text("4"))
    alone = answer(whole({"content": "4", "reasoning_details": details})).message
    assert alone.content == (Thinking("", extra={"reasoning_details": details}), Text("4"))


def test_tool_calls_keep_their_arguments_as_written_and_what_else_came_with_them():
    extra = {"extra_content": {"google": {"thought_signature": "s"}}}
    said = answer(whole(calling(call("a", '{"city":  "Rome"}', **extra)), "tool_calls"))
    assert said.message.content == (ToolCall("a", "weather", '{"city":  "Rome"}', extra),)
    assert said.finish_reason == "tool_calls"


def test_arguments_given_as_an_object_become_text():
    assert answer(whole(calling(call("a", {"city": "Rome"})))).message.tool_calls[0].arguments == '{"city":"Rome"}'


def test_calls_without_an_id_or_with_the_same_get_one_each_that_stays_the_same():
    data = whole(calling(call(None), call(None), call("a"), call("a")))
    ids = [each.id for each in answer(data).message.tool_calls]
    assert len(set(ids)) == 4
    assert ids == [each.id for each in answer(data).message.tool_calls]
    assert ids[2] == "a"
    assert ids != [each.id for each in answer({**data, "id": "c2"}).message.tool_calls]


def test_a_function_call_of_the_old_kind_is_a_tool_call():
    said = answer(whole({"content": None, "function_call": {"name": "weather", "arguments": "{}"}}, "function_call"))
    assert [(each.name, each.arguments) for each in said.message.tool_calls] == [("weather", "{}")]
    assert (said.finish_reason, said.native_finish_reason) == ("tool_calls", "function_call")


def test_stop_with_calls_means_calls_and_the_reverse():
    assert answer(whole(calling(call("a")), "stop")).finish_reason == "tool_calls"
    assert answer(whole(None, "tool_calls")).finish_reason == "stop"


@pytest.mark.parametrize(
    ("native", "meaning"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("model_length", "context_window"),
        ("whatever", "other"),
        (None, "stop"),
        ("", "stop"),
    ],
)
def test_finish_reasons_have_one_meaning(native: str | None, meaning: str):
    assert answer(whole(None, native)).finish_reason == meaning


def test_openrouters_native_reason_is_kept():
    data = whole()
    data["choices"][0]["native_finish_reason"] = "end_turn"
    assert answer(data).native_finish_reason == "end_turn"


def test_a_refusal_is_a_content_filter_with_its_words():
    said = answer(whole({"content": None, "refusal": "I cannot."}))
    assert (said.finish_reason, said.message.text, said.extra["refusal"]) == (
        "content_filter",
        "I cannot.",
        "I cannot.",
    )


def test_logprobs_and_annotations_are_kept():
    data = whole({"content": "x", "annotations": [{"type": "url_citation"}]})
    data["choices"][0]["logprobs"] = {"content": [{"token": "x"}], "refusal": None}
    said = answer(data)
    assert said.extra["logprobs"] == {"content": [{"token": "x"}]}
    assert said.message.content == (Text("x", extra={"annotations": [{"type": "url_citation"}]}),)


def test_images_and_audio_in_an_answer_are_media():
    images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
    assert answer(whole({"content": None, "images": images})).message.content == (Media("image", "image/png", PNG),)
    audio = {"id": "au_1", "data": "UklGRg==", "transcript": "hello", "expires_at": 1}
    said = answer(whole({"content": None, "audio": audio})).message
    assert said.content == (Text("hello"), Media("audio", data="UklGRg==", file_id="au_1"))


def test_blank_lines_before_the_body_are_keep_alives():
    assert answer(b"\n\n\n  " + json.dumps(whole()).encode() + b"\n").message.text == "hello"


def test_only_the_first_choice_counts():
    data = whole()
    data["choices"].insert(0, {"index": 1, "message": {"content": "second"}, "finish_reason": "stop"})
    assert answer(data).message.text == "hello"


def test_half_a_surrogate_pair_is_no_reason_to_lose_an_answer():
    assert (
        answer(b'{"choices":[{"message":{"content":"a\\ud83db"},"finish_reason":"stop"}]}').message.text == "a\ufffdb"
    )


# ------------------------------------------------------------------- usage

USAGE: list[tuple[Any, Usage | None]] = [
    (None, None),
    ({}, None),
    ("odd", None),
    ({"prompt_tokens": None, "completion_tokens": "7"}, None),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20, "audio_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2},
        },
        Usage(100, 50, 60, 20, reasoning_tokens=30, audio_input_tokens=5, audio_output_tokens=2),
    ),
    (
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3},
        Usage(9, 1, 6),
    ),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        Usage(10, 105, reasoning_tokens=100),
    ),
    ({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5}, Usage(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": -5, "total_tokens": 0}, Usage(10, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "usage"), USAGE)
def test_usage_has_one_meaning(raw: Any, usage: Usage | None):
    assert answer(whole(usage=raw)).usage == usage


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        ({"cost": 0.000123456}, 123_456),
        ({"cost": 0}, 0),
        ({"cost": 1e-9, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 20_000_001),
        ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.4}}, 500_000_000),
        ({"cost": None}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": "1"}, None),
    ],
)
def test_openrouter_says_what_it_charged(raw: dict[str, Any], cost: int | None):
    usage = answer(whole(usage={"prompt_tokens": 1, "completion_tokens": 1, **raw}), ROUTED).usage
    assert usage is not None
    assert usage.cost == cost


def test_groq_may_put_usage_where_nobody_else_does():
    assert answer(whole(x_groq={"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 4}})).usage == Usage(3, 4)


# ------------------------------------------------- answers not to be believed

BAD: list[tuple[bytes, Kind]] = [
    (b"", Kind.EMPTY),
    (b"  \n\n ", Kind.EMPTY),
    (b"<!DOCTYPE html><html><body>Bad gateway</body></html>", Kind.MALFORMED),
    (b"<html>", Kind.MALFORMED),
    (b'{"choices":[{"message":{"content":"hel', Kind.MALFORMED),
    (json.dumps(whole()).encode()[:-3], Kind.MALFORMED),
    (b'{"choices":[{"message":{"content":"\xff\xfe"}}]}', Kind.MALFORMED),
    (json.dumps(whole()).encode("utf-16"), Kind.MALFORMED),
    (b"null", Kind.MALFORMED),
    (b'"ok"', Kind.MALFORMED),
    (b"[]", Kind.MALFORMED),
    (b"{}", Kind.MALFORMED),
    (b"[" * 100_000, Kind.MALFORMED),
    (b'{"choices":null}', Kind.MALFORMED),
    (b'{"choices":{}}', Kind.MALFORMED),
    (b'{"choices":[]}', Kind.EMPTY),
    (b'{"choices":["text"]}', Kind.MALFORMED),
    (b'{"choices":[{"message":"text"}]}', Kind.MALFORMED),
    (b'{"choices":[{"message":{"content":7},"finish_reason":"stop"}]}', Kind.MALFORMED),
    (b'{"choices":[{"message":{"content":"x"},"finish_reason":7}]}', Kind.MALFORMED),
    (b'{"choices":[{"message":{"content":"x","tool_calls":"y"}}]}', Kind.MALFORMED),
    (b'{"choices":[{"message":{"tool_calls":[{"id":"a"}]},"finish_reason":"tool_calls"}]}', Kind.MALFORMED),
    (b'{"choices":[{"finish_reason":"stop"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":null,"finish_reason":"stop"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":{"content":null},"finish_reason":"stop"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":{"content":"","reasoning":"hm"},"finish_reason":"stop"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":{"content":""},"finish_reason":"tool_calls"}]}', Kind.EMPTY),
    (b'{"choices":[{"message":{"content":""},"finish_reason":"insufficient_system_resource"}]}', Kind.CAPACITY),
    (b'{"choices":[{"message":{"content":"par"},"finish_reason":"error"}]}', Kind.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind"), BAD)
def test_a_200_that_is_no_answer_is_a_failure(data: bytes, kind: Kind):
    assert failure(data).kind is kind


def test_an_empty_answer_is_kept_in_case_every_target_answers_so():
    found = failure(whole({"content": None, "reasoning": "hm"}, usage={"prompt_tokens": 3, "completion_tokens": 1}))
    assert found.partial is not None
    assert (found.partial.usage, found.partial.message.reasoning) == (Usage(3, 1), "hm")


@pytest.mark.parametrize("finish", ["length", "content_filter", "model_length"])
def test_nothing_with_a_reason_is_an_answer(finish: str):
    assert answer(whole({"content": ""}, finish)).message.content == ()


@pytest.mark.parametrize(
    "data",
    [
        {"error": {"message": "boom", "code": 500}},
        {"error": {"message": "boom", "code": 500}, "choices": []},
        whole(error={"message": "boom", "code": 500}),
        [{"error": {"message": "boom", "code": 500, "status": "INTERNAL"}}],
        {"error": "boom"},
        {"object": "error", "message": "boom", "code": "500"},
        {"detail": "boom"},
        {"status": "failure", "message": "boom"},
        {
            "choices": [
                {"message": {"content": "x"}, "finish_reason": "error", "error": {"message": "boom", "code": 502}}
            ]
        },
        {"x_groq": {"error": "boom"}, "choices": []},
    ],
)
def test_an_error_in_a_200_is_classified_before_the_choices_are_looked_at(data: Any):
    found = failure(data)
    assert found.kind not in (Kind.MALFORMED, Kind.EMPTY)
    assert "boom" in found.message


def test_an_error_that_is_null_is_none():
    assert answer(whole(error=None)).message.text == "hello"


def test_a_call_that_was_cut_at_the_length_limit_is_left_out():
    data = whole(calling(call("a", '{"city": "Rome"}'), call("b", '{"city": "Ro'), content="so:"), "length")
    assert answer(data).message.content == (Text("so:"), ToolCall("a", "weather", '{"city": "Rome"}'))
    assert len(answer(whole(calling(call("b", '{"city": "Ro')), "stop")).message.tool_calls) == 1


# ----------------------------------------------------------------- streams


def event(delta: Any = None, finish: Any = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return json.dumps({"id": "c1", "model": "m-1", "choices": [choice], **fields}).encode()


def text(content: Any, finish: str | None = None) -> bytes:
    return event({"content": content}, finish)


def tools(*fragments: dict[str, Any]) -> bytes:
    return event({"tool_calls": list(fragments)})


def fragment(arguments: str | None = None, index: int | None = None, ident: str | None = None, name: str | None = None):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {k: v for k, v in (("index", index), ("id", ident), ("function", function)) if v is not None}


DONE = b"[DONE]"


def streamed(*events: bytes, target: Model = GPT) -> tuple[list[Chunk], Outcome]:
    decoder = CHAT.decoder(target)
    chunks = [chunk for data in events for chunk in decoder.feed(data)]
    return chunks, decoder.end()


def ended(*events: bytes, target: Model = GPT) -> Answer:
    outcome = streamed(*events, target=target)[1]
    assert isinstance(outcome, Answer), outcome
    return outcome


def broken(*events: bytes, target: Model = GPT) -> Failure:
    outcome = streamed(*events, target=target)[1]
    assert isinstance(outcome, Failure), outcome
    return outcome


def calls_of(*events: bytes) -> list[tuple[str, str, str]]:
    """The calls in the answer, which must be those that were handed on."""
    chunks, outcome = streamed(*events, event(None, "tool_calls"))
    assert isinstance(outcome, Answer), outcome
    calls = outcome.message.tool_calls
    assert calls == tuple(each for chunk in chunks for each in chunk.tool_calls)
    return [(each.id, each.name, each.arguments) for each in calls]


def test_a_stream_gives_its_text_and_then_the_answer():
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
    chunks, outcome = streamed(
        event({"role": "assistant", "content": ""}), text("hel"), text("lo"), event(None, "stop"), usage, DONE
    )
    assert chunks == [Chunk(text="hel"), Chunk(text="lo")]
    assert outcome == Answer(Message("assistant", "hello"), "stop", "stop", Usage(3, 2), "m-1", "c1")


def test_the_terminal_marker_is_the_finish_reason_and_nothing_else():
    decoder = CHAT.decoder(GPT)
    decoder.feed(text("x"))
    assert not decoder.done
    decoder.feed(DONE)
    assert not decoder.done
    decoder.feed(event(None, "stop"))
    assert decoder.done


def test_the_end_of_the_bytes_after_a_finish_reason_is_a_good_end():
    assert ended(text("x"), event(None, "stop")).message.text == "x"


def test_the_end_of_the_bytes_before_a_finish_reason_is_a_cut_with_what_had_come():
    found = broken(event({"reasoning": "hm"}), text("hel"), text("lo"))
    assert found.kind is Kind.CUT
    assert found.partial is not None
    assert found.partial.message.content == (Thinking("hm"), Text("hello"))
    assert found.partial.finish_reason == "other"


def test_a_cut_within_an_event_is_a_cut_and_not_garbage():
    splitter, decoder = Splitter(1 << 20), CHAT.decoder(GPT)
    pieces = [*splitter.feed(b"data: " + text("x") + b'\n\ndata: {"choi'), *splitter.end()]
    assert [chunk.text for piece in pieces for chunk in decoder.feed(piece)] == ["x"]
    outcome = decoder.end()
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.CUT


def test_done_does_not_make_up_for_a_missing_finish_reason():
    assert broken(text("x"), DONE).kind is Kind.CUT


def test_a_stream_with_nothing_in_it_is_a_cut_without_anything():
    assert broken() == Failure(Kind.CUT, "the stream ended before its finish_reason")
    assert broken(event({"role": "assistant"})).partial is None


def test_a_target_may_be_allowed_to_end_without_a_marker():
    assert ended(text("x"), target=LOOSE).message.text == "x"
    assert ended(text("x"), DONE, target=LOOSE).finish_reason == "stop"
    chunks, _ = streamed(tools(fragment("{}", 0, "a", "f")), DONE, target=LOOSE)
    assert [each.id for chunk in chunks for each in chunk.tool_calls] == ["a"]
    assert broken(target=LOOSE).kind is Kind.EMPTY


def test_a_partial_answer_never_holds_a_call_that_was_not_handed_on():
    found = broken(text("x"), tools(fragment('{"a"', 0, "a", "f")))
    assert found.partial is not None
    assert found.partial.message.content == (Text("x"),)


def test_azures_first_chunk_has_no_choices():
    first = json.dumps({"choices": [], "prompt_filter_results": [{}], "model": "", "id": ""}).encode()
    assert ended(first, text("x"), event(None, "stop")).model == "m-1"


def test_groqs_usage_comes_beside_the_finish_reason():
    last = event(None, "stop", x_groq={"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert ended(event({"role": "assistant"}, x_groq={"id": "r"}), text("x"), last).usage == Usage(1, 2)


def test_usage_that_grows_in_every_chunk_counts_once():
    def grown(number: int) -> bytes:
        return event({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": number})

    assert ended(grown(1), grown(2), grown(3), event(None, "stop", usage=None)).usage == Usage(5, 3)


def test_blocks_are_numbered_as_they_open():
    parts = [
        event({"reasoning_content": "a"}),
        event({"reasoning_content": "b"}),
        text("c"),
        text("d"),
        event({"reasoning": "e"}),
    ]
    chunks, outcome = streamed(
        *parts, tools(fragment("{}", 0, "x", "f"), fragment("{}", 1, "y", "f")), event(None, "stop")
    )
    assert [(c.reasoning or c.text, c.index) for c in chunks[:5]] == [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2)]
    assert chunks[5] == Chunk()
    assert [(c.tool_calls[0].id, c.index) for c in chunks[6:]] == [("x", 3), ("y", 4)]
    assert isinstance(outcome, Answer)
    kinds = [type(block) for block in outcome.message.content]
    assert kinds == [Thinking, Text, Thinking, ToolCall, ToolCall]


def test_openrouters_reasoning_details_come_in_fragments_and_are_given_when_complete():
    def detail(**fields: Any) -> bytes:
        return event(
            {
                "reasoning": fields.get("text", ""),
                "reasoning_details": [{"type": "reasoning.text", "index": 0, **fields}],
            }
        )

    chunks, outcome = streamed(
        detail(text="a"), detail(text="b"), detail(signature="s"), text("x"), event(None, "stop")
    )
    whole_detail = {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"}
    assert isinstance(outcome, Answer)
    assert outcome.message.content == (Thinking("ab", extra={"reasoning_details": [whole_detail]}), Text("x"))
    assert chunks[-1] == Chunk(blocks=(Thinking(extra={"reasoning_details": [whole_detail]}),), index=0)


def test_mistral_streams_lists_too():
    thought = event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})
    chunks, _ = streamed(thought, event({"content": [{"type": "text", "text": "x"}]}), event({"content": "y"}, "stop"))
    assert chunks == [Chunk(reasoning="hm"), Chunk(text="x", index=1), Chunk(text="y", index=1)]


def test_a_message_in_place_of_a_delta_is_read():
    data = json.dumps(whole()).encode()
    assert streamed(data)[0] == [Chunk(text="hello")]


def test_an_emoji_cut_between_its_two_units_is_whole_again():
    torn = [b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}', b'{"choices":[{"delta":{"content":"\\ude00b"}}]}']
    chunks, outcome = streamed(*torn, event(None, "stop"))
    assert [chunk.text for chunk in chunks] == ["a", "😀b"]
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "a😀b"
    assert ended(torn[0], event(None, "stop")).message.text == "a\ufffd"


def test_refusal_fragments_are_not_text_that_is_handed_on():
    chunks, outcome = streamed(event({"refusal": "I can"}), event({"refusal": "not."}), event(None, "stop"))
    assert chunks == [Chunk(), Chunk()]
    assert isinstance(outcome, Answer)
    assert (outcome.finish_reason, outcome.extra["refusal"]) == ("content_filter", "I cannot.")


def test_other_choices_do_not_mix_into_the_answer():
    other = json.dumps({"choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]}).encode()
    assert ended(text("a"), other, text("b"), event(None, "stop")).message.text == "ab"


# --------------------------------------------------------- tool call deltas


def test_fragments_are_put_together_by_index():
    found = calls_of(
        tools(fragment("", 0, "a", "f")),
        tools(fragment('{"x"', 0)),
        tools(fragment(": 1}", 0)),
    )
    assert found == [("a", "f", '{"x": 1}')]


def test_parallel_calls_may_interleave():
    found = calls_of(
        tools(fragment("", 0, "a", "f"), fragment("", 1, "b", "g")),
        tools(fragment('{"x', 0)),
        tools(fragment('{"y', 1)),
        tools(fragment('":1}', 0), fragment('":2}', 1)),
    )
    assert found == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_calls_are_handed_on_only_when_whole():
    decoder = CHAT.decoder(GPT)
    fragments = [tools(fragment("", 0, "a", "f")), tools(fragment("{}", 0)), tools(fragment("{}", 1, "b", "f"))]
    assert [decoder.feed(data) for data in fragments] == [[Chunk()], [Chunk()], [Chunk()]]
    assert [c.tool_calls[0].id for c in decoder.feed(event(None, "tool_calls"))] == ["a", "b"]
    assert decoder.feed(DONE) == []


def test_whole_calls_without_an_index_are_told_apart_by_their_ids():
    assert calls_of(tools(fragment("{}", None, "a", "f"), fragment("{}", None, "b", "f"))) == [
        ("a", "f", "{}"),
        ("b", "f", "{}"),
    ]


def test_whole_calls_that_share_one_id_are_told_apart_because_each_is_complete():
    found = calls_of(tools(fragment('{"n":1}', None, "a", "f"), fragment('{"n":2}', None, "a", "f")))
    assert [(name, arguments) for _, name, arguments in found] == [("f", '{"n":1}'), ("f", '{"n":2}')]
    assert found[0][0] != found[1][0]


def test_whole_calls_without_index_and_id_are_told_apart_because_each_is_complete():
    found = calls_of(tools(fragment('{"n":1}', None, None, "f")), tools(fragment('{"n":2}', None, None, "f")))
    assert [(name, arguments) for _, name, arguments in found] == [("f", '{"n":1}'), ("f", '{"n":2}')]
    assert len({ident for ident, _, _ in found}) == 2


def test_several_calls_under_one_index_are_told_apart_by_id():
    found = calls_of(
        tools(fragment("{}", 0, "a", "f")), tools(fragment('{"n":', 0, "b", "g")), tools(fragment("2}", 0))
    )
    assert found == [("a", "f", "{}"), ("b", "g", '{"n":2}')]


def test_an_id_in_every_fragment_changes_nothing():
    found = calls_of(tools(fragment("{", 0, "a", "f")), tools(fragment("}", 0, "a")), tools(fragment("", 0, "a")))
    assert found == [("a", "f", "{}")]
    assert calls_of(tools(fragment("{", None, "a", "f")), tools(fragment("}", None, "a"))) == [("a", "f", "{}")]


def test_a_name_in_every_fragment_is_not_doubled():
    pieces = [tools(fragment(piece, 0, "a", "f")) for piece in ("", "{", "}", "")]
    assert calls_of(*pieces) == [("a", "f", "{}")]


def test_a_call_without_arguments_ends_where_the_next_one_begins():
    found = calls_of(tools(fragment("", 0, "a", "f")), tools(fragment("{}", 0, "b", "g")))
    assert found == [("a", "f", ""), ("b", "g", "{}")]


def test_an_empty_finish_reason_is_none_yet():
    decoder = CHAT.decoder(GPT)
    decoder.feed(event({"content": "x"}, ""))
    assert not decoder.done
    decoder.feed(event(None, "stop"))
    assert decoder.done


def test_a_new_id_for_every_fragment_is_still_one_call():
    assert calls_of(tools(fragment("{", 0, "a", "f")), tools(fragment("}", 0, "b"))) == [("a", "f", "{}")]
    assert calls_of(tools(fragment("{", None, "a", "f")), tools(fragment("}", None, "b"))) == [("a", "f", "{}")]


def test_two_indexes_with_one_id_are_two_calls_with_two_ids():
    found = calls_of(tools(fragment("{}", 0, "a", "f"), fragment("{}", 1, "a", "f")))
    assert found[0] == ("a", "f", "{}")
    assert found[1][0] not in ("", "a")


def test_an_old_function_call_streams_too():
    found = calls_of(
        event({"function_call": {"name": "f", "arguments": ""}}), event({"function_call": {"arguments": "{}"}})
    )
    assert found[0][1:] == ("f", "{}")


def test_what_came_beside_a_call_is_kept():
    signed = {**fragment("{}", 0, "a", "f"), "extra_content": {"google": {"thought_signature": "s"}}}
    _, outcome = streamed(tools(signed), event(None, "stop"))
    assert isinstance(outcome, Answer)
    assert outcome.message.tool_calls[0].extra == {"extra_content": {"google": {"thought_signature": "s"}}}


def test_a_call_cut_by_the_length_limit_is_neither_handed_on_nor_in_the_answer():
    chunks, outcome = streamed(text("x"), tools(fragment('{"a"', 0, "a", "f")), event(None, "length"))
    assert chunks == [Chunk(text="x"), Chunk()]
    assert isinstance(outcome, Answer)
    assert outcome.message.content == (Text("x"),)


# ----------------------------------------------------------- broken streams

ERRORS = [
    b'{"error":{"message":"boom","type":"server_error","code":null}}',
    b'{"id":"g","error":{"code":502,"message":"boom"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}',
    b'{"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"code":502,"message":"boom"}}]}',
    b'{"x_groq":{"error":"boom"},"choices":[]}',
    b'[{"error":{"code":500,"message":"boom","status":"INTERNAL"}}]',
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("before", [(), (b'{"choices":[{"delta":{"content":"par"}}]}',)])
def test_an_error_in_a_stream_is_its_failure_with_what_had_come(error: bytes, before: tuple[bytes, ...]):
    decoder = CHAT.decoder(GPT)
    for data in (*before, error, text("more")):
        decoder.feed(data)
    assert decoder.failure is decoder.end()
    assert decoder.failure is not None
    assert "boom" in decoder.failure.message
    assert (decoder.failure.partial.message.text if decoder.failure.partial else None) == ("par" if before else None)


@pytest.mark.parametrize(
    "garbage",
    [
        b"{not json",
        b"<html>",
        b'"text"',
        b"null",
        b'{"choices":5}',
        b'{"choices":["x"]}',
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b"\xff\xff",
    ],
)
def test_garbage_in_a_stream_is_its_failure(garbage: bytes):
    found = broken(text("par"), garbage, text("more"), event(None, "stop"))
    assert found.kind is Kind.MALFORMED
    assert found.partial is not None
    assert found.partial.message.text == "par"


def test_garbage_after_the_terminal_marker_takes_nothing_away():
    assert ended(text("x"), event(None, "stop"), b"{not json", b"null").message.text == "x"


def test_deepseek_out_of_resources_is_a_failure_even_after_content():
    found = broken(text("par"), event(None, "insufficient_system_resource"))
    assert (found.kind, found.code) == (Kind.CAPACITY, "insufficient_system_resource")
    assert found.partial is not None


def test_a_clean_stop_with_nothing_said_is_empty():
    assert (
        broken(event({"role": "assistant", "content": ""}), event({"reasoning": "hm"}), event(None, "stop")).kind
        is Kind.EMPTY
    )
    assert ended(event(None, "length")).message.content == ()


# -------------------------------------------------------------- properties

PIECES = st.one_of(
    st.builds(lambda t: {"content": t}, st.text(max_size=5)),
    st.builds(lambda t: {"reasoning_content": t}, st.text(max_size=5)),
    st.builds(lambda t: {"content": [{"type": "text", "text": t}]}, st.text(min_size=1, max_size=5)),
    st.just({"role": "assistant", "content": ""}),
)
ARGUMENTS = st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)).map(json.dumps)


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[a:b] for a, b in pairwise(places)]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], dict[str, Any]]:
    """Events of a stream, and the whole answer that says the same."""
    deltas = draw(st.lists(PIECES, max_size=8))
    calls = [call(f"c{number}", draw(ARGUMENTS)) for number in range(draw(st.integers(0, 2)))]
    events = [event(delta) for delta in deltas]
    for index, each in enumerate(calls):
        arguments = each["function"]["arguments"]
        at = draw(st.integers(0, len(arguments)))
        events.append(tools(fragment(arguments[:at], index, each["id"], "weather")))
        events.append(tools(fragment(arguments[at:], index)))
    usage = {"prompt_tokens": 7, "completion_tokens": 9}
    finish = draw(st.sampled_from(["stop", "length", "content_filter"]))
    ending = [event(None, finish), json.dumps({"choices": [], "usage": usage}).encode(), DONE]
    parts: list[dict[str, Any]] = []
    for delta in deltas:
        said = delta.get("content")
        said = said[0]["text"] if isinstance(said, list) else said
        if thought := delta.get("reasoning_content"):
            parts.append({"type": "thinking", "thinking": thought})
        if said:
            parts.append({"type": "text", "text": said})
    message = {"content": parts or None, "tool_calls": calls or None}
    return [*events, *ending], whole(message, finish, usage=usage)


@settings(max_examples=150, deadline=None)
@given(conversations(), st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_says_the_same_as_the_whole_however_it_was_cut(case: Any, cuts: list[int], line: bytes):
    events, data = case
    stream = b"".join(b": keep-alive" + line * 2 + b"data: " + each + line * 2 for each in events)
    splitter, decoder = Splitter(1 << 20), CHAT.decoder(GPT)
    chunks = [chunk for piece in cut(stream, cuts) for one in splitter.feed(piece) for chunk in decoder.feed(one)]
    outcome = decoder.end()
    assert outcome == parsed(data)
    if isinstance(outcome, Answer):
        assert "".join(chunk.text for chunk in chunks) == outcome.message.text
        assert "".join(chunk.reasoning for chunk in chunks) == outcome.message.reasoning
        assert tuple(each for chunk in chunks for each in chunk.tool_calls) == outcome.message.tool_calls


KEYS = st.sampled_from(
    ["choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "id", "index", "type",
     "finish_reason", "usage", "prompt_tokens", "prompt_tokens_details", "cost", "error", "x_groq", "refusal", "audio",
     "reasoning", "reasoning_content", "reasoning_details", "images", "image_url", "url", "logprobs", "annotations",
     "function_call", "thinking", "text", "model", "provider", "completion_tokens_details", "total_tokens", "code"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
CHOICE = st.dictionaries(st.sampled_from(["delta", "message", "finish_reason", "index", "logprobs", "error"]), JSON)
HOSTILE = JSON | st.fixed_dictionaries(
    {"choices": st.lists(CHOICE | JSON, max_size=2)}, optional={"usage": JSON, "id": JSON}
)


@settings(max_examples=400, deadline=None)
@given(st.lists(HOSTILE | st.binary(max_size=20), max_size=4))
def test_nothing_a_server_sends_raises(events: list[Any]):
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in events]
    for data in raw:
        assert isinstance(parsed(data, ROUTED), Answer | Failure)
    decoder = CHAT.decoder(ROUTED)
    for data in raw:
        assert all(isinstance(chunk, Chunk) for chunk in decoder.feed(data))
        decoder.partial()
    assert isinstance(decoder.end(), Answer | Failure)
