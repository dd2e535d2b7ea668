"""Which chunks are handed on, and how a continued answer is joined to what the caller has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover._shaper import Overlap, Shaper, chunks_of
from failover.types import Answer, Chunk, Message, Text, Thinking, ToolCall, Usage


def feed_all(said: str, pieces: list[str]) -> tuple[str, Overlap]:
    overlap = Overlap(said)
    out = "".join(map(overlap.feed, pieces)) + overlap.flush()
    return out, overlap


def test_a_chunk_without_content_does_not_commit() -> None:
    shaper = Shaper()
    assert shaper.feed(Chunk()) is None
    assert not shaper.committed


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(text="a"),
        Chunk(reasoning="a"),
        Chunk(tool_calls=(ToolCall("1", "f", "{}"),)),
    ],
)
def test_content_of_any_sort_commits(chunk: Chunk) -> None:
    shaper = Shaper()
    assert shaper.feed(chunk) is chunk
    assert shaper.committed


def test_sealed_reasoning_commits_to_nothing_and_goes_with_the_first_content() -> None:
    shaper = Shaper()
    seal = Thinking(signature="s")
    assert shaper.feed(Chunk(blocks=(seal,))) is None
    assert not shaper.committed
    first = shaper.feed(Chunk(text="a"))
    assert first is not None
    assert first.blocks == (seal,)
    assert shaper.feed(Chunk(blocks=(seal,))) is not None


def test_what_was_held_back_of_a_failed_attempt_is_not_handed_on() -> None:
    shaper = Shaper()
    shaper.feed(Chunk(blocks=(Thinking(signature="of the first"),)))
    shaper.fresh()
    first = shaper.feed(Chunk(text="a"))
    assert first is not None
    assert first.blocks == ()


SAID = "The quick brown fox jumps over the lazy dog, and then it "


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("continuation", "expected"),
    [
        ("sleeps.", "sleeps."),  # goes on as asked
        (SAID + "sleeps.", "sleeps."),  # starts over
        ("dog, and then it sleeps.", "sleeps."),  # overlaps
        ("it sleeps.", "it sleeps."),  # too short to be an overlap for sure
        ("", ""),
    ],
)
def test_nothing_is_doubled_however_the_continuation_comes(size: int, continuation: str, expected: str) -> None:
    pieces = [continuation[at : at + size] for at in range(0, len(continuation), size)]
    out, overlap = feed_all(SAID, pieces)
    assert out == expected
    assert not overlap.diverged


def test_an_answer_that_starts_over_and_says_something_else_cannot_be_joined() -> None:
    out, overlap = feed_all(SAID, list("The quick brown fox jumps over the fence instead, which is a surprise."))
    assert overlap.diverged
    assert out == ""


@given(st.text("ab ", max_size=60), st.text("ab ", max_size=60), st.integers(1, 9))
def test_what_a_continuation_loses_is_only_what_was_said_already(said: str, new: str, size: int) -> None:
    out, overlap = feed_all(said, [new[at : at + size] for at in range(0, len(new), size)])
    if not overlap.diverged:
        assert new.endswith(out)
        cut = new[: len(new) - len(out)]
        assert said.endswith(cut) or said == cut


@given(st.text(max_size=40), st.lists(st.text(max_size=9), max_size=9))
def test_trimming_does_not_depend_on_how_the_text_is_cut(said: str, pieces: list[str]) -> None:
    assert feed_all(said, pieces)[0] == feed_all(said, ["".join(pieces)])[0]


def test_the_joined_answer_has_all_text_the_last_calls_and_the_usage_of_both() -> None:
    shaper = Shaper()
    shaper.feed(Chunk(text="one "))
    shaper.continues(shaper.said)
    shaper.feed(Chunk(text="two"))
    shaper.flush()
    call = ToolCall("1", "f", "{}")
    last = Answer(Message("assistant", (Text("two"), call)), usage=Usage(3, 4))
    joined = shaper.joined(last, Usage(1, 2, cost=None))
    assert joined.message.content == (Text("one two"), call)
    assert (joined.usage.input_tokens, joined.usage.output_tokens) == (4, 6) if joined.usage else False


def test_a_whole_answer_as_chunks_keeps_every_block() -> None:
    blocks = (Thinking("hm"), Thinking("", signature="s"), Text("hi"), ToolCall("1", "f", "{}"))
    chunks = chunks_of(Answer(Message("assistant", blocks)))
    assert [chunk.index for chunk in chunks] == [0, 1, 2, 3]
    assert chunks[0].reasoning == "hm"
    assert chunks[1].blocks == (blocks[1],)
    assert chunks[2].text == "hi"
    assert chunks[3].tool_calls == (blocks[3],)
