"""What the same target is asked once more for, and how a call ends where none can serve it; over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from failover import (
    AllTargetsFailed,
    ContextOverflow,
    Failover,
    Message,
    Request,
    Response,
    Retry,
    StreamInterrupted,
    Target,
    Tool,
    events,
)
from failover.testing import Cut, Reply, ScriptedProvider, Status, serve
from failover.types import JsonFormat, Text, Thinking

MODELS = {
    "openai": "gpt-6-luna",
    "groq": "openai/gpt-oss-120b",
    "anthropic": "claude-haiku-4-5",
    "deepseek": "deepseek-flash",
}
Here = Callable[..., Target]


def provider(name: str) -> ScriptedProvider:
    return ScriptedProvider(name, respond=lambda question: Reply(f"I am {name}.", reasoning=""))


@pytest.fixture
def providers() -> dict[str, ScriptedProvider]:
    return {name: provider(name) for name in MODELS}


@pytest.fixture
def here(providers: dict[str, ScriptedProvider]) -> Iterator[Here]:
    with serve(*providers.values()) as servers:
        yield lambda name, **fields: servers[name].target(MODELS[name], **fields)


def guarding(*targets: Target, **options: Any) -> Failover:
    return Failover(targets, **{"strategy": "priority", "response_cache": False, "retry": Retry(attempts=0), **options})


# ---------------------------------------------------------------------- keys


class Keys:
    """A function that gives the key, as a vault would."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.read = 0

    def __call__(self) -> str:
        self.read += 1
        return self.key


def test_a_key_that_was_changed_is_read_again_after_a_401_and_the_same_target_answers(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    keys = Keys("sk-old")
    providers["openai"].grant("sk-new")

    def rotate(event: events.Event) -> None:
        if isinstance(event, events.AttemptFinished):
            keys.key = "sk-new"

    with guarding(here("openai", api_key=keys), here("groq"), listeners=[rotate]) as guard:
        response = guard.complete("hi")
        assert [(step.target, step.reason) for step in response.trail] == [
            ("openai:gpt-6-luna", "auth"),
            ("openai:gpt-6-luna", "ok"),
        ]
        assert guard.status()[0].state == "closed"
        assert guard.complete("and again").target == "openai:gpt-6-luna"
    assert providers["groq"].calls == 0


def test_a_key_that_stays_the_same_is_tried_once_and_switched_off(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    providers["openai"].grant("sk-new")
    with guarding(here("openai", api_key=Keys("sk-old")), here("groq")) as guard:
        assert guard.complete("hi").content == "I am groq."
        assert guard.complete("hi").content == "I am groq."
        assert guard.status()[0].state == "disabled"
    assert providers["openai"].calls == 1


def test_a_new_key_switches_its_target_on_again(here: Here, providers: dict[str, ScriptedProvider]) -> None:
    keys, heard = Keys("sk-old"), []
    providers["openai"].grant("sk-new")
    with guarding(here("openai", api_key=keys), here("groq"), listeners=[heard.append]) as guard:
        assert guard.complete("hi").content == "I am groq."
        keys.key = "sk-new"
        assert guard.complete("hi").content == "I am openai."
        assert guard.status()[0].state == "closed"
    told = [type(event) for event in heard if isinstance(event, events.TargetDisabled | events.TargetEnabled)]
    assert told == [events.TargetDisabled, events.TargetEnabled]


def test_a_function_that_gives_another_wrong_key_every_time_is_asked_twice_a_call(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    made = iter(range(1000))
    with guarding(here("openai", api_key=lambda: f"sk-wrong-{next(made)}"), here("groq")) as guard:
        assert guard.complete("hi").content == "I am groq."
    assert providers["openai"].calls == 2


def test_a_function_that_gives_no_key_any_more_does_not_take_the_call_with_it(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    keys = iter(["sk-old", "sk-old"])  # for the building and the first attempt
    providers["openai"].grant("sk-new")
    with guarding(here("openai", api_key=lambda: next(keys)), here("groq")) as guard:
        assert guard.complete("hi").content == guard.complete("hi").content == "I am groq."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_function_that_fails_fails_its_target_and_not_the_call(
    here: Here, providers: dict[str, ScriptedProvider], streamed: bool
) -> None:
    keys = iter(["sk-test"])  # for the building only

    def vault() -> str:
        key = next(keys, None)
        if key is None:
            raise KeyError("what a vault says is nobody's business")
        return key

    with guarding(here("openai", api_key=vault), here("groq")) as guard:
        response = read(guard)[2] if streamed else guard.complete("hi")
    assert response.content == "I am groq."
    first = response.trail[0]
    assert (first.reason, first.detail) == ("connect", "api_key() raised KeyError")
    assert providers["openai"].calls == 0


# ------------------------------------------------------------------- windows


LONG = "word " * 2000


def test_a_prompt_that_is_too_long_for_every_window_is_an_overflow_and_is_not_sent(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    with (
        guarding(here("openai", context_window=100), here("groq", context_window=200)) as guard,
        pytest.raises(ContextOverflow) as caught,
    ):
        guard.complete(LONG)
    assert caught.value.target.startswith("groq")
    assert "its window is 200" in str(caught.value)
    assert [step.reason for step in caught.value.trail] == ["incapable", "incapable"]
    assert providers["openai"].calls == providers["groq"].calls == 0


def test_a_target_that_lacks_something_else_does_not_hide_an_overflow(here: Here) -> None:
    with (
        guarding(here("openai", context_window=100), here("groq", tools=False)) as guard,
        pytest.raises(ContextOverflow),
    ):
        guard.complete(LONG, tools=[Tool("f")])


def test_a_target_that_failed_otherwise_is_the_better_explanation(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    providers["groq"].down(Status(503))
    with (
        guarding(here("openai", context_window=100), here("groq")) as guard,
        pytest.raises(AllTargetsFailed, match="its window is 100"),
    ):
        guard.complete(LONG)


def test_a_request_that_nobody_is_able_to_serve_is_no_overflow(here: Here) -> None:
    with guarding(here("openai", tools=False)) as guard, pytest.raises(AllTargetsFailed, match="cannot take tools"):
        guard.complete(LONG, tools=[Tool("f")])


# -------------------------------------------------------------- stale history


def stale(author: str) -> Request:
    """A history with a signature that its author does not know any more."""
    thought = Thinking("I thought.", signature="c3RhbGU=")
    said = Message("assistant", (thought, Text("Yes.")), author=author)
    return Request(
        (Message("user", "Is it so?"), said, Message("user", "Sure?")),
        thinking={"type": "enabled", "budget_tokens": 1024},
        max_tokens=2000,
    )


def test_a_conversation_whose_reasoning_its_author_refuses_goes_on_without_it(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    heard: list[events.Event] = []
    with guarding(here("anthropic"), listeners=[heard.append]) as guard:
        response = guard.send(stale(guard.authors[0]))
        again = guard.send(stale(guard.authors[0]))
    assert [step.reason for step in response.trail] == ["translation", "ok"]
    assert response.content == again.content == "I am anthropic."
    assert "c3RhbGU=" in str(providers["anthropic"].requests[0].body)
    assert "c3RhbGU=" not in str(providers["anthropic"].requests[1].body)
    assert next(event.notes for event in heard if isinstance(event, events.RequestAdjusted)) == (
        "the history goes without its own reasoning",
    )


def test_a_history_without_anything_of_its_own_is_not_sent_twice(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    refusal = Status(400, message="Expected last role User or Tool but got assistant", code="3230")
    providers["openai"].set(refusal)
    with guarding(here("openai"), here("groq")) as guard:
        assert guard.complete("hi").content == "I am groq."
    assert providers["openai"].calls == 1


# --------------------------------------------------------------------- seams


def read(guard: Failover, prompt: Any = "hi", **options: Any) -> tuple[str, str, Response]:
    """The text and the reasoning that were handed on, and the response."""
    chunks = list(guard.stream(prompt, **options))
    response = chunks[-1].response
    assert response is not None
    return "".join(chunk.text for chunk in chunks), "".join(chunk.reasoning for chunk in chunks), response


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("One ", " two.", "One two."),
        ("One ", "two.", "One two."),
        ("One", " two.", "One two."),
        ("One\n", "\n\ntwo.", "One\n\ntwo."),
        ("def f():\n    ", "\n    return 1", "def f():\n    return 1"),
        ("def f():\n", "\n    return 1", "def f():\n    return 1"),
    ],
)
def test_the_white_space_that_no_prefill_may_end_with_is_not_doubled(
    here: Here, providers: dict[str, ScriptedProvider], before: str, after: str, whole: str
) -> None:
    providers["openai"].script(Cut(after=1, answer=Reply(before + "lost", reasoning="", pieces=(before, "lost"))))
    providers["anthropic"].script(Reply(after, reasoning=""))
    with guarding(here("openai"), here("anthropic"), on_stream_cut="resume") as guard:
        text, _, response = read(guard)
    assert text == response.content == whole
    sent = providers["anthropic"].requests[0].body["messages"]
    assert sent[-1]["role"] == "assistant"


def test_a_cut_when_only_reasoning_was_shown_begins_anew_and_is_marked(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    providers["deepseek"].script(Cut(after=1, answer=Reply("Never said.", reasoning="I think")))
    with guarding(here("deepseek"), here("openai"), on_stream_cut="resume") as guard:
        text, reasoning, response = read(guard)
    assert reasoning
    assert text == response.content == "I am openai."
    assert response.resumed == ("deepseek:deepseek-flash",)
    assert response.target.startswith("openai")
    assert len(providers["openai"].requests[0].body["messages"]) == 1


def test_structured_output_of_which_nothing_was_said_may_begin_anew(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    providers["deepseek"].script(Cut(after=1, answer=Reply('{"a": 0}', reasoning="I think")))
    providers["openai"].script(Reply('{"a": 1}', reasoning=""))
    with guarding(here("deepseek"), here("openai"), on_stream_cut="resume") as guard:
        text, _, response = read(guard, "a as JSON", response_format=JsonFormat())
    assert text == response.content == '{"a": 1}'


def test_a_second_cut_after_a_new_beginning_is_continued(here: Here, providers: dict[str, ScriptedProvider]) -> None:
    providers["deepseek"].script(Cut(after=1, answer=Reply("Never said.", reasoning="I think")))
    providers["openai"].script(Cut(after=1, answer=Reply("One two.", reasoning="", pieces=("One ", "two."))))
    providers["anthropic"].script(Reply(" two.", reasoning=""))
    with guarding(here("deepseek"), here("openai"), here("anthropic"), on_stream_cut="resume") as guard:
        text, _, response = read(guard)
    assert text == response.content == "One two."
    assert response.resumed == ("deepseek:deepseek-flash", "openai:gpt-6-luna")


def test_a_cut_while_thinking_raises_at_once_unless_it_may_be_resumed(
    here: Here, providers: dict[str, ScriptedProvider]
) -> None:
    providers["deepseek"].script(Cut(after=1, answer=Reply("Never said.", reasoning="I think")))
    with guarding(here("deepseek"), here("openai")) as guard, pytest.raises(StreamInterrupted):
        read(guard)
    assert providers["openai"].calls == 0


# ------------------------------------------------------------ stated waits


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_target_that_says_when_to_come_back_is_left_alone_until_then(
    providers: dict[str, ScriptedProvider], here: Here, status: int
) -> None:
    providers["openai"].set(Status(status, retry_after=30))
    with guarding(here("openai"), here("groq")) as guard:
        said = [guard.complete(f"hi {number}").content for number in range(3)]
    assert said == ["I am groq."] * 3
    assert providers["openai"].calls == 1
