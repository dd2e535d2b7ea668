"""``dumps`` and ``loads``, ``init_chat_model``: a model out of its configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.chat_models import base, init_chat_model
from langchain_core._api.beta_decorator import suppress_langchain_beta_warning
from langchain_core.load import dumps, loads
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr

from failover import Budget, CircuitBreaker, ConfigurationError, Failover, Price, Target
from langchain_failover import ChatFailover, register
from langchain_failover._saved import saved_options
from tests.langchain.kit import Recorder, chat, script
from tests.langchain.kit import target as scripted

SECRET = "sk-do-not-show-1234567890"


def read(text: str, **more: Any) -> Any:
    with suppress_langchain_beta_warning():
        return loads(
            text, valid_namespaces=["langchain_failover"], allowed_objects=[ChatFailover], secrets_from_env=True, **more
        )


@pytest.fixture
def rich() -> ChatFailover:
    return ChatFailover(
        [
            "openai:gpt-6-luna",
            Target("openai:gpt-6-sol", api_key=SecretStr(SECRET), rpm=5, inputs=frozenset({"image"})),
            Target("local", base_url="http://127.0.0.1:9/v1", model="qwen", price=Price(input=1, output="2.5")),
        ],
        strategy="priority",
        budget=Budget(5, per="week", timezone="Europe/Berlin"),
        breaker=CircuitBreaker(failure_threshold=2),
        temperature=0.5,
        labels={"app": "x"},
    )


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def test_a_model_comes_back_as_it_was_configured(rich: ChatFailover) -> None:
    again = read(dumps(rich))
    assert isinstance(again, ChatFailover)
    assert again.core is not rich.core
    assert again.core.targets == rich.core.targets
    assert (again.temperature, again.labels) == (0.5, {"app": "x"})
    assert (again.budget, again.breaker, again.strategy) == (rich.budget, rich.breaker, "priority")
    assert again.configurable_fields(temperature=ConfigurableField(id="t"))
    assert dumps(again) == dumps(rich)


def test_no_key_is_written_anywhere(rich: ChatFailover) -> None:
    keyed = ChatFailover(["openai:gpt-6-luna"], api_key=SECRET)
    recorder = Recorder()
    model = chat(scripted("a", api_key=SecretStr(SECRET)))
    model.invoke("hi", {"callbacks": [recorder]})
    for shown in (rich, keyed, model):
        everything = (
            dumps(shown),
            repr(shown),
            str(shown),
            repr(shown.core),
            repr(shown._identifying_params),
            repr(vars(shown)),
        )
        assert SECRET not in "".join(everything)
    assert SECRET not in repr(recorder.invocation)


def test_a_given_key_is_a_secret_under_its_providers_name(rich: ChatFailover, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = json.loads(dumps(rich))["kwargs"]["targets"]
    assert saved[0] == "openai:gpt-6-luna"
    assert saved[1]["api_key"] == {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    assert read(dumps(rich)).core.targets[1].api_key.get_secret_value() == "another"


def test_a_repr_names_the_targets_and_what_was_set(rich: ChatFailover) -> None:
    again = ChatFailover(failover=rich.core, temperature=0.5)
    names = "targets=['openai:gpt-6-luna', 'openai:gpt-6-sol', 'local']"
    assert repr(again) == f"ChatFailover({names}, temperature=0.5)"


def test_the_key_of_one_provider_is_one_secret_and_keys_of_several_stay_with_their_targets() -> None:
    assert ChatFailover(["openai:gpt-6-luna"], api_key="k").lc_secrets == {"api_key": "OPENAI_API_KEY"}
    both = ChatFailover(["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"], api_key={"openai": "k", "groq": "k2"})
    assert both.lc_secrets == {}
    assert "api_key" not in json.loads(dumps(both))["kwargs"]


def test_the_password_in_a_stores_address_is_a_secret() -> None:
    kept = saved_options({"store": f"redis://:{SECRET}@there:6379/0"})
    assert dumps(kept["store"]) == '{"lc": 1, "type": "secret", "id": ["REDIS_URL"]}'
    assert saved_options({"store": "sqlite:///calls.db"}) == {"store": "sqlite:///calls.db"}
    model = chat()
    vars(model)["store"] = f"redis://:{SECRET}@there:6379/0"
    assert SECRET not in repr(model)


def test_a_shared_guard_is_written_with_its_own_configuration() -> None:
    guard = Failover(["openai:gpt-6-luna"], strategy="priority", budget=5, deadline=30, response_cache=False)
    again = read(dumps(ChatFailover(failover=guard, temperature=0.1)))
    assert again.core is not guard
    assert again.core.targets == guard.targets
    assert again.core.budget.limit == 5
    assert (again.timeout, again.response_cache) == (30, False)


def test_live_things_are_not_implemented_rather_than_wrong() -> None:
    text = dumps(chat())
    assert json.loads(text)["kwargs"]["targets"][0]["attempter"]["type"] == "not_implemented"
    with pytest.raises(NotImplementedError):
        read(text)


# ------------------------------------------------------------ init_chat_model


needs_a_table = pytest.mark.skipif(not hasattr(base, "_BUILTIN_PROVIDERS"), reason="an older langchain")


@needs_a_table
def test_init_chat_model_knows_failover_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    register()
    one = init_chat_model("failover:openai:gpt-6-luna", temperature=0.2)
    assert isinstance(one, ChatFailover)
    assert (one.core.targets[0].name, one.temperature) == ("openai:gpt-6-luna", 0.2)
    several = init_chat_model("failover:openai:gpt-6-luna, openai:gpt-6-sol", strategy="priority")
    assert [one.name for one in several.core.targets] == ["openai:gpt-6-luna", "openai:gpt-6-sol"]
    assert isinstance(init_chat_model("failover:env"), ChatFailover)
    with pytest.raises(ConfigurationError, match="unknown provider 'opnai'"):
        init_chat_model("failover:opnai:gpt-6-luna")


@needs_a_table
def test_a_configurable_model_may_become_ours_at_run_time() -> None:
    register()
    configurable = init_chat_model(configurable_fields=["model", "temperature"])
    with pytest.raises(ConfigurationError, match="unknown provider 'opnai'"):
        configurable.invoke("hi", {"configurable": {"model": "failover:opnai:gpt-6-luna"}})


def test_a_langchain_without_its_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(base, "_BUILTIN_PROVIDERS", raising=False)
    with pytest.raises(ConfigurationError, match=r"build ChatFailover\(...\) yourself"):
        register()


def test_scripts_in_these_tests_are_asked_through_the_core() -> None:
    model = chat()
    model.invoke("hi")
    assert len(script(model).jobs) == 1
