"""The conformance suite for LlamaIndex LLMs, run on ``FailoverLLM`` and on LlamaIndex's own integrations.

    python benchmarks/llamaindex_conformance.py                     # makes an environment for it and throws it away
    python benchmarks/llamaindex_conformance.py docs/llamaindex-conformance.md      # and writes the page

Every LLM is asked the same things over real HTTP by the same strict scripted providers; about eight minutes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__)
ROOT = HERE.parent.parent
REQUIREMENTS = HERE.with_suffix(".txt")


def in_an_environment_of_its_own(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = str(Path(place) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS), f"{ROOT}[llamaindex]"], check=True)  # noqa: S603  # our own words
        return subprocess.run([python, str(HERE), *arguments], check=False).returncode  # noqa: S603  # as above


if importlib.util.find_spec("llama_index.llms.litellm") is None:
    sys.exit(in_an_environment_of_its_own(sys.argv[1:]))

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # litellm would fetch its prices from the network
sys.path.insert(0, str(ROOT))

import litellm  # noqa: E402  # only now is it certain to be there
import pytest  # noqa: E402
from llama_index.llms.anthropic import Anthropic  # noqa: E402
from llama_index.llms.litellm import LiteLLM  # noqa: E402
from llama_index.llms.openai import OpenAI, OpenAIResponses  # noqa: E402
from llama_index.llms.openai_like import OpenAILike  # noqa: E402

from failover.testing import ScriptedProvider, serve  # noqa: E402
from llamaindex_failover import FailoverLLM  # noqa: E402
from llamaindex_failover.testing import THEMES, Bench, LlmConformance  # noqa: E402
from tests.llamaindex.test_conformance import (  # noqa: E402
    KEY,
    TestAnthropic,
    TestMixed,
    TestOpenAIChat,
    TestOpenAIResponses,
    TestTroubled,
)

litellm.user_url_allowed_hosts = ["127.0.0.1"]  # where a test has its picture

# ---------------------------------------------------------------- subjects


class Over(LlmConformance):
    """The suite over one integration of LlamaIndex's, made for the address of a scripted provider."""

    __test__ = False
    like = "openai"
    make: Callable[[str], Any]

    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        provider = ScriptedProvider(self.like, key=KEY)
        with serve(provider) as servers:
            yield Bench(type(self).make(servers[self.like].base_url), [provider])


class TestOpenAILlm(Over):
    __test__ = True
    cannot = frozenset({"shown thinking"})
    make = staticmethod(lambda url: OpenAI("gpt-4.1", api_base=url, max_retries=0))


class TestOpenAIResponsesLlm(Over):
    __test__ = True
    cannot = frozenset({"shown thinking"})
    make = staticmethod(lambda url: OpenAIResponses("gpt-4.1", api_base=url, max_retries=0))


class TestOpenAILikeLlm(Over):
    __test__ = True
    cannot = frozenset({"shown thinking"})
    make = staticmethod(
        lambda url: OpenAILike(
            "gpt-4.1",
            api_base=url,
            api_key=KEY,
            context_window=128_000,
            is_chat_model=True,
            is_function_calling_model=True,
            max_retries=0,
        )
    )


class TestAnthropicLlm(Over):
    __test__ = True
    like = "anthropic"
    make = staticmethod(lambda url: Anthropic("claude-haiku-4-5", base_url=url.removesuffix("/v1"), max_retries=0))


class TestLiteLlmOverOpenAI(Over):
    __test__ = True
    cannot = frozenset({"shown thinking"})
    make = staticmethod(lambda url: LiteLLM("openai/gpt-4.1", api_base=url, api_key=KEY, max_retries=0))


class TestLiteLlmOverAnthropic(Over):
    __test__ = True
    like = "anthropic"
    make = staticmethod(
        lambda url: LiteLLM("anthropic/claude-haiku-4-5", api_base=url.removesuffix("/v1"), api_key=KEY, max_retries=0)
    )


class TestFailoverOverOpenAI(Over):
    __test__ = True
    cannot = frozenset({"shown thinking", "storage"})
    make = staticmethod(lambda url: FailoverLLM(OpenAI("gpt-4.1", api_base=url), response_cache=False))


class TestFailoverOverAnthropic(Over):
    __test__ = True
    like = "anthropic"
    cannot = frozenset({"storage"})
    make = staticmethod(
        lambda url: FailoverLLM(Anthropic("claude-haiku-4-5", base_url=url.removesuffix("/v1")), response_cache=False)
    )


class TestFailoverOverLiteLlm(Over):
    __test__ = True
    cannot = frozenset({"shown thinking", "storage"})
    make = staticmethod(
        lambda url: FailoverLLM(LiteLLM("openai/gpt-4.1", api_base=url, api_key=KEY), response_cache=False)
    )


SUBJECTS: dict[str, type[LlmConformance]] = {
    "FailoverLLM, OpenAI Chat": TestOpenAIChat,
    "FailoverLLM, OpenAI Responses": TestOpenAIResponses,
    "FailoverLLM, Anthropic": TestAnthropic,
    "FailoverLLM, all three mixed": TestMixed,
    "FailoverLLM, mixed, under faults": TestTroubled,
    "FailoverLLM, an OpenAI LLM as target": TestFailoverOverOpenAI,
    "FailoverLLM, an Anthropic LLM as target": TestFailoverOverAnthropic,
    "FailoverLLM, a LiteLLM LLM as target": TestFailoverOverLiteLlm,
    "OpenAI": TestOpenAILlm,
    "OpenAIResponses": TestOpenAIResponsesLlm,
    "OpenAILike": TestOpenAILikeLlm,
    "Anthropic": TestAnthropicLlm,
    "LiteLLM, openai/": TestLiteLlmOverOpenAI,
    "LiteLLM, anthropic/": TestLiteLlmOverAnthropic,
}

# ----------------------------------------------------------------- tallying


class Tally:
    """A pytest plugin: how many tests of each theme each subject passed, and why it did not pass the others."""

    def __init__(self) -> None:
        self.passed: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[tuple[str, str]] = Counter()
        self.why: dict[str, dict[str, str]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, subject, test = report.nodeid.split("::")
        place = subject, theme_of(test.partition("[")[0])
        if report.when == "call" and not report.skipped:
            self.asked[place] += 1
            self.passed[place] += report.passed
        if report.failed:
            self.why[subject][test] = reason(report)


def theme_of(test: str) -> str:
    return next(theme.__name__ for theme in THEMES if test in vars(theme))


def reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0][:160] if crash else str(report.longrepr).splitlines()[-1][:160]


# ------------------------------------------------------------------- pages


def table(tally: Tally) -> Iterator[str]:
    yield f"| | {' | '.join(theme.__name__.lower() for theme in THEMES)} | all |"
    yield f"|---|{'---|' * (len(THEMES) + 1)}"
    for name, subject in SUBJECTS.items():
        places = [(subject.__name__, theme.__name__) for theme in THEMES]
        cells = [f"{tally.passed[place]}/{tally.asked[place]}" for place in places]
        passed, asked = (sum(counts[place] for place in places) for counts in (tally.passed, tally.asked))
        yield f"| {name} | {' | '.join(cells)} | **{passed}/{asked}** |"


def failures(tally: Tally) -> Iterator[str]:
    for name, subject in SUBJECTS.items():
        if why := tally.why[subject.__name__]:
            yield f"\n### {name}\n"
            yield from map(failure, groupby(sorted(why.items()), lambda item: item[0].partition("[")[0]))


def failure(group: tuple[str, Iterable[tuple[str, str]]]) -> str:
    """One line for a test, with the ways in which it failed."""
    test, found = group[0], list(group[1])
    ways = [name.partition("[")[2].removesuffix("]") for name, _ in found if "[" in name]
    told = f" ({', '.join(ways)})" if ways else ""
    return f"- {test.removeprefix('test_').replace('_', ' ')}{told}: `{found[0][1].replace('`', '')}`"


PAGE = """# What LlamaIndex LLMs keep of what they owe

Written by `python benchmarks/llamaindex_conformance.py {argument}`; do not edit.

The suite is `llamaindex_failover.testing.LlmConformance`. Every LLM is asked the same, over HTTP on loopback, by
scripted providers that answer what a test says and refuse what the real APIs refuse. A cell says how many tests passed
of those that apply (a model that shows no thinking is not asked for it). "Under faults": in front of three sound
targets stand two that fail every request, each time in another way.

Versions: {versions}.

{table}

## Tests that failed, and the first line of why
{failures}
"""
INTEGRATIONS = ("openai", "openai-like", "anthropic", "litellm")
COMPARED = (
    "llama-index-core",
    *(f"llama-index-llms-{name}" for name in INTEGRATIONS),
    "openai",
    "anthropic",
    "litellm",
)


def page(tally: Tally, argument: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in COMPARED)
    return PAGE.format(
        argument=argument, versions=versions, table="\n".join(table(tally)), failures="\n".join(failures(tally))
    )


def main(argument: str = "") -> None:
    tally = Tally()
    settings = ["-c", os.devnull, "--rootdir", str(ROOT), "-o", "asyncio_mode=auto", "-W", "ignore", "--timeout", "60"]
    pytest.main(
        [str(HERE), "-q", "--tb=line", "--no-header", "-n", "2", "-p", "no:cacheprovider", *settings], plugins=[tally]
    )
    print("\n".join(table(tally)))
    if argument:
        Path(argument).write_text(page(tally, argument))


if __name__ == "__main__":
    main(*sys.argv[1:])
