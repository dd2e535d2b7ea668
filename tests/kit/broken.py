"""JSON values with something wrong somewhere in them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "text", "message"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=6,
)
PATHS = st.lists(st.integers(0, 8), min_size=1, max_size=5)
PLACES = st.lists(st.tuples(st.integers(0, 60), PATHS, JUNK), min_size=1, max_size=3)
"""Where to break a list of events, and with what."""


def broken(value: Any, path: list[int], junk: Any) -> Any:
    """``value`` with one place in it, found by ``path``, replaced by ``junk``."""
    if isinstance(value, dict) and value and path:
        name = sorted(value)[path[0] % len(value)]
        return value | {name: broken(value[name], path[1:], junk)}
    if isinstance(value, list) and value and path:
        at = path[0] % len(value)
        return [*value[:at], broken(value[at], path[1:], junk), *value[at + 1 :]]
    return junk


def broken_stream(events: list[Any], places: list[tuple[int, list[int], Any]]) -> list[Any]:
    for at, path, junk in places:
        events[at % len(events)] = broken(events[at % len(events)], path, junk)
    return events
