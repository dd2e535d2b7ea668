"""``failover demo``: see calls survive, on this machine, without any key."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO

from failover import events
from failover.cli.terminal import line_json

HELP = "see calls survive an outage, a rate limit and a revoked key; needs no key"


def arguments(command: ArgumentParser) -> None:
    """None of its own."""


def run(given: Namespace) -> int:
    from failover.demo import run as play

    if not given.json:
        return play()
    out = sys.stdout

    def tell(event: events.Event) -> None:
        print(line_json({"event": type(event).__name__, **asdict(event)}), file=out)

    with redirect_stdout(StringIO()):
        return play(tell)
