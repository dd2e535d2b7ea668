"""What a provider said about a failure, in one shape for all of them.

An error comes as OpenAI's ``{"error": {...}}``, as Anthropic's with ``details``, as OpenRouter's with the upstream's
own error as text in ``metadata.raw``, as Google's wrapped in an array, as FastAPI's ``detail``, as a bare string, as
an event of a stream, or as a page of HTML.  ``read`` unfolds whatever there is into layers, outermost first, and
gathers from them:

- names: codes, types and statuses of every layer, in lower case
- the provider's own sentence: that of the innermost layer which says more than that something went wrong
- times it stated, the refused parameter, the request's id

Requests are echoed in errors, so nothing else is looked at: not ``input``, ``failed_generation`` or ``flagged_input``,
not the metadata of an answer, and in a sentence not what stands in quotation marks (``unquoted``).  Everything is
bounded, and nothing here raises, whatever it is given.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_BODY = 64 * 1024
MAX_LAYERS = 40
MAX_ITEMS = 8
"""Entries of one array that are looked at."""
MAX_MESSAGE = 1000
MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Said:
    """An error as its provider put it.

    status: the HTTP status; under a 2xx, or in a stream, the one that the error itself names; None: none at all.
    codes: every name it goes by.  code: the one a person would quote.
    message: the provider's sentence, at most ``MAX_MESSAGE`` characters, with what looks like a key made unreadable.
    parameter: the field it complains about, as the provider wrote it.
    html: it was a page, not an API's answer.  upstream: a gateway hands on what another provider said to the gateway.
    waits: durations it stated.  headers: headers of an upstream's answer that are quoted in the body.
    resets_at: the moment it stated for the end of a limit.
    """

    status: int | None = None
    codes: frozenset[str] = frozenset()
    code: str | None = None
    message: str = ""
    parameter: str | None = None
    html: bool = False
    upstream: bool = False
    waits: tuple[object, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    resets_at: object = None
    request_id: str | None = None


class Layer(NamedTuple):
    """One object of an error.  ``speaks``: its message is the provider's own.  ``depth``: how far in it was found."""

    value: Mapping[object, object]
    speaks: bool
    depth: int


CODES = ("code", "type", "status", "error_code", "error_type", "reason", "limit_source", "Code", "__type")
QUOTABLE = ("code", "Code", "type", "status")
MESSAGES = ("message", "msg", "error_description", "Message")
STATUSES = ("code", "status", "status_code", "statusCode", "raw_status_code", "type")
WAITS = {"retry_after_seconds": 1.0, "retry_after": 1.0, "retryAfter": 1.0, "retryDelay": 1.0, "retry_after_ms": 0.001}
"""Fields that state how long to wait, with the seconds in a unit of them."""
SPEAKING = ("error", "errors", "detail", "Error", "raw")
ASIDE = ("details", "innererror", "metadata", "violations")
ENVELOPES = ("error", "response", "choices", "output")
"""What has one of these is not the error itself, so that its ``metadata`` are the caller's."""
FLAGGED, FILTERED, PER_DAY = "flagged_input", "content_filter_result", "quota_per_day"
"""Names given here to errors that are known by a field instead of a code."""
RENAMED = {("error_type", "invalid_prompt"): "invalid_message"}
"""OpenRouter's ``error_type`` of that name is a malformed message, OpenAI's ``code`` a refusal for safety."""
EMPTY_PHRASES = frozenset(("provider returned error", "error", "bad request", "unknown error", "internal server error"))
NOT_PARAMETERS = frozenset(("validation_error", "body", "none", "null"))

_NAME = re.compile(r"[\w.:#/-]{1,80}")
_PARAMETER = re.compile(r"[A-Za-z_][\w.\[\]-]{0,79}")
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,200})", re.I)
_KEY = re.compile(
    r"(\bBearer\s+|\b(?:sk-|sk_|gsk_|xai-|csk-|fw_|tgp_|AIza|pplx-)|\bapi[ _-]?key(?: provided)?\s*[:=]\s*)[\w.*-]{6,}",
    re.I,
)


# ----------------------------------------------------------------- reading


def decoded(body: bytes) -> object:
    """The JSON value in ``body``, else its text; at most ``MAX_BODY`` bytes of it.

    Gateways that meant to stream send an error as one event: then it is the value of the first.
    """
    text = body[:MAX_BODY].decode("utf-8", "replace").lstrip("\ufeff").strip()
    if text.startswith("data:"):
        text = text.splitlines()[0].removeprefix("data:").strip()
    value = parsed(text)
    return text if value is None else value


def parsed(text: str) -> object:
    """The JSON object, array or string in ``text``, None if there is none."""
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read(payload: object, status: int | None = None) -> Said:
    """``payload`` (a decoded error, or text) as ``Said``.  ``status``: that of the HTTP answer, if there was one."""
    if isinstance(payload, str) and payload.startswith("<"):
        return Said(status, message=_title(payload), html=True)
    layers = tuple(_unfold(payload))
    failed = status is not None and not 200 <= status < 300
    return Said(
        status=status if failed else _inner_status(layers),
        codes=frozenset(_codes(layers)),
        code=_code(layers),
        message=_message(layers),
        parameter=_parameter(layers),
        upstream=any(_is_upstream(layer.value) for layer in layers),
        waits=tuple(_waits(layers)),
        headers=_headers(layers),
        resets_at=_first(layers, ("resets_at", "reset_at", "resetsAt")),
        request_id=name(_first(layers, ("request_id", "requestId"))),
    )


def _unfold(payload: object) -> Iterator[Layer]:
    """Every object that may say something about the error, outermost first."""
    queue: deque[tuple[object, bool, int]] = deque([(payload, True, 0)])
    for _ in range(MAX_LAYERS):
        if not queue:
            return
        value, speaks, depth = queue.popleft()
        if isinstance(value, str):
            value = _from_text(value)
        if isinstance(value, Mapping):
            yield Layer(value, speaks, depth)
            queue.extend((inner, speaking, depth + 1) for inner, speaking in _within(value))
        elif isinstance(value, list | tuple):
            queue.extend((item, speaks, depth + 1) for item in value[:MAX_ITEMS])


def _from_text(text: str) -> object:
    """An error that was given as text: JSON once more, a bare code, or a sentence."""
    value = parsed(text.strip())
    if isinstance(value, Mapping | list):
        return value
    return {"code": text} if _NAME.fullmatch(text) else {"message": text}


def _within(value: Mapping[object, object]) -> Iterator[tuple[object, bool]]:
    """The parts of an error to look into, and whether what they say is the provider's word."""
    for key in SPEAKING:
        if inner := value.get(key):
            yield inner, True
    response = value.get("response")
    if isinstance(response, Mapping):
        yield response.get("error"), True
    message = value.get("message")
    if isinstance(message, str) and _is_error(inner := parsed(message.strip())):
        yield inner, True
    if not any(key in value for key in ENVELOPES):
        for key in ASIDE:
            yield value.get(key), False


def _is_error(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return "error" in value or ("message" in value and ("type" in value or "code" in value))


# --------------------------------------------------------------- gathering


def name(value: object) -> str | None:
    """A short text or a whole number as a name; anything else is none."""
    if isinstance(value, str):
        return value.strip()[:MAX_NAME] or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1_000_000_000:
        return str(value)
    return None


def _codes(layers: Iterable[Layer]) -> Iterator[str]:
    for layer in layers:
        for key in CODES:
            if code := name(layer.value.get(key)):
                code = code.rpartition("#")[2].lower()
                yield RENAMED.get((key, code), code)
        yield from _marks(layer.value)


def _marks(value: Mapping[object, object]) -> Iterator[str]:
    if value.get("reasons") or "flagged_input" in value:
        yield FLAGGED
    if value.get("content_filter_result") or value.get("content_filter_results"):
        yield FILTERED
    if "perday" in (name(value.get("quotaId")) or "").lower():
        yield PER_DAY


def _code(layers: tuple[Layer, ...]) -> str | None:
    """The innermost code, unless that is an HTTP status; then the innermost type."""
    speaking = [layer.value for layer in reversed(layers) if layer.speaks]
    names = [found for key in QUOTABLE for value in speaking if (found := name(value.get(key)))]
    return next((found for found in names if not _is_status(found)), names[0] if names else None)


def _inner_status(layers: Iterable[Layer]) -> int | None:
    """The HTTP status that an error names, where its own answer was a success or a stream."""
    for layer in layers:
        for key in STATUSES:
            if _is_status(text := name(layer.value.get(key)) or ""):
                return int(text)
    return None


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit() and "300" <= text <= "599"


def _message(layers: Iterable[Layer]) -> str:
    """What the innermost layer says; an empty phrase only where nothing better was said."""
    said = [(layer.depth, text) for layer in layers if layer.speaks and (text := _sentence(layer.value))]
    telling = [(depth, text) for depth, text in said if text.lower().strip(" .!") not in EMPTY_PHRASES]
    return max(telling or said, key=lambda each: each[0], default=(0, ""))[1]


def _sentence(value: Mapping[object, object]) -> str:
    text = next((text for key in MESSAGES if isinstance(text := value.get(key), str) and text.strip()), "")
    place = _place(value.get("loc"))
    return clean(f"{place}: {text}" if place and text else text)


def clean(text: str) -> str:
    """``text`` on one line, bounded, valid in UTF-8, and without anything that looks like a key."""
    line = " ".join(text[: 4 * MAX_MESSAGE].split())
    return _KEY.sub(r"\1***", line)[:MAX_MESSAGE].encode("utf-8", "replace").decode()


def _place(location: object) -> str:
    """FastAPI's way to name a field: ``["body", "messages", 0, "role"]``."""
    if not isinstance(location, list | tuple):
        return ""
    steps = [step for part in location[:MAX_ITEMS] if (step := name(part))]
    return ".".join(steps[1:] if steps[:1] == ["body"] else steps)


def _parameter(layers: tuple[Layer, ...]) -> str | None:
    for layer in reversed(layers):
        found = name(layer.value.get("param")) or _place(layer.value.get("loc"))
        if layer.speaks and _PARAMETER.fullmatch(found) and found.lower() not in NOT_PARAMETERS:
            return found
    return None


def _is_upstream(metadata: Mapping[object, object]) -> bool:
    """OpenRouter hands on an upstream's error, and the upstream was not paid with the caller's own key."""
    return bool(metadata.get("provider_name") and metadata.get("raw")) and metadata.get("is_byok") is not True


def _waits(layers: Iterable[Layer]) -> Iterator[object]:
    for layer in layers:
        for key, unit in WAITS.items():
            value = layer.value.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield _scaled(value, unit)
            elif isinstance(value, str):
                yield value


def _scaled(value: float, unit: float) -> float | None:
    try:
        return value * unit
    except OverflowError:
        return None


def _headers(layers: Iterable[Layer]) -> Mapping[str, str]:
    value = _first(layers, ("headers",))
    return plain(value) if isinstance(value, Mapping) else {}


def plain(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Headers by their lower-case names; whatever is not text is left out."""
    return {key.lower(): value for key, value in headers.items() if isinstance(key, str) and isinstance(value, str)}


def _first(layers: Iterable[Layer], keys: tuple[str, ...]) -> object:
    return next((value for layer in layers for key in keys if (value := layer.value.get(key))), None)


def _title(page: str) -> str:
    found = _TITLE.search(page[:4096])
    return clean(f"an HTML page: {found[1]}" if found else "an HTML page")


# ------------------------------------------------------------------- words

_QUOTED = re.compile(
    r"""
      "(?:[^"\\]|\\.)*\\?(?:"|\Z)
    | `[^`]*(?:`|\Z)
    | “[^”]*(?:”|\Z)
    | (?<!\w)'(?:[^'\\]|\\.|(?<=\w)'(?=\w))*\\?(?:'|\Z)
    """,
    re.X | re.S,
)
_IDENTIFIER = re.compile(r"[^\s]{1,64}")


def unquoted(message: str) -> str:
    """``message`` without what it quotes, names of a single word excepted: quotations may be the caller's own prompt.

    A quotation that does not end (because the provider cut it) runs to the end.
    """
    return _QUOTED.sub(lambda found: found[0] if _IDENTIFIER.fullmatch(found[0][1:-1]) else "''", message)
