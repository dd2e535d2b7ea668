"""Answers, streams, events and errors."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from llama_index.core.base.llms.types import MessageRole, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.callbacks.schema import EventPayload

from failover.testing import Cut, ErrorInBody, Reply, Slow, Status
from llamaindex_failover.testing.bench import (
    MODES,
    SAID,
    USAGE,
    Ask,
    Bench,
    Book,
    Theme,
    Waiting,
    each_mode,
    each_streamed_mode,
    text_of,
    user,
)


class Answers(Theme):
    """What was said comes back to the letter, in each of the eight ways to ask."""

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


class Streams(Theme):
    """Pieces are snapshots with deltas; who stops reading ends the request."""

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


class Events(Theme):
    """One call is one event, with its tokens counted once."""

    @each_mode
    async def test_tokens_are_counted_once_as_the_provider_counted_them(self, bench: Bench, ask: Ask) -> None:
        bench.say(Reply(SAID, usage=USAGE))
        counter = TokenCountingHandler(tokenizer=str.split)
        bench.llm.callback_manager = CallbackManager([counter])
        await ask(bench.llm, "hi")
        assert [(each.prompt_token_count, each.completion_token_count) for each in counter.llm_token_counts] == [
            (123, 45)
        ]

    @each_mode
    async def test_a_call_is_one_event_with_its_answer(self, bench: Bench, ask: Ask, ear: list[str]) -> None:
        book = Book()
        bench.llm.callback_manager = CallbackManager([book])
        await ask(bench.llm, "hi")
        assert (len(book.starts), len(book.ends)) == (1, 1)
        payload = book.ends[0]
        answer: Any = payload.get(EventPayload.RESPONSE) or payload.get(EventPayload.COMPLETION)
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


class Errors(Theme):
    """What went wrong is raised, never passed off as an answer."""

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
