"""Fixtures of the LlamaIndex tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.instrumentation import get_dispatcher

from llamaindex_failover.testing import Ear


@pytest.fixture
def ear() -> Iterator[list[str]]:
    """The names of all instrumentation events, as they come."""
    root, ear = get_dispatcher(), Ear()
    root.add_event_handler(ear)
    yield ear._heard
    root.event_handlers.remove(ear)
