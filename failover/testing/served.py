"""A scripted provider where it is found, whether on a socket or in process, and targets there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from failover.settings import Budget, CircuitBreaker, Price, Target, Timeouts
from failover.testing.provider import ScriptedProvider
from failover.testing.world import DialectName, MediaKind


class TargetFields(TypedDict, total=False):
    """What may be said of a target beyond its model, as in ``Target``."""

    name: str
    provider: str | None
    base_url: str | None
    dialect: DialectName | None
    api_key: Any
    weight: float
    rpm: int | None
    tpm: int | None
    input_tpm: int | None
    output_tpm: int | None
    concurrency: int | None
    price: Price | None
    budget: Budget | None
    breaker: CircuitBreaker | None
    timeouts: Timeouts | None
    headers: Mapping[str, str]
    extra_body: Mapping[str, Any]
    context_window: int | None
    max_output_tokens: int | None
    inputs: frozenset[MediaKind] | None
    tools: bool | None
    structured_output: bool | None
    api_version: str | None
    end_marker: bool
    reenable_after: float | None


@dataclass(frozen=True, slots=True)
class Served:
    """A provider where it is found: ``origin`` is ``http://host:port``."""

    provider: ScriptedProvider
    origin: str

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self.origin}{self.provider.row.base}"

    def target(self, model: str, **fields: Unpack[TargetFields]) -> Target:
        """A target at this address, with the provider's key; ``fields`` as in ``Target``, and they win."""
        who = self.provider
        mine = TargetFields(name=f"{who.name}:{model}", base_url=self.base_url, api_key=who.key)
        if who.row.vendor:
            mine["provider"] = who.row.name
        given: dict[str, Any] = {**mine, **fields}
        return Target(model=model, **given)
