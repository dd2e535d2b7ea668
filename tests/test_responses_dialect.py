"""OpenAI Responses: what is sent, what is read, and every way in which either has gone wrong before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.dialects.base import Model, Wire
from failover.dialects.providers import PROVIDERS, custom
from failover.dialects.responses import Responses
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

DIALECT = Responses()


def gpt(name: str = "gpt-6-luna", provider: str = "openai", **changes: Any) -> Model:
    return Model(name, PROVIDERS[provider], facts_for(provider, name), **changes)


NEW, OLD, DEEP = gpt(), gpt("gpt-4.1"), gpt("gpt-6.1-sol")
SEARCH = Tool("search", "Finds things.", {"type": "object", "properties": {"q": {"type": "string"}}})


def wired(model: Model = NEW, stream: bool = False, **options: Any) -> Wire:
    messages = options.pop("messages", (Message("user", "hi"),))
    return DIALECT.render(Request(tuple(messages), **options), model, stream)


def sent(model: Model = NEW, stream: bool = False, **options: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wired(model, stream, **options).body)
    return body


def refusals(wire: Wire, provider: str = "openai") -> list[str]:
    headers = {**wire.headers, "authorization": "Bearer k"}
    return [each.message for each in violations("responses", provider, json.loads(wire.body), headers)]


# ----------------------------------------------------------------- request


def test_the_smallest_request() -> None:
    wire = wired()
    assert json.loads(wire.body) == {
        "model": "gpt-6-luna",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert wire.path == "/responses"
    assert wire.headers == {"content-type": "application/json"}
    assert wire.notes == ()


def test_a_whole_request() -> None:
    history = (
        Message("system", "Be brief."),
        Message("user", [Text("What is this?"), Media("image", "image/png", "iVBORw0KGgo=", detail="low")]),
        Message("assistant", [Text("Let me see."), ToolCall("call_1", "search", '{"q": "x"}')], "anthropic:x"),
        Message("tool", ToolResult("call_1", (Text("this"), Media("document", url="https://x/y.pdf")))),
        Message("system", "Now in French."),
        Message("user", [Media("document", "application/pdf", "JVBERi0="), Media("document", file_id="file-1")]),
    )
    wire = wired(
        messages=history,
        tools=(SEARCH,),
        tool_choice="search",
        parallel_tool_calls=False,
        max_tokens=100,
        reasoning_effort="low",
        stream=True,
    )
    assert json.loads(wire.body) == {
        "model": "gpt-6-luna",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,iVBORw0KGgo="},
                ],
            },
            {"type": "message", "role": "assistant", "content": "Let me see."},
            {"type": "function_call", "call_id": "call_1", "name": "search", "arguments": '{"q": "x"}'},
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [
                    {"type": "input_text", "text": "this"},
                    {"type": "input_file", "file_url": "https://x/y.pdf"},
                ],
            },
            {"type": "message", "role": "system", "content": "Now in French."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {
                        "type": "input_file",
                        "filename": "document.pdf",
                        "file_data": "data:application/pdf;base64,JVBERi0=",
                    },
                    {"type": "input_file", "file_id": "file-1"},
                ],
            },
        ],
        "tools": [
            {
                "type": "function",
                "name": "search",
                "description": "Finds things.",
                "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
                "strict": False,
            }
        ],
        "tool_choice": {"type": "function", "name": "search"},
        "parallel_tool_calls": False,
        "max_output_tokens": 100,
        "reasoning": {"effort": "low"},
    }
    assert refusals(wire) == []


def test_nothing_but_system_text_is_sent_as_input() -> None:
    body = sent(messages=[Message("system", "Tell a joke.")])
    assert body["input"] == [{"type": "message", "role": "system", "content": "Tell a joke."}]
    assert "instructions" not in body


def test_sealed_reasoning_is_asked_for_only_where_the_model_thinks() -> None:
    assert "include" not in sent(OLD)
    assert "include" not in sent(NEW, reasoning_effort="none")
    assert sent(gpt("gpt-5.2"), reasoning_effort="low")["include"] == ["reasoning.encrypted_content"]


def test_logprobs_are_asked_for_by_what_is_included() -> None:
    assert sent(OLD, logprobs=True, top_logprobs=3) == sent(OLD) | {
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
    }


def test_a_cap_below_the_least_is_raised_to_it() -> None:
    wire = wired(max_tokens=5)
    assert json.loads(wire.body)["max_output_tokens"] == 16
    assert wire.notes == ("max_tokens 5 became 16",)


def test_what_this_wire_never_heard_of_is_dropped_with_a_note() -> None:
    wire = wired(OLD, seed=1, presence_penalty=0.1, frequency_penalty=0.1, stop=("x",), top_k=3)
    assert len(wire.notes) == 5
    assert refusals(wire) == []


def test_sampling_goes_with_models_that_do_not_think() -> None:
    assert sent(OLD, temperature=0.5)["temperature"] == 0.5
    assert sent(NEW, temperature=0.5, reasoning_effort="none")["temperature"] == 0.5
    wire = wired(NEW, temperature=0.5)
    assert "temperature" not in json.loads(wire.body)
    assert wire.notes


def test_an_effort_that_the_model_does_not_know_becomes_the_nearest() -> None:
    assert sent(DEEP, reasoning_effort="none")["reasoning"] == {"effort": "low"}
    assert sent(NEW, thinking={"type": "disabled"})["reasoning"] == {"effort": "none"}
    assert sent(NEW, thinking={"type": "enabled", "summary": "auto"})["reasoning"] == {"summary": "auto"}
    assert "reasoning" not in sent(OLD, reasoning_effort="low")


def test_strictness_of_a_tool_is_always_said_because_it_is_on_by_default() -> None:
    tools = sent(tools=(SEARCH, Tool("b", strict=True)))["tools"]
    assert [tool["strict"] for tool in tools] == [False, True]
    assert tools[1]["parameters"] == {"type": "object", "properties": {}}


def test_tool_choices() -> None:
    assert sent(tools=(SEARCH,), tool_choice="required")["tool_choice"] == "required"
    assert sent(tools=(Tool("a.b"),), tool_choice="a.b")["tool_choice"]["name"].startswith("tool_a_b_")
    assert "tool_choice" not in sent(tool_choice="required")
    assert "parallel_tool_calls" not in sent(parallel_tool_calls=False)


def test_tools_of_the_providers_own_go_out_as_they_are() -> None:
    assert sent(tools=(Tool("x", native={"type": "web_search"}),))["tools"] == [{"type": "web_search"}]


def test_a_schema_goes_out_with_a_legal_name() -> None:
    schema = {"type": "object", "properties": {}}
    body = sent(response_format=JsonFormat(schema, name="My Type[int]", description="d", strict=True))
    shape = body["text"]["format"]
    assert shape.pop("name").startswith("tool_My_Type_int_")
    assert shape == {"type": "json_schema", "schema": schema, "strict": True, "description": "d"}


def test_json_mode_makes_the_prompt_say_json() -> None:
    wire = wired(response_format=JsonFormat())
    body = json.loads(wire.body)
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "JSON" in body["input"][0]["content"]
    assert refusals(wire) == []


def test_what_the_model_was_found_to_refuse_is_not_sent_again() -> None:
    assert "reasoning" in sent(gpt(learned={"reasoning.effort": None}), reasoning_effort="low")
    assert "effort" not in sent(gpt(learned={"reasoning.effort": None}), reasoning_effort="low")["reasoning"]


def test_groq_is_not_asked_to_store_or_include_anything() -> None:
    body = sent(gpt("openai/gpt-oss-120b", "groq"))
    assert "store" not in body
    assert "include" not in body


def own(*blocks: Any) -> list[Message]:
    calls = [block for block in blocks if isinstance(block, ToolCall)]
    results = [Message("tool", ToolResult(call.id, "x")) for call in calls]
    return [Message("user", "hi"), Message("assistant", blocks, NEW.author), *results, Message("user", "more")]


SEALED = Thinking("hm", "sealed", extra={"id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]})


def test_own_items_keep_their_ids_beside_their_reasoning() -> None:
    said = Text("yes", extra={"id": "msg_1", "phase": "commentary"})
    body = sent(messages=own(SEALED, said, ToolCall("call_1", "f", "{}", {"id": "fc_1"})))
    assert body["input"][1:4] == [
        {"type": "reasoning", "id": "rs_1", "summary": SEALED.extra["summary"], "encrypted_content": "sealed"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "yes", "annotations": []}],
            "phase": "commentary",
        },
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "id": "fc_1"},
    ]


def test_own_items_whose_reasoning_was_lost_go_back_without_ids() -> None:
    """Else: item 'fc_1' was provided without its required 'reasoning' item."""
    body = sent(messages=own(Text("yes", extra={"id": "msg_1"}), ToolCall("call_1", "f", "{}", {"id": "fc_1"})))
    assert body["input"][1] == {"type": "message", "role": "assistant", "content": "yes"}
    assert "id" not in body["input"][2]


def test_reasoning_with_nothing_after_it_stays_behind() -> None:
    body = sent(messages=own(Text("yes"), SEALED))
    assert [item["type"] for item in body["input"]] == ["message", "message", "message"]


def test_parts_of_one_message_stay_one_message() -> None:
    parts = [Text("a", extra={"id": "msg_1"}), Text("b", extra={"id": "msg_1", "refusal": True})]
    items = sent(messages=own(SEALED, *parts, Text("c", extra={"id": "msg_2"})))["input"][2:4]
    assert [part["type"] for part in items[0]["content"]] == ["output_text", "refusal"]
    assert items[1]["id"] == "msg_2"


MAYBE = {
    "max_tokens": st.sampled_from([1, 1_000, 10**6]),
    "temperature": st.sampled_from([0, 0.7, 1, 1.5]),
    "top_p": st.sampled_from([0.5, 1.0]),
    "top_k": st.sampled_from([1, 40]),
    "stop": st.sampled_from([("END",), ("\n", "x")]),
    "seed": st.just(7),
    "logprobs": st.booleans(),
    "top_logprobs": st.sampled_from([0, 5]),
    "presence_penalty": st.just(0.5),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    "thinking": st.sampled_from([{"type": "adaptive"}, {"type": "disabled"}, {"summary": "auto"}]),
    "tools": st.just((SEARCH, Tool("b.c", parameters={"type": "object"}))),
    "tool_choice": st.sampled_from(["auto", "none", "required", "search", "b.c"]),
    "parallel_tool_calls": st.booleans(),
    "response_format": st.sampled_from([JsonFormat(), JsonFormat({"type": "object", "properties": {}})]),
}


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(ROWS["openai"].models)),
    options=st.fixed_dictionaries({}, optional=MAYBE),
    stream=st.booleans(),
)
def test_whatever_is_asked_of_a_gpt_is_not_refused(name: str, options: dict[str, Any], stream: bool) -> None:
    assert refusals(wired(gpt(name), stream, **options)) == []


# ------------------------------------------------------------------ answer

ANNOTATION = {"type": "url_citation", "url": "https://x", "title": "X", "start_index": 0, "end_index": 2}
WEB = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
OUTPUT: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
        "encrypted_content": "sealed",
    },
    WEB,
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "Grüße, 🙂!", "annotations": []},
            {"type": "output_text", "text": "It says so.", "annotations": [ANNOTATION]},
        ],
        "phase": "commentary",
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "search",
        "arguments": '{"q": "a b"}',
        "status": "completed",
    },
    {
        "type": "function_call",
        "id": "fc_2",
        "call_id": "call_2",
        "name": "now",
        "arguments": "{}",
        "status": "completed",
    },
]
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}


def response(output: Any = OUTPUT, **changes: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-6-luna-2026-08-01",
        "output": output,
        "usage": USAGE,
        "service_tier": "default",
    } | changes


def said(text: str) -> list[dict[str, Any]]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}]


def parsed(body: Any) -> Outcome:
    return DIALECT.parse(body if isinstance(body, bytes) else json.dumps(body).encode(), NEW)


def answered(body: Any) -> Answer:
    outcome = parsed(body)
    assert isinstance(outcome, Answer)
    return outcome


def test_a_whole_answer() -> None:
    answer = answered(response())
    known = {"id": "msg_1", "phase": "commentary"}
    assert answer.message.content == (
        Thinking("First.\n\nThen.", "sealed", extra={"id": "rs_1", "summary": OUTPUT[0]["summary"]}),
        Thinking(extra={"responses_item": WEB}),
        Text("Grüße, 🙂!", extra=known),
        Text("It says so.", extra=known | {"annotations": [ANNOTATION]}),
        ToolCall("call_1", "search", '{"q": "a b"}', {"id": "fc_1"}),
        ToolCall("call_2", "now", "{}", {"id": "fc_2"}),
    )
    assert answer.usage == Usage(100, 50, 60, 30, reasoning_tokens=20)
    assert (answer.finish_reason, answer.native_finish_reason) == ("tool_calls", "completed")
    assert (answer.id, answer.model) == ("resp_1", "gpt-6-luna-2026-08-01")
    assert answer.extra == {"service_tier": "default"}


def test_an_answer_goes_back_as_it_came() -> None:
    turn = Message("assistant", answered(response()).message.content, NEW.author)
    results = Message("tool", [ToolResult("call_1", "x"), ToolResult("call_2", "y")])
    items = sent(messages=[Message("user", "hi"), turn, results])["input"][1:6]
    calls = [{name: value for name, value in item.items() if name != "status"} for item in OUTPUT[3:]]
    assert items == [*OUTPUT[:3], *calls]


def test_why_an_answer_ended() -> None:
    def ended(**changes: Any) -> tuple[str, str | None]:
        answer = answered(response(said("x"), **changes))
        return answer.finish_reason, answer.native_finish_reason

    assert ended() == ("stop", "completed")
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert ended(**cut) == ("length", "max_output_tokens")
    filtered = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    assert ended(**filtered) == ("content_filter", "content_filter")
    assert ended(status="incomplete") == ("other", "incomplete")


def test_a_refusal_counts_as_filtered() -> None:
    refusal = said("x")
    refusal[0]["content"] = [{"type": "refusal", "refusal": "I will not."}]
    answer = answered(response(refusal))
    assert (answer.message.text, answer.finish_reason) == ("I will not.", "content_filter")


def test_a_router_says_what_it_charged() -> None:
    assert answered(response(usage=USAGE | {"cost": 0.00123})).usage == Usage(
        100, 50, 60, 30, reasoning_tokens=20, cost=1_230_000
    )
    for odd in (-1, "free", True, None, 1e300):
        usage = answered(response(usage=USAGE | {"cost": odd})).usage
        assert usage is not None
        assert usage.cost is None


def test_logprobs_are_kept_beside_the_answer() -> None:
    output = said("x")
    output[0]["content"][0]["logprobs"] = [{"token": "x", "logprob": -0.1}]
    answer = answered(response(output))
    assert answer.extra["logprobs"] == [{"token": "x", "logprob": -0.1}]
    assert answer.message.content == (Text("x", extra={"id": "msg_1"}),)


def test_an_empty_answer_is_a_failure_that_keeps_the_answer() -> None:
    for output in ([], said(""), OUTPUT[:2]):
        outcome = parsed(response(output))
        assert isinstance(outcome, Failure)
        assert outcome.kind is Kind.EMPTY
        assert outcome.partial is not None


def test_an_error_in_a_200_is_an_error() -> None:
    for body in (
        {"error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow down"}},
        response([], status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}),
    ):
        outcome = parsed(body)
        assert isinstance(outcome, Failure)
        assert outcome.kind is Kind.RATE_LIMITED
    unexplained = parsed(response([], status="failed"))
    assert isinstance(unexplained, Failure)
    assert unexplained.kind is Kind.SERVER_ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{",
        b"[]",
        b"{}",
        b'{"output": null}',
        b'{"output": [null]}',
        b'{"output": [{"type": "message", "content": null}]}',
        b'{"output": [{"type": "message", "content": [{"type": "output_text", "text": 5}]}]}',
        b'{"output": [{"type": "function_call", "name": "f", "arguments": {}}]}',
        b'{"output": [], "status": "in_progress"}',
        b'{"choices": [{"message": {"content": "hi"}}]}',
    ],
)
def test_what_is_not_a_response_is_malformed(body: bytes) -> None:
    outcome = parsed(body)
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.MALFORMED


# ------------------------------------------------------------------ stream


def events(whole: dict[str, Any], cut: int = 3) -> list[dict[str, Any]]:
    """A response as the API streams it, its texts in pieces of ``cut`` characters."""
    begun = whole | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    made: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(whole["output"]):
        made += [each | {"output_index": index, "item_id": item["id"]} for each in item_events(item, cut)]
    made.append({"type": f"response.{whole['status']}", "response": whole})
    return [each | {"sequence_number": number} for number, each in enumerate(made)]


def item_events(item: dict[str, Any], cut: int) -> list[dict[str, Any]]:
    def pieces(kind: str, text: str, **where: int) -> list[dict[str, Any]]:
        return [{"type": kind, "delta": text[at : at + cut], **where} for at in range(0, len(text), cut)]

    grown: list[dict[str, Any]] = []
    start = dict(item)
    match item["type"]:
        case "message":
            start |= {"content": [], "status": "in_progress"}
            for at, part in enumerate(item["content"]):
                grown.append({"type": "response.content_part.added", "content_index": at, "part": part | {"text": ""}})
                grown += pieces("response.output_text.delta", part["text"], content_index=at)
                grown.append({"type": "response.output_text.done", "content_index": at, "text": part["text"]})
        case "reasoning":
            start |= {"summary": [], "encrypted_content": ""}
            for at, part in enumerate(item["summary"]):
                grown.append({"type": "response.reasoning_summary_part.added", "summary_index": at})
                grown += pieces("response.reasoning_summary_text.delta", part["text"], summary_index=at)
        case "function_call":
            start |= {"arguments": "", "status": "in_progress"}
            grown = pieces("response.function_call_arguments.delta", item["arguments"])
            grown.append({"type": "response.function_call_arguments.done", "arguments": item["arguments"]})
    added = {"type": "response.output_item.added", "item": start}
    return [added, *grown, {"type": "response.output_item.done", "item": item}]


def read(stream: list[Any], model: Model = NEW) -> tuple[list[Chunk], Outcome]:
    decoder = DIALECT.decoder(model)
    chunks = [chunk for each in stream for chunk in decoder.feed(json.dumps(each).encode())]
    return chunks, decoder.end()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 40))
def test_a_stream_says_what_the_whole_answer_says_however_it_is_cut(cut: int) -> None:
    chunks, outcome = read(events(response(), cut))
    assert outcome == answered(response())
    assert "".join(chunk.text for chunk in chunks) == "Grüße, 🙂!It says so."
    assert "".join(chunk.reasoning for chunk in chunks) == "First.\n\nThen."
    assert [call for chunk in chunks for call in chunk.tool_calls] == list(outcome.message.tool_calls)


def test_blocks_in_chunks_never_repeat_what_was_streamed() -> None:
    chunks, _ = read(events(response()))
    assert [block for chunk in chunks for block in chunk.blocks] == [
        Thinking("", "sealed", extra={"id": "rs_1", "summary": OUTPUT[0]["summary"]}),
        Thinking(extra={"responses_item": WEB}),
        Text("", extra={"annotations": [ANNOTATION]}),
    ]


def test_chunks_carry_the_number_of_their_block() -> None:
    chunks, outcome = read(events(response()))
    assert isinstance(outcome, Answer)
    for chunk in chunks:
        block = outcome.message.content[chunk.index]
        assert not chunk.text or isinstance(block, Text)
        assert not chunk.reasoning or isinstance(block, Thinking)
        assert all(call == block for call in chunk.tool_calls)


def test_fragments_of_a_call_say_only_that_it_grows() -> None:
    chunks, _ = read(events(response([OUTPUT[3]])))
    assert chunks[:-1] == [Chunk()] * (len(chunks) - 1)
    assert len(chunks) > 3
    assert chunks[-1].tool_calls


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_without_its_terminal_event_is_cut_wherever_it_ends(data: st.DataObject) -> None:
    stream = events(response(), 2)
    chunks, outcome = read(stream[: data.draw(st.integers(0, len(stream) - 1))])
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.CUT
    assert outcome.partial is not None
    assert outcome.partial.message.text == "".join(chunk.text for chunk in chunks)
    assert outcome.partial.message.reasoning == "".join(chunk.reasoning for chunk in chunks)
    assert list(outcome.partial.message.tool_calls) == [call for chunk in chunks for call in chunk.tool_calls]


def test_a_server_that_never_says_it_is_done_is_believed_where_that_is_configured() -> None:
    lax = gpt(end_marker=False)
    assert isinstance(read(events(response())[:-1], lax)[1], Answer)
    assert isinstance(read(events(response())[:-2], lax)[1], Answer | Failure)
    assert isinstance(read(events(response(said("hello")))[:5], lax)[1], Failure)


def test_items_that_only_the_last_event_reports_are_handed_on_with_it() -> None:
    stream = events(response())
    chunks, outcome = read([stream[0], stream[-1]])
    assert outcome == answered(response())
    assert "".join(chunk.text for chunk in chunks) == "Grüße, 🙂!It says so."
    assert len([call for chunk in chunks for call in chunk.tool_calls]) == 2


def test_text_that_was_streamed_is_not_repeated_by_its_item() -> None:
    stream = [each for each in events(response(said("hello"))) if each["type"] != "response.output_item.done"]
    chunks, outcome = read(stream)
    assert "".join(chunk.text for chunk in chunks) == "hello"
    assert isinstance(outcome, Answer)


def test_a_last_event_without_output_leaves_what_was_streamed() -> None:
    stream = events(response(said("hello")))
    _, outcome = read([*stream[:-1], stream[-1] | {"response": response([])}])
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "hello"
    only_deltas = [each for each in stream[:-1] if "delta" in each]
    _, outcome = read([*only_deltas, stream[-1] | {"response": response([])}])
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "hello"


def test_an_incomplete_answer_ends_its_stream_well() -> None:
    cut = response(said("hel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    _, outcome = read(events(cut))
    assert isinstance(outcome, Answer)
    assert outcome.finish_reason == "length"


def test_a_call_that_the_cap_broke_off_is_never_handed_on() -> None:
    broken = OUTPUT[3] | {"arguments": '{"q": "a', "status": "incomplete"}
    cut = response([*said("x"), broken], status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    chunks, outcome = read(events(cut))
    assert isinstance(outcome, Answer)
    assert not [call for chunk in chunks for call in chunk.tool_calls]
    assert not outcome.message.tool_calls


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
        {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {
            "type": "response.failed",
            "response": response([], status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}),
        },
    ],
)
def test_an_error_event_fails_the_stream_and_keeps_what_came(event: Any) -> None:
    stream = events(response(said("hello")))
    decoder = DIALECT.decoder(NEW)
    for each in [*stream[:5], event]:
        decoder.feed(json.dumps(each).encode())
    assert decoder.failure is not None
    assert decoder.failure.kind is Kind.RATE_LIMITED
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.message.text
    assert decoder.end() == decoder.failure


def test_unknown_events_and_done_markers_are_read_past() -> None:
    stream = events(response(said("hello")))
    decoder = DIALECT.decoder(NEW)
    odd = [b"[DONE]", b'{"type": "response.weather"}', b"{}", b'{"type": "keepalive"}']
    for data in [*odd, *(json.dumps(each).encode() for each in stream), b"[DONE]"]:
        decoder.feed(data)
    assert isinstance(decoder.end(), Answer)


@pytest.mark.parametrize(
    "event",
    [
        b"not json",
        b"[1]",
        b"\xff",
        b'{"type": "response.created"}',
        b'{"type": "response.output_text.delta"}',
        b'{"type": "response.output_text.delta", "output_index": "a", "content_index": 0, "delta": "x"}',
        b'{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": 5}',
        b'{"type": "response.output_item.done", "output_index": 0, "item": null}',
        b'{"type": ["response.completed"]}',
        b'{"type": "response.completed", "response": {"output": 5}}',
    ],
)
def test_an_event_of_the_wrong_shape_fails_the_stream(event: bytes) -> None:
    decoder = DIALECT.decoder(NEW)
    for each in events(response(said("hello")))[:5]:
        decoder.feed(json.dumps(each).encode())
    assert decoder.feed(event) == []
    assert decoder.failure is not None
    assert decoder.failure.kind is Kind.MALFORMED
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.message.text == "hel"


def test_a_custom_server_of_this_wire_is_read_the_same_way() -> None:
    """Reasoning in the open, nothing sealed: it is shown, but cannot go back."""
    model = Model("qwen", custom("local", "http://x", "responses"), facts_for("local", "qwen"))
    thoughts = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    answer = answered(response([thoughts, *said("yes")]))
    assert answer.message.reasoning == "hm"
    turn = Message("assistant", answer.message.content, model.author)
    assert len(sent(model, messages=[Message("user", "hi"), turn])["input"]) == 2


def test_a_character_torn_apart_between_two_events_is_put_together_again() -> None:
    stream = [each for each in events(response(said("a🙂b")), 9) if each["type"] != "response.output_item.done"]
    at = next(at for at, each in enumerate(stream) if "delta" in each)
    stream[at : at + 1] = [stream[at] | {"delta": text} for text in ("a\ud83d", "\ude42b")]
    chunks, outcome = read(stream)
    assert [chunk.text for chunk in chunks if chunk.text] == ["a", "🙂b"]
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "a🙂b"


# -------------------------------------------------------------------- fuzz


@settings(max_examples=300, deadline=None)
@given(path=PATHS, junk=JUNK)
def test_no_answer_of_any_shape_raises(path: list[int], junk: Any) -> None:
    assert isinstance(parsed(broken(response(), path, junk)), Answer | Failure)


@settings(max_examples=300, deadline=None)
@given(places=PLACES, kept=st.integers(1, 99))
def test_no_stream_of_any_shape_raises(places: list[tuple[int, list[int], Any]], kept: int) -> None:
    decoder = DIALECT.decoder(NEW)
    for each in broken_stream(list(events(response(), 8)), places)[:kept]:
        decoder.feed(json.dumps(each).encode())
        assert isinstance(decoder.partial(), Answer)
    assert isinstance(decoder.end(), Answer | Failure)
