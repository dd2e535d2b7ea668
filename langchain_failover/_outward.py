"""A request's messages for a LangChain model that serves as a target.

``Request.origin`` holds LangChain's own messages where the call came through ``ChatFailover``; they are handed on as
they are.  The exceptions are answers that a ChatFailover wrote, because they are in its form and not in the form of
the class that gave them:

- written by this very model: put back into what its class had returned (content, reasoning, signatures), if nobody
  changed the text or the calls since;
- written by any other target: text and tool calls only.  A signature is worthless, or refused, anywhere else.

A request that comes from elsewhere (the core alone, another framework) is translated block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from failover.types import Block, Media, Message, Request, Text, ToolCall, ToolResult
from langchain_failover._messages import ENTRY, author_of, messages_of
from langchain_failover._results import ORIGIN, parsed_calls, standard


def for_model(request: Request, author: str) -> list[BaseMessage]:
    """The messages as the model called ``author`` should see them."""
    origin = request.origin
    if isinstance(origin, tuple) and all(isinstance(message, BaseMessage) for message in origin):
        return [_returned(message, author) for message in origin]
    return [turn for message in request.messages for turn in _translated(message)]


def _returned(message: BaseMessage, author: str) -> BaseMessage:
    if not isinstance(message, AIMessage) or ENTRY not in message.response_metadata:
        return message
    kept = message.additional_kwargs.get(ORIGIN)
    if author_of(message) == author and kept and _unchanged(message, kept):
        return AIMessage(**kept, tool_calls=message.tool_calls, invalid_tool_calls=message.invalid_tool_calls)
    (turn,) = messages_of([message])
    return _said(turn.text, turn.tool_calls)


def _unchanged(message: AIMessage, kept: Mapping[str, Any]) -> bool:
    return str(AIMessage(content=kept["content"]).text) == str(message.text)


def _said(text: str, calls: Iterable[ToolCall]) -> AIMessage:
    good, broken = parsed_calls(tuple(calls))
    return AIMessage(content=text, tool_calls=good, invalid_tool_calls=broken)


# ------------------------------------------------------------ translation


def _translated(message: Message) -> Iterator[BaseMessage]:
    match message.role:
        case "system":
            yield SystemMessage(_content(message.content))
        case "user":
            yield HumanMessage(_content(message.content), name=message.name)
        case "assistant":
            yield _said(message.text, message.tool_calls)
        case "tool":
            yield from (_result(block) for block in message.content if isinstance(block, ToolResult))


def _result(result: ToolResult) -> ToolMessage:
    content = result.content if isinstance(result.content, str) else _content(result.content)
    status = "error" if result.is_error else "success"
    return ToolMessage(content, tool_call_id=result.call_id, name=result.name, status=status)


def _content(blocks: Iterable[Block]) -> Any:
    """A string where a string says it all."""
    shown = [block for block in blocks if isinstance(block, Text | Media)]
    if all(isinstance(block, Text) for block in shown):
        return "".join(block.text for block in shown if isinstance(block, Text))
    return [part for block in shown for part in standard(block)]
