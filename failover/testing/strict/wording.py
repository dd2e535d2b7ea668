"""How each provider words a refusal, and the body it sends with it.

``worded(shape, finding)`` turns a neutral ``Finding`` into the provider's own ``Violation``: status, message, type,
code and the name it gives to the place.  ``error_body(shape, violation)`` is the JSON that goes over the wire.
A shape is a family of wordings (``Row.shape``).  The phrases are those that the providers' APIs are known to send;
a shape without words of its own for a kind of finding uses OpenAI's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failover.testing.strict.shape import Finding, Path, Tag


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a request is refused, as the provider itself would say it.

    ``rule`` is our own short name of the rule that was broken (``unknown``, ``orphan_result``, ``context``...).
    ``param`` and ``path`` say where; ``extra`` is merged into the error object.
    """

    status: int
    message: str
    rule: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    path: tuple[str | int, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.rule}: {self.message}"


# ------------------------------------------------------------------- paths


def bracketed(path: Path) -> str:
    """``messages[1].content``: OpenAI and most others."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif isinstance(step, str):
            shown += f".{step}" if shown else step
    return shown


def dotted(path: Path) -> str:
    """``messages.1.content.0.text.foo``: pydantic as Anthropic shows it, tags included."""
    return ".".join(step.name if isinstance(step, Tag) else str(step) for step in path)


def untagged(path: Path) -> tuple[str | int, ...]:
    return tuple(step for step in path if not isinstance(step, Tag))


# ------------------------------------------------------------------- words


@dataclass(frozen=True, slots=True)
class Phrase:
    """A message with blanks (``{path} {want} {got} {name} {number}``), and the status and code that go with it."""

    text: str
    code: str | None = None
    status: int = 400


def _quoted(values: Any) -> str:
    names = [f"'{value}'" for value in values]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"


OPENAI: Mapping[str, Phrase] = {
    "unknown": Phrase("Unknown parameter: '{path}'.", "unknown_parameter"),
    "missing": Phrase("Missing required parameter: '{path}'.", "missing_required_parameter"),
    "type": Phrase("Invalid type for '{path}': expected {want}, but got {got} instead.", "invalid_type"),
    "value": Phrase("Invalid value: '{got}'. Supported values are: {quoted}.", "invalid_value"),
    "tag": Phrase("Invalid value: '{got}'. Supported values are: {quoted}.", "invalid_value"),
    "below": Phrase(
        "Invalid '{path}': {number} below minimum value. Expected a value >= {want}, but got {got} instead.",
        "{number}_below_min_value",
    ),
    "above": Phrase(
        "Invalid '{path}': {number} above maximum value. Expected a value <= {want}, but got {got} instead.",
        "{number}_above_max_value",
    ),
    "pattern": Phrase(
        "Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{want}'.",
        "invalid_value",
    ),
    "too_long": Phrase(
        "Invalid '{path}': string too long. Expected a string with maximum length {want}, but got a string with "
        "length {got} instead.",
        "string_above_max_length",
    ),
    "empty": Phrase(
        "Invalid '{path}': empty array. Expected an array with minimum length {want}, but got an empty array instead.",
        "empty_array",
    ),
    "too_many": Phrase(
        "Invalid '{path}': array too long. Expected an array with maximum length {want}, but got an array with "
        "length {got} instead.",
        "array_above_max_length",
    ),
}

PYDANTIC: Mapping[str, Phrase] = {
    "unknown": Phrase("{path}: Extra inputs are not permitted"),
    "missing": Phrase("{path}: Field required"),
    "type": Phrase("{path}: Input should be a valid {want}"),
    "value": Phrase("{path}: Input should be {quoted}"),
    "tag": Phrase("{parent}: Input tag '{got}' found using '{name}' does not match any of the expected tags: {quoted}"),
    "below": Phrase("{path}: Input should be greater than or equal to {want}"),
    "above": Phrase("{path}: Input should be less than or equal to {want}"),
    "pattern": Phrase("{path}: String should match pattern '{want}'"),
    "too_long": Phrase("{path}: String should have at most {want} characters"),
    "empty": Phrase("{path}: List should have at least {want} item after validation, not {got}"),
    "too_many": Phrase("{path}: List should have at most {want} items after validation, not {got}"),
}

_SERDE = "Failed to deserialize the JSON body into the target type: {path}: "

PHRASES: Mapping[str, Mapping[str, Phrase]] = {
    "openai": OPENAI,
    "anthropic": PYDANTIC,
    "mistral": {
        kind: Phrase(phrase.text.removeprefix("{path}: "), None, 422)
        for kind, phrase in PYDANTIC.items()
        if kind != "tag"
    }
    | {"tag": Phrase("Input tag '{got}' found using '{name}' does not match any of the expected tags", None, 422)},
    "deepseek": {
        "missing": Phrase(_SERDE + "missing field `{name}`", "invalid_request_error", 422),
        "type": Phrase(_SERDE + "invalid type: {got}, expected {want}", "invalid_request_error", 422),
        "value": Phrase(_SERDE + "unknown variant `{got}`, expected one of {quoted}", "invalid_request_error", 422),
        "tag": Phrase(_SERDE + "unknown variant `{got}`, expected one of {quoted}", "invalid_request_error", 422),
    },
    "groq": {
        "unknown": Phrase("property '{name}' is unsupported"),
        "missing": Phrase("'{parent}' : property '{name}' is missing"),
        "type": Phrase("'{path}' : value must be a {want}"),
        "above": Phrase("'{path}' : number must be at most {want}"),
        "below": Phrase("'{path}' : number must be at least {want}"),
        "value": Phrase("'{path}' : value must be one of {quoted}"),
        "tag": Phrase("'{path}' : discriminator property 'role' has invalid value"),
    },
    "gemini": {
        "unknown": Phrase("Invalid JSON payload received. Unknown name \"{name}\" at '{parent}': Cannot find field."),
        "type": Phrase("Invalid value at '{path}' (TYPE_{upper}), \"{got}\""),
    },
    "fireworks": {"unknown": Phrase("Extra inputs are not permitted, field: '{path}', value: {got}")},
    "cerebras": {
        "unknown": Phrase("{path}: property '{path}' is unsupported", "wrong_api_format"),
        "missing": Phrase("{parent}: property '{name}' is missing", "wrong_api_format"),
        "type": Phrase("{path}: value must be a {want}", "wrong_api_format"),
    },
    "fastapi": {"unknown": Phrase("Unexpected fields in the request: {{'{name}'}}", None, 422)},
    "xai": {"unknown": Phrase("Argument not supported on this model: {name}")},
}
DOTTED = frozenset(("anthropic", "mistral", "cerebras", "groq"))


def worded(shape: str, finding: Finding) -> Violation:
    """The finding as a provider of that shape says it."""
    phrase = PHRASES.get(shape, OPENAI).get(finding.kind) or OPENAI[finding.kind]
    show = dotted if shape in DOTTED else bracketed
    place = untagged(finding.path)
    wants = finding.want if isinstance(finding.want, tuple) else (finding.want,)
    blanks = {
        "path": show(finding.path),
        "parent": show(finding.path[:-1]),
        "name": place[-1] if place else "body",
        "want": finding.want,
        "upper": str(finding.want).upper(),
        "got": finding.got,
        "quoted": _quoted(wants),
        "number": "integer" if isinstance(finding.want, int) else "decimal",
    }
    code = phrase.code.format(**blanks) if phrase.code else None
    return Violation(
        phrase.status,
        phrase.text.format(**blanks),
        finding.kind,
        code=code,
        param=bracketed(finding.path),
        path=place,
    )


# ------------------------------------------------------------------ bodies


def _openai(error: Violation) -> Any:
    shown = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return {"error": shown | dict(error.extra)}


def _anthropic(error: Violation) -> Any:
    shown = {"type": error.type, "message": error.message} | dict(error.extra)
    return {"type": "error", "error": shown, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def _openrouter(error: Violation) -> Any:
    shown = {"message": error.message, "code": error.status} | dict(error.extra)
    return {"error": shown, "user_id": "user_2test"}


def _mistral(error: Violation) -> Any:
    if error.status == 422:
        where = ["body", *error.path]
        return {"detail": [{"type": _PYDANTIC_TYPES.get(error.rule, error.rule), "loc": where, "msg": error.message}]}
    if error.status == 401:
        return {"detail": "Unauthorized"}
    shown = {"object": "error", "message": error.message, "type": error.type, "param": None, "code": error.code}
    return shown | dict(error.extra)


_PYDANTIC_TYPES = {"unknown": "extra_forbidden", "missing": "missing", "value": "literal_error"}

GRPC = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def _gemini(error: Violation) -> Any:
    status = GRPC.get(error.status, "UNKNOWN")
    return [{"error": {"code": error.status, "message": error.message, "status": status} | dict(error.extra)}]


def _flat(error: Violation) -> Any:
    param = error.param if error.code != "wrong_api_format" else "validation_error"
    return {"message": error.message, "type": error.type, "param": param, "code": error.code} | dict(error.extra)


def _xai(error: Violation) -> Any:
    return {"code": error.code or "Client specified an invalid argument", "error": error.message} | dict(error.extra)


def _fireworks(error: Violation) -> Any:
    shown = {"object": "error", "type": error.type, "code": error.code, "message": error.message}
    return {"error": shown | dict(error.extra)}


def _vllm(error: Violation) -> Any:
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(error.status, error.type)
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.status}}


def _fastapi(error: Violation) -> Any:
    return {"detail": error.message}


def _ollama(error: Violation) -> Any:
    return {"error": error.message}


BODIES: Mapping[str, Callable[[Violation], Any]] = {
    "anthropic": _anthropic,
    "openrouter": _openrouter,
    "mistral": _mistral,
    "gemini": _gemini,
    "cerebras": _flat,
    "xai": _xai,
    "fireworks": _fireworks,
    "vllm": _vllm,
    "fastapi": _fastapi,
    "ollama": _ollama,
}


def error_body(shape: str, violation: Violation) -> bytes:
    """The error body that a provider of that shape sends."""
    return json.dumps(BODIES.get(shape, _openai)(violation), ensure_ascii=False).encode()
