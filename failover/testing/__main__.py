"""``python -m failover.testing openai anthropic:8001``: scripted providers in a process of their own.

Each name is a provider (see ``world.ROWS``), with a port where it matters; ``--key`` is the credential they accept.
Prints one line per provider, ``name base_url``, and serves until it is interrupted.  What a shell has to be told for
a program to find them there goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Sequence

from failover.dialects.providers import PROVIDERS
from failover.testing.provider import ScriptedProvider
from failover.testing.server import Servers


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the providers named on the command line."""
    asked = _parser().parse_args(arguments)
    servers = [_started(spec, asked.key, asked.host) for spec in asked.providers]
    for started in servers:
        for name, served in started.items():
            print(f"{name} {served.base_url}", flush=True)
            print(_exports(name, served.base_url, asked.key), file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    for started in servers:
        started.close()
    return 0


def _exports(name: str, url: str, key: str) -> str:
    known = PROVIDERS.get(name)
    if known is None or not known.key_env:
        return f"# Target({name!r}, base_url={url!r}, model=..., api_key={key!r})"
    return f"export {known.base_url_env}={url} {known.key_env[0]}={key}"


def _started(spec: str, key: str, host: str) -> Servers:
    name, _, port = spec.partition(":")
    return Servers((ScriptedProvider(name, key=key),), host, int(port or 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m failover.testing", description="Scripted providers on loopback.")
    parser.add_argument("providers", nargs="+", metavar="NAME[:PORT]", help="openai, anthropic:8001, ...")
    parser.add_argument("--key", default="sk-test", help="the credential they accept (default: sk-test)")
    parser.add_argument("--host", default="127.0.0.1")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
