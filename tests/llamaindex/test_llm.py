"""``FailoverLLM`` itself: eight ways to call, events, options, copies and storage."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, MessageRole
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.extractors import KeywordExtractor
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.llms.loading import load_llm
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import BaseOutputParser

from failover import (
    AllTargetsFailed,
    Budget,
    CircuitBreaker,
    ConfigurationError,
    Failover,
    Kind,
    StreamInterrupted,
    Target,
    ToolCall,
    Usage,
)
from llamaindex_failover import FailoverLLM
from llamaindex_failover._configuration import Orchestration, _store, revived
from llamaindex_failover.testing import Book
from tests.llamaindex.kit import Play, fails, says, target

HELLO = [ChatMessage(role="user", content="hello")]


def llm_of(*targets: Target, **settings: Any) -> FailoverLLM:
    return FailoverLLM(targets, **{"strategy": "priority", "response_cache": False, **settings})


# -------------------------------------------------------------- eight modes


async def _drain(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


MODES: dict[str, Callable[..., Awaitable[list[Any]]]] = {}


def mode(ask: Callable[..., Awaitable[list[Any]]]) -> Callable[..., Awaitable[list[Any]]]:
    MODES[ask.__name__] = ask
    return ask


@mode
async def chat(llm: LLM, **options: Any) -> list[Any]:
    return [llm.chat(HELLO, **options)]


@mode
async def achat(llm: LLM, **options: Any) -> list[Any]:
    return [await llm.achat(HELLO, **options)]


@mode
async def stream_chat(llm: LLM, **options: Any) -> list[Any]:
    return list(llm.stream_chat(HELLO, **options))


@mode
async def astream_chat(llm: LLM, **options: Any) -> list[Any]:
    return await _drain(await llm.astream_chat(HELLO, **options))


@mode
async def complete(llm: LLM, **options: Any) -> list[Any]:
    return [llm.complete("hello", **options)]


@mode
async def acomplete(llm: LLM, **options: Any) -> list[Any]:
    return [await llm.acomplete("hello", **options)]


@mode
async def stream_complete(llm: LLM, **options: Any) -> list[Any]:
    return list(llm.stream_complete("hello", **options))


@mode
async def astream_complete(llm: LLM, **options: Any) -> list[Any]:
    return await _drain(await llm.astream_complete("hello", **options))


each_mode = pytest.mark.parametrize("ask", MODES.values(), ids=MODES)
STREAMED = {name: ask for name, ask in MODES.items() if "stream" in name}
streamed_modes = pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED)


def text(response: ChatResponse | CompletionResponse) -> str:
    return response.text if isinstance(response, CompletionResponse) else response.message.content or ""


@each_mode
async def test_every_mode_answers_and_says_who_it_was(ask: Any) -> None:
    last = (await ask(llm_of(target(says("Hello")))))[-1]
    assert text(last) == "Hello"
    assert last.additional_kwargs["failover"]["target"] == "one"
    assert last.raw["usage"]["prompt_tokens"] == 10


@each_mode
async def test_every_mode_fails_over(ask: Any) -> None:
    llm = llm_of(target(fails(Kind.SERVER_ERROR)), target(says("Hello"), "two"))
    account = (await ask(llm))[-1].additional_kwargs["failover"]
    assert (account["target"], account["attempts"]) == ("two", 2)
    assert account["trail"] == ["one: server_error: scripted", "two: ok"]


@each_mode
async def test_every_mode_raises_what_happened_when_nobody_answers(ask: Any) -> None:
    llm = llm_of(target(fails(Kind.AUTH)), target(fails(Kind.AUTH), "two"))
    with pytest.raises(AllTargetsFailed, match=r"one: auth.*two: auth"):
        await ask(llm)


@each_mode
async def test_every_mode_refuses_an_option_it_does_not_know(ask: Any) -> None:
    with pytest.raises(ConfigurationError, match="'temprature'; did you mean 'temperature'"):
        await ask(llm_of(target(says("Hello"))), temprature=0.5)


@each_mode
async def test_every_mode_hands_options_on(ask: Any) -> None:
    play = Play(says("Hello"))
    llm = llm_of(target(play), temperature=0.5, max_tokens=7, additional_kwargs={"top_p": 0.9, "seed": 1})
    await ask(llm, seed=2, labels={"user": "alice"}, deadline=9.0, response_cache=False)
    asked = play.request
    assert (asked.temperature, asked.max_tokens, asked.top_p, asked.seed) == (0.5, 7, 0.9, 2)
    assert (asked.labels, asked.deadline, asked.cache) == ({"user": "alice"}, 9.0, False)


@streamed_modes
async def test_a_stream_is_snapshots_with_string_deltas(ask: Any) -> None:
    seen = await ask(llm_of(target(says("Hello"))))
    assert [text(each) for each in seen] == ["H", "He", "Hel", "Hell", "Hello", "Hello"]
    assert [each.delta for each in seen] == ["H", "e", "l", "l", "o", ""]


@streamed_modes
async def test_a_broken_stream_says_so_and_what_had_come(ask: Any) -> None:
    llm = llm_of(target(fails(Kind.CUT, partial=says("Hel"))), target(says("Hello"), "two"))
    with pytest.raises(StreamInterrupted) as caught:
        await ask(llm)
    assert caught.value.partial == "Hel"


async def test_prefer_chooses_the_target() -> None:
    llm = llm_of(target(says("a")), target(says("b"), "two"))
    assert text(llm.chat(HELLO, prefer="two")) == "b"


# ------------------------------------------------------------------- events


@each_mode
async def test_every_mode_is_one_event_with_the_tokens_counted_once(ask: Any, ear: list[str]) -> None:
    book, counter = Book(), TokenCountingHandler(tokenizer=str.split)
    llm = llm_of(
        target(fails(Kind.SERVER_ERROR)),
        target(says("Hello", usage=Usage(11, 7)), "two"),
        callback_manager=CallbackManager([book, counter]),
    )
    await ask(llm)
    assert (len(book.starts), len(book.ends)) == (1, 1)
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (11, 7)
    kinds = [name for name in ear if "InProgress" not in name]
    sort = "Completion" if "complete" in ask.__name__ else "Chat"
    assert kinds == [f"LLM{sort}StartEvent", f"LLM{sort}EndEvent"]


@each_mode
async def test_every_mode_tells_of_its_failure_once(ask: Any) -> None:
    book = Book()
    llm = llm_of(target(fails(Kind.AUTH)), callback_manager=CallbackManager([book]))
    with pytest.raises(AllTargetsFailed) as caught:
        await ask(llm)
    assert [each[EventPayload.EXCEPTION] for each in book.ends] == [caught.value]


def test_what_handlers_are_told_of_the_llm_holds_no_secret() -> None:
    book = Book()
    llm = llm_of(Target("openai:gpt-6-luna", api_key="sk-secret-123456"), callback_manager=CallbackManager([book]))
    payload = llm.to_payload()
    assert payload["model_name"] == "openai:gpt-6-luna"
    assert "sk-secret" not in f"{payload} {llm!r} {llm} {llm.to_dict()}"


@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
def test_a_stream_that_is_closed_early_is_closed_beneath_though_a_handler_keeps_everything(method: str) -> None:
    play, book = Play(says("Hello")), Book()
    llm = llm_of(target(play), callback_manager=CallbackManager([book]))
    stream = getattr(llm, method)(HELLO if "chat" in method else "hello")
    next(stream)
    stream.close()
    assert play.closed == 1
    assert isinstance(book.ends[0][EventPayload.EXCEPTION], GeneratorExit)


@pytest.mark.parametrize("method", ["astream_chat", "astream_complete"])
async def test_an_async_stream_that_is_closed_early_is_closed_beneath(method: str) -> None:
    play, book = Play(says("Hello")), Book()
    llm = llm_of(target(play), callback_manager=CallbackManager([book]))
    stream = await getattr(llm, method)(HELLO if "chat" in method else "hello")
    await anext(stream)
    await stream.aclose()
    assert play.closed == 1


def test_a_stream_that_is_dropped_is_closed() -> None:
    play, book = Play(says("Hello")), Book()
    llm = llm_of(target(play), callback_manager=CallbackManager([book]))
    for _ in llm.stream_chat(HELLO):
        break
    assert play.closed == 1


# ----------------------------------------------------------------- prompts


async def test_predict_in_all_four_ways_takes_system_prompt_and_template() -> None:
    play = Play(says("Rome"))
    llm = llm_of(target(play), system_prompt="Be brief.")
    prompt = PromptTemplate("Capital of {country}?")
    said = [llm.predict(prompt, country="Italy"), await llm.apredict(prompt, country="Italy")]
    said.append("".join(llm.stream(prompt, country="Italy")))
    said.append("".join([token async for token in await llm.astream(prompt, country="Italy")]))
    assert said == ["Rome"] * 4
    for job in play.jobs:
        assert [(message.role, message.text) for message in job.request.messages] == [
            ("system", "Be brief."),
            ("user", "Capital of Italy?"),
        ]


class Shouting(BaseOutputParser):
    """Asks for, and reads, loud answers."""

    def format(self, query: str) -> str:
        return f"{query} Loud!"

    def parse(self, output: str) -> str:
        return output.upper()


async def test_an_output_parser_has_its_say_before_and_after() -> None:
    play = Play(says("Rome"))
    llm = llm_of(target(play), output_parser=Shouting())
    assert llm.predict(PromptTemplate("Capital?")) == "ROME"
    assert await llm.apredict(PromptTemplate("Capital?")) == "ROME"
    assert play.request.messages[-1].text == "Capital? Loud!"


@pytest.mark.parametrize(("formatted", "asked"), [(False, "<hello>"), (True, "hello")])
def test_completion_to_prompt_is_applied_to_what_is_not_formatted_yet(formatted: bool, asked: str) -> None:
    play = Play(says("hi"))
    llm = llm_of(target(play), completion_to_prompt=lambda prompt: f"<{prompt}>")
    llm.complete("hello", formatted=formatted)
    assert play.request.messages[-1].text == asked


# ------------------------------------------------------------------- tools


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


ADD = FunctionTool.from_defaults(add, name="math.add")
SUM = ToolCall("c1", "math.add", '{"a": 2, "b": 3}')
SECOND = ToolCall("c2", "math.add", '{"a": 20, "b": 30}')


async def _tool_ways(llm: FailoverLLM, **options: Any) -> list[ChatResponse]:
    """The last response of each of the four ways to chat with tools."""
    responses = [llm.chat_with_tools([ADD], "sum", **options), await llm.achat_with_tools([ADD], "sum", **options)]
    responses.append(list(llm.stream_chat_with_tools([ADD], "sum", **options))[-1])
    responses.append((await _drain(await llm.astream_chat_with_tools([ADD], "sum", **options)))[-1])
    return responses


async def test_tools_can_be_called_in_all_four_ways() -> None:
    play = Play(says("Let me see.", SUM))
    llm = llm_of(target(play))
    for response in await _tool_ways(llm):
        (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c1", "math.add", {"a": 2, "b": 3})
    for job in play.jobs:
        assert [tool.name for tool in job.request.tools] == ["math.add"]
        assert (job.request.tool_choice, job.request.parallel_tool_calls) == ("auto", False)


@pytest.mark.parametrize(("allowed", "calls"), [(True, ["c1", "c2"]), (False, ["c1"])])
async def test_parallel_calls_are_kept_only_where_they_are_allowed(allowed: bool, calls: list[str]) -> None:
    llm = llm_of(target(says(SUM, SECOND)))
    for response in await _tool_ways(llm, allow_parallel_tool_calls=allowed):
        assert [call.tool_id for call in llm.get_tool_calls_from_response(response)] == calls


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({}, "auto"),
        ({"tool_required": True}, "required"),
        ({"tool_choice": "none"}, "none"),
        ({"tool_choice": "math.add"}, "math.add"),
        ({"tool_choice": {"type": "function", "function": {"name": "math.add"}}}, "math.add"),
        ({"tool_choice": "auto", "tool_required": True}, "auto"),
    ],
)
def test_a_tool_choice_reaches_the_target(options: Any, choice: str) -> None:
    play = Play(says(SUM))
    llm_of(target(play)).chat_with_tools([ADD], "sum", **options)
    assert play.request.tool_choice == choice


def test_the_callers_history_is_not_changed() -> None:
    history = [ChatMessage(role="user", content="hello")]
    llm_of(target(says(SUM))).chat_with_tools([ADD], user_msg="sum", chat_history=history)
    assert history == HELLO


def test_no_call_is_an_error_unless_it_is_allowed() -> None:
    llm = llm_of(target(says("No.")))
    response = llm.chat_with_tools([ADD], "sum")
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="Expected at least one tool call"):
        llm.get_tool_calls_from_response(response)


async def test_predict_and_call_runs_the_tools() -> None:
    llm = llm_of(target(says(SUM, SECOND)))
    assert llm.predict_and_call([ADD], "sum").response == "5"
    assert (await llm.apredict_and_call([ADD], "sum", allow_parallel_tool_calls=True)).response == "5\n\n50"


def test_an_empty_list_of_tools_is_a_plain_chat() -> None:
    play = Play(says("hi"))
    llm_of(target(play)).chat_with_tools([], "hello")
    assert (play.request.tools, play.request.tool_choice, play.request.parallel_tool_calls) == ((), None, None)


# --------------------------------------------------------------- authorship


def test_a_conversation_stays_with_the_target_that_answered_last() -> None:
    plays = [Play(says(name)) for name in ("a", "b", "c")]
    llm = FailoverLLM([target(play, name) for play, name in zip(plays, "abc", strict=True)], response_cache=False)
    llm.chat(HELLO)
    history = [*HELLO, llm.chat(HELLO).message, ChatMessage(role="user", content="more")]
    for _ in range(4):
        assert text(llm.chat(history)) == "b"
    assert plays[1].request.messages[1].author == "test:b"


@streamed_modes
async def test_streamed_turns_have_authors_too(ask: Any) -> None:
    play = Play(says("Hello"))
    llm = llm_of(target(play))
    said = text((await ask(llm))[-1])
    llm.chat([*HELLO, ChatMessage(role="assistant", content=said), *HELLO])
    assert play.request.messages[1].author == "test:one"


# ----------------------------------------------------------------- building


def test_one_target_may_be_given_by_itself() -> None:
    assert [each.name for each in FailoverLLM(target(says("a"))).failover.targets] == ["one"]


def test_a_llamaindex_llm_becomes_a_target_by_itself() -> None:
    llm = FailoverLLM([MockLLM(max_tokens=2), target(says("a"))], strategy="priority")
    assert text(llm.chat(HELLO)) == "text text"


def test_a_llamaindex_llm_gets_the_callers_own_messages() -> None:
    class Curious(MockLLM):
        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            return CompletionResponse(text=prompt)

    mine = ChatMessage(role="user", content="hello", additional_kwargs={"custom": 1})
    assert "{'custom': 1}" in text(FailoverLLM([Curious()]).chat([mine]))


def test_one_failover_can_serve_many() -> None:
    guard = Failover([target(says("a"))], response_cache=False)
    one, other = FailoverLLM(failover=guard), FailoverLLM(failover=guard, temperature=0)
    assert one.failover is other.failover is guard


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give targets"),
        ({"targets": []}, "write at least one"),
        ({"targets": ["openai:gpt-6-luna"], "failover": object()}, "not both"),
        ({"failover": object(), "budget": 5}, "not both"),
        ({"targets": ["nobody:m"]}, "unknown provider 'nobody'"),
        ({"targets": [42]}, "int is neither a model string nor a Target"),
        ({"targets": ["ollama:m"], "additional_kwargs": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"targets": ["ollama:m"], "buget": 1}, "unknown setting 'buget'; did you mean 'budget'"),
        ({"targets": ["ollama:m"], "timeout": 1}, "unknown setting 'timeout'; did you mean 'deadline'"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FailoverLLM(**arguments)


def test_every_setting_of_a_failover_can_be_given() -> None:
    taken = set(inspect.signature(Failover.__init__).parameters)
    assert set(Orchestration.__annotations__) == taken - {"self", "targets"}


def test_from_env_takes_whoever_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_x")
    llm = FailoverLLM.from_env(temperature=0.1, strategy="priority")
    assert "groq:" in llm.metadata.model_name
    assert llm.temperature == 0.1


def test_metadata_promises_only_what_every_target_keeps() -> None:
    llm = llm_of(
        target(says("a"), context_window=9000),
        target(says("a"), "two", context_window=5000, tools=False),
        target(says("a"), "three"),
        max_tokens=77,
    )
    facts = llm.metadata
    assert (facts.context_window, facts.num_output, facts.is_function_calling_model) == (5000, 77, False)
    assert (facts.is_chat_model, facts.system_role) == (True, MessageRole.SYSTEM)
    assert facts.model_name == "one, two, three"
    assert llm_of(target(says("a"), context_window=9000), context_window=100).metadata.context_window == 100
    assert llm_of(target(says("a"))).metadata.num_output == -1
    assert llm_of(target(says("a"))).metadata.is_function_calling_model


def test_settings_take_it() -> None:
    before = Settings._llm
    try:
        Settings.llm = llm_of(target(says("a")))
        assert isinstance(Settings.llm, FailoverLLM)
    finally:
        Settings._llm = before


# ---------------------------------------------------------- copies, storage


def test_copies_share_one_live_failover() -> None:
    llm = llm_of(target(says("a")), temperature=0.1)
    copies = [llm.model_copy(), llm.model_copy(deep=True), copy.copy(llm), copy.deepcopy(llm)]
    assert all(each.failover is llm.failover for each in copies)
    assert llm.model_copy(update={"temperature": 0.9}).temperature == 0.9


LOCAL = Target("local", base_url="http://127.0.0.1:9/v1", model="qwen", rpm=5)


def test_a_pickle_carries_the_configuration() -> None:
    llm = llm_of(LOCAL, temperature=0.1, system_prompt="Be brief.", callback_manager=CallbackManager([Book()]))
    back = pickle.loads(pickle.dumps(llm))
    assert back.failover is not llm.failover
    assert back.to_dict() == llm.to_dict()
    assert back.callback_manager.handlers == []
    assert (back.temperature, back.system_prompt) == (0.1, "Be brief.")


def test_a_hard_budget_in_memory_refuses_to_be_multiplied_and_says_so_though_llamaindex_hides_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    llm = llm_of(Target("ollama:m", price={"input": 1, "output": 1}), budget=5)
    with pytest.raises(ConfigurationError, match="budget"):
        pickle.dumps(llm)
    pickle.dumps(KeywordExtractor(llm=llm))
    assert caplog.text.count("a budget kept in memory cannot be pickled") == 2


def test_a_dict_is_stable_json_without_keys_and_says_only_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-env")
    given = Target("anthropic:claude-haiku-5-5", api_key="sk-given", headers={"x-secret": "s"}, rpm=5)
    llm = FailoverLLM(["openai:gpt-6-luna", given], budget=Budget(5, per="week"), breaker=CircuitBreaker(probes=2))
    data = llm.to_dict()
    assert data["targets"] == ["openai:gpt-6-luna", {"name": "anthropic:claude-haiku-5-5", "rpm": 5}]
    assert data["budget"] == {"limit": "5", "per": "week"}
    assert data["breaker"] == {"probes": 2}
    assert data["class_name"] == "FailoverLLM"
    assert "strategy" not in data
    assert not any(secret in json.dumps(data) for secret in ("sk-", "x-secret"))


def test_a_stores_password_is_not_written() -> None:
    assert _store("redis://:hunter2@store.example:6379/0") == {"store": "redis://***@store.example:6379/0"}


@pytest.mark.parametrize("store", ["redis://store.example/0?socket_timeout=2", "sqlite:///a.db", "memory"])
def test_a_store_without_a_password_is_written_as_it_is(store: str) -> None:
    assert revived(_store(store)) == {"store": store}


def test_a_dict_becomes_the_same_llm_again_with_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-env")
    llm = FailoverLLM(
        ["openai:gpt-6-luna", Target("ollama:qwen", price={"input": 0, "output": 0}, rpm=5)],
        strategy="fastest",
        budget=[Budget(5), Budget(1, per="hour")],
        response_cache=False,
        temperature=0.2,
        additional_kwargs={"top_p": 0.9},
    )
    data = json.loads(json.dumps(llm.to_dict()))
    for back in (FailoverLLM.from_dict(data), load_llm(data)):
        assert isinstance(back, FailoverLLM)
        assert back.to_dict() == data
        assert len(back.failover.budgets) == 2
    assert FailoverLLM.from_dict(data, temperature=0.9).temperature == 0.9
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        FailoverLLM.from_dict(data)


def test_what_lives_and_what_is_secret_in_a_url_is_not_written_into_a_dict() -> None:
    mine = Target("local", base_url="http://me:pw@127.0.0.1:9/v1", model="qwen")
    data = FailoverLLM([mine], listeners=[print], client=httpx.Client()).to_dict()
    assert "pw" not in json.dumps(data)
    assert not {"listeners", "client"} & set(data)
    assert data["targets"][0]["base_url"] == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("budget", [5, 2.5, "7"])
def test_a_budget_in_dollars_survives_a_dict(budget: Any) -> None:
    given = Decimal(budget) if isinstance(budget, str) else budget
    llm = FailoverLLM([Target("ollama:m", price={"input": 1, "output": 1})], budget=given)
    back = FailoverLLM.from_dict(json.loads(json.dumps(llm.to_dict())))
    assert back.failover.budget is not None
    assert back.failover.budget.limit == Decimal(str(given))


def test_a_framework_model_is_not_written_into_a_dict() -> None:
    llm = FailoverLLM([MockLLM()])
    data = llm.to_dict()
    assert data["targets"][0]["attempter"] == "not_implemented"
    with pytest.raises(ConfigurationError, match="give the targets again"):
        FailoverLLM.from_dict(data)
    assert FailoverLLM.from_dict(data, targets=[MockLLM()]).to_dict() == data


async def test_a_failover_of_your_own_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Failover, "close", lambda self: closed.append("close"))
    guard = Failover([target(says("a"))])
    with FailoverLLM(failover=guard):
        pass
    assert closed == []
    with FailoverLLM([target(says("a"))]):
        pass
    assert closed == ["close"]
