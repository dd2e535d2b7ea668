"""An orchestrator written down in a file: what is read, and what is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from failover import Budget, Cache, CircuitBreaker, ConfigurationError, Failover, Hedge, Price, Retry, Target, Timeouts
from failover._configured import FIELDS, OPTIONS, configuration
from failover.settings import Hours, Tier

KEY = "sk-canary-0123456789abcdef"

EVERYTHING = """
strategy = "weighted"
budget = [{ limit = 5.0, timezone = "Europe/Berlin" }, { limit = 100, per = "month" }]
response_cache = { size = 10, ttl = 60 }
breaker = { failure_threshold = 3, failure_rate = 0.5 }
retry = { attempts = 1 }
timeouts = { first_content = 20 }
hedge = { after = 2 }
deadline = 90
max_wait = 10
store = "memory"
on_stream_cut = "resume"
on_content_filter = "next"
on_store_lost = "local"
http2 = false

[[targets]]
name = "main"
provider = "openai"
model = "gpt-6-luna"
api_key_env = "TEAM_KEY"
rpm = 500
inputs = ["image"]
headers = { x-team = "search" }
extra_body = { metadata = { retry = "x" } }
budget = { limit = 1 }
breaker = { recovery_timeout = 5 }

[targets.price]
input = 0.1
output = 0.4
tiers = [{ above = 200_000, input = 0.2, output = 0.8 }]
hours = [{ start = 0, end = 60, input = 0.05, output = 0.2, weekdays = [5, 6] }]
services = { flex = { input = 0.05, output = 0.2 } }
later = { 2027-01-01 = { input = 0.2, output = 0.5 } }

[[targets]]
name = "deepseek:deepseek-flash"
"""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", KEY)
    monkeypatch.setenv("DEEPSEEK_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_every_sort_of_option_is_read() -> None:
    given = configuration(EVERYTHING)
    assert given.options == {
        "strategy": "weighted",
        "budget": [Budget(5.0, timezone="Europe/Berlin"), Budget(100, per="month")],
        "response_cache": Cache(10, 60),
        "breaker": CircuitBreaker(failure_threshold=3, failure_rate=0.5),
        "retry": Retry(1),
        "timeouts": Timeouts(first_content=20),
        "hedge": Hedge(2),
        "deadline": 90,
        "max_wait": 10,
        "store": "memory",
        "on_stream_cut": "resume",
        "on_content_filter": "next",
        "on_store_lost": "local",
        "http2": False,
    }
    assert given.options.keys() == set(OPTIONS) - {"targets"}


def test_every_sort_of_target_is_read() -> None:
    main, other = configuration(EVERYTHING).built()
    assert main.api_key.get_secret_value() == KEY
    assert main == Target(
        "main",
        provider="openai",
        model="gpt-6-luna",
        api_key=main.api_key,
        rpm=500,
        inputs=frozenset({"image"}),
        headers={"x-team": "search"},
        extra_body={"metadata": {"retry": "x"}},
        budget=Budget(1),
        breaker=CircuitBreaker(recovery_timeout=5),
        price=Price(
            Decimal("0.1"),
            Decimal("0.4"),
            tiers=(Tier(200_000, Decimal("0.2"), Decimal("0.8")),),
            hours=(Hours(0, 60, Decimal("0.05"), Decimal("0.2"), weekdays=frozenset({5, 6})),),
            services={"flex": Price(Decimal("0.05"), Decimal("0.2"))},
            later={date(2027, 1, 1): Price(Decimal("0.2"), Decimal("0.5"))},
        ),
    )
    assert other == Target("deepseek:deepseek-flash")


def test_a_file_makes_an_orchestrator(tmp_path: Path) -> None:
    path = tmp_path / "failover.toml"
    path.write_text('targets = ["deepseek:deepseek-flash"]\nbudget = 5\n')
    for source in (path, str(path)):
        with Failover.from_toml(source) as guard:
            assert [target.name for target in guard.targets] == ["deepseek:deepseek-flash"]
            assert guard.budget is not None
            assert guard.budget.limit == 5


def test_what_is_given_beside_the_file_holds() -> None:
    heard: list[object] = []
    guard = Failover.from_toml(
        'targets = ["deepseek:deepseek-flash"]\nbudget = 5\n', budget=7, listeners=[heard.append]
    )
    assert guard.budget is not None
    assert guard.budget.limit == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("strateg = 'x'", "the configuration: strateg is not an option; did you mean strategy?"),
        ("zzz = 1", "zzz is not an option; there are targets, budget, strategy"),
        ("listeners = []", "listeners cannot be written in a file; write Failover.from_toml(..., listeners=...)"),
        ("budget = 5", "targets is missing"),
        ("targets = []", "targets is missing"),
        ("targets = 'x'", "targets is missing"),
        ("targets = [", "Invalid value"),
        ("targets = [7]", "targets: 7: write a model string or a table"),
        ("[[targets]]\nname = 'x:y'\nwieght = 2", "Target: wieght is not a setting; did you mean weight?"),
        ("[[targets]]\nname = 'x:y'\napi_key_evn = 'K'", "did you mean api_key_env?"),
        ("[[targets]]\nname = 'x:y'\nattempter = 'x'", "Target: attempter is not a setting"),
        ("[[targets]]\nrpm = 2", "Target: name is required"),
        ("[[targets]]\nname = 'x:y'\nrpm = -1", "Target: rpm = -1: write a whole number >= 1"),
        ("[[targets]]\nname = 'x:y'\nprice = { inptu = 1, output = 1 }", "Price: inptu is not a setting; did you mean"),
        ("targets = ['x:y']\nretry = { atempts = 1 }", "Retry: atempts is not a setting; did you mean attempts?"),
        ("targets = ['deepseek:deepseek-flash']\nretry = 5", "retry = 5: write Retry(attempts=...), or None"),
        ("targets = ['deepseek:deepseek-flash']\nstrategy = 'random'", "strategy = 'random': write one of"),
        ("targets = ['nobody:x']", "unknown provider 'nobody'"),
        ("[[targets]]\nname = 'openai:x'\napi_key_env = 'NOT_SET'", "api_key_env = 'NOT_SET': set NOT_SET in the env"),
        ("[[targets]]\nname = 'openai:x'\napi_key_env = 'not a name'", "write the name of an environment variable"),
    ],
)
def test_a_mistake_is_named_with_what_to_write_instead(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Failover.from_toml(text + "\n")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"[[targets]]\nname = 'openai:x'\napi_key = '{KEY}'",
        f"[[targets]]\nname = '{KEY}'",
        f"[[targets]]\nname = 'openai:x'\napi_key_env = '{KEY}'",
        f"[[targets]]\nname = 'openai:x'\nheaders = {{ Authorization = 'Bearer {KEY}' }}",
        f"targets = ['{KEY}']",
    ],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key_env") as caught:
        Failover.from_toml(text)
    assert "canary" not in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: No such file"):
        Failover.from_toml("nowhere.toml")


def test_every_field_of_a_target_can_be_written_but_live_ones() -> None:
    assert {"api_key", "attempter"}.isdisjoint(FIELDS)
    assert len(FIELDS) == len(Target.__dataclass_fields__) - 2


def test_the_example_in_the_documentation_is_whole_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parent.parent / "docs" / "failover.toml"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("TEAM_ANTHROPIC_KEY", KEY)
    with Failover.from_toml(path) as guard:
        assert [target.name for target in guard.targets] == ["openai:gpt-6-luna", "claude", "local"]
    text = path.read_text()
    assert [option for option in OPTIONS if option not in text and option != "http2"] == []
