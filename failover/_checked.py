"""How settings are checked, and how a wrong one is answered.

``settings`` makes a class a frozen pydantic dataclass with three manners of its own:

- a wrong value raises ``ConfigurationError``, never ``ValidationError``, with one sentence per finding:
  ``Target: rpm = -1: write a whole number >= 1, or None for no limit``;
- the value is named only where it cannot be a secret: nothing is repeated of keys, headers, bodies, user parts of
  URLs, or anything given under a name that does not exist (``apikey=...``);
- ``repr`` shows what differs from the defaults, so that what was set can be seen.

What to write instead is a table from pydantic's kind of finding to a phrase; nothing here knows a setting by name
but ``NONE_MEANS`` and ``SECRET``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar, cast, dataclass_transform
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticCustomError

from failover.errors import ConfigurationError

T = TypeVar("T")

SECRET = re.compile("key|secret|token$|password|auth|headers|extra_body", re.IGNORECASE)
"""Names of fields whose values are never repeated."""

CREDENTIAL = re.compile(r"(Bearer\s+|sk-|sk_|gsk_|xai-|csk-|fw_|tgp_|AIza|pplx-)[\w.\-]{12,}\Z")
"""What vendors' keys look like; a model or a provider never does."""

LIMITS = ("rpm", "tpm", "input_tpm", "output_tpm", "concurrency", "requests", "tokens", "input_tokens", "output_tokens")
NONE_MEANS = {
    **dict.fromkeys(LIMITS, "no limit"),
    "failure_rate": "off",
    "slow_call_rate": "off",
    "reenable_after": "never",
}
"""What ``None`` stands for, where that is not simply the default."""


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen pydantic dataclass whose constructor raises ``ConfigurationError``."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    built = pydantic_dataclass(cls, frozen=True, repr=False, config=config)
    checked = built.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes the class's own
        try:
            checked(self, *args, **kwargs)
            return
        except ValidationError as error:
            refusal = explain(cls, error)
        raise ConfigurationError(refusal)  # out here, it does not carry pydantic's error, which holds the values

    built.__init__ = __init__  # type: ignore[method-assign]  # wraps pydantic's own
    built.__repr__ = _shown  # type: ignore[method-assign]  # one for all of them
    return cast(type[T], built)


def _shown(self: Any) -> str:
    """The class's name and the fields that differ from their defaults."""
    known = self.__pydantic_fields__.items()
    values = {name: getattr(self, name) for name, field in known if field.repr}
    parts = [f"{name}={_public(value)}" for name, value in values.items() if value != _default(self, name)]
    return f"{type(self).__name__}({', '.join(parts)})"


def _default(self: Any, name: str) -> Any:
    return self.__pydantic_fields__[name].get_default(call_default_factory=True)


def _public(value: Any) -> str:
    return repr(without_userinfo(value)) if isinstance(value, str) else repr(value)


def without_userinfo(text: str) -> str:
    """A URL without the user, password and query it may carry; anything else as it is."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    hidden = "***@" if "@" in parts.netloc else ""
    query = "?***" if parts.query else ""
    return f"{parts.scheme}://{hidden}{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


# ------------------------------------------------------------ the sentences


def explain(cls: type[Any], error: ValidationError) -> str:
    """Pydantic's findings as sentences that name field, value and remedy."""
    names = tuple(field.name for field in fields(cls))
    return "; ".join(dict.fromkeys(_sentence(cls.__name__, finding, names) for finding in error.errors()))


def _sentence(what: str, finding: Any, names: tuple[str, ...]) -> str:
    kind, place = finding["type"], _place(finding["loc"], names)
    if kind == "unexpected_keyword_argument":
        return f"{what}: {place} is not a setting{guess(place, names)}"
    if kind == "unexpected_positional_argument":
        return f"{what}: too many values without a name; write the names, as in {names[-1]}=..."
    if kind in ("missing", "missing_argument"):
        return f"{what}: {place} is required"
    value = "" if SECRET.search(place) else f" = {_short(finding['input'])}"
    return f"{what}: {place}{value}: write {_remedy(kind, finding)}{_or_none(place, names)}"


def _place(location: tuple[int | str, ...], names: tuple[str, ...]) -> str:
    """The field's name; pydantic numbers the positional arguments only."""
    first, *rest = location or ("",)
    head = names[first] if isinstance(first, int) and first < len(names) else first
    return ".".join(str(part) for part in (head, *rest))


def guess(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about a name that does not exist."""
    known = list(names)
    near = closest(name, known)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _short(value: object) -> str:
    shown = _public(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


REMEDIES = {
    "literal_error": "{expected}",
    "string_type": "a string",
    "string_too_short": "a string that is not empty",
    "too_short": "at least one",
    "bool_parsing": "True or False",
    "bool_type": "True or False",
    "frozen_set_type": "a set",
    "tuple_type": "a tuple",
    "mapping_type": "a dictionary",
    "dict_type": "a dictionary",
    "dataclass_type": "an instance of {class_name}",
}
"""What to write, by pydantic's kind of finding; numbers bring their own phrase, see ``says``."""


def _remedy(kind: str, finding: Any) -> str:
    phrase = REMEDIES.get(kind, "{msg}")
    return phrase.format(msg=finding["msg"], **finding.get("ctx", {}))


def _or_none(place: str, names: tuple[str, ...]) -> str:
    meaning = NONE_MEANS.get(place)
    return f", or None for {meaning}" if meaning and place in names else ""


# --------------------------------------------------------------- validators


def says(phrase: str) -> WrapValidator:
    """Whatever is wrong with a number, the answer is ``phrase``.  A bool is no number: nobody means 1 by True."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            if not isinstance(value, bool):
                return handler(value)
        except ValidationError:
            pass
        raise PydanticCustomError("says", phrase)

    return WrapValidator(check)


def refuse_credential(what: str, field: str, value: str | None) -> None:
    """A key in the wrong place would be shown everywhere; say so without repeating it."""
    if value is not None and CREDENTIAL.match(value):
        raise ConfigurationError(f"{what}: {field} looks like a key; write api_key=... instead")


def closest(name: str, names: Iterable[str]) -> list[str]:
    """The name that was probably meant, or an empty list."""
    from difflib import get_close_matches  # a megabyte that only a mistake needs

    return get_close_matches(name, list(names), n=1)
