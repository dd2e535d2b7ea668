"""``failover doctor``: what is configured, which keys are found, and can each target be reached?

By default nothing is spent: each provider is asked for something that costs nothing but needs the key, mostly its list
of models.  ``--ask`` sends each target one tiny question instead.  Keys are named by their variable, never shown.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from failover import cli
from failover._build import targets_of
from failover._checked import without_userinfo
from failover._configured import Configuration
from failover._http import HttpAttempter
from failover._live import Live
from failover.cli.given import configured, needed
from failover.cli.terminal import mark, note, paint, shortened, show_json, width
from failover.client import Failover
from failover.dialects.providers import key_variables
from failover.errors import AllTargetsFailed, ConfigurationError, FailoverError, ProviderError
from failover.settings import Retry, Target
from failover.store.choice import open_store
from failover.types import Failure, Kind

HELP = "what is configured, which keys are found, can each target be reached"


def arguments(command: ArgumentParser) -> None:
    cli.shared(command)
    command.add_argument("--ask", action="store_true", help="send each target one tiny question, which costs a little")
    command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each target (default 10)")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about a target.  ``state``: ok, unsure, or what is wrong; ``todo``: what to do about it.

    ``key``: the variable that holds it, "given", "none needed", or None where none was found.
    """

    target: str
    state: str
    key: str | None = None
    url: str = ""
    seconds: float | None = None
    todo: str = ""

    @property
    def usable(self) -> bool:
        return self.state in ("ok", "unsure")


def run(given: Namespace) -> int:
    """1 when a target cannot be used."""
    said = needed(configured(given))
    with ThreadPoolExecutor(8) as pool:
        findings = list(pool.map(lambda written: _examined(said, written, given), said.targets))
    trouble = _whole(said)
    if given.json:
        show_json({"configuration": said.where, "targets": findings, "keys": _keys(), "trouble": trouble})
    else:
        print(*_lines(said, findings, trouble), sep="\n")
    return cli.OK if not trouble and all(each.usable for each in findings) else cli.FAILED


# ------------------------------------------------------------- examination


def _examined(said: Configuration, written: Any, given: Namespace) -> Finding:
    try:
        target = said.target(written)
        with Failover([target], **_alone(said.options)) as guard:
            [live] = guard._core.lives
            finding = Finding(live.name, "ok", _key(target, live), without_userinfo(live.url))
            look = _asked if given.ask else _looked
            return look(finding, guard, live, given.timeout)
    except ConfigurationError as error:
        name = written if isinstance(written, str) else str(written.get("name", "?"))
        return Finding(name, "misconfigured", todo=str(error).removeprefix(f"{said.where}: "))


def _alone(options: Mapping[str, Any]) -> dict[str, Any]:
    """A target by itself, without state, cache or patience."""
    mine = {"store": "memory", "hedge": None, "response_cache": False, "retry": Retry(attempts=0)}
    return {**options, **mine}


def _key(target: Target, live: Live) -> str | None:
    if target.api_key is not None:
        return "given"
    found = next(filter(os.environ.get, live.model.provider.key_env), None)
    return found if live.model.provider.key_env else "none needed"


def _looked(finding: Finding, guard: Failover, live: Live, seconds: float) -> Finding:
    """Ask for something free."""
    attempter = live.attempter
    assert isinstance(attempter, HttpAttempter)
    began = time.monotonic()
    found = attempter.look(live.model.provider.free_check, seconds)
    finding = replace(finding, seconds=time.monotonic() - began)
    if isinstance(found, bytes):
        listed = _listed(found)
        if listed and live.model.id not in listed:
            return replace(finding, state="unsure", todo=f"the key is accepted, but {live.model.id} is not listed")
        return finding
    if found.status in (404, 405):
        return replace(finding, state="unsure", todo="it answers, but tells nothing for free; try --ask")
    return _failed(finding, found)


def _listed(body: bytes) -> set[str]:
    """The models of a list, as far as this is one."""
    try:
        data = from_json(body).get("data")
    except (ValueError, AttributeError):
        return set()
    entries = data if isinstance(data, list) else []
    return {str(each.get("id")).removeprefix("models/") for each in entries if isinstance(each, dict)}


def _asked(finding: Finding, guard: Failover, live: Live, seconds: float) -> Finding:
    """Ask a question, over the very way that every call goes."""
    result = guard.try_complete("Answer with the word yes.", max_tokens=16, deadline=seconds)
    finding = replace(finding, seconds=result.latency)
    if result.response is not None:
        return replace(finding, todo=f"answered for ${result.response.cost:.6f}")
    error = result.error
    cause = error.exceptions[0] if isinstance(error, AllTargetsFailed) else error
    if isinstance(cause, ProviderError):
        return _failed(finding, Failure(cause.kind, str(cause), cause.status))
    return replace(finding, state=type(cause).__name__, todo=str(cause))


def _failed(finding: Finding, failure: Failure) -> Finding:
    if failure.kind in BUSY:
        return replace(finding, state="unsure", todo=BUSY[failure.kind])
    status = f"HTTP {failure.status}: " if failure.status else ""
    todo = TODO.get(failure.kind, failure.message or "it did not say why")
    return replace(finding, state=str(failure.kind), todo=status + todo.format(at=finding.url, key=finding.key))


BUSY = {
    Kind.RATE_LIMITED: "the key is accepted, but over its rate limit now",
    Kind.SLOW_DOWN: "the key is accepted, but over its rate limit now",
    Kind.EMPTY: "it answers, but had nothing to say",
}
TODO = {
    Kind.CONNECT: "nothing answers at {at}; is the address right, and the server running?",
    Kind.CONNECT_TIMEOUT: "no connection to {at} in time; is a proxy or a firewall between?",
    Kind.TIMEOUT: "{at} did not answer in time; --timeout gives it more",
    Kind.TLS: "the certificate of {at} is not trusted; behind a proxy, set SSL_CERT_FILE to its authority",
    Kind.AUTH: "the key is refused ({key}); make a new one with the provider",
    Kind.PERMISSION: "the key ({key}) may not use this model; allow it with the provider, or choose another",
    Kind.FORBIDDEN: "the key ({key}) may not be used: the account, the project or the country is shut out",
    Kind.CREDIT: "no credit is left; add some with the provider",
    Kind.SPEND_LIMIT: "a spending limit with the provider is reached",
    Kind.MODEL_NOT_FOUND: "there is no such model, or the key ({key}) may not see it",
    Kind.WRONG_URL: "there is nothing at {at}; mend base_url",
    Kind.REDIRECT: "{at} sends elsewhere; write the final address as base_url",
    Kind.BLOCKED: "a firewall before {at} refuses; is this network allowed?",
    Kind.SERVER_ERROR: "the provider itself is in trouble; try again later",
    Kind.OVERLOADED: "the provider is overloaded; try again later",
}
"""What to do about a failure."""


def _whole(said: Configuration) -> str:
    """What is wrong with the configuration but with no single target."""
    try:
        targets_of([_named(each) for each in said.targets])
        store = said.options.get("store", "memory")
        if isinstance(store, str):
            open_store(store, Retry(), lambda: 0.5).close()
    except FailoverError as error:
        return str(error)
    return ""


def _named(written: Any) -> str:
    return written if isinstance(written, str) else str(written.get("name", "?"))


def _keys() -> dict[str, list[str]]:
    names = key_variables()
    found = [name for name in names if os.environ.get(name)]
    return {"found": found, "not_found": [name for name in names if name not in found]}


# ------------------------------------------------------------------- output

FIGURES = 42
"""Columns of a row beside the target's name."""


def _lines(said: Configuration, findings: list[Finding], trouble: str) -> Iterator[str]:
    count = f"{len(findings)} target{'s' if len(findings) != 1 else ''}"
    yield f"{paint('failover doctor', 'bold')}: {count} from {said.where}"
    yield ""
    size = min(max(len(each.target) for each in findings), width() - FIGURES)
    for each in findings:
        yield from _row(each, size)
    yield ""
    if trouble:
        yield f"{mark('bad')} {trouble}"
    keys = _keys()
    yield note(f"keys found: {', '.join(keys['found']) or 'none'}", 0)
    yield paint(note(f"not set: {', '.join(keys['not_found']) or 'none'}", 0), "dim")


def _row(each: Finding, size: int) -> Iterator[str]:
    sign = mark("good" if each.state == "ok" else "unsure" if each.usable else "bad")
    took = "" if each.seconds is None else f"{each.seconds:.2f} s"
    name, state = shortened(each.target, size), each.state.replace("_", " ")
    yield f"{sign} {name:<{size}}  {shortened(state, 16):<16}{took:>8}  {each.key or ''}".rstrip()
    if each.todo:
        yield paint(note(each.todo, 4), "dim")
