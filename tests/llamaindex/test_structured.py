"""Answers as objects: how they are asked for, and what is made of what comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, Field

from failover import ToolCall
from failover.facts import Facts
from llamaindex_failover import FailoverLLM, StructuredOutputError
from llamaindex_failover._structured import PROMPT, SCHEMA, STREAMED, TOOL, WHOLE, Way, way_for
from llamaindex_failover.testing import Book
from tests.llamaindex.kit import Play, says, target

ABLE = Facts()
UNFORCED = Facts(forced_tool_choice=False)
TOOLLESS = Facts(tools=False)
SCHEMALESS = Facts(structured_output=False)


class Fruit(BaseModel):
    """A fruit."""

    name: str
    colours: list[str] = Field(default_factory=list)


PEAR = Fruit(name="pear", colours=["green", "yellow"])
CALL = ToolCall("c", "Fruit", PEAR.model_dump_json())
WISH = PromptTemplate("Name a {taste} fruit.")


@pytest.mark.parametrize(
    ("abilities", "whole", "streamed"),
    [
        ([ABLE, ABLE], TOOL, SCHEMA),
        ([ABLE, UNFORCED], SCHEMA, SCHEMA),
        ([ABLE, TOOLLESS], SCHEMA, SCHEMA),
        ([ABLE, SCHEMALESS], TOOL, TOOL),
        ([UNFORCED, SCHEMALESS], PROMPT, PROMPT),
    ],
)
def test_the_first_way_that_every_target_understands_is_taken(
    abilities: list[Facts], whole: Way, streamed: Way
) -> None:
    assert way_for(abilities, WHOLE) is whole
    assert way_for(abilities, STREAMED) is streamed


def llm_of(play: Play, structured: bool = True, tools: bool = True, **fields: Any) -> FailoverLLM:
    able = target(play, tools=tools, structured_output=structured)
    return FailoverLLM([able], response_cache=False, **fields)


def forcing(play: Play, **fields: Any) -> FailoverLLM:
    """Over a target that takes forced tools and knows no schemas."""
    return llm_of(play, structured=False, **fields)


def schematic(play: Play, **fields: Any) -> FailoverLLM:
    """Over a target that knows schemas and no tools."""
    return llm_of(play, tools=False, **fields)


def worded(play: Play, **fields: Any) -> FailoverLLM:
    """Over a target that knows neither."""
    return llm_of(play, structured=False, tools=False, **fields)


TALK = f"Here you are:\n```json\n{PEAR.model_dump_json(indent=1)}\n```\nEnjoy!"
WAYS = {"tool": (forcing, CALL), "schema": (schematic, PEAR.model_dump_json()), "prompt": (worded, TALK)}
each_way = pytest.mark.parametrize(("make", "said"), WAYS.values(), ids=WAYS)


async def predictions(llm: FailoverLLM, **options: Any) -> list[Any]:
    """The object, in each of the ways to ask for one."""
    found = [llm.structured_predict(Fruit, WISH, options, taste="sweet")]
    found.append(await llm.astructured_predict(Fruit, WISH, options, taste="sweet"))
    found.append(list(llm.stream_structured_predict(Fruit, WISH, options, taste="sweet"))[-1])
    found.append([each async for each in await llm.astream_structured_predict(Fruit, WISH, options, taste="sweet")][-1])
    return found


@each_way
async def test_an_object_comes_back_in_every_way_and_mode(make: Any, said: Any) -> None:
    assert await predictions(make(Play(says(said)))) == [PEAR] * 4


@each_way
async def test_the_system_prompt_is_kept_in_every_mode(make: Any, said: Any) -> None:
    play = Play(says(said))
    await predictions(make(play, system_prompt="Be brief."))
    for job in play.jobs:
        first, second = job.request.messages
        assert (first.role, first.text) == ("system", "Be brief.")
        assert second.text.startswith("Name a sweet fruit.")


async def test_a_tool_is_forced_and_is_the_only_one() -> None:
    play = Play(says(CALL))
    await predictions(forcing(play), tool_choice="auto", temperature=0.3)
    for job in play.jobs:
        (tool,) = job.request.tools
        assert (tool.name, job.request.tool_choice, job.request.temperature) == ("Fruit", "required", 0.3)
        assert job.request.parallel_tool_calls is False
        assert "colours" in tool.parameters["properties"]


@each_way
async def test_what_is_said_about_tools_does_not_contradict_the_way(make: Any, said: Any) -> None:
    assert await predictions(make(Play(says(said))), tool_required=False, allow_parallel_tool_calls=True) == [PEAR] * 4


async def test_talk_before_a_call_is_not_taken_for_the_object() -> None:
    llm = forcing(Play(says('{"name": "apple"} is what others say.', CALL)))
    assert list(llm.stream_structured_predict(Fruit, WISH, taste="sweet")) == [PEAR]


async def test_a_schema_is_asked_for_under_a_name_that_wires_allow() -> None:
    class Box(BaseModel):
        name: str

    Box.__name__ = "Box[int]"
    play = Play(says('{"name": "b"}'))
    schematic(play).structured_predict(Box, WISH, taste="sweet")
    wanted = play.request.response_format
    assert (wanted.name, wanted.schema["required"]) == ("Box_int_", ["name"])


async def test_in_words_the_schema_stands_after_what_the_user_said() -> None:
    play = Play(says(TALK))
    worded(play).structured_predict(Fruit, WISH, taste="sweet")
    (message,) = play.request.messages
    assert message.text.startswith("Name a sweet fruit.")
    assert '"colours"' in message.text
    assert "{{" not in message.text


def test_the_callers_messages_are_not_changed_by_the_wish() -> None:
    message = ChatMessage(role="user", content="A fruit, please.")
    play = Play(says(TALK))
    worded(play).as_structured_llm(Fruit).chat([message])
    assert message == ChatMessage(role="user", content="A fruit, please.")


def test_a_wish_after_an_answer_is_a_turn_of_its_own() -> None:
    play = Play(says(TALK))
    history = [ChatMessage(role="user", content="Hi"), ChatMessage(role="assistant", content="Yes?")]
    worded(play).structured_predict(Fruit, ChatPromptTemplate(history))
    assert [message.role for message in play.request.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize("said", ["I would rather not.", '{"nam": "pear"}', '{"name": 3', ""])
@pytest.mark.parametrize("make", [forcing, schematic, worded])
async def test_something_else_is_an_error_that_names_who_and_what(make: Any, said: str) -> None:
    llm = make(Play(says(said or " ")))
    with pytest.raises(StructuredOutputError, match="one wrote no valid Fruit") as caught:
        llm.structured_predict(Fruit, WISH, taste="sweet")
    assert caught.value.text.strip() == said
    with pytest.raises(StructuredOutputError):
        list(llm.stream_structured_predict(Fruit, WISH, taste="sweet"))
    with pytest.raises(StructuredOutputError):
        _ = [each async for each in await llm.astream_structured_predict(Fruit, WISH, taste="sweet")]


def test_a_model_that_answers_in_text_though_forced_is_still_understood() -> None:
    assert forcing(Play(says(TALK))).structured_predict(Fruit, WISH, taste="sweet") == PEAR


def test_a_streamed_object_grows_and_ends_whole() -> None:
    seen = list(schematic(Play(says(TALK))).stream_structured_predict(Fruit, WISH, taste="sweet"))
    named = [getattr(each, "name", None) for each in seen]
    assert named.index("pear") < len(named) - 1
    assert len(seen) > 5
    assert seen[-1] == PEAR
    assert isinstance(seen[-1], Fruit)


async def test_one_wish_is_one_chat_in_events(ear: list[str]) -> None:
    book = Book()
    await predictions(schematic(Play(says(PEAR.model_dump_json())), callback_manager=CallbackManager([book])))
    assert len(book.starts) == len(book.ends) == 4
    assert ear.count("LLMStructuredPredictStartEvent") == 4
    assert ear.count("LLMStructuredPredictEndEvent") == 4
    assert ear.count("LLMChatStartEvent") == 4


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # StructuredLLM.stream_chat calls it
async def test_a_structured_llm_answers_in_json() -> None:
    play = Play(says(CALL))
    llm = forcing(play).as_structured_llm(Fruit)
    history = [ChatMessage(role="user", content="A {fruit}, please.")]
    for response in (llm.chat(history), await llm.achat(history)):
        assert json.loads(response.message.content or "") == PEAR.model_dump()
        assert response.raw == PEAR
    assert llm.complete("A fruit").raw == PEAR
    assert list(llm.stream_chat(history))[-1].raw == PEAR
    assert play.jobs[0].request.messages[0].text == "A {fruit}, please."


@pytest.mark.parametrize(
    ("mode", "said"), [(PydanticProgramMode.FUNCTION, CALL), (PydanticProgramMode.LLM, PEAR.model_dump_json())]
)
async def test_a_program_mode_of_the_users_own_is_followed(mode: PydanticProgramMode, said: Any) -> None:
    play = Play(says(said))
    llm = llm_of(play, pydantic_program_mode=mode)
    assert await predictions(llm) == [PEAR] * 4
    assert play.request.response_format is None
