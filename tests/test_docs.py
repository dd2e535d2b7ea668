"""Every Python block of README.md and docs/*.md runs, top to bottom, each file in a namespace of its own.

Nothing leaves the machine: every provider that has a key variable is a scripted one on loopback, found through its
``..._BASE_URL``, with a made-up key.  A ``text`` block right after a Python block is what that block prints; figures
that differ from run to run (times, ids) are not compared.  ``<!-- not run: why -->`` right before a block leaves it
out.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import closing, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from llama_index.core import Settings

from failover import Failover, logs
from failover.dialects.providers import PROVIDERS
from failover.testing import ScriptedProvider, serve

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
FENCE = re.compile(
    r"(?P<left_out><!-- not run: [^\n]+ -->\n\n?)?^```python\n(?P<code>.*?)^```$(\n+```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
CHANGING = re.compile(r"\d+\.\d+(e-\d+)?(?= ?(m?s|x)\b|[,}])|\b(msg|resp|chatcmpl|call|toolu|lc|run)[-_][\w-]+|0x\w+")
"""Times and ids."""
KEY = "made-up"
LANGCHAIN = tuple(map(int, version("langchain-core").split(".")[:2]))


@dataclass(frozen=True)
class Block:
    """Some Python, and what the page says it prints."""

    line: int
    code: str
    printed: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [match for match in FENCE.finditer(text) if not match["left_out"]]
    return [Block(text.count("\n", 0, match.start("code")), match["code"], match["printed"]) for match in found]


PACKAGES = ("failover", "langchain_failover", "llamaindex_failover")


def shown_in_docstrings() -> Iterator[tuple[str, str]]:
    """Indented Python that does something, by the file whose docstring shows it."""
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        code = dedent("".join(re.findall(r"^(?:    .*)?\n", text + "\n", re.MULTILINE))).strip()
        with suppress(SyntaxError):
            if any(isinstance(step, ast.Import | ast.ImportFrom) for step in ast.parse(code).body):
                yield str(path.relative_to(ROOT)), code


@pytest.fixture
def _scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Providers that answer by themselves, under the names and keys that a user would have."""
    monkeypatch.chdir(tmp_path)
    rows = [row for row in PROVIDERS.values() if row.key_env and row.base_url]
    with serve(*(ScriptedProvider(row.name, key=KEY) for row in rows)) as servers:
        for row in rows:
            monkeypatch.setenv(row.key_env[0], KEY)
            monkeypatch.setenv(row.base_url_env, servers[row.name].base_url)
        yield


@pytest.fixture
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a page sets for the whole process is as it was for whoever comes after it."""
    monkeypatch.setattr(Settings, "_llm", Settings._llm)
    loggers = [logging.getLogger(), *(logs.ROOT, logs.CALLS, logs.TARGETS, logs.BUDGETS, logs.STORES)]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def names() -> dict[str, Any]:
    """What a reader is supposed to have: any prompt, any parser."""
    return {
        "__name__": "page",
        "prompt": ChatPromptTemplate.from_template("Tell me about {topic}."),
        "parser": StrOutputParser(),
    }


def perform(block: Block, page: Path, known: dict[str, Any], loop: asyncio.AbstractEventLoop) -> str:
    """Runs a block, with ``await`` as in a notebook; what it printed."""
    code = compile("\n" * block.line + block.code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with redirect_stdout(StringIO()) as heard:
        result = eval(code, known)
        if inspect.iscoroutine(result):
            loop.run_until_complete(result)
    return heard.getvalue()


def test_the_pages_have_code() -> None:
    assert blocks(ROOT / "README.md")


@pytest.mark.skipif(LANGCHAIN < (1, 7), reason="the pages show what the newest versions print")
@pytest.mark.usefixtures("_scripted", "_as_before")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # clients a reader would not close
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the frameworks' own
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_happens(page: Path) -> None:
    known = names()
    with closing(asyncio.new_event_loop()) as loop:  # not asyncio.run, which would end pytest-asyncio's
        for block in blocks(page):
            printed = perform(block, page, known, loop)
            if block.printed is not None:
                assert CHANGING.sub("…", printed) == CHANGING.sub("…", block.printed), f"{page.name}:{block.line}"
    known.clear()
    gc.collect()  # here, where what was left open may be complained about


@pytest.mark.usefixtures("_scripted", "_as_before")
@pytest.mark.parametrize(("where", "code"), [*shown_in_docstrings()], ids=lambda text: text if ".py" in text else "")
def test_what_a_docstring_shows_runs(where: str, code: str) -> None:
    guard = Failover(["openai:gpt-6-luna"])
    exec(compile(code, where, "exec"), {"guard": guard, "httpx": httpx})
    guard.close()


def test_some_docstrings_show_something() -> None:
    assert len(list(shown_in_docstrings())) >= 3
