"""``python -m failover demo`` shows an outage survived; ``python -m failover chat "…"`` asks the real providers.

Exit codes: 0 an answer came, 1 none did, 2 something is set up wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from failover.client import Failover
from failover.errors import ConfigurationError, FailoverError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m failover", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="three scripted providers on loopback, while one after another fails")
    chat = commands.add_parser("chat", help="ask the providers whose keys are in the environment")
    chat.add_argument("prompt")
    chat.add_argument("--target", action="append", metavar="PROVIDER:MODEL", help="instead of one per key found")
    chat.add_argument("--budget", type=float, metavar="DOLLARS", help="a hard cap for today, in this process")
    given = parser.parse_args(arguments)
    try:
        return _demo() if given.command == "demo" else _chat(given.prompt, given.target, given.budget)
    except ConfigurationError as error:
        print(f"failover: {error}", file=sys.stderr)
        return 2


def _demo() -> int:
    from failover.demo import run

    return run()


def _chat(prompt: str, targets: list[str] | None, budget: float | None) -> int:
    guard = Failover(targets, budget=budget) if targets else Failover.from_env(budget=budget)
    with guard:
        try:
            for chunk in guard.stream(prompt):
                print(chunk.text, end="", flush=True)
        except FailoverError as error:
            print(f"\nfailover: {error}", file=sys.stderr)
            return 1
    response = chunk.response
    if response is not None:
        steps = " → ".join(f"{step.target} {step.reason}" for step in response.trail)
        print(f"\n\n[{steps}; {response.usage.total_tokens} tokens, ${response.cost:.6f}, {response.latency:.2f} s]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
