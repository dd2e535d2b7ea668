"""The caller's own messages, as another integration of LlamaIndex takes them: copies, the caller's are not touched.

- An integration refuses kinds of blocks that it does not know.  One that knows a kind has imported its class; so a
  kind that none of its modules holds is left out where that loses nothing: a cache point is a hint, a citation a note,
  and a tool call stands in ``additional_kwargs["tool_calls"]`` as well.
- Some send those entries as they are.  So nothing may stand in them but what OpenAI's wire has.
- Thoughts go back only to the model that had them; an assistant's turn in which nothing is left is not sent.
- Tools have names, and calls have ids, that every wire takes, and the same ones wherever they are named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitationBlock,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import ToolMetadata

from llamaindex_failover._authors import AUTHOR
from llamaindex_failover._messages import entry_of

OPTIONAL: tuple[type, ...] = (CachePoint, CitationBlock, ThinkingBlock, ToolCallBlock)
CORE = "llama_index.core."
UNWIRED = frozenset({"name"})
"""What older agents of LlamaIndex note beside a tool's result, and OpenAI refuses."""
PORTABLE_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
"""What all wires take: OpenAI's has room for 40 characters, Anthropic's for these."""


def unknown_to(llm: LLM) -> frozenset[type]:
    """The optional kinds of blocks that this LLM's integration does not know."""
    family = [cls for cls in type(llm).__mro__ if issubclass(cls, LLM)]
    written = [cls for cls in family if not cls.__module__.startswith(CORE)] or family[:1]
    packages = {cls.__module__.rpartition(".")[0] or cls.__module__ for cls in written}
    modules = [module for name, module in sys.modules.items() if any(f"{name}.".startswith(f"{p}.") for p in packages)]
    return frozenset(kind for kind in OPTIONAL if not any(kind.__name__ in vars(module) for module in modules))


def returned(messages: Iterable[ChatMessage], author: str, unknown: Collection[type]) -> list[ChatMessage]:
    """``author`` is the model that is to read them."""
    turns = [_returned(message, author, unknown) for message in messages]
    return [turn for turn in turns if turn.role != MessageRole.ASSISTANT or turn.blocks or _calls(turn)]


def _returned(message: ChatMessage, author: str, unknown: Collection[type]) -> ChatMessage:
    blocks = [_named(block) for block in message.blocks if type(block) not in unknown and _is_sent(block, author)]
    facts = {word: fact for word, fact in message.additional_kwargs.items() if word not in UNWIRED} | _facts(message)
    if message.role == MessageRole.ASSISTANT:
        blocks = [block for block in blocks if not isinstance(block, TextBlock) or block.text]
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": facts})


def _is_sent(block: ContentBlock, author: str) -> bool:
    return not isinstance(block, ThinkingBlock) or block.additional_information.get(AUTHOR) == author


def _named(block: ContentBlock) -> ContentBlock:
    if not isinstance(block, ToolCallBlock):
        return block
    return block.model_copy(
        update={"tool_name": sanitised(block.tool_name), "tool_call_id": portable_id(block.tool_call_id)}
    )


def _facts(message: ChatMessage) -> dict[str, Any]:
    """What has to change in ``additional_kwargs``."""
    facts: dict[str, Any] = {}
    if given := message.additional_kwargs.get("tool_call_id"):
        facts["tool_call_id"] = portable_id(given)
    made = [entry_of(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    if calls := _calls(message) or made:
        facts["tool_calls"] = [_entry(call) for call in calls]
    return facts


def _calls(message: ChatMessage) -> list[Any]:
    return list(message.additional_kwargs.get("tool_calls") or ())


def _entry(call: Any) -> Any:
    """The call with nothing but what the wire has; what is not in OpenAI's shape stays as it is."""
    match call:
        case {"id": call_id, "function": {"name": str(name), "arguments": arguments}}:
            function = {"name": sanitised(name), "arguments": arguments}
            return {"id": portable_id(call_id), "type": "function", "function": function}
    return call


def sanitised(name: str) -> str:
    """A tool's name as LlamaIndex's integrations send it."""
    return ToolMetadata("", name)._sanitize_name(name) or name


def portable_id(given: str | None) -> str | None:
    """The id itself where every wire takes it, else one made from it."""
    if not given or PORTABLE_ID.fullmatch(given):
        return given
    return f"call_{sha256(given.encode()).hexdigest()[:24]}"
