"""The scripted providers refuse what the real ones refuse: one row per refusal, and good requests pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from failover.testing.strict import error_body, ignored, opening, sign, violations
from failover.testing.world import ROWS, DialectName, row

USER = {"role": "user", "content": "What is the weather?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}


def function(name: str = "weather", strict: bool | None = None, schema: Any = SCHEMA) -> dict[str, Any]:
    inner = {"name": name, "description": "d", "parameters": schema}
    return {"type": "function", "function": inner if strict is None else {**inner, "strict": strict}}


def call(name: str = "call_1", arguments: Any = '{"city": "Rome"}') -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "weather", "arguments": arguments}}


def asks(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(name: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": "sunny"}


LOOP = [USER, asks(call()), result()]
QUIET = {"reasoning_effort": "none"}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def chat(model: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [USER], **fields}


def rules(dialect: DialectName, provider: str, body: dict[str, Any], **headers: str) -> set[str]:
    return {found.rule for found in violations(dialect, provider, body, headers or None)}


# ------------------------------------------------------------ good requests

GOOD_CHAT = [
    ("openai", chat()),
    ("openai", chat(temperature=0.2, max_tokens=5, stop=["a"], tools=[function()], tool_choice="required")),
    ("openai", chat("gpt-6-luna", max_completion_tokens=5, tools=[function()], **QUIET)),
    ("openai", chat("gpt-6-luna", temperature=0.3, **QUIET)),
    ("openai", chat(messages=[{"role": "developer", "content": "x"}, *LOOP, USER])),
    ("openai", chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, PNG]}])),
    ("openai", chat(tools=[function(strict=True, schema=CLOSED)])),
    ("deepseek", chat("deepseek-flash", messages=[USER, asks(call(), reasoning_content=""), result()])),
    ("deepseek", chat("deepseek-flash", messages=LOOP, thinking={"type": "disabled"})),
    ("groq", chat("openai/gpt-oss-120b", messages=LOOP, reasoning_effort="low")),
    ("mistral", chat("mistral-small-latest", messages=[USER, asks(call("abcDEF123")), result("abcDEF123")])),
    ("mistral", chat("mistral-small-latest", tool_choice="any", tools=[function()])),
    ("openrouter", chat("openai/gpt-6-luna:free", messages=LOOP, made_up=1)),
    ("transformers", chat("qwen", max_tokens=5)),
    ("anything-else", chat("whatever", made_up=1)),
]


@pytest.mark.parametrize(("provider", "body"), GOOD_CHAT)
def test_a_proper_chat_request_is_served(provider: str, body: dict[str, Any]) -> None:
    assert violations("chat", provider, body, {"Authorization": "Bearer k", "api-key": "k"}) == []


# ------------------------------------------------------------- bad requests

IMAGE_TURN = [{"role": "user", "content": [PNG]}]
OPTIONAL = {"type": "object", "properties": {"a": {"type": "array"}}}


def json_format(schema: Any, strict: bool = True) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "r", "schema": schema, "strict": strict}}


BAD_CHAT: list[tuple[str, dict[str, Any], int, str]] = [
    # the shape
    ("openai", {"messages": [USER]}, 400, "missing"),
    ("openai", chat(messages=[]), 400, "empty"),
    ("openai", chat(made_up=1), 400, "unknown"),
    ("openai", chat(messages=[{**USER, "reasoning_content": "x"}]), 400, "unknown"),
    ("openai", chat(messages=[{"role": "wizard", "content": "x"}]), 400, "tag"),
    ("openai", chat(messages=[{"role": "user", "content": None}]), 400, "type"),
    ("openai", chat(messages=[{"role": "assistant", "content": None}, USER]), 400, "null_content"),
    ("openai", chat(messages=[{"role": "user", "content": [{"type": "image", "source": {}}]}]), 400, "tag"),
    ("openai", chat(temperature=3), 400, "above"),
    ("openai", chat(max_tokens=0), 400, "below"),
    ("openai", chat(stop=["a", "b", "c", "d", "e"]), 400, "too_many"),
    ("openai", chat(tool_choice="any", tools=[function()]), 400, "value"),
    ("openai", chat(tools=[]), 400, "empty"),
    ("openai", chat(tools=[function("a b")]), 400, "pattern"),
    ("openai", chat("gpt-9"), 404, "model"),
    # the conversation
    ("openai", chat(messages=[USER, asks(call("c" * 41)), result("c" * 41)]), 400, "too_long"),
    ("openai", chat(messages=[USER, asks(call("")), result("")]), 400, "empty_id"),
    ("openai", chat(messages=[USER, asks(call(arguments={"city": "Rome"})), result()]), 400, "type"),
    ("openai", chat(messages=[USER, result()]), 400, "orphan_result"),
    ("openai", chat(messages=[USER, asks(call())]), 400, "unanswered_call"),
    ("openai", chat(messages=[USER, asks(call()), USER, result()]), 400, "unanswered_call"),
    ("openai", chat(messages=[*LOOP, result()]), 400, "duplicate_result"),
    ("openai", chat(messages=[USER, asks(call()), {**result(), "content": [PNG]}]), 400, "tag"),
    # tools, formats, options
    ("openai", chat(tool_choice="required"), 400, "choice_without_tools"),
    ("openai", chat(parallel_tool_calls=True), 400, "choice_without_tools"),
    (
        "openai",
        chat(tools=[function()], tool_choice={"type": "function", "function": {"name": "other"}}),
        400,
        "unknown_choice",
    ),
    ("openai", chat(tools=[function(schema={"type": "string"})]), 400, "schema"),
    ("openai", chat(tools=[function(schema=OPTIONAL)]), 400, "schema"),
    ("openai", chat(tools=[function(strict=True)]), 400, "schema"),
    ("openai", chat(response_format=json_format({**CLOSED, "required": []})), 400, "schema"),
    ("openai", chat(response_format={"type": "json_object"}), 400, "json_word"),
    ("openai", chat(stream_options={"include_usage": True}), 400, "stream_options"),
    ("openai", chat(top_logprobs=2), 400, "top_logprobs"),
    ("openai", chat(max_tokens=999_999), 400, "output_limit"),
    ("openai", chat(max_tokens=5, max_completion_tokens=5), 400, "two_limits"),
    ("openai", chat(messages=[{"role": "user", "content": "x " * 300_000}]), 400, "context"),
    # the model
    ("openai", chat("gpt-6-luna", max_tokens=5), 400, "max_tokens"),
    ("openai", chat("gpt-6-luna", temperature=0.5), 400, "sampling"),
    ("openai", chat("gpt-6-luna", logprobs=True), 400, "sampling"),
    ("openai", chat("gpt-6-luna", stop=["a"]), 400, "stop"),
    ("openai", chat("gpt-6-luna", tools=[function()]), 400, "tools_with_reasoning"),
    ("openai", chat("gpt-6.1-sol", tools=[function()], **QUIET), 400, "tools_with_reasoning"),
    ("openai", chat("gpt-6-astra", **QUIET), 400, "effort"),
    ("openai", chat("gpt-4o", reasoning_effort="low"), 400, "effort"),
    # single providers
    ("azure", chat("no-such-deployment"), 404, "model"),
    ("deepseek", chat("deepseek-flash", messages=LOOP), 400, "reasoning_missing"),
    ("deepseek", chat("deepseek-flash", tools=[function()], tool_choice="required"), 400, "forced_choice"),
    ("deepseek", chat("deepseek-flash", response_format=json_format(CLOSED)), 400, "no_schema"),
    ("deepseek", chat("deepseek-flash", response_format={"type": "json_object"}), 400, "json_word"),
    ("deepseek", chat("deepseek-v4-pro", messages=IMAGE_TURN), 400, "media"),
    ("deepseek", chat("deepseek-chat"), 400, "model"),
    ("deepseek", chat("deepseek-flash", messages=[{"role": "user"}]), 422, "missing"),
    ("groq", chat("openai/gpt-oss-20b", messages=[{**USER, "name": "bob"}]), 400, "unknown"),
    ("groq", chat("openai/gpt-oss-20b", n=2), 400, "above"),
    ("deepseek", chat("deepseek-flash", messages=[{"role": "developer", "content": "x"}, USER]), 422, "tag"),
    ("groq", chat("openai/gpt-oss-20b", logprobs=True), 400, "logprobs"),
    ("groq", chat("openai/gpt-oss-20b", reasoning_effort="max"), 400, "effort"),
    ("groq", chat("openai/gpt-oss-20b", tools=[function()], reasoning_format="raw"), 400, "raw_reasoning"),
    (
        "groq",
        chat(
            "openai/gpt-oss-20b", messages=[USER, {"role": "assistant", "content": "x", "reasoning_content": "y"}, USER]
        ),
        400,
        "unknown",
    ),
    ("groq", chat("qwen/qwen3.8-27b", response_format=json_format(CLOSED)), 400, "no_schema"),
    ("groq", chat("openai/gpt-oss-20b", messages=IMAGE_TURN), 400, "media"),
    ("mistral", chat("mistral-small-latest", seed=1), 422, "unknown"),
    ("mistral", chat("mistral-small-latest", stream=True, stream_options={"include_usage": True}), 422, "unknown"),
    ("mistral", chat("mistral-small-latest", messages=LOOP), 400, "tool_id"),
    (
        "mistral",
        chat("mistral-small-latest", messages=[USER, asks(call("abcDEF123")), result("abcDEF123"), USER]),
        400,
        "order",
    ),
    ("mistral", chat("mistral-small-latest", messages=[USER, {"role": "assistant", "content": "x"}]), 400, "order"),
    ("mistral", chat("mistral-small-latest", messages=[USER, asks(call("abcDEF123")), USER]), 400, "unanswered_call"),
    (
        "mistral",
        chat("mistral-small-latest", messages=[USER, {"role": "assistant", "content": ""}, USER]),
        400,
        "null_content",
    ),
    ("gemini", chat("gemini-3.8-flash", made_up=1), 400, "unknown"),
    ("gemini", chat("gemini-3.8-flash", messages=LOOP), 400, "thought_missing"),
    (
        "gemini",
        chat(
            "gemini-3.8-flash",
            messages=[USER, asks({**call(), "extra_content": {"google": {"thought_signature": "x"}}}), result()],
        ),
        400,
        "foreign_thinking",
    ),
    ("gemini", chat("gemini-3.8-flash", tools=[function(schema={**SCHEMA, "$defs": {}})]), 400, "schema"),
    ("gemini", chat("gemini-4-argon", presence_penalty=1), 400, "penalty"),
    ("xai", chat("grok-4.5", frequency_penalty=1), 400, "penalty"),
    ("xai", chat("grok-4.5", stop=["a"]), 400, "stop"),
    (
        "cerebras",
        chat("gpt-oss-120b", messages=[USER, {"role": "assistant", "content": "x", "reasoning_content": "y"}, USER]),
        400,
        "unknown",
    ),
    (
        "cerebras",
        chat(
            "gpt-oss-120b",
            response_format=json_format(
                {
                    **CLOSED,
                    "properties": {"a": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
                    "required": ["a"],
                }
            ),
        ),
        400,
        "schema",
    ),
    ("fireworks", chat("accounts/fireworks/models/gpt-oss-120b", made_up=1), 400, "unknown"),
    ("openrouter", chat("meta-llama/llama-guard-4-12b", tools=[function()]), 404, "no_endpoint"),
    ("openrouter", chat("openai/gpt-oss-120b", messages=IMAGE_TURN), 404, "no_endpoint"),
    ("openrouter", chat("no/such"), 400, "model"),
    ("transformers", chat("qwen", stream=True, stream_options={"include_usage": True}), 422, "unknown"),
    ("transformers", chat("qwen", messages=[USER, USER]), 400, "order"),
    ("anything-else", chat("m", messages=[USER, result()]), 400, "orphan_result"),
]


@pytest.mark.parametrize(("provider", "body", "status", "rule"), BAD_CHAT, ids=lambda value: str(value)[:60])
def test_a_chat_provider_refuses(provider: str, body: dict[str, Any], status: int, rule: str) -> None:
    found = violations("chat", provider, body)
    assert rule in {violation.rule for violation in found}
    assert found[0].status == status
    assert json.loads(error_body(row(provider).shape, found[0]))


def test_signed_thoughts_of_gemini_and_its_documented_dummy_pass() -> None:
    for thought in ("skip_thought_signature_validator", sign("gemini-3.8-flash", 'weather{"city": "Rome"}')):
        kept = {**call(), "extra_content": {"google": {"thought_signature": thought}}}
        assert violations("chat", "gemini", chat("gemini-3.8-flash", messages=[USER, asks(kept), result()])) == []


# ---------------------------------------------------------------- anthropic

NEW = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
OLD = {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}
TOOL = {"name": "weather", "input_schema": SCHEMA}


def claude(model: str = "claude-haiku-5-5", **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 100, "messages": [USER], **fields}


def use(name: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": "weather", "input": {}, **more}


def gives(name: str = "toolu_1", content: Any = "sunny") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": content}


def turn(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def thought(signature: str, value: str = "hm") -> dict[str, Any]:
    return {"type": "thinking", "thinking": value, "signature": signature}


SONNET = "claude-sonnet-5-5"
HERE = opening([USER])
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}

GOOD_CLAUDE = [
    (claude(), NEW),
    (claude(system="x", stop_sequences=["a"], tools=[TOOL], tool_choice={"type": "any"}), NEW),
    (claude("claude-sonnet-4-6", temperature=0.2), OLD),
    (claude("claude-sonnet-4-6", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000), NEW),
    (
        claude(messages=[USER, turn("assistant", use()), turn("user", gives(content=[text("x"), PICTURE]), text("y"))]),
        NEW,
    ),
    (
        claude(
            messages=[USER, turn("assistant", use("a"), use("b")), turn("user", gives("b")), turn("user", gives("a"))]
        ),
        NEW,
    ),
    (claude(messages=[USER, {"role": "system", "content": "x"}, USER]), NEW),
    (claude(SONNET, messages=[USER, turn("assistant", thought(sign(SONNET, "hm", HERE)), text("x")), USER]), NEW),
    (claude(SONNET, messages=[USER, turn("assistant", thought(sign(SONNET, "hm")), text("x")), USER]), NEW),
    (claude("claude-haiku-4-5", messages=[USER, {"role": "assistant", "content": "The"}]), NEW),
    (claude(output_config={"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}}), NEW),
    (claude(tools=[{"type": "web_search_20260318", "name": "web_search", "max_uses": 3}]), NEW),
]


@pytest.mark.parametrize(("body", "headers"), GOOD_CLAUDE)
def test_a_proper_anthropic_request_is_served(body: dict[str, Any], headers: dict[str, str]) -> None:
    assert violations("anthropic", "anthropic", body, headers) == []


BAD_CLAUDE: list[tuple[dict[str, Any], dict[str, str], int, str]] = [
    (claude(), {"anthropic-version": "2026-10-21"}, 401, "credential"),
    (claude(), {"x-api-key": "k"}, 400, "version_missing"),
    (claude(), {**NEW, "anthropic-version": "2025-01-01"}, 400, "version_unknown"),
    (claude("claude-9"), NEW, 404, "model"),
    ({"model": "claude-haiku-5-5", "messages": [USER]}, NEW, 400, "missing"),
    (claude(messages=[]), NEW, 400, "empty"),
    (claude(response_format={}), NEW, 400, "unknown"),
    (claude(seed=1), NEW, 400, "unknown"),
    (claude(temperature=1), NEW, 400, "unknown"),
    (claude("claude-sonnet-4-6", temperature=1.0), NEW, 400, "unknown"),
    (claude(SONNET, temperature=0.2), OLD, 400, "sampling"),
    (claude("claude-sonnet-4-6", temperature=1.5), OLD, 400, "above"),
    (claude("claude-sonnet-4-6", temperature=0.5, top_p=0.5), OLD, 400, "temperature_and_top_p"),
    (claude(messages=[{"role": "assistant", "content": "x"}, USER]), NEW, 400, "first_role"),
    (claude(messages=[{"role": "tool", "content": "x"}]), NEW, 400, "value"),
    (claude("claude-sonnet-5", messages=[USER, {"role": "system", "content": "x"}, USER]), NEW, 400, "system_role"),
    (claude(messages=[turn("user", text(""))]), NEW, 400, "empty_text"),
    (claude(messages=[turn("user", text(" \n"))]), NEW, 400, "blank_text"),
    (claude(messages=[{"role": "user", "content": ""}]), NEW, 400, "empty_message"),
    (claude(messages=[USER, turn("assistant"), USER]), NEW, 400, "empty_message"),
    (claude(system=[text("")]), NEW, 400, "empty_text"),
    (claude(messages=[USER, {"role": "assistant", "content": "The"}]), NEW, 400, "prefill"),
    (claude("claude-haiku-4-5", messages=[USER, {"role": "assistant", "content": "The "}]), NEW, 400, "trailing_space"),
    (claude(messages=[USER, turn("assistant", use("a b")), turn("user", gives("a b"))]), NEW, 400, "pattern"),
    (claude(messages=[USER, turn("assistant", use(input="{}")), turn("user", gives())]), NEW, 400, "type"),
    (claude(messages=[USER, turn("assistant", use())]), NEW, 400, "unanswered_call"),
    (claude(messages=[USER, turn("assistant", use()), USER]), NEW, 400, "unanswered_call"),
    (claude(messages=[USER, turn("assistant", use()), turn("user", text("x"), gives())]), NEW, 400, "unanswered_call"),
    (claude(messages=[turn("user", gives())]), NEW, 400, "orphan_result"),
    (claude(messages=[USER, turn("assistant", use()), turn("user", gives(), gives())]), NEW, 400, "duplicate_result"),
    (claude(messages=[USER, turn("assistant", use(), use()), turn("user", gives())]), NEW, 400, "duplicate_call"),
    (claude(messages=[turn("user", use())]), NEW, 400, "wrong_turn"),
    (claude(messages=[USER, turn("assistant", thought("forged"), text("x")), USER]), NEW, 400, "foreign_thinking"),
    (
        claude(messages=[USER, turn("assistant", thought(sign(SONNET, "hm")), text("x")), USER]),
        NEW,
        400,
        "foreign_thinking",
    ),
    (
        claude(SONNET, messages=[USER, turn("assistant", thought(sign(SONNET, "hm", "elsewhere")), text("x")), USER]),
        NEW,
        400,
        "foreign_thinking",
    ),
    (
        claude(SONNET, messages=[USER, turn("assistant", thought(sign(SONNET, "hm"), "changed"), text("x")), USER]),
        NEW,
        400,
        "foreign_thinking",
    ),
    (claude(messages=[USER, turn("assistant", {"type": "thinking", "thinking": "x"}), USER]), NEW, 400, "missing"),
    (
        claude(
            "claude-sonnet-4-6",
            messages=[USER, turn("assistant", use()), turn("user", gives())],
            max_tokens=2000,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
        NEW,
        400,
        "thinking_missing",
    ),
    (claude(messages=[USER, turn("assistant", text("x"), PDF), USER]), NEW, 400, "document_turn"),
    (claude(messages=[turn("user", text("x", citations=[{}]))]), NEW, 400, "user_citations"),
    (claude(SONNET, tools=[TOOL], tool_choice={"type": "any"}), NEW, 400, "forced_choice"),
    (
        claude("claude-opus-5-5", tools=[TOOL], tool_choice={"type": "tool", "name": "weather"}),
        NEW,
        400,
        "forced_choice",
    ),
    (claude(tool_choice={"type": "auto"}), NEW, 400, "choice_without_tools"),
    (claude(tools=[TOOL], tool_choice={"type": "tool", "name": "other"}), NEW, 400, "unknown_choice"),
    (claude(tools=[TOOL, TOOL]), NEW, 400, "duplicate_tool"),
    (claude(tools=[{"name": "weather", "parameters": SCHEMA}]), NEW, 400, "missing"),
    (claude(tools=[{"name": "weather", "input_schema": {}}]), NEW, 400, "schema"),
    (claude(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}), NEW, 400, "schema"),
    (claude(stop_sequences=["\n"]), NEW, 400, "blank_stop"),
    (claude(max_tokens=999_999), NEW, 400, "output_limit"),
    (claude("claude-opus-5-5", thinking={"type": "disabled"}), NEW, 400, "thinking_mode"),
    (claude(SONNET, thinking={"type": "enabled", "budget_tokens": 2048}, max_tokens=4000), NEW, 400, "thinking_mode"),
    (claude("claude-opus-5-5", thinking={"type": "between_tools"}), NEW, 400, "thinking_mode"),
    (claude("claude-haiku-4-5", messages=[{"role": "user", "content": "x " * 500_000}]), NEW, 400, "context"),
    (claude(messages=[turn("user", *[text("x", cache_control={"type": "ephemeral"})] * 5)]), NEW, 400, "cache_points"),
]


@pytest.mark.parametrize(("body", "headers", "status", "rule"), BAD_CLAUDE, ids=lambda value: str(value)[:60])
def test_anthropic_refuses(body: dict[str, Any], headers: dict[str, str], status: int, rule: str) -> None:
    found = violations("anthropic", "anthropic", body, headers)
    assert rule in {violation.rule for violation in found}
    assert found[0].status == status
    assert json.loads(error_body("anthropic", found[0]))["type"] == "error"


# ---------------------------------------------------------------- responses


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def wants(name: str = "call_1", **more: Any) -> dict[str, Any]:
    return item("function_call", call_id=name, name="weather", arguments="{}", **more)


def gave(name: str = "call_1") -> dict[str, Any]:
    return item("function_call_output", call_id=name, output="sunny")


SOL = "gpt-6.1-sol"
REASONED = item("reasoning", id="rs_r01", summary=[], encrypted_content=sign(SOL, "rs_r01"))


def respond(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": SOL, "input": [USER, *items] if items else "hi", **fields}


FLAT = {"type": "function", "name": "weather", "parameters": SCHEMA}

GOOD_RESPONSES = [
    respond(),
    respond(wants(), gave(), USER),
    respond(REASONED, wants(id="fc_r01_0"), gave(), store=False, include=["reasoning.encrypted_content"]),
    respond(tools=[FLAT], tool_choice="required", reasoning={"effort": "low"}),
    respond(item("message", role="assistant", id="msg_1", content=[{"type": "output_text", "text": "x"}]), USER),
    respond(text={"format": {"type": "json_schema", "name": "r", "schema": CLOSED, "strict": True}}),
]


@pytest.mark.parametrize("body", GOOD_RESPONSES)
def test_a_proper_responses_request_is_served(body: dict[str, Any]) -> None:
    assert violations("responses", "openai", body, {"Authorization": "Bearer k"}) == []


BAD_RESPONSES: list[tuple[dict[str, Any], int, str]] = [
    ({"model": SOL}, 400, "missing"),
    (respond(made_up=1), 400, "unknown"),
    ({"model": SOL, "messages": [USER]}, 400, "moved"),
    (respond(max_tokens=5), 400, "moved"),
    (respond(stop=["a"]), 400, "unknown"),
    (respond(max_output_tokens=5), 400, "below"),
    (respond(item("message", role="user", content=[{"type": "text", "text": "x"}])), 400, "tag"),
    (respond(item("message", role="assistant", content=[{"type": "input_text", "text": "x"}]), USER), 400, "tag"),
    (respond(item("function_call", id="call_1", call_id="c", name="w", arguments="{}"), gave("c")), 400, "pattern"),
    (respond(wants()), 400, "unanswered_call"),
    (respond(gave()), 400, "orphan_result"),
    (respond(gave(), wants()), 400, "orphan_result"),
    (respond(wants(), gave(), gave()), 400, "duplicate_result"),
    (respond(REASONED, USER), 400, "reasoning_alone"),
    (respond(wants(id="fc_r01_0"), gave()), 400, "reasoning_missing"),
    (respond({**REASONED, "encrypted_content": None}, wants(id="fc_r01_0"), gave()), 404, "reasoning_unreadable"),
    (respond({**REASONED, "encrypted_content": "forged"}, wants(id="fc_r01_0"), gave()), 400, "foreign_thinking"),
    (respond(previous_response_id="resp_1"), 400, "previous_response"),
    (respond(tools=[{"type": "function", "function": {"name": "weather"}}]), 400, "missing"),
    (respond(tool_choice="required"), 400, "choice_without_tools"),
    (respond(tools=[FLAT], tool_choice={"type": "function", "name": "other"}), 400, "unknown_choice"),
    (respond(tools=[{**FLAT, "strict": True}]), 400, "schema"),
    (respond(text={"format": {"type": "json_object"}}), 400, "json_word"),
    (respond(reasoning={"effort": "none"}), 400, "effort"),
    (respond(temperature=0.2), 400, "sampling"),
    (respond(max_output_tokens=999_999), 400, "output_limit"),
    ({"model": SOL, "input": "x " * 2_200_000}, 400, "context"),
]


@pytest.mark.parametrize(("body", "status", "rule"), BAD_RESPONSES, ids=lambda value: str(value)[:60])
def test_responses_refuses(body: dict[str, Any], status: int, rule: str) -> None:
    found = violations("responses", "openai", body)
    assert rule in {violation.rule for violation in found}
    assert found[0].status == status


# ------------------------------------------------------------ all providers


@pytest.mark.parametrize("provider", [name for name, found in ROWS.items() if found.auth])
def test_a_wrong_key_is_refused_before_anything_else_is_looked_at(provider: str) -> None:
    who = ROWS[provider]
    dialect = next(iter(who.paths))
    found = violations(
        dialect, who, {}, {"authorization": "Bearer sk-mistaken", "x-api-key": "sk-mistaken"}, key="right"
    )
    assert [violation.rule for violation in found] == ["credential"]
    assert found[0].status in (400, 401)
    assert "mistaken" not in found[0].message


def test_the_words_of_a_refusal_are_the_providers_own() -> None:
    bad = {"messages": [USER], "made_up": 1}
    words = {
        "openai": ("gpt-4o", "Unknown parameter: 'made_up'."),
        "groq": ("openai/gpt-oss-20b", "property 'made_up' is unsupported"),
        "cerebras": ("gpt-oss-120b", "made_up: property 'made_up' is unsupported"),
        "mistral": ("mistral-small-latest", "Extra inputs are not permitted"),
        "transformers": ("any", "Unexpected fields in the request: {'made_up'}"),
    }
    for provider, (model, expected) in words.items():
        assert violations("chat", provider, {**bad, "model": model})[0].message == expected


def test_error_bodies_have_each_providers_own_shape() -> None:
    found = violations("chat", "openai", chat("gpt-9"))[0]
    shown = {
        shape: json.loads(error_body(shape, found)) for shape in ("openai", "anthropic", "gemini", "xai", "ollama")
    }
    assert shown["openai"]["error"]["code"] == "model_not_found"
    assert shown["anthropic"]["error"]["message"] == found.message
    assert shown["gemini"][0]["error"]["status"] == "NOT_FOUND"
    assert isinstance(shown["xai"]["error"], str)
    assert isinstance(shown["ollama"]["error"], str)


def test_what_a_provider_drops_in_silence_is_named() -> None:
    body = chat("deepseek-flash", max_completion_tokens=5, seed=3)
    assert violations("chat", "deepseek", body) == []
    assert ignored("chat", "deepseek", body) == ["max_completion_tokens", "seed"]
    assert ignored("chat", "openai", chat(made_up=1)) == []


def test_the_base64_of_an_image_does_not_count_as_prompt() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}
    assert violations("chat", "openai", chat(messages=[{"role": "user", "content": [picture]}])) == []


def test_garbage_is_refused_and_never_crashes_the_judge() -> None:
    garbage: list[Any] = [None, 1, "x", [], {}, [None], [{}], [[]], {"type": 3}]
    for dialect, provider, model in (
        ("chat", "openai", "gpt-4o"),
        ("chat", "mistral", "mistral-small-latest"),
        ("anthropic", "anthropic", "claude-haiku-5-5"),
        ("responses", "openai", SOL),
    ):
        for field in ("messages", "input", "tools", "tool_choice", "stop", "thinking", "text", "system", "model"):
            for value in garbage:
                base = {"model": model, "messages": [USER], "max_tokens": 5, "input": "x"}
                violations(dialect, provider, {**base, field: value})  # type: ignore[arg-type]  # a literal in a loop
