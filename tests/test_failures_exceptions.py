"""Exceptions of the vendors' SDKs, raised by the SDKs themselves against a scripted transport."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
import requests
from langchain_openai import ChatOpenAI

from failover.errors import AllTargetsFailed, BadRequest, RateLimited
from failover.failures import classify_exception
from failover.types import Failure, Kind, RateHint

WALL = 1_795_392_000.0
QUOTA = {
    "error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
}
LIMITED = {"error": {"message": "Slow. Please try again in 3s", "type": "requests", "code": "rate_limit_exceeded"}}
UNKNOWN_MODEL = {"error": {"message": "The model `x` does not exist", "type": "x", "code": "model_not_found"}}
TOO_LONG = {"error": {"message": "This model's maximum context length is 5 tokens", "type": "invalid_request_error"}}
SPENT = {
    "type": "error",
    "error": {"type": "rate_limit_error", "message": "x", "details": {"error_code": "enforced_spend_limit_reached"}},
    "request_id": "req_1",
}


def raised(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def answering(status: int, body: Any, headers: Mapping[str, str] | None = None) -> httpx2.Client:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": "application/json", **(headers or {})}, content=data)

    return httpx2.Client(transport=httpx2.MockTransport(respond))


def breaking(error: Exception) -> httpx2.Client:
    def respond(request: httpx2.Request) -> httpx2.Response:
        raise error

    return httpx2.Client(transport=httpx2.MockTransport(respond))


def openai_error(client: httpx2.Client) -> Exception:
    sdk = openai.OpenAI(api_key="x", http_client=client, max_retries=0)
    return raised(lambda: sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}]))


def anthropic_error(client: httpx2.Client) -> Exception:
    sdk = anthropic.Anthropic(api_key="x", http_client=client, max_retries=0)
    return raised(lambda: sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]))


def langchain_error(client: httpx2.Client) -> Exception:
    model = ChatOpenAI(model="m", api_key="x", http_client=client, max_retries=0)
    return raised(lambda: model.invoke("hi"))


def failure_of(error: BaseException) -> Failure:
    failure = classify_exception(error, WALL)
    assert failure.cause is error
    return failure


# ---------------------------------------------------- answers inside exceptions

ANSWERS = [
    (429, QUOTA, {}, Kind.CREDIT),
    (429, LIMITED, {}, Kind.RATE_LIMITED),
    (404, UNKNOWN_MODEL, {}, Kind.MODEL_NOT_FOUND),
    (400, TOO_LONG, {}, Kind.CONTEXT_OVERFLOW),
    (400, {"error": {"message": "messages: wrong", "type": "invalid_request_error"}}, {}, Kind.BAD_REQUEST),
    (401, {"error": {"message": "no", "type": "x", "code": "invalid_api_key"}}, {}, Kind.AUTH),
    (402, {"error": {"message": "Insufficient Balance"}}, {}, Kind.CREDIT),
    (403, {"error": {"message": "no"}}, {}, Kind.FORBIDDEN),
    (500, {"error": {"message": "oops"}}, {}, Kind.SERVER_ERROR),
    (502, b"<html><title>502</title></html>", {"content-type": "text/html"}, Kind.SERVER_ERROR),
    (403, b"<html><title>Just a moment</title></html>", {"content-type": "text/html"}, Kind.BLOCKED),
    (529, b"", {}, Kind.OVERLOADED),
]
MAKERS = {"openai": openai_error, "anthropic": anthropic_error, "langchain": langchain_error}


@pytest.mark.parametrize("sdk", MAKERS)
@pytest.mark.parametrize(("status", "body", "headers", "kind"), ANSWERS)
def test_what_a_provider_answered_is_read_off_the_exception(
    sdk: str, status: int, body: Any, headers: dict[str, str], kind: Kind
) -> None:
    failure = failure_of(MAKERS[sdk](answering(status, body, headers)))
    assert (failure.kind, failure.status) == (kind, status)


@pytest.mark.parametrize("sdk", MAKERS)
def test_headers_come_along(sdk: str) -> None:
    headers = {
        "retry-after": "7",
        "x-request-id": "abc",
        "x-should-retry": "false",
        "x-ratelimit-remaining-requests": "0",
    }
    failure = failure_of(MAKERS[sdk](answering(429, {"error": {"message": "x"}}, headers)))
    assert (failure.retry_after, failure.request_id, failure.should_retry) == (7.0, "abc", False)
    assert failure.hint == RateHint(remaining_requests=0)


@pytest.mark.parametrize("sdk", MAKERS)
def test_the_wait_in_the_providers_sentence_counts(sdk: str) -> None:
    failure = failure_of(MAKERS[sdk](answering(429, LIMITED)))
    assert (failure.retry_after, failure.message) == (3.0, "Slow. Please try again in 3s")


def test_details_of_anthropics_errors_count() -> None:
    failure = failure_of(anthropic_error(answering(429, SPENT)))
    assert (failure.kind, failure.until, failure.request_id) == (Kind.SPEND_LIMIT, 1_796_083_200.0, "req_1")


def test_an_error_event_of_openais_stream_is_read() -> None:
    event = b'data: {"error": {"message": "x", "type": "server_error", "code": "server_is_overloaded"}}\n\n'
    sdk = openai.OpenAI(
        api_key="x", http_client=answering(200, event, {"content-type": "text/event-stream"}), max_retries=0
    )
    stream = sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert failure_of(raised(lambda: list(stream))).kind is Kind.OVERLOADED


def test_an_error_event_of_anthropics_stream_is_read() -> None:
    event = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}\n\n'
    sdk = anthropic.Anthropic(
        api_key="x", http_client=answering(200, event, {"content-type": "text/event-stream"}), max_retries=0
    )
    stream = sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=True)
    assert failure_of(raised(lambda: list(stream))).kind is Kind.OVERLOADED


def test_an_error_under_a_200_that_langchain_raises_as_a_value_error_is_read() -> None:
    failure = failure_of(langchain_error(answering(200, {"error": {"message": "no", "code": 429}})))
    assert failure.kind is Kind.RATE_LIMITED


@pytest.mark.parametrize("body", [{"choices": None}, {"id": "x"}])
def test_half_an_answer_that_langchain_complains_about_is_malformed(body: Any) -> None:
    assert failure_of(langchain_error(answering(200, body))).kind is Kind.MALFORMED


def test_httpx_status_errors_are_read() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, json=QUOTA, headers={"x-request-id": "abc"})

    with httpx.Client(transport=httpx.MockTransport(respond)) as client:
        failure = failure_of(raised(lambda: client.get("http://x").raise_for_status()))
        assert (failure.kind, failure.status, failure.request_id) == (Kind.CREDIT, 429, "abc")


def test_a_body_that_was_not_read_is_left_alone() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, stream=httpx.ByteStream(b"never read"))

    with httpx.Client(transport=httpx.MockTransport(respond)) as client, client.stream("GET", "http://x") as response:
        assert failure_of(raised(response.raise_for_status)).kind is Kind.SERVER_ERROR
        assert not response.is_stream_consumed


def test_requests_errors_are_read() -> None:
    response = requests.Response()
    response.status_code, response._content = 429, json.dumps(QUOTA).encode()
    response.headers["Retry-After"] = "4"
    failure = failure_of(raised(response.raise_for_status))
    assert (failure.kind, failure.status, failure.retry_after) == (Kind.CREDIT, 429, 4.0)


def test_aiohttp_errors_are_read() -> None:
    info = aiohttp.RequestInfo(url="http://x", method="POST", headers={}, real_url="http://x")  # type: ignore[arg-type]  # a URL
    error = aiohttp.ClientResponseError(info, (), status=429, message="slow", headers={"Retry-After": "4"})  # type: ignore[arg-type]  # as above
    failure = failure_of(error)
    assert (failure.kind, failure.status, failure.retry_after) == (Kind.RATE_LIMITED, 429, 4.0)


class ClientError(Exception):
    """As botocore makes it."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"An error occurred ({code}) when calling the Converse operation: {message}")
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"x-amzn-requestid": "abc"}},
        }


@pytest.mark.parametrize(
    ("code", "message", "status", "kind"),
    [
        ("ThrottlingException", "Too many tokens, please wait", 429, Kind.RATE_LIMITED),
        (
            "AccessDeniedException",
            "You don't have access to the model with the specified model ID.",
            403,
            Kind.PERMISSION,
        ),
        ("UnrecognizedClientException", "The security token is invalid", 403, Kind.AUTH),
        ("ExpiredTokenException", "expired", 403, Kind.AUTH),
        ("ValidationException", "Input is too long for requested model.", 400, Kind.CONTEXT_OVERFLOW),
        ("ValidationException", "messages: wrong", 400, Kind.BAD_REQUEST),
        ("ValidationException", "The provided model identifier is invalid.", 400, Kind.MODEL_NOT_FOUND),
        ("ModelNotReadyException", "not ready", 429, Kind.OVERLOADED),
        ("ModelTimeoutException", "timed out", 408, Kind.REQUEST_TIMEOUT),
        ("ModelErrorException", "failed", 424, Kind.MODEL_FAULT),
        ("ResourceNotFoundException", "no model", 404, Kind.MODEL_NOT_FOUND),
        ("InternalServerException", "oops", 500, Kind.SERVER_ERROR),
        ("ServiceUnavailableException", "down", 503, Kind.SERVER_ERROR),
    ],
)
def test_botocore_errors_are_read(code: str, message: str, status: int, kind: Kind) -> None:
    failure = failure_of(ClientError(code, message, status))
    assert (failure.kind, failure.status, failure.request_id) == (kind, status, "abc")
    assert failure.message == message


class StatusCode:
    name = "RESOURCE_EXHAUSTED"


class ResourceExhausted(Exception):
    """As google.api_core makes it."""

    code = 429
    grpc_status_code = StatusCode()
    reason = None
    details: list[Any] = []  # noqa: RUF012  # as it is there

    @property
    def response(self) -> Any:
        raise RuntimeError("no response was kept")


class APIError(Exception):
    """As google.genai makes it."""

    code, status = 400, "INVALID_ARGUMENT"
    details = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid. Please pass one."}}  # noqa: RUF012


def test_google_errors_are_read() -> None:
    failure = failure_of(ResourceExhausted("429 Quota exceeded. Please retry in 45.5s."))
    assert (failure.kind, failure.status, failure.retry_after) == (Kind.RATE_LIMITED, 429, 45.5)
    assert failure_of(APIError("400 INVALID_ARGUMENT")).kind is Kind.AUTH


class NotFound(Exception):
    """As google.api_core makes it: its text begins with the status, its message does not."""

    code, message = 404, "models/gemini-9 is not found for API version v1beta."

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


def test_an_exceptions_message_is_read_without_its_decorations() -> None:
    assert failure_of(NotFound()).kind is Kind.MODEL_NOT_FOUND


class BodyError(Exception):
    """As cohere, mistral and ollama make them: a status and a body of some sort."""

    def __init__(self, status: Any, body: Any) -> None:
        super().__init__("went wrong")
        self.status_code, self.body = status, body


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, json.dumps(QUOTA), Kind.CREDIT),
        (429, json.dumps(QUOTA).encode(), Kind.CREDIT),
        (429, QUOTA, Kind.CREDIT),
        (429, QUOTA["error"], Kind.CREDIT),
        (429, None, Kind.RATE_LIMITED),
        (None, QUOTA, Kind.CREDIT),
        (400, None, Kind.BAD_REQUEST),
        (True, None, Kind.UNKNOWN),
        ("429", None, Kind.UNKNOWN),
        (1006, None, Kind.UNKNOWN),
    ],
)
def test_a_status_and_a_body_are_enough(status: Any, body: Any, kind: Kind) -> None:
    assert failure_of(BodyError(status, body)).kind is kind


class ContextOverflowError(Exception):
    """As LangChain names it, whatever the provider said."""

    status_code = 400


class ContentPolicyViolationError(Exception):
    """As LiteLLM names it."""

    status_code = 400


def test_the_name_of_an_exception_counts_as_a_code() -> None:
    assert failure_of(ContextOverflowError("too much")).kind is Kind.CONTEXT_OVERFLOW
    assert failure_of(ContentPolicyViolationError("no")).kind is Kind.CONTENT_FILTER


# ------------------------------------------------------------ nobody answered


def caused(outer: Exception, *inner: BaseException) -> Exception:
    error: BaseException = outer
    for cause in inner:
        error.__cause__ = cause
        error = cause
    return outer


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
BREAKS = [
    (httpx2.ConnectTimeout("x"), Kind.CONNECT_TIMEOUT, False),
    (httpx2.ReadTimeout("x"), Kind.TIMEOUT, True),
    (httpx2.WriteTimeout("x"), Kind.TIMEOUT, True),
    (httpx2.PoolTimeout("x"), Kind.POOL, False),
    (httpx2.ConnectError("x"), Kind.CONNECT, False),
    (caused(httpx2.ConnectError("x"), ConnectionRefusedError(111, "refused")), Kind.CONNECT, False),
    (caused(httpx2.ConnectError("x"), socket.gaierror(-2, "unknown")), Kind.CONNECT, False),
    (caused(httpx2.ConnectError("x"), CERTIFICATE), Kind.TLS, False),
    (httpx2.ProxyError("x"), Kind.CONNECT, False),
    (httpx2.ReadError("x"), Kind.DISCONNECTED, True),
    (caused(httpx2.ReadError("x"), ssl.SSLEOFError(8, "EOF occurred")), Kind.DISCONNECTED, True),
    (httpx2.RemoteProtocolError("x"), Kind.DISCONNECTED, True),
    (httpx2.UnsupportedProtocol("x"), Kind.WRONG_URL, False),
]


@pytest.mark.parametrize("sdk", MAKERS)
@pytest.mark.parametrize(("error", "kind", "sent"), BREAKS, ids=lambda value: type(value).__name__)
def test_where_the_way_broke_is_seen_through_the_sdk(sdk: str, error: Exception, kind: Kind, sent: bool) -> None:
    failure = failure_of(MAKERS[sdk](breaking(error)))
    assert (failure.kind, failure.sent, failure.status) == (kind, sent, None)


@pytest.mark.parametrize(
    ("error", "kind", "sent"),
    [
        (TimeoutError(), Kind.TIMEOUT, True),
        (ConnectionRefusedError(), Kind.CONNECT, False),
        (ConnectionResetError(), Kind.DISCONNECTED, True),
        (BrokenPipeError(), Kind.DISCONNECTED, True),
        (OSError(101, "Network is unreachable"), Kind.CONNECT, False),
        (socket.gaierror(-2, "Name or service not known"), Kind.CONNECT, False),
        (CERTIFICATE, Kind.TLS, False),
        (ssl.SSLError(1, "wrong version number"), Kind.TLS, False),
        (requests.exceptions.ConnectTimeout(), Kind.CONNECT_TIMEOUT, False),
        (requests.exceptions.ReadTimeout(), Kind.TIMEOUT, True),
        (requests.exceptions.SSLError(), Kind.TLS, False),
        (requests.exceptions.ConnectionError(), Kind.DISCONNECTED, True),
        (requests.exceptions.ChunkedEncodingError(), Kind.DISCONNECTED, True),
        (requests.exceptions.InvalidURL(), Kind.WRONG_URL, False),
        (aiohttp.ServerDisconnectedError(), Kind.DISCONNECTED, True),
        (aiohttp.ServerTimeoutError(), Kind.TIMEOUT, True),
        (aiohttp.ConnectionTimeoutError(), Kind.CONNECT_TIMEOUT, False),
        (aiohttp.ClientPayloadError(), Kind.DISCONNECTED, True),
        (json.JSONDecodeError("x", "y", 0), Kind.MALFORMED, True),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "y"), Kind.MALFORMED, True),
        (NotImplementedError("no tools"), Kind.UNSUPPORTED, True),
        (ValueError("Unknown message type"), Kind.UNSUPPORTED, True),
        (TypeError("x"), Kind.UNSUPPORTED, True),
        (KeyError("x"), Kind.UNSUPPORTED, True),
        (asyncio.CancelledError(), Kind.CANCELLED, True),
        (RateLimited("no room", "x", 3.0), Kind.UNSUPPORTED, True),
        (Exception("what?"), Kind.UNKNOWN, True),
        (MemoryError(), Kind.UNKNOWN, True),
        (ExceptionGroup("several", [TimeoutError(), ValueError()]), Kind.TIMEOUT, True),
        (caused(RuntimeError("agent failed"), RuntimeError("model failed"), TimeoutError()), Kind.TIMEOUT, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_builtins_and_transports_are_known_by_their_classes(error: BaseException, kind: Kind, sent: bool) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.sent) == (kind, sent)
    assert failure.message


def test_what_a_value_error_says_is_not_the_providers_word() -> None:
    for text in ("insufficient_quota", "Your credit balance is too low", "model 'x' not found", "429"):
        assert failure_of(ValueError(text)).kind is Kind.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("overloaded_error: Overloaded", Kind.OVERLOADED),
        ("ResponseError(code='server_error', message='Please try again.')", Kind.SERVER_ERROR),
        ("rate_limit_exceeded: Slow down", Kind.RATE_LIMITED),
        ("invalid_prompt: It was flagged.", Kind.CONTENT_FILTER),
        ("max_tokens: must be positive", Kind.UNSUPPORTED),
    ],
)
def test_an_error_event_that_langchain_put_into_a_value_error_is_the_providers_word(text: str, kind: Kind) -> None:
    assert failure_of(ValueError(text)).kind is kind


def test_a_cause_that_was_suppressed_is_not_looked_at() -> None:
    error = RuntimeError("x")
    error.__context__ = TimeoutError()
    assert failure_of(error).kind is Kind.TIMEOUT
    error.__suppress_context__ = True
    assert failure_of(error).kind is Kind.UNKNOWN


def test_a_circle_of_causes_ends() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert failure_of(one).kind is Kind.UNKNOWN


def test_a_failover_inside_a_failover_says_what_it_knows() -> None:
    inner = Failure(Kind.BAD_REQUEST, "wrong", 400)
    assert failure_of(BadRequest(inner, "x")).kind is Kind.BAD_REQUEST
    nobody = AllTargetsFailed([BadRequest(Failure(Kind.AUTH, "no", 401), "x")], (), 5.0)
    failure = failure_of(nobody)
    assert (failure.kind, failure.retry_after) == (Kind.SERVER_ERROR, 5.0)


class Hostile(Exception):
    """Every attribute raises, and so does its text."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_exception_that_cannot_be_read_is_unknown() -> None:
    assert failure_of(Hostile()).kind is Kind.UNKNOWN
