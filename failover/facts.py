"""What is known about models: windows, what they take in, which parameters they refuse.  (table: see below)"""

from __future__ import annotations

from dataclasses import dataclass

from failover.settings import Input

ALL_INPUTS: frozenset[Input] = frozenset(("image", "document", "audio", "video"))


@dataclass(frozen=True, slots=True)
class Facts:
    """One model's abilities.  Unknown windows are None; unknown abilities are assumed: a provider says no clearly.

    refuses: parameters that are dropped before sending (``temperature``, ``stop``, ``seed``, ...).
    reasons: thinks by default, so hidden tokens count against ``max_tokens``.
    forced_tool_choice: takes ``required`` and named tools.
    """

    context_window: int | None = None
    max_output_tokens: int | None = None
    inputs: frozenset[Input] = ALL_INPUTS
    tools: bool = True
    structured_output: bool = True
    forced_tool_choice: bool = True
    reasons: bool = False
    refuses: frozenset[str] = frozenset()
