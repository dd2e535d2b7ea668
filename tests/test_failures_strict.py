"""The scripted providers refuse in the words of the real ones; each refusal means what it should."""

from __future__ import annotations

import pytest

from failover.failures import classify
from failover.testing.strict import KEY_STATUS, KEY_WORDS, MODEL_WORDS
from failover.testing.strict.chat import OVERFLOWS
from failover.testing.strict.shape import Finding
from failover.testing.strict.wording import PHRASES, Violation, error_body, worded
from failover.types import Failure, Kind

SHAPES = sorted(PHRASES)


def refused(shape: str, violation: Violation) -> Failure:
    return classify(violation.status, {}, error_body(shape, violation), 0.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_unknown_parameter_is_one_in_every_wording(shape: str) -> None:
    failure = refused(shape, worded(shape, Finding("unknown", ("top_k",), got=5)))
    assert failure.kind is Kind.UNSUPPORTED_PARAMETER
    assert failure.parameter in ("top_k", None)


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"deepseek", "groq", "gemini", "fastapi", "xai"}))
def test_an_unknown_field_in_the_history_is_our_rendering(shape: str) -> None:
    failure = refused(shape, worded(shape, Finding("unknown", ("messages", 0, "cache_control"), got="x")))
    assert failure.kind is Kind.TRANSLATION


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["missing", "empty", "type"])
def test_a_callers_mistake_is_one_in_every_wording(shape: str, kind: str) -> None:
    finding = Finding(
        kind, ("messages",), want=1 if kind == "empty" else "array", got=0 if kind == "empty" else "a string"
    )
    assert refused(shape, worded(shape, finding)).kind is Kind.BAD_REQUEST


@pytest.mark.parametrize("shape", sorted(OVERFLOWS))
def test_an_overflow_is_one_in_every_wording(shape: str) -> None:
    overflow = OVERFLOWS[shape]
    text = overflow.text.format(window=4096, prompt=5000, output=100, total=5100)
    violation = Violation(400, text, "context", code=overflow.code, param="messages")
    assert refused(shape, violation).kind is Kind.CONTEXT_OVERFLOW


@pytest.mark.parametrize("shape", sorted(MODEL_WORDS))
def test_a_model_that_is_not_there_is_one_in_every_wording(shape: str) -> None:
    known = MODEL_WORDS[shape]
    text = known.message.format(model="gpt-9-nova")
    violation = Violation(known.status, text, known.rule, known.type, known.code, known.param)
    assert refused(shape, violation).kind is Kind.MODEL_NOT_FOUND


@pytest.mark.parametrize("shape", sorted(KEY_WORDS))
def test_a_refused_key_is_one_in_every_wording(shape: str) -> None:
    words, type_, code = KEY_WORDS[shape]
    violation = Violation(KEY_STATUS.get(shape, 401), words, "credential", type_, code)
    assert refused(shape, violation).kind is Kind.AUTH
