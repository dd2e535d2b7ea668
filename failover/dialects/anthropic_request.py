"""What is sent to Anthropic Messages.

The API version is a property of the target.  Where it is not set, the newest is asked for, and the oldest exactly
when the request carries sampling parameters that the model takes: under the newest they are refused on every model,
even at their default values.  ``max_tokens`` is mandatory.  System text stands outside the messages; results of
tools come first in the next user message.  What has no parameter here (JSON without a schema, a call that cannot be
forced) is asked for in words.

Thinking has four forms, and every model its own choice of them (``Facts.thinking``): a form that is not taken is
sent as its neighbour (``INSTEAD``) or left out.  It excludes sampling, a forced tool choice, and (with a budget) a
tool loop whose last turn shows no thoughts of this model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from failover.dialects.base import Model
from failover.dialects.body import count, given, string
from failover.dialects.media import plain_text
from failover.dialects.params import nearest_effort, plain
from failover.dialects.replay import ReplayRules, wire_name
from failover.dialects.schemas import closed, in_words
from failover.facts import plain_name
from failover.types import Block, Media, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult

NEWEST = "2026-10-21"
OLDEST = "2023-06-01"
OPAQUE = "anthropic_block"

DEFAULT_MAX_TOKENS = 4_000
REASONING_MAX_TOKENS = 16_000
"""Sent where nobody gave a cap; hidden reasoning counts against it."""

SAMPLING = ("temperature", "top_p", "top_k")
QUIRKS: Mapping[str, Any] = {
    "rename": {"stop": "stop_sequences"},
    "refuses": frozenset(("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")),
    "ranges": {"temperature": (0.0, 1.0)},
}
"""What any server that speaks this wire takes, in the terms of ``providers``."""
BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 32_768}
"""Thinking tokens for an effort, on models that know budgets only."""
LEAST_BUDGET = 1_024
INSTEAD = {"enabled": "adaptive", "adaptive": "enabled", "disabled": "between_tools", "between_tools": "disabled"}
CACHE_POINTS = 4
"""More breakpoints than these are refused."""

MUST_CALL = "You must answer by calling {}."


@dataclass(slots=True)
class Draft:
    """One request in the making; ``notes`` gathers what could not be sent as it was asked."""

    request: Request
    model: Model
    rules: ReplayRules
    turns: tuple[Message, ...]
    notes: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        cap = self.cap()
        thinking = self.thinking(cap)
        parameters = {"max_tokens": cap} | self.parameters(thinking)
        system, messages = _turned(self.turns)
        self.keep_cache_points(system, messages)
        optional = {
            "system": system + self.instructions(),
            "tools": self.tools(),
            "tool_choice": self.tool_choice(),
            "thinking": thinking,
            "output_config": self.output_config(),
        }
        filled = {name: value for name, value in optional.items() if value}
        return {"model": self.model.id, "messages": messages} | filled | parameters

    def version(self, body: Mapping[str, Any]) -> str:
        """As set; else the newest that takes ``body``.  Servers that only imitate the API know the oldest."""
        if self.model.api_version:
            return self.model.api_version
        imitated = not plain_name(self.model.id).startswith("claude")
        return OLDEST if imitated or any(name in body for name in SAMPLING) else NEWEST

    def cap(self) -> int:
        facts = self.model.facts
        default = REASONING_MAX_TOKENS if facts.reasons else DEFAULT_MAX_TOKENS
        cap = default if self.request.max_tokens is None else self.request.max_tokens
        return cap if facts.max_output_tokens is None else min(cap, facts.max_output_tokens)

    # ------------------------------------------------------------ thinking

    def thinking(self, cap: int) -> dict[str, Any] | None:
        wanted = self.wanted_thinking()
        form = self.known_form(wanted) if wanted else None
        if form is None or form.get("type") not in ("enabled", "adaptive"):
            return form
        if self.forced:
            self.notes.append("thinking: left out, because a forced tool choice excludes it")
            return None
        return self.budgeted(form, cap) if form["type"] == "enabled" else form

    def wanted_thinking(self) -> dict[str, Any] | None:
        asked, facts = self.request, self.model.facts
        if asked.thinking is not None or asked.reasoning_effort is None:
            return dict(asked.thinking or {})
        if asked.reasoning_effort == "none":
            return {"type": "disabled"}
        if facts.efforts == ():
            return {"type": "enabled", "budget_tokens": BUDGETS.get(asked.reasoning_effort, BUDGETS["medium"])}
        optional = "adaptive" in (facts.thinking or ()) and not facts.reasons
        return {"type": "adaptive"} if optional and not self.forced else None

    def known_form(self, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """``wanted`` in a form the model takes, or the nearest one to it."""
        forms, kind = self.model.facts.thinking, string(wanted.get("type"))
        if forms is None or kind in forms:
            return wanted
        other = INSTEAD.get(kind)
        if other not in forms:
            self.notes.append(f"thinking: this model cannot be asked for {kind!r}")
            return None
        self.notes.append(f"thinking: {kind!r} sent as {other!r}")
        return {"type": other} | (given(wanted, ("display",)) if other in ("enabled", "adaptive") else {})

    def budgeted(self, form: dict[str, Any], cap: int) -> dict[str, Any] | None:
        """Thinking with a budget, which has to fit below the cap, and with the last turn's thoughts in front of it."""
        if cap <= LEAST_BUDGET or not self.can_think_on():
            why = "max_tokens leaves no room" if cap <= LEAST_BUDGET else "the last turn's thoughts are another model's"
            self.notes.append(f"thinking: left out, because {why}")
            return None
        asked = count(form.get("budget_tokens")) or BUDGETS["medium"]
        budget = max(LEAST_BUDGET, min(asked, cap - 1))
        if "budget_tokens" in form and budget != asked:
            self.notes.append(f"thinking: a budget of {asked} made {budget}")
        return form | {"budget_tokens": budget}

    def can_think_on(self) -> bool:
        """With a budget, a turn that called tools must begin with its thinking, and no turn can be prefilled."""
        last = next((turn for turn in reversed(self.turns) if turn.role == "assistant"), None)
        if last is None:
            return True
        in_tool_loop = bool(last.tool_calls)
        return isinstance(last.content[0], Thinking) if in_tool_loop else last is not self.turns[-1]

    def effort(self) -> str | None:
        asked, facts = self.request.reasoning_effort, self.model.facts
        if asked is None or facts.efforts == ():
            return None
        if asked == "none":
            can_stop = facts.thinking is None or "disabled" in facts.thinking or "between_tools" in facts.thinking
            return None if can_stop else "low"
        return nearest_effort(asked, facts)

    # ---------------------------------------------------------- parameters

    def parameters(self, thinking: Mapping[str, Any] | None) -> dict[str, Any]:
        """Plain parameters, as far as model and version take them together with ``thinking``."""
        model = replace(self.model, provider=replace(self.model.provider, quirks=QUIRKS))
        thinks = (thinking or {}).get("type") in ("enabled", "adaptive")
        taken = plain(self.request, model, thinks, self.notes)
        taken.pop("parallel_tool_calls", None)  # it is said in tool_choice
        for name in SAMPLING:
            if name in taken and (why := self.against(name, taken, thinks)):
                self.notes.append(f"{name} dropped: {why}")
                del taken[name]
        if stops := taken.pop("stop_sequences", None):
            taken |= self.stops(stops)
        return taken

    def against(self, name: str, taken: Mapping[str, Any], thinks: bool) -> str | None:
        """Why a sampling parameter that the model knows cannot be sent all the same."""
        if (self.model.api_version or OLDEST) >= NEWEST:
            return f"version {self.model.api_version} of the API refuses it"
        if thinks:
            return "the model thinks"
        return "temperature is given" if name == "top_p" and "temperature" in taken else None

    def stops(self, asked: list[str]) -> dict[str, Any]:
        usable = [stop for stop in asked if stop.strip()]
        if len(usable) < len(asked):
            self.notes.append("stop: a sequence of white space alone is refused")
        return {"stop_sequences": usable} if usable else {}

    def output_config(self) -> dict[str, Any]:
        wanted = self.request.response_format
        shape = {"type": "json_schema", "schema": closed(wanted.schema)} if wanted and self.constrained else None
        both = {"effort": self.effort(), "format": shape}
        return {name: value for name, value in both.items() if value}

    @property
    def constrained(self) -> bool:
        wanted = self.request.response_format
        return wanted is not None and wanted.schema is not None and self.model.facts.json_schema

    def instructions(self) -> list[dict[str, Any]]:
        """What has no parameter here, in words."""
        words: list[str] = []
        wanted, choice = self.request.response_format, self.request.tool_choice
        if wanted is not None and not self.constrained:
            words.append(in_words(wanted))
        if self.insists and not self.forced:
            names = "one of the tools" if choice == "required" else f"the tool {wire_name(str(choice), self.rules)}"
            words.append(MUST_CALL.format(names))
        return [{"type": "text", "text": text} for text in words]

    # --------------------------------------------------------------- tools

    @property
    def insists(self) -> bool:
        """The caller wants a call, whatever the model thinks of it."""
        return bool(self.request.tools) and self.request.tool_choice not in (None, "auto", "none")

    @property
    def forced(self) -> bool:
        return self.insists and self.model.facts.forced_tool_choice

    def tools(self) -> list[dict[str, Any]]:
        """Tools that the history calls must be declared even where none is offered any more."""
        if self.request.tools:
            return [_tool(tool, self.rules) for tool in self.request.tools]
        called = dict.fromkeys(call.name for turn in self.turns for call in turn.tool_calls)
        return [_tool(Tool(name), self.rules) for name in called]

    def tool_choice(self) -> dict[str, Any] | None:
        asked = self.request
        if not asked.tools:
            return {"type": "none"} if any(turn.tool_calls for turn in self.turns) else None
        if asked.tool_choice == "none":
            return {"type": "none"}
        if self.insists and not self.forced:
            self.notes.append("tool_choice: this model cannot be forced, so it is asked in words")
        single = {"disable_parallel_tool_use": True} if asked.parallel_tool_calls is False else {}
        if not self.forced:
            return {"type": "auto"} | single if single or asked.tool_choice else None
        if asked.tool_choice == "required":
            return {"type": "any"} | single
        return {"type": "tool", "name": wire_name(str(asked.tool_choice), self.rules)} | single

    def keep_cache_points(self, system: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
        """The last few breakpoints: the longest prefixes are the ones worth finding again."""
        blocks = [*system, *(block for message in messages for block in message["content"])]
        inner = [each for block in blocks for each in (block, *_parts(block))]
        marked = [block for block in inner if "cache_control" in block]
        for block in marked[:-CACHE_POINTS]:
            del block["cache_control"]
        if len(marked) > CACHE_POINTS:
            self.notes.append(f"cache_point: only the last {CACHE_POINTS} of {len(marked)} are kept")


def _parts(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    inner = block.get("content")
    return inner if block["type"] == "tool_result" and isinstance(inner, list) else []


def _tool(tool: Tool, rules: ReplayRules) -> dict[str, Any]:
    if tool.native is not None:
        return dict(tool.native)
    schema = {"type": "object", "properties": {}} | dict(tool.parameters)
    strict = {"strict": True} if tool.strict else {}
    described = {"description": tool.description} if tool.description else {}
    return (
        {"name": wire_name(tool.name, rules), "input_schema": closed(schema) if strict else schema} | described | strict
    )


def _turned(turns: Iterable[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """System text, and messages of alternating roles: results of tools are the user's, in front."""
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for turn in turns:
        blocks = [_render_block(block) for block in turn.content]
        role = "user" if turn.role == "tool" else turn.role
        if role == "system":
            system += blocks
        elif messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    return system, messages


def _render_block(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text} | given(block.extra, ("citations",)) | _cached(block)
        case Media():
            return _media(block) | _cached(block)
        case Thinking():
            return _thinking_block(block)
        case ToolCall():
            call = {"type": "tool_use", "id": block.id, "name": block.name, "input": from_json(block.arguments)}
            return call | given(block.extra, ("caller", "toolset_name"))
        case ToolResult():
            return _tool_result(block)


def _cached(block: Text | Media) -> dict[str, Any]:
    return {"cache_control": {"type": "ephemeral"}} if block.cache_point else {}


def _thinking_block(block: Thinking) -> dict[str, Any]:
    if OPAQUE in block.extra:
        return dict(block.extra[OPAQUE])
    if block.redacted is not None:
        return {"type": "redacted_thinking", "data": block.redacted}
    return {"type": "thinking", "thinking": block.text, "signature": block.signature or ""}


def _tool_result(result: ToolResult) -> dict[str, Any]:
    rendered: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
    if isinstance(result.content, str):
        rendered |= given({"content": result.content}, ("content",))
    elif result.content:
        rendered["content"] = [_render_block(block) for block in result.content]
    return rendered | ({"is_error": True} if result.is_error else {})


def _media(media: Media) -> dict[str, Any]:
    titled = {"title": media.name} if media.kind == "document" and media.name else {}
    return {"type": media.kind, "source": _source(media)} | titled


def _source(media: Media) -> dict[str, Any]:
    if media.file_id is not None:
        return {"type": "file", "file_id": media.file_id}
    if media.data is None:
        return {"type": "url", "url": media.url}
    if media.kind == "document" and (text := plain_text(media)) is not None:
        return {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "base64", "media_type": media.mime_type, "data": media.data}
