"""What an exception of a vendor's SDK says, read off it without knowing the SDK.

Framework models fail with whatever their SDK raises: openai's and anthropic's ``APIStatusError``, httpx's and
requests' ``HTTPStatusError``, aiohttp's ``ClientResponseError``, botocore's ``ClientError``, google's
``GoogleAPICallError``, or one of the builtins.  Two questions are asked along the chain of causes:

1. Did a provider answer?  Then the exception carries status, headers and body somewhere (``answer_in``), and what the
   body says counts, with the names of the exception's classes among its codes.
2. If not, where did the way break?  ``BROKEN`` knows the classes by name, the more telling first: a connect timeout is
   a timeout as well.

Bodies are taken where they were read already; nothing here does I/O, and an attribute that raises counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from failover.error_body import clean, decoded, plain
from failover.types import Kind

DEEPEST = 10
"""Causes that are looked at; they may run in a circle."""


def chain(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, as a traceback would show them; of a group, its first member."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < DEEPEST:
        found.append(cause)
        cause = _cause(cause)
    return found


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    if error.__cause__ is not None or error.__suppress_context__:
        return error.__cause__
    return error.__context__


# ------------------------------------------------------ a provider answered


@dataclass(frozen=True, slots=True)
class RaisedAnswer:
    """A provider's answer, as an exception carries it."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: object = None


def answer_in(errors: list[BaseException]) -> RaisedAnswer | None:
    """The answer that the first of these exceptions carries which has one."""
    return next((answer for error in errors if (answer := _answer(error)) is not None), None)


def _answer(error: BaseException) -> RaisedAnswer | None:
    response = _get(error, "response")
    status = next((code for place in (error, response) for code in _statuses(place)), None)
    payload = next((body for body in _bodies(error, response) if body), None)
    if status is None and not isinstance(payload, Mapping):
        return None
    return RaisedAnswer(status, _headers(error, response), _with_codes(error, payload or _own_words(error)))


def _statuses(place: object) -> Iterator[int]:
    for attribute in ("status_code", "status", "http_status", "code"):
        if (code := _http_status(_get(place, attribute))) is not None:
            yield code
    if isinstance(place, Mapping):
        metadata = place.get("ResponseMetadata")
        code = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
        if (code := _http_status(code)) is not None:
            yield code


def _http_status(value: object) -> int | None:
    return int(value) if isinstance(value, int) and 100 <= value <= 599 else None


def _bodies(error: BaseException, response: object) -> Iterator[object]:
    """Where SDKs keep what the provider sent: decoded, as bytes, or as the exception's own argument."""
    yield _mapping(_get(error, "body"))
    yield response if isinstance(response, Mapping) and "Error" in response else None  # botocore
    yield _mapping(_get(response, "_content"))  # httpx, requests: only if it was read
    yield _mapping(_get(error, "details"))  # google.genai
    arguments = _get(error, "args")
    yield _mapping(arguments[0]) if arguments and not isinstance(arguments[0], str) else None
    yield _retold(error)


RETOLD = re.compile(r"(?:ResponseError\(code=')?(\w+_error|rate_limit_exceeded|invalid_prompt)\b")
"""How langchain-openai words an ``error`` or ``response.failed`` event of a Responses stream."""


def _retold(error: BaseException) -> Mapping[str, Any] | None:
    """An error event that a framework has put into words, and a ``ValueError``."""
    found = RETOLD.match(sentence(error)) if type(error) is ValueError else None
    return {"error": {"code": found[1], "message": sentence(error)}} if found else None


def _mapping(body: object) -> object:
    """A body as what it holds: a decoded value, or text."""
    if isinstance(body, bytes | bytearray):
        return decoded(bytes(body))
    if isinstance(body, str):
        return decoded(body.encode("utf-8", "replace"))
    if isinstance(body, Mapping | list):
        return body
    return _dumped(body)


def _dumped(model: object) -> object:
    """A pydantic object that holds an error, as an SDK may raise it."""
    if isinstance(model, type) or not hasattr(type(model), "model_dump"):
        return None
    try:
        dumped = model.model_dump()  # type: ignore[attr-defined]  # that is what was asked above
    except Exception:
        return None
    return dumped if isinstance(dumped, Mapping) else None


def _with_codes(error: BaseException, payload: object) -> object:
    """The body, with what the exception itself knows beside it."""
    grpc = _get(_get(error, "grpc_status_code"), "name")
    aside = [{"code": text} for text in (grpc, _get(error, "reason")) if isinstance(text, str)]
    return [payload, *aside] if aside else payload


def _headers(error: BaseException, response: object) -> Mapping[str, str]:
    metadata = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    botocore = metadata.get("HTTPHeaders") if isinstance(metadata, Mapping) else None
    for headers in (_get(response, "headers"), _get(error, "headers"), botocore):
        if isinstance(headers, Mapping) or hasattr(headers, "items"):
            try:
                return plain(headers)  # type: ignore[arg-type]  # some headers are not registered as mappings
            except Exception:
                return {}
    return {}


def sentence(error: BaseException) -> str:
    """What an exception says for people."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return clean(text) or type(error).__name__


def _own_words(error: BaseException) -> str:
    """Its ``message``, where it keeps one without the decorations of its text."""
    message = _get(error, "message")
    return message if isinstance(message, str) and message.strip() else sentence(error)


def class_names(error: BaseException) -> frozenset[str]:
    return frozenset(base.__name__ for base in type(error).__mro__)


def _get(place: object, attribute: str) -> Any:
    try:
        return getattr(place, attribute, None)
    except Exception:
        return None


# ------------------------------------------------------ nobody answered


@dataclass(frozen=True, slots=True)
class Break:
    """Where the way broke, by the names of exception classes.  ``sent``: the request may have reached the provider."""

    kind: Kind
    names: frozenset[str]
    sent: bool = True


def breaks(kind: Kind, names: str, sent: bool = True) -> Break:
    return Break(kind, frozenset(names.split()), sent)


BROKEN: tuple[Break, ...] = (
    breaks(Kind.CANCELLED, "CancelledError GeneratorExit KeyboardInterrupt"),
    breaks(Kind.WRONG_URL, "UnsupportedProtocol InvalidURL LocalProtocolError MissingSchema InvalidSchema", False),
    breaks(Kind.DISCONNECTED, "SSLEOFError SSLZeroReturnError"),
    breaks(
        Kind.TLS, "SSLError SSLCertVerificationError ClientConnectorCertificateError ClientConnectorSSLError", False
    ),
    breaks(Kind.POOL, "PoolTimeout EmptyPoolError", False),
    breaks(Kind.CONNECT_TIMEOUT, "ConnectTimeout ConnectTimeoutError ConnectionTimeoutError", False),
    breaks(
        Kind.CONNECT,
        "ConnectError ConnectionRefusedError gaierror NewConnectionError NameResolutionError ProxyError "
        "ClientConnectorError ClientProxyConnectionError EndpointConnectionError",
        False,
    ),
    breaks(
        Kind.TIMEOUT,
        "TimeoutError APITimeoutError ModelTimeoutError TimeoutException ReadTimeout ReadTimeoutError WriteTimeout "
        "Timeout ServerTimeoutError DeadlineExceeded StreamChunkTimeoutError",
    ),
    breaks(
        Kind.DISCONNECTED,
        "ConnectionError APIConnectionError ModelConnectionError TransportError ProtocolError ChunkedEncodingError "
        "IncompleteRead ClientPayloadError ClientConnectionError ServerDisconnectedError HTTPClientError "
        "ConnectionClosedError ClosedResourceError EndOfStream",
    ),
    breaks(
        Kind.MALFORMED, "JSONDecodeError UnicodeDecodeError DecodingError APIResponseValidationError ContentTypeError"
    ),
    breaks(
        Kind.AUTH,
        "CredentialsError NoCredentialsError PartialCredentialsError DefaultCredentialsError RefreshError "
        "TokenRetrievalError UnauthorizedSSOTokenError",
        False,
    ),
    breaks(Kind.CONTENT_FILTER, "ContentFilterFinishReasonError OpenAIRefusalError"),
    breaks(Kind.CONTEXT_OVERFLOW, "ContextOverflowError ContextWindowExceededError"),
    breaks(Kind.CONNECT, "OSError", False),
    breaks(Kind.UNSUPPORTED, "Rejected LengthFinishReasonError"),
    breaks(
        Kind.UNSUPPORTED,  # a class that cannot put this request, and says so before it asks anybody
        "ValueError TypeError LookupError AttributeError ArithmeticError NotImplementedError AssertionError",
    ),
)
HALF_ANSWERS = ("missing 'choices'", "null value for 'choices'", "Unexpected response type", "No generations found")
"""What frameworks say, with a builtin exception, of an answer that was none."""


def break_in(errors: list[BaseException]) -> Break:
    """Where the way broke; an exception that nobody knows may mean anything."""
    if any(phrase in sentence(errors[0]) for phrase in HALF_ANSWERS):
        return Break(Kind.MALFORMED, frozenset())
    names = frozenset(name for error in errors for name in class_names(error))
    return next((each for each in BROKEN if each.names & names), Break(Kind.UNKNOWN, frozenset()))
