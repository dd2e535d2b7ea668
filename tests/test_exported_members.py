"""Every public name can be had from ``failover`` itself, and nothing else is promised."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import failover
from failover import errors, settings, types

ROOT = Path(__file__).parent.parent


def imported() -> set[str]:
    """The names that ``failover/__init__.py`` takes from its modules."""
    tree = ast.parse((ROOT / "failover" / "__init__.py").read_text())
    own = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "failover." in (node.module or "")]
    return {alias.name for node in own for alias in node.names}


def classes(module: object) -> set[str]:
    """The public classes that a module itself defines."""
    name = getattr(module, "__name__", "")
    defined = [cls for cls in vars(module).values() if inspect.isclass(cls) and cls.__module__ == name]
    return {cls.__name__ for cls in defined if not cls.__name__.startswith("_")}


def test_all_holds_what_is_imported_and_the_version() -> None:
    assert set(failover.__all__) == imported() | {"__version__"}


def test_all_is_in_order_and_without_repetition() -> None:
    assert failover.__all__ == sorted(set(failover.__all__))


def test_every_promised_name_is_there() -> None:
    assert [name for name in failover.__all__ if not hasattr(failover, name)] == []


def test_a_name_is_the_same_wherever_it_is_had_from() -> None:
    assert failover.FailoverError is errors.FailoverError
    assert failover.Price is settings.Price
    assert failover.Message is types.Message


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'failover' has no attribute 'Fallover'"):
        _ = failover.Fallover  # type: ignore[attr-defined]  # the point
    assert dir(failover) == failover.__all__


def test_every_exception_can_be_caught_by_its_name() -> None:
    assert classes(errors) <= set(failover.__all__)


def test_everything_that_can_be_set_can_be_written() -> None:
    assert classes(settings) <= set(failover.__all__)


def test_everything_that_goes_in_or_comes_out_has_a_name() -> None:
    inner = {"RateHint"}  # travels between the floors only
    assert classes(types) - inner <= set(failover.__all__)


def test_public_names_say_where_they_are_from_and_what_they_are() -> None:
    public = [getattr(failover, name) for name in failover.__all__]
    undocumented = [each.__name__ for each in public if inspect.isclass(each) and not each.__doc__]
    assert undocumented == []
