"""Runs every notebook from top to bottom and keeps what it shows: ``python scripts/notebooks.py [notebooks/…]``.

Nothing of the machine or the moment stays in them but the outputs: no timings, no kernel version, stable cell ids.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(paths: list[str]) -> None:
    for path in [Path(each) for each in paths] or sorted(NOTEBOOKS.glob("*.ipynb")):
        book = nbformat.read(path, 4)
        NotebookClient(book, timeout=60, kernel_name="python3").execute()
        _tidy(book)
        nbformat.write(book, path)
        print(path.name)


def _tidy(book: Any) -> None:
    book.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:02}"
        cell["metadata"] = {}
        if cell.cell_type == "code":
            cell.outputs = _merged(cell.outputs)


def _merged(outputs: list[Any]) -> list[Any]:
    """Text that was printed in pieces as one output."""
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


if __name__ == "__main__":
    main(sys.argv[1:])
