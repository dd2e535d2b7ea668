"""``ChatFailover`` in LangChain's hands: doors, options, labels, copies, caches, callbacks, control flow."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from langchain_core._api.beta_decorator import suppress_langchain_beta_warning
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableConfig
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import BaseModel

from failover import (
    AllTargetsFailed,
    BadRequest,
    Budget,
    BudgetExceeded,
    ConfigurationError,
    Failover,
    Price,
    StreamInterrupted,
)
from failover.types import CallOptions, Chunk, Failure, JsonFormat, Kind, Text, Thinking, ToolCall
from langchain_failover import ChatFailover
from langchain_failover._options import OPTIONS
from langchain_failover._results import RESOLVED
from langchain_failover._structured import surest_method
from langchain_failover.chat_models import CALLING, SHAPING
from tests.langchain.kit import DOWN, Recorder, chat, run, says, script, target

CALL = ToolCall("c1", "add", '{"a":1}')
HAS_V3 = hasattr(BaseChatModel, "stream_events")
HAS_RESOLVED = RESOLVED is not None


def stream_all(model: Any, *args: Any, **kwargs: Any) -> AIMessageChunk:
    first, *rest = list(model.stream(*args, **kwargs))
    whole = first
    for chunk in rest:
        whole = whole + chunk
    return whole


async def astream_all(model: Any, *args: Any, **kwargs: Any) -> AIMessageChunk:
    chunks = [chunk async for chunk in model.astream(*args, **kwargs)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


def _events_v3(model: Any, *args: Any, **kwargs: Any) -> Any:
    with suppress_langchain_beta_warning():
        return model.stream_events(*args, version="v3", **kwargs).output


async def _aevents_v3(model: Any, *args: Any, **kwargs: Any) -> Any:
    with suppress_langchain_beta_warning():
        stream = await model.astream_events(*args, version="v3", **kwargs)
    try:
        return await stream.output
    finally:
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))  # callbacks end after the output


async def _aevents_v2(model: Any, *args: Any, **kwargs: Any) -> Any:
    events = [event async for event in model.astream_events(*args, version="v2", **kwargs)]
    return events[-1]["data"]["output"]


DOORS: dict[str, Callable[..., Any]] = {
    "invoke": lambda model, *args, **kwargs: model.invoke(*args, **kwargs),
    "ainvoke": lambda model, *args, **kwargs: run(model.ainvoke(*args, **kwargs)),
    "stream": stream_all,
    "astream": lambda model, *args, **kwargs: run(astream_all(model, *args, **kwargs)),
    "batch": lambda model, first, *args, **kwargs: model.batch([first], *args, **kwargs)[0],
    "abatch": lambda model, first, *args, **kwargs: run(model.abatch([first], *args, **kwargs))[0],
    "events v2": lambda model, *args, **kwargs: run(_aevents_v2(model, *args, **kwargs)),
}
if HAS_V3:
    DOORS["events v3"] = _events_v3
    DOORS["aevents v3"] = lambda model, *args, **kwargs: run(_aevents_v3(model, *args, **kwargs))

every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())


# -------------------------------------------------------------------- doors


@every_door
def test_every_door_answers_and_says_who_did(door: Callable[..., Any]) -> None:
    message = door(chat(target("first", DOWN), target("second", says("It is ", "three."))), "1+2?")
    assert message.text == "It is three."
    assert message.response_metadata["model_provider"] == "openai"
    assert message.usage_metadata["total_tokens"] == 12
    entry = message.response_metadata["failover"]
    assert [(step["target"], step["reason"]) for step in entry["attempts"]] == [
        ("first", "server_error"),
        ("second", "ok"),
    ]


@every_door
def test_when_nobody_answers_every_door_says_why(door: Callable[..., Any]) -> None:
    refused = Failure(Kind.AUTH, "invalid key", status=401)
    with pytest.raises(AllTargetsFailed, match=r"first: server_error .*out of order.*second: auth .*invalid key"):
        door(chat(target("first", DOWN), target("second", refused), max_retries=0), "hi")


@every_door
def test_labels_come_from_the_metadata_of_the_config(door: Callable[..., Any]) -> None:
    model = chat(labels={"app": "x", "user": "nobody"})
    door(model, "hi", {"metadata": {"user": "alice", "tier": 2}})
    assert script(model).last.labels == {"app": "x", "user": "alice", "tier": "2"}


@every_door
def test_a_calls_own_labels_win(door: Callable[..., Any]) -> None:
    model = chat()
    door(model, "hi", {"metadata": {"user": "alice"}}, labels={"user": "bob"})
    assert script(model).last.labels == {"user": "bob"}


def test_a_chain_hands_its_metadata_down() -> None:
    model = chat()
    chain = (ChatPromptTemplate.from_messages([("human", "{q}")]) | model | StrOutputParser()).with_config(
        metadata={"user": "alice"}
    )
    assert chain.invoke({"q": "hi"}) == "hello"
    assert "".join(chain.stream({"q": "hi"})) == "hello"
    assert [job.request.labels for job in script(model).jobs] == [{"user": "alice"}] * 2


def test_a_budget_per_label_is_kept_by_metadata() -> None:
    model = chat(budget=Budget(0.0000001, per_label="user"))
    config: RunnableConfig = {"metadata": {"user": "alice"}}
    assert model.invoke("hi", config).text == "hello"
    with pytest.raises(BudgetExceeded, match="per 'user', and this call has no such label"):
        model.invoke("hi")


# ------------------------------------------------------------------ streams


def test_a_stream_that_breaks_after_content_raises_with_what_had_come() -> None:
    broken = [Chunk(text="It is "), Failure(Kind.DISCONNECTED, "gone", partial=says("It is "))]
    with pytest.raises(StreamInterrupted) as caught:
        list(chat(target("first", broken), target("second")).stream("hi"))
    assert caught.value.partial == "It is "


def test_a_stream_that_breaks_before_content_is_survived_in_silence() -> None:
    model = chat(target("first", [Chunk(), Failure(Kind.DISCONNECTED, "gone")]), target("second"))
    assert [chunk.text for chunk in model.stream("hi")] == ["hello", ""]


def test_ending_a_stream_early_closes_the_attempt() -> None:
    model = chat(target("only", says("a", "b", "c")))
    chunks = model.stream("hi")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]  # it is a generator
    assert script(model).closed_early


async def test_ending_an_async_stream_early_closes_the_attempt() -> None:
    model = chat(target("only", says("a", "b", "c")))
    chunks: Any = model.astream("hi")
    await anext(chunks)
    await chunks.aclose()
    await asyncio.sleep(0)
    assert script(model).closed_early


@pytest.mark.parametrize("version", [None, "v0", "v1"])
@pytest.mark.skipif(not HAS_V3, reason="needs langchain-core with v3 events")
def test_events_of_a_rich_answer_are_valid(version: str | None) -> None:
    lifecycle = pytest.importorskip("langchain_tests.utils.stream_lifecycle")  # not in older ones
    rich = [
        Chunk(reasoning="let me ", index=0),
        Chunk(reasoning="see", index=0),
        Chunk(blocks=(Thinking("let me see", signature="sig"),), index=0),
        Chunk(text="It ", index=1),
        Chunk(text="is", index=1),
        Chunk(tool_calls=(CALL, ToolCall("c2", "now", "")), index=2),
        says(Thinking("let me see", signature="sig"), "It is", CALL, ToolCall("c2", "now", ""), finish="tool_calls"),
    ]
    model = chat(target("only", rich), output_version=version)
    with suppress_langchain_beta_warning():
        stream = model.stream_events("hi", version="v3")
    lifecycle.assert_valid_event_stream(list(stream))
    output = stream.output
    assert [block["type"] for block in output.content_blocks] == ["reasoning", "text", "tool_call", "tool_call"]
    assert (output.text, [call["name"] for call in output.tool_calls]) == ("It is", ["add", "now"])
    assert output.response_metadata["failover"]["target"] == "only"


def test_streaming_true_streams_beneath_invoke() -> None:
    recorder = Recorder()
    chat(target("only", says("a", "b")), streaming=True).invoke("hi", {"callbacks": [recorder]})
    assert recorder.tokens == ["a", "b", ""]


# ------------------------------------------------------------------ options


def test_options_of_model_binding_and_call_are_laid_over_each_other() -> None:
    model = chat(temperature=0.5, max_tokens=10, stop=["a"], timeout=9, seed=1, top_p=0.1)
    bound = model.bind(max_tokens=20, top_p=0.2)
    bound.invoke("hi", top_p=0.3, stop=["b"], deadline=5)
    asked = script(model).last
    assert (asked.temperature, asked.max_tokens, asked.top_p, asked.seed) == (0.5, 20, 0.3, 1)
    assert (asked.stop, asked.deadline) == (("b",), 5)
    model.invoke("hi")
    assert (script(model).last.stop, script(model).last.deadline) == (("a",), 9)


@every_door
def test_an_unknown_keyword_is_refused_at_every_door(door: Callable[..., Any]) -> None:
    model = chat()
    with pytest.raises(ConfigurationError, match="'presence' is not an option of a call"):
        door(model, "hi", presence=1)
    assert script(model).jobs == []


def test_an_unknown_keyword_is_refused_when_it_is_bound_with_tools() -> None:
    with pytest.raises(ConfigurationError, match="'presence' is not an option"):
        chat().bind_tools([], presence=1)


def test_a_wrong_value_is_refused_before_anything_is_sent() -> None:
    model = chat()
    with pytest.raises(ConfigurationError, match="max_tokens = -1"):
        model.invoke("hi", max_tokens=-1)
    with pytest.raises(BadRequest, match="hologram"):
        model.invoke([HumanMessage([{"type": "hologram"}])])
    assert script(model).jobs == []


def test_a_single_stop_word_may_be_written_alone_and_labels_may_not() -> None:
    model = chat()
    model.invoke("hi", stop="END")  # type: ignore[arg-type]  # LangChain says a list
    assert script(model).last.stop == ("END",)
    with pytest.raises(ConfigurationError, match=r"labels = 'x': write a dictionary"):
        model.invoke("hi", {"metadata": {"user": "alice"}}, labels="x")


def test_every_option_of_the_core_and_of_a_call_can_be_reached() -> None:
    core = set(signature(Failover).parameters) - {"deadline"}
    assert core <= set(ChatFailover.model_fields), "deadline is called timeout, as LangChain does"
    assert core - {"targets", "response_cache"} == set(SHAPING)
    reached = {name for name, _ in OPTIONS.values()} | {"stop", "origin"}
    assert reached == set(CallOptions.__optional_keys__)
    assert set(CALLING) <= set(OPTIONS) & set(ChatFailover.model_fields)


def test_prefer_names_who_is_asked_first() -> None:
    model = chat(target("a"), target("b"), target("c"))
    assert model.invoke("hi", prefer=["c"]).response_metadata["failover"]["target"] == "c"
    assert model.invoke("hi", prefer="b").response_metadata["failover"]["target"] == "b"
    assert chat(target("a"), target("b"), prefer="b").invoke("hi").response_metadata["failover"]["target"] == "b"


@pytest.mark.parametrize("name", ["b", "gpt-6-sol", "openai:gpt-6-sol"])
def test_model_may_name_a_target_its_model_or_both(name: str) -> None:
    model = chat(target("a"), target("b", model="gpt-6-sol"))
    assert model.invoke("hi", model=name).response_metadata["failover"]["target"] == "b"


def test_a_model_that_is_no_target_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'gpt-9' is none of this model's targets: a, b"):
        chat(target("a"), target("b")).invoke("hi", model="gpt-9")


def test_the_response_cache_can_be_passed_by_for_one_call_or_one_copy() -> None:
    model = chat(response_cache=True)
    model.invoke("hi")
    assert model.invoke("hi").response_metadata["failover"]["cached"]
    assert len(script(model).jobs) == 1
    model.invoke("hi", response_cache=False)
    ChatFailover(failover=model.core, response_cache=False).invoke("hi")
    assert len(script(model).jobs) == 3


def test_a_cached_answer_streams_and_has_an_id_of_its_own() -> None:
    model = chat(target("only", says(Thinking("hm"), "a", "b")), response_cache=True)
    first = model.invoke("hi")
    again = stream_all(model, "hi")
    assert (again.text, again.additional_kwargs["reasoning_content"]) == ("ab", "hm")
    assert again.response_metadata["failover"]["cached"]
    assert first.id != again.id


@every_door
def test_models_over_one_store_share_their_budget(door: Callable[..., Any], tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/gates.db"
    priced = target("only", says("hello"), price=Price(input=1, output=1))
    for _ in range(2):
        with chat(priced, store=address, budget=1) as model:
            assert door(model, "hi").text == "hello"
    with chat(priced, store=address, budget=1) as third:
        assert third.core.budget is not None
        assert (third.core.budget.spent, third.core.budget.reserved) == (Decimal("0.000024"), 0)
    with chat(priced, store=address, budget=0.000025, max_retries=0) as last, pytest.raises(BudgetExceeded):
        door(last, "hi", max_tokens=1000)


# ----------------------------------------------------------------- building


def test_nothing_to_ask_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="write at least one"):
        ChatFailover()


def test_unknown_and_wrong_fields_are_errors_that_keep_secrets() -> None:
    with pytest.raises(ConfigurationError, match="ChatFailover: temprature is not an option; did you mean temperature"):
        chat(temprature=1)
    with pytest.raises(ConfigurationError, match="model is not an option; did you mean targets"):
        ChatFailover(model="openai:gpt-6-luna")  # type: ignore[call-arg]  # as other models are written
    with pytest.raises(ConfigurationError) as caught:
        chat(api_kye="sk-very-secret", max_tokens="many")
    assert "sk-very-secret" not in str(caught.value)
    assert "max_tokens" in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError, match="strategy = 'best'"):
        chat(strategy="best")
    with pytest.raises(ConfigurationError, match="budget"):
        chat(budget="lots")
    assert "profile" not in repr(chat())


def test_a_target_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="7 is neither a model string, nor a Target"):
        ChatFailover([7])


def test_one_key_serves_targets_of_one_provider_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    ChatFailover(["openai:gpt-6-luna", "openai:gpt-6-sol"], api_key="k")
    with pytest.raises(ConfigurationError, match="one key cannot be for groq, openai"):
        ChatFailover(["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"], api_key="k")
    both = {"openai": "k1", "groq": "k2"}
    model = ChatFailover(["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"], api_key=both)
    keys = [one.api_key.get_secret_value() for one in model.core.targets]
    assert keys == ["k1", "k2"]
    with pytest.raises(ConfigurationError, match="GROQ_API_KEY"):
        ChatFailover(["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"], api_key={"openai": "k1"})


def test_from_env_takes_whatever_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "ANTHROPIC", "DEEPSEEK", "GROQ", "OPENROUTER", "GEMINI", "GOOGLE", "MISTRAL", "XAI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    for name in ("TOGETHER", "TOGETHERAI", "FIREWORKS", "FIREWORKS_AI", "CEREBRAS"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    model = ChatFailover.from_env(temperature=0.5, strategy="priority", budget=1)
    assert [one.name.partition(":")[0] for one in model.core.targets] == ["anthropic"]
    assert model.temperature == 0.5
    assert model.core.budget is not None


# ------------------------------------------------------------------- copies


def _configured(model: ChatFailover) -> Any:
    field = model.configurable_fields(temperature=ConfigurableField(id="t"))
    return field.with_config(configurable={"t": 0.7})


@pytest.mark.parametrize(
    "copied",
    [
        lambda model: model.model_copy(),
        lambda model: model.model_copy(update={"temperature": 0.7}),
        copy.copy,
        copy.deepcopy,
        lambda model: model.bind(temperature=0.7),
        lambda model: model.with_config(tags=["x"]),
        _configured,
        lambda model: ChatFailover(failover=model.core),
    ],
)
def test_every_copy_shares_the_one_live_core(copied: Callable[[ChatFailover], Any]) -> None:
    model = chat(target("only"), budget=5, api_key=None)
    copied(model).invoke("hi")
    assert model.core.status()[0].attempts == 1


def test_fields_that_shape_the_core_cannot_differ_from_copy_to_copy() -> None:
    model = chat(target("a"), strategy="priority")
    configured = model.configurable_fields(strategy=ConfigurableField(id="s"))
    with pytest.raises(ConfigurationError, match="strategy cannot be given beside failover="):
        configured.invoke("hi", {"configurable": {"s": "weighted"}})
    with pytest.raises(ConfigurationError, match="targets cannot be given beside failover="):
        ChatFailover(["openai:gpt-6-luna"], failover=model.core, api_key="k")


def test_a_copy_that_only_a_new_core_could_follow_is_refused() -> None:
    model = chat(target("a"))
    for change in ({"budget": 1}, {"strategy": "weighted"}, {"targets": (target("b"),)}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(change))} cannot be given beside failover="):
            model.model_copy(update=change)


def test_one_guard_serves_several_models() -> None:
    guard = Failover([target("only")], response_cache=False)
    ChatFailover(failover=guard, temperature=0.1).invoke("hi")
    ChatFailover(failover=guard, temperature=0.2).invoke("hi")
    assert guard.status()[0].attempts == 2


def test_pickle_carries_configuration_and_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    model = ChatFailover(["openai:gpt-6-luna"], strategy="priority", temperature=0.5)
    again = pickle.loads(pickle.dumps(model))
    assert again.core is not model.core
    assert (again.core.targets, again.temperature) == (model.core.targets, 0.5)
    assert again.configurable_fields(temperature=ConfigurableField(id="t"))


# ---------------------------------------------------------- LangChain's own


@every_door
def test_one_call_is_one_run_however_many_targets_fail(door: Callable[..., Any]) -> None:
    recorder = Recorder()
    door(chat(target("a", DOWN), target("b", DOWN), target("c")), "hi", {"callbacks": [recorder]})
    assert recorder.events == ["start", "end"]


class Tracer(BaseTracer):
    """Keeps the finished runs, as LangSmith would get them."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.finished.append(run)


@every_door
def test_a_trace_names_the_model_that_answered(door: Callable[..., Any]) -> None:
    tracer = Tracer()
    other = replace(says("hello"), model="claude-haiku-5-5-20261001")
    second = target("second", other, provider="anthropic", model="claude-haiku-5-5")
    door(chat(target("first", DOWN), second), "hi", {"callbacks": [tracer]})
    (run_,) = tracer.finished
    assert (run_.error, run_.child_runs) == (None, [])
    (((generation,),)) = run_.outputs["generations"]
    assert generation["message"]["kwargs"]["response_metadata"]["model_provider"] == "anthropic"
    if HAS_RESOLVED:
        metadata = run_.extra["metadata"]
        assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("anthropic", "claude-haiku-5-5-20261001")


def test_a_whole_answer_says_its_model_where_langfuse_looks() -> None:
    model = chat()
    assert model.generate([[HumanMessage("hi")]]).llm_output == {"model_name": "gpt-6-luna"}
    assert model.generate([]).llm_output == {}


@every_door
def test_a_call_that_fails_is_one_failed_run(door: Callable[..., Any]) -> None:
    recorder = Recorder()
    with pytest.raises(AllTargetsFailed):
        door(chat(target("a", DOWN), target("b", DOWN), max_retries=0), "hi", {"callbacks": [recorder]})
    assert recorder.events == ["start", "error"]


@every_door
def test_usage_is_counted_once(door: Callable[..., Any]) -> None:
    counter = UsageMetadataCallbackHandler()
    model = chat(target("a", DOWN), target("b", says("x", "y")))
    door(model, "hi", {"callbacks": [counter]})
    door(model, "hello", {"callbacks": [counter]})
    assert counter.usage_metadata["gpt-6-luna"]["total_tokens"] == 24


def test_langchains_own_cache_comes_first_and_is_told_as_free() -> None:
    model = chat(cache=InMemoryCache())
    model.invoke("hi", labels={"user": "a"}, timeout=5)
    again = model.invoke("hi", labels={"user": "b"}, timeout=6)
    assert len(script(model).jobs) == 1
    assert again.response_metadata["failover"]["cached"]
    assert again.response_metadata["failover"]["cost"] == 0
    model.invoke("hi", temperature=0.3)
    model.model_copy(update={"temperature": 0.4}).invoke("hi")
    assert len(script(model).jobs) == 3


def test_an_answer_from_langchains_own_cache_is_a_message_of_its_own() -> None:
    model = chat(cache=InMemoryCache())
    seen = [model.invoke("hi") for _ in range(3)]
    assert len({message.id for message in seen}) == 3
    assert [message.response_metadata["failover"]["cached"] for message in seen] == [False, True, True]


def test_langchains_global_cache_serves_whole_calls_and_streams_go_past_it() -> None:
    set_llm_cache(InMemoryCache())
    try:
        model = chat()
        assert {model.invoke("hi").text for _ in range(2)} == {"hello"}
        assert stream_all(model, "hi").text == "hello"
        assert len(script(model).jobs) == 2
        assert chat(cache=False).invoke("hi").response_metadata["failover"]["cached"] is False
    finally:
        set_llm_cache(None)


def test_langchains_rate_limiter_is_asked() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001, max_bucket_size=1)
    model = chat(rate_limiter=limiter)
    assert [model.invoke("hi").text, stream_all(model, "hi").text] == ["hello", "hello"]


def test_langsmith_is_told_the_first_target_and_the_settings() -> None:
    model = chat(target("a", model="gpt-6-sol"), target("b"), temperature=0.5, max_tokens=9, stop=["x"])
    params = model._get_ls_params()
    assert params == {
        "ls_provider": "openai",
        "ls_model_name": "gpt-6-sol",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["x"],
    }
    assert model._get_ls_params(model="b")["ls_model_name"] == "b"


def test_the_profile_promises_what_every_target_can_do() -> None:
    wide = target("a", inputs={"image", "document"}, context_window=1000, max_output_tokens=50)
    narrow = target("b", inputs={"image"}, context_window=500, tools=False, max_output_tokens=60)
    profile = chat(wide, narrow).profile
    assert profile is not None
    assert (profile["image_inputs"], profile["pdf_inputs"], profile["tool_calling"]) == (True, False, False)
    assert (profile["max_input_tokens"], profile["max_output_tokens"]) == (500, 50)


def test_the_profile_promises_structure_only_where_a_schema_is_taken_as_it_is() -> None:
    able = ChatFailover(["openai:gpt-6-luna"], api_key="k")
    words = ChatFailover(["openai:gpt-6-luna", "deepseek:deepseek-flash"], api_key={"openai": "k", "deepseek": "k"})
    assert able.profile is not None
    assert words.profile is not None
    assert (able.profile["structured_output"], words.profile["structured_output"]) == (True, False)


def test_tokens_are_estimated_without_any_vocabulary() -> None:
    model = chat()
    assert 8 <= model.get_num_tokens("The quick brown fox jumps over the lazy dog.") <= 13
    assert model.get_num_tokens_from_messages([HumanMessage("The quick brown fox")]) > 4


# -------------------------------------------------------------- control flow


class GraphBubbleUp(Exception):
    """Stands for LangGraph's, which is known by its name."""


@pytest.mark.parametrize("stop", [asyncio.CancelledError(), KeyboardInterrupt(), GraphBubbleUp()])
@pytest.mark.parametrize("door", [DOORS["invoke"], stream_all], ids=["invoke", "stream"])
def test_control_flow_passes_through_and_is_nobodys_failure(stop: BaseException, door: Callable[..., Any]) -> None:
    model = chat(target("a", stop), target("b"))
    with pytest.raises(type(stop)):
        door(model, "hi")
    assert script(model, 1).jobs == []
    assert model.core.status()[0].failures == 0


async def test_a_cancelled_call_gives_back_what_it_held() -> None:
    class Slow(type(script(chat()))):  # type: ignore[misc]  # a Script that never answers
        async def aattempt(self, job: Any) -> Any:
            await asyncio.Event().wait()

    model = chat(target("a", concurrency=1))
    object.__setattr__(model.core.targets[0], "attempter", Slow(says("x")))
    model = ChatFailover(model.core.targets, response_cache=False)
    task = asyncio.create_task(model.ainvoke("hi"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.core.status()[0].in_flight == 0


# ---------------------------------------------------- tools and structure


def test_bound_tools_reach_the_request() -> None:
    def add(a: int) -> int:
        """Add one."""
        return a + 1

    model = chat(target("only", says(CALL, finish="tool_calls")))
    message = model.bind_tools([add], tool_choice="any", strict=True, parallel_tool_calls=False).invoke("hi")
    asked = script(model).last
    assert (asked.tools[0].name, asked.tools[0].strict) == ("add", True)
    assert (asked.tool_choice, asked.parallel_tool_calls) == ("required", False)
    assert isinstance(message, AIMessage)
    assert message.tool_calls[0]["args"] == {"a": 1}


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


JSON = '{"setup": "s", "punchline": "p"}'


def _answers(method: str) -> Iterator[Any]:
    if method == "function_calling":
        return iter((ToolCall("c", "Joke", JSON),))
    return iter((Text(JSON[:9]), Text(JSON[9:])))


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Joke, Joke.model_json_schema()])
def test_each_way_to_structure_an_answer_works_whole_and_streamed(method: Any, schema: Any) -> None:
    model = chat(target("only", says(*_answers(method))))
    structured = model.with_structured_output(schema, method=method)
    read = structured.invoke("a joke")
    assert (read if isinstance(read, dict) else read.model_dump()) == {"setup": "s", "punchline": "p"}
    *_, last = structured.stream("a joke")
    assert (last if isinstance(last, dict) else last.model_dump()) == {"setup": "s", "punchline": "p"}


def test_each_method_asks_for_what_it_needs() -> None:
    model = chat(target("only", says(*_answers("json_schema"))))
    model.with_structured_output(Joke, method="json_schema", strict=True).invoke("a joke")
    asked = script(model).last.response_format
    assert (asked.name, asked.strict, asked.schema["additionalProperties"]) == ("Joke", True, False)
    model.with_structured_output(Joke, method="json_mode").invoke("a joke")
    assert script(model).last.response_format == JsonFormat()
    with pytest.raises(AttributeError):
        model.with_structured_output(Joke, method="function_calling").invoke("a joke").setup  # type: ignore[union-attr]  # noqa: B018
    asked = script(model).last
    assert (asked.tool_choice, asked.parallel_tool_calls, asked.tools[0].name) == ("Joke", False, "Joke")


def test_the_default_method_is_what_every_target_can_do() -> None:
    def method(*targets: Any) -> Any:
        return surest_method(chat(*targets).core.abilities)

    assert method(target("a"), target("b")) == "json_schema"
    assert method(target("a"), target("b", structured_output=False)) == "function_calling"
    assert method(target("a", structured_output=False), target("b", tools=False)) == "json_schema"


def test_the_raw_answer_can_be_had_with_its_parsing_error() -> None:
    good = chat(target("only", says(JSON))).with_structured_output(Joke, include_raw=True).invoke("a joke")
    assert isinstance(good, dict)
    assert (good["parsed"], good["parsing_error"]) == (Joke(setup="s", punchline="p"), None)
    bad = chat(target("only", says("no"))).with_structured_output(Joke, include_raw=True).invoke("a joke")
    assert isinstance(bad, dict)
    assert (bad["raw"].text, bad["parsed"]) == ("no", None)
    assert bad["parsing_error"] is not None


def test_a_method_nobody_knows_and_a_missing_schema_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="method = 'magic'"):
        chat().with_structured_output(Joke, method="magic")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ConfigurationError, match="needs a schema"):
        chat().with_structured_output()
