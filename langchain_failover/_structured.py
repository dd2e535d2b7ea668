"""Structured answers: which way to ask for them, and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.base import BaseOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from failover.facts import Facts
from langchain_failover._tools import openai_tools

Method = Literal["function_calling", "json_mode", "json_schema"]


def surest_method(abilities: Sequence[Facts]) -> Method:
    """What every target can do natively: a schema, else a forced tool call; else a schema, put into words."""
    if all(facts.structured_output and facts.json_schema for facts in abilities):
        return "json_schema"
    forced = all(facts.tools and facts.forced_tool_choice and facts.forced_thinking for facts in abilities)
    return "function_calling" if forced else "json_schema"


def parser_of(schema: Any, way: Method) -> BaseOutputParser[Any]:
    typed = isinstance(schema, type) and is_basemodel_subclass(schema)
    if way == "function_calling":
        if typed:
            return PydanticToolsParser(tools=[schema], first_tool_only=True)
        (wanted,) = openai_tools([schema])
        return JsonOutputKeyToolsParser(key_name=wanted["function"]["name"], first_tool_only=True)
    return PydanticOutputParser(pydantic_object=schema) if typed else JsonOutputParser()


def parsed(llm: Runnable[Any, AIMessage], parser: BaseOutputParser[Any], include_raw: bool) -> Runnable[Any, Any]:
    if not include_raw:
        return llm | parser
    good = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | good.with_fallbacks([failed], exception_key="parsing_error")
