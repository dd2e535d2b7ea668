"""The command as somebody calls it: over real HTTP, through pipes, with and without a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from failover import Budget, CircuitBreaker, Failover, Retry
from failover.cli import COMMANDS, FAILED, OK, UNREAD, WRONG, main
from failover.cli.doctor import TODO
from failover.cli.terminal import bar, dollars, duration
from failover.testing import Hang, Redirect, Reply, ScriptedProvider, Served, Status, serve
from failover.types import Kind

KEY = "sk-canary-0123456789abcdef"
OPENAI, GROQ = "openai:gpt-6-luna", "groq:openai/gpt-oss-120b"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no configuration, and nobody at the keyboard."""
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("FAILOVER_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.fixture
def openai() -> ScriptedProvider:
    return ScriptedProvider("openai", key=KEY, respond=lambda question: Reply("A short answer.", reasoning=""))


@pytest.fixture
def groq() -> ScriptedProvider:
    return ScriptedProvider("groq", key=KEY, respond=lambda question: Reply("Another answer.", reasoning=""))


@pytest.fixture
def servers(
    openai: ScriptedProvider, groq: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Served]]:
    """Both providers, with their keys and addresses in the environment."""
    with serve(openai, groq) as served:
        for name, model in (("openai", "gpt-6-luna"), ("groq", "openai/gpt-oss-120b")):
            monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
            monkeypatch.setenv(f"{name.upper()}_BASE_URL", str(served[name].target(model).base_url))
        yield served


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, what it printed, and what it said on standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return command


# ------------------------------------------------------------------ doctor


@pytest.mark.usefixtures("servers")
def test_the_doctor_finds_every_target_in_order_without_asking_a_model(run: Run, openai: ScriptedProvider) -> None:
    code, out, _ = run("doctor")
    assert code == OK
    assert re.search(rf"✓ {OPENAI} +ok +\d\.\d\d s  OPENAI_API_KEY", out)
    assert "keys found: OPENAI_API_KEY, GROQ_API_KEY" in out
    assert [request.method for request in openai.requests] == ["GET"]


@pytest.mark.usefixtures("servers")
def test_the_doctor_names_a_refused_key_by_its_variable(run: Run, openai: ScriptedProvider) -> None:
    openai.revoke()
    code, out, _ = run("doctor")
    assert code == FAILED
    assert re.search(rf"✗ {OPENAI} +auth", out)
    assert "HTTP 401: the key is refused (OPENAI_API_KEY); make a new one" in out


def test_the_doctor_says_what_is_missing_for_each_target(run: Run) -> None:
    code, out, _ = run("doctor", "--target", OPENAI, "--target", "nobody:x")
    assert code == FAILED
    said = " ".join(out.split())
    assert "no API key; set OPENAI_API_KEY in the environment" in said
    assert "unknown provider 'nobody'" in said


@pytest.mark.usefixtures("servers")
def test_the_doctor_finds_that_nothing_answers(run: Run, groq: ScriptedProvider) -> None:
    groq.down()
    code, out, _ = run("doctor")
    assert code == FAILED
    assert "is the address right, and the server running?" in " ".join(out.split())


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("fault", "state", "says"),
    [
        (Status(503), "server error", "in trouble"),
        (Redirect(), "redirect", "sends elsewhere"),
        (Status(402), "credit", "no credit is left"),
        (Hang(), "timeout", "--timeout"),
    ],
)
def test_the_doctor_says_what_to_do(run: Run, openai: ScriptedProvider, fault: Any, state: str, says: str) -> None:
    openai.set(fault)
    code, out, _ = run("doctor", "--target", OPENAI, "--timeout", "0.5", "--ask")
    assert code == FAILED
    assert f"✗ {OPENAI}  {state}" in out
    assert says in out


@pytest.mark.usefixtures("servers")
def test_a_rate_limit_is_no_reason_to_worry(run: Run, openai: ScriptedProvider) -> None:
    openai.set(Status(429, retry_after=30))
    code, out, _ = run("doctor", "--target", OPENAI, "--ask")
    assert code == OK
    assert "accepted, but over its rate limit" in out


@pytest.mark.usefixtures("servers")
def test_a_model_that_is_not_listed_is_pointed_out(run: Run) -> None:
    code, out, _ = run("doctor", "--target", "openai:gpt-nothing")
    assert (code, "gpt-nothing is not listed" in out) == (OK, True)


@pytest.mark.usefixtures("servers")
def test_the_doctor_asks_a_question_when_told_to(run: Run, openai: ScriptedProvider) -> None:
    code, out, _ = run("doctor", "--target", OPENAI, "--ask")
    assert code == OK
    assert "answered for $0.0000" in out
    assert [request.method for request in openai.requests] == ["POST"]


@pytest.mark.usefixtures("servers")
def test_no_command_shows_a_key(run: Run, openai: ScriptedProvider, tmp_path: Path) -> None:
    openai.revoke()
    path = tmp_path / "f.toml"
    path.write_text(f'targets = ["{OPENAI}"]\n')
    for arguments in (["doctor"], ["doctor", "--ask"], ["doctor", "--json"], ["chat", "hi", "--json"], ["chat", "hi"]):
        for more in ([], ["--config", str(path)]):
            assert KEY not in "".join(run(*arguments, *more)[1:])


def test_without_any_key_there_is_nothing_to_examine(run: Run) -> None:
    code, out, err = run("doctor")
    assert (code, out) == (WRONG, "")
    assert "set a key (OPENAI_API_KEY" in err


@pytest.mark.usefixtures("servers")
def test_the_doctor_looks_at_the_whole_configuration(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(f'targets = ["{OPENAI}", "{OPENAI}"]\nstore = "mysql://x"\n')
    code, out, _ = run("doctor", "--config", str(path))
    assert code == FAILED
    assert "is used twice" in out


# -------------------------------------------------------------------- chat


@pytest.mark.usefixtures("servers")
def test_an_answer_goes_to_the_output_and_what_it_took_to_the_error_stream(run: Run) -> None:
    code, out, err = run("chat", "Why?", "--target", OPENAI)
    assert (code, out) == (OK, "A short answer.\n")
    assert re.match(rf"\[{OPENAI}, \d+ tokens, \$0\.\d+, \d\.\d\d s\]", err)


@pytest.mark.usefixtures("servers")
def test_what_was_survived_is_said_in_a_line(run: Run, openai: ScriptedProvider) -> None:
    openai.set(Status(503))
    code, out, err = run("chat", "Why?", "--target", OPENAI, "--target", GROQ)
    assert (code, out) == (OK, "Another answer.\n")
    assert err.startswith(f"[{OPENAI}: server error; going on with {GROQ}]\n")


@pytest.mark.usefixtures("servers")
def test_no_answer_is_an_exit_code_and_a_sentence(run: Run, openai: ScriptedProvider) -> None:
    openai.revoke()
    code, _, err = run("chat", "Why?", "--target", OPENAI)
    assert code == FAILED
    assert "failover:" in err
    assert "auth" in err


@pytest.mark.usefixtures("servers")
def test_a_question_comes_from_a_pipe(run: Run, monkeypatch: pytest.MonkeyPatch, openai: ScriptedProvider) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Why is the sky blue?\n"))
    assert run("chat", "--target", OPENAI, "--system", "Be brief.")[0] == OK
    assert [message["content"] for message in openai.requests[0].body["messages"]] == [
        "Be brief.",
        "Why is the sky blue?",
    ]


@pytest.mark.usefixtures("servers")
def test_a_conversation_remembers_and_survives_a_failed_turn(
    run: Run, monkeypatch: pytest.MonkeyPatch, openai: ScriptedProvider
) -> None:
    def typed() -> Iterator[str]:
        yield "first"
        openai.set(Status(400))
        yield "refused"
        openai.set(None)
        yield ""
        yield "second"

    lines = typed()

    def read(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, out, err = run("chat", "--target", OPENAI)
    assert code == OK
    assert out.count("A short answer.") == 2
    assert "failover:" in err
    last = openai.requests[-1].body["messages"]
    assert [message["content"] for message in last] == ["first", "A short answer.", "second"]


@pytest.mark.usefixtures("servers")
def test_an_answer_as_json(run: Run, openai: ScriptedProvider) -> None:
    openai.set(Status(503))
    code, out, err = run("chat", "Why?", "--json", "--target", OPENAI, "--target", GROQ)
    told = json.loads(out)
    assert (code, err, told["content"], told["target"]) == (OK, "", "Another answer.", GROQ)
    assert [step["reason"] for step in told["trail"]] == ["server_error", "ok"]


@pytest.mark.usefixtures("servers")
def test_a_failure_as_json(run: Run, openai: ScriptedProvider) -> None:
    openai.revoke()
    code, out, err = run("chat", "Why?", "--json", "--target", OPENAI)
    told = json.loads(out)["error"]
    assert (code, err, told["type"]) == (FAILED, "", "AllTargetsFailed")
    assert told["trail"][0]["reason"] == "auth"


@pytest.mark.usefixtures("servers")
def test_a_configuration_is_used_and_the_command_line_wins(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(f'targets = ["{GROQ}"]\nbudget = 1\nhedge = {{}}\n')
    assert run("chat", "Why?", "--config", str(path))[1] == "Another answer.\n"
    assert run("chat", "Why?", "--config", str(path), "--target", OPENAI)[1] == "A short answer.\n"
    code, _, err = run("chat", "Why?", "--config", str(path), "--budget", "0")
    assert (code, "$0" in err) == (FAILED, True)


@pytest.mark.parametrize("command", ["doctor", "chat", "status", "budget"])
def test_a_wrong_configuration_is_no_traceback(run: Run, command: str, tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text("targets = ['openai:x']\nstrateg = 1\n")
    code, out, err = run(command, "--config", str(path))
    assert (code, out) == (WRONG, "")
    assert "strateg is not an option; did you mean strategy?" in err
    code, out, err = run(command, "--json", "--config", str(path))
    assert (code, err, json.loads(out)["error"]["type"]) == (WRONG, "", "ConfigurationError")


# --------------------------------------------------------- the other commands

OUTAGE = """
targets = ["openai:gpt-6-luna", "groq:openai/gpt-oss-120b"]
traffic = { rate = 0.1, duration = "10m" }
[[incidents]]
target = "openai"
kind = "down"
start = "2m"
end = "4m"
[[expect]]
success = 0.9
"""


def test_an_outage_is_simulated_from_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "outage.toml"
    path.write_text(OUTAGE)
    code, out, _ = run("simulate", str(path))
    assert (code, "answered" in out) == (OK, True)
    assert json.loads(run("simulate", "--json", str(path))[1])["missed"] == []
    assert "missed: nothing that was expected" in run("simulate", str(path))[1]


def test_a_missed_expectation_is_an_exit_code(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "outage.toml"
    path.write_text(OUTAGE.replace("success = 0.9", "cost = 0"))
    assert run("simulate", str(path))[0] == FAILED
    assert run("simulate", "nowhere.toml")[0] == WRONG


def test_memory_cannot_be_seen_from_outside(run: Run) -> None:
    for command in ("status", "budget"):
        code, _, err = run(command, "--target", "ollama:qwen")
        assert (code, "cannot be seen from another process" in err) == (WRONG, True)


def test_looking_at_a_store_that_is_not_there_does_not_make_it(run: Run, tmp_path: Path) -> None:
    code, _, err = run("status", "--target", "ollama:qwen", "--store", "sqlite:///nowhere.db")
    assert (code, "there is no file nowhere.db" in err) == (WRONG, True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def store(servers: dict[str, Served], openai: ScriptedProvider, tmp_path: Path) -> str:
    """A file that another orchestrator has used: one circuit is open, and something is spent."""
    if find_spec("failover.store.sqlite") is None:
        pytest.skip("no store in a file yet")
    url = "sqlite:///shared.db"
    openai.set(Status(500))
    targets = [servers["openai"].target("gpt-6-luna"), servers["groq"].target("openai/gpt-oss-120b")]
    with Failover(
        targets,
        store=url,
        strategy="priority",
        budget=[Budget(5, timezone="UTC"), Budget(1, per="total", per_label="user")],
        breaker=CircuitBreaker(1),
        retry=Retry(attempts=0),
    ) as guard:
        guard.complete("hi", labels={"user": "alice"})
    return url


def test_who_only_looks_needs_no_key_that_a_file_names(run: Run, store: str, tmp_path: Path) -> None:
    path = tmp_path / "failover.toml"
    path.write_text("budget = 5\n[[targets]]\nname = 'openai:gpt-6-luna'\napi_key_env = 'NOT_SET'\n")
    for command in ("status", "budget"):
        assert run(command, "--config", str(path), "--store", store)[0] == OK


@pytest.mark.usefixtures("servers")
def test_a_question_is_put_under_a_label(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "failover.toml"
    path.write_text(f"targets = ['{OPENAI}']\nbudget = {{ limit = 1, per_label = 'user' }}\n")
    asked = ("chat", "hi", "--config", str(path))
    assert run(*asked)[0] == FAILED
    assert run(*asked, "--label", "user=alice")[0] == OK
    assert "--label alice: write NAME=VALUE" in run(*asked, "--label", "alice")[2]


def test_a_shared_store_is_seen_from_another_process(run: Run, store: str) -> None:
    code, out, _ = run("status", "--store", store)
    assert code == OK
    assert re.search(rf"{OPENAI} +open +\d+ s", out)
    assert re.search(rf"{GROQ} +closed", out)
    told = json.loads(run("status", "--json", "--store", store)[1])
    assert [target["state"] for target in told["targets"]] == ["open", "closed"]


def test_what_is_spent_is_seen_from_another_process(run: Run, store: str, tmp_path: Path) -> None:
    code, out, _ = run("budget", "--store", store, "--limit", "5", "--timezone", "UTC")
    assert code == OK
    assert re.search(r"all:day .*\$0\.0000\d\d +\$0\.00 +\$5\.00", out)
    path = tmp_path / "f.toml"
    path.write_text(
        f'targets = ["{GROQ}"]\nstore = "{store}"\nbudget = {{ limit = 1, per = "total", per_label = "user" }}\n'
    )
    told = json.loads(run("budget", "--json", "--config", str(path), "--label", "user=alice")[1])
    assert told["budgets"][0]["spent"] > 0
    assert run("budget", "--config", str(path), "--label", "team=x")[0] == WRONG


# ------------------------------------------------------------- the terminal


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_wrong_argument_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chat", "--nonsense"])
    assert ended.value.code == WRONG


@pytest.mark.usefixtures("servers")
def test_there_are_no_colours_but_in_a_terminal_that_wants_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in "".join(run("doctor")[1:])
    monkeypatch.setattr("failover.cli.terminal.coloured", lambda stream: True)
    assert "\033[32m" in run("doctor")[1]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from failover.cli.terminal import coloured

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(Terminal())
    monkeypatch.setenv(name, value)
    assert not coloured(Terminal())


@pytest.mark.usefixtures("servers")
def test_an_output_that_nobody_reads_ends_quietly() -> None:
    command = [sys.executable, "-m", "failover", "chat", "hi", "--target", OPENAI]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == UNREAD
    assert b"Traceback" not in said
    assert b"Broken" not in said


def test_figures_are_for_people() -> None:
    assert [dollars(each) for each in (0, 0.25, 12.5, 0.000012)] == ["$0.00", "$0.25", "$12.50", "$0.000012"]
    assert [duration(each) for each in (5, 90, 130, 7300, 200_000)] == ["5 s", "90 s", "2 min", "2 h", "2 d"]
    assert [bar(share, 4) for share in (0, 0.5, 1, 7)] == ["░░░░", "██░░", "████", "████"]


def test_advice_names_only_what_a_finding_has() -> None:
    assert all(isinstance(kind, Kind) for kind in TODO)
    assert all("{" not in advice.format(at="there", key="KEY") for advice in TODO.values())
