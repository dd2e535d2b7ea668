"""LlamaIndex LLMs as targets: what they are asked, and what is made of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    LLMMetadata,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import PrivateAttr

from failover import (
    Answer,
    Chunk,
    Failure,
    JsonFormat,
    Kind,
    Message,
    Request,
    Text,
    Thinking,
    Timeouts,
    Tool,
    ToolCall,
    Usage,
)
from failover.attempter import Item, Job
from llamaindex_failover import as_target

ADD = Tool("math.add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
SUB = Tool("sub", "", {"type": "object", "properties": {}})


def said(text: str = "", *blocks: Any, delta: str | None = None, **facts: Any) -> ChatResponse:
    content = [*([TextBlock(text=text)] if text else []), *blocks]
    return ChatResponse(message=ChatMessage(role="assistant", blocks=content), delta=delta, **facts)


class Scripted(FunctionCallingLLM):
    """Answers what it is told to, and writes down what it was asked."""

    model: str = "gpt-6-luna"
    _script: list[Any] = PrivateAttr(default_factory=list)
    _asked: list[tuple[list[ChatMessage], dict[str, Any]]] = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "openai_llm"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            is_chat_model=True, is_function_calling_model=True, model_name=self.model, context_window=1000
        )

    def _prepare_chat_with_tools(
        self, tools: Any, chat_history: Any = None, tool_required: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        chat_history.append(ChatMessage(role="user", content="added by a careless integration"))
        sent = [tool.metadata.to_openai_tool() for tool in tools]
        return {"messages": chat_history, "tools": sent, "tool_required": tool_required, **kwargs}

    def _next(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> Any:
        for message in messages:
            message.additional_kwargs["cache_control"] = "scribbled by a careless integration"
        self._asked.append((list(messages), kwargs))
        return self._script.pop(0)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        play = self._next(messages, kwargs)
        if isinstance(play, BaseException):
            raise play
        return play  # type: ignore[no-any-return]

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        play = self._next(messages, kwargs)
        if isinstance(play, float):
            await asyncio.sleep(play)
        if isinstance(play, BaseException):
            raise play
        return play  # type: ignore[no-any-return]

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        plays = self._next(messages, kwargs)

        def pieces() -> ChatResponseGen:
            for play in plays:
                if isinstance(play, BaseException):
                    raise play
                yield play

        return pieces()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        plays = self._next(messages, kwargs)

        async def pieces() -> ChatResponseAsyncGen:
            for play in plays:
                if isinstance(play, float):
                    await asyncio.sleep(play)
                elif isinstance(play, BaseException):
                    raise play
                else:
                    yield play

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    stream_complete = acomplete = astream_complete = complete  # type: ignore[assignment]


class WithChoice(Scripted):
    """Has a word for tool choices."""

    def _prepare_chat_with_tools(
        self,
        tools: Any,
        chat_history: Any = None,
        tool_required: bool = False,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        return super()._prepare_chat_with_tools(tools, chat_history, tool_required, tool_choice=tool_choice, **kwargs)


class Bench:
    """One scripted LLM behind its target."""

    def __init__(self, *script: Any, llm: Scripted | None = None) -> None:
        self.llm = llm or Scripted()
        self.target = as_target(self.llm)
        self.attempter = self.target.attempter
        self.inner = self.attempter._quiet.llm
        self.inner._script = list(script)

    def job(self, request: Request | None = None, timeouts: Timeouts | None = None) -> Job:
        return Job(request or Request((Message("user", "hi"),)), timeouts or Timeouts(), 60.0)

    def answer(self, request: Request | None = None) -> Answer:
        outcome = self.attempter.attempt(self.job(request))
        assert isinstance(outcome, Answer), outcome
        return outcome

    async def aanswer(self, request: Request | None = None) -> Any:
        return await self.attempter.aattempt(self.job(request))

    def items(self, request: Request | None = None) -> list[Item]:
        return list(self.attempter.stream(self.job(request)))

    async def aitems(self, timeouts: Timeouts | None = None) -> list[Item]:
        return [item async for item in self.attempter.astream(self.job(timeouts=timeouts))]

    @property
    def asked(self) -> tuple[list[ChatMessage], dict[str, Any]]:
        return self.inner._asked[-1]  # type: ignore[no-any-return]


# -------------------------------------------------------------- the target


def test_a_target_is_named_after_what_the_llm_says_of_itself() -> None:
    target = as_target(Scripted())
    assert (target.name, target.provider, target.model) == ("openai:gpt-6-luna", "openai", "gpt-6-luna")
    assert (target.tools, target.structured_output, target.context_window) == (True, False, 1000)


def test_fields_of_a_target_win_over_what_the_llm_says() -> None:
    target = as_target(Scripted(), "mine", rpm=5, structured_output=True, context_window=7)
    assert (target.name, target.rpm, target.structured_output, target.context_window) == ("mine", 5, True, 7)


def test_a_window_that_is_only_llamaindex_default_is_unknown() -> None:
    assert as_target(MockLLM()).context_window is None
    assert as_target(MockLLM()).tools is False


# ---------------------------------------------------------------- questions


def test_the_callers_own_messages_are_handed_on_in_copies() -> None:
    mine = ChatMessage(role="user", content="hi", additional_kwargs={"custom": 1})
    bench = Bench(said("ok"))
    bench.answer(Request((Message("user", "hi"),), origin=(mine,)))
    (asked,) = bench.asked[0]
    assert (asked.content, asked.additional_kwargs["custom"]) == ("hi", 1)
    assert mine.additional_kwargs == {"custom": 1}


def test_what_failover_added_comes_after_the_callers_messages() -> None:
    mine = ChatMessage(role="user", content="hi")
    bench = Bench(said("ok"))
    added = (Message("user", "hi"), Message("assistant", "Once upon"), Message("user", "Continue."))
    bench.answer(Request(added, origin=(mine,)))
    assert [message.content for message in bench.asked[0]] == ["hi", "Once upon", "Continue."]


def test_another_frameworks_messages_are_translated() -> None:
    bench = Bench(said("ok"))
    bench.answer(Request((Message("system", "Be brief."), Message("user", "hi")), origin=("not", "ours")))
    assert [(message.role.value, message.content) for message in bench.asked[0]] == [
        ("system", "Be brief."),
        ("user", "hi"),
    ]


@pytest.mark.parametrize(("author", "kept"), [("openai:gpt-6-luna", 1), ("anthropic:m", 0), (None, 0)])
def test_only_its_own_thoughts_go_back_to_it(author: str | None, kept: int) -> None:
    facts = {"signature": "s", **({"author": author} if author else {})}
    thought = ThinkingBlock(content="hm", additional_information=facts)
    mine = ChatMessage(role="assistant", blocks=[thought, TextBlock(text="42")])
    bench = Bench(said("ok"))
    bench.answer(Request((Message("assistant", (Thinking("hm", "s"), Text("42")), author),), origin=(mine,)))
    assert [type(block) for block in bench.asked[0][0].blocks] == [ThinkingBlock] * kept + [TextBlock]


def test_thoughts_of_others_are_left_out_of_translations_too() -> None:
    bench = Bench(said("ok"))
    turn = Message("assistant", (Thinking("hm", "s"), Text("42")), "anthropic:m")
    bench.answer(Request((turn, Message("assistant", (Thinking("hm", "s"),)), Message("user", "go on"))))
    assert [message.content for message in bench.asked[0]] == ["42", "go on"]


def test_options_are_handed_on_only_where_they_were_given() -> None:
    bench = Bench(said("ok"), said("ok"))
    bench.answer()
    assert bench.asked[1] == {}
    bench.answer(Request((Message("user", "hi"),), max_tokens=5, temperature=0.0, stop=("END",), seed=1))
    assert bench.asked[1] == {"max_tokens": 5, "temperature": 0.0, "stop": ["END"], "seed": 1}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JsonFormat(), {"type": "json_object"}),
        (
            JsonFormat({"type": "object"}, "f", True),
            {"type": "json_schema", "json_schema": {"name": "f", "schema": {"type": "object"}, "strict": True}},
        ),
    ],
)
def test_a_json_format_is_asked_for_in_openais_words(wanted: JsonFormat, expected: Any) -> None:
    bench = Bench(said("{}"))
    bench.answer(Request((Message("user", "hi"),), response_format=wanted))
    assert bench.asked[1]["response_format"] == expected


def test_tools_go_through_the_llms_own_preparation_and_get_their_names_back() -> None:
    call = ToolCallBlock(tool_call_id="c", tool_name="math_add", tool_kwargs={"a": 1})
    bench = Bench(said("", call))
    answer = bench.answer(Request((Message("user", "hi"),), tools=(ADD,)))
    assert [message.content for message in bench.asked[0]] == ["hi"]
    (sent,) = bench.asked[1]["tools"]
    assert sent["function"]["name"] == "math_add"
    assert sent["function"]["parameters"] == ADD.parameters
    assert answer.message.tool_calls == (ToolCall("c", "math.add", '{"a": 1}'),)
    assert answer.finish_reason == "tool_calls"


def test_calls_in_the_history_are_named_as_the_wires_name_them() -> None:
    mine = ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="c", tool_name="math.add", tool_kwargs={})])
    bench = Bench(said("ok"))
    bench.answer(Request((Message("assistant", ToolCall("c", "math.add", "{}")),), origin=(mine,)))
    (block,) = bench.asked[0][0].blocks
    assert isinstance(block, ToolCallBlock)
    assert block.tool_name == "math_add"
    assert isinstance(mine.blocks[0], ToolCallBlock)
    assert mine.blocks[0].tool_name == "math.add"


@pytest.mark.parametrize(
    ("choice", "tools", "required"),
    [
        (None, ["math_add", "sub"], False),
        ("auto", ["math_add", "sub"], False),
        ("required", ["math_add", "sub"], True),
        ("sub", ["sub"], True),
    ],
)
def test_a_choice_that_an_llm_has_no_word_for_is_made_by_what_it_gets(
    choice: str | None, tools: list[str], required: bool
) -> None:
    bench = Bench(said("ok"))
    bench.answer(Request((Message("user", "hi"),), tools=(ADD, SUB), tool_choice=choice))
    options = bench.asked[1]
    assert [tool["function"]["name"] for tool in options["tools"]] == tools
    assert options["tool_required"] is required
    assert "tool_choice" not in options


def test_no_tools_are_offered_where_none_may_be_called() -> None:
    bench = Bench(said("ok"))
    bench.answer(Request((Message("user", "hi"),), tools=(ADD, SUB), tool_choice="none"))
    assert bench.asked[1] == {}


def test_a_choice_that_an_llm_has_a_word_for_is_said() -> None:
    bench = Bench(said("ok"), llm=WithChoice())
    request = Request((Message("user", "hi"),), tools=(ADD, SUB), tool_choice="math.add", parallel_tool_calls=False)
    bench.answer(request)
    options = bench.asked[1]
    assert (options["tool_choice"], options["allow_parallel_tool_calls"]) == ("math_add", False)
    assert len(options["tools"]) == 2


# ------------------------------------------------------------------ answers


class SdkUsage:
    prompt_tokens = 3
    completion_tokens = 4


class SdkChoice:
    finish_reason = "length"


class SdkResponse:
    usage = SdkUsage
    model = "gpt-6-luna-2026"
    id = "r1"
    choices = (SdkChoice,)


@pytest.mark.parametrize(
    ("facts", "usage"),
    [
        ({"raw": SdkResponse}, Usage(3, 4)),
        ({"raw": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}}, Usage(3, 4)),
        ({"additional_kwargs": {"prompt_tokens": 3, "completion_tokens": 4}}, Usage(3, 4)),
        ({"raw": {"usage_metadata": {"prompt_token_count": 3, "candidates_token_count": 4}}}, Usage(3, 4)),
        (
            {"raw": {"usage": {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 10}}},
            Usage(13, 4, cache_read_tokens=10),
        ),
        ({"raw": {"usage": None}}, None),
        ({}, None),
    ],
)
def test_usage_is_found_wherever_integrations_keep_it(facts: Any, usage: Usage | None) -> None:
    assert Bench(said("ok", **facts)).answer().usage == usage


def test_the_model_its_id_and_its_reason_to_stop_are_read() -> None:
    answer = Bench(said("ok", raw=SdkResponse)).answer()
    assert (answer.model, answer.id, answer.finish_reason) == ("gpt-6-luna-2026", "r1", "length")


def test_nothing_is_a_failure_and_not_an_answer() -> None:
    outcome = Bench(said("")).attempter.attempt(Bench().job())
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.EMPTY


def test_a_call_without_an_id_gets_one() -> None:
    calls = [ToolCallBlock(tool_name="sub", tool_kwargs={}) for _ in range(2)]
    ids = [call.id for call in Bench(said("", *calls)).answer().message.tool_calls]
    assert all(ids)
    assert len(set(ids)) == 2


async def test_an_exception_is_a_failure() -> None:
    assert isinstance(Bench(ConnectionError("gone")).attempter.attempt(Bench().job()), Failure)
    assert isinstance(await Bench(ConnectionError("gone")).aanswer(), Failure)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_is_nobodys_failure_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Bench(error).attempter.attempt(Bench().job())
    with pytest.raises(type(error)):
        await Bench(error).aanswer()


async def test_an_async_answer_has_its_clock() -> None:
    bench = Bench(30.0)
    outcome = await bench.attempter.aattempt(bench.job(timeouts=Timeouts(whole=0.01)))
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.TIMEOUT


# ------------------------------------------------------------------ streams


def pieces(*deltas: str) -> Iterator[ChatResponse]:
    text = ""
    for delta in deltas:
        text += delta
        yield said(text, delta=delta)


def test_a_stream_is_its_deltas_and_then_the_answer() -> None:
    *chunks, outcome = Bench(list(pieces("Hel", "lo"))).items()
    assert [chunk.text for chunk in chunks if isinstance(chunk, Chunk)] == ["Hel", "lo"]
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "Hello"


def test_snapshots_without_deltas_are_compared() -> None:
    *chunks, outcome = Bench([said("Hel"), said("Hello")]).items()
    assert [chunk.text for chunk in chunks if isinstance(chunk, Chunk)] == ["Hel", "lo"]
    assert isinstance(outcome, Answer)


def test_the_text_is_what_the_caller_has_seen_whatever_the_last_snapshot_says() -> None:
    (*_, outcome) = Bench([said("a", delta="a"), said("", delta="b")]).items()
    assert isinstance(outcome, Answer)
    assert outcome.message.text == "ab"


def test_thoughts_come_as_thoughts_and_the_signature_at_the_end() -> None:
    thought = ThinkingBlock(content="hm", additional_information={"signature": "s"})
    script = [said(delta="", additional_kwargs={"thinking_delta": "hm"}), said("42", thought, delta="42")]
    first, second, third, outcome = Bench(script).items()
    assert isinstance(first, Chunk)
    assert isinstance(second, Chunk)
    assert isinstance(third, Chunk)
    assert isinstance(outcome, Answer)
    assert (first.reasoning, second.text, third.blocks) == ("hm", "42", (Thinking("hm", "s"),))
    assert outcome.message.reasoning == "hm"


def test_calls_are_handed_on_once_and_whole() -> None:
    half = ToolCallBlock(tool_call_id="c", tool_name="sub", tool_kwargs='{"a"')
    whole = ToolCallBlock(tool_call_id="c", tool_name="sub", tool_kwargs={"a": 1})
    *chunks, outcome = Bench([said("x", delta="x"), said("x", half, delta=""), said("x", whole, delta="")]).items()
    calls = [call for chunk in chunks if isinstance(chunk, Chunk) for call in chunk.tool_calls]
    assert calls == [ToolCall("c", "sub", '{"a": 1}')]
    assert isinstance(outcome, Answer)
    assert outcome.message.tool_calls == tuple(calls)


def test_usage_is_kept_from_whichever_piece_had_it() -> None:
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    (*_, outcome) = Bench([said("a", delta="a", raw=usage), said("a", delta="", raw={})]).items()
    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(1, 2)


@pytest.mark.parametrize(("reason", "kind"), [(None, Failure), ("stop", Answer)])
def test_a_stream_of_choices_without_a_reason_to_stop_was_cut(reason: str | None, kind: type) -> None:
    script = [
        said("a", delta="a", raw={"choices": [{}]}),
        said("a", delta="", raw={"choices": [{"finish_reason": reason}]}),
    ]
    (*_, outcome) = Bench(script).items()
    assert isinstance(outcome, kind)
    if isinstance(outcome, Failure):
        assert outcome.kind is Kind.CUT
        assert outcome.partial is not None
        assert outcome.partial.message.text == "a"


def test_a_stream_that_breaks_says_how_far_it_came() -> None:
    *chunks, outcome = Bench([*pieces("Hel"), ConnectionError("gone")]).items()
    assert len(chunks) == 1
    assert isinstance(outcome, Failure)
    assert outcome.partial is not None
    assert outcome.partial.message.text == "Hel"


@pytest.mark.parametrize("script", [[], [said(delta="")]])
def test_a_stream_without_content_is_a_failure(script: list[Any]) -> None:
    (*_, outcome) = Bench(script).items()
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.EMPTY


async def test_an_async_stream_is_the_same() -> None:
    *chunks, outcome = await Bench(list(pieces("Hel", "lo"))).aitems()
    assert [chunk.text for chunk in chunks if isinstance(chunk, Chunk)] == ["Hel", "lo"]
    assert isinstance(outcome, Answer)
    (*_, broken) = await Bench([*pieces("Hel"), ConnectionError("gone")]).aitems()
    assert isinstance(broken, Failure)
    assert broken.partial is not None


@pytest.mark.parametrize(
    ("script", "clocks"),
    [
        ([30.0], Timeouts(first_content=0.01)),
        ([*pieces("a"), 30.0], Timeouts(between_content=0.01)),
        ([*pieces("a"), 30.0], Timeouts(total=0.02)),
    ],
    ids=["first content", "between contents", "total"],
)
async def test_an_async_stream_has_its_clocks(script: list[Any], clocks: Timeouts) -> None:
    (*_, outcome) = await Bench(script).aitems(clocks)
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.TIMEOUT


async def test_closing_a_stream_early_closes_the_llms_own() -> None:
    closed: list[str] = []

    class Closing(Scripted):
        def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
            try:
                yield from pieces("a", "b")
            finally:
                closed.append("sync")

        async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
            async def answers() -> ChatResponseAsyncGen:
                try:
                    for piece in pieces("a", "b"):
                        yield piece
                finally:
                    closed.append("async")

            return answers()

    bench = Bench(llm=Closing())
    stream = bench.attempter.stream(bench.job())
    next(stream)
    stream.close()
    astream: AsyncIterator[Item] = bench.attempter.astream(bench.job())
    await anext(astream)
    await astream.aclose()  # type: ignore[attr-defined]
    assert closed == ["sync", "async"]


def test_an_answer_that_cannot_be_understood_is_a_failure_whole_and_streamed() -> None:
    odd = ChatMessage(role="assistant", content="x", additional_kwargs={"tool_calls": [{"id": None, "function": {}}]})
    response = ChatResponse(message=odd, delta="x")
    bench = Bench(response, [response])
    whole, streamed = bench.attempter.attempt(bench.job()), bench.items()[-1]
    for outcome in (whole, streamed):
        assert isinstance(outcome, Failure)
        assert (outcome.kind, "unknown shape" in outcome.message) == (Kind.MALFORMED, True)
    assert isinstance(streamed, Failure)
    assert streamed.partial is not None
    assert streamed.partial.message.text == "x"


async def test_a_connection_left_from_a_closed_event_loop_is_nobodys_failure() -> None:
    left = RuntimeError("Event loop is closed")
    assert (await Bench(left, left, said("hello")).aanswer()).message.text == "hello"
    *_, last = await Bench([left], [said("hello", delta="hello")]).aitems()
    assert isinstance(last, Answer)
    *_, last = await Bench([said("hel", delta="hel"), left]).aitems()
    assert isinstance(last, Failure)
