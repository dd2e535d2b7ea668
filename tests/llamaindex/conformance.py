"""What a LlamaIndex LLM owes its callers, as tests that take the LLM under test as a parameter.

LlamaIndex has no such suite.  This one asks an LLM only through LlamaIndex's public interface, over real HTTP, against
scripted providers (``failover.testing``) that answer what a test says and refuse what the real APIs refuse.  A subclass
supplies the fixture ``bench``: the LLM, and the providers it may ask.

    class TestMine(LlmConformance):
        @pytest.fixture
        def bench(self) -> Iterator[Bench]:
            provider = ScriptedProvider("openai")
            with serve(provider) as servers:
                yield Bench(OpenAI(api_base=servers["openai"].base_url, ...), [provider])

What a wire or a model cannot do is left out by name in ``cannot``: ``shown thinking``, ``images``, ``documents``.
Keys must also stand in the environment: an LLM that is sent to another process does not take its key along.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import gc
import inspect
import json
import pickle
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from failover.testing import (
    Cut,
    ErrorInBody,
    Question,
    Received,
    Reply,
    ScriptedProvider,
    Slow,
    Status,
    Tokens,
    ToolUse,
)
from failover.types import Media, Text, ToolResult
from tests.llamaindex.kit import Book

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF"
SAID = "Hello there, Grüße 👋🏽 — 你好.\n\n  Two lines, two spaces, a tab\t."
USAGE = Tokens(input=123, output=45)

Answering = Reply | str | Callable[[Question], Reply]


class Bench:
    """An LLM under test and the providers it may ask.  ``say`` scripts answers; the last one stays."""

    def __init__(self, llm: FunctionCallingLLM, providers: Sequence[ScriptedProvider]) -> None:
        self.llm: Any = llm
        self.providers = providers
        self._answers: list[Answering] = [SAID]
        for provider in providers:
            provider._respond = self._respond

    def say(self, *answers: Answering) -> None:
        self._answers = list(answers)

    def _respond(self, question: Question) -> Reply:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Reply(answer) if isinstance(answer, str) else answer if isinstance(answer, Reply) else answer(question)

    def trouble(self, fault: Any) -> None:
        """Every request to any provider meets this."""
        for provider in self.providers:
            provider.set(fault)

    @property
    def received(self) -> list[Received]:
        """All requests, as they came."""
        return sorted((each for provider in self.providers for each in provider.requests), key=lambda each: each.at)

    @property
    def asked(self) -> Question:
        """The question that was answered last."""
        question = next(each.question for each in reversed(self.received) if each.question is not None)
        assert question is not None
        return question

    def refusals(self) -> list[str]:
        """What providers found wrong with requests."""
        return [str(violation) for each in self.received for violation in each.violations]


# ------------------------------------------------------------------- modes


async def drained(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


async def _chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return [llm.chat(user(text), **options)]


async def _achat(llm: Any, text: str, **options: Any) -> list[Any]:
    return [await llm.achat(user(text), **options)]


async def _stream_chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return list(llm.stream_chat(user(text), **options))


async def _astream_chat(llm: Any, text: str, **options: Any) -> list[Any]:
    return await drained(await llm.astream_chat(user(text), **options))


async def _complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return [llm.complete(text, **options)]


async def _acomplete(llm: Any, text: str, **options: Any) -> list[Any]:
    return [await llm.acomplete(text, **options)]


async def _stream_complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return list(llm.stream_complete(text, **options))


async def _astream_complete(llm: Any, text: str, **options: Any) -> list[Any]:
    return await drained(await llm.astream_complete(text, **options))


Ask = Callable[..., Awaitable[list[Any]]]
MODES: dict[str, Ask] = {
    each.__name__[1:]: each
    for each in (
        _chat,
        _achat,
        _stream_chat,
        _astream_chat,
        _complete,
        _acomplete,
        _stream_complete,
        _astream_complete,
    )
}
STREAMED = {name: ask for name, ask in MODES.items() if "stream" in name}
each_mode = pytest.mark.parametrize("ask", MODES.values(), ids=MODES)
each_streamed_mode = pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED)


def text_of(response: ChatResponse | CompletionResponse) -> str:
    return response.text if isinstance(response, CompletionResponse) else response.message.content or ""


async def _tools_chat(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return [llm.chat_with_tools(tools, text, **options)]


async def _tools_achat(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return [await llm.achat_with_tools(tools, text, **options)]


async def _tools_stream(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return list(llm.stream_chat_with_tools(tools, text, **options))


async def _tools_astream(llm: Any, tools: Any, text: str, **options: Any) -> list[ChatResponse]:
    return await drained(await llm.astream_chat_with_tools(tools, text, **options))


TOOL_MODES: dict[str, Ask] = {
    "chat": _tools_chat,
    "achat": _tools_achat,
    "stream_chat": _tools_stream,
    "astream_chat": _tools_astream,
}
each_tool_mode = pytest.mark.parametrize("ask", TOOL_MODES.values(), ids=TOOL_MODES)


# ------------------------------------------------------------------- tools


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def ping() -> str:
    """Says pong."""
    return "pong"


ADD = FunctionTool.from_defaults(add)
DOTTED = FunctionTool.from_defaults(add, name="math.add")
PING = FunctionTool.from_defaults(ping)


def calls(*arguments: Any, tool: int = 0, text: str | None = None) -> Callable[[Question], Reply]:
    """An answer that calls the n-th tool of the question, once for each of the arguments."""

    def reply(question: Question) -> Reply:
        name = question.request.tools[tool].name
        return Reply(text, tuple(ToolUse(name, each) for each in arguments))

    return reply


def result(call_id: str, text: str) -> ChatMessage:
    return ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": call_id, "name": "add"})


class Leaf(BaseModel):
    """A leaf of a tree."""

    colour: str
    veins: int | None = None


class Tree(BaseModel):
    """A tree."""

    name: str = Field(description="in Latin")
    leaves: list[Leaf]


OAK = Tree(name="Quercus robur", leaves=[Leaf(colour="green"), Leaf(colour="brown", veins=7)])
WISH = PromptTemplate("Name a {kind} tree.")


def tree(question: Question) -> Reply:
    """The oak, in whichever way it was asked for."""
    request = question.request
    if request.tools:
        return Reply(None, (ToolUse(request.tools[0].name, OAK.model_dump()),))
    return Reply(OAK.model_dump_json())


class Waiting:
    """Waits, briefly, for what happens in another thread."""

    @staticmethod
    def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.005)
        return condition()


# ------------------------------------------------------------------- suite


class LlmConformance:
    """Subclass it and supply the fixture ``bench``."""

    cannot: frozenset[str] = frozenset()

    def needs(self, ability: str) -> None:
        if ability in self.cannot:
            pytest.skip(f"cannot: {ability}")

    # ---------------------------------------------------------------- answers

    @each_mode
    async def test_an_answer_is_what_was_said_to_the_letter(self, bench: Bench, ask: Ask) -> None:
        assert text_of((await ask(bench.llm, "hi"))[-1]) == SAID

    @each_mode
    async def test_a_question_arrives_to_the_letter(self, bench: Bench, ask: Ask) -> None:
        await ask(bench.llm, SAID)
        assert bench.asked.request.messages[-1].text == SAID

    @pytest.mark.parametrize("ask", list(MODES.values())[:4], ids=list(MODES)[:4])
    async def test_an_answer_is_an_assistants(self, bench: Bench, ask: Ask) -> None:
        responses = await ask(bench.llm, "hi")
        assert {response.message.role for response in responses} == {MessageRole.ASSISTANT}

    @each_mode
    async def test_an_answer_cut_at_its_limit_is_returned_as_it_is(self, bench: Bench, ask: Ask) -> None:
        bench.say(Reply("one two three", finish="length"))
        assert text_of((await ask(bench.llm, "hi"))[-1]) == "one two three"

    # ---------------------------------------------------------------- streams

    @each_streamed_mode
    async def test_a_stream_comes_in_pieces_whose_deltas_are_the_text(self, bench: Bench, ask: Ask) -> None:
        pieces = await ask(bench.llm, "hi")
        assert all(isinstance(piece.delta, str) for piece in pieces)
        assert "".join(piece.delta for piece in pieces) == SAID
        assert sum(bool(piece.delta) for piece in pieces) > 3

    @each_streamed_mode
    async def test_each_piece_holds_the_text_so_far(self, bench: Bench, ask: Ask) -> None:
        so_far = ""
        for piece in await ask(bench.llm, "hi"):
            so_far += piece.delta
            assert text_of(piece) == so_far

    async def test_pieces_of_a_stream_share_nothing(self, bench: Bench) -> None:
        pieces = await MODES["astream_chat"](bench.llm, "hi")
        for piece in pieces[:-1]:
            piece.message.blocks.append(TextBlock(text="scribble"))
            piece.message.additional_kwargs["scribble"] = 1
            piece.additional_kwargs["scribble"] = 1
        assert text_of(pieces[-1]) == SAID
        assert "scribble" not in pieces[-1].message.additional_kwargs | pieces[-1].additional_kwargs

    async def test_streams_have_the_types_that_llamaindex_expects(self, bench: Bench) -> None:
        assert inspect.isgenerator(bench.llm.stream_chat(user("hi")))
        assert inspect.isgenerator(bench.llm.stream_complete("hi"))
        assert inspect.isasyncgen(await bench.llm.astream_chat(user("hi")))
        assert inspect.isasyncgen(await bench.llm.astream_complete("hi"))

    async def test_two_streams_can_be_read_in_turns(self, bench: Bench) -> None:
        bench.say("a b c d", "1 2 3 4")
        first, second = await bench.llm.astream_chat(user("x")), await bench.llm.astream_chat(user("y"))
        texts = ["", ""]
        for _ in range(4):
            texts[0] += (await anext(first)).delta
            texts[1] += (await anext(second)).delta
        texts[0] += "".join([piece.delta async for piece in first])
        texts[1] += "".join([piece.delta async for piece in second])
        assert texts == ["a b c d", "1 2 3 4"]

    async def test_ending_a_stream_early_ends_the_request(self, bench: Bench) -> None:
        bench.trouble(Slow(between=0.05, answer=Reply("word " * 100)))
        bench.llm.callback_manager = CallbackManager([Book()])
        stream = bench.llm.stream_chat(user("hi"))
        next(stream)
        stream.close()
        assert Waiting.until(lambda: bench.received[-1].aborted)
        astream = await bench.llm.astream_chat(user("hi"))
        await anext(astream)
        await astream.aclose()
        assert Waiting.until(lambda: bench.received[-1].aborted)

    # ------------------------------------------------------------------ usage

    @each_mode
    async def test_tokens_are_counted_once_as_the_provider_counted_them(self, bench: Bench, ask: Ask) -> None:
        bench.say(Reply(SAID, usage=USAGE))
        counter = TokenCountingHandler(tokenizer=str.split)
        bench.llm.callback_manager = CallbackManager([counter])
        await ask(bench.llm, "hi")
        assert [(each.prompt_token_count, each.completion_token_count) for each in counter.llm_token_counts] == [
            (123, 45)
        ]

    # ----------------------------------------------------------------- events

    @each_mode
    async def test_a_call_is_one_event_with_its_answer(self, bench: Bench, ask: Ask, ear: list[str]) -> None:
        book = Book()
        bench.llm.callback_manager = CallbackManager([book])
        await ask(bench.llm, "hi")
        assert (len(book.starts), len(book.ends)) == (1, 1)
        payload = book.ends[0]
        answer = payload.get(EventPayload.RESPONSE) or payload.get(EventPayload.COMPLETION)
        assert text_of(answer) == SAID
        kind = "Completion" if EventPayload.COMPLETION in payload else "Chat"
        assert [name for name in ear if "InProgress" not in name] == [f"LLM{kind}StartEvent", f"LLM{kind}EndEvent"]

    @each_mode
    async def test_a_failed_call_is_one_event_with_its_exception(self, bench: Bench, ask: Ask) -> None:
        book = Book()
        bench.llm.callback_manager = CallbackManager([book])
        bench.trouble(Status(401, "Incorrect API key", "authentication_error"))
        with pytest.raises(Exception, match=r".") as caught:
            await ask(bench.llm, "hi")
        assert [each.get(EventPayload.EXCEPTION) for each in book.ends] == [caught.value]

    def test_what_handlers_are_told_of_the_llm_holds_no_key(self, bench: Bench) -> None:
        book = Book()
        bench.llm.callback_manager = CallbackManager([book])
        bench.llm.chat(user("hi"))
        assert bench.providers[0].key not in str(book.starts)

    # ----------------------------------------------------------------- errors

    @each_mode
    async def test_a_refused_key_is_raised(self, bench: Bench, ask: Ask) -> None:
        for provider in bench.providers:
            provider.revoke()
        with pytest.raises(Exception, match=r"(?i)key|auth"):
            await ask(bench.llm, "hi")

    @each_streamed_mode
    async def test_a_stream_that_breaks_off_is_raised_and_never_passed_off_as_whole(
        self, bench: Bench, ask: Ask
    ) -> None:
        bench.trouble(Cut(after=3, how="clean"))
        with pytest.raises(Exception, match=r"."):
            await ask(bench.llm, "hi")

    @pytest.mark.parametrize("ask", [MODES["achat"], MODES["acomplete"]], ids=["achat", "acomplete"])
    async def test_an_error_in_the_body_of_a_200_is_raised(self, bench: Bench, ask: Ask) -> None:
        bench.trouble(ErrorInBody("Provider returned error"))
        with pytest.raises(Exception, match=r"."):
            await ask(bench.llm, "hi")

    # ------------------------------------------------------------------ tools

    @each_tool_mode
    async def test_a_call_comes_with_its_arguments(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 2, "b": 3}, text="Let me see."))
        response = (await ask(bench.llm, [ADD, PING], "2+3?"))[-1]
        (call,) = bench.llm.get_tool_calls_from_response(response)
        assert (call.tool_name, call.tool_kwargs) == ("add", {"a": 2, "b": 3})
        assert call.tool_id
        assert response.message.content == "Let me see."

    @each_tool_mode
    async def test_a_call_stands_in_a_block_of_the_message(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 2, "b": 3}))
        message = (await ask(bench.llm, [ADD], "2+3?"))[-1].message
        (block,) = (block for block in message.blocks if isinstance(block, ToolCallBlock))
        kwargs = json.loads(block.tool_kwargs) if isinstance(block.tool_kwargs, str) else block.tool_kwargs
        assert (block.tool_name, kwargs) == ("add", {"a": 2, "b": 3})

    @each_tool_mode
    async def test_every_piece_of_a_stream_can_be_asked_for_calls(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 2, "b": 3}, text="Let me see."))
        for response in await ask(bench.llm, [ADD], "2+3?"):
            for call in bench.llm.get_tool_calls_from_response(response, error_on_no_tool_call=False):
                assert isinstance(call.tool_kwargs, dict)

    @each_tool_mode
    async def test_parallel_calls_come_in_order(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 3}))
        response = (await ask(bench.llm, [ADD], "sums?", allow_parallel_tool_calls=True))[-1]
        found = bench.llm.get_tool_calls_from_response(response)
        assert [call.tool_kwargs["a"] for call in found] == [1, 2, 3]
        assert len({call.tool_id for call in found}) == 3

    @each_tool_mode
    async def test_without_parallel_calls_there_is_one_though_the_model_makes_more(
        self, bench: Bench, ask: Ask
    ) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}))
        response = (await ask(bench.llm, [ADD], "sums?", allow_parallel_tool_calls=False))[-1]
        (call,) = bench.llm.get_tool_calls_from_response(response)
        assert call.tool_kwargs["a"] == 1

    @each_tool_mode
    async def test_a_call_without_arguments_is_an_empty_object(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls(""))
        (call,) = bench.llm.get_tool_calls_from_response((await ask(bench.llm, [PING], "ping"))[-1])
        assert (call.tool_name, call.tool_kwargs) == ("ping", {})

    @each_tool_mode
    async def test_arguments_keep_their_types_and_letters(self, bench: Bench, ask: Ask) -> None:
        given = {"a": {"deep": [1, 2.5, None, True, 'Grüße "q" \n 👋']}, "b": 10**15}
        bench.say(calls(given))
        (call,) = bench.llm.get_tool_calls_from_response((await ask(bench.llm, [ADD], "?"))[-1])
        assert call.tool_kwargs == given

    @each_tool_mode
    async def test_a_tool_with_a_dot_in_its_name_can_be_run_under_that_name(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 2, "b": 3}))
        (call,) = bench.llm.get_tool_calls_from_response((await ask(bench.llm, [DOTTED], "2+3?"))[-1])
        assert call.tool_name == "math.add"
        assert bench.refusals() == []

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, {"auto", None}),
            ({"tool_required": True}, {"required"}),
            ({"tool_choice": "add"}, {"add"}),
            ({"tool_choice": "none"}, {"none"}),
        ],
        ids=["by default", "required", "named", "none"],
    )
    async def test_a_tool_choice_reaches_the_model(self, bench: Bench, options: Any, expected: set[Any]) -> None:
        bench.llm.chat_with_tools([PING, ADD], "2+3?", **options)
        request = bench.asked.request
        only = [tool.name for tool in request.tools]
        said = "add" if request.tool_choice == "required" and only == ["add"] else request.tool_choice
        assert said in expected or (expected == {"none"} and not only)

    async def test_predict_and_call_runs_the_tool(self, bench: Bench) -> None:
        bench.say(calls({"a": 2, "b": 3}))
        assert bench.llm.predict_and_call([ADD], "2+3?").response == "5"
        assert (await bench.llm.apredict_and_call([ADD], "2+3?")).response == "5"

    def test_no_call_is_an_error_unless_it_is_allowed(self, bench: Bench) -> None:
        response = bench.llm.chat_with_tools([ADD], "hi")
        assert bench.llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        with pytest.raises(ValueError, match="tool call"):
            bench.llm.get_tool_calls_from_response(response)

    def test_the_callers_history_is_not_changed(self, bench: Bench) -> None:
        history = user("hi")
        bench.llm.chat_with_tools([ADD], user_msg="2+3?", chat_history=history)
        bench.llm.chat_with_tools([ADD], chat_history=history)
        assert history == user("hi")

    # ---------------------------------------------------------------- history

    @each_tool_mode
    async def test_a_loop_of_calls_and_results_goes_on(self, bench: Bench, ask: Ask) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}, text="Both."), "2 and 4.")
        first = (await ask(bench.llm, [ADD], "sums?", allow_parallel_tool_calls=True))[-1]
        made = bench.llm.get_tool_calls_from_response(first)
        results = [result(call.tool_id, str(add(**call.tool_kwargs))) for call in made]
        history = [*user("sums?"), first.message, *results]
        stored = [ChatMessage.model_validate_json(message.model_dump_json()) for message in history]
        for turns in (history, stored):
            assert bench.llm.chat_with_tools([ADD], chat_history=list(turns)).message.content == "2 and 4."
            blocks = [block for message in bench.asked.request.messages for block in message.content]
            told = [block for block in blocks if isinstance(block, ToolResult)]
            assert [_plain(block) for block in told] == ["2", "4"]
        assert bench.refusals() == []

    def test_results_may_come_out_of_order(self, bench: Bench) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}), "Done.")
        first = bench.llm.chat_with_tools([ADD], "sums?", allow_parallel_tool_calls=True)
        one, two = bench.llm.get_tool_calls_from_response(first)
        history = [*user("sums?"), first.message, result(two.tool_id, "4"), result(one.tool_id, "2")]
        assert bench.llm.chat_with_tools([ADD], chat_history=history).message.content == "Done."
        assert bench.refusals() == []

    @pytest.mark.parametrize("call_id", ["call_" + "x" * 70, "a.b:c/d", "1"], ids=["long", "odd", "short"])
    def test_a_history_with_another_models_call_ids_goes_on(self, bench: Bench, call_id: str) -> None:
        call = ToolCallBlock(tool_call_id=call_id, tool_name="add", tool_kwargs={"a": 1, "b": 1})
        history = [*user("1+1?"), ChatMessage(role="assistant", blocks=[call]), result(call_id, "2")]
        assert bench.llm.chat_with_tools([ADD], chat_history=history).message.content == SAID
        assert bench.refusals() == []

    @pytest.mark.parametrize(
        "history",
        [
            [("system", "Be brief."), ("user", "hi")],
            [("system", "Be brief."), ("system", "Be kind."), ("user", "hi")],
            [("user", "hi"), ("user", "are you there?")],
            [("assistant", "Hello."), ("user", "hi")],
            [("user", "hi"), ("assistant", ""), ("user", "are you there?")],
            [("user", "hi"), ("assistant", "Yes? "), ("system", "Be brief."), ("user", "go on")],
        ],
        ids=["system", "two systems", "two users", "assistant first", "empty assistant", "system in the middle"],
    )
    def test_histories_of_any_shape_are_accepted(self, bench: Bench, history: list[tuple[str, str]]) -> None:
        response = bench.llm.chat([ChatMessage(role=role, content=text) for role, text in history])
        assert response.message.content == SAID
        assert bench.refusals() == []

    def test_a_history_with_another_models_thoughts_goes_on(self, bench: Bench) -> None:
        thought = ThinkingBlock(content="hm", additional_information={"signature": "bm90IHlvdXJz"})
        turn = ChatMessage(role="assistant", blocks=[thought, TextBlock(text="42")])
        assert bench.llm.chat([*user("?"), turn, *user("why?")]).message.content == SAID
        assert bench.refusals() == []

    # --------------------------------------------------------------- thinking

    @pytest.mark.parametrize("ask", list(MODES.values())[:4], ids=list(MODES)[:4])
    async def test_thoughts_are_kept_apart_from_the_text(self, bench: Bench, ask: Ask) -> None:
        self.needs("shown thinking")
        bench.say(Reply("42", reasoning="Let me think."))
        responses = await ask(bench.llm, "?")
        message = responses[-1].message
        assert message.content == "42"
        (thought,) = (block for block in message.blocks if isinstance(block, ThinkingBlock))
        assert thought.content == "Let me think."
        if len(responses) > 1:
            told = [_thinking_delta(each) for each in responses]
            assert "".join(told) == "Let me think."

    @pytest.mark.parametrize("ask", list(MODES.values())[:4], ids=list(MODES)[:4])
    async def test_thoughts_go_back_to_the_model_that_had_them(self, bench: Bench, ask: Ask) -> None:
        bench.say(Reply("42", reasoning="Let me think."), "Because.")
        turn = (await ask(bench.llm, "?"))[-1].message
        stored = ChatMessage.model_validate_json(turn.model_dump_json())
        assert bench.llm.chat([*user("?"), stored, *user("why?")]).message.content == "Because."
        assert bench.refusals() == []

    # ------------------------------------------------------------------ media

    @pytest.mark.parametrize("how", ["bytes", "url", "path"])
    def test_an_image_arrives(self, bench: Bench, how: str, tmp_path: Any) -> None:
        self.needs("images")
        path = tmp_path / "dot.png"
        path.write_bytes(PNG)
        shown = {"bytes": {"image": PNG}, "url": {"url": "https://example.com/dot.png"}, "path": {"path": path}}[how]
        block = ImageBlock.model_validate(shown)
        assert bench.llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="?"), block])]).message.content == SAID
        assert _kinds(bench) == ["image"]
        assert _holds(bench, "https://example.com/dot.png" if how == "url" else PNG)

    def test_a_document_arrives(self, bench: Bench) -> None:
        self.needs("documents")
        block = DocumentBlock(data=PDF, document_mimetype="application/pdf", title="report.pdf")
        bench.llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="?"), block])])
        assert _kinds(bench) == ["document"]
        assert _holds(bench, PDF)

    def test_an_image_in_a_tool_result_is_no_reason_to_fail(self, bench: Bench) -> None:
        self.needs("images")
        call = ToolCallBlock(tool_call_id="call_1", tool_name="ping", tool_kwargs={})
        shown = ChatMessage(
            role="tool",
            blocks=[TextBlock(text="see"), ImageBlock(image=PNG)],
            additional_kwargs={"tool_call_id": "call_1"},
        )
        history = [*user("?"), ChatMessage(role="assistant", blocks=[call]), shown]
        assert bench.llm.chat_with_tools([PING], chat_history=history).message.content == SAID
        assert _holds(bench, PNG)
        assert bench.refusals() == []

    def test_a_cache_point_is_no_reason_to_fail(self, bench: Bench) -> None:
        point = CachePoint(cache_control=CacheControl(type="ephemeral"))
        turn = ChatMessage(role="user", blocks=[TextBlock(text="long"), point, TextBlock(text="short")])
        assert bench.llm.chat([turn]).message.content == SAID
        assert bench.refusals() == []

    # ------------------------------------------------------------- structured

    async def test_an_object_comes_back_whole_in_every_way(self, bench: Bench) -> None:
        bench.say(tree)
        assert bench.llm.structured_predict(Tree, WISH, kind="large") == OAK
        assert await bench.llm.astructured_predict(Tree, WISH, kind="large") == OAK
        assert list(bench.llm.stream_structured_predict(Tree, WISH, kind="large"))[-1] == OAK
        assert (await drained(await bench.llm.astream_structured_predict(Tree, WISH, kind="large")))[-1] == OAK
        assert bench.refusals() == []

    @pytest.mark.parametrize("way", ["predict", "apredict", "stream", "astream"])
    async def test_a_system_prompt_is_kept_when_an_object_is_asked_for(self, bench: Bench, way: str) -> None:
        bench.say(tree)
        llm = bench.llm
        llm.system_prompt = "Be brief."
        match way:
            case "predict":
                llm.structured_predict(Tree, WISH, kind="large")
            case "apredict":
                await llm.astructured_predict(Tree, WISH, kind="large")
            case "stream":
                list(llm.stream_structured_predict(Tree, WISH, kind="large"))
            case _:
                await drained(await llm.astream_structured_predict(Tree, WISH, kind="large"))
        assert [each.text for each in bench.asked.request.messages if each.role == "system"] == ["Be brief."]

    @pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # StructuredLLM.stream_chat calls it
    async def test_a_structured_llm_answers_with_objects(self, bench: Bench) -> None:
        bench.say(tree)
        structured = bench.llm.as_structured_llm(Tree)
        assert structured.chat(user("a tree")).raw == OAK
        assert (await structured.achat(user("a tree"))).raw == OAK
        assert list(structured.stream_chat(user("a tree")))[-1].raw == OAK

    def test_something_else_than_the_object_is_an_error(self, bench: Bench) -> None:
        bench.say("I would rather not.")
        with pytest.raises(Exception, match=r"."):
            bench.llm.structured_predict(Tree, WISH, kind="large")

    # ---------------------------------------------------------------- prompts

    async def test_predict_takes_template_and_system_prompt_in_all_four_ways(self, bench: Bench) -> None:
        bench.llm.system_prompt = "Be brief."
        said = [bench.llm.predict(WISH, kind="tall"), await bench.llm.apredict(WISH, kind="tall")]
        said.append("".join(bench.llm.stream(WISH, kind="tall")))
        said.append("".join([token async for token in await bench.llm.astream(WISH, kind="tall")]))
        assert said == [SAID] * 4
        asked = [each.question.request for each in bench.received if each.question]
        assert {(each.messages[0].text, each.messages[-1].text) for each in asked} == {
            ("Be brief.", "Name a tall tree.")
        }

    def test_options_of_a_call_reach_the_model(self, bench: Bench) -> None:
        bench.llm.chat(user("hi"), max_tokens=77, temperature=0.3)
        assert bench.asked.request.max_tokens == 77
        assert bench.asked.request.temperature in (0.3, None)

    # --------------------------------------------------------------- identity

    def test_metadata_says_what_it_is(self, bench: Bench) -> None:
        facts = bench.llm.metadata
        assert facts.is_chat_model
        assert facts.is_function_calling_model
        assert facts.context_window > 8000
        assert facts.model_name

    def test_it_can_be_written_down_without_its_key(self, bench: Bench) -> None:
        key = bench.providers[0].key
        data = bench.llm.to_dict()
        assert data["class_name"] == bench.llm.class_name()
        assert key not in json.dumps(data)
        assert key not in repr(bench.llm) + str(bench.llm)

    def test_copies_work(self, bench: Bench) -> None:
        for each in (copy.copy(bench.llm), copy.deepcopy(bench.llm), bench.llm.model_copy(update={"temperature": 0.5})):
            assert each.chat(user("hi")).message.content == SAID

    def test_it_can_be_sent_to_another_process(self, bench: Bench) -> None:
        bench.llm.chat(user("hi"))
        sent = pickle.dumps(bench.llm)
        there = pickle.loads(sent)
        assert there.chat(user("hi")).message.content == SAID
        del there
        gc.collect()
        assert bench.providers[0].key.encode() not in sent

    # -------------------------------------------------------------- lifecycle

    def test_it_survives_one_event_loop_after_the_other(self, bench: Bench) -> None:
        for _ in range(3):
            assert asyncio.run(bench.llm.achat(user("hi"))).message.content == SAID
        assert bench.llm.chat(user("hi")).message.content == SAID

    async def test_many_calls_at_once_do_not_mix(self, bench: Bench) -> None:
        bench.say(lambda question: Reply(f"You said {question.request.messages[-1].text}"))
        names = [f"n{number}" for number in range(24)]
        whole = await asyncio.gather(*(bench.llm.achat(user(name)) for name in names))
        assert [each.message.content for each in whole] == [f"You said {name}" for name in names]
        streams = await asyncio.gather(*(MODES["astream_chat"](bench.llm, name) for name in names))
        assert [text_of(each[-1]) for each in streams] == [f"You said {name}" for name in names]

    def test_many_threads_at_once_do_not_mix(self, bench: Bench) -> None:
        bench.say(lambda question: Reply(f"You said {question.request.messages[-1].text}"))
        found: dict[str, str] = {}

        def ask(name: str) -> None:
            found[name] = bench.llm.chat(user(name)).message.content

        threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {f"n{number}": f"You said n{number}" for number in range(12)}

    async def test_a_cancelled_call_ends_the_request(self, bench: Bench) -> None:
        bench.trouble(Slow(head=5.0))
        task = asyncio.create_task(bench.llm.achat(user("hi")))
        assert await asyncio.to_thread(Waiting.until, lambda: bool(bench.received))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        assert await asyncio.to_thread(Waiting.until, lambda: bench.received[-1].aborted)


def _plain(block: ToolResult) -> str:
    if isinstance(block.content, str):
        return block.content
    return "".join(part.text for part in block.content if isinstance(part, Text))


def _kinds(bench: Bench) -> list[str]:
    """The media of the question."""
    blocks = (block for message in bench.asked.request.messages for block in message.content)
    return [block.kind for block in blocks if isinstance(block, Media)]


def _holds(bench: Bench, content: bytes | str) -> bool:
    """Whether the request as it was sent holds this content."""
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return text in json.dumps(bench.asked.body)


def _thinking_delta(response: ChatResponse) -> str:
    for facts in (response.additional_kwargs, response.message.additional_kwargs):
        if facts.get("thinking_delta"):
            return str(facts["thinking_delta"])
    return ""
