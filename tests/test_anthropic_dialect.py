"""Anthropic Messages: what is sent, what is read, and every way in which either has gone wrong before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.dialects.anthropic import Anthropic
from failover.dialects.base import Model, Wire
from failover.dialects.providers import PROVIDERS, custom
from failover.facts import facts_for
from failover.testing.strict import violations
from failover.testing.world import ROWS
from failover.types import (
    Answer,
    Chunk,
    Failure,
    JsonFormat,
    Kind,
    Media,
    Message,
    Outcome,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from tests.kit.broken import JUNK, PATHS, PLACES, broken, broken_stream

DIALECT = Anthropic()


def claude(name: str = "claude-sonnet-5-5", **changes: Any) -> Model:
    return Model(name, PROVIDERS["anthropic"], facts_for("anthropic", name), **changes)


NEW, OLD, MIDDLE = claude(), claude("claude-haiku-4-5"), claude("claude-sonnet-4-6")
SEARCH = Tool("search", "Finds things.", {"type": "object", "properties": {"q": {"type": "string"}}})


def wired(model: Model = NEW, stream: bool = False, **options: Any) -> Wire:
    messages = options.pop("messages", (Message("user", "hi"),))
    return DIALECT.render(Request(tuple(messages), **options), model, stream)


def sent(model: Model = NEW, stream: bool = False, **options: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wired(model, stream, **options).body)
    return body


def refusals(wire: Wire) -> list[str]:
    headers = {**wire.headers, "x-api-key": "k"}
    return [each.message for each in violations("anthropic", "anthropic", json.loads(wire.body), headers)]


# ----------------------------------------------------------------- request


def test_the_smallest_request() -> None:
    wire = wired()
    assert json.loads(wire.body) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 16_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert wire.path == "/v1/messages"
    assert wire.headers == {"content-type": "application/json", "anthropic-version": "2026-10-21"}
    assert wire.notes == ()


def test_a_whole_request() -> None:
    history = (
        Message("system", [Text("Be brief.", cache_point=True)]),
        Message("user", [Text("What is this?"), Media("image", "image/png", "iVBORw0KGgo=")]),
        Message("assistant", [Text("Let me see."), ToolCall("toolu_1", "search", '{"q": "x"}')]),
        Message("tool", ToolResult("toolu_1", "nothing", is_error=True)),
        Message("user", "Try again."),
    )
    wire = wired(messages=history, tools=(SEARCH,), tool_choice="auto", stop=("END",), max_tokens=100, stream=True)
    assert json.loads(wire.body) == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {"q": "x"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "nothing", "is_error": True},
                    {"type": "text", "text": "Try again."},
                ],
            },
        ],
        "tools": [
            {
                "name": "search",
                "description": "Finds things.",
                "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
            }
        ],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["END"],
    }
    assert refusals(wire) == []


def test_a_base_url_that_ends_in_v1_is_not_given_another() -> None:
    at_v1 = replace(NEW, provider=replace(NEW.provider, base_url="https://proxy.example/v1/"))
    assert wired(at_v1).path == "/messages"


def test_the_version_is_the_newest_unless_the_request_needs_the_oldest() -> None:
    def version(model: Model, **options: Any) -> str:
        return wired(model, **options).headers["anthropic-version"]

    assert version(OLD) == "2026-10-21"
    assert version(OLD, temperature=0.5) == "2023-06-01"
    assert version(OLD, extra_body={"top_k": 5}) == "2023-06-01"
    assert version(NEW, temperature=0.5) == "2026-10-21"
    assert version(claude(api_version="2023-06-01")) == "2023-06-01"


def test_sampling_is_dropped_with_a_note_where_model_or_version_refuse_it() -> None:
    wire = wired(NEW, temperature=0.5, top_p=0.9, top_k=3)
    assert not {"temperature", "top_p", "top_k"} & set(json.loads(wire.body))
    assert len(wire.notes) == 3
    pinned = wired(claude("claude-haiku-4-5", api_version="2026-10-21"), temperature=1.0)
    assert "temperature" not in json.loads(pinned.body)
    assert pinned.notes
    assert refusals(pinned) == []


def test_temperature_is_clamped_and_top_p_gives_way_to_it() -> None:
    wire = wired(OLD, temperature=1.7, top_p=0.9)
    assert json.loads(wire.body)["temperature"] == 1.0
    assert "top_p" not in json.loads(wire.body)
    assert len(wire.notes) == 2
    assert refusals(wire) == []


def test_what_anthropic_never_heard_of_is_dropped_with_a_note() -> None:
    wire = wired(seed=1, presence_penalty=0.1, frequency_penalty=0.1, logprobs=True, top_logprobs=2)
    assert len(wire.notes) == 5
    assert refusals(wire) == []


def test_what_the_model_was_found_to_refuse_is_not_sent_again() -> None:
    learned = claude("claude-haiku-4-5", learned={"temperature": None, "output_config.effort": None})
    assert "temperature" not in sent(learned, temperature=0.5)


def test_an_extra_body_goes_on_top() -> None:
    assert sent(extra_body={"metadata": {"user_id": "u"}, "max_tokens": 7})["max_tokens"] == 7


def test_max_tokens_is_always_sent_and_never_more_than_the_model_has() -> None:
    assert sent(OLD)["max_tokens"] == 4_000
    wire = wired(OLD, max_tokens=10**6)
    assert json.loads(wire.body)["max_tokens"] == 64_000
    assert wire.notes == ("max_tokens 1000000 became 64000",)


def test_stop_sequences_of_white_space_alone_are_dropped() -> None:
    assert sent(stop=("\n", "END"))["stop_sequences"] == ["END"]
    assert "stop_sequences" not in sent(stop=("\n",))


BUDGET_2000 = {"type": "enabled", "budget_tokens": 2_000}
FORMS = [
    # model, what is asked for, what is sent, whether a note says so
    ("claude-haiku-4-5", BUDGET_2000, BUDGET_2000, False),
    ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 10}, {"type": "enabled", "budget_tokens": 1_024}, True),
    ("claude-haiku-4-5", {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 3_999}, True),
    ("claude-haiku-4-5", {"type": "between_tools"}, {"type": "disabled"}, True),
    ("claude-sonnet-4-6", {"type": "adaptive"}, {"type": "adaptive"}, False),
    ("claude-sonnet-4-6", BUDGET_2000, BUDGET_2000, False),
    ("claude-opus-4-7", BUDGET_2000, {"type": "adaptive"}, True),
    ("claude-opus-4-7", {"type": "disabled"}, {"type": "disabled"}, False),
    ("claude-sonnet-5-5", {"type": "disabled"}, {"type": "between_tools"}, True),
    ("claude-sonnet-5-5", BUDGET_2000 | {"display": "omitted"}, {"type": "adaptive", "display": "omitted"}, True),
    ("claude-opus-5-5", {"type": "disabled"}, None, True),
    ("claude-3-5-haiku-20241022", BUDGET_2000, None, True),
]


@pytest.mark.parametrize(("model", "asked", "expected", "noted"), FORMS)
def test_thinking_takes_the_form_that_the_model_knows(model: str, asked: Any, expected: Any, noted: bool) -> None:
    wire = wired(claude(model), thinking=asked)
    assert json.loads(wire.body).get("thinking") == expected
    assert bool(wire.notes) == noted


def test_effort_is_the_models_own_or_the_nearest_to_it() -> None:
    assert sent(reasoning_effort="minimal")["output_config"] == {"effort": "low"}
    assert sent(reasoning_effort="max")["output_config"] == {"effort": "max"}
    assert sent(claude("claude-opus-4-7"), reasoning_effort="high") == sent(claude("claude-opus-4-7")) | {
        "output_config": {"effort": "high"},
        "thinking": {"type": "adaptive"},
    }
    assert "output_config" not in sent(OLD, reasoning_effort="low")
    assert sent(OLD, reasoning_effort="low")["thinking"] == {"type": "enabled", "budget_tokens": 2_048}


def test_no_effort_means_no_thinking_or_as_little_as_can_be() -> None:
    assert sent(claude("claude-opus-4-7"), reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert sent(NEW, reasoning_effort="none")["thinking"] == {"type": "between_tools"}
    always = sent(claude("claude-opus-5-5"), reasoning_effort="none")
    assert "thinking" not in always
    assert always["output_config"] == {"effort": "low"}


def test_a_budget_needs_room_below_max_tokens() -> None:
    wire = wired(OLD, thinking={"type": "enabled", "budget_tokens": 5_000}, max_tokens=1_000)
    assert "thinking" not in json.loads(wire.body)
    assert wire.notes
    assert sent(OLD, thinking={"type": "enabled", "budget_tokens": 5_000}, max_tokens=3_000)["thinking"] == {
        "type": "enabled",
        "budget_tokens": 2_999,
    }


def test_thinking_with_a_budget_pauses_in_a_tool_loop_that_another_model_began() -> None:
    foreign = Message("assistant", ToolCall("a", "search", "{}"), "openai:gpt-6-luna")
    own = Message("assistant", [Thinking("hm", "sig"), ToolCall("a", "search", "{}")], OLD.author)
    result = Message("tool", ToolResult("a", "x"))
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    start = Message("user", "go")
    switched = wired(OLD, messages=(start, foreign, result), tools=(SEARCH,), thinking=thinking)
    assert "thinking" not in json.loads(switched.body)
    assert refusals(switched) == []
    assert "thinking" in sent(OLD, messages=(start, own, result), tools=(SEARCH,), thinking=thinking)
    ended = (start, foreign, result, Message("assistant", "done"), Message("user", "more"))
    assert "thinking" in sent(OLD, messages=ended, tools=(SEARCH,), thinking=thinking)


def test_thinking_and_sampling_exclude_each_other() -> None:
    wire = wired(OLD, thinking={"type": "enabled", "budget_tokens": 2_000}, temperature=0.3)
    assert "temperature" not in json.loads(wire.body)
    assert wire.headers["anthropic-version"] == "2026-10-21"


def test_tool_choices() -> None:
    def choice(asked: str | None, model: Model = OLD, **options: Any) -> Any:
        return sent(model, tools=(SEARCH,), tool_choice=asked, **options).get("tool_choice")

    assert choice(None) is None
    assert choice("auto") == {"type": "auto"}
    assert choice("none") == {"type": "none"}
    assert choice("required") == {"type": "any"}
    assert choice("search") == {"type": "tool", "name": "search"}
    assert choice(None, parallel_tool_calls=False) == {"type": "auto", "disable_parallel_tool_use": True}
    assert choice("required", parallel_tool_calls=False) == {"type": "any", "disable_parallel_tool_use": True}
    assert "tool_choice" not in sent(OLD, tool_choice="required")


def test_a_call_that_cannot_be_forced_is_asked_for_in_words() -> None:
    wire = wired(NEW, tools=(SEARCH,), tool_choice="search")
    body = json.loads(wire.body)
    assert body["tool_choice"] == {"type": "auto"}
    assert body["system"] == [{"type": "text", "text": "You must answer by calling the tool search."}]
    assert wire.notes
    assert refusals(wire) == []


def test_a_forced_call_wins_over_thinking() -> None:
    wire = wired(MIDDLE, tools=(SEARCH,), tool_choice="required", thinking={"type": "adaptive"})
    assert "thinking" not in json.loads(wire.body)
    assert wire.notes
    assert refusals(wire) == []


def test_a_history_with_calls_declares_its_tools_even_where_none_is_offered() -> None:
    history = [
        Message("user", "go"),
        Message("assistant", ToolCall("a", "search", "{}")),
        Message("tool", ToolResult("a", "x")),
    ]
    body = sent(messages=history)
    assert body["tools"] == [{"name": "search", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_tools_of_the_providers_own_go_out_as_they_are() -> None:
    native = {"type": "web_search_20250305", "name": "web_search"}
    assert sent(tools=(Tool("web_search", native=native),))["tools"] == [native]


def test_a_schema_is_cut_down_to_what_can_be_compiled_and_the_rest_said_in_words() -> None:
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "In years"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2},
            "who": {"oneOf": [{"$ref": "#/$defs/Who", "title": "x"}, {"type": "null"}]},
        },
        "required": ["age"],
        "$defs": {"Who": {"type": "object", "properties": {"name": {"type": "string", "format": "email"}}}},
    }
    wire = wired(response_format=JsonFormat(schema))
    shape = json.loads(wire.body)["output_config"]["format"]
    assert shape["type"] == "json_schema"
    assert shape["schema"]["additionalProperties"] is False
    assert shape["schema"]["properties"]["age"] == {"type": "integer", "description": "In years\n\n(minimum: 0)"}
    assert shape["schema"]["properties"]["tags"]["items"] == {"type": "string", "description": "(maxLength: 3)"}
    assert shape["schema"]["properties"]["who"]["anyOf"][0] == {"$ref": "#/$defs/Who"}
    assert shape["schema"]["$defs"]["Who"]["additionalProperties"] is False
    assert refusals(wire) == []


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    body = sent(response_format=JsonFormat(), messages=[Message("system", "Be brief."), Message("user", "hi")])
    assert [block["text"] for block in body["system"]] == [
        "Be brief.",
        "Answer with one JSON object and nothing else: no explanation and no code fence.",
    ]
    assert "output_config" not in body


def test_no_more_than_four_cache_points_are_sent() -> None:
    marked = [Text(str(number), cache_point=True) for number in range(6)]
    wire = wired(messages=[Message("system", marked[:3]), Message("user", marked[3:])])
    body = json.loads(wire.body)
    assert ["cache_control" in block for block in body["system"]] == [False, False, True]
    assert all("cache_control" in block for block in body["messages"][0]["content"])
    assert wire.notes
    assert refusals(wire) == []


def test_media_has_four_kinds_of_sources() -> None:
    media = [
        Media("image", url="https://x/y.png"),
        Media("image", "image/png", "iVBORw0KGgo="),
        Media("image", file_id="file_1"),
        Media("document", "application/pdf", "JVBERi0=", name="a.pdf"),
        Media("document", "text/csv", "YSxi"),
    ]
    content = sent(messages=[Message("user", media)])["messages"][0]["content"]
    assert [block["source"]["type"] for block in content] == ["url", "base64", "file", "base64", "text"]
    assert content[3]["title"] == "a.pdf"
    assert content[4]["source"] == {"type": "text", "media_type": "text/plain", "data": "a,b"}


def test_the_callers_citations_stay_out_of_user_text() -> None:
    history = [Message("user", [Text("hi", extra={"citations": [{"type": "char_location"}]})])]
    assert sent(messages=history)["messages"][0]["content"] == [{"type": "text", "text": "hi"}]


def test_text_with_half_a_surrogate_pair_can_be_sent() -> None:
    assert sent(messages=[Message("user", "a\ud83d")])["messages"][0]["content"][0]["text"] == "a?"


def test_a_server_that_imitates_the_api_gets_the_version_it_knows() -> None:
    imitation = Model("deepseek-flash", custom("other", "http://x", "anthropic"), facts_for("other", "deepseek-flash"))
    wire = wired(imitation, temperature=0.5)
    assert wire.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(wire.body)["temperature"] == 0.5


MAYBE = {
    "max_tokens": st.sampled_from([1, 1_000, 1_500, 8_000]),
    "temperature": st.sampled_from([0, 0.7, 1, 1.5]),
    "top_p": st.sampled_from([0.5, 1.0]),
    "top_k": st.sampled_from([1, 40]),
    "stop": st.sampled_from([("END",), ("\n", "x")]),
    "seed": st.just(7),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    "thinking": st.sampled_from(
        [
            {"type": "adaptive"},
            {"type": "disabled"},
            {"type": "between_tools"},
            {"type": "enabled", "budget_tokens": 1_024},
            {"type": "enabled"},
        ]
    ),
    "tools": st.just((SEARCH, Tool("b.c", parameters={"type": "object"}, strict=True))),
    "tool_choice": st.sampled_from(["auto", "none", "required", "search", "b.c"]),
    "parallel_tool_calls": st.booleans(),
    "response_format": st.sampled_from([JsonFormat(), JsonFormat({"type": "object", "properties": {}})]),
}


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(ROWS["anthropic"].models)),
    options=st.fixed_dictionaries({}, optional=MAYBE),
    stream=st.booleans(),
)
def test_whatever_is_asked_of_a_claude_is_not_refused(name: str, options: dict[str, Any], stream: bool) -> None:
    assert refusals(wired(claude(name), stream, **options)) == []


# ------------------------------------------------------------------ answer

CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0}
SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]}
CONTENT = [
    {"type": "thinking", "thinking": "Let me think.", "signature": "sig=="},
    {"type": "redacted_thinking", "data": "zz"},
    {"type": "thinking", "thinking": "", "signature": "sig2"},
    {"type": "text", "text": "Grüße, 🙂!"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    SEARCHED,
    {"type": "text", "text": "It says so.", "citations": [CITATION]},
    {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {"q": "a b", "n": [1, 2.5, None]}},
    {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
]
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
    "output_tokens": 77,
    "output_tokens_details": {"thinking_tokens": 30},
    "service_tier": "standard",
}


def message(content: Any = CONTENT, **changes: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": content,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": USAGE,
    } | changes


def parsed(body: Any) -> Outcome:
    return DIALECT.parse(body if isinstance(body, bytes) else json.dumps(body).encode(), NEW)


def answered(body: Any) -> Answer:
    outcome = parsed(body)
    assert isinstance(outcome, Answer)
    return outcome


def test_a_whole_answer() -> None:
    answer = answered(message())
    assert answer.message.content == (
        Thinking("Let me think.", "sig=="),
        Thinking(redacted="zz"),
        Thinking("", "sig2"),
        Text("Grüße, 🙂!"),
        Thinking(extra={"anthropic_block": CONTENT[4]}),
        Thinking(extra={"anthropic_block": SEARCHED}),
        Text("It says so.", extra={"citations": [CITATION]}),
        ToolCall("toolu_1", "search", '{"q":"a b","n":[1,2.5,null]}'),
        ToolCall("toolu_2", "now", "{}"),
    )
    assert answer.usage == Usage(3_210, 77, 3_000, 200, 50, 30)
    assert (answer.finish_reason, answer.native_finish_reason) == ("tool_calls", "tool_use")
    assert (answer.id, answer.model) == ("msg_1", "claude-sonnet-5-5")
    assert answer.extra == {"service_tier": "standard"}


def test_an_answer_goes_back_as_it_came() -> None:
    """What the same model said, sent to it again, is the same JSON."""
    said = replace(answered(message()).message)
    turn = Message("assistant", said.content, NEW.author)
    results = Message("tool", [ToolResult("toolu_1", "x"), ToolResult("toolu_2", "y")])
    assert sent(messages=[Message("user", "hi"), turn, results])["messages"][1]["content"] == CONTENT


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("pause_turn", "pause"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "context_window"),
        ("something_new", "other"),
    ],
)
def test_stop_reasons(native: str, finish: str) -> None:
    answer = answered(message([{"type": "text", "text": "x"}], stop_reason=native))
    assert (answer.finish_reason, answer.native_finish_reason) == (finish, native)


def test_an_empty_answer_is_a_failure_that_keeps_the_answer() -> None:
    for content in ([], [{"type": "text", "text": ""}], [{"type": "thinking", "thinking": "hm", "signature": "s"}]):
        outcome = parsed(message(content, stop_reason="end_turn"))
        assert isinstance(outcome, Failure)
        assert outcome.kind is Kind.EMPTY
        assert outcome.partial is not None
        assert outcome.partial.usage is not None


def test_an_error_in_a_200_is_an_error() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    outcome = parsed(error)
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.OVERLOADED


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"content": null}',
        b'{"content": {}}',
        b'{"content": [null]}',
        b'{"content": [{"type": "text", "text": null}]}',
        b'{"content": [{"type": "text"}]}',
        b'{"content": [{"text": "x"}]}',
        b'{"content": [{"type": "tool_use", "input": {}}]}',
        b'{"choices": [{"message": {"content": "hi"}}]}',
    ],
)
def test_what_is_not_a_message_is_malformed(body: bytes) -> None:
    outcome = parsed(body)
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.MALFORMED


def test_usage_of_the_wrong_shape_is_no_reason_to_throw_an_answer_away() -> None:
    odd = {"input_tokens": "many", "output_tokens": -3, "cache_creation": [], "cache_read_input_tokens": True}
    assert answered(message(usage=odd)).usage == Usage()
    assert answered(message(usage=None)).usage is None


# ------------------------------------------------------------------ stream


def events(whole: Mapping[str, Any], cut: int = 3, order: int = 1) -> list[dict[str, Any]]:
    """A message as the API streams it, its texts in pieces of ``cut`` characters."""
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    start["usage"].pop("output_tokens_details", None)
    made: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        made += [each | {"index": index} for each in block_events(block, cut)]
        made.append({"type": "ping"})
    usage = {name: whole["usage"][name] for name in ("output_tokens", "output_tokens_details", "input_tokens")}
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]}
    return [*made, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def block_events(block: Mapping[str, Any], cut: int) -> list[dict[str, Any]]:
    def deltas(kind: str, name: str, text: str) -> list[dict[str, Any]]:
        return [
            {"type": "content_block_delta", "delta": {"type": kind, name: text[at : at + cut]}}
            for at in range(0, len(text), cut)
        ]

    start, grown = dict(block), []
    match block["type"]:
        case "text":
            start["text"] = ""
            grown = deltas("text_delta", "text", block["text"])
            for citation in start.pop("citations", ()):
                grown.append(
                    {"type": "content_block_delta", "delta": {"type": "citations_delta", "citation": citation}}
                )
        case "thinking":
            start |= {"thinking": "", "signature": ""}
            grown = deltas("thinking_delta", "thinking", block["thinking"])
            signature = {"type": "signature_delta", "signature": block["signature"]}
            grown.append({"type": "content_block_delta", "delta": signature})
        case "tool_use" | "server_tool_use":
            start["input"] = {}
            written = json.dumps(block["input"], separators=(",", ":"), ensure_ascii=False) if block["input"] else ""
            grown = deltas("input_json_delta", "partial_json", "") + deltas("input_json_delta", "partial_json", written)
    return [{"type": "content_block_start", "content_block": start}, *grown, {"type": "content_block_stop"}]


def read(stream: list[Any], model: Model = NEW) -> tuple[list[Chunk], Outcome]:
    decoder = DIALECT.decoder(model)
    chunks = [chunk for each in stream for chunk in decoder.feed(json.dumps(each).encode())]
    return chunks, decoder.end()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 40))
def test_a_stream_says_what_the_whole_answer_says_however_it_is_cut(cut: int) -> None:
    chunks, outcome = read(events(message(), cut))
    assert outcome == answered(message())
    assert "".join(chunk.text for chunk in chunks) == "Grüße, 🙂!It says so."
    assert "".join(chunk.reasoning for chunk in chunks) == "Let me think."
    assert [call for chunk in chunks for call in chunk.tool_calls] == list(outcome.message.tool_calls)


def test_blocks_in_chunks_never_repeat_what_was_streamed() -> None:
    chunks, _ = read(events(message()))
    assert [block for chunk in chunks for block in chunk.blocks] == [
        Thinking("", "sig=="),
        Thinking(redacted="zz"),
        Thinking("", "sig2"),
        Thinking(extra={"anthropic_block": CONTENT[4]}),
        Thinking(extra={"anthropic_block": SEARCHED}),
        Text("", extra={"citations": [CITATION]}),
    ]


def test_chunks_carry_the_number_of_their_block() -> None:
    chunks, outcome = read(events(message()))
    assert isinstance(outcome, Answer)
    for chunk in chunks:
        block = outcome.message.content[chunk.index]
        assert not chunk.text or isinstance(block, Text)
        assert not chunk.reasoning or isinstance(block, Thinking)
        assert all(call is block or call == block for call in chunk.tool_calls)


def test_fragments_of_a_call_say_only_that_it_grows() -> None:
    stream = events(message([CONTENT[7]]))
    chunks, _ = read(stream)
    assert chunks[:-1] == [Chunk()] * (len(chunks) - 1)
    assert len(chunks) > 5
    assert chunks[-1].tool_calls


def test_pings_starts_and_empty_deltas_are_not_content() -> None:
    quiet = events(message([{"type": "text", "text": ""}]))
    assert read(quiet[:5])[0] == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_without_message_stop_is_cut_wherever_it_ends(data: st.DataObject) -> None:
    stream = events(message(), 2)
    kept = data.draw(st.integers(0, len(stream) - 1))
    chunks, outcome = read(stream[:kept])
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.CUT
    assert outcome.partial is not None
    assert outcome.partial.message.text == "".join(chunk.text for chunk in chunks)
    assert outcome.partial.message.reasoning == "".join(chunk.reasoning for chunk in chunks)
    assert list(outcome.partial.message.tool_calls) == [call for chunk in chunks for call in chunk.tool_calls]


def test_usage_of_a_cut_stream_is_marked_as_estimated() -> None:
    _, outcome = read(events(message())[:8])
    assert isinstance(outcome, Failure)
    assert outcome.partial is not None
    assert outcome.partial.usage is not None
    assert outcome.partial.usage.estimated
    assert outcome.partial.usage.input_tokens == 3_210


def test_a_server_that_never_says_message_stop_is_believed_where_that_is_configured() -> None:
    lax = claude(end_marker=False)
    assert isinstance(read(events(message())[:-1], lax)[1], Answer)
    assert isinstance(read(events(message())[:-2], lax)[1], Failure)


def test_usage_in_message_delta_replaces_what_came_before() -> None:
    stream = events(message([{"type": "text", "text": "x"}], stop_reason="end_turn"))
    again = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 90, "input_tokens": None}}
    _, outcome = read([*stream[:-1], again, stream[-1]])
    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(3_210, 90, 3_000, 200, 50, 30)


def test_an_error_event_fails_the_stream_and_keeps_what_came() -> None:
    stream = events(message())
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    decoder = DIALECT.decoder(NEW)
    for each in [*stream[:8], error]:
        decoder.feed(json.dumps(each).encode())
    assert decoder.failure is not None
    assert decoder.failure.kind is Kind.OVERLOADED
    assert decoder.failure.partial is not None
    assert decoder.feed(json.dumps(stream[9]).encode()) == []
    assert decoder.end() == decoder.failure


def test_unknown_events_deltas_and_blocks_are_read_past() -> None:
    stream = events(message([{"type": "text", "text": "x"}], stop_reason="end_turn"))
    odd: list[Any] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "mood_delta", "mood": "good"}},
        {"type": "weather", "sunny": True},
        {},
    ]
    block = [
        {"type": "content_block_start", "index": 1, "content_block": {"type": "mood", "mood": "good"}},
        {"type": "content_block_stop", "index": 1},
    ]
    _, outcome = read([*stream[:4], *odd, *stream[4:6], *block, *stream[6:]])
    assert isinstance(outcome, Answer)
    assert outcome.message.content[1] == Thinking(extra={"anthropic_block": {"type": "mood", "mood": "good"}})


def test_a_call_that_max_tokens_broke_off_is_never_handed_on() -> None:
    stream = events(message([{"type": "text", "text": "x"}, CONTENT[7]], stop_reason="max_tokens"))
    deltas = [at for at, each in enumerate(stream) if each.get("delta", {}).get("type") == "input_json_delta"]
    del stream[deltas[-1]]
    chunks, outcome = read(stream)
    assert isinstance(outcome, Answer)
    assert not [call for chunk in chunks for call in chunk.tool_calls]
    assert outcome.message.content == (Text("x"),)
    assert outcome.finish_reason == "length"


def test_a_call_that_the_model_wrote_wrongly_is_handed_on_as_it_is() -> None:
    stream = events(message([CONTENT[7]]))
    deltas = [at for at, each in enumerate(stream) if each.get("delta", {}).get("type") == "input_json_delta"]
    del stream[deltas[-1]]
    chunks, outcome = read(stream)
    assert isinstance(outcome, Answer)
    assert [call for chunk in chunks for call in chunk.tool_calls] == list(outcome.message.tool_calls)
    assert outcome.message.tool_calls[0].arguments == '{"q":"a b","n":[1,2.5,null]'


def test_a_call_whose_input_came_with_its_start_is_whole() -> None:
    stream = events(message([CONTENT[8]]))
    stream[2]["content_block"]["input"] = {"zone": "UTC"}
    chunks, _ = read(stream)
    assert chunks[-1].tool_calls[0].arguments == '{"zone":"UTC"}'


def test_blocks_that_were_never_closed_are_closed_by_the_end() -> None:
    open_ended = [each for each in events(message()) if each["type"] != "content_block_stop"]
    chunks, outcome = read(open_ended)
    assert outcome == answered(message())
    assert len([call for chunk in chunks for call in chunk.tool_calls]) == 2


def test_a_server_that_numbers_every_block_zero_is_understood() -> None:
    stream = [each | ({"index": 0} if "index" in each else {}) for each in events(message())]
    assert read(stream)[1] == answered(message())


def test_a_server_that_puts_text_into_the_start_of_a_block_is_understood() -> None:
    stream = events(message([{"type": "text", "text": "one two"}], stop_reason="end_turn"), 4)
    stream[2]["content_block"]["text"] = "zero "
    chunks, outcome = read(stream)
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "zero one two" == "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize(
    "event",
    [
        b"not json",
        b"[1]",
        b"\xff",
        b'{"type": "message_start"}',
        b'{"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
        b'{"type": "content_block_delta", "index": 0, "delta": null}',
        b'{"type": "content_block_start", "index": "a", "content_block": {"type": "text"}}',
        b'{"type": "content_block_start", "index": 1}',
        b'{"type": ["message_stop"]}',
        b'{"type": "message_delta", "delta": 5}',
    ],
)
def test_an_event_of_the_wrong_shape_fails_the_stream(event: bytes) -> None:
    decoder = DIALECT.decoder(NEW)
    for each in events(message([{"type": "text", "text": "x"}]))[:4]:
        decoder.feed(json.dumps(each).encode())
    assert decoder.feed(event) == []
    assert decoder.failure is not None
    assert decoder.failure.kind is Kind.MALFORMED
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.message.text == "x"


def test_a_character_torn_apart_between_two_events_is_put_together_again() -> None:
    stream = events(message([{"type": "text", "text": "a🙂b"}], stop_reason="end_turn"), 9)
    stream[3:4] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("a\ud83d", "\ude42b")
    ]
    chunks, outcome = read(stream)
    assert [chunk.text for chunk in chunks if chunk.text] == ["a", "🙂b"]
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "a🙂b"


# -------------------------------------------------------------------- fuzz


@settings(max_examples=300, deadline=None)
@given(path=PATHS, junk=JUNK)
def test_no_answer_of_any_shape_raises(path: list[int], junk: Any) -> None:
    assert isinstance(parsed(broken(message(), path, junk)), Answer | Failure)


@settings(max_examples=300, deadline=None)
@given(places=PLACES, kept=st.integers(1, 99))
def test_no_stream_of_any_shape_raises(places: list[tuple[int, list[int], Any]], kept: int) -> None:
    decoder = DIALECT.decoder(NEW)
    for each in broken_stream(list(events(message(), 8)), places)[:kept]:
        decoder.feed(json.dumps(each).encode())
        assert isinstance(decoder.partial(), Answer)
    assert isinstance(decoder.end(), Answer | Failure)
