"""What is shipped, what it needs, and what it costs to import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import failover

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def needed_by(name: str, seen: set[str]) -> set[str]:
    """A distribution and everything it needs, extras aside."""
    if name not in seen:
        seen.add(name)
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed_by(canonicalize_name(requirement.name), seen)
    return seen


def test_the_core_needs_httpx_and_pydantic_and_nothing_else() -> None:
    assert {Requirement(line).name for line in PROJECT["project"]["dependencies"]} == {"httpx", "pydantic"}


def test_installing_the_core_brings_at_most_a_dozen_distributions() -> None:
    assert len(needed_by("httpx", set()) | needed_by("pydantic", set())) <= 12


def test_all_brings_every_other_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = (Requirement(line) for line in extras["all"])
    assert everything.extras == extras.keys() - {"all"}


# ------------------------------------------------------------------- locks


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_host_no_path_and_no_index(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"://|@ |^-|file:|\.whl|/(?:home|root|tmp|opt)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_what_the_project_asks_for_within_its_ranges(lock: Path) -> None:
    pinned = {
        canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.\-]+)==([\w.]+)", lock.read_text(), re.M)
    }
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    for requirement in map(Requirement, lines):
        if requirement.name != "failover":
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


# --------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    made = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = made.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_three_typed_packages_the_price_table_and_the_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "failover",
        "langchain_failover",
        "llamaindex_failover",
    }
    for package in ("failover", "langchain_failover", "llamaindex_failover"):
        assert f"{package}/py.typed" in names
    assert "failover/_prices.json" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_says_its_version_and_what_can_be_installed_with_it(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = wheel.read(name).decode()
    for extra in PROJECT["project"]["optional-dependencies"]:
        assert f"Provides-Extra: {extra}" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert f"\nVersion: {failover.__version__}\n" in metadata


# -------------------------------------------------------------- the import

ADDED = """
import asyncio, subprocess, sys, tracemalloc
import httpx, pydantic.dataclasses
from pydantic import BaseModel, SecretStr
httpx.Client().close()
before = set(sys.modules)
tracemalloc.start()  # not earlier: it makes every import several times slower
import failover
failover.Failover
from failover import prices
added = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(tracemalloc.get_traced_memory()[0], prices._table.cache_info().currsize, *added)
"""


def output(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def foreign(modules: list[str]) -> set[str]:
    return {name for name in modules if name not in sys.stdlib_module_names and not name.startswith("_")}


@pytest.fixture(scope="module")
def added() -> list[str]:
    """What the orchestrator adds to httpx and pydantic at work: bytes, price tables read, top-level modules."""
    return output(ADDED)


def test_importing_failover_loads_nothing_but_itself() -> None:
    loaded = "import sys; before = set(sys.modules); import failover; print(*set(sys.modules) - before)"
    assert foreign([name.partition(".")[0] for name in output(loaded)]) == {"failover"}


def test_the_orchestrator_takes_at_most_five_mebibytes(added: list[str]) -> None:
    assert int(added[0]) <= 5 * 2**20


def test_the_price_table_is_not_read_before_it_is_needed(added: list[str]) -> None:
    assert int(added[1]) == 0


def test_the_orchestrator_loads_no_package_but_those_it_needs(added: list[str]) -> None:
    assert foreign(added[2:]) <= {"failover", "pydantic"}  # pydantic fetches its own parts when they are first used
