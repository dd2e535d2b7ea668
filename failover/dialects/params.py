"""Parameters that a model takes, does not take, or takes by another name.

Three sources, asked in this order before anything is sent:

1. the provider's row: names it does not know (``refuses``), ranges, how many stop sequences, other names (``rename``)
2. the model's facts: what it refuses always or while it thinks, its values of ``reasoning_effort``, its output limit
3. what the model was found to refuse (``Model.learned``): ``None`` drops a parameter, a name renames it, and a text
   that begins with ``=`` is the value to send; a dotted name reaches into an object (``reasoning.effort``), and
   ``name?other`` holds only for bodies in which ``other`` stands

Everything that is changed leaves a note.  What no table knows is learned from the refusal itself: ``adapt`` says what
to change, the flow asks the same target once more and remembers it per model.  What a request means is never adapted
away: messages, tools and formats stay, and a limit on output is renamed but never dropped (budgets rest on it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from failover.dialects.base import Model
from failover.dialects.body import encode
from failover.facts import Facts
from failover.types import Failure, Kind, Request

PLAIN = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
)
"""Fields of a request that go out as one value each."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
_RANK = {**{name: rank for rank, name in enumerate(EFFORTS)}, "default": EFFORTS.index("medium")}
FORCED_AWAY = "thinking switched off: it does not go with a forced tool choice"


# ------------------------------------------------------------------ effort


@dataclass(frozen=True, slots=True)
class Thought:
    """How much a model is to think: the ``effort`` to send (None: its default), and whether it ``thinks`` at all."""

    effort: str | None
    thinks: bool


def thought(request: Request, model: Model, notes: list[str]) -> Thought:
    """What the request asks for, as far as the model takes it."""
    facts = model.facts
    form = _form(request.thinking) if request.thinking else None
    wanted = request.reasoning_effort or ("none" if form == "disabled" else None)
    if wanted is None:
        return Thought(None, facts.reasons or form is not None)
    effort = nearest_effort(wanted, facts)
    if effort != wanted:
        became = "dropped: it knows no such parameter" if effort is None else f"became {effort}"
        notes.append(f"reasoning_effort {wanted} {became}")
    return Thought(effort, facts.reasons if effort is None else effort != "none")


def _form(thinking: Mapping[str, Any]) -> str | None:
    form = thinking.get("type")
    return form if isinstance(form, str) else None


def nearest_effort(wanted: str, facts: Facts) -> str | None:
    """The highest effort the model takes that is not above ``wanted``, else its lowest; None if it takes none.

    Only ``none`` itself may switch thinking off.
    """
    if facts.efforts is None or wanted in facts.efforts or wanted not in _RANK:
        return wanted
    offered = [effort for effort in facts.efforts if effort != "none"] or list(facts.efforts)
    below = [effort for effort in offered if _RANK[effort] <= _RANK[wanted]]
    if below:
        return max(below, key=_RANK.__getitem__)
    return min(offered, key=_RANK.__getitem__, default=None)


def unforced(request: Request, model: Model, thinking: Thought, notes: list[str]) -> tuple[str | None, Thought]:
    """The tool choice to send, and the thinking that goes with it.

    A model that cannot be forced at all chooses by itself.  One that cannot be forced while it thinks does not
    think, unless the caller asked for thinking: then it chooses by itself.
    """
    choice, facts = request.tool_choice, model.facts
    if choice in (None, "auto", "none"):
        return choice, thinking
    if not facts.forced_tool_choice:
        notes.append(f"tool_choice {choice} became auto: the model cannot be forced")
        return "auto", thinking
    if facts.forced_thinking or not thinking.thinks:
        return choice, thinking
    if request.reasoning_effort or request.thinking:
        notes.append(f"tool_choice {choice} became auto: the model cannot be forced while it thinks")
        return "auto", thinking
    notes.append(FORCED_AWAY)
    return choice, Thought("none", False)


# ------------------------------------------------------- plain parameters


def plain(request: Request, model: Model, thinks: bool, notes: list[str]) -> dict[str, Any]:
    """The request's plain parameters, under their names on the wire, as far as provider and model take them."""
    quirks = model.provider.quirks
    rename: Mapping[str, str] = quirks.get("rename", {})
    out: dict[str, Any] = {}
    for name in PLAIN:
        value = getattr(request, name)
        if value is None or value == () or (name == "parallel_tool_calls" and not request.tools):
            continue
        if why := _refusal(name, model, thinks):
            notes.append(f"{name} dropped: {why}")
        else:
            out[rename.get(name, name)] = _fitted(name, value, model, notes)
    if "top_logprobs" in out:
        out["logprobs"] = True  # no wire takes the one without the other
    return out


def _refusal(name: str, model: Model, thinks: bool) -> str:
    if name in model.provider.quirks.get("refuses", ()):
        return f"{model.provider.name} does not take it"
    if name in model.facts.refuses:
        return f"{model.id} does not take it"
    if thinks and name in model.facts.refuses_thinking:
        return f"{model.id} does not take it while it thinks"
    return ""


def _fitted(name: str, value: Any, model: Model, notes: list[str]) -> Any:
    """``value`` within what is taken."""
    match name:
        case "stop":
            return _few(list(value), model.provider.quirks.get("max_stop"), notes)
        case "max_tokens":
            return _clamped(name, value, 1, model.facts.max_output_tokens or value, notes)
        case _:
            lowest, highest = model.provider.quirks.get("ranges", {}).get(name, (value, value))
            return _clamped(name, value, lowest, highest, notes)


def _clamped(name: str, value: float, lowest: float, highest: float, notes: list[str]) -> float:
    fitted = min(max(value, lowest), max(lowest, highest))
    if fitted != value:
        notes.append(f"{name} {value} became {fitted}")
    return fitted


def _few(stop: list[str], most: int | None, notes: list[str]) -> list[str]:
    if most is None or len(stop) <= most:
        return stop
    notes.append(f"stop cut to the first {most} of {len(stop)} sequences")
    return stop[:most]


BYTES_PER_TOKEN = 3
"""Of a prompt's JSON; English has 3.8 to 4 with today's vocabularies, so this errs on the roomy side."""


def roomed(body: dict[str, Any], facts: Facts, notes: list[str]) -> None:
    """Lowers a cap on output that, with this prompt, is more than the window holds: many servers refuse the sum.

    The prompt is only measured where the cap takes half the window or more.
    """
    window = facts.context_window
    for name in CAPS:
        cap = body.get(name)
        if window and isinstance(cap, int) and cap * 2 >= window:
            prompt = sum(len(encode(body.get(part, ""))) for part in ("messages", "input", "system", "tools"))
            body[name] = _clamped(name, cap, 1, window - prompt // BYTES_PER_TOKEN - 1, notes)


# ---------------------------------------------------------------- learning


def amend(body: dict[str, Any], learned: Mapping[str, str | None]) -> None:
    """Changes a finished body as its model was found to need it."""
    for rule, new in learned.items():
        name, _, beside = rule.partition("?")
        *path, last = name.split(".")
        holder: Any = body if not beside or beside in body else None
        for step in path:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            _amend_one(holder, last, new)


def _amend_one(holder: dict[str, Any], name: str, new: str | None) -> None:
    if new is not None and new.startswith("="):
        holder[name] = new[1:]
    elif name in holder:
        value = holder.pop(name)
        if new is not None:
            holder[new] = value


PROTECTED = frozenset(
    ("model", "messages", "input", "system", "instructions", "tools", "stream", "response_format", "text", "contents")
)
"""What a request means; another target may take it, this one is not asked for less."""
CAPS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens", "max_output_tokens": None}
SHARED = frozenset(("reasoning", "output_config"))
"""Objects whose members are parameters of their own; of all others the whole is dropped."""
SHARED_PROTECTED = frozenset(("output_config.format",))
DEPENDENT: Mapping[str, dict[str, None]] = {"logprobs": {"top_logprobs": None}}
"""What no wire takes without the other."""
SENT_BY_US = ("stream_options", "tool_choice", "reasoning_effort", "reasoning", "thinking", "metadata", "name")

_TOOLS_NEED_NO_EFFORT = re.compile(r"function tools with reasoning_effort", re.I)
_INSTEAD = re.compile(r"use ['`\"](\w+)['`\"] instead", re.I)
_NAMED = re.compile(
    r"""(?:unsupported|unrecognized|unknown|unexpected|invalid)\ (?:parameter|value|request\ argument|argument|field)s?
          (?:\ supplied)?:?\ ['`"]?(?P<a>[\w.\[\]]+)
      | ['`"](?P<b>[\w.\[\]]+)['`"]\ (?:does\ not\ support|is\ not\ supported|is\ unsupported|is\ deprecated|may\ only)
      | (?P<c>[\w.]+):\ extra\ inputs
      | does\ not\ support\ (?:this\ |the\ )?(?:parameter:?\ )?['`"]?(?P<d>\w+)""",
    re.I | re.X,
)
_LISTED = re.compile(r"unexpected fields in the request: [{\[]([^}\]]*)", re.I)


def adapt(failure: Failure, request: Request) -> dict[str, str | None] | None:
    """What to learn from a refused parameter, in the form of ``Model.learned``; None if nothing can be changed.

    The parameter's name is the one the failure states, else the one its message names.
    """
    if failure.kind is not Kind.UNSUPPORTED_PARAMETER:
        return None
    if request.tools and _TOOLS_NEED_NO_EFFORT.search(failure.message):
        return {"reasoning_effort?tools": "=none"}
    learned: dict[str, str | None] = {}
    for name in _refused(failure, request):
        learned.update(_change(name, failure.message))
    return learned or None


def _refused(failure: Failure, request: Request) -> list[str]:
    if failure.parameter:
        return [failure.parameter]
    message = failure.message
    if listed := _LISTED.search(message):
        return re.findall(r"\w+", listed[1])
    known = {*PLAIN, *CAPS, *SENT_BY_US, *request.extra_body}
    named = [_snake(name) for match in _NAMED.finditer(message) for name in match.groups() if name]
    sure = [name for name in named if name.split(".")[0] in known]
    return sure[:1] or [word for word in _words(message) if word in known][:1]


def _words(message: str) -> Iterator[str]:
    return (match[0] for match in re.finditer(r"\w+", message))


def _snake(name: str) -> str:
    """xAI names parameters in camel case."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _change(name: str, message: str) -> dict[str, str | None]:
    path = _snake(re.sub(r"^body\.|\[\d+\]", "", name))
    top = path.split(".")[0]
    key = path if top in SHARED else top
    if top in PROTECTED or path in SHARED_PROTECTED:
        return {}
    instead = _INSTEAD.search(message)
    if instead and instead[1] not in (key, *PROTECTED):
        return {key: instead[1]}
    if key in CAPS:
        return {key: CAPS[key]} if CAPS[key] else {}
    return {key: None, **DEPENDENT.get(key, {})}
