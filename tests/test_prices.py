"""Bills to the nano-dollar, ceilings that hold, names that are known or not.

The expected sums are worked out in the comments from the vendors' price lists, in dollars per million tokens, which
is nano-dollars per thousandth of a token: price x tokens x 1000.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import prices
from failover.prices import PLAIN, Terms, ceiling, cost, price_for, terms_of
from failover.settings import Hours, Price, Tier
from failover.types import NANO, Media, Message, Request, Text, Tool, ToolResult, Usage


def at(day: int, hour: int, minute: int = 0, second: float = 0) -> float:
    """A moment in November 2026, UTC; the 23rd is a Monday."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp() + second


NIGHT = at(23, 22)


def known(provider: str, model: str) -> Price:
    price = price_for(provider, model)
    assert price is not None, (provider, model)
    return price


# ----------------------------------------------- the bills of five providers

BILLS = [
    # {"prompt_tokens": 12345, "prompt_tokens_details": {"cached_tokens": 10240, "cache_write_tokens": 2000},
    #  "completion_tokens": 678, "completion_tokens_details": {"reasoning_tokens": 512}}
    # 105 x 2000 + 10240 x 200 + 2000 x 2500 + 678 x 10000
    (
        "openai",
        "gpt-6-sol-2026-10-01",
        Usage(12_345, 678, cache_read_tokens=10_240, cache_write_tokens=2_000, reasoning_tokens=512),
        210_000 + 2_048_000 + 5_000_000 + 6_780_000,
    ),
    # {"prompt_tokens": 17, "completion_tokens": 1}: 17 x 100 + 1 x 500
    ("openai", "gpt-6-luna", Usage(17, 1), 2_200),
    # {"input_tokens": 1200, "cache_read_input_tokens": 30000, "cache_creation_input_tokens": 8000,
    #  "cache_creation": {"ephemeral_5m_input_tokens": 5000, "ephemeral_1h_input_tokens": 3000}, "output_tokens": 950}
    # 1200 x 4000 + 30000 x 200 + 5000 x 5000 + 3000 x 8000 + 950 x 20000
    (
        "anthropic",
        "claude-opus-5-5",
        Usage(39_200, 950, cache_read_tokens=30_000, cache_write_tokens=8_000, cache_write_1h_tokens=3_000),
        4_800_000 + 6_000_000 + 25_000_000 + 24_000_000 + 19_000_000,
    ),
    # {"input_tokens": 2095, "output_tokens": 503}: 2095 x 2000 + 503 x 10000
    ("anthropic", "claude-sonnet-5-5", Usage(2_095, 503), 9_220_000),
    # {"prompt_cache_hit_tokens": 896, "prompt_cache_miss_tokens": 104, "completion_tokens": 333}, off-peak:
    # 104 x 150 + 896 x 3 + 333 x 600
    ("deepseek", "deepseek-flash", Usage(1_000, 333, cache_read_tokens=896), 15_600 + 2_688 + 199_800),
    # {"prompt_tokens": 72, "completion_tokens": 41}: 72 x 150 + 41 x 600
    ("groq", "openai/gpt-oss-120b", Usage(72, 41), 35_400),
    # {"prompt_tokens": 2003, "prompt_tokens_details": {"cached_tokens": 1001}}: 1002 x 75 + 1001 x 37.5, rounded up
    ("groq", "openai/gpt-oss-20b", Usage(2_003, 0, cache_read_tokens=1_001), 75_150 + 37_538),
    # {"prompt_tokens": 14, "completion_tokens": 163, "cost": 0.00014}: what it says it charged
    ("openrouter", "deepseek/deepseek-v4.1-flash", Usage(14, 163, cost=140_000), 140_000),
    # without usage.cost: 14 x 210 + 163 x 840
    ("openrouter", "deepseek/deepseek-v4.1-flash", Usage(14, 163), 2_940 + 136_920),
]


@pytest.mark.parametrize(("provider", "model", "usage", "nano"), BILLS)
def test_the_bill_is_the_providers_to_the_nano_dollar(provider: str, model: str, usage: Usage, nano: int) -> None:
    assert cost(known(provider, model), usage, NIGHT) == nano


@pytest.mark.parametrize(("provider", "model", "usage", "nano"), BILLS)
def test_no_bill_exceeds_its_ceiling(provider: str, model: str, usage: Usage, nano: int) -> None:
    if usage.cost is None:
        terms = Terms(caching=usage.cache_write_tokens > 0)
        assert nano <= ceiling(known(provider, model), usage.input_tokens, usage.output_tokens, terms, NIGHT)


def test_a_charge_of_nothing_is_a_charge() -> None:
    assert cost(known("openrouter", "openai/gpt-6-sol"), Usage(1_000, 1_000, cost=0), NIGHT) == 0


def test_the_sum_is_rounded_up_and_only_the_sum() -> None:
    tiny = Price("0.0001", "0.0001")  # type: ignore[arg-type]  # a tenth of a nano-dollar a token
    assert [cost(tiny, Usage(tokens, 0), 0) for tokens in (0, 1, 9, 10, 11)] == [0, 1, 1, 1, 2]
    assert cost(tiny, Usage(5, 5), 0) == 1


def test_a_price_with_endless_digits_is_rounded_up() -> None:
    third = Price(Decimal(1) / 3, 0)
    assert cost(third, Usage(3_000_000, 0), 0) >= NANO
    assert cost(third, Usage(3_000_000, 0), 0) - NANO <= 1
    assert cost(Price(Decimal("1e-400"), 0), Usage(1, 0), 0) == 1


def test_nonsense_in_a_report_never_makes_a_bill_smaller_than_its_parts() -> None:
    more_cached_than_sent = Usage(100, 10, cache_read_tokens=500)
    assert cost(Price(2, 10, cache_read=1), more_cached_than_sent, 0) == 500 * 1_000 + 10 * 10_000


def test_what_a_price_does_not_say_costs_what_its_nearest_kin_costs() -> None:
    usage = Usage(400, 0, cache_read_tokens=100, cache_write_tokens=200, cache_write_1h_tokens=100)
    assert cost(Price(1, 0), usage, 0) == 400_000
    assert cost(Price(1, 0, cache_write=3), usage, 0) == 200_000 + 600_000
    assert cost(Price(1, 0, cache_write=3, cache_write_1h=5), usage, 0) == 200_000 + 300_000 + 500_000


def test_sound_is_billed_at_its_own_price() -> None:
    price = Price(1, 2, audio_input=10, audio_output=20)
    assert cost(price, Usage(100, 50, audio_input_tokens=60, audio_output_tokens=50), 0) == 40_000 + 600_000 + 1_000_000


# ------------------------------------------------------------ tiers, a cliff


@pytest.mark.parametrize(
    ("provider", "model", "edge", "below", "above"),
    [
        ("openai", "gpt-6-sol", 272_000, 2_000, 4_000),
        ("anthropic", "claude-haiku-5-5", 100_000, 100, 500),
        ("xai", "grok-4.5", 199_999, 2_000, 4_000),
    ],
)
def test_one_token_past_the_edge_reprices_the_whole_request(
    provider: str, model: str, edge: int, below: int, above: int
) -> None:
    price = known(provider, model)
    assert cost(price, Usage(edge, 0), NIGHT) == edge * below
    assert cost(price, Usage(edge + 1, 0), NIGHT) == (edge + 1) * above


def test_cached_tokens_count_towards_the_edge() -> None:
    price = known("anthropic", "claude-haiku-5-5")
    assert cost(price, Usage(100_001, 0, cache_read_tokens=100_001), NIGHT) == 100_001 * 50


def test_the_highest_tier_that_is_exceeded_holds() -> None:
    price = Price(1, 0, tiers=(Tier(10, 2, 0), Tier(20, 3, 0)))
    assert [cost(price, Usage(tokens, 0), 0) for tokens in (10, 11, 20, 21)] == [10_000, 22_000, 40_000, 63_000]


# ---------------------------------------------------------------- the hours


@pytest.mark.parametrize(
    ("moment", "peak"),
    [
        (at(23, 0, 59, 59.999), False),
        (at(23, 1), True),
        (at(23, 3, 59, 59.999), True),
        (at(23, 4), False),
        (at(23, 5, 59, 59), False),
        (at(23, 6), True),
        (at(23, 9, 59, 59), True),
        (at(23, 10), False),
        (at(27, 2), True),  # Friday
        (at(28, 2), False),  # Saturday
        (at(29, 7), False),  # Sunday
    ],
)
def test_deepseek_is_dearer_in_its_peak_hours_on_weekdays_only(moment: float, peak: bool) -> None:
    usage = Usage(1_000, 100, cache_read_tokens=200)
    off_peak = 800 * 150 + 200 * 3 + 100 * 600
    assert cost(known("deepseek", "deepseek-flash"), usage, moment) == off_peak * (2 if peak else 1)


def test_a_tier_wins_over_the_hour() -> None:
    price = Price(1, 0, tiers=(Tier(10, 2, 0),), hours=(Hours(0, 1440, 5, 0),))
    assert cost(price, Usage(10, 0), 0) == 50_000
    assert cost(price, Usage(11, 0), 0) == 22_000
    assert ceiling(price, 11, 0) == 55_000


# ------------------------------------------------ announced prices, services


def test_an_announced_price_holds_from_its_day_on() -> None:
    price = known("gemini", "gemini-4-argon")
    assert cost(price, Usage(1_000, 0), at(30, 23, 59, 59)) == 2_000_000
    assert cost(price, Usage(1_000, 0), datetime(2026, 12, 1, tzinfo=UTC).timestamp()) == 4_000_000


def test_of_several_announced_prices_the_latest_that_has_begun_holds() -> None:
    price = Price(1, 0, later={date(2026, 11, 24): Price(2, 0), date(2026, 11, 26): Price(3, 0)})
    assert [cost(price, Usage(1, 0), at(day, 0)) for day in (23, 24, 25, 26)] == [1_000, 2_000, 2_000, 3_000]


def test_an_announced_price_is_reserved_a_day_ahead() -> None:
    price = Price(1, 0, later={date(2026, 11, 25): Price(3, 0)})
    assert ceiling(price, 1, 0, wall=at(23, 23)) == 1_000
    assert ceiling(price, 1, 0, wall=at(24, 1)) == 3_000
    assert ceiling(price, 1, 0) == 3_000


@pytest.mark.parametrize(("service", "factor"), [("", 2), ("default", 2), ("flex", 1), ("priority", 4), ("odd", 2)])
def test_the_service_tier_that_answered_is_billed(service: str, factor: int) -> None:
    assert cost(known("openai", "gpt-6-sol"), Usage(1_000, 0), NIGHT, service) == factor * 1_000_000


@pytest.mark.parametrize(("service", "dearest"), [("", 2), ("auto", 2), ("flex", 2), ("priority", 4), ("odd", 4)])
def test_the_ceiling_takes_the_dearest_service_that_can_be_meant(service: str, dearest: int) -> None:
    price = Price(2, 0, services={"flex": Price(1, 0), "priority": Price(4, 0)})
    assert ceiling(price, 1_000, 0, Terms(service=service)) == dearest * 1_000_000


# -------------------------------------------------------------- the ceiling


def test_the_ceiling_counts_peak_hours_and_both_sides_of_an_edge() -> None:
    assert ceiling(known("deepseek", "deepseek-flash"), 1_000, 100) == 300_000 + 120_000
    luna = known("anthropic", "claude-haiku-5-5")
    assert ceiling(luna, 100_000, 0) == 10_000_000
    assert ceiling(luna, 100_001, 0) == 50_000_500
    cheaper_above = Price(2, 0, tiers=(Tier(10, 1, 0),))
    assert ceiling(cheaper_above, 11, 0) == 22_000


def test_cache_writes_are_in_the_ceiling_where_they_are_asked_for_or_happen_by_themselves() -> None:
    opus, sol = known("anthropic", "claude-opus-5-5"), known("openai", "gpt-6-sol")
    assert ceiling(opus, 1_000, 0) == 4_000_000
    assert ceiling(opus, 1_000, 0, Terms(caching=True)) == 8_000_000
    assert ceiling(sol, 1_000, 0) == 2_500_000


def test_a_cache_read_that_is_dearer_than_reading_is_in_the_ceiling() -> None:
    assert ceiling(Price(1, 0, cache_read=3), 1_000, 0) == 3_000_000


def test_sound_is_in_the_ceiling_where_the_request_has_any() -> None:
    price = Price(1, 2, audio_input=10, audio_output=20)
    assert ceiling(price, 10, 10) == 30_000
    assert ceiling(price, 10, 10, Terms(audio=True)) == 300_000


def test_asking_for_several_answers_multiplies_the_ceiling() -> None:
    assert ceiling(Price(1, 2), 10, 20, Terms(answers=3)) == 3 * ceiling(Price(1, 2), 10, 20) == 150_000


def test_a_request_says_its_own_terms() -> None:
    plain = Request((Message("user", "hi"),))
    assert terms_of(plain) == PLAIN
    bent = Request((Message("user", "hi"),), extra_body={"n": 3, "service_tier": "priority"})
    assert terms_of(bent) == Terms(answers=3, service="priority")
    cached = Request((Message("user", Text("hi", cache_point=True)),), extra_body={"speed": "fast"})
    assert terms_of(cached) == Terms(service="fast", caching=True)
    deep = Request((Message("tool", ToolResult("1", (Media("audio", data="AAAA", cache_point=True),))),))
    assert terms_of(deep) == Terms(caching=True, audio=True)


def test_a_cache_point_in_the_wires_own_json_is_seen_however_deep_it_is() -> None:
    point = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    native = Tool("bash", native={"type": "bash_20250124", "name": "bash", **point})
    assert terms_of(Request((), tools=(native,))) == Terms(caching=True)
    assert terms_of(Request((), extra_body={"system": [{"type": "text", "text": "x", **point}]})) == Terms(caching=True)
    assert terms_of(Request((), extra_body=point)) == Terms(caching=True)
    assert terms_of(Request((), tools=(Tool("plain"),), extra_body={"metadata": {"user_id": "x"}})) == PLAIN


def test_nonsense_in_the_body_changes_no_terms() -> None:
    assert terms_of(Request((), extra_body={"n": -3})) == PLAIN
    assert terms_of(Request((), extra_body={"n": "many", "service_tier": None})) == PLAIN


amounts = st.decimals(min_value=0, max_value=200, places=6, allow_nan=False)
counts = st.integers(min_value=0, max_value=2_000_000)


@st.composite
def tables(draw: st.DrawFn) -> Price:
    edges = sorted(draw(st.sets(st.integers(0, 1_000_000), max_size=2)))
    tiers = tuple(Tier(edge, draw(amounts), draw(amounts), cache_read=draw(amounts)) for edge in edges)
    hours = (Hours(60, 600, draw(amounts), draw(amounts), weekdays=frozenset(draw(st.sets(st.integers(0, 6))))),)
    return Price(
        draw(amounts), draw(amounts), cache_read=draw(amounts), cache_write=draw(amounts), tiers=tiers, hours=hours
    )


@given(tables(), counts, counts, st.floats(0, 1), st.floats(0, 1), st.integers(0, 2_000_000_000))
def test_no_usage_within_the_bounds_costs_more_than_the_ceiling(
    price: Price, tokens_in: int, tokens_out: int, read: float, written: float, wall: int
) -> None:
    cached = int(tokens_in * read)
    stored = int((tokens_in - cached) * written)
    usage = Usage(tokens_in, tokens_out, cache_read_tokens=cached, cache_write_tokens=stored)
    assert cost(price, usage, wall) <= ceiling(price, tokens_in, tokens_out, Terms(caching=True), wall)


# ---------------------------------------------------------------- the names


@pytest.mark.parametrize(
    ("provider", "model", "tokens_in", "tokens_out"),
    [
        ("openai", "gpt-6.1-sol", "2", "10"),
        ("openai", "gpt-6-astra", "10", "50"),
        ("openai", "GPT-6-Luna", "0.1", "0.5"),
        ("openai", "gpt-4o-2024-05-13", "5", "15"),
        ("openai", "gpt-4o-2024-11-20", "2.5", "10"),
        ("azure", "gpt-6-sol", "2", "10"),
        ("anthropic", "claude-haiku-5-5-20261001", "0.1", "0.5"),
        ("anthropic", "claude-mythos-5-1", "10", "50"),
        ("deepseek", "deepseek-v4-flash", "0.15", "0.6"),
        ("deepseek", "deepseek-v4-pro", "0.66", "1.98"),
        ("groq", "openai/gpt-oss-120b", "0.15", "0.6"),
        ("groq", "qwen/qwen3.8-27b", "0.8", "4"),
        ("openrouter", "openai/gpt-6-sol", "2", "10"),
        ("openrouter", "openai/gpt-6-sol:nitro", "2", "10"),
        ("openrouter", "openai/gpt-4o-2024-05-13:nitro", "5", "15"),
        ("openrouter", "anthropic/claude-sonnet-5.5-20260928", "2", "10"),
        ("openrouter", "made/up:free", "0", "0"),
        ("gemini", "models/gemini-3.8-flash", "0.75", "3.75"),
        ("mistral", "mistral-large-latest", "0.7", "2.1"),
        ("mistral", "mistral-medium-latest", "1.5", "7.5"),
        ("xai", "grok-4.3", "1.25", "2.5"),
        ("cerebras", "gpt-oss-120b", "0.35", "0.75"),
        ("together", "deepseek-ai/DeepSeek-V4.1-Flash-1017", "0.3", "1.2"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "0.15", "0.6"),
        ("ollama", "whatever", "0", "0"),
        ("vllm", "whatever", "0", "0"),
    ],
)
def test_a_name_is_found_as_its_provider_writes_it(provider: str, model: str, tokens_in: str, tokens_out: str) -> None:
    price = known(provider, model)
    assert (price.input, price.output) == (Decimal(tokens_in), Decimal(tokens_out))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-7"),
        ("openai", "gpt-6-solar"),
        ("openai", "gpt-6-sol-mini"),
        ("openai", "openai/gpt-6-sol"),
        ("openai", "made/up:free"),
        ("openai", "gpt-4o-search-preview"),
        ("openai", "gpt-image-2"),
        ("openai", ""),
        ("anthropic", "claude-haiku-5-55"),
        ("anthropic", "claude-haiku-5-5-turbo"),
        ("deepseek", "deepseek-chat"),
        ("cerebras", "qwen-3-coder-480b"),
        ("openrouter", "openai/gpt-6-sol:online"),
        ("openrouter", "openai/gpt-6-sol:batch"),
        ("nobody", "gpt-6-sol"),
        ("", "gpt-6-sol"),
    ],
)
def test_an_unknown_name_has_no_price_and_never_a_neighbours(provider: str, model: str) -> None:
    assert price_for(provider, model) is None


def test_where_sources_disagree_the_dearest_is_taken() -> None:
    assert known("anthropic", "claude-sonnet-5-5").cache_read == Decimal("0.2")


def test_the_table_has_no_free_model_and_builds_every_price_in_it() -> None:
    table = json.loads((Path(prices.__file__).parent / "_prices.json").read_bytes())["providers"]
    built = {
        (provider, model): price_for(provider, model) for provider, shelf in table.items() for model in shelf["models"]
    }
    assert len(built) > 700
    assert all(price is not None and (price.input or price.output) for price in built.values())
    assert all(alias not in shelf["models"] for shelf in table.values() for alias in shelf["aliases"])
    assert all(name in shelf["models"] for shelf in table.values() for name in shelf["aliases"].values())
