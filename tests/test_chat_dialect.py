"""OpenAI Chat Completions: what goes out to whom, and what is made of everything that comes back."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failover.dialects.base import Model, Wire
from failover.dialects.chat import Chat
from failover.dialects.inline import inlined
from failover.dialects.params import adapt
from failover.dialects.providers import PROVIDERS, custom
from failover.facts import Facts, facts_for
from failover.failures import classify
from failover.testing.strict import error_body, violations
from failover.testing.world import ROWS
from failover.types import (
    Failure,
    JsonFormat,
    Kind,
    Media,
    Message,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

CHAT = Chat()
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "Tells the weather.", CITY)
HI = Message("user", "hi")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()


def model(provider: str, name: str, **changes: Any) -> Model:
    row = PROVIDERS.get(provider) or custom(provider, "http://x/v1")
    return replace(Model(name, row, facts_for(provider, name)), **changes)


LUNA = model("openai", "gpt-6-luna")
GPT = model("openai", "gpt-4.1")
FLASH = model("deepseek", "deepseek-flash")
ROUTED = model("openrouter", "openai/gpt-6-luna")


def asked(*messages: Message, **fields: Any) -> Request:
    return Request(messages or (HI,), **fields)


def wire(target: Model, *messages: Message, stream: bool = False, **fields: Any) -> Wire:
    return CHAT.render(asked(*messages, **fields), target, stream)


def body(target: Model, *messages: Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return json.loads(wire(target, *messages, stream=stream, **fields).body)


# ---------------------------------------------------------------- requests

DEFAULTS = {
    "openai": "gpt-4.1",
    "azure": "gpt-4.1",
    "deepseek": "deepseek-flash",
    "groq": "openai/gpt-oss-120b",
    "openrouter": "openai/gpt-6-luna",
    "gemini": "gemini-3.8-flash",
    "mistral": "mistral-small-latest",
    "together": "openai/gpt-oss-120b",
    "fireworks": "accounts/fireworks/models/gpt-oss-120b",
    "xai": "grok-4.3",
    "cerebras": "gpt-oss-120b",
    "ollama": "llama3",
    "vllm": "qwen",
    "lmstudio": "qwen",
    "custom": "mine",
}
FULL: dict[str, Any] = {
    "tools": (WEATHER,),
    "tool_choice": "required",
    "max_tokens": 50,
    "temperature": 0.5,
    "seed": 7,
    "stop": ("END",),
    "reasoning_effort": "low",
}
TOOL_JSON = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather.", "parameters": CITY},
}
PLAIN_TOOLS = {"tools": [TOOL_JSON], "tool_choice": "required"}
COMMON = {"temperature": 0.5, "seed": 7, "stop": ["END"]}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
EFFORT = {"reasoning_effort": "low"}
GOLDEN: dict[str, dict[str, Any]] = {
    "openai": {**PLAIN_TOOLS, **COMMON, **STREAMED, "max_completion_tokens": 50},
    "azure": {**PLAIN_TOOLS, **COMMON, **STREAMED, "max_completion_tokens": 50},
    "deepseek": {
        "tools": [TOOL_JSON],
        "tool_choice": "auto",
        "temperature": 0.5,
        "stop": ["END"],
        "max_tokens": 50,
        "thinking": {"type": "enabled"},
        **EFFORT,
        **STREAMED,
    },
    "groq": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_completion_tokens": 50},
    "openrouter": {
        **PLAIN_TOOLS,
        **COMMON,
        **STREAMED,
        "max_tokens": 50,
        "reasoning": {"effort": "low"},
        "provider": {"allow_fallbacks": False},
    },
    "gemini": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "mistral": {
        "tools": [TOOL_JSON],
        "tool_choice": "any",
        "temperature": 0.5,
        "random_seed": 7,
        "stop": ["END"],
        "max_tokens": 50,
        "stream": True,
        **EFFORT,
    },
    "together": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "fireworks": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "xai": {**PLAIN_TOOLS, "temperature": 0.5, "seed": 7, **STREAMED, **EFFORT, "max_tokens": 50},
    "cerebras": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_completion_tokens": 50},
    "ollama": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "vllm": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "lmstudio": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
    "custom": {**PLAIN_TOOLS, **COMMON, **STREAMED, **EFFORT, "max_tokens": 50},
}


@pytest.mark.parametrize("provider", DEFAULTS)
def test_a_full_request_goes_out_as_each_provider_wants_it(provider: str):
    sent = body(model(provider, DEFAULTS[provider]), stream=True, **FULL)
    expected = {"model": DEFAULTS[provider], "messages": [{"role": "user", "content": "hi"}], **GOLDEN[provider]}
    assert sent == expected


@pytest.mark.parametrize("provider", DEFAULTS)
def test_the_plainest_request_has_nothing_in_it_but_model_and_messages(provider: str):
    sent = body(model(provider, DEFAULTS[provider]))
    extra = {"provider": {"allow_fallbacks": False}} if provider == "openrouter" else {}
    assert sent == {"model": DEFAULTS[provider], "messages": [{"role": "user", "content": "hi"}], **extra}


def test_the_path_is_the_same_for_all_but_azures_dated_versions():
    assert wire(GPT).path == "/chat/completions"
    assert wire(model("azure", "my dep")).path == "/chat/completions"
    dated = model("azure", "my dep", api_version="2024-10-21")
    assert wire(dated).path == "/deployments/my%20dep/chat/completions?api-version=2024-10-21"
    assert wire(model("azure", "d", api_version="preview")).path == "/chat/completions?api-version=preview"
    assert wire(model("openai", "gpt-4o", api_version="2024-10-21")).path == "/chat/completions"


def test_what_had_to_change_is_noted():
    notes = wire(FLASH, **FULL).notes
    assert notes == (
        "tool_choice required became auto: the model cannot be forced while it thinks",
        "seed dropped: deepseek does not take it",
    )
    assert wire(GPT).notes == ()


def test_tools_silence_a_model_that_thinks_with_tools_only_over_responses():
    sent = wire(LUNA, tools=(WEATHER,), temperature=0.5)
    assert json.loads(sent.body)["reasoning_effort"] == "none"
    assert json.loads(sent.body)["temperature"] == 0.5  # it does not think now, so it takes this
    assert sent.notes == ("reasoning_effort became none: with tools, Chat Completions takes no other",)
    assert "reasoning_effort" not in body(LUNA)
    assert "reasoning_effort" not in body(model("openai", "gpt-6.1-sol"), tools=(WEATHER,))
    assert "reasoning" not in body(ROUTED, tools=(WEATHER,))


def test_deepseek_is_switched_not_turned_down():
    assert body(FLASH, reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert body(FLASH, thinking={"type": "disabled"})["thinking"] == {"type": "disabled"}
    assert body(FLASH, thinking={"type": "adaptive"})["thinking"] == {"type": "enabled"}
    sent = body(FLASH, tools=(WEATHER,), tool_choice="weather")
    assert sent["thinking"] == {"type": "disabled"}
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_openrouter_has_one_object_for_all_ways_to_think():
    assert body(ROUTED, reasoning_effort="xhigh")["reasoning"] == {"effort": "xhigh"}
    assert body(ROUTED, thinking={"type": "enabled", "budget_tokens": 2000})["reasoning"] == {"max_tokens": 2000}
    assert body(ROUTED, thinking={"type": "adaptive"})["reasoning"] == {"enabled": True}
    assert body(ROUTED, thinking={"type": "disabled"})["reasoning"] == {"effort": "none"}


def test_a_way_to_think_that_the_wire_has_not_is_dropped_with_a_note():
    sent = wire(GPT, thinking={"type": "enabled", "budget_tokens": 2000})
    assert sent.notes == ("thinking dropped: this wire has reasoning_effort only",)


def test_groqs_qwen_keeps_its_reasoning_out_of_the_text():
    assert body(model("groq", "qwen/qwen3.8-27b"))["reasoning_format"] == "parsed"
    assert "reasoning_format" not in body(model("groq", "openai/gpt-oss-120b"))


def test_tools_keep_their_schema_and_strictness_and_lose_nothing():
    strict = Tool("t", strict=True, parameters={"properties": {}})
    sent = body(GPT, tools=(Tool("bare"), strict), parallel_tool_calls=False)
    assert sent["tools"] == [
        {"type": "function", "function": {"name": "bare", "parameters": {"type": "object", "properties": {}}}},
        {
            "type": "function",
            "function": {"name": "t", "parameters": {"type": "object", "properties": {}}, "strict": True},
        },
    ]
    assert sent["parallel_tool_calls"] is False


def test_a_tool_of_the_providers_own_goes_out_as_it_is():
    native = {"type": "openrouter:web_search", "parameters": {"max_results": 3}}
    assert body(ROUTED, tools=(Tool("web", native=native),))["tools"] == [native]


def test_a_tool_name_the_wire_cannot_take_is_replaced_everywhere_and_told():
    odd = Tool("wetter.für/heute")
    call = Message("assistant", ToolCall("call_1", odd.name, "{}"))
    sent = wire(GPT, HI, call, Message("tool", ToolResult("call_1", "ok")), tools=(odd,), tool_choice=odd.name)
    told = json.loads(sent.body)
    name = told["tools"][0]["function"]["name"]
    assert name == told["tool_choice"]["function"]["name"] == told["messages"][1]["tool_calls"][0]["function"]["name"]
    assert sent.tool_names == {name: odd.name}


# -------------------------------------------------------------------- JSON


def test_a_schema_goes_out_natively_where_it_is_taken():
    form = JsonFormat(CITY, "place", strict=True, description="where")
    assert body(GPT, response_format=form)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": CITY, "description": "where", "strict": True},
    }
    assert body(GPT, response_format=form)["messages"] == [{"role": "user", "content": "hi"}]


def test_a_schema_is_put_into_words_where_it_is_not_taken():
    sent = body(FLASH, response_format=JsonFormat(CITY))
    assert sent["response_format"] == {"type": "json_object"}
    system, user = sent["messages"]
    assert system["role"] == "system"
    assert json.dumps(CITY, separators=(",", ":")) in system["content"]
    assert "JSON" in system["content"]
    assert user == {"role": "user", "content": "hi"}


def test_the_word_json_is_added_once_and_only_where_it_is_missing():
    form = JsonFormat()
    told = body(GPT, Message("system", "Be brief."), HI, response_format=form)["messages"]
    assert told[0] == {"role": "system", "content": "Be brief.\n\nAnswer with one JSON object and nothing else."}
    assert body(GPT, Message("user", "as Json please"), response_format=form)["messages"] == [
        {"role": "user", "content": "as Json please"}
    ]


def test_where_tools_and_json_mode_exclude_each_other_the_words_alone_ask_for_json():
    sent = body(model("groq", "qwen/qwen3.8-27b"), tools=(WEATHER,), response_format=JsonFormat(CITY))
    assert "response_format" not in sent
    assert "JSON schema" in sent["messages"][0]["content"]
    assert "response_format" in body(
        model("groq", "openai/gpt-oss-20b"), tools=(WEATHER,), response_format=JsonFormat(CITY)
    )


def test_gemini_gets_schemas_without_references():
    node = {"$ref": "#/$defs/Node"}
    schema = {
        "$defs": {"Node": {"type": "object", "properties": {"next": node, "$ref": {"type": "string"}}}},
        "type": "object",
        "properties": {
            "head": {**node, "description": "first"},
            "n": {"oneOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "additionalProperties": False,
    }
    inner = {"type": "object", "properties": {"next": {}, "$ref": {"type": "string"}}}
    expected = {
        "type": "object",
        "properties": {
            "head": {**inner, "description": "first"},
            "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    }
    sent = body(model("gemini", "gemini-3.8-flash"), tools=(Tool("t", parameters=schema),))
    assert sent["tools"][0]["function"]["parameters"] == expected
    assert inlined({"$ref": "https://elsewhere"}) == {}


# ------------------------------------------------------------ the last word


def test_extra_body_goes_on_top_of_everything():
    sent = body(ROUTED, temperature=0.1, extra_body={"temperature": 0.9, "provider": {"order": ["x"]}, "n": 1})
    assert (sent["temperature"], sent["provider"], sent["n"]) == (0.9, {"order": ["x"]}, 1)


def test_what_the_model_was_found_to_refuse_is_taken_out_last():
    learned = {"max_tokens": "max_completion_tokens", "seed": None, "top_k": None, "stream_options": None}
    sent = body(model("custom", "m", learned=learned), stream=True, max_tokens=5, seed=1, extra_body={"top_k": 2})
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 5,
        "stream": True,
    }


def test_text_that_utf8_cannot_hold_still_makes_a_request():
    assert b"half" in wire(GPT, Message("user", "half a pair: \ud83d")).body


# ---------------------------------------------------------------- messages


def test_parts_appear_only_where_text_alone_will_not_do():
    several = Message("user", [Text("a"), Text("b")])
    assert body(GPT, several)["messages"] == [{"role": "user", "content": "ab"}]
    seen = Message("user", [Text("look"), Media("image", "image/png", PNG, detail="low")])
    assert body(GPT, seen)["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
    ]


PDF = base64.b64encode(b"%PDF-1.7").decode()
WAV = base64.b64encode(b"RIFF0000WAVE").decode()
MEDIA: list[tuple[str, Media, dict[str, Any]]] = [
    ("openai", Media("image", url="https://x/y.png"), {"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
    ("openai", Media("image", file_id="file-1"), {"type": "file", "file": {"file_id": "file-1"}}),
    (
        "openai",
        Media("document", data=PDF, name="a.pdf"),
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ),
    ("openai", Media("document", file_id="file-1"), {"type": "file", "file": {"file_id": "file-1"}}),
    ("openai", Media("document", url="https://x/a.pdf"), {"type": "text", "text": "[document: https://x/a.pdf]"}),
    (
        "openai",
        Media("document", "text/plain", base64.b64encode(b"hello").decode(), name="a.txt"),
        {"type": "text", "text": "a.txt:\nhello"},
    ),
    (
        "openai",
        Media("audio", "audio/wav", WAV),
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
    ),
    (
        "openai",
        Media("audio", "audio/mpeg", "SUQzAAAA"),
        {"type": "input_audio", "input_audio": {"data": "SUQzAAAA", "format": "mp3"}},
    ),
    ("openai", Media("video", url="https://x/v.mp4"), {"type": "text", "text": "[video: https://x/v.mp4]"}),
    (
        "openrouter",
        Media("video", url="https://x/v.mp4"),
        {"type": "video_url", "video_url": {"url": "https://x/v.mp4"}},
    ),
    (
        "openrouter",
        Media("document", url="https://x/a.pdf"),
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://x/a.pdf"}},
    ),
    (
        "mistral",
        Media("document", url="https://x/a.pdf", name="a"),
        {"type": "document_url", "document_url": "https://x/a.pdf", "document_name": "a"},
    ),
    ("mistral", Media("audio", "audio/wav", WAV), {"type": "input_audio", "input_audio": WAV}),
]


@pytest.mark.parametrize(("provider", "media", "part"), MEDIA)
def test_media_are_written_as_each_wire_has_them(provider: str, media: Media, part: dict[str, Any]):
    assert body(model(provider, "any"), Message("user", [Text("x"), media]))["messages"][0]["content"][1] == part


def test_a_cache_point_is_marked_only_where_the_wire_has_one():
    cached = Message("user", [Text("long", cache_point=True), Text("short")])
    assert body(ROUTED, cached)["messages"][0]["content"] == [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "short"},
    ]
    assert body(GPT, cached)["messages"][0]["content"] == "longshort"


def test_a_tool_loop_is_written_in_full():
    calls = [ToolCall("call_1", "weather", '{"city": "Rome"}'), ToolCall("call_2", "weather", "")]
    results = [ToolResult("call_1", "sunny"), ToolResult("call_2", (Text("wet"),), is_error=True)]
    sent = body(GPT, HI, Message("assistant", calls, author="openai:gpt-4.1"), Message("tool", results))["messages"]
    assert sent[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
                {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "wet"},
    ]


def test_missing_text_beside_calls_is_null_or_empty_as_the_server_wants():
    turn = Message("assistant", ToolCall("call_1", "weather", "{}"))
    answer = Message("tool", ToolResult("call_1", "x"))
    assert body(GPT, HI, turn, answer)["messages"][1]["content"] is None
    assert body(model("ollama", "llama3"), HI, turn, answer)["messages"][1]["content"] == ""


def test_deepseek_gets_its_reasoning_back_with_tools_and_an_empty_one_from_others():
    call = ToolCall("call_1", "weather", "{}")
    own = Message("assistant", [Thinking("hm"), call], author="deepseek:deepseek-flash")
    other = Message("assistant", [Thinking("secret"), call], author="openai:gpt-4.1")
    result = Message("tool", ToolResult("call_1", "x"))
    assert body(FLASH, HI, own, result)["messages"][1]["reasoning_content"] == "hm"
    assert body(FLASH, HI, other, result)["messages"][1]["reasoning_content"] == ""
    assert "secret" not in wire(FLASH, HI, other, result).body.decode()
    assert "reasoning_content" not in body(GPT, HI, own, result)["messages"][1]


def test_openrouter_gets_its_reasoning_details_back_exactly():
    details = [{"type": "reasoning.encrypted", "data": "abc", "id": "r1", "format": "x", "index": 0}]
    call = ToolCall("call_1", "weather", "{}")
    own = [Thinking("hm", extra={"reasoning_details": details}), call]
    sent = body(ROUTED, HI, Message("assistant", own, author=ROUTED.author), Message("tool", ToolResult("call_1", "x")))
    assert sent["messages"][1]["reasoning_details"] == details
    assert "reasoning" not in sent["messages"][1]


def test_geminis_thought_signature_goes_back_and_other_models_calls_get_the_dummy():
    gemini = model("gemini", "gemini-3.8-flash")
    signed = {"extra_content": {"google": {"thought_signature": "sig"}}}
    result = Message("tool", ToolResult("call_1", "x"))
    own = Message("assistant", ToolCall("call_1", "weather", "{}", signed), author=gemini.author)
    other = Message("assistant", ToolCall("call_1", "weather", "{}", signed), author="gemini:gemini-4-argon")
    assert body(gemini, HI, own, result)["messages"][1]["tool_calls"][0]["extra_content"] == signed["extra_content"]
    dummy = body(gemini, HI, other, result)["messages"][1]["tool_calls"][0]["extra_content"]
    assert dummy == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "extra_content" not in body(GPT, HI, own, result)["messages"][1]["tool_calls"][0]


# ------------------------------------------- the strict judge, any request

AUTHORS = ["anthropic:claude-sonnet-5-5", "openai:gpt-6.2-sol", None]  # what a target wrote itself it has to take back
IDS = st.sampled_from(["call_1", "call_2", "", "x" * 64, "functions.weather:0", "toolu_01"])
WORDS = st.sampled_from(["hi", "", " ", "äöü", "as json"])
CALLS = st.builds(ToolCall, IDS, st.just("weather"), st.sampled_from(['{"city": "Rome"}', "", "{bro", "[]"]))
SAID = st.one_of(st.builds(Text, WORDS), st.builds(Thinking, WORDS), CALLS)
HEARD = st.one_of(st.builds(Text, WORDS), st.builds(ToolResult, IDS, WORDS))
TURNS = st.one_of(
    st.builds(Message, st.just("system"), WORDS),
    st.builds(Message, st.just("user"), st.lists(HEARD, max_size=3)),
    st.builds(Message, st.just("assistant"), st.lists(SAID, max_size=4), st.sampled_from(AUTHORS)),
    st.builds(Message, st.just("tool"), st.lists(st.builds(ToolResult, IDS, WORDS), max_size=3)),
)
OFFERED = st.sampled_from([(), (WEATHER,), (WEATHER, Tool("bare"))])
REQUESTS = st.builds(
    Request,
    st.lists(TURNS, max_size=6).map(lambda turns: (*turns, HI)),
    OFFERED,
    st.sampled_from([None, "auto", "none", "required", "weather"]),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, JsonFormat(), JsonFormat(CITY, "place")]),
    st.sampled_from([None, 1, 4000, 500_000]),
    st.sampled_from([None, 0.0, 1.0, 2.0]),
    st.sampled_from([None, 0.5]),
    st.none(),
    st.sampled_from([(), ("a",), tuple("abcdefgh")]),
    st.sampled_from([None, 3]),
    presence_penalty=st.sampled_from([None, 0.5]),
    frequency_penalty=st.sampled_from([None, 0.5]),
    logprobs=st.sampled_from([None, True]),
    top_logprobs=st.sampled_from([None, 2]),
    reasoning_effort=st.sampled_from([None, "none", "minimal", "low", "high", "max"]),
    thinking=st.sampled_from([None, {"type": "enabled", "budget_tokens": 2048}, {"type": "disabled"}]),
)
SERVED = [
    model(provider, name)
    for provider, row in ROWS.items()
    if provider in PROVIDERS and "chat" in row.paths
    for name in row.models or ("any",)
    if not (
        provider in ("openai", "azure")
        and facts_for(provider, name).efforts == facts_for("openai", "gpt-6-astra").efforts
    )
]  # the models left out take tools over Responses only


def possible(request: Request, target: Model) -> Request:
    """Without what no rendering can make this target do: its routing would not have come here."""
    if target.facts.max_output_tokens is None:
        request = replace(request, max_tokens=None)
    if not request.tools or target.id.startswith("meta-llama"):
        request = replace(request, tools=(), tool_choice=None)
    if target.id.startswith("meta-llama"):
        request = replace(request, response_format=None)
    return request


@settings(max_examples=300, deadline=None)
@given(REQUESTS, st.sampled_from(SERVED), st.booleans())
def test_no_request_is_refused_by_any_provider(request: Request, target: Model, stream: bool):
    sent = json.loads(CHAT.render(possible(request, target), target, stream).body)
    assert [found.message for found in violations("chat", target.provider.name, sent)] == []


def test_a_server_that_knows_few_fields_is_learned_in_one_step():
    unknown = model("transformers", "any")
    request = asked(stop=("a",), top_p=0.5, logprobs=True, presence_penalty=0.5, max_tokens=9, reasoning_effort="low")
    refused = violations("chat", "transformers", json.loads(CHAT.render(request, unknown, True).body))
    fields = {found.param for found in refused}
    assert len(fields) == 5
    message = f"Unexpected fields in the request: {fields}"  # this server names them all at once
    learned = adapt(Failure(Kind.UNSUPPORTED_PARAMETER, message, 422), request)
    assert learned is not None
    sent = json.loads(CHAT.render(request, replace(unknown, learned=learned), True).body)
    assert violations("chat", "transformers", sent) == []
    assert (sent["max_tokens"], sent["top_p"], sent["stream"]) == (9, 0.5, True)


EVERYTHING: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop": tuple("ab"),
    "seed": 3,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "top_logprobs": 2,
    "reasoning_effort": "minimal",
    "max_tokens": 50,
}
HOPELESS = {
    "openai:gpt-6.1-sol": "tools over Responses only",
    "openai:gpt-6-astra": "tools over Responses only",
    "azure:gpt-6.1-sol": "tools over Responses only",
    "azure:gpt-6-astra": "tools over Responses only",
    "openrouter:meta-llama/llama-guard-4-12b": "no tools",
}


PENALTIES = ("presence_penalty", "frequency_penalty")
VAGUE = {"gemini": PENALTIES, "xai": PENALTIES}
"""Refused in words that name no parameter, or that could mean the whole request."""


def learned_by_asking(request: Request, target: Model) -> bool:
    """Whether refusals alone teach how to ask a model of which no table knows anything."""
    learned: dict[str, str | None] = {}
    for _ in range(12):
        sent = json.loads(CHAT.render(request, replace(target, learned=learned), False).body)
        refused = violations("chat", target.provider.name, sent)
        if not refused:
            return True
        failure = classify(refused[0].status, {}, error_body(ROWS[target.provider.name].shape, refused[0]), 0.0)
        learned |= adapt(failure, request) or {}
    return False


@pytest.mark.parametrize("target", [*SERVED, model("openai", "gpt-6.1-sol")], ids=lambda target: target.author)
@pytest.mark.parametrize("fields", [{}, {"tools": (WEATHER,), "tool_choice": "required"}], ids=["plain", "tools"])
def test_what_no_table_knows_is_learned_from_refusals(target: Model, fields: dict[str, Any]):
    blank = replace(target, facts=Facts(), provider=replace(target.provider, quirks={}))
    hopeless = "tools" in fields and target.author in HOPELESS
    given = {name: value for name, value in EVERYTHING.items() if name not in VAGUE.get(target.provider.name, ())}
    assert learned_by_asking(asked(**given, **fields), blank) is not hopeless


def test_a_cap_that_does_not_fit_the_window_beside_the_prompt_is_lowered():
    target = model("groq", "openai/gpt-oss-120b", facts=Facts(context_window=10_000, max_output_tokens=8_000))
    sent = wire(target, Message("user", "x" * 12_000), max_tokens=8_000)
    assert 5_900 < json.loads(sent.body)["max_completion_tokens"] < 6_000
    assert len(sent.notes) == 1
    assert body(target, Message("user", "x" * 12_000), max_tokens=4_000)["max_completion_tokens"] == 4_000
