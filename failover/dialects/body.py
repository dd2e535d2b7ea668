"""JSON bodies, out and in.

Out: ``encode`` never fails on text: a lone surrogate, which UTF-8 cannot hold, leaves as ``?``, and an infinite number
as ``null``.
In: ``decode`` and the readers beside it raise ``UnreadableError`` for whatever is not what a wire promises; the
dialects turn that into a ``Failure``.  Nothing a server sends may raise anything else: see ``SHAPES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from failover.dialects.lenient import is_torn, load, mended

T = TypeVar("T")


class UnreadableError(ValueError):
    """What arrived is not what the wire promises; the message says what was expected where."""


SHAPES = (ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What reading JSON of the wrong shape can raise: ``UnreadableError`` is a ``ValueError``, and so is broken JSON."""


def encode(body: object) -> bytes:
    try:
        return to_json(body, inf_nan_mode="null")
    except (PydanticSerializationError, UnicodeEncodeError):
        return to_json(_clean(body), inf_nan_mode="null")


def _clean(value: Any) -> Any:
    """``value`` without lone surrogates."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case Mapping():
            return {_clean(key): _clean(each) for key, each in value.items()}
        case list() | tuple():
            return [_clean(each) for each in value]
        case _:
            return value


def dumps(value: object) -> str:
    return encode(value).decode()


def decode(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``."""
    value = load(body)
    if not isinstance(value, dict):
        raise UnreadableError(f"expected a JSON object, got {type(value).__name__}")
    return value


def need(obj: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """``obj[key]``, which must be a ``kind``."""
    value = obj.get(key)
    if not isinstance(value, kind):
        raise UnreadableError(f"expected {key} as {kind.__name__}, got {type(value).__name__}")
    return value


def prose(obj: Mapping[str, Any], key: str) -> str:
    """``obj[key]``, which must be text, without half surrogate pairs."""
    text = need(obj, key, str)
    return mended(text) if is_torn(text) else text


def mapping(value: object) -> dict[str, Any]:
    """``value`` if it is an object, else an empty one: for what a wire may leave out."""
    return value if isinstance(value, dict) else {}


def string(value: object) -> str:
    """``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """A number of tokens; 0 for whatever is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def given(obj: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """What ``obj`` holds under ``keys``, without nulls and empties."""
    return {key: obj[key] for key in keys if obj.get(key)}
