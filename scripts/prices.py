"""Writes ``failover/_prices.json`` from genai-prices, corrected where a better source is known.

    pip install genai-prices && python scripts/prices.py

What is taken: the providers of failover's own table, models that are billed by text and audio tokens alone, at the
prices of the day the script runs, with those that are already announced for later.  What is left out has no price in
failover: models that also bill by the second, the picture, the page or the search; models whose price was guessed
from a reseller; batch prices, which failover never uses.

genai-prices matches names by prefixes and patterns.  Here a name is known exactly or, in ``failover.prices``, without
its date: a new model must not inherit a price from an older one with a similar name.

Where sources disagree, the dearest is taken: a budget may be kept too well, never too badly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data, types

TARGET = Path(__file__).parent.parent / "failover" / "_prices.json"

PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "deepseek": "deepseek",
    "groq": "groq",
    "openrouter": "openrouter",
    "google": "gemini",
    "mistral": "mistral",
    "together": "together",
    "fireworks": "fireworks",
    "x-ai": "xai",
    "cerebras": "cerebras",
}
"""Their name there, and ours."""

TOKENS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
BESIDE = frozenset(("web_searches_kcount", "storage_searches_kcount", "cache_audio_read_mtok"))
"""Prices that a call without server-side tools never meets, or that are below the one we take instead."""
IN_TIERS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")

ELSEWHERE = re.compile(r"search|sonar|deep-research|:online$|:batch$|realtime|-live|transcribe|-tts|moderation|^ft:")
"""Models that search by themselves, speak, or are sold in other ways than one call for one answer."""
GUESSED = "Imported from OpenRouter pricing"
FOREIGN = {"gemini": re.compile("claude")}
"""Names under which a provider sells others' models at addresses that are not in failover's table."""

VARIANTS = {"openrouter": [":nitro", ":floor", ":exacto"]}
"""Ways to route to a model that do not change its listed price."""
FREE = {"openrouter": [":free"]}
UNASKED = {"openai": "gpt-", "openrouter": "openai/gpt-"}
"""Where prompts are cached, and the writing is billed, without being asked for."""


# ---------------------------------------------------------- better sources


def peak(table: Mapping[str, str], weekdays: range = range(5)) -> list[dict[str, Any]]:
    """DeepSeek's peak hours: 09:00-12:00 and 14:00-18:00 Beijing, Monday to Friday.

    Source: the provider's own pricing page, November 2026.  genai-prices knows no weekdays and bills weekends at the
    peak.  Chinese public holidays are off-peak, too; here they count as peak, which is the safe side.
    """
    return [{"start": at[0], "end": at[1], **table, "weekdays": list(weekdays)} for at in ((60, 240), (360, 600))]


FLASH: dict[str, Any] = {
    "input": "0.15",
    "output": "0.6",
    "cache_read": "0.003",
    "hours": peak({"input": "0.3", "output": "1.2", "cache_read": "0.006"}),
}
PRO: dict[str, Any] = {
    "input": "0.66",
    "output": "1.98",
    "cache_read": "0.022",
    "hours": peak({"input": "1.32", "output": "3.96", "cache_read": "0.044"}),
}
BETTER: dict[str, dict[str, dict[str, Any] | None]] = {
    "deepseek": {
        "deepseek-flash": FLASH,
        "deepseek-v4-flash": FLASH,  # an alias of it since 2026-09-10
        "deepseek-v4-pro": PRO,
        "deepseek-chat": None,  # retired 2026-07-24, its price there is of 2025
        "deepseek-reasoner": None,
    },
    "anthropic": {
        # its documentation says 0.20 for a cache read, genai-prices and OpenRouter say 0.10
        "claude-sonnet-5-5": {"cache_read": "0.2"},
        # missing there; the same model and price as Fable 5.1
        "claude-mythos-5-1": {
            "input": "10",
            "output": "50",
            "cache_read": "0.25",
            "cache_write": "12.5",
            "cache_write_1h": "20",
        },
    },
    "mistral": {
        # there still the 2/6 of Large 2; LiteLLM has 0.5/1.5 (Large 3), the newest is Large 4
        "mistral-large-latest": {"input": "0.7", "output": "2.1", "cache_read": "0.07"},
    },
}
"""Our own rows: None takes a model out; a row with an input price stands for itself, another changes the one there."""


# ----------------------------------------------------------- reading theirs


def names_of(logic: Any) -> Iterator[str]:
    """Every name a match clause mentions, as a literal."""
    for attribute in ("equals", "starts_with"):
        if text := getattr(logic, attribute, None):
            yield text.rstrip("-@:.")
    for part in getattr(logic, "or_", ()):
        yield from names_of(part)


def prices_of(model: types.ModelInfo, today: date) -> tuple[types.ModelPrice | None, dict[str, types.ModelPrice]]:
    """The price of the day, and those to come by their day; None for prices by the hour, which we write ourselves."""
    if isinstance(model.prices, types.ModelPrice):
        return model.prices, {}
    current, later = model.prices[0].prices, {}
    for each in model.prices:
        if isinstance(each.constraint, types.TimeOfDateConstraint):
            return None, {}
        if isinstance(each.constraint, types.StartDateConstraint):
            if each.constraint.start_date > today:
                later[each.constraint.start_date.isoformat()] = each.prices
            else:
                current = each.prices
    return current, later


def row_of(price: types.ModelPrice) -> dict[str, Any] | None:
    """One price in our words; None if tokens alone cannot tell the bill, or nothing is said at all."""
    given = {key: value for key, value in vars(price).items() if value is not None and key not in BESIDE}
    if not {"input_mtok", "output_mtok"} <= given.keys() <= TOKENS.keys():
        return None
    row: dict[str, Any] = {TOKENS[key]: text(getattr(value, "base", value)) for key, value in given.items()}
    edges = sorted({tier.start for value in given.values() for tier in getattr(value, "tiers", ())})
    if edges:
        row["tiers"] = [tier_of(given, edge) for edge in edges]
    return None if row["input"] == row["output"] == "0" else row


def tier_of(given: Mapping[str, Any], edge: int) -> dict[str, Any]:
    tier: dict[str, Any] = {"above": edge}
    for key, value in given.items():
        if TOKENS[key] in IN_TIERS:
            steps = [step.price for step in getattr(value, "tiers", ()) if step.start <= edge]
            tier[TOKENS[key]] = text(steps[-1] if steps else getattr(value, "base", value))
    return tier


def text(amount: Any) -> str:
    return format(amount.normalize(), "f")


def services_of(model: types.ModelInfo, current: types.ModelPrice, today: date) -> dict[str, dict[str, Any]]:
    """The dearer and cheaper service tiers (``service_tier``, ``speed``) of the day."""
    found: dict[str, dict[str, Any]] = {}
    for variant in model.price_variants or ():
        name = variant.when.get("service_tier") or variant.when.get("speed")
        since = getattr(variant.constraint, "start_date", today)
        if name and vars(variant.prices) and since <= today and name not in found:
            row = row_of(types.ModelPrice(**{**vars(current), **vars(variant.prices)}))
            if row is not None:
                found[name] = row
    return found


def entry_of(model: types.ModelInfo, provider: str, today: date) -> dict[str, Any] | None:
    """One model's row in the table."""
    current, later = prices_of(model, today)
    row = row_of(current) if current is not None else None
    if current is None or row is None:
        return None
    if services := services_of(model, current, today):
        row["services"] = services
    announced = {day: then for day, price in later.items() if (then := row_of(price)) is not None}
    if announced:
        row["later"] = announced
    if "cache_write" in row and model.id.startswith(UNASKED.get(provider, "\0")):
        mark(row)
    return row


def mark(row: dict[str, Any]) -> None:
    row["caches_unasked"] = True
    for other in (*row.get("services", {}).values(), *row.get("later", {}).values()):
        mark(other)


def wanted(model: types.ModelInfo, provider: str) -> bool:
    foreign = FOREIGN.get(provider)
    guessed = provider != "openrouter" and GUESSED in (model.price_comments or "")
    return not guessed and not ELSEWHERE.search(model.id) and not (foreign and foreign.search(model.id))


# ------------------------------------------------------------ writing ours


def shelf_of(provider: str, models: list[types.ModelInfo], today: date) -> dict[str, Any]:
    """A provider's models and the other names they go by."""
    rows: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    for model in models:
        row = entry_of(model, provider, today) if wanted(model, provider) else None
        if row is not None:
            name = model.id.lower()
            rows[name] = row
            for other in names_of(model.match):
                aliases.setdefault(other.lower(), name)
    correct(rows, BETTER.get(provider, {}))
    aliases = {other: name for other, name in aliases.items() if other not in rows and name in rows}
    return {
        "models": dict(sorted(rows.items())),
        "aliases": dict(sorted(aliases.items())),
        "variants": VARIANTS.get(provider, []),
        "free": FREE.get(provider, []),
    }


def correct(rows: dict[str, dict[str, Any]], better: Mapping[str, dict[str, Any] | None]) -> None:
    for name, row in better.items():
        if row is None:
            rows.pop(name, None)
        else:
            rows[name] = row if "input" in row else {**rows[name], **row}


def table(today: date) -> dict[str, Any]:
    shelves = {
        PROVIDERS[provider.id]: shelf_of(PROVIDERS[provider.id], provider.models, today)
        for provider in data.providers
        if provider.id in PROVIDERS
    }
    source = f"genai-prices {version('genai-prices')} (MIT), corrected by scripts/prices.py"
    return {"source": source, "date": today.isoformat(), "providers": dict(sorted(shelves.items()))}


def dumped(made: dict[str, Any]) -> str:
    """JSON with one line per model, so that a change of price is one line of a diff."""
    lines = [f'{{"source": {json.dumps(made["source"])}, "date": {json.dumps(made["date"])}, "providers": {{']
    for number, (name, shelf) in enumerate(made["providers"].items()):
        lines.append(f"{',' if number else ''}{json.dumps(name)}: {{")
        for part in ("models", "aliases"):
            rows = ",\n".join(f"{json.dumps(key)}: {compact(value)}" for key, value in shelf[part].items())
            lines.append(f'"{part}": {{\n{rows}\n}},')
        lines.append(f'"variants": {compact(shelf["variants"])}, "free": {compact(shelf["free"])}}}')
    return "\n".join([*lines, "}}"]) + "\n"


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    TARGET.write_text(dumped(table(datetime.now(UTC).date())), encoding="utf-8")
