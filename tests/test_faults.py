"""No wrong answer is returned as success, and every call succeeds while one healthy target lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.matrix import DIALECTS, MODES, ROWS, Bench, Row, bench, play, table


@pytest.fixture(scope="module")
def on() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_fault_ends_as_the_table_says(on: Bench, row: Row, dialect: str, mode: str) -> None:
    expected = row.stream if "stream" in mode else row.plain
    ended, detail = play(on, dialect, row, mode)
    assert ended in expected.split(" or "), detail


def test_the_documentation_shows_these_rows() -> None:
    assert table() in (Path(__file__).parent.parent / "docs" / "faults.md").read_text()
