"""What type checkers see of failover is part of its public face: mypy says so, and pyright's engine agrees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parent.parent
FACES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "typing").glob("*.py"))


def test_the_public_face_is_typed_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # for the cache that `make types` has just filled
    found, _, status = api.run(FACES)
    assert status == 0, found


def test_another_type_checker_sees_the_same_face() -> None:
    checker = [sys.executable, "-m", "basedpyright", "--level", "error"]
    done = subprocess.run(checker, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
