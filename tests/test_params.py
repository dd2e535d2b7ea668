"""Parameters are fitted to the model before they are sent, and what was refused is learned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.dialects.base import Model
from failover.dialects.params import (
    EFFORTS,
    PROTECTED,
    Thought,
    adapt,
    amend,
    nearest_effort,
    plain,
    thought,
    unforced,
)
from failover.dialects.providers import PROVIDERS
from failover.facts import Facts, facts_for
from failover.types import Failure, Kind, Message, Request, Tool

TOOLS = (Tool("weather"),)


def model(provider: str, name: str) -> Model:
    return Model(name, PROVIDERS[provider], facts_for(provider, name))


def asked(**fields: Any) -> Request:
    return Request((Message("user", "hi"),), **fields)


def fitted(provider: str, name: str, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    request, target = asked(**fields), model(provider, name)
    return plain(request, target, thought(request, target, notes).thinks, notes), notes


# -------------------------------------------------------------- known ones


def test_temperature_is_dropped_for_a_model_that_thinks_with_a_note():
    body, notes = fitted("openai", "gpt-6-luna", temperature=0.2, top_p=0.5)
    assert body == {}
    assert notes == [
        "temperature dropped: gpt-6-luna does not take it while it thinks",
        "top_p dropped: gpt-6-luna does not take it while it thinks",
    ]


def test_temperature_stays_when_the_same_model_is_told_not_to_think():
    assert fitted("openai", "gpt-6-luna", temperature=0.2, reasoning_effort="none") == ({"temperature": 0.2}, [])
    assert fitted("openai", "gpt-6-luna", temperature=0.2, thinking={"type": "disabled"})[0] == {"temperature": 0.2}


def test_a_model_that_always_thinks_never_gets_it():
    body, notes = fitted("openai", "gpt-6.1-sol", temperature=0.2, reasoning_effort="none")
    assert body == {}
    assert notes[0] == "reasoning_effort none became low"


def test_max_tokens_has_the_name_the_provider_wants():
    assert fitted("openai", "gpt-4.1", max_tokens=9)[0] == {"max_completion_tokens": 9}
    assert fitted("azure", "gpt-4.1", max_tokens=9)[0] == {"max_completion_tokens": 9}
    assert fitted("groq", "openai/gpt-oss-20b", max_tokens=9)[0] == {"max_completion_tokens": 9}
    for provider in ("deepseek", "openrouter", "mistral", "together", "fireworks", "xai", "ollama", "vllm"):
        assert fitted(provider, "any", max_tokens=9)[0] == {"max_tokens": 9}


def test_max_tokens_is_clamped_to_what_the_model_can_write():
    assert fitted("cerebras", "gpt-oss-120b", max_tokens=99_999) == (
        {"max_completion_tokens": 32_768},
        ["max_tokens 99999 became 32768"],
    )
    assert fitted("groq", "unknown", max_tokens=99_999)[0] == {"max_completion_tokens": 99_999}


def test_a_seed_is_a_random_seed_for_mistral():
    assert fitted("mistral", "mistral-small-latest", seed=7)[0] == {"random_seed": 7}


def test_temperature_is_clamped_into_the_providers_range():
    body, notes = fitted("mistral", "mistral-small-latest", temperature=1.9)
    assert (body, notes) == ({"temperature": 1.5}, ["temperature 1.9 became 1.5"])


def test_stop_sequences_beyond_the_providers_maximum_are_cut():
    body, notes = fitted("groq", "llama", stop=("a", "b", "c", "d", "e"))
    assert body == {"stop": ["a", "b", "c", "d"]}
    assert notes == ["stop cut to the first 4 of 5 sequences"]
    assert len(fitted("together", "llama", stop=tuple("abcdefgh"))[0]["stop"]) == 8


def test_what_a_provider_does_not_know_is_dropped():
    assert fitted("groq", "llama", logprobs=True, top_logprobs=2, top_k=3)[0] == {}
    assert fitted("cerebras", "llama", presence_penalty=1.0, frequency_penalty=1.0)[0] == {}
    assert fitted("xai", "grok-4.5", presence_penalty=1.0, stop=("a",))[0] == {}
    assert fitted("openai", "gpt-4o", top_k=3) == ({}, ["top_k dropped: openai does not take it"])
    assert fitted("vllm", "llama", top_k=3)[0] == {"top_k": 3}


def test_top_logprobs_bring_logprobs_with_them():
    assert fitted("openai", "gpt-4o", top_logprobs=3)[0] == {"top_logprobs": 3, "logprobs": True}


def test_parallel_tool_calls_go_out_only_beside_tools():
    assert fitted("openai", "gpt-4o", parallel_tool_calls=False) == ({}, [])
    assert fitted("openai", "gpt-4o", parallel_tool_calls=False, tools=TOOLS)[0] == {"parallel_tool_calls": False}


def test_falsy_values_are_values():
    body, _ = fitted("openai", "gpt-4o", temperature=0.0, seed=0, logprobs=False, max_tokens=0)
    assert body == {"temperature": 0.0, "seed": 0, "logprobs": False, "max_completion_tokens": 1}


# ------------------------------------------------------------------ effort


@pytest.mark.parametrize(
    ("offered", "wanted", "sent"),
    [
        (None, "odd", "odd"),
        ((), "low", None),
        (("low", "medium", "high"), "none", "low"),
        (("low", "medium", "high"), "minimal", "low"),
        (("low", "medium", "high"), "max", "high"),
        (("none", "low"), "high", "low"),
        (("none", "default"), "none", "none"),
        (("none", "default"), "low", "default"),
        (("none", "default"), "high", "default"),
        (("none",), "high", "none"),
        (("low",), "odd", "odd"),
    ],
)
def test_effort_becomes_the_highest_the_model_takes_that_is_not_above(offered: Any, wanted: str, sent: str | None):
    assert nearest_effort(wanted, Facts(efforts=offered)) == sent


@given(st.sampled_from(EFFORTS), st.sets(st.sampled_from(EFFORTS), min_size=1))
def test_effort_is_always_one_the_model_takes_and_only_none_switches_thinking_off(wanted: str, offered: set[str]):
    sent = nearest_effort(wanted, Facts(efforts=tuple(offered)))
    assert sent in offered
    assert sent != "none" or wanted == "none" or offered == {"none"}


def test_a_model_without_efforts_is_sent_none_with_a_note():
    notes: list[str] = []
    assert thought(asked(reasoning_effort="high"), model("openai", "gpt-4o"), notes) == Thought(None, False)
    assert notes == ["reasoning_effort high dropped: it knows no such parameter"]


def test_a_forced_tool_switches_thinking_off_where_they_exclude_each_other():
    notes: list[str] = []
    request = asked(tools=TOOLS, tool_choice="required")
    flash = model("deepseek", "deepseek-flash")
    assert unforced(request, flash, Thought(None, True), notes) == ("required", Thought("none", False))
    assert notes == ["thinking switched off: it does not go with a forced tool choice"]


def test_a_forced_tool_gives_way_where_the_caller_asked_for_thinking():
    notes: list[str] = []
    request = asked(tools=TOOLS, tool_choice="weather", reasoning_effort="high")
    choice, thinking = unforced(request, model("deepseek", "deepseek-flash"), Thought("high", True), notes)
    assert (choice, thinking) == ("auto", Thought("high", True))
    assert len(notes) == 1


def test_a_model_that_cannot_be_forced_chooses_by_itself():
    notes: list[str] = []
    request = asked(tools=TOOLS, tool_choice="required")
    assert unforced(request, model("anthropic", "claude-opus-5-5"), Thought(None, True), notes)[0] == "auto"
    assert unforced(request, model("anthropic", "claude-haiku-5-5"), Thought(None, False), notes)[0] == "required"
    assert len(notes) == 1


# ---------------------------------------------------------------- learning


def refused(message: str, parameter: str | None = None) -> Failure:
    return Failure(Kind.UNSUPPORTED_PARAMETER, message, 400, parameter=parameter)


REFUSALS: list[tuple[str, str | None, dict[str, str | None] | None]] = [
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
     None, {"max_tokens": "max_completion_tokens"}),
    ("no", "max_tokens", {"max_tokens": "max_completion_tokens"}),
    ("no", "max_completion_tokens", {"max_completion_tokens": "max_tokens"}),
    ("no", "max_output_tokens", None),
    ("Unsupported value: 'temperature' does not support 0.2 with this model.", "temperature", {"temperature": None}),
    ("Unsupported value: 'temperature' does not support 0.2 with this model.", None, {"temperature": None}),
    ("temperature: Extra inputs are not permitted", None, {"temperature": None}),
    ("`temperature` is deprecated for this model.", None, {"temperature": None}),
    ("Unrecognized request argument supplied: seed", None, {"seed": None}),
    ("Model grok-9 does not support parameter presencePenalty.", None, {"presence_penalty": None}),
    ("Thinking mode does not support this tool_choice", None, {"tool_choice": None}),
    ("Unexpected fields in the request: {'stream_options', 'top_k'}", None, {"stream_options": None, "top_k": None}),
    ("'stop' is not supported with this model", None, {"stop": None}),
    ("Penalty: presence_penalty is not enabled for this model", None, {"presence_penalty": None}),
    ("Unknown parameter: 'mine'", None, {"mine": None}),
    ("no", "reasoning.effort", {"reasoning.effort": None}),
    ("no", "stream_options.include_usage", {"stream_options": None}),
    ("no", "thinking.type", {"thinking": None}),
    ("no", "messages[0].name", None),
    ("no", "response_format", None),
    ("no", "output_config.format", None),
    ("no", "tools[0].function.strict", None),
    ("Unsupported parameter: 'seed'. Use 'messages' instead.", None, {"seed": None}),
    ("no", "logprobs", {"logprobs": None, "top_logprobs": None}),
    ("no", "top_logprobs", {"top_logprobs": None}),
    ("something else entirely", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "parameter", "learned"), REFUSALS)
def test_what_is_learned_from_a_refusal(message: str, parameter: str | None, learned: dict[str, str | None] | None):
    assert adapt(refused(message, parameter), asked(extra_body={"mine": 1})) == learned


def test_tools_that_need_silence_teach_effort_none():
    message = (
        "Function tools with reasoning_effort are not supported for gpt-7 in /v1/chat/completions. "
        "To use function tools, use /v1/responses or set reasoning_effort to 'none'"
    )
    learned = adapt(refused(message), asked(tools=TOOLS))
    assert learned == {"reasoning_effort?tools": "=none"}
    with_tools: dict[str, Any] = {"tools": [], "reasoning_effort": "high"}
    without: dict[str, Any] = {"reasoning_effort": "high"}
    amend(with_tools, learned)
    amend(without, learned)
    assert (with_tools["reasoning_effort"], without["reasoning_effort"]) == ("none", "high")


def test_only_a_refused_parameter_teaches_anything():
    assert adapt(Failure(Kind.BAD_REQUEST, "Unsupported parameter: 'seed'", parameter="seed"), asked()) is None


@given(st.text(max_size=60), st.text(max_size=20))
def test_nothing_that_a_provider_writes_takes_away_what_the_request_means(message: str, parameter: str):
    learned = adapt(refused(message, parameter or None), asked(tools=TOOLS)) or {}
    assert not {name.split(".")[0] for name in learned} & PROTECTED
    assert all(learned[cap] for cap in ("max_tokens", "max_completion_tokens") if cap in learned)


def test_a_body_is_amended_as_was_learned():
    body: dict[str, Any] = {"max_tokens": 5, "seed": 1, "reasoning": {"effort": "high", "summary": "auto"}, "n": 1}
    amend(body, {"max_tokens": "max_completion_tokens", "seed": None, "reasoning.effort": None, "absent": None,
                 "absent.too": None, "n.deep": None, "reasoning_effort": "=none"})  # fmt: skip
    assert body == {
        "max_completion_tokens": 5,
        "reasoning": {"summary": "auto"},
        "n": 1,
        "reasoning_effort": "none",
    }
