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
    """Plain text can be continued; JSON and tool calls cannot."""
    return request.response_format is None and not shaper.tool_calls and bool(shaper.text)


def continuation(request: Request, said: str, model: Model) -> Request:
    """The request that asks ``model`` to go on after ``said``."""
    turn = Message("assistant", said)
    ask = () if model.facts.prefill else (Message("user", INSTRUCTION),)
    return replace(request, messages=(*request.messages, turn, *ask))
