"""Tools, tool choice and answer formats, as LangChain users write them, to what a ``Request`` holds.

Whatever ``convert_to_openai_tool`` of langchain-core understands is a tool here: functions, pydantic classes,
``BaseTool`` objects, TypedDicts, OpenAI, Anthropic and Bedrock dicts, JSON schemas with a title.  A dict that only
names a type (``{"type": "web_search"}``) is a provider's own server-side tool and goes along whole.

Everything is turned into OpenAI's dicts when it is bound, so that traces and LangChain's own switches see what they
know, and into ours when the call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from typing_extensions import TypeIs

from failover._adopted import openai_format
from failover.errors import ConfigurationError
from failover.types import JsonFormat, Tool

AnyTool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool

CHOICES: Mapping[str, str] = {"any": "required", "required": "required", "auto": "auto", "none": "none"}


# ------------------------------------------------------------------ tools


def openai_tools(tools: Iterable[AnyTool], strict: bool | None = None) -> list[dict[str, Any]]:
    """``strict`` is set on every function that does not say itself."""
    return [dict(tool) if _is_native(tool) else _function(tool, strict) for tool in tools]


def _is_native(tool: AnyTool) -> TypeIs[Mapping[str, Any]]:
    """A dict that names a type but describes no function of the caller's."""
    if not isinstance(tool, Mapping) or tool.get("type") in (None, "function", "object"):
        return False
    return not (tool.keys() & {"input_schema", "parameters", "properties"})


def _function(tool: AnyTool, strict: bool | None) -> dict[str, Any]:
    bare = tool["function"] if isinstance(tool, Mapping) and "function" in tool else tool
    described = convert_to_openai_tool(bare)
    if strict is None or described["type"] != "function" or "strict" in described["function"]:
        return described
    return convert_to_openai_tool(described["function"], strict=strict)


def tools_of(tools: Iterable[AnyTool]) -> tuple[Tool, ...]:
    return tuple(_tool(tool) for tool in openai_tools(tools))


def _tool(tool: Mapping[str, Any]) -> Tool:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return Tool(str(tool.get("name") or tool.get("type")), native=tool)
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], function.get("description") or "", parameters, strict=function.get("strict"))


def openai_tool(tool: Tool) -> dict[str, Any]:
    """The other way: for a LangChain model that serves as a target."""
    if tool.native is not None:
        return dict(tool.native)
    strict = {} if tool.strict is None else {"strict": tool.strict}
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": {**function, **strict}}


# ------------------------------------------------------------ tool choice


def choice_of(choice: str | bool | Mapping[str, Any] | None, names: Sequence[str]) -> str | None:
    """``"auto"``, ``"none"``, ``"required"`` or the name of one tool.  A name nobody bound is an error."""
    match choice:
        case None | False:
            return None
        case True:
            return "required"
        case str() if choice in CHOICES:
            return CHOICES[choice]
        case str():
            return _named(choice, names)
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return _named(name, names)
        case {"type": str(kind)} if kind in CHOICES:
            return CHOICES[kind]
        case _:
            raise ConfigurationError(f"tool_choice = {choice!r} is none of 'auto', 'any', 'none' or a tool's name")


def _named(name: str, names: Sequence[str]) -> str:
    if name not in names:
        have = ", ".join(names) or "none"
        raise ConfigurationError(f"tool_choice names {name!r}, which is not among the tools of this call: {have}")
    return name


# ---------------------------------------------------------- answer format


def format_of(wanted: Any) -> JsonFormat | None:
    """OpenAI's ``response_format`` dict, or any schema LangChain can read."""
    match wanted:
        case None | {"type": "text"}:
            return None
        case JsonFormat():
            return wanted
        case {"type": "json_object"}:
            return JsonFormat()
        case {"type": "json_schema", "json_schema": Mapping() as wrapped}:
            return _schema_format(wrapped)
        case _:
            schema = convert_to_json_schema(wanted)
            return JsonFormat(schema, name=schema["title"], description=schema.get("description"))


def _schema_format(wrapped: Mapping[str, Any]) -> JsonFormat:
    name, strict, described = wrapped.get("name", "response"), wrapped.get("strict"), wrapped.get("description")
    return JsonFormat(wrapped["schema"], name=name, strict=strict, description=described)


def schema_format(schema: Any, strict: bool | None) -> dict[str, Any]:
    """OpenAI's ``response_format`` for a schema that a user gave to ``with_structured_output``."""
    if isinstance(schema, Mapping) and schema.get("type") == "json_schema" and "json_schema" in schema:
        return dict(schema)
    plain = convert_to_json_schema(schema, strict=strict)
    return openai_format(JsonFormat(plain, name=plain["title"], strict=strict, description=plain.get("description")))
