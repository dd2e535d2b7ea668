"""JSON schemas that providers refuse: those of tools and of structured output.

Every provider demands an object at the root and items for every array.  Strict modes demand more: each object
closed (``additionalProperties: false``), each property required, and only some keywords.  ``problems`` says what
is wrong in OpenAI's words, with the place as its error messages show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Where = tuple[str, ...]
Problem = tuple[Where, str]

JSON_TYPES = frozenset(("object", "array", "string", "number", "integer", "boolean", "null"))


@dataclass(frozen=True, slots=True)
class Demands:
    """What a schema must be: ``closed`` objects, all properties ``required``, none of the ``refused`` keywords."""

    closed: bool = False
    all_required: bool = False
    refused: frozenset[str] = frozenset()


PLAIN = Demands()
OPENAI_STRICT = Demands(True, True, frozenset(("default", "oneOf", "allOf", "not", "patternProperties")))
ANTHROPIC_STRICT = Demands(closed=True, refused=frozenset(("oneOf", "minLength", "maxLength", "minimum", "maximum")))
CEREBRAS_STRICT = Demands(True, False, frozenset(("oneOf", "minItems", "maxItems", "pattern", "format")))
GEMINI = Demands(refused=frozenset(("oneOf", "$ref", "$defs", "$schema")))


def problems(schema: Any, demands: Demands) -> Iterator[Problem]:
    """What ``demands`` finds wrong with ``schema``, root first."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind != "object":
        shown = "None" if kind is None else kind
        yield (), f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{shown}\"'."
        return
    for where, node in walk(schema):
        for rule in RULES:
            if message := rule(node, demands):
                yield where, message


def walk(node: Any, where: Where = ()) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    """Every subschema with its place; property names are not taken for keywords."""
    if not isinstance(node, Mapping):
        return
    yield where, node
    for holder in ("properties", "$defs", "definitions"):
        for name, child in _children(node, holder):
            yield from walk(child, (*where, holder, name))
    for holder in ("anyOf", "oneOf", "allOf"):
        for index, child in enumerate(node.get(holder) or ()):
            yield from walk(child, (*where, holder, str(index)))
    yield from walk(node.get("items"), (*where, "items"))


def _children(node: Mapping[str, Any], holder: str) -> Iterator[tuple[str, Any]]:
    held = node.get(holder)
    if isinstance(held, Mapping):
        yield from held.items()


def context(where: Where) -> str:
    """The place, as OpenAI's messages show it."""
    inside = ", ".join(f"'{part}'" for part in where)
    return f"In context=({inside}{',' if len(where) == 1 else ''}), " if where else "In context=(), "


def _bad_type(node: Mapping[str, Any], demands: Demands) -> str | None:
    kinds = node.get("type", ())
    for kind in (kinds,) if isinstance(kinds, str) else kinds:
        if kind not in JSON_TYPES:
            return f"'{kind}' is not valid under any of the given schemas."
    return None


def _no_items(node: Mapping[str, Any], demands: Demands) -> str | None:
    return "array schema missing items." if node.get("type") == "array" and "items" not in node else None


def _bad_required(node: Mapping[str, Any], demands: Demands) -> str | None:
    properties = node.get("properties") or {}
    extra = [name for name in node.get("required") or () if name not in properties]
    return f"'required' names unknown properties: '{extra[0]}'." if extra and properties else None


def _open(node: Mapping[str, Any], demands: Demands) -> str | None:
    if not demands.closed or node.get("type") != "object" or node.get("additionalProperties") is False:
        return None
    return "'additionalProperties' is required to be supplied and to be false."


def _optional(node: Mapping[str, Any], demands: Demands) -> str | None:
    missing = [name for name in node.get("properties") or {} if name not in (node.get("required") or ())]
    if not demands.all_required or not missing:
        return None
    return (
        "'required' is required to be supplied and to be an array including every key in properties. "
        f"Missing '{missing[0]}'."
    )


def _refused(node: Mapping[str, Any], demands: Demands) -> str | None:
    found = next((keyword for keyword in node if keyword in demands.refused), None)
    return f"'{found}' is not permitted." if found else None


RULES: tuple[Callable[[Mapping[str, Any], Demands], str | None], ...] = (
    _bad_type,
    _no_items,
    _bad_required,
    _open,
    _optional,
    _refused,
)
