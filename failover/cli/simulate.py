"""``failover simulate``: outages in virtual time, from a file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from failover import cli
from failover.cli.terminal import show_json

HELP = "what settings would do in an outage, in virtual time"


def arguments(command: ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="scenario, targets, policies and expectations, in TOML or JSON")


def run(given: Namespace) -> int:
    """1 when an expectation of the file did not come true."""
    from failover.simulate import run_file

    outcome = run_file(given.file)
    if given.json:
        show_json(outcome.to_dict())
    else:
        print(outcome)
    return cli.FAILED if outcome.missed else cli.OK
