"""Settings are checked when they are built, and a wrong one is answered with what to write instead."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from failover import settings
from failover.errors import ConfigurationError
from failover.settings import (
    Budget,
    CircuitBreaker,
    Hours,
    Price,
    RateLimit,
    Target,
    Tier,
    Timeouts,
)

KEY = "sk-proj-THISMUSTNEVERBESEEN0123456789"


def refusal(build: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert not isinstance(caught.value.__context__, ValidationError), "it holds the values"
    return str(caught.value)


wrong: Any = settings
"""The same classes, for what a type checker would refuse by itself."""


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: wrong.Target("a", rpm=-1), "Target: rpm = -1: write a whole number >= 1, or None for no limit"),
        (lambda: wrong.Target("a", tpm=0), "Target: tpm = 0: write a whole number >= 1, or None for no limit"),
        (lambda: wrong.Target("a", weight=0), "Target: weight = 0: write a number > 0"),
        (lambda: wrong.Target(""), "Target: name = '': write a string that is not empty"),
        (
            lambda: wrong.Target("a", dialect="soap"),
            "Target: dialect = 'soap': write 'chat', 'responses' or 'anthropic'",
        ),
        (lambda: wrong.Target("a", inputs={"smell"}), "'smell': write 'image', 'document', 'audio' or 'video'"),
        (lambda: wrong.Target("a", reenable_after=-1), "reenable_after = -1: write a number > 0, or None for never"),
        (
            lambda: wrong.Target("a", price={"input": -1, "output": 2}),
            "price.input = -1: write a finite amount in US dollars",
        ),
        (lambda: wrong.Target("a", budget=5), "Target: budget = 5: write an instance of Budget"),
        (lambda: wrong.Target("a", base_url="localhost:8000"), "write a URL that begins with http:// or https://"),
        (lambda: wrong.Target("a", headers={"x": "1\r\nHost: evil"}), "headers: 'x' holds a line break"),
        (lambda: wrong.Budget(-1), "Budget: limit = -1: write an amount in US dollars, from 0 to 9,000,000"),
        (lambda: wrong.Budget("a lot"), "Budget: limit = 'a lot': write an amount in US dollars, from 0 to 9,000,000"),
        (lambda: wrong.Budget(5, per="decade"), "per = 'decade': write 'hour', 'day', 'week', 'month' or 'total'"),
        (lambda: wrong.Budget(5, timezone="Mars/Olympus"), "timezone = 'Mars/Olympus' is unknown; write an IANA name"),
        (lambda: wrong.Budget(5, per_label=""), "per_label = '': write a string that is not empty"),
        (lambda: wrong.RateLimit(requests=0), "requests = 0: write a whole number >= 1, or None for no limit"),
        (lambda: wrong.CircuitBreaker(failure_threshold=0), "failure_threshold = 0: write a whole number >= 1"),
        (
            lambda: wrong.CircuitBreaker(failure_rate=1.5),
            "failure_rate = 1.5: write a number > 0 and <= 1, or None for off",
        ),
        (lambda: wrong.Retry(attempts=-1), "attempts = -1: write a whole number >= 0"),
        (lambda: wrong.Retry(budget=2), "budget = 2: write a number from 0 to 1"),
        (lambda: wrong.Cache(ttl=0), "Cache: ttl = 0: write a number > 0"),
        (lambda: wrong.Timeouts(connect=-1), "Timeouts: connect = -1: write a number > 0"),
        (lambda: wrong.Hours(600, 540, 1, 1), "start = 600, end = 540: write a start before the end"),
        (
            lambda: wrong.Hours(0, 1441, 1, 1),
            "end = 1441: write minutes after midnight UTC, a whole number from 0 to 1440",
        ),
        (lambda: wrong.Hours(0, 60, 1, 1, weekdays={7}), "7: write a whole number from 0 (Monday) to 6 (Sunday)"),
        (
            lambda: wrong.Price(1, 1, tiers=(wrong.Tier(9, 1, 1), wrong.Tier(9, 1, 1))),
            "tiers at [9, 9]: write them by ascending above",
        ),
        (lambda: wrong.Price(1, 1, hours=(wrong.Hours(0, 60, 1, 1), wrong.Hours(59, 90, 1, 1))), "hours overlap"),
    ],
)
def test_a_refusal_names_the_field_the_value_and_what_to_write(build: Callable[[], object], sentence: str) -> None:
    assert sentence in refusal(build)


@pytest.mark.parametrize("value", [True, math.nan, math.inf, -math.inf, "many", [], Decimal("NaN")])
@pytest.mark.parametrize(
    "build",
    [
        lambda value: Target("a", rpm=value),
        lambda value: Target("a", weight=value),
        lambda value: Budget(value),
        lambda value: Price(value, 1),
        lambda value: Hours(value, 600, 1, 1),
        lambda value: CircuitBreaker(failure_rate=value),
        lambda value: Timeouts(total=value),
    ],
)
def test_neither_truth_nor_infinity_nor_text_is_a_number(build: Callable[[Any], object], value: object) -> None:
    assert ": write " in refusal(lambda: build(value))


def test_one_refusal_names_every_wrong_field() -> None:
    message = refusal(lambda: Target("a", rpm=0, weight=-2))
    assert "rpm = 0" in message
    assert "weight = -2" in message


def test_a_misspelt_setting_is_refused_with_the_likely_name() -> None:
    assert refusal(lambda: wrong.Target("a", wieght=2)) == "Target: wieght is not a setting; did you mean weight?"
    assert "there are size, ttl, namespace" in refusal(lambda: wrong.Cache(zzz=1))


def test_a_missing_name_is_asked_for() -> None:
    assert refusal(lambda: wrong.Target()) == "Target: name is required"


@pytest.mark.parametrize(
    "build",
    [
        lambda: wrong.Target("a", KEY),
        lambda: wrong.Target("a", None, None, None, None, KEY),
        lambda: wrong.Target("a", apikey=KEY),
        lambda: wrong.Target("a", credential=KEY),
        lambda: wrong.Target(KEY),
        lambda: wrong.Target("a", model=KEY),
        lambda: wrong.Target("a", provider=f"Bearer {KEY}"),
        lambda: wrong.Target("a", headers=KEY),
        lambda: wrong.Target("a", headers={"Authorization": [KEY]}),
        lambda: wrong.Target("a", headers={"Authorization": f"Bearer {KEY}\n"}),
        lambda: wrong.Target("a", extra_body=[KEY]),
        lambda: wrong.Target("a", api_key=[KEY]),
        lambda: wrong.Target("a", base_url=f"ftp://user:{KEY}@host/?key={KEY}"),
    ],
)
def test_no_refusal_repeats_a_secret(build: Callable[[], object]) -> None:
    assert KEY not in refusal(build)


def test_no_repr_shows_a_secret() -> None:
    target = Target(
        "a",
        api_key=KEY,
        headers={"Authorization": KEY},
        base_url=f"https://user:{KEY}@host/v1?key={KEY}",
    )
    assert repr(target) == "Target(name='a', base_url='https://***@host/v1?***')"


def test_a_key_is_kept_as_a_secret_however_it_is_given() -> None:
    assert Target("a", api_key=KEY).api_key == SecretStr(KEY)
    assert Target("a", api_key=SecretStr(KEY)).api_key.get_secret_value() == KEY
    assert callable(Target("a", api_key=lambda: KEY).api_key)
    assert "api_key: write a string" in refusal(lambda: Target("a", api_key=5))


def test_a_model_name_is_never_taken_for_a_key() -> None:
    for model in ("gpt-6-sol", "openai/gpt-oss-120b", "accounts/fireworks/models/x", "sk-tiny", "deepseek-flash"):
        assert Target("a", model=model).model == model


def test_repr_shows_only_what_was_set() -> None:
    assert repr(Target("a", rpm=500)) == "Target(name='a', rpm=500)"
    assert repr(Price(2, 10)) == "Price(input=Decimal('2'), output=Decimal('10'))"
    assert repr(CircuitBreaker()) == "CircuitBreaker()"
    assert repr(Budget(5, per="week")) == "Budget(limit=Decimal('5'), per='week')"


def test_money_is_decimal_and_means_what_was_written() -> None:
    assert Budget(0.1).limit == Decimal("0.1")
    assert wrong.Price(0.003625, "1.10").output == Decimal("1.10")


def test_the_breakers_longest_pause_is_never_shorter_than_its_first() -> None:
    assert CircuitBreaker(recovery_timeout=900).max_recovery_timeout == 900
    assert CircuitBreaker(recovery_timeout=10).max_recovery_timeout == 300


def test_hours_on_different_days_do_not_overlap() -> None:
    Price(1, 1, hours=(Hours(0, 60, 1, 1, weekdays=frozenset({0})), Hours(0, 60, 2, 2, weekdays=frozenset({1}))))
    Price(1, 1, hours=(Hours(0, 60, 1, 1), Hours(60, 90, 2, 2)))


def test_settings_are_frozen_and_can_be_copied_and_pickled() -> None:
    price = Price(
        2, 10, tiers=(Tier(5, 4, 15),), services={"fast": Price(4, 20)}, later={date(2027, 1, 1): Price(4, 20)}
    )
    assert pickle.loads(pickle.dumps(price)) == price == copy.deepcopy(price)
    with pytest.raises(AttributeError):
        price.input = Decimal(1)  # type: ignore[misc]  # the point


def test_a_targets_limits_are_one_rate_limit() -> None:
    target = Target("a", rpm=1, tpm=2, input_tpm=3, output_tpm=4, concurrency=5)
    assert target.limits == RateLimit(1, 2, 3, 4, 5)
