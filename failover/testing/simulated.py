"""Providers to try things with: no key, no network, and trouble on a timeline.

Three of them answer in this process.  For the first ten seconds all is well; then OpenAI is down for ten seconds,
then Anthropic answers 429 for ten seconds, then all is well again.  Give your own ``ScriptedProvider`` objects for
other troubles, and keep them to throw more while you watch.
"""

from __future__ import annotations

from typing import Any

from failover.client import Failover
from failover.dialects.providers import PROVIDERS
from failover.errors import ConfigurationError
from failover.testing.faults import Status
from failover.testing.provider import During, ScriptedProvider
from failover.testing.transport import Fleet


def troubled() -> tuple[ScriptedProvider, ...]:
    """OpenAI, Anthropic and Groq, with the default timeline."""
    limited = Status(429, "Rate limited.", "rate_limit_error", retry_after=1)
    return (
        ScriptedProvider("openai", timeline=[During(10, 20, Status(503))]),
        ScriptedProvider("anthropic", timeline=[During(20, 30, limited)]),
        ScriptedProvider("groq"),
    )


def simulation(*providers: ScriptedProvider) -> dict[str, Any]:
    """``targets``, ``client`` and ``async_client`` for these providers in process, as keyword arguments."""
    for given in providers:
        if not isinstance(given, ScriptedProvider):
            raise ConfigurationError(f"simulated({given!r}): write ScriptedProvider('openai'), or nothing at all")
    playing = providers or troubled()
    fleet = Fleet(*playing)
    targets = [fleet[provider.name].target(_model(provider)) for provider in playing]
    return {"targets": targets, "client": fleet.client(), "async_client": fleet.async_client()}


def simulated(*providers: ScriptedProvider, **options: Any) -> Failover:
    """A ``Failover`` over scripted providers in this process; ``options`` as for ``Failover``."""
    return Failover(**simulation(*providers), **options)


def _model(provider: ScriptedProvider) -> str:
    row = PROVIDERS.get(provider.row.name)
    return row.default_model if row is not None and row.default_model else "scripted"
