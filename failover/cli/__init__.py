"""The command ``failover`` (also ``python -m failover``).

    failover doctor                  what is configured, which keys are found, can each target be reached
    failover chat "Why?"             ask; without a question, a conversation
    failover demo                    see calls survive, without any key
    failover simulate outage.toml    what these settings would do in that outage
    failover status --store URL      how the targets of a shared store are, from another process
    failover budget --store URL      what is spent, from another process

Exit codes: 0 all is well; 1 it did not succeed (no answer, a target that cannot be used, an expectation missed); 2 it
is set up or called wrongly; 130 interrupted; 141 nobody reads the output any more.  ``--json`` prints one JSON document
(``demo``: one a line) on standard output, errors included.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from failover import __version__
from failover.cli.terminal import fail, leave_pipe
from failover.errors import ConfigurationError, FailoverError

OK, FAILED, WRONG, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141

COMMANDS = ("doctor", "chat", "demo", "simulate", "status", "budget")
"""Each is a module here, loaded when it is called: ``HELP``, ``arguments(parser)`` and ``run(given) -> exit code``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        code: int = import_module(f"failover.cli.{given.command}").run(given)
        sys.stdout.flush()
        return code
    except ConfigurationError as error:
        fail(error, given.json)
        return WRONG
    except FailoverError as error:
        fail(error, given.json)
        return FAILED
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        leave_pipe()
        return UNREAD


def _parser() -> argparse.ArgumentParser:
    about = "One call to a language model that survives whatever its provider does."
    codes = "Exit codes: 0 well, 1 not succeeded, 2 set up or called wrongly, 130 interrupted, 141 output not read."
    parser = argparse.ArgumentParser("failover", description=about, epilog=codes)
    parser.add_argument("--version", action="version", version=f"failover {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"failover.cli.{name}")
        command = commands.add_parser(name, help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}.")
        command.add_argument("--json", action="store_true", help="print JSON")
        module.arguments(command)
    return parser


def shared(command: argparse.ArgumentParser) -> None:
    """The arguments of every command that needs targets."""
    command.add_argument("--config", metavar="FILE", default=os.environ.get("FAILOVER_CONFIG"), help=CONFIG)
    command.add_argument("--target", action="append", metavar="PROVIDER:MODEL", help="instead of the configured ones")


def of_store(command: argparse.ArgumentParser) -> None:
    """The argument of every command that looks at a shared store."""
    command.add_argument("--store", metavar="URL", help="sqlite:///path.db or redis://host, instead of the file's")


CONFIG = "TOML configuration (default: $FAILOVER_CONFIG, else one target for each key in the environment)"
