"""Tools and calls: LlamaIndex's ``BaseTool`` and the dicts of other integrations as ``Tool``, calls as selections.

Tools travel through LlamaIndex's keyword arguments (and so through its events) as plain dicts in OpenAI's shape,
under their own names: what a wire does not allow in a name, its dialect maps out and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools.types import BaseTool

from failover.errors import ConfigurationError
from failover.types import Tool, ToolChoice
from llamaindex_failover._messages import arguments, call_of

WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def described(tool: BaseTool) -> dict[str, Any]:
    """A LlamaIndex tool as a dict in OpenAI's shape, under its real name."""
    facts = tool.metadata
    parameters = facts.get_parameters_dict()
    return {
        "type": "function",
        "function": {"name": facts.get_name(), "description": facts.description, "parameters": parameters},
    }


def to_tools(given: Sequence[Any] | None) -> tuple[Tool, ...]:
    return tuple(to_tool(tool) for tool in given or ())


def to_tool(given: Any) -> Tool:
    """One tool: ours, LlamaIndex's, OpenAI's or Anthropic's dict, or a provider's own server-side tool."""
    match given:
        case Tool():
            return given
        case BaseTool():
            return to_tool(described(given))
        case {"type": "function", "function": {"name": str(name)} as function}:
            return _spoken(name, function)
        case {"name": str(name), "input_schema": schema}:
            return Tool(name, given.get("description") or "", schema)
        case {"type": str(kind), **_rest}:
            return Tool(str(given.get("name") or kind), native=dict(given))
    raise ConfigurationError(f"not a tool: {given!r}; give a BaseTool, a failover Tool, or a dict in OpenAI's shape")


def _spoken(name: str, function: Mapping[str, Any]) -> Tool:
    return Tool(name, function.get("description") or "", function.get("parameters") or {}, function.get("strict"))


def to_tool_choice(given: Any) -> ToolChoice | None:
    """``"auto"``, ``"none"``, ``"required"`` or a tool's bare name, from any of the shapes in use."""
    match given:
        case None:
            return None
        case str(word):
            return WORDS.get(word, word)
        case {"type": "function", "function": {"name": str(name)}} | {"type": "tool", "name": str(name)}:
            return name
        case {"type": str(word)} if word in WORDS:
            return WORDS[word]
    raise ConfigurationError(f"tool_choice = {given!r}; give 'auto', 'none', 'required' or the name of one tool")


def checked_choice(choice: ToolChoice | None, tools: Sequence[Tool]) -> ToolChoice | None:
    """The choice, if it can be met: a named tool must be among the tools."""
    names = [tool.name for tool in tools]
    if choice is not None and choice not in WORDS and choice not in names:
        raise ConfigurationError(f"tool_choice = {choice!r} names no tool of this call; there are: {', '.join(names)}")
    return choice


# ------------------------------------------------------------------- calls


def selections(message: ChatMessage) -> list[ToolSelection]:
    """The calls of a message, for LlamaIndex to run.  Arguments that are no object become an empty one."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [_selection(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    calls = [call_of(entry) for entry in message.additional_kwargs.get("tool_calls") or ()]
    return [_selection(call.id, call.name, arguments(call.arguments)) for call in calls]


def _selection(call_id: str | None, name: str, given: Mapping[str, Any] | str) -> ToolSelection:
    kwargs = _repaired(given) if isinstance(given, str) else dict(given)
    return ToolSelection(tool_id=call_id or "", tool_name=name, tool_kwargs=kwargs)


def _repaired(text: str) -> dict[str, Any]:
    """What can be read of a broken JSON text, as LlamaIndex's own integrations do it."""
    try:
        parsed = parse_partial_json(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def keep_first_call(response: ChatResponse) -> ChatResponse:
    """The same response with one tool call at most, for callers that do not take parallel calls."""
    message = response.message
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) < 2:
        return response
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock) or block is calls[0]]
    facts = {**message.additional_kwargs, "tool_calls": message.additional_kwargs.get("tool_calls", [])[:1]}
    kept = ChatMessage(role=message.role, blocks=blocks, additional_kwargs=facts)
    return response.model_copy(update={"message": kept})
