"""``failover chat``: one question, or a conversation."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from typing import Any

from failover import cli, events
from failover.cli.given import orchestrator
from failover.cli.terminal import fail, paint, show_json
from failover.client import Failover
from failover.errors import ConfigurationError, FailoverError
from failover.types import CallOptions, Message, Response

HELP = "ask a question, or talk"


def arguments(command: ArgumentParser) -> None:
    cli.shared(command)
    command.add_argument("prompt", nargs="?", help="without it, a conversation; from a pipe, what is in it")
    command.add_argument("--budget", type=float, metavar="DOLLARS", help="a hard cap for today, instead of the file's")
    command.add_argument("--system", metavar="TEXT", help="what the model is told first")
    command.add_argument("--max-tokens", type=int, metavar="N", help="tokens that an answer may have")
    command.add_argument(
        "--label", metavar="NAME=VALUE", help="who pays, as user=alice; may be repeated", action="append"
    )


def run(given: Namespace) -> int:
    options: dict[str, Any] = {"hedge": None}  # the doors used here block
    if given.budget is not None:
        options["budget"] = given.budget
    with orchestrator(given, options) as guard:
        if not given.json:
            guard.subscribe(_tell)
        asked: CallOptions = {"labels": dict(map(_label, given.label or ()))}
        if given.max_tokens is not None:
            asked["max_tokens"] = given.max_tokens
        before = [Message("system", given.system)] if given.system else []
        prompt = given.prompt if given.prompt is not None else _piped()
        if prompt is not None:
            messages = [*before, Message("user", prompt)]
            if given.json:
                show_json(_plain(guard.complete(messages, **asked)))
            else:
                _answer(guard, messages, asked)
            return cli.OK
        return _talk(guard, before, asked)


def _label(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not (name and equals and value):
        raise ConfigurationError(f"--label {written}: write NAME=VALUE, such as user=alice")
    return name, value


def _piped() -> str | None:
    """What somebody pipes in, if nobody is there to talk."""
    return None if sys.stdin.isatty() else sys.stdin.read().strip()


def _talk(guard: Failover, messages: list[Message], asked: CallOptions) -> int:
    """Turn by turn, until the input ends.  An answer that failed can be asked for again."""
    names = ", ".join(target.name for target in guard.targets)
    print(paint(f"{names} (end with Ctrl-D)", "dim", sys.stderr), file=sys.stderr)
    with suppress(ImportError):  # not on Windows
        import readline  # noqa: F401  # lines can be edited and called back
    while True:
        try:
            said = input("> ").strip()
        except EOFError:
            print()
            return cli.OK
        if not said:
            continue
        messages.append(Message("user", said))
        try:
            messages.append(_answer(guard, messages, asked).message)
        except FailoverError as error:
            messages.pop()
            fail(error, as_json=False)


def _answer(guard: Failover, messages: list[Message], asked: CallOptions) -> Response:
    """Print the answer as it comes, and what it took on standard error."""
    response: Response | None = None
    said = ""
    try:
        for chunk in guard.stream(messages, **asked):
            print(chunk.text, end="", flush=True)
            response, said = chunk.response or response, said or chunk.text
    finally:
        if said:
            print(flush=True)
    assert response is not None
    print(paint(_took(response), "dim", sys.stderr), file=sys.stderr)
    return response


def _took(response: Response) -> str:
    if response.cached:
        return f"[{response.target}, from the response cache]"
    tokens = f"{response.usage.total_tokens} tokens, " if not response.usage.estimated else ""
    return f"[{response.target}, {tokens}${response.cost:.6f}, {response.latency:.2f} s]"


def _tell(event: events.Event) -> None:
    """What was survived on the way."""
    match event:
        case events.FailedOver(source=source, target=target, reason=reason):
            line = f"[{source}: {reason.replace('_', ' ')}; going on with {target}]"
        case events.StreamResumed(source=source, target=target, reason=reason):
            line = f"\n[the stream of {source} broke ({reason.replace('_', ' ')}); {target} goes on]"
        case events.Retrying(target=target, delay=delay, reason=reason):
            line = f"[{target}: {reason.replace('_', ' ')}; asked again, {delay:.1f} s later]"
        case _:
            return
    print(paint(line, "yellow", sys.stderr), file=sys.stderr)


def _plain(response: Response) -> dict[str, Any]:
    return {
        "content": response.content,
        "target": response.target,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "cost": response.cost,
        "usage": response.usage,
        "latency": response.latency,
        "cached": response.cached,
        "trail": response.trail,
    }
