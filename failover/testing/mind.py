"""What a scripted model says when its script leaves it open: enough sense for frameworks' standard tests and demos.

In this order:

1. Tools are called when the request forces it, or when the last user turn names a tool, a word of its name, or asks
   to use a tool; several tools, or one tool several times, when several are named and parallel calls are allowed.
2. After a tool result the answer repeats it.
3. JSON that fits the schema, or any JSON object, where that was asked for.
4. A continuation of the assistant's own unfinished turn.
5. Otherwise the last user turn is repeated, pictures and files are counted.

All of it is a pure function of the request, so the same question has the same answer.
"""

from __future__ import annotations

import json
import re

from failover.testing.filling import Hints, arguments, fill
from failover.testing.replies import Question, Reply, ToolUse
from failover.types import Media, Message, Request, Text, Tool, ToolResult

PLAIN_WORDS = frozenset(
    """a an and any args by call do does fetch find for from function get give in is it lookup make my no of on or run
    set show the to tool tools use with""".split()  # noqa: SIM905  # a list of fifty words reads better as prose
)
ASKING = re.compile(r"\b(us(e|ing)|call(ing)?|invok(e|ing))\b.{0,40}\b(tool|function)s?\b", re.IGNORECASE | re.DOTALL)


THOUGHT = "Let me think about this. "
"""What a model that reasons thinks, unless its script says otherwise."""


def respond(question: Question) -> Reply:
    """The answer to any request."""
    calls = _calls(question.request)
    return Reply(None, calls) if calls else Reply(_text(question.request))


def _text(request: Request) -> str:
    if request.response_format is not None:
        return _json(request)
    if results := _fresh_results(request):
        return f"The result is: {'; '.join(results)}"
    if _unfinished(request):
        return _continuation(request)
    return _echo(request)


# -------------------------------------------------------------------- text


def _echo(request: Request) -> str:
    asked = _last_user(request)
    seen = [block.kind for block in asked.content if isinstance(block, Media)] if asked else []
    sights = "".join(f" I can see {_several(seen.count(kind), kind)}." for kind in dict.fromkeys(seen))
    said = asked.text if asked else ""
    return f'Hello! You said: "{said}".{sights}'


def _several(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _unfinished(request: Request) -> bool:
    last = request.messages[-1]
    return last.role == "assistant" and any(isinstance(block, Text) for block in last.content)


def _continuation(request: Request) -> str:
    """The rest of the answer that this model would have given, where the text so far is its beginning."""
    so_far = request.messages[-1].text
    whole = _echo(request)
    return whole.removeprefix(so_far) if whole.startswith(so_far) else " and so on."


def _json(request: Request) -> str:
    assert request.response_format is not None
    hints = Hints(_prompt(request))
    schema = request.response_format.schema
    if schema is not None:
        return json.dumps(fill(schema, hints, schema), ensure_ascii=False)
    keys = re.findall(r"'(\w+)'|\"(\w+)\"|`(\w+)`", _prompt(request)) or [("answer", "", "")]
    named = ["".join(found) for found in keys]
    return json.dumps({name: f"a {name.replace('_', ' ')}" for name in named}, ensure_ascii=False)


# ------------------------------------------------------------------- tools


def _calls(request: Request) -> tuple[ToolUse, ...]:
    choice = request.tool_choice or "auto"
    if not request.tools or choice == "none":
        return ()
    prompt = _prompt(request)
    wanted = _wanted(request, choice, prompt)
    uses = [use for tool in wanted for use in _uses(tool, prompt, request.parallel_tool_calls is not False)]
    return tuple(uses if request.parallel_tool_calls is not False else uses[:1])


def _wanted(request: Request, choice: str, prompt: str) -> list[Tool]:
    named = [tool for tool in request.tools if tool.name == choice]
    if named:
        return named
    made = _already_made(request)
    fresh = [tool for tool in request.tools if tool.name not in made]
    offered = fresh or list(request.tools)
    if choice == "required":
        return _asked_for(offered, prompt) or offered[:1]
    return [] if made else _asked_for(offered, prompt)


def _asked_for(offered: list[Tool], prompt: str) -> list[Tool]:
    """Tools whose whole name stands in the prompt, else those with a telling word in it, else any that is asked for."""
    lower = prompt.lower()
    by_name = [tool for tool in offered if re.search(rf"\b{re.escape(tool.name.lower())}\b", lower)]
    by_word = [tool for tool in offered if any(re.search(rf"\b{word}", lower) for word in _telling(tool.name))]
    return by_name or by_word or (offered[:1] if ASKING.search(prompt) else [])


def _telling(name: str) -> list[str]:
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").replace("-", " ").lower().split()
    return [re.escape(part) for part in parts if part not in PLAIN_WORDS and len(part) > 2]


def _uses(tool: Tool, prompt: str, parallel: bool) -> list[ToolUse]:
    """One call, or one for each ``name(...)`` in the prompt, or for each of several names joined by ``and``."""
    written = re.findall(rf"\b{re.escape(tool.name)}\(([^()]*)\)", prompt)
    if written:
        return [ToolUse(tool.name, arguments(tool.parameters, Hints(inside))) for inside in written]
    places = _places(tool, prompt) if parallel else []
    prompts = [f"in {place}" for place in places] if len(places) > 1 else [prompt]
    return [ToolUse(tool.name, arguments(tool.parameters, Hints(each))) for each in prompts]


def _places(tool: Tool, prompt: str) -> list[str]:
    """``in Paris and London`` for a tool that needs one string means two calls."""
    needed = list(tool.parameters.get("required") or ())
    properties = tool.parameters.get("properties") or {}
    if len(needed) != 1 or properties.get(needed[0], {}).get("type") != "string":
        return []
    listed = re.search(r"(?<=\b(?:in|of|at) )[A-Z]\w*(?:(?:,\s*|\s+and\s+|,\s*and\s+)[A-Z]\w*)+", prompt)
    names = re.split(r",\s*(?:and\s+)?|\s+and\s+", listed.group()) if listed else []
    return [name for name in names if not re.fullmatch(r"[A-Z]{2}", name)]


def _already_made(request: Request) -> set[str]:
    """Tools called since the user last spoke."""
    made: set[str] = set()
    for message in reversed(request.messages):
        if _user_spoke(message):
            break
        made |= {call.name for call in message.tool_calls}
    return made


def _fresh_results(request: Request) -> list[str]:
    """Results that came after the user last spoke, the first first."""
    found: list[str] = []
    for message in reversed(request.messages):
        if _user_spoke(message):
            break
        found[:0] = [_shown(block) for block in message.content if isinstance(block, ToolResult)]
    return found


def _user_spoke(message: Message) -> bool:
    return message.role == "user" and not any(isinstance(block, ToolResult) for block in message.content)


def _shown(result: ToolResult) -> str:
    if isinstance(result.content, str):
        return result.content
    return " ".join(part.text if isinstance(part, Text) else f"({part.kind})" for part in result.content)


def _last_user(request: Request) -> Message | None:
    return next((message for message in reversed(request.messages) if message.role == "user" and message.text), None)


def _prompt(request: Request) -> str:
    asked = _last_user(request)
    return asked.text if asked else ""
