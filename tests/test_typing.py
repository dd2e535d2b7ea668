"""What a type checker sees of failover is part of its public face."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parent.parent


def test_the_public_face_is_typed_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # for the cache that `make types` has just filled
    found, _, status = api.run(["tests/typing/public_api.py"])
    assert status == 0, found
