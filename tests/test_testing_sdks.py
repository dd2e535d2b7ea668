"""The vendors' own SDKs judge that scripted providers speak the wire right: plain, streamed, tools, structured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from failover.testing import (
    Cut,
    ErrorEvent,
    Failed,
    Filtered,
    Quirk,
    Refusal,
    Reply,
    ScriptedProvider,
    Servers,
    Slow,
    Tokens,
    ToolUse,
    Trouble,
    serve,
)

WEATHER = {
    "name": "get_weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
CHAT_TOOL: Any = {"type": "function", "function": WEATHER}
FLAT_TOOL: Any = {"type": "function", **WEATHER, "strict": False}
CLAUDE_TOOL: Any = {"name": "get_weather", "input_schema": WEATHER["parameters"]}
ASK: Any = {"role": "user", "content": "What is the weather in Rome?"}
HELLO: Any = {"role": "user", "content": "Hello"}
ANSWER = 'Hello! You said: "Hello".'


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    names = ("openai", "anthropic", "groq", "deepseek", "openrouter", "mistral", "gemini", "azure", "vllm", "ollama")
    with serve(*(ScriptedProvider(name) for name in names)) as running:
        yield running


@cache  # an SDK client takes longer to make than to use
def _openai(base_url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)


@cache
def _anthropic(base_url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)


def oai(servers: Servers, name: str = "openai", key: str = "sk-test") -> openai.OpenAI:
    return _openai(servers[name].base_url, key)


def claude(servers: Servers, key: str = "sk-test") -> anthropic.Anthropic:
    return _anthropic(servers["anthropic"].base_url, key)


# --------------------------------------------------------- chat completions

MODELS = {
    "openai": "gpt-6-luna",
    "groq": "openai/gpt-oss-120b",
    "deepseek": "deepseek-flash",
    "openrouter": "openai/gpt-6-luna",
    "mistral": "mistral-small-latest",
    "gemini": "gemini-3.8-flash",
    "vllm": "qwen",
    "ollama": "qwen",
}


@pytest.mark.parametrize("name", MODELS)
def test_the_openai_sdk_reads_a_whole_answer_of(servers: Servers, name: str) -> None:
    answer = oai(servers, name).chat.completions.create(model=MODELS[name], messages=[HELLO])
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_openai_sdk_reads_a_stream_of(servers: Servers, name: str) -> None:
    asked: Any = {} if name == "mistral" else {"stream_options": {"include_usage": True}}
    chunks = list(
        oai(servers, name).chat.completions.create(model=MODELS[name], messages=[HELLO], stream=True, **asked)
    )
    said = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in said) == ANSWER
    assert len(said) > 3
    assert said[-1].finish_reason == "stop"
    whole = oai(servers, name).chat.completions.create(model=MODELS[name], messages=[HELLO])
    used = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(used) == 1
    assert used[0].model_dump() == whole.usage.model_dump()  # type: ignore[union-attr]  # asserted above


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("vllm",)])
def test_a_tool_is_called_and_its_result_is_answered_with(servers: Servers, name: str) -> None:
    client, quiet = oai(servers, name), {"reasoning_effort": "none"} if name == "openai" else {}
    first: Any = client.chat.completions.create(model=MODELS[name], messages=[ASK], tools=[CHAT_TOOL], **quiet)  # type: ignore[call-overload]  # options by provider
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"location": "Rome"}
    turn = first.choices[0].message.model_dump(exclude_none=True)
    if name == "mistral":
        turn.pop("refusal", None)
    messages = [ASK, turn, {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}]
    if name == "openrouter":
        messages[1] = {key: value for key, value in turn.items() if key != "reasoning_details"}
    second: Any = client.chat.completions.create(model=MODELS[name], messages=messages, tools=[CHAT_TOOL], **quiet)  # type: ignore[call-overload]  # likewise
    assert "22 degrees" in second.choices[0].message.content


@pytest.mark.parametrize("name", list(MODELS))
def test_streamed_tool_calls_add_up_in_the_sdk(servers: Servers, name: str) -> None:
    client, quiet = oai(servers, name), {"reasoning_effort": "none"} if name == "openai" else {}
    with client.chat.completions.stream(model=MODELS[name], messages=[ASK], tools=[CHAT_TOOL], **quiet) as stream:  # type: ignore[arg-type]  # options by provider
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"location": "Rome"})
    ]


def test_structured_output_parses_into_a_model(servers: Servers) -> None:
    answer = oai(servers).chat.completions.parse(
        model="gpt-6-luna", messages=[{"role": "user", "content": "'Rome' has 2800000 people"}], response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Rome", inhabitants=2_800_000)


def test_max_tokens_and_stop_sequences_are_honoured(servers: Servers) -> None:
    client = oai(servers)
    short = client.chat.completions.create(model="gpt-4o", messages=[HELLO], max_tokens=3)
    assert (short.choices[0].finish_reason, short.usage and short.usage.completion_tokens <= 3) == ("length", True)
    stopped = client.chat.completions.create(model="gpt-4o", messages=[HELLO], stop=["said"])
    assert stopped.choices[0].message.content == "Hello! You "
    hidden = client.chat.completions.create(model="gpt-6-luna", messages=[HELLO], max_completion_tokens=4)
    assert (hidden.choices[0].message.content, hidden.choices[0].finish_reason) == ("", "length")


def test_the_azure_client_reaches_its_deployment(servers: Servers) -> None:
    client = openai.OpenAI(
        base_url=servers["azure"].base_url, api_key="x", default_headers={"api-key": "sk-test"}, max_retries=0
    )
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=[HELLO], stream=True))
    assert chunks[0].choices == []
    assert client.chat.completions.create(model="gpt-4o", messages=[HELLO]).choices[0].message.content == ANSWER


@pytest.mark.parametrize("quirk", ["no_space", "multiline_data", "comments", "double_finish", "no_opening", "no_done"])
def test_the_sdk_takes_odd_streams_as_well(servers: Servers, quirk: Any) -> None:
    servers["openai"].provider.script(Quirk(quirk, Reply("odd but fine")))
    chunks = list(oai(servers).chat.completions.create(model="gpt-6-luna", messages=[HELLO], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "odd but fine"


# ---------------------------------------------------------------- responses


def test_responses_are_read_whole(servers: Servers) -> None:
    answer = oai(servers).responses.create(model="gpt-6.1-sol", input="Hello")
    assert answer.output_text == ANSWER
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens > 0


def test_reasoning_and_tools_go_round_in_responses(servers: Servers) -> None:
    client = oai(servers)
    options: Any = {
        "model": "gpt-6.1-sol",
        "tools": [FLAT_TOOL],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    with client.responses.stream(input=[ASK], reasoning={"summary": "auto"}, **options) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.function_call_arguments.delta" in kinds
    reasoning, call = first.output
    assert reasoning.type == "reasoning"
    assert call.type == "function_call"
    items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"})
    second = client.responses.create(input=[ASK, *items], **options)
    assert "22 degrees" in second.output_text
    with pytest.raises(openai.BadRequestError, match="without its required 'reasoning' item"):
        client.responses.create(input=[ASK, *items[1:]], **options)


def test_structured_output_of_responses_parses(servers: Servers) -> None:
    answer = oai(servers).responses.parse(model="gpt-6.1-sol", input="'Rome' has 2800000 people", text_format=City)
    assert answer.output_parsed == City(name="Rome", inhabitants=2_800_000)


def test_a_refusal_and_a_cap_are_shown_as_responses_shows_them(servers: Servers) -> None:
    servers["openai"].provider.script(Refusal("No."), Reply("one two three four"))
    refused = oai(servers).responses.create(model="gpt-6.1-sol", input="x").output[-1]
    assert refused.type == "message"
    assert refused.content[0].type == "refusal"
    capped = oai(servers).responses.create(model="gpt-6.1-sol", input="x", max_output_tokens=16)
    assert capped.status == "completed"
    servers["openai"].provider.script(Reply("word " * 50))
    capped = oai(servers).responses.create(model="gpt-6.1-sol", input="x", max_output_tokens=16)
    assert (capped.status, capped.incomplete_details and capped.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )


def test_a_failed_response_is_an_event_of_its_own(servers: Servers) -> None:
    servers["openai"].provider.script(Failed(after=1))
    stream = oai(servers).responses.create(model="gpt-6.1-sol", input="x", stream=True)
    assert [event.type for event in stream][-1] == "response.failed"


# ---------------------------------------------------------------- anthropic


def test_the_anthropic_sdk_reads_a_whole_answer(servers: Servers) -> None:
    message = claude(servers).messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=[HELLO])
    thinking, text = message.content
    assert thinking.type == "thinking"
    assert text.type == "text"
    assert text.text == ANSWER
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_the_anthropic_sdk_adds_a_stream_up_to_the_same_message(servers: Servers) -> None:
    with claude(servers).messages.stream(model="claude-haiku-5-5", max_tokens=100, messages=[HELLO]) as stream:
        assert "".join(stream.text_stream) == ANSWER
        final = stream.get_final_message()
    whole = claude(servers).messages.create(model="claude-haiku-5-5", max_tokens=100, messages=[HELLO])
    assert final.usage == whole.usage
    assert final.stop_reason == "end_turn"


def test_signed_thinking_goes_round_with_its_tool_and_a_forged_one_is_refused(servers: Servers) -> None:
    client = claude(servers)
    options: Any = {"model": "claude-sonnet-5-5", "max_tokens": 100, "tools": [CLAUDE_TOOL]}
    with client.messages.stream(messages=[ASK], **options) as stream:
        first = stream.get_final_message()
    thinking, use = first.content
    assert use.type == "tool_use"
    assert use.input == {"location": "Rome"}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "22 degrees"}]}
    turn: Any = {"role": "assistant", "content": [block.to_dict() for block in first.content]}
    second = client.messages.create(messages=[ASK, turn, result], **options)
    assert "22 degrees" in second.content[-1].text  # type: ignore[union-attr]  # the mind answers in text
    forged: Any = {"role": "assistant", "content": [{**thinking.to_dict(), "signature": "forged"}, use.to_dict()]}
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        client.messages.create(messages=[ASK, forged, result], **options)


def test_structured_output_of_anthropic_parses(servers: Servers) -> None:
    message = claude(servers).messages.parse(
        model="claude-haiku-5-5",
        max_tokens=100,
        messages=[{"role": "user", "content": "'Rome' has 2800000 people"}],
        output_format=City,
    )
    assert message.parsed_output == City(name="Rome", inhabitants=2_800_000)


def test_tokens_are_counted_and_models_are_listed(servers: Servers) -> None:
    counted = claude(servers).messages.count_tokens(model="claude-haiku-5-5", messages=[HELLO])
    assert counted.input_tokens > 0
    assert "gpt-6-luna" in [model.id for model in oai(servers).models.list()]


def test_prompt_caching_shows_in_usage(servers: Servers) -> None:
    """Anthropic writes where a cache point stands and reads the next time; OpenAI reads by itself."""
    system: Any = [{"type": "text", "text": "You know much. " * 400, "cache_control": {"type": "ephemeral"}}]
    options: Any = {"model": "claude-haiku-5-5", "max_tokens": 50, "system": system, "messages": [HELLO]}
    first, second = (claude(servers).messages.create(**options).usage for _ in range(2))
    assert (first.cache_creation_input_tokens or 0) > 1024
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert 0 < first.input_tokens == second.input_tokens < 20  # what comes after the cache point, and nothing twice
    long: Any = {"role": "system", "content": "You know much. " * 400}
    chat = [oai(servers).chat.completions.create(model="gpt-4o", messages=[long, HELLO]).usage for _ in range(2)]
    cached = [used.prompt_tokens_details.cached_tokens for used in chat if used and used.prompt_tokens_details]
    assert cached[0] == 0
    assert (cached[1] or 0) > 1024


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit", openai.RateLimitError),
        ("credit", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("permission", openai.PermissionDeniedError),
        ("context", openai.BadRequestError),
        ("conflict", openai.ConflictError),
    ],
)
def test_the_openai_sdk_raises_its_own_error(servers: Servers, kind: Any, expected: type[Exception]) -> None:
    servers["openai"].provider.script(Trouble(kind))
    with pytest.raises(expected):
        oai(servers).chat.completions.create(model="gpt-6-luna", messages=[HELLO])


def test_the_anthropic_sdk_reads_the_code_of_a_spend_limit(servers: Servers) -> None:
    servers["anthropic"].provider.script(Trouble("spend_limit"))
    with pytest.raises(anthropic.RateLimitError) as caught:
        claude(servers).messages.create(model="claude-haiku-5-5", max_tokens=5, messages=[HELLO])
    assert caught.value.error_code == "enforced_spend_limit_reached"
    assert caught.value.request_id


def test_wrong_keys_are_401_for_both_sdks(servers: Servers) -> None:
    with pytest.raises(openai.AuthenticationError):
        oai(servers, key="sk-other").chat.completions.create(model="gpt-6-luna", messages=[HELLO])
    with pytest.raises(anthropic.AuthenticationError):
        claude(servers, "sk-other").messages.create(model="claude-haiku-5-5", max_tokens=5, messages=[HELLO])


def test_errors_in_mid_stream_reach_the_sdks(servers: Servers) -> None:
    for name in ("openai", "anthropic"):
        servers[name].provider.script(ErrorEvent(after=1))
    with pytest.raises(openai.APIError):
        list(oai(servers).chat.completions.create(model="gpt-6-luna", messages=[HELLO], stream=True))
    events = claude(servers).messages.create(model="claude-haiku-5-5", max_tokens=50, messages=[HELLO], stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(events)


def test_a_filtered_answer_and_a_refusal_have_their_own_stop_reasons(servers: Servers) -> None:
    servers["openai"].provider.script(Filtered("par"), Refusal())
    servers["anthropic"].provider.script(Refusal())
    chat = oai(servers).chat.completions
    assert chat.create(model="gpt-6-luna", messages=[HELLO]).choices[0].finish_reason == "content_filter"
    assert chat.create(model="gpt-6-luna", messages=[HELLO]).choices[0].message.refusal
    message = claude(servers).messages.create(model="claude-haiku-5-5", max_tokens=50, messages=[HELLO])
    assert message.stop_reason == "refusal"


def test_scripted_usage_ids_and_broken_arguments_arrive_as_written(servers: Servers) -> None:
    servers["openai"].provider.script(
        Reply(
            None, (ToolUse("get_weather", '{"location": ', id="odd id"),), usage=Tokens(100, 20, cached=40, audio_in=3)
        )
    )
    answer = oai(servers).chat.completions.create(
        model="gpt-6-luna", messages=[ASK], tools=[CHAT_TOOL], reasoning_effort="none"
    )
    call: Any = (answer.choices[0].message.tool_calls or [])[0]
    assert (call.id, call.function.arguments) == ("odd id", '{"location": ')
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 40
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20)


async def test_the_async_sdks_can_leave_a_stream_and_the_provider_sees_it(servers: Servers) -> None:
    provider = servers["openai"].provider
    provider.script(Slow(between=0.02, answer=Reply("word " * 100)), Cut(after=2))
    client = openai.AsyncOpenAI(base_url=servers["openai"].base_url, api_key="sk-test", max_retries=0)
    async with client:
        stream = await client.chat.completions.create(model="gpt-6-luna", messages=[HELLO], stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()
        cut = await client.chat.completions.create(model="gpt-6-luna", messages=[HELLO], stream=True)
        assert not [c async for c in cut if c.choices and c.choices[0].finish_reason]
    left = provider.requests[-2]
    assert left.aborted
    assert left.tokens.output < 50
