"""What shows itself in a notebook: text, and HTML that is whole, escaped, and readable on any ground."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient

from failover import Budget, CircuitBreaker, ConfigurationError, Failover, Price, Response, Target
from failover.display import bundle
from failover.display import pictures as pictures_of
from failover.display.axes import TimeAxis, above, linear, magnitudes
from failover.display.panels import Band, _placed
from failover.display.theme import DARK, SHADES, poster
from failover.simulate import Incident, Scenario, Traffic, compare, run
from failover.testing import ScriptedProvider, Status, simulated
from failover.types import Answer, Message, Step

EVIL = '<script>alert("&")</script>'
TARGETS = ["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"]
HOUR = Scenario(Traffic(duration="1h"), [Incident("openai", "down", "10m", "30m")])


def test_targets_and_budgets_print_as_sentences() -> None:
    guard = simulated(ScriptedProvider("openai"), budget=0.02)
    guard.complete("one")
    assert str(guard.status()[0]) == f"openai:gpt-6-luna: closed, 1 answered, 0 failed, ${guard.status()[0].cost:.6f}"
    assert re.fullmatch(r"budget: \$0\.0000\d\d of \$0\.02 spent today", str(guard.budget))


def used() -> Failover:
    """An orchestrator with something to tell: answers, a failure, a switched-off target, a budget."""
    openai, groq = ScriptedProvider("openai"), ScriptedProvider("groq")
    guard = simulated(openai, groq, budget=0.02, breaker=CircuitBreaker(2))
    guard.complete("one")
    guard.complete("one")
    openai.down()
    for question in ("two", "three", "four"):
        guard.complete(question)
    openai.up()
    groq.revoke()
    guard.try_complete("five")
    return guard


def shown(thing: Any) -> tuple[str, str]:
    found = thing._repr_mimebundle_()
    return found["text/plain"], found["text/html"]


def pictures(html: str) -> list[ElementTree.Element]:
    """Every picture in it, parsed: what is not well-formed fails here."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def everything() -> list[Any]:
    guard = used()
    response = guard.complete("six", prefer=["groq:openai/gpt-oss-120b"])
    return [
        guard,
        guard.budget,
        guard.status()[0],
        response,
        run(HOUR, TARGETS, budget=1),
        compare({"a": {}}, HOUR, TARGETS),
    ]


# -------------------------------------------------------------------- views


@pytest.mark.parametrize("thing", everything(), ids=lambda thing: type(thing).__name__)
def test_everything_shows_itself_as_text_and_as_html_that_fetches_and_runs_nothing(thing: Any) -> None:
    text, html = shown(thing)
    assert text
    assert all(picture.tag.endswith("svg") for picture in pictures(html))
    assert not re.search(r"<script|javascript:|\son\w+=|url\(|@import|<img|<link", html)
    assert set(re.findall(r"https?://\S+?(?=[\"' ])", html)) <= {"http://www.w3.org/2000/svg"}


def test_an_orchestrator_shows_states_spending_and_requests() -> None:
    guard = used()
    text, html = shown(guard)
    assert text.startswith("Failover(['openai:gpt-6-luna'")
    assert "half" in text or "open" in text
    assert "of $0.02 spent today" in text
    (picture,) = pictures(html)
    assert len(picture.findall(".//{*}circle")) > 5
    assert picture.findall(".//{*}path")  # crosses for failures
    assert "disabled" in html


def test_before_any_call_there_is_a_table_and_no_picture() -> None:
    text, html = shown(simulated(ScriptedProvider("openai"), ScriptedProvider("groq")))
    assert "closed" in text
    assert "<table" in html
    assert not pictures(html)


def test_a_response_shows_its_way() -> None:
    trail = (Step("a", "connect", "refused", started=0.0, duration=0.5), Step("b", "ok", started=0.5, duration=1.0))
    response = Response(
        Answer(Message("assistant", "Hello.")), "b", "p", "p:m", cost_nano=1000, latency=1.5, trail=trail
    )
    text, html = shown(response)
    assert text.startswith("Hello.")
    assert "b" in text
    (picture,) = pictures(html)
    said = "".join(picture.itertext())
    assert "connect, 500 ms" in said
    assert "ok, 1.00 s" in said


def test_a_call_that_failed_shows_why() -> None:
    openai = ScriptedProvider("openai")
    openai.down()
    text, html = shown(simulated(openai).try_complete("hi", max_retries=0))
    assert text.startswith("AllTargetsFailed: ")
    assert "connect" in "".join(pictures(html)[0].itertext())


def test_the_picture_of_the_readme_is_whole_and_has_both_grounds() -> None:
    text = (Path(__file__).parent.parent / "docs" / "outage.svg").read_text()
    drawn = poster(pictures_of.simulation(run(HOUR, TARGETS)), "One & <only>")
    for svg in (text, drawn):
        said = "".join(ElementTree.fromstring(svg).itertext())
        assert "openai down" in said
        assert "prefers-color-scheme:dark" in said
        assert all(shade in said for pair in SHADES.values() for shade in pair)
    assert "One & <only>" in "".join(ElementTree.fromstring(drawn).itertext())


def test_what_came_from_outside_is_escaped() -> None:
    trail = (Step(EVIL, EVIL, EVIL), Step("b", "ok"))
    response = Response(Answer(Message("assistant", EVIL)), EVIL, EVIL, EVIL, trail=trail)
    guard = Failover([Target(EVIL, base_url="http://127.0.0.1:1/v1", model="m", price=Price(1, 1))], budget=1)
    hour = Scenario(Traffic(duration="1h"), [Incident(EVIL, "down", "1m", "2m")])
    result = run(hour, guard, name=EVIL)
    for thing in (response, guard, guard.status()[0], result, compare({EVIL: guard, "b": guard}, hour)):
        html = shown(thing)[1]
        assert "alert(" in html
        assert "<script" not in html
        pictures(html)


def test_a_long_answer_is_shortened() -> None:
    html = shown(Response(Answer(Message("assistant", "x" * 100_000)), "b", "p", "p:m"))[1]
    assert len(html) < 30_000


def test_every_colour_has_a_shade_for_each_ground() -> None:
    html = shown(used())[1]
    for light, dark in SHADES.values():
        assert light in html
        assert dark in html
    assert all(ground in html for ground in DARK)
    assert "prefers-color-scheme:dark" in html
    assert set(re.findall(r"var\(--fo-(\w+)", html)) <= SHADES.keys()


def test_a_simulation_shows_its_incidents_and_its_limits() -> None:
    result = run(HOUR, TARGETS, budget=Budget(0.5, per="total"))
    (picture,) = pictures(shown(result)[1])
    said = "".join(picture.itertext())
    assert "openai down" in said
    assert "limit $0.50" in said
    assert len(shown(run(Scenario(Traffic(rate=0.2, duration="12h")), TARGETS))[1]) < 150_000


def test_policies_are_shown_side_by_side() -> None:
    both = compare({"one": {}, "two": {"targets": TARGETS[:1]}}, HOUR, TARGETS)
    text, html = shown(both)
    assert text.splitlines()[2].startswith("one")
    (picture,) = pictures(html)
    assert "nobody" in "".join(picture.itertext())


def test_import_and_calls_do_not_pay_for_pictures() -> None:
    code = (
        "import sys, failover; from failover.testing import simulated; simulated().complete('hi');"
        "print([name for name in sys.modules if name.startswith(('IPython', 'failover.display', 'failover.simulate'))])"
    )
    run_ = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run_.stdout.strip() == "[]"


# --------------------------------------------------------------------- axes


def test_ticks_are_round_and_do_not_crowd() -> None:
    for seconds in (0.004, 0.3, 7, 90, 1000, 7200, 86_400, 604_800):
        ticks = list(TimeAxis(0.0, float(seconds)).ticks())
        assert 2 <= len(ticks) <= 8, seconds
        places = [x for x, _ in ticks]
        assert all(later - earlier > 60 for earlier, later in pairwise(places))
    assert [label for _, label in TimeAxis(0.0, 10_800.0).ticks()][:3] == ["0 min", "30 min", "60 min"]


def test_scales_hold_their_values() -> None:
    assert above(54) == 60
    assert linear([], 0, 10).y(0.0) == 10
    scale = magnitudes([0.7, 42.0], 0, 100)
    assert (scale.low, scale.high) == (0.1, 100.0)
    assert scale.y(1000) == 0
    assert scale.y(0.0) == 100


def test_labels_of_incidents_that_overlap_get_rows_of_their_own() -> None:
    axis = TimeAxis(0.0, 100.0)
    placed = list(_placed(axis, [Band(10, 20, "one incident"), Band(12, 30, "another"), Band(80, 90, "a third")]))
    assert [row for _, _, row in placed] == [0, 1, 0]


# --------------------------------------------------------------------- live

NOTEBOOK = """
from failover.testing import ScriptedProvider, simulated
guard = simulated(ScriptedProvider("openai"), ScriptedProvider("groq"))
live = guard.live()
---
import threading
threads = [threading.Thread(target=guard.complete, args=(f"q {n}",)) for n in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
None
---
for n in range(3):
    await guard.acomplete(f"async {n}")
guard.complete("sync, in a running loop")
None
---
live.close()
guard.complete("not followed any more")
None
"""


@pytest.mark.filterwarnings("ignore::UserWarning:jupyter_client", "ignore::DeprecationWarning")  # the kernel's own
def test_a_live_view_follows_threads_and_loops_and_is_saved_as_it_was_last() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in NOTEBOOK.split("---")])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert all(not cell.outputs for cell in book.cells[1:])
    rows = re.findall(r"^(?:openai|groq)\S*\s+closed\s+(\d+)", output["data"]["text/plain"], re.MULTILINE)
    assert sum(map(int, rows)) == 8
    assert "<svg" in output["data"]["text/html"]


def test_a_live_view_draws_at_most_five_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    from failover.display import live as module

    rested: list[float | None] = []
    drawn = threading.Event()

    class Handle:
        def update(self, shown: Any) -> None:
            drawn.set()

    monkeypatch.setattr(module, "_shell", lambda: None)
    guard = simulated(ScriptedProvider("openai"))
    view = module.Live(guard)
    view._handle = Handle()
    wait = view._closed.wait
    monkeypatch.setattr(view._closed, "wait", lambda seconds=None: rested.append(seconds) or wait(0))
    follower = threading.Thread(target=view._follow)
    follower.start()
    guard.complete("hi")
    assert drawn.wait(10)
    view.close()
    view.close()
    follower.join(10)
    assert not follower.is_alive()
    assert set(rested) == {0.2}


def test_a_second_live_view_ends_the_first() -> None:
    guard = simulated(ScriptedProvider("openai"))
    first = guard.live()
    with guard.live() as second:
        assert first._closed.is_set()  # type: ignore[attr-defined]
        assert not second._closed.is_set()  # type: ignore[attr-defined]
    assert second._closed.is_set()  # type: ignore[attr-defined]
    assert not guard._audience._listeners


# ---------------------------------------------------------------------- map


def test_many_prompts_come_back_in_order_with_errors_as_values() -> None:
    answers = ScriptedProvider("openai")
    guard = simulated(answers)
    results = guard.map([f"q{n}." for n in range(20)], concurrency=4)
    assert [f"q{n}." in (result.content or "") for n, result in enumerate(results)] == [True] * 20
    answers.set(Status(400))
    assert [result.success for result in guard.map(["q1.", "new"])] == [True, False]


async def test_many_prompts_on_the_running_loop() -> None:
    guard = simulated(ScriptedProvider("openai"))
    results = await guard.amap((f"q{n}" for n in range(20)), concurrency=4)
    assert [f"q{n}" in (result.content or "") for n, result in enumerate(results)] == [True] * 20


def test_a_bar_tells_cost_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    guard = simulated(ScriptedProvider("openai"), budget=Budget(0.0001, default_max_tokens=50))
    results = guard.map([f"question {n}" for n in range(40)], progress=True, concurrency=2)
    said = capsys.readouterr().err
    assert "40/40" in said
    assert "$0.00" in said
    failed = sum(not result.success for result in results)
    assert failed
    assert f"{failed} failed" in said


@pytest.mark.parametrize("concurrency", [0, True, 1.5])
def test_a_concurrency_that_means_nothing_is_refused(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match="concurrency"):
        simulated(ScriptedProvider("openai")).map(["a"], concurrency=concurrency)


def test_the_bundle_of_something_unknown_is_its_text() -> None:
    assert bundle(3)["text/plain"] == "3"
