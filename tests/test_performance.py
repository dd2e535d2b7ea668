"""What a call costs in Python function calls: the one measure of speed that no noise can change."""

from __future__ import annotations

from benchmarks import count


def test_a_call_takes_few_function_calls_above_its_transport() -> None:
    assert count.of_a_plain_call().total() <= 230


def test_every_protection_together_takes_few_more() -> None:
    assert count.of_a_call().total() <= 290


def test_a_chunk_of_a_stream_takes_at_most_eight() -> None:
    assert count.of_a_chunk() <= 8
