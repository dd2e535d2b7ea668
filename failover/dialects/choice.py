"""Which dialect speaks for a request: the target's own choice, what the model needs, its provider's usual one.

Some OpenAI models exist only behind Responses; since GPT-5.4 the others take tools in Chat Completions only without
reasoning.  A gateway (a base URL of the caller's own) is spoken to in Chat Completions as long as the model can do
without reasoning, because gateways rarely serve Responses; ``dialect="responses"`` says that one does.  Azure's dated
API versions have no Responses either.
"""

from __future__ import annotations

from collections.abc import Mapping

from failover.dialects.anthropic import Anthropic
from failover.dialects.base import Dialect, Model
from failover.dialects.chat import Chat
from failover.dialects.providers import is_dated
from failover.dialects.responses import Responses
from failover.types import Request

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Chat(), Responses(), Anthropic())}


def dialect_of(model: Model, request: Request, stated: str | None, gateway: bool) -> Dialect:
    """The dialect for this request; ``gateway``: the base URL is not the provider's own."""
    return DIALECTS[stated or (needs_responses(model, request, gateway) and "responses") or model.provider.dialect]


def needs_responses(model: Model, request: Request, gateway: bool) -> bool:
    facts = model.facts
    if facts.wire != "responses" or is_dated(model.api_version):
        return False
    if not facts.tools_need_responses:
        return True
    if not request.tools or request.reasoning_effort == "none":
        return False
    return not gateway or "none" not in (facts.efforts or ())
