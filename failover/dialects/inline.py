"""JSON schemas without references, for wires that cannot follow them (Gemini's).

Every ``$ref`` to a definition of the same schema becomes the definition itself; one that leads back into itself, or
out of the schema, becomes a schema that takes anything.  ``oneOf`` becomes ``anyOf``, which such wires know, and what
only concerns validators (``$schema``, ``$id``, ``additionalProperties``) goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DROPPED = frozenset(("$schema", "$id", "$defs", "definitions", "additionalProperties"))
BY_NAME = frozenset(("properties", "patternProperties"))
LITERAL = frozenset(("enum", "const", "default", "examples", "required"))


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` on its own two feet."""
    whole = _inlined(schema, schema, ())
    return whole if isinstance(whole, dict) else {}


def _inlined(node: Any, root: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, root, within) for item in node]
    if not isinstance(node, Mapping):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        return _followed(node, reference, root, within)
    return {
        "anyOf" if key == "oneOf" else key: _member(key, value, root, within)
        for key, value in node.items()
        if key not in DROPPED
    }


def _member(key: str, value: Any, root: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if key in LITERAL:
        return value
    if key in BY_NAME and isinstance(value, Mapping):
        return {name: _inlined(item, root, within) for name, item in value.items()}
    return _inlined(value, root, within)


def _followed(node: Mapping[str, Any], reference: str, root: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    """The definition, with what stands beside the reference (a description, a default) on top."""
    beside = {key: value for key, value in node.items() if key != "$ref"}
    target = None if reference in within else _target(reference, root)
    found = {} if target is None else _inlined(target, root, (*within, reference))
    return {**found, **_inlined(beside, root, within)}


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a local JSON pointer (``#/$defs/Name``) points at."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference[1:].split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
