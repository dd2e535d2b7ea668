"""Who serves models, and where: the rows, the base URLs, the names one may get wrong; and what is known of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.dialects.providers import PROVIDERS, base_url, custom, unknown_provider
from failover.errors import ConfigurationError
from failover.facts import FAMILIES, OVERLAYS, UNKNOWN, facts_for, plain_name
from failover.testing.world import ROWS

URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "deepseek": "https://api.deepseek.com",
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "mistral": "https://api.mistral.ai/v1",
    "together": "https://api.together.ai/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "xai": "https://api.x.ai/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "azure": None,
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
}
KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "mistral": ("MISTRAL_API_KEY",),
    "together": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "xai": ("XAI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "azure": ("AZURE_OPENAI_API_KEY",),
    "ollama": (),
    "vllm": (),
    "lmstudio": (),
}

# -------------------------------------------------------------------- rows


def test_there_is_a_row_for_each_of_the_fifteen_providers():
    assert {name: base_url(row, {}) for name, row in PROVIDERS.items()} == URLS
    assert {name: row.key_env for name, row in PROVIDERS.items()} == KEYS
    assert all(name == row.name for name, row in PROVIDERS.items())


def test_keys_go_into_the_header_each_provider_reads():
    odd = {name: row.auth for name, row in PROVIDERS.items() if row.auth != ("Authorization", "Bearer {key}")}
    assert odd == {"anthropic": ("x-api-key", "{key}"), "azure": ("api-key", "{key}")}


def test_every_provider_with_a_public_price_list_has_a_default_model_that_is_known():
    defaults = {name: row.default_model for name, row in PROVIDERS.items() if row.default_model}
    assert set(defaults) == set(PROVIDERS) - {"azure", "ollama", "vllm", "lmstudio"}
    assert [name for name, model in defaults.items() if facts_for(name, model) is UNKNOWN] == []


def test_a_row_cannot_be_changed_for_everybody():
    with pytest.raises(TypeError):
        PROVIDERS["openai"] = PROVIDERS["groq"]  # type: ignore[index]  # that is the point


def test_an_unknown_provider_gets_a_suggestion_and_the_list():
    told = unknown_provider("OpanAI")
    assert "did you mean 'openai'?" in told
    assert "lmstudio" in told
    assert "base_url" in told
    assert "did you mean" not in unknown_provider("zzz")


def test_any_server_is_a_provider_with_its_url():
    mine = custom("mine", "http://localhost:9/v1/")
    assert (mine.base_url, mine.dialect, mine.key_env) == ("http://localhost:9/v1", "chat", ())
    assert custom("mine", "http://localhost:9", "anthropic").auth == ("x-api-key", "{key}")


# --------------------------------------------------------------- base URLs


@pytest.mark.parametrize(
    ("endpoint", "version", "expected"),
    [
        ("https://res.openai.azure.com/", None, "https://res.openai.azure.com/openai/v1"),
        ("https://res.openai.azure.com", "2024-10-21", "https://res.openai.azure.com/openai"),
        ("https://res.openai.azure.com/openai/v1/", None, "https://res.openai.azure.com/openai/v1"),
        ("https://res.openai.azure.com/openai/v1", "preview", "https://res.openai.azure.com/openai/v1"),
        ("https://res.openai.azure.com/openai", "2024-10-21-preview", "https://res.openai.azure.com/openai"),
        ("https://gw.example/az/openai/deployments/d/", "2024-10-21", "https://gw.example/az/openai"),
    ],
)
def test_azures_endpoint_becomes_the_base_of_its_api_version(endpoint: str, version: str | None, expected: str):
    azure = PROVIDERS["azure"]
    assert base_url(azure, {"AZURE_OPENAI_ENDPOINT": endpoint}, api_version=version) == expected
    assert base_url(azure, {}, endpoint, version) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("box", "http://box:11434/v1"),
        ("box:8080", "http://box:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:1", "http://127.0.0.1:1/v1"),
        ("http://box", "http://box:80/v1"),
        ("https://box/", "https://box:443/v1"),
        ("https://box:9/ollama/v1/", "https://box:9/ollama/v1"),
        ("http://[::1]:11434", "http://[::1]:11434/v1"),
        (":7", "http://127.0.0.1:7/v1"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host: str, expected: str):
    assert base_url(PROVIDERS["ollama"], {"OLLAMA_HOST": host}) == expected


def test_an_ollama_host_that_is_no_address_is_a_mistake_in_the_configuration():
    with pytest.raises(ConfigurationError, match="OLLAMA_HOST = 'box:port'"):
        base_url(PROVIDERS["ollama"], {"OLLAMA_HOST": "box:port"})


def test_a_url_that_was_given_wins_over_the_environment_and_the_row():
    assert base_url(PROVIDERS["openai"], {}, "http://proxy/v1/") == "http://proxy/v1"
    assert base_url(PROVIDERS["ollama"], {"OLLAMA_HOST": "a"}, "http://b:1/v1") == "http://b:1/v1"


# ------------------------------------------------------------------- facts


@pytest.mark.parametrize(
    ("provider", "model", "like"),
    [
        ("openai", "gpt-6-sol-2026-10-01", "gpt-6-sol"),
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o"),
        ("openai", "gpt-4.1-nano", "gpt-4.1"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-opus-4-20250514", "claude-opus-4"),
        ("anthropic", "claude-haiku-5-5@20261001", "claude-haiku-5-5"),
        ("groq", "openai/gpt-oss-20b", "gpt-oss"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "gpt-oss"),
        ("mistral", "mistral-large-latest", "mistral-large"),
        ("together", "deepseek-ai/DeepSeek-V4.1-Flash-1017", "deepseek-v4.1-flash"),
    ],
)
def test_dated_and_decorated_names_are_found(provider: str, model: str, like: str):
    found, known = facts_for(provider, model), FAMILIES[like]
    assert (found.context_window, found.inputs, found.refuses) == (known.context_window, known.inputs, known.refuses)


@pytest.mark.parametrize("model", ["gpt-4.1x", "gpt-6.9-sol", "gpt-55", "claude-opus-9", "llama-4", ""])
def test_a_name_that_is_only_similar_is_unknown_and_may_do_everything(model: str):
    assert facts_for("openai", model) is UNKNOWN
    assert UNKNOWN.tools
    assert UNKNOWN.refuses == frozenset()


def test_openrouter_names_lose_author_dots_and_variant():
    assert plain_name("anthropic/claude-sonnet-5.5:free") == "claude-sonnet-5-5"
    assert facts_for("openrouter", "anthropic/claude-sonnet-5.5:nitro").context_window == 1_000_000


def test_a_router_maps_parameters_itself_so_nothing_is_dropped_for_it():
    direct, routed = facts_for("openai", "gpt-6-luna"), facts_for("openrouter", "openai/gpt-6-luna")
    assert direct.tools_need_responses
    assert direct.wire == "responses"
    assert not routed.tools_need_responses
    assert routed.wire is None
    assert routed.refuses == routed.refuses_thinking == frozenset()


def test_a_local_server_has_the_window_it_was_started_with():
    local = facts_for("ollama", "gpt-oss:20b")
    assert (local.context_window, local.max_output_tokens, local.inputs) == (None, None, frozenset())


def test_what_holds_at_one_provider_replaces_the_family():
    assert facts_for("cerebras", "gpt-oss-120b").max_output_tokens == 32_768
    assert facts_for("groq", "openai/gpt-oss-120b").max_output_tokens == 65_536
    assert not facts_for("deepseek", "deepseek-flash").json_schema
    assert facts_for("together", "deepseek-ai/DeepSeek-V4.1-Flash-1017").json_schema


def test_the_models_that_need_responses_say_so_only_where_responses_is_spoken():
    for model in ("gpt-6.1-sol", "gpt-6-astra", "gpt-6-luna", "gpt-5.6", "gpt-5.4-mini"):
        assert facts_for("openai", model).wire == facts_for("azure", model).wire == "responses"
        assert facts_for("proxy", model).wire is None
    assert facts_for("openai", "gpt-4.1").wire is None


@given(st.text(max_size=40), st.sampled_from([*OVERLAYS, "elsewhere"]))
def test_any_name_can_be_looked_up(model: str, provider: str):
    facts_for(provider, model)


DIFFERENT = {
    "groq:qwen/qwen3.8-27b": "it thinks unless told effort none",
    "openrouter:anthropic/claude-sonnet-5.5": "the model cannot be forced, whoever relays to it",
    "openrouter:meta-llama/llama-guard-4-12b": "not in the table",
    "together:deepseek-ai/DeepSeek-V4.1-Flash-1017": "it thinks by default wherever it is hosted",
}


def test_the_table_agrees_with_the_scripted_world_which_was_written_without_it():
    found = set()
    for provider, row in ROWS.items():
        for model, card in row.models.items():
            facts = facts_for(provider, model)
            forced = "no_forced_tools" not in card.traits or not facts.forced_thinking
            ours = (facts.context_window, facts.reasons, facts.forced_tool_choice, facts.max_output_tokens)
            theirs = (card.window, "reasons" in card.traits, forced, facts.max_output_tokens and card.max_output)
            found |= {f"{provider}:{model}"} if ours != theirs else set()
    assert found == set(DIFFERENT)


def test_a_base_url_in_the_environment_is_honoured_as_the_vendors_sdks_do() -> None:
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1/", "ANTHROPIC_BASE_URL": "http://127.0.0.1:8"}
    assert base_url(PROVIDERS["openai"], environ) == "http://127.0.0.1:9/v1"
    assert base_url(PROVIDERS["anthropic"], environ) == "http://127.0.0.1:8"
    assert base_url(PROVIDERS["openai"], environ, given="http://mine/v1") == "http://mine/v1"
    assert base_url(PROVIDERS["groq"], environ) == PROVIDERS["groq"].base_url
