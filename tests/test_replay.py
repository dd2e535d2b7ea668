"""Any history onto any wire: named traps, and histories nobody would write, judged as the real APIs judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failover.dialects.anthropic import Anthropic
from failover.dialects.base import Dialect, Model, Provider
from failover.dialects.chat import Chat
from failover.dialects.providers import PROVIDERS, custom
from failover.dialects.replay import (
    CONTINUE,
    NO_RESULT,
    _rewritten,
    portable,
    rules_for,
    tool_names,
    wire_name,
    with_own_names,
)
from failover.dialects.responses import Responses
from failover.facts import Facts, facts_for
from failover.testing.strict import sign, violations
from failover.testing.world import ROWS, Card, row
from failover.types import (
    Answer,
    Block,
    Chunk,
    Media,
    Message,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

DIALECTS: dict[str, Dialect] = {"chat": Chat(), "anthropic": Anthropic(), "responses": Responses()}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = Media("image", "image/png", PIXEL)


def model(provider: str, name: str, dialect: str | None = None) -> Model:
    row = PROVIDERS.get(provider) or custom(provider, "http://127.0.0.1:1/v1")
    return Model(name, replace(row, dialect=dialect or row.dialect), facts_for(provider, name))


CLAUDE = model("anthropic", "claude-sonnet-5-5")
OLD_CLAUDE = model("anthropic", "claude-haiku-4-5")
GPT = model("openai", "gpt-4.1")
GPT_6 = model("openai", "gpt-6-luna", "responses")
MISTRAL = model("mistral", "mistral-large-latest")
DEEPSEEK = model("deepseek", "deepseek-flash")
GEMINI = model("gemini", "gemini-3.8-flash")
LOCAL = model("transformers", "qwen")


def replayed(messages: Sequence[Message], target: Model) -> tuple[Message, ...]:
    return portable(messages, target, rules_for(target, target.provider.dialect))


def rendered(messages: Sequence[Message], target: Model, **options: Any) -> dict[str, Any]:
    wire = DIALECTS[target.provider.dialect].render(Request(tuple(messages), **options), target, stream=False)
    body: dict[str, Any] = json.loads(wire.body)
    return body


def refusals(messages: Sequence[Message], target: Model, **options: Any) -> list[str]:
    """What the real API would say against this history."""
    dialect = target.provider.dialect
    wire = DIALECTS[dialect].render(Request(tuple(messages), **options), target, stream=False)
    headers = {**wire.headers, "authorization": "Bearer k", "x-api-key": "k", "api-key": "k"}
    found = violations(dialect, target.provider.name, json.loads(wire.body), headers)  # type: ignore[arg-type]
    return [f"{each.rule}: {each.message}" for each in found]


def user(*blocks: Any) -> Message:
    return Message("user", blocks if blocks else "hello")


def calling(*ids: str, author: str | None = None) -> Message:
    return Message("assistant", [ToolCall(each, "search", '{"q": 1}') for each in ids], author)


def answering(*ids: str) -> list[Message]:
    return [Message("tool", ToolResult(each, f"result of {each}")) for each in ids]


def roles(messages: Sequence[Message]) -> str:
    return " ".join(message.role for message in messages)


# ------------------------------------------------------------- tool calls


def test_a_foreign_id_is_made_to_fit_and_stays_the_same_for_call_and_result() -> None:
    long = "call_" + "9" * 60
    turns = replayed([user(), calling(long), *answering(long)], MISTRAL)
    call, result = turns[1].tool_calls[0], turns[2].content[0]
    assert isinstance(result, ToolResult)
    assert call.id == result.call_id
    assert len(call.id) == 9
    assert call.id.isalnum()
    assert replayed([user(), calling(long), *answering(long)], MISTRAL) == turns


def test_an_id_that_fits_is_left_alone() -> None:
    assert replayed([user(), calling("call_1"), *answering("call_1")], CLAUDE)[1].tool_calls[0].id == "call_1"


def test_the_targets_own_id_is_left_alone_even_where_it_does_not_fit() -> None:
    own = "functions.search:0"
    turns = replayed([user(), calling(own, author=GPT.author), *answering(own)], GPT)
    assert turns[1].tool_calls[0].id == own


def test_a_foreign_id_gives_way_to_the_targets_own() -> None:
    history = [user(), calling("same"), *answering("same"), calling("same", author=GPT.author), *answering("same")]
    first, second = (turn.tool_calls[0].id for turn in replayed(history, GPT) if turn.tool_calls)
    assert second == "same"
    assert first != "same"


def test_repeated_ids_become_different_ones_and_each_result_finds_its_call() -> None:
    history = [user(), calling("0", "0"), *answering("0", "0"), calling("0"), Message("tool", ToolResult("0", "last"))]
    turns = replayed(history, CLAUDE)
    ids = [call.id for turn in turns for call in turn.tool_calls]
    assert len(set(ids)) == 3
    last = turns[4].content[0]
    assert isinstance(last, ToolResult)
    assert (last.call_id, last.content) == (ids[2], "last")


def test_a_result_belongs_to_the_latest_turn_that_waits_for_its_id() -> None:
    """Servers that count calls from 0 in every turn, and a turn that was never answered."""
    turns = replayed([user(), calling("0"), user(Text("go on")), calling("0"), *answering("0")], GPT)
    contents = [block.content for turn in turns for block in turn.content if isinstance(block, ToolResult)]
    assert contents == [NO_RESULT, "result of 0"]


def test_missing_ids_are_made_up_and_matched_by_order() -> None:
    history = [user(), calling("", ""), Message("tool", [ToolResult("", "one"), ToolResult("", "two")])]
    turns = replayed(history, GPT)
    results = [block for block in turns[2].content if isinstance(block, ToolResult)]
    assert [result.content for result in results] == ["one", "two"]
    assert [result.call_id for result in results] == [call.id for call in turns[1].tool_calls]
    assert all(result.call_id for result in results)


def test_a_result_without_id_answers_the_waiting_call_of_its_name() -> None:
    calls = Message("assistant", [ToolCall("a", "search", "{}"), ToolCall("b", "fetch", "{}")])
    turns = replayed([user(), calls, Message("tool", ToolResult("", "page", name="fetch"))], GPT)
    assert [block.content for block in turns[2].content if isinstance(block, ToolResult)] == [NO_RESULT, "page"]


def test_interleaved_results_are_gathered_behind_their_calls_in_order() -> None:
    history = [user(), calling("a", "b"), *answering("b"), user(Text("wait")), *answering("a")]
    turns = replayed(history, GPT)
    assert roles(turns) == "user assistant tool user"
    contents = [block.content for block in turns[2].content if isinstance(block, ToolResult)]
    assert contents == ["result of a", "result of b"]


def test_an_unanswered_call_gets_a_result_that_says_so() -> None:
    turns = replayed([user(), calling("a"), user(Text("never mind"))], CLAUDE)
    result = turns[2].content[0]
    assert isinstance(result, ToolResult)
    assert (result.content, result.is_error) == (NO_RESULT, True)


def test_a_result_without_its_call_is_told_by_the_user() -> None:
    turns = replayed([*answering("gone"), user(Text("and now?"))], CLAUDE)
    assert roles(turns) == "user"
    assert turns[0].text == "Result of an earlier tool call:\nresult of goneand now?"


def test_a_result_in_a_system_message_does_not_become_system_text() -> None:
    turns = replayed([Message("system", [Text("rules"), ToolResult("x", "obey me")]), user()], GPT)
    assert turns[0].text == "rules"
    assert turns[1].role == "user"


@pytest.mark.parametrize("broken", ['{"q": ', "", "[1]", "null", "NaN", '{"a": NaN}', '"\ud800'])
def test_broken_arguments_become_an_object(broken: str) -> None:
    call = Message("assistant", ToolCall("a", "search", broken))
    for target in (CLAUDE, GPT, MISTRAL):
        arguments = json.loads(replayed([user(), call, *answering("a")], target)[1].tool_calls[0].arguments)
        assert isinstance(arguments, dict)
        assert list(arguments.values()) == ([] if not broken else [broken.encode("utf-8", "replace").decode()])


def test_the_targets_own_broken_arguments_stay_where_the_wire_has_text() -> None:
    call = Message("assistant", ToolCall("a", "search", '{"q": '), GPT.author)
    assert replayed([user(), call, *answering("a")], GPT)[1].tool_calls[0].arguments == '{"q": '
    own = replace(call.tool_calls[0])
    claude = replayed([user(), Message("assistant", own, CLAUDE.author), *answering("a")], CLAUDE)
    assert json.loads(claude[1].tool_calls[0].arguments) == {"INVALID_JSON": '{"q": '}


def test_words_come_before_calls_in_a_foreign_turn() -> None:
    turn = Message("assistant", [ToolCall("a", "search", "{}"), Text("I will look.")])
    first, second = replayed([user(), turn, *answering("a")], CLAUDE)[1].content
    assert isinstance(first, Text)
    assert isinstance(second, ToolCall)


# ------------------------------------------------------------------- names


def test_names_outside_the_alphabet_go_out_legal_and_come_back_as_they_were() -> None:
    rules = rules_for(CLAUDE, "anthropic")
    tools = [Tool("files.read"), Tool("plain_name"), Tool("日本" * 40)]
    names = tool_names(tools, rules)
    assert set(names.values()) == {"files.read", "日本" * 40}
    assert all(rules.tool_name.fullmatch(name) for name in names)
    made = wire_name("files.read", rules)
    answer = Answer(Message("assistant", [Text("ok"), ToolCall("a", made, "{}"), ToolCall("b", "plain_name", "{}")]))
    assert [call.name for call in with_own_names(answer, names).message.tool_calls] == ["files.read", "plain_name"]
    chunk = with_own_names(Chunk(tool_calls=(ToolCall("a", made, "{}"),)), names)
    assert chunk.tool_calls[0].name == "files.read"


def test_nothing_is_copied_where_no_name_had_to_change() -> None:
    answer = Answer(Message("assistant", ToolCall("a", "search", "{}")))
    assert with_own_names(answer, {}) is answer


def test_the_history_calls_a_tool_by_the_name_it_is_offered_under() -> None:
    history = [user(), Message("assistant", ToolCall("a", "files.read", "{}")), *answering("a")]
    body = rendered(history, CLAUDE, tools=(Tool("files.read"),))
    assert body["messages"][1]["content"][0]["name"] == body["tools"][0]["name"]


def test_a_name_that_begins_with_a_digit_is_no_name_for_gemini() -> None:
    assert wire_name("9lives", rules_for(GEMINI, "chat")).startswith("tool_9lives")
    assert wire_name("9lives", rules_for(GPT, "chat")) == "9lives"


# --------------------------------------------------------------- reasoning


def test_foreign_reasoning_signatures_and_extras_stay_behind() -> None:
    turn = Message(
        "assistant",
        [Thinking("hm", "sig", extra={"x": 1}), Thinking(redacted="zz"), Text("yes", extra={"citations": [1]})],
        "anthropic:claude-opus-5-5",
    )
    for target in (CLAUDE, GPT, GPT_6, DEEPSEEK, GEMINI):
        assert replayed([user(), turn, user()], target)[1].content == (Text("yes"),)


def test_own_reasoning_goes_back_byte_for_byte() -> None:
    thoughts = [Thinking("", "sig"), Thinking(redacted="zz"), Thinking("hm", "sig2")]
    turn = Message("assistant", [*thoughts, Text("yes", extra={"citations": [{"a": 1}]})], CLAUDE.author)
    assert replayed([user(), turn, user()], CLAUDE)[1] == turn
    content = rendered([user(), turn, user()], CLAUDE)["messages"][1]["content"]
    assert content[0] == {"type": "thinking", "thinking": "", "signature": "sig"}
    assert content[1] == {"type": "redacted_thinking", "data": "zz"}
    assert content[3]["citations"] == [{"a": 1}]


def test_unsigned_reasoning_is_not_sent_where_a_signature_is_demanded() -> None:
    turn = Message("assistant", [Thinking("hm"), Text("yes")], CLAUDE.author)
    assert replayed([user(), turn, user()], CLAUDE)[1].content == (Text("yes"),)


def test_a_turn_of_bare_reasoning_is_left_out() -> None:
    turn = Message("assistant", [Thinking("hm", "sig")], CLAUDE.author)
    assert roles(replayed([user(), turn, user()], CLAUDE)) == "user"


def test_reasoning_of_another_wire_is_not_taken_for_ones_own() -> None:
    """The same model may be asked over Chat Completions and over Responses."""
    turn = Message("assistant", [ToolCall("a", "f", "{}", {"id": "fc_1"})], "openai:gpt-6-luna")
    over_chat = model("openai", "gpt-6-luna", "chat")
    assert replayed([user(), turn, *answering("a")], over_chat)[1].tool_calls[0].extra == {}


def test_deepseek_gets_a_reasoning_field_beside_every_call() -> None:
    assert rendered([user(), calling("a"), *answering("a")], DEEPSEEK)["messages"][1]["reasoning_content"] == ""
    own = Message("assistant", [Thinking("hm"), *calling("a").content], DEEPSEEK.author)
    assert rendered([user(), own, *answering("a")], DEEPSEEK)["messages"][1]["reasoning_content"] == "hm"


def test_gemini_gets_a_dummy_signature_on_calls_that_have_none() -> None:
    for author in ("openai:gpt-4.1", GEMINI.author):
        call = rendered([user(), calling("a", author=author), *answering("a")], GEMINI)["messages"][1]["tool_calls"][0]
        assert call["extra_content"]["google"]["thought_signature"] == "skip_thought_signature_validator"


def test_geminis_own_signature_goes_back_and_only_where_it_came_from() -> None:
    signed = {"extra_content": {"google": {"thought_signature": "real"}}}
    own = Message("assistant", [ToolCall("a", "f", "{}", signed), ToolCall("b", "f", "{}")], GEMINI.author)
    calls = rendered([user(), own, *answering("a", "b")], GEMINI)["messages"][1]["tool_calls"]
    assert calls[0]["extra_content"] == signed["extra_content"]
    assert "extra_content" not in calls[1]


# ---------------------------------------------------------- order of turns


def test_system_messages_are_gathered_in_front_where_the_wire_has_one_place_for_them() -> None:
    history = [Message("system", "one"), user(), Message("system", "two"), user(Text("more"))]
    body = rendered(history, CLAUDE)
    assert [block["text"] for block in body["system"]] == ["one", "two"]
    assert replayed(history, LOCAL)[0].text == "one\n\ntwo"
    assert roles(replayed(history, GPT)) == "system user system user"


def test_only_system_text_becomes_what_the_user_says() -> None:
    assert roles(replayed([Message("system", "Tell a joke.")], CLAUDE)) == "user"
    assert roles(replayed([Message("system", "Tell a joke.")], GPT)) == "system"


def test_an_assistant_that_speaks_first_is_given_a_user_to_speak_to() -> None:
    turns = replayed([Message("assistant", "Welcome!"), user()], CLAUDE)
    assert roles(turns) == "user assistant user"


def test_neighbours_of_one_role_become_one_message_with_a_blank_line_between() -> None:
    assert replayed([user(Text("a")), user(Text("b"))], LOCAL)[0].text == "a\n\nb"
    assert len(replayed([user(Text("a")), user(Text("b"))], GPT)) == 2
    assert rendered([user(Text("a")), user(Text("b"))], CLAUDE)["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_mistral_hears_the_assistant_between_a_tool_and_the_user() -> None:
    history = [user(), calling("a"), *answering("a"), user(Text("stop"))]
    assert roles(replayed(history, MISTRAL)) == "user assistant tool assistant user"
    through_a_router = model("openrouter", "mistralai/mistral-large-latest")
    assert roles(replayed(history, through_a_router)) == "user assistant tool assistant user"
    assert roles(replayed(history, GPT)) == "user assistant tool user"


def test_a_model_that_takes_no_prefill_is_asked_to_continue() -> None:
    history = [user(), Message("assistant", "Once upon ")]
    assert replayed(history, CLAUDE)[-1] == Message("user", CONTINUE)
    assert replayed(history, OLD_CLAUDE)[-1].text == "Once upon"
    assert replayed(history, GPT)[-1].text == "Once upon "


def test_a_paused_turn_stays_last_so_that_it_can_go_on() -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    paused = Message("assistant", [Text("Let me see."), Thinking(extra={"anthropic_block": search})], CLAUDE.author)
    body = rendered([user(), paused], CLAUDE)
    assert body["messages"][-1]["role"] == "assistant"
    assert body["messages"][-1]["content"][-1] == search


def test_empty_turns_vanish_and_blank_text_with_them() -> None:
    history = [user(Text("")), Message("assistant", ""), user(Text("  "), Text("hi")), Message("assistant", "\n")]
    assert replayed(history, CLAUDE) == (Message("user", "hi"),)
    assert roles(replayed(history, GPT)) == "user"


def test_cache_points_survive_whoever_set_them() -> None:
    history = [user(Text("a", cache_point=True)), Message("assistant", Text("b", cache_point=True), "x:y"), user()]
    assert [turn.content[0] for turn in replayed(history, CLAUDE)[:2]] == [
        Text("a", cache_point=True),
        Text("b", cache_point=True),
    ]


def test_a_speakers_name_is_kept_only_where_the_wire_takes_it() -> None:
    named = Message("user", "hi", name="alice")
    assert replayed([named], GPT)[0].name == "alice"
    assert replayed([Message("user", "hi", name="alice smith")], GPT)[0].name is None
    assert replayed([named], model("groq", "openai/gpt-oss-120b"))[0].name is None


def test_a_growing_conversation_keeps_its_prefix() -> None:
    """Else the provider's prompt cache, and signatures bound to the conversation, would be lost."""
    long = "x" * 70
    history = [Message("system", "s"), user(), calling(long, "0"), *answering("0", long), Message("assistant", "done")]
    for target in (CLAUDE, GPT, MISTRAL, LOCAL, GEMINI):
        before = replayed([*history, user(Text("next"))], target)
        after = replayed([*history, user(Text("next")), calling("0"), *answering("0")], target)
        assert after[: len(before)] == before


# ------------------------------------------------------------------- media


def test_media_in_a_tool_result_is_shown_by_the_user_where_the_wire_has_no_place_for_it() -> None:
    result = Message("tool", ToolResult("a", (Text("a chart"), IMAGE)))
    turns = replayed([user(), calling("a"), result], GPT)
    assert roles(turns) == "user assistant tool user"
    assert turns[2].content[0] == ToolResult("a", "a chart\n[1 attached below]", name="search")
    assert turns[3].content[1] == IMAGE
    inside = replayed([user(), calling("a"), result], CLAUDE)[2].content[0]
    assert isinstance(inside, ToolResult)
    assert inside.content == (Text("a chart"), IMAGE)


def test_an_image_that_an_assistant_made_is_shown_by_the_user() -> None:
    turns = replayed([user(), Message("assistant", [Text("Here."), IMAGE]), user(Text("nice"))], CLAUDE)
    assert turns[1].content == (Text("Here."),)
    assert turns[2].content == (IMAGE, Text("nice"))


def test_what_a_wire_cannot_carry_is_mentioned() -> None:
    sound = Media("audio", "audio/wav", "UklGRg==", name="call.wav")
    assert replayed([user(Text("listen: "), sound)], CLAUDE)[0].text == "listen: [audio call.wav]"


def test_data_urls_are_taken_apart_and_wrong_types_put_right() -> None:
    by_url = Media("image", url=f"data:image/jpeg;base64,{PIXEL}")
    assert replayed([user(by_url)], CLAUDE)[0].content == (IMAGE,)
    plain = Media("document", url="data:text/plain,hello%20there")
    source = rendered([user(plain)], CLAUDE)["messages"][0]["content"][0]["source"]
    assert source == {"type": "text", "media_type": "text/plain", "data": "hello there"}


# ---------------------------------------------------- any history, any wire

IDS = st.sampled_from(
    ["", "0", "call_1", "call_2", "toolu_01AbC", "abcdefghi", "a" * 64, "call_" + "9" * 60, "x:y.z/ü", " ", "\ud800"]
)
NAMES = st.sampled_from(["search", "files.read", "", "日本", "x" * 100, "9lives", "-dash", "a b"])
ARGUMENTS = st.sampled_from(
    ["{}", '{"q": 1}', "", '{"q":', "[1]", "null", '"x"', ' {"b": [1, 2.50]} ', "NaN", "\ud800"]
)
TEXTS = st.sampled_from(["", " ", "\n\n", "hello", "trailing  ", "naïve 🙂", "json", "\ud83d", "a\x00b"])
MEDIA = st.sampled_from(
    [
        IMAGE,
        Media("image", data=PIXEL),
        Media("image", "image/gif", PIXEL),
        Media("image", url="https://example.com/a.png", cache_point=True),
        Media("image", url=f"data:image/png;base64,{PIXEL}"),
        Media("document", "application/pdf", "JVBERi0xLjQK", name="a.pdf"),
        Media("document", "text/plain", "aGVsbG8="),
    ]
)
SOUND = st.sampled_from([Media("audio", "audio/wav", "UklGRg=="), Media("video", url="https://example.com/v.mp4")])
JUNK = st.sampled_from([{}, {"citations": [{"type": "char_location"}]}, {"id": "fc_9"}, {"extra_content": {"x": 1}}])
texts = st.builds(Text, TEXTS, st.booleans(), JUNK)
thoughts = st.builds(Thinking, TEXTS, st.sampled_from([None, "", "sig"]), st.sampled_from([None, "zz"]), JUNK)
calls = st.builds(ToolCall, IDS, NAMES, ARGUMENTS, JUNK)
plain_results = st.one_of(TEXTS, st.lists(st.one_of(texts, MEDIA), max_size=3).map(tuple))
results = st.builds(ToolResult, IDS, plain_results, st.booleans(), st.one_of(st.none(), NAMES))
blocks = st.one_of(texts, thoughts, calls, results, MEDIA)
AUTHORS = st.sampled_from([None, "openai:gpt-9", "anthropic:claude-x-9", "gemini:gemini-9", "x:y"])
foreign = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.lists(blocks, max_size=4),
    AUTHORS,
    st.sampled_from([None, "alice", "no name!"]),
)


@st.composite
def foreign_turns(draw: st.DrawFn) -> list[Message]:
    """Calls of another model, more or less answered, more or less in order, perhaps after an interruption."""
    made = [ToolCall(ident, draw(NAMES), draw(ARGUMENTS)) for ident in draw(st.lists(IDS, min_size=1, max_size=3))]
    said: Sequence[Block] = draw(st.sampled_from([[], [Text("Let me see.")], [Thinking("hm", "sig")]]))
    turn = Message("assistant", draw(st.permutations([*said, *made])), draw(AUTHORS))
    answers = [Message("tool", ToolResult(call.id, draw(plain_results))) for call in made]
    kept = draw(st.permutations(answers))[draw(st.sampled_from([0, 0, 0, 1])) :]
    return [turn, *draw(st.sampled_from([[], [], [Message("user", "Hurry!")]])), *kept]


def own_call(target: Model, turn: int, at: int, arguments: str = '{"q": 1}') -> ToolCall:
    """A call as the target itself would have made it."""
    dialect, name, number = target.provider.dialect, "search", turn + at
    if dialect == "anthropic":
        return ToolCall(f"toolu_{number:024}", name, arguments)
    if dialect == "responses":
        return ToolCall(f"call_{number:024}", name, arguments, {"id": f"fc_r0{turn}_{at}"})
    if target.provider.name == "gemini":
        seal = {"google": {"thought_signature": sign(target.id, name + arguments)}}
        return ToolCall(f"call_{number}", name, arguments, {"extra_content": seal})
    return ToolCall(f"{number:09}", name, arguments)


def own_thought(target: Model, number: int) -> list[Thinking]:
    match target.provider.dialect:
        case "anthropic":
            redacted = Thinking(redacted=sign(target.id, "redacted"))
            return [Thinking("hm", sign(target.id, "hm")), redacted, Thinking("", sign(target.id, ""))]
        case "responses":
            ident = f"rs_r0{number}"
            return [Thinking("hm", sign(target.id, ident), extra={"id": ident, "summary": SUMMARY})]
        case _:
            return [Thinking("hm")]


SUMMARY = [{"type": "summary_text", "text": "hm"}]
LOST = ("nothing", "thoughts", "signatures")


@st.composite
def own_turns(draw: st.DrawFn, target: Model, lost: tuple[str, ...] = ("nothing",)) -> list[Message]:
    """A turn of the target's own, with its results, as a framework may have kept it."""
    number, missing = draw(st.integers(0, 99)) * 10, draw(st.sampled_from(lost))
    made = [own_call(target, number, at) for at in range(draw(st.integers(0, 3)))]
    thoughts = own_thought(target, number) if draw(st.booleans()) and missing != "thoughts" else []
    if missing == "signatures":
        thoughts = [Thinking(thought.text) for thought in thoughts]
        made = [replace(call, extra={"id": "fc_of_another_wire"}) for call in made]
    said = [Text("I see.")] if draw(st.booleans()) else []
    turn = Message("assistant", [*thoughts, *said, *made], target.author)
    return [turn, *(Message("tool", ToolResult(call.id, "42")) for call in made)]


ENDS = st.sampled_from([Message("user", "And now?"), Message("user", "And now?"), Message("assistant", "Once upon ")])


def histories(target: Model, lost: tuple[str, ...] = ("nothing",)) -> st.SearchStrategy[list[Message]]:
    piece = st.one_of(foreign.map(lambda message: [message]), foreign_turns(), own_turns(target, lost))
    body = st.lists(piece, min_size=1, max_size=6).map(lambda pieces: [each for piece in pieces for each in piece])
    return st.builds(lambda messages, end: [*messages, end], body, ENDS)


def targets() -> list[Model]:
    """One model for every wire, provider, and sort of model there."""
    found = [
        model(name, each, dialect)
        for name, row in ROWS.items()
        for dialect in row.paths
        for each in (row.models or ("some-model",))
    ]
    found.append(model("vllm", "mistralai/Ministral-3"))
    kinds = {(each.provider.dialect, each.provider.name, each.facts, card(each).traits): each for each in found}
    return list(kinds.values())


def card(target: Model) -> Card:
    found = row(target.provider.name).card(target.id)
    assert found is not None
    return found


TARGETS = targets()


def offered(target: Model) -> st.SearchStrategy[tuple[Tool, ...]]:
    """Tools, where routing would send any here."""
    silent = card(target).traits & {"no_tools"} or (
        target.provider.dialect == "chat" and card(target).traits >= {"quiet_tools", "effort_required"}
    )
    return st.just(()) if silent else st.sampled_from([(), (Tool("search"), Tool("files.read", "Reads."))])


def seen_by(target: Model, messages: list[Message]) -> list[Message]:
    """Without media that routing would never send to this model."""
    inputs = target.facts.inputs & card(target).inputs

    def kept(block: Any) -> Any:
        if isinstance(block, ToolResult) and not isinstance(block.content, str):
            return replace(block, content=tuple(part for part in block.content if kept(part)))
        return block if not isinstance(block, Media) or block.kind in inputs else None

    return [
        Message(message.role, filter(None, map(kept, message.content)), message.author, message.name)
        for message in messages
    ]


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(target=st.sampled_from(TARGETS), data=st.data())
def test_any_history_goes_onto_any_wire_without_a_refusal(target: Model, data: st.DataObject) -> None:
    history = seen_by(target, data.draw(histories(target, LOST)))
    assert refusals(history, target, tools=data.draw(offered(target))) == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(target=st.sampled_from(TARGETS), data=st.data())
def test_own_turns_go_back_byte_for_byte_whatever_surrounds_them(target: Model, data: st.DataObject) -> None:
    history = data.draw(histories(target))
    rules = rules_for(target, target.provider.dialect)
    back = [block for turn in portable(history, target, rules) for block in turn.content]
    for message in history:
        if message.author == target.author:
            first_seen = [call for call in message.tool_calls if call.id == own_first(history, target, call)]
            assert all(call in back for call in first_seen)
            if rules.reasoning != "drop" and message.content and not isinstance(message.content[-1], Thinking):
                assert all(block in back for block in message.content if isinstance(block, Thinking))


def own_first(history: list[Message], target: Model, call: ToolCall) -> str:
    """The id of a call, if it is the first of the target's own that bears it."""
    own = [each for message in history if message.author == target.author for each in message.tool_calls]
    return call.id if next(each for each in own if each.id == call.id) is call else ""


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(st.one_of(foreign, st.builds(Message, st.just("user"), st.lists(SOUND))), max_size=8))
def test_rewriting_never_fails_and_is_its_own_fixed_point(messages: list[Message]) -> None:
    for target in (CLAUDE, OLD_CLAUDE, GPT, GPT_6, MISTRAL, DEEPSEEK, GEMINI, LOCAL):
        once = replayed(messages, target)
        assert replayed(once, target) == once


SPOKEN = st.builds(Text, st.sampled_from(["hi", " spaced ", "ünï", "two\nlines"]), st.booleans())


@given(target=st.sampled_from(TARGETS), turns=st.integers(0, 3), told=st.booleans(), words=st.data())
def test_plain_talk_goes_out_as_it_is_because_rewriting_would_change_nothing(
    target: Model, turns: int, told: bool, words: st.DataObject
) -> None:
    roles = [*(["system"] if told else []), *(["user", "assistant"] * turns), "user"]
    talk = [Message(role, words.draw(st.lists(SPOKEN, min_size=1, max_size=2))) for role in roles]  # type: ignore[arg-type]  # roles by name
    rules = rules_for(target, target.provider.dialect)
    assert portable(talk, target, rules) == _rewritten(talk, target, rules) == tuple(talk)


def test_an_unknown_dialect_gets_the_strictest_rules() -> None:
    stranger = Model("m", Provider("p", "http://x", "chat"), Facts())
    assert rules_for(stranger, "chat") is rules_for(LOCAL, "chat")


@pytest.mark.parametrize(
    "target",
    [CLAUDE, GPT, GPT_6, MISTRAL, DEEPSEEK, GEMINI, LOCAL],
    ids=["claude", "gpt", "gpt-6", "mistral", "deepseek", "gemini", "local"],
)
@pytest.mark.parametrize("empty", ["", "  \n"])
def test_a_prompt_with_nothing_in_it_is_still_a_turn_of_the_users(target: Model, empty: str) -> None:
    (turn,) = replayed([Message("user", empty)], target)
    assert (turn.role, turn.text == "") == ("user", target is not CLAUDE)
    assert refusals([Message("user", empty)], target) == []
