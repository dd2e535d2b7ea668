"""Tools, and histories with their calls and results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock

from failover.testing import Quirk
from failover.types import ToolResult
from llamaindex_failover.testing.bench import (
    ADD,
    DOTTED,
    PING,
    PLANT,
    SAID,
    Ask,
    Bench,
    Theme,
    add,
    calls,
    each_tool_mode,
    plain,
    result,
    user,
)


class Tools(Theme):
    """Tools are offered, chosen, called and run, whatever their names."""

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
    async def test_parallel_calls_whose_fragments_take_turns_come_whole(self, bench: Bench, ask: Ask) -> None:
        bench.trouble(Quirk("interleaved_calls"))
        bench.say(calls({"a": 1, "b": 10}, {"a": 2, "b": 20}))
        response = (await ask(bench.llm, [ADD], "sums?", allow_parallel_tool_calls=True))[-1]
        found = bench.llm.get_tool_calls_from_response(response)
        assert [call.tool_kwargs for call in found] == [{"a": 1, "b": 10}, {"a": 2, "b": 20}]

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

    def test_a_tools_nested_schema_arrives_whole(self, bench: Bench) -> None:
        bench.llm.chat_with_tools([PLANT], "plant an oak")
        (tool,) = bench.asked.request.tools
        assert tool.description.endswith("Plants a tree.")
        shown = json.dumps(tool.parameters)
        assert all(f'"{name}"' in shown for name in ("tree", "leaves", "colour", "veins", "autumn"))

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

    async def test_predict_and_call_runs_several_tools_where_it_may(self, bench: Bench) -> None:
        bench.say(calls({"a": 1, "b": 1}, {"a": 2, "b": 2}))
        for answer in (
            bench.llm.predict_and_call([ADD], "sums?", allow_parallel_tool_calls=True),
            await bench.llm.apredict_and_call([ADD], "sums?", allow_parallel_tool_calls=True),
        ):
            assert [source.raw_output for source in answer.sources] == [2, 4]

    async def test_predict_and_call_without_a_call_is_an_error_unless_it_is_allowed(self, bench: Bench) -> None:
        said = bench.llm.predict_and_call([ADD], "hi", error_on_no_tool_call=False)
        assert said.response == SAID
        assert (await bench.llm.apredict_and_call([ADD], "hi", error_on_no_tool_call=False)).response == SAID
        with pytest.raises(ValueError, match="tool call"):
            bench.llm.predict_and_call([ADD], "hi")

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


class Histories(Theme):
    """Any history is understood, whoever wrote it."""

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
            assert [plain(block) for block in told] == ["2", "4"]
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
