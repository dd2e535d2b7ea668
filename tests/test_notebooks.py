"""The notebooks run from top to bottom in a real kernel, without a key, and were committed as they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
CHANGING = re.compile(r"\d+(\.\d+)? m?s\b|0x[0-9a-f]+|In \[\d+\]")
"""What differs from run to run."""
FIGURE = re.compile(r"[$\d][\d.,]*( (min|h|d))?")
STORIES = [path for path in NOTEBOOKS if path.name[0].isdigit()]


def outputs(book: Any) -> list[str]:
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return [CHANGING.sub("", str([_said(output) for output in cell.outputs])) for cell in cells]


def _said(output: Any) -> str:
    """What an output says; of a picture's text the headline without its figures.

    The rest depends on the machine's speed, or changes with each draw of a simulation.
    """
    assert output.output_type != "error", output
    data = output.get("data", {})
    text = str(output.get("text") or data.get("text/plain", ""))
    return f"picture: {FIGURE.sub('', text.splitlines()[0])}" if "text/html" in data else text


def test_the_notebooks_tell_six_stories_each_with_a_picture() -> None:
    assert [path.name[:2] for path in STORIES] == ["01", "02", "03", "04", "05", "06"]
    assert all("<svg" in path.read_text() for path in STORIES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::UserWarning:jupyter_client", "ignore::DeprecationWarning")  # the kernel's own
def test_a_notebook_says_today_what_it_said_when_it_was_committed(path: Path) -> None:
    committed = nbformat.read(path, 4)
    run = nbformat.read(path, 4)
    NotebookClient(run, timeout=60, kernel_name="python3").execute()
    assert outputs(run) == outputs(committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_secret_and_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"sk-[A-Za-z0-9]|gsk_|Bearer |/home/|/root/|/Users/|/tmp/|/work/", text)
