"""Every option as a table, from the code: docs/options.md.

Names, defaults and ranges come from the fields, meanings from the docstrings (``name, name: meaning``).

    python scripts/options.py > docs/options.md
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from failover import settings
from failover._options import OnContentFilter, OnStoreLost, OnStreamCut
from failover._routing import Strategy
from failover.client import Failover

ENTRY = re.compile(r"(?P<names>[a-z_0-9]+(?:, [a-z_0-9]+)*): (?P<meaning>.*)")
CHOICES = {
    "Strategy": Strategy,
    "OnStreamCut": OnStreamCut,
    "OnContentFilter": OnContentFilter,
    "OnStoreLost": OnStoreLost,
}
SECTIONS = (
    "Target",
    "Budget",
    "CircuitBreaker",
    "RateLimit",
    "Retry",
    "Hedge",
    "Timeouts",
    "Cache",
    "Price",
    "Tier",
    "Hours",
)
INTRODUCTION = """\
# Options

Generated from the code; all are checked when the object is built, and an unknown one is an error.  Times are seconds,
money is US dollars.
"""


def document() -> str:
    """The whole page."""
    tree = ast.parse(Path(settings.__file__).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    ranges = dict(_ranges(tree))
    parts = [INTRODUCTION, *_section("Failover", Failover.__doc__ or "", _parameters())]
    for name in SECTIONS:
        fields = [(field, default, ranges.get(kind) or _kind(kind)) for field, default, kind in _fields(classes[name])]
        parts += _section(name, inspect.getdoc(getattr(settings, name)) or "", fields)
    return "\n".join(parts).replace("``", "`")


def _section(name: str, docstring: str, fields: list[tuple[str, str, str]]) -> Iterator[str]:
    text = inspect.cleandoc(docstring)
    known = {field for field, _, _ in fields}
    said = {each: meaning for names, meaning in _entries(text) for each in names if each in known}
    if known - said.keys():
        raise SystemExit(f"{name}: the docstring says nothing of {', '.join(sorted(known - said.keys()))}")
    yield f"## `{name}`\n"
    yield text.partition("\n")[0] + "\n"
    yield "| option | default | what to write | meaning |"
    yield "|---|---|---|---|"
    for field, default, kind in fields:
        yield f"| `{field}` | {default} | {kind} | {said[field]} |"
    yield ""


def _entries(text: str) -> Iterator[tuple[list[str], str]]:
    """What a docstring says of names; indented lines go on with the last one."""
    found: list[tuple[list[str], str]] = []
    for line in text.splitlines()[1:]:
        if match := ENTRY.match(line):
            found.append((match["names"].split(", "), match["meaning"]))
        elif found and line.startswith("    "):
            names, meaning = found[-1]
            found[-1] = names, f"{meaning} {line.strip()}"
    return iter(found)


def _parameters() -> list[tuple[str, str, str]]:
    given = inspect.signature(Failover.__init__).parameters.values()
    return [(each.name, _default(each.default), _kind(str(each.annotation))) for each in given if each.name != "self"]


def _default(value: object) -> str:
    return "required" if value is inspect.Parameter.empty else f"`{value!r}`"


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, default and kind of each field, as they are written."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id != "_":
            default = "required" if item.value is None else _written(item.value)
            yield item.target.id, default, ast.unparse(item.annotation).removesuffix(" | None")


def _written(value: ast.expr) -> str:
    if isinstance(value, ast.Call):  # Field(default=..., ...)
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        return f"`{ast.unparse(given['default'])}`" if "default" in given else "empty"
    return f"`{ast.unparse(value)}`"


def _kind(annotation: str) -> str:
    """An annotation as a reader would say it."""
    choices = get_args(CHOICES.get(annotation) or getattr(settings, annotation, None))
    if annotation.startswith("Literal["):
        choices = ast.literal_eval(annotation.removeprefix("Literal"))
    if choices:
        return " or ".join(f"`{choice!r}`" for choice in choices)
    plain = re.sub(r"Annotated\[(\w+), .*\]", r"\1", annotation.removesuffix(" | None"))
    return plain.replace(" | ", " or ").replace("events.", "")


def _ranges(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The phrase that each annotated kind of number answers a wrong value with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "says":
                    yield node.targets[0].id, ast.literal_eval(call.args[0])


if __name__ == "__main__":
    sys.stdout.write(document())
