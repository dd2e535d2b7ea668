"""A key goes to its provider and nowhere else."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from failover import ConfigurationError, Failover, Retry, Target
from failover.store.choice import open_store, portable
from failover.testing import ErrorInBody, Malformed, Redirect, ScriptedProvider, Served, Status, serve

CANARY = "sk-canary-0123456789abcdef"


@pytest.fixture
def served() -> Iterator[tuple[ScriptedProvider, Served]]:
    provider = ScriptedProvider("openai", key=CANARY)
    with serve(provider) as servers:
        yield provider, servers["openai"]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


GIVEN: list[Any] = [CANARY, SecretStr(CANARY), lambda: CANARY, lambda: SecretStr(CANARY)]


@pytest.mark.parametrize("given", GIVEN, ids=["string", "secret", "function", "function of a secret"])
@pytest.mark.parametrize(
    "fault",
    [None, Status(500), Status(401), ErrorInBody(), Malformed(), Redirect()],
    ids=lambda fault: type(fault).__name__,
)
def test_a_key_is_in_no_representation_event_log_or_error(
    served: tuple[ScriptedProvider, Served], logged: io.StringIO, given: Any, fault: Any
) -> None:
    provider, here = served
    provider.set(fault)
    events: list[Any] = []
    target = here.target("gpt-6-luna", api_key=given)
    with Failover([target], retry=Retry(attempts=0), listeners=[events.append], response_cache=False) as guard:
        result = guard.try_complete("hi")
        said = [repr(target), repr(guard), repr(result), repr(events), repr(guard.status()), logged.getvalue()]
    if result.error is not None:
        said.append("".join(traceback.format_exception(result.error)))
        said.append(repr(pickle.dumps(result.error)))
    assert result.success is (fault is None)
    assert not [each for each in said if "canary" in each]
    assert provider.requests[0].headers["authorization"] == f"Bearer {CANARY}"


def test_a_key_from_the_environment_is_in_no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert b"canary" not in pickle.dumps(Failover(["openai:gpt-6-luna"]))


def test_a_key_that_was_given_is_in_no_pickle_and_is_looked_up_where_it_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = pickle.dumps(Failover([Target("openai:gpt-6-luna", api_key=CANARY, weight=2)]))
    assert b"canary" not in packed
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert pickle.loads(packed).targets == (Target("openai:gpt-6-luna", weight=2),)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        pickle.loads(packed)


def test_a_redirect_takes_the_key_nowhere(served: tuple[ScriptedProvider, Served]) -> None:
    provider, here = served
    elsewhere = ScriptedProvider("groq")
    with serve(elsewhere) as servers:
        provider.set(Redirect(f"{servers['groq'].base_url}/chat/completions"))
        with Failover([here.target("gpt-6-luna")], retry=Retry(attempts=0)) as guard:
            result = guard.try_complete("hi")
    assert not result.success
    assert elsewhere.calls == 0


@pytest.mark.parametrize(
    "fields",
    [{"api_key": 5}, {"api_keys": CANARY}, {"headers": {"authorization": 5, "x": CANARY}}],
    ids=lambda f: str([*f]),
)
def test_a_refused_setting_does_not_repeat_a_key(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Target("openai:gpt-6-luna", **fields)
    assert "canary" not in str(caught.value)


def test_a_function_is_asked_for_the_key_at_every_attempt(served: tuple[ScriptedProvider, Served]) -> None:
    _, here = served
    keys = iter(["at the start", CANARY, CANARY])
    with Failover([here.target("gpt-6-luna", api_key=lambda: next(keys))], response_cache=False) as guard:
        assert guard.complete("hi").content
        assert guard.complete("hi").content


# ------------------------------------------------------- what leaves the process


def test_a_header_with_a_credential_and_the_user_of_a_url_are_in_no_pickle() -> None:
    headers = {"Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY, "X-Team": "search"}
    target = Target("mine", base_url=f"http://me:{CANARY}@localhost/v1", model="m", headers=headers)
    packed = pickle.dumps(target)
    assert b"canary" not in packed
    assert pickle.loads(packed) == Target(
        "mine", base_url="http://localhost/v1", model="m", headers={"X-Team": "search"}
    )


def test_the_password_of_a_store_stays_and_is_found_where_the_address_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = f"redis://:{CANARY}@127.0.0.1:9/0"
    assert portable(whole) == "redis://***@127.0.0.1:9/0"
    with pytest.raises(ConfigurationError, match="set REDIS_URL"):
        open_store(portable(whole), Retry(), lambda: 0.5)
    monkeypatch.setenv("REDIS_URL", whole)
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:9") as caught:
        open_store(portable(whole), Retry(), lambda: 0.5).salt()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("store", ["redis://store.example/0?socket_timeout=2", "sqlite:///a.db?durable=true", "memory"])
def test_a_store_without_a_password_travels_as_it_is(store: str) -> None:
    assert portable(store) == store
