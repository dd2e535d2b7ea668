"""Pages that are made from the code are as the code is; ``make docs`` writes them anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("page", "command"),
    [("failures.md", ["-m", "failover.failures"]), ("options.md", ["scripts/options.py"])],
    ids=["failures", "options"],
)
def test_a_generated_page_is_as_the_code_is(page: str, command: list[str]) -> None:
    made = subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert made == (ROOT / "docs" / page).read_text(encoding="utf-8"), "write it anew with: make docs"
