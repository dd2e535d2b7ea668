"""What a LlamaIndex LLM owes its callers, as tests that take the LLM under test as a parameter.

LlamaIndex has no such suite.  This one asks an LLM only through LlamaIndex's public interface, over real HTTP, against
scripted providers (``failover.testing``) that answer what a test says and refuse what the real APIs refuse.  A subclass
supplies the fixture ``bench``: the LLM, and the providers it may ask.

    class TestMine(LlmConformance):
        @pytest.fixture
        def bench(self, monkeypatch) -> Iterator[Bench]:
            provider = ScriptedProvider("openai")
            monkeypatch.setenv("OPENAI_API_KEY", provider.key)
            with serve(provider) as servers:
                yield Bench(OpenAI("gpt-4.1", api_base=servers["openai"].base_url), [provider])

What a wire or a model cannot do at all is left out by name in ``cannot``: ``shown thinking``, ``images``,
``documents``, ``storage`` (being written down or sent to another process).  Keys must also stand in the environment: an
LLM that is written down or sent elsewhere does not take its key along.

Needs pytest and pytest-asyncio with ``asyncio_mode = auto``.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("bench", "asking", "calling", "contents", "living", "applying"))
)

from llamaindex_failover.testing.applying import Applications  # noqa: E402  # after the line that lets asserts explain
from llamaindex_failover.testing.asking import Answers, Errors, Events, Streams  # noqa: E402
from llamaindex_failover.testing.bench import Bench, Book, Ear, Theme  # noqa: E402
from llamaindex_failover.testing.calling import Histories, Tools  # noqa: E402
from llamaindex_failover.testing.contents import Objects, Sights, Thoughts  # noqa: E402
from llamaindex_failover.testing.living import Identity, Lifecycle, Prompts  # noqa: E402


class LlmConformance(
    Answers,
    Streams,
    Events,
    Errors,
    Tools,
    Histories,
    Thoughts,
    Sights,
    Objects,
    Prompts,
    Applications,
    Identity,
    Lifecycle,
):
    """The whole suite.  Subclass it and supply the fixture ``bench``."""


THEMES = LlmConformance.__bases__


__all__ = ["THEMES", "Bench", "Book", "Ear", "LlmConformance", "Theme"]
