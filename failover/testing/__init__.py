"""Scripted providers for tests: they speak the real wire formats strictly, and fail in every way that providers do.

    from failover import Failover
    from failover.testing import Cut, Fleet, ScriptedProvider, Status, serve

    openai = ScriptedProvider("openai", script=[Status(429, retry_after=2), Cut(after=3), "hello"])
    groq = ScriptedProvider("groq")                       # answers by itself, as far as it understands

    with serve(openai, groq) as servers:                  # real TCP on loopback
        guard = Failover([servers["openai"].target("gpt-6-luna"), servers["groq"].target("openai/gpt-oss-120b")])
        print(guard.complete("hi").content)
        openai.down(); openai.up(); groq.revoke(); groq.rate_limit(rpm=10)

    fleet = Fleet(openai, groq)                           # the same in process: an httpx transport, sync and async
    client = httpx.Client(transport=fleet)                # http://openai.simulated/v1/chat/completions

    openai.requests[0].body, openai.requests[0].aborted, openai.bill, openai.in_flight

A script is used up one item per request; after that ``respond`` makes up answers.  ``During(5, 10, Status(503))`` in a
``timeline`` is a fault by the clock.  Providers are named in ``world.ROWS``; any other name is a lenient OpenAI-like
server.  What a provider refuses is in ``strict``, what it says when it is troubled in ``troubles``.
``python -m failover.testing openai anthropic`` serves them in a process of their own.
"""

from __future__ import annotations

from failover.testing.clock import Clock, RealClock, VirtualClock
from failover.testing.faults import (
    BadUtf8,
    Cut,
    Dropped,
    DropReused,
    EmptyBody,
    EmptyChoices,
    EmptyContent,
    ErrorEvent,
    ErrorInBody,
    Failed,
    Filtered,
    Hang,
    Html,
    Huge,
    Malformed,
    NullContent,
    Redirect,
    Refusal,
    Refused,
    Reset,
    ShortBody,
    Status,
    Trouble,
    Truncated,
    TruncatedGzip,
)
from failover.testing.oddities import (
    QUIRKS,
    Bytewise,
    CloseAfter,
    Drip,
    Informational,
    JsonForStream,
    Quirk,
    QuirkName,
    Slow,
    SseForJson,
)
from failover.testing.provider import During, Received, ScriptedProvider
from failover.testing.replies import Question, Reply, ToolUse
from failover.testing.served import Served
from failover.testing.server import Servers, serve
from failover.testing.simulated import simulated, simulation
from failover.testing.stage import Answer, Play, Stage
from failover.testing.strict import Violation, sign, violations
from failover.testing.transport import Fleet
from failover.testing.troubles import KINDS, TroubleKind, trouble
from failover.testing.world import ROWS, Card, Tokens

__all__ = [
    "KINDS",
    "QUIRKS",
    "ROWS",
    "Answer",
    "BadUtf8",
    "Bytewise",
    "Card",
    "Clock",
    "CloseAfter",
    "Cut",
    "Drip",
    "DropReused",
    "Dropped",
    "During",
    "EmptyBody",
    "EmptyChoices",
    "EmptyContent",
    "ErrorEvent",
    "ErrorInBody",
    "Failed",
    "Filtered",
    "Fleet",
    "Hang",
    "Html",
    "Huge",
    "Informational",
    "JsonForStream",
    "Malformed",
    "NullContent",
    "Play",
    "Question",
    "Quirk",
    "QuirkName",
    "RealClock",
    "Received",
    "Redirect",
    "Refusal",
    "Refused",
    "Reply",
    "Reset",
    "ScriptedProvider",
    "Served",
    "Servers",
    "ShortBody",
    "Slow",
    "SseForJson",
    "Stage",
    "Status",
    "Tokens",
    "ToolUse",
    "Trouble",
    "TroubleKind",
    "Truncated",
    "TruncatedGzip",
    "Violation",
    "VirtualClock",
    "serve",
    "sign",
    "simulated",
    "simulation",
    "trouble",
    "violations",
]
