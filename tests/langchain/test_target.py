"""LangChain models as targets: asked below their callbacks, with messages, tools and reasoning of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr

from failover import (
    AllTargetsFailed,
    ConfigurationError,
    Failover,
    JsonFormat,
    Media,
    Message,
    Price,
    StreamInterrupted,
    Target,
    Timeouts,
)
from failover.types import Kind, Text, Thinking, ToolResult
from langchain_failover import ChatFailover, as_target
from langchain_failover._target import ModelAttempter, without_retries
from tests.langchain.kit import Recorder, run, says
from tests.langchain.kit import target as scripted

USAGE = UsageMetadata(
    input_tokens=7, output_tokens=5, total_tokens=12, input_token_details=InputTokenDetails(cache_read=2)
)
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}


class Model(BaseChatModel):
    """A chat model of another integration, with Anthropic's manners."""

    model: str = "house-1"
    max_retries: int = 2
    answers: list[Any] = Field(default_factory=lambda: [AIMessage("hello", usage_metadata=USAGE)])
    seen: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "house"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "house", "ls_model_name": self.model, "ls_model_type": "chat"}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(one)["function"]["name"] for one in tools], **kwargs)

    def _next(self, messages: list[BaseMessage], stop: Any, kwargs: Any) -> Any:
        self.seen.append((messages, stop, kwargs))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        assert run_manager is None
        answer = self._next(messages, stop, kwargs)
        generation = ChatGeneration(message=answer, generation_info={"finish_reason": "tool_use"})
        return ChatResult(generations=[generation], llm_output={"model_name": "house-1-0612"})

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages, stop, run_manager, **kwargs)


class Streaming(Model):
    """The same, in pieces."""

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._next(messages, stop, kwargs)
        yield from map(_chunk, _pieces(answer))

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, run_manager, **kwargs):
            yield chunk


def _pieces(answer: Any) -> Iterator[AIMessageChunk]:
    parts = answer.content if isinstance(answer.content, list) else list(answer.content)
    for index, part in enumerate(parts):
        yield AIMessageChunk(content=part if isinstance(part, str) else [{**part, "index": index}])
    for index, call in enumerate(answer.tool_calls):
        yield AIMessageChunk(
            content="", tool_call_chunks=[{"name": call["name"], "args": "", "id": call["id"], "index": index}]
        )
        yield AIMessageChunk(
            content="", tool_call_chunks=[{"name": None, "args": '{"a":1}', "id": None, "index": index}]
        )
    notes = {"model_name": "house-1-0612", "finish_reason": "tool_use"}
    yield AIMessageChunk(content="", usage_metadata=answer.usage_metadata, response_metadata=notes)


def _chunk(message: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message)


def chat(*models: Any, **fields: Any) -> ChatFailover:
    return ChatFailover(models, **{"strategy": "priority", "response_cache": False, **fields})


def collect(model: Any, *args: Any) -> Any:
    first, *rest = list(model.stream(*args))
    return first + rest if rest else first


async def _acollect(model: Any, *args: Any) -> Any:
    chunks = [chunk async for chunk in model.astream(*args)]
    return chunks[0] + chunks[1:]


DOORS: dict[str, Any] = {
    "invoke": lambda model, *args: model.invoke(*args),
    "ainvoke": lambda model, *args: run(model.ainvoke(*args)),
    "stream": collect,
    "astream": lambda model, *args: run(_acollect(model, *args)),
}
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
every_model = pytest.mark.parametrize("cls", [Model, Streaming])


# ------------------------------------------------------------------ answers


@every_door
@every_model
def test_what_the_model_says_comes_through(door: Any, cls: Any) -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    answer = AIMessage([THOUGHT, {"type": "text", "text": "let me add"}], tool_calls=[call], usage_metadata=USAGE)
    message = door(chat(cls(answers=[answer])), "hi")
    assert message.text == "let me add"
    assert message.tool_calls == [call]
    assert message.additional_kwargs["reasoning_content"] == "hm"
    assert message.usage_metadata == {**USAGE, "input_token_details": {"cache_read": 2}}
    notes = message.response_metadata
    assert (notes["model_name"], notes["model_provider"], notes["finish_reason"]) == (
        "house-1-0612",
        "house",
        "tool_calls",
    )
    assert notes["failover"]["target"] == "house:house-1"


@every_door
@every_model
def test_there_is_one_run_and_no_nested_one(door: Any, cls: Any) -> None:
    recorder, own = Recorder(), Recorder()
    door(chat(cls(callbacks=[own])), "hi", {"callbacks": [recorder]})
    assert (recorder.events, own.events) == (["start", "end"], [])


def test_a_stream_comes_in_the_models_own_pieces() -> None:
    assert [chunk.text for chunk in chat(Streaming()).stream("hi")] == ["h", "e", "l", "l", "o", ""]


@every_door
@every_model
def test_an_empty_answer_is_a_failure(door: Any, cls: Any) -> None:
    message = door(chat(cls(answers=[AIMessage("")]), scripted("next")), "hi")
    assert message.response_metadata["failover"]["attempts"][0]["reason"] == "empty"


# ----------------------------------------------------------------- requests


@every_door
@every_model
def test_messages_reach_the_model_untouched(door: Any, cls: Any) -> None:
    model = cls()
    prompt = [SystemMessage("be brief"), HumanMessage([{"type": "text", "text": "hi", "cache_control": {"x": 1}}])]
    door(chat(model), prompt)
    assert all(got is sent for got, sent in zip(model.seen[0][0], prompt, strict=True))


def test_tools_and_settings_go_through_the_models_own_binding() -> None:
    @tool
    def add(a: int) -> int:
        """Add one."""
        return a + 1

    model = Model()
    guarded = chat(model.bind(seed=3), temperature=0.5).bind_tools([add], tool_choice="any", parallel_tool_calls=False)
    guarded.invoke("hi", stop=["x"], max_tokens=9)
    _, stop, kwargs = model.seen[0]
    assert stop == ["x"]
    assert kwargs == {
        "seed": 3,
        "temperature": 0.5,
        "max_tokens": 9,
        "tools": ["add"],
        "tool_choice": "any",
        "parallel_tool_calls": False,
    }


def test_structured_output_asks_in_openais_words_as_langchain_does() -> None:
    class Joke(BaseModel):
        """A joke."""

        setup: str

    model = Model(answers=[AIMessage('{"setup": "s"}')])
    assert chat(model).with_structured_output(Joke, method="json_schema").invoke("hi") == Joke(setup="s")
    assert model.seen[0][2]["response_format"]["json_schema"]["name"] == "Joke"


def test_the_models_own_answer_goes_back_to_it_in_its_own_form() -> None:
    answer = AIMessage([THOUGHT, {"type": "text", "text": "three"}], additional_kwargs={"own": 1}, usage_metadata=USAGE)
    for cls in (Model, Streaming):
        model = cls(answers=[answer])
        guarded = chat(model)
        first = collect(guarded, "1+2?")
        guarded.invoke([HumanMessage("1+2?"), first, HumanMessage("sure?")])
        (_, again, _), _, _ = model.seen[1]
        assert [{k: v for k, v in part.items() if k != "index"} for part in again.content] == answer.content


def test_anothers_answer_comes_as_text_and_calls_only() -> None:
    model = Model()
    guarded = chat(scripted("first", says(Thinking("hm", signature="theirs"), "three")), model)
    first = guarded.invoke("1+2?")
    for version in (None, "v1"):
        guarded = guarded.model_copy(update={"output_version": version})
        guarded.invoke([HumanMessage("1+2?"), first, HumanMessage("sure?")], prefer="house:house-1")
        (_, again, _), _, _ = model.seen[-1]
        assert (again.content, again.additional_kwargs) == ("three", {})


def test_what_one_models_class_returned_is_not_given_to_another_class() -> None:
    first = Model(answers=[AIMessage([THOUGHT, {"type": "text", "text": "three"}], usage_metadata=USAGE)])
    second = Model(model="house-2")
    guarded = chat(first, second)
    guarded.invoke([HumanMessage("1+2?"), guarded.invoke("1+2?"), HumanMessage("sure?")], prefer="house:house-2")
    (_, again, _), _, _ = second.seen[0]
    assert (again.content, again.additional_kwargs) == ("three", {})


def test_an_edited_answer_is_not_undone() -> None:
    model = Model(answers=[AIMessage([THOUGHT, {"type": "text", "text": "secret"}], usage_metadata=USAGE)])
    guarded = chat(model)
    first = guarded.invoke("hi").model_copy(update={"content": "[removed]"})
    guarded.invoke([HumanMessage("hi"), first, HumanMessage("go on")])
    (_, again, _), _, _ = model.seen[1]
    assert again.content == "[removed]"


def test_a_request_from_the_core_alone_is_translated() -> None:
    model = Model()
    picture = Media("image", "image/png", "aGk=")
    history = [
        Message("system", "be brief"),
        Message("user", [Text("see"), picture]),
        says("ok").message,
        Message("tool", ToolResult("c1", "5", is_error=True)),
    ]
    Failover([as_target(model)]).complete(history, response_format=JsonFormat())
    messages, _, kwargs = model.seen[0]
    image = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    assert messages == [
        SystemMessage("be brief"),
        HumanMessage([{"type": "text", "text": "see"}, image]),
        AIMessage("ok"),
        ToolMessage("5", tool_call_id="c1", status="error"),
    ]
    assert kwargs == {"response_format": {"type": "json_object"}}


# ------------------------------------------------------------------ targets


def test_a_target_is_named_as_the_model_names_itself() -> None:
    made = as_target(Model(), rpm=5, price=Price.free())
    assert (made.name, made.provider, made.model, made.rpm) == ("house:house-1", "house", "house-1", 5)
    assert as_target(Model(), "mine").name == "mine"
    named = as_target(ChatOpenAI(model="gpt-6-luna", api_key=SecretStr("k")))
    assert named.name == "openai:gpt-6-luna"


def test_only_a_chat_model_can_be_one() -> None:
    with pytest.raises(ConfigurationError, match="takes a LangChain chat model, not str"):
        as_target("openai:gpt-6-luna")  # type: ignore[arg-type]  # the mistake under test


def test_models_and_targets_of_our_own_mix() -> None:
    model = chat(Model(), scripted("ours"), Target("local", base_url="http://127.0.0.1:1/v1", model="m"))
    assert [one.name for one in model.core.targets] == ["house:house-1", "ours", "local"]


def test_the_models_own_retries_are_switched_off_for_us_alone() -> None:
    model = ChatOpenAI(model="gpt-6-luna", api_key=SecretStr("k"), max_retries=4)
    quiet: Any = without_retries(model)
    assert quiet.max_retries == 0
    assert quiet.root_client.max_retries == quiet.root_async_client.max_retries == 0
    assert quiet.client._client.max_retries == quiet.async_client._client.max_retries == 0
    assert (model.max_retries, model.root_client.max_retries) == (4, 4)


# ----------------------------------------------------------------- failures


class Refused(Exception):
    """An SDK's exception, as they all look."""

    status_code = 429

    def __init__(self) -> None:
        super().__init__("slow down")
        import httpx

        request = httpx.Request("POST", "https://house.example/v1")
        self.response = httpx.Response(429, headers={"retry-after": "7"}, request=request)
        self.body = {"error": {"message": "slow down", "type": "rate_limit_error"}}


@every_door
@every_model
def test_its_exceptions_are_judged_by_the_same_table(door: Any, cls: Any) -> None:
    message = door(chat(cls(answers=[Refused()]), scripted("next")), "hi")
    first, second = message.response_metadata["failover"]["attempts"]
    assert (first["reason"], first["status"], second["reason"]) == ("rate_limited", 429, "ok")


class GraphInterrupt(Exception):
    """Stands for LangGraph's."""


GraphBubbleUp = type("GraphBubbleUp", (Exception,), {})


@every_door
@every_model
@pytest.mark.parametrize("error", [KeyboardInterrupt, type("GraphInterrupt", (GraphBubbleUp,), {})])
def test_control_flow_is_nobodys_failure(door: Any, cls: Any, error: Any) -> None:
    model = chat(cls(answers=[error()]), scripted("next"))
    with pytest.raises(error):
        door(model, "hi")
    assert model.core.status()[0].failures == 0


async def test_a_model_that_hangs_is_given_up_in_time() -> None:
    class Hanging(Streaming):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            await asyncio.Event().wait()
            raise AssertionError

        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            yield _chunk(AIMessageChunk(content=""))
            await asyncio.Event().wait()

    clocks = Timeouts(whole=0.01, first_content=0.01, between_content=0.01, total=0.05)
    guarded = chat(Hanging(), scripted("next"), timeouts=clocks)
    assert (await guarded.ainvoke("hi")).response_metadata["failover"]["attempts"][0]["reason"] == "timeout"
    whole = [chunk async for chunk in guarded.astream("hi")]
    assert whole[-1].response_metadata["failover"]["attempts"][0]["reason"] == "timeout"


async def test_a_stream_that_stops_halfway_is_given_up_between_contents() -> None:
    class Stopping(Streaming):
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            yield _chunk(AIMessageChunk(content="It is"))
            await asyncio.Event().wait()

    clocks = Timeouts(first_content=5, between_content=0.01)
    attempter = as_target(Stopping()).attempter
    assert isinstance(attempter, ModelAttempter)
    guarded = chat(Stopping(), timeouts=clocks)
    with pytest.raises(Exception, match="timeout") as caught:
        _ = [chunk async for chunk in guarded.astream("hi")]
    assert getattr(caught.value, "partial", None) == "It is"


class Cutting(Streaming):
    """Ends its streams without a word after so many pieces; None: says all of it."""

    ends: list[int | None]

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from list(super()._stream(*args, **kwargs))[: self.ends.pop(0)]


@pytest.mark.parametrize("door", [DOORS["stream"], DOORS["astream"]], ids=["stream", "astream"])
def test_a_stream_that_does_not_say_why_it_ended_was_cut_if_this_models_streams_do_say(door: Any) -> None:
    guarded = chat(Cutting(ends=[3, None, 3]))
    assert door(guarded, "hi").text == "hel", "it may be a model that never says"
    assert door(guarded, "hi").text == "hello"
    with pytest.raises(StreamInterrupted) as caught:
        door(guarded, "hi")
    assert (caught.value.partial, caught.value.kind) == ("hel", Kind.CUT)


def test_a_model_that_refuses_its_tools_fails_and_says_so() -> None:
    class Toolless(Model):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            raise NotImplementedError("no tools here")

    with pytest.raises(AllTargetsFailed, match="no tools here"):
        chat(Toolless(), max_retries=0).bind_tools([{"name": "f", "parameters": {}}]).invoke("hi")


@pytest.mark.parametrize("kind", [Model, Streaming])
async def test_a_connection_left_from_a_closed_event_loop_is_nobodys_failure(kind: type[Model]) -> None:
    left = [RuntimeError("Event loop is closed")] * 2
    guard = ChatFailover(targets=[kind(answers=[*left, AIMessage("hello", usage_metadata=USAGE)])], max_retries=0)
    assert "".join([chunk.text async for chunk in guard.astream("hi")]) == "hello"
    assert [target.failures for target in guard.core.status()] == [0]


def test_a_model_that_finds_every_event_loop_closed_has_failed() -> None:
    guard = ChatFailover(targets=[Model(answers=[RuntimeError("Event loop is closed")])], max_retries=0)
    with pytest.raises(AllTargetsFailed, match="Event loop is closed"):
        asyncio.run(guard.ainvoke("hi"))
