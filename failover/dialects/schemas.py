"""JSON schemas cut down to what constrained decoding takes, or put into words.

Anthropic compiles a schema into a grammar and refuses what it cannot compile: objects must be closed, ``oneOf`` is
``anyOf``, numbers and strings have no bounds.  What is taken out is kept as words in the description, so that the
model still reads it.  The subset is the one that the vendor's own SDK (2.12) cuts schemas down to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failover.dialects.body import dumps
from failover.types import JsonFormat

PLAIN = frozenset(("type", "enum", "const", "description", "title", "required", "default"))
NAMED = frozenset(("properties", "$defs", "definitions"))
LISTED = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
)

ONLY_JSON = "Answer with one JSON object and nothing else: no explanation and no code fence."
LIKE_THIS = "It must be valid under this JSON schema:"


def in_words(wanted: JsonFormat) -> str:
    """What a format asks for, said to the model, for wires and models that cannot be told otherwise."""
    return f"{ONLY_JSON} {LIKE_THIS}\n{dumps(wanted.schema)}" if wanted.schema else ONLY_JSON


def closed(schema: Any) -> Any:
    """``schema`` within the subset; what is not an object (``true``, garbage) is returned as it is."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    hints: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            kept[key] = value
        elif key in LISTED and isinstance(value, list):
            kept[LISTED[key]] = [closed(each) for each in value]
        elif key != "additionalProperties":
            (kept if _takes(key, value) else hints)[key] = _nested(key, value)
    if "$ref" in kept:
        return {key: value for key, value in kept.items() if key in ("$ref", "$defs", "definitions")}
    if kept.get("type") == "object" or "properties" in kept:
        kept["additionalProperties"] = False
    return kept | _described(kept, hints)


def _takes(key: str, value: Any) -> bool:
    if key == "format":
        return value in FORMATS
    if key == "minItems":
        return value in (0, 1)
    return key in PLAIN or key in NAMED or key == "items"


def _nested(key: str, value: Any) -> Any:
    if key in NAMED and isinstance(value, Mapping):
        return {name: closed(each) for name, each in value.items()}
    return closed(value) if key == "items" else value


def _described(kept: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    if not hints:
        return {}
    words = ", ".join(f"{key}: {dumps(value)}" for key, value in hints.items())
    before = kept.get("description")
    return {"description": f"{before}\n\n({words})" if before else f"({words})"}
