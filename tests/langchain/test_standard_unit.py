"""langchain-tests' own unit suite, unchanged, with everything switched on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests

from tests.langchain.standard import Able

# The suite itself calls what langchain-core deprecates or still tries out.
pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]


class TestChatFailover(Able, ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def _admitted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``allowed_objects="all"`` means all that langchain-core itself lists; users name our class in its place."""
        load = import_module("langchain_core.load.load")
        path = ("langchain_failover", "chat_models", "ChatFailover")
        listed = {**load.ALL_SERIALIZABLE_MAPPINGS, path: path}
        monkeypatch.setattr(load, "ALL_SERIALIZABLE_MAPPINGS", listed)
        monkeypatch.setattr(load, "_default_class_paths_cache", {})

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"targets": ["openai:gpt-6-luna"], "api_key": "test"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "from-env"}, {"targets": ["openai:gpt-6-luna"]}, {"max_retries": None}
