"""Going on with an answer that broke off, by another model.

Where the model takes it, the text so far is given as the beginning of its own turn (prefill); elsewhere an
instruction asks it to continue.  Resuming is refused where a seam could corrupt what is built: structured output
half written, or tool calls already handed on.
"""

from __future__ import annotations

from dataclasses import replace

from failover._shaper import Shaper
from failover.dialects.base import Model
from failover.types import Message, Request

INSTRUCTION = (
    "Your previous answer was cut off by a technical fault. Continue it exactly where it stops, "
    "in the middle of a word if need be. Do not repeat any of it, do not start over, do not comment on this."
)


def resumable(request: Request, shaper: Shaper) -> bool:
    """Plain text can be continued, JSON and tool calls cannot; after nothing but reasoning another begins anew."""
    return not shaper.tool_calls and (request.response_format is None or not shaper.text)


def shown(said: str, model: Model) -> str:
    """What of the text so far ``model`` is given: no wire takes white space at the end of a prefill."""
    return said.rstrip() if model.facts.prefill else said


def continuation(request: Request, said: str, model: Model) -> Request:
    """The request that asks ``model`` to go on after what it is shown of ``said``."""
    turn = Message("assistant", shown(said, model))
    ask = () if model.facts.prefill else (Message("user", INSTRUCTION),)
    return replace(request, messages=(*request.messages, turn, *ask))
