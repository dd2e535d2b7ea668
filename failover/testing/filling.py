"""Values that fit a JSON schema, taken from a prompt where it offers them: how the scripted model fills in arguments.

Numbers, quoted strings, proper names and ``name(value, ...)`` in the prompt are hints; each is used once, in order,
for the first property whose type it fits.  What no hint fits gets a plain value that the schema allows.
Optional properties are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")
QUOTED = re.compile("\"([^\"]+)\"|(?<!\\w)'([^']+)'(?!\\w)|\u201c([^\u201d]+)\u201d|`([^`]+)`")
PROPER = re.compile(r"(?<![.?!:\n]\s)(?<!^)\b[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)*(?:,\s*[A-Z]{2}\b)?")

FORMATS: Mapping[str, str] = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "duration": "PT1H",
}


class Hints:
    """What a prompt offers, consumed as it is used."""

    def __init__(self, prompt: str) -> None:
        quoted = [next(group for group in found if group) for found in QUOTED.findall(prompt)]
        rest = QUOTED.sub(" ", prompt)
        self.prompt = prompt
        self.strings = [*quoted, *(found.group() for found in PROPER.finditer(rest))]
        self.numbers: list[float] = [json.loads(found) for found in NUMBER.findall(rest) if _is_number(found)]

    def string(self) -> str | None:
        return self.strings.pop(0) if self.strings else None

    def number(self, fits: Callable[[float], bool]) -> float | None:
        found = next((number for number in self.numbers if fits(number)), None)
        if found is not None:
            self.numbers.remove(found)
        return found

    def choice(self, values: list[Any]) -> Any:
        """The value that the prompt mentions, else the first."""
        prompt = self.prompt.lower()
        return next((value for value in values if str(value).lower() in prompt), values[0])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", text) is not None


def arguments(schema: Schema, hints: Hints) -> dict[str, Any]:
    """Arguments for a tool with these parameters."""
    filled = fill(schema if schema else {"type": "object"}, hints, schema or {})
    return filled if isinstance(filled, dict) else {}


def fill(schema: Schema, hints: Hints, root: Schema, name: str = "value") -> Any:
    """A value that ``schema`` allows; ``root`` holds its definitions, ``name`` flavours made-up text."""
    schema = _plain(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return hints.choice(list(schema["enum"]))
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return FILLERS.get(kind, _null)(schema, hints, root, name)


def _plain(schema: Schema, root: Schema) -> Schema:
    """The schema behind a reference, or the first member of a union that is not null."""
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _plain(found, root)
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            real = [member for member in schema[union] if member.get("type") != "null"]
            return _plain(real[0] if real else schema[union][0], root)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for member in schema["allOf"]:
            merged |= _plain(member, root)
        return merged
    return schema


def _object(schema: Schema, hints: Hints, root: Schema, name: str) -> dict[str, Any]:
    properties: Schema = schema.get("properties") or {}
    needed = [key for key in schema.get("required") or () if key in properties]
    return {key: fill(properties[key], hints, root, key) for key in properties if key in needed}


def _array(schema: Schema, hints: Hints, root: Schema, name: str) -> list[Any]:
    least = max(1, schema.get("minItems") or 0)
    return [fill(schema.get("items") or {}, hints, root, name) for _ in range(least)]


def _string(schema: Schema, hints: Hints, root: Schema, name: str) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    text = hints.string() or f"a {name.replace('_', ' ')}"
    least, most = schema.get("minLength") or 0, schema.get("maxLength")
    return text.ljust(least, ".")[:most]


def _number(schema: Schema, hints: Hints, root: Schema, name: str) -> float:
    low, high = _limits(schema, 1e-9)
    found = hints.number(lambda number: low <= number <= high)
    return found if found is not None else min(max(1.0, low), high)


def _integer(schema: Schema, hints: Hints, root: Schema, name: str) -> int:
    low, high = _limits(schema, 1)
    step = schema.get("multipleOf") or 1
    found = hints.number(lambda number: low <= number <= high and number == int(number) and number % step == 0)
    if found is not None:
        return int(found)
    least = min(max(1, low), high)
    return int(-(-least // step) * step)


def _limits(schema: Schema, step: float) -> tuple[float, float]:
    low = max(schema.get("minimum", float("-inf")), schema.get("exclusiveMinimum", float("-inf")) + step)
    high = min(schema.get("maximum", float("inf")), schema.get("exclusiveMaximum", float("inf")) - step)
    return low, high


def _boolean(schema: Schema, hints: Hints, root: Schema, name: str) -> bool:
    return True


def _null(schema: Schema, hints: Hints, root: Schema, name: str) -> None:
    return None


FILLERS: Mapping[str, Callable[[Schema, Hints, Schema, str], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
}
