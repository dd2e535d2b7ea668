"""The shape of a request body, as data, and what is wrong with one that does not have it.

A spec says what a value may be; ``check(value, spec)`` yields a ``Finding`` for everything that it is not.
Findings are neutral: which status and which words a provider has for them is ``wording``'s business, so that
one spec serves providers that phrase the same refusal differently.

    Obj({"role": Enum(("user",)), "content": Either(Str(), List(PART, 1))}, required=("role",))

A path is a tuple of field names and indexes.  ``Tagged`` adds the tag it chose, wrapped in ``Tag``, because some
providers show it in their paths and some do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FindingKind = Literal[
    "unknown", "missing", "type", "value", "tag", "below", "above", "pattern", "too_long", "empty", "too_many"
]


@dataclass(frozen=True, slots=True)
class Tag:
    """The member of a tagged union that a path went through."""

    name: str


Step = str | int | Tag
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong.  ``want`` is what was expected or the limit, ``got`` what was there."""

    kind: FindingKind
    path: Path
    want: Any = None
    got: Any = None


# ------------------------------------------------------------------- specs


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""


@dataclass(frozen=True, slots=True)
class Bool:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Null:
    """null."""


@dataclass(frozen=True, slots=True)
class Num:
    """A number within bounds."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number within bounds."""

    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Str:
    """Text; ``pattern`` must match it all, ``longest`` counts characters."""

    pattern: str | None = None
    longest: int | None = None


@dataclass(frozen=True, slots=True)
class Enum:
    """One of these strings."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class List:
    """An array."""

    item: Spec
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Obj:
    """An object; fields beyond ``fields`` are unknown unless ``extra``."""

    fields: Mapping[str, Spec] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    extra: bool = False

    def plus(self, **fields: Spec) -> Obj:
        """The same object with more fields."""
        return Obj({**self.fields, **fields}, self.required, self.extra)


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object whose field ``key`` says which of ``members`` it is; ``default`` where the field is absent."""

    key: str
    members: Mapping[str, Obj]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Either:
    """Any of these, told apart by their JSON type."""

    options: tuple[Spec, ...]


Spec = Anything | Bool | Null | Num | Int | Str | Enum | List | Obj | Tagged | Either

TYPES: Mapping[type, tuple[str, type | tuple[type, ...]]] = {
    Bool: ("boolean", bool),
    Null: ("null", type(None)),
    Num: ("number", (int, float)),
    Int: ("integer", int),
    Str: ("string", str),
    Enum: ("string", str),
    List: ("array", list),
    Obj: ("object", dict),
    Tagged: ("object", dict),
}
JSON_NAMES: Mapping[type, str] = {
    bool: "boolean",
    type(None): "null",
    int: "integer",
    float: "decimal",
    str: "string",
    list: "array",
    dict: "object",
}


def either(*options: Spec) -> Either:
    """Any of these; an ``Either`` among them is spread out."""
    flat = [inner for option in options for inner in (option.options if isinstance(option, Either) else (option,))]
    return Either(tuple(flat))


def maybe(spec: Spec) -> Either:
    """``spec`` or null."""
    return either(spec, Null())


# ------------------------------------------------------------------- check


def check(value: Any, spec: Spec, path: Path = ()) -> Iterator[Finding]:
    """Everything in ``value`` that ``spec`` does not allow, outermost first."""
    match spec:
        case Anything():
            return
        case Either():
            yield from _either(value, spec, path)
        case _ if not _is(value, spec):
            yield Finding("type", path, TYPES[type(spec)][0], JSON_NAMES.get(type(value), "null"))
        case Num() | Int():
            yield from _bounds(value, spec, path)
        case Str():
            yield from _text(value, spec, path)
        case Enum() if value not in spec.values:
            yield Finding("value", path, spec.values, value)
        case List():
            yield from _list(value, spec, path)
        case Obj():
            yield from _object(value, spec, path)
        case Tagged():
            yield from _tagged(value, spec, path)


def _is(value: Any, spec: Spec) -> bool:
    wanted = TYPES[type(spec)][1]
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted)


def _either(value: Any, spec: Either, path: Path) -> Iterator[Finding]:
    for option in spec.options:
        if isinstance(option, Anything) or _is(value, option):
            yield from check(value, option, path)
            return
    names = " or ".join(TYPES[type(option)][0] for option in spec.options if not isinstance(option, Null))
    yield Finding("type", path, names, JSON_NAMES.get(type(value), "null"))


def _bounds(value: float, spec: Num | Int, path: Path) -> Iterator[Finding]:
    if spec.low is not None and value < spec.low:
        yield Finding("below", path, spec.low, value)
    if spec.high is not None and value > spec.high:
        yield Finding("above", path, spec.high, value)


def _text(value: str, spec: Str, path: Path) -> Iterator[Finding]:
    if spec.longest is not None and len(value) > spec.longest:
        yield Finding("too_long", path, spec.longest, len(value))
    elif spec.pattern is not None and not re.fullmatch(spec.pattern, value):
        yield Finding("pattern", path, f"^{spec.pattern}$", value)


def _list(value: list[Any], spec: List, path: Path) -> Iterator[Finding]:
    if len(value) < spec.least:
        yield Finding("empty", path, spec.least, len(value))
    if spec.most is not None and len(value) > spec.most:
        yield Finding("too_many", path, spec.most, len(value))
    for index, item in enumerate(value):
        yield from check(item, spec.item, (*path, index))


def _object(value: dict[str, Any], spec: Obj, path: Path) -> Iterator[Finding]:
    for name in spec.required:
        if name not in value:
            yield Finding("missing", (*path, name))
    for name, item in value.items():
        if name in spec.fields:
            yield from check(item, spec.fields[name], (*path, name))
        elif not spec.extra:
            yield Finding("unknown", (*path, name), got=item)


def _tagged(value: dict[str, Any], spec: Tagged, path: Path) -> Iterator[Finding]:
    tag = spec.default if value.get(spec.key) is None else value[spec.key]
    if tag is None:
        yield Finding("missing", (*path, spec.key))
        return
    if not isinstance(tag, str) or tag not in spec.members:
        yield Finding("tag", (*path, spec.key), tuple(spec.members), tag)
        return
    yield from check(value, spec.members[tag], (*path, Tag(tag)))
