"""LlamaIndex's ``ChatMessage`` as failover's ``Message``, and back.

One small function per kind of block, chosen by ``match``.  What has to be known:

- A tool's result is a message of its own that names its call in ``additional_kwargs["tool_call_id"]``; where that is
  missing (old histories, ReAct memories) it answers the oldest call that still waits.
- A call stands in a ``ToolCallBlock``; older histories and other integrations keep calls in
  ``additional_kwargs["tool_calls"]`` alone, in several shapes.  Ours keep both: the block for LlamaIndex, the entry
  for the exact text of the arguments and what else must go back untouched.
- A ``CachePoint`` marks the block before it.  Citations in an assistant's turn are LlamaIndex's notes about its text
  and are not sent again; elsewhere they, and citable sources, are said as text.
- A thought goes back only where the block says who had it (see ``_authors``).

Nothing here changes the caller's messages.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from pydantic import BaseModel

from failover.types import Block, Media, Message, Role, Text, Thinking, ToolCall, ToolResult
from llamaindex_failover import _media
from llamaindex_failover._authors import AUTHOR

ROLES: Mapping[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}

AuthorOf = Callable[[ChatMessage], str | None]


# ------------------------------------------------------------- to failover


def to_messages(history: Sequence[ChatMessage], author_of: AuthorOf) -> tuple[Message, ...]:
    """The history as failover's messages; ``author_of`` names the model that wrote an assistant turn."""
    waiting: deque[ToolCall] = deque()
    return tuple(_message(message, author_of, waiting) for message in history)


def _message(message: ChatMessage, author_of: AuthorOf, waiting: deque[ToolCall]) -> Message:
    match ROLES[message.role]:
        case "tool":
            return Message("tool", _result(message, waiting))
        case "assistant":
            turn = Message("assistant", _said(message), author_of(message))
            waiting.extend(turn.tool_calls)
            return turn
        case role:
            return Message(role, _marked(_told(message.blocks)))


def _told(blocks: Iterable[ContentBlock]) -> Iterator[Text | Media | None]:
    """What someone tells the model; None stands for a cache point."""
    for block in blocks:
        match block:
            case CachePoint():
                yield None
            case CitableBlock():
                yield Text(f"[{block.title}] ({block.source})\n")
                yield from _told(block.content)
            case CitationBlock():
                yield Text(f"[{block.title}] ({block.source})\n")
                yield from _told((block.cited_content,))
            case _:
                yield _part(block)


def _part(block: ContentBlock) -> Text | Media:
    match block:
        case TextBlock():
            return Text(block.text)
        case ImageBlock():
            return _media.image(block)
        case DocumentBlock():
            return _media.document(block)
        case AudioBlock():
            return _media.audio(block)
        case VideoBlock():
            return _media.video(block)
        case ThinkingBlock():
            return Text(block.content or "")
        case ToolCallBlock():
            return Text(f"{block.tool_name}({_dumped(block.tool_kwargs)})")
    raise ValueError(f"a {type(block).__name__} cannot be sent to a model")


def _marked(parts: Iterable[Text | Media | None]) -> tuple[Text | Media, ...]:
    """Cache points, as marks on the parts before them."""
    marked: list[Text | Media] = []
    for part in parts:
        if part is not None:
            marked.append(part)
        elif marked:
            marked[-1] = replace(marked[-1], cache_point=True)
    return tuple(marked)


def _result(message: ChatMessage, waiting: deque[ToolCall]) -> ToolResult:
    facts = message.additional_kwargs
    parts = _marked(_told(message.blocks))
    content = "".join(part.text for part in parts if isinstance(part, Text)) if _plain(parts) else parts
    call_id = facts.get("tool_call_id") or (waiting[0].id if waiting else "")
    answered = next((call for call in waiting if call.id == call_id), None)
    if answered is not None:
        waiting.remove(answered)
    return ToolResult(call_id, content, bool(facts.get("is_error")), answered.name if answered else facts.get("name"))


def _plain(parts: Sequence[Text | Media]) -> bool:
    return all(isinstance(part, Text) and not part.cache_point for part in parts)


# ------------------------------------------------------- an assistant's turn


def _said(message: ChatMessage) -> tuple[Block, ...]:
    entries = [call_of(entry) for entry in message.additional_kwargs.get("tool_calls") or ()]
    exact = {call.id: call for call in entries}
    blocks: list[Block] = []
    for block in message.blocks:
        match block:
            case CitationBlock():
                continue
            case CachePoint():
                _mark_last(blocks)
            case ThinkingBlock():
                blocks.append(_thought(block))
            case ToolCallBlock():
                blocks.append(_call(block, exact))
            case _:
                blocks.extend(_marked(_told((block,))))
    known = {block.id for block in blocks if isinstance(block, ToolCall)}
    blocks.extend(call for call in entries if call.id not in known)
    return tuple(blocks)


def _mark_last(blocks: list[Block]) -> None:
    if blocks and isinstance(blocks[-1], Text | Media):
        blocks[-1] = replace(blocks[-1], cache_point=True)


def _thought(block: ThinkingBlock) -> Thinking:
    kept = block.additional_information
    return Thinking(block.content or "", kept.get("signature"), kept.get("redacted"), kept.get("extra") or {})


def _call(block: ToolCallBlock, exact: Mapping[str, ToolCall]) -> ToolCall:
    """The call as the model wrote it, where its entry still says the same as the block."""
    written = exact.get(block.tool_call_id or "")
    if written is not None and written.name == block.tool_name and arguments(written.arguments) == block.tool_kwargs:
        return written
    return ToolCall(block.tool_call_id or "", block.tool_name, _dumped(block.tool_kwargs))


ARGUMENTS = ("input", "args", "arguments", "parameters", "tool_kwargs")
IDS = ("id", "tool_id", "tool_call_id", "toolUseId")
"""Words for the same in the shapes of Anthropic, Gemini, Mistral, Cohere, Bedrock and LlamaIndex itself."""


def call_of(entry: Any) -> ToolCall:
    """A call from ``additional_kwargs["tool_calls"]``: a dict or an SDK's object, in any integration's shape."""
    if isinstance(entry, BaseModel):
        entry = entry.model_dump()
    match entry:
        case {"function": {"name": str(name), **function}}:
            return ToolCall(
                entry.get("id") or "", name, _dumped(function.get("arguments") or ""), entry.get("extra") or {}
            )
        case {"name": str(name)} | {"tool_name": str(name)} if any(word in entry for word in ARGUMENTS):
            given = next(entry[word] for word in ARGUMENTS if word in entry)
            return ToolCall(next((entry[word] for word in IDS if entry.get(word)), ""), name, _dumped(given))
    raise ValueError(f"a tool call of unknown shape in additional_kwargs['tool_calls']: {entry!r}")


def _dumped(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def arguments(text: str) -> dict[str, Any] | str:
    """Arguments as an object; as the bare text where the model wrote no JSON object."""
    if not text.strip():
        return {}
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


# ------------------------------------------------------------ to LlamaIndex


def to_chat_message(message: Message) -> ChatMessage:
    """A turn as LlamaIndex keeps it.  A tool message is given one result at a time (see ``to_chat_messages``)."""
    calls = [_entry(call, message.author) for call in message.tool_calls]
    blocks = [_block(block, message.author) for block in _joined(message.content)]
    if all(isinstance(block, ThinkingBlock) for block in blocks):
        blocks.append(TextBlock(text=""))  # for those who make a string of ``content``, which would be None
    cited = [cited for block in message.content if isinstance(block, Text) for cited in _citations(block)]
    return ChatMessage(
        role=MessageRole(message.role),
        blocks=[*blocks, *cited],
        additional_kwargs={"tool_calls": calls} if calls else {},
    )


def to_chat_messages(messages: Iterable[Message]) -> list[ChatMessage]:
    """A whole history; every tool result becomes a message of its own."""
    spoken: list[ChatMessage] = []
    for message in messages:
        results = [block for block in message.content if isinstance(block, ToolResult)]
        spoken.extend(_result_message(result) for result in results)
        if len(results) < len(message.content) or not results:
            spoken.append(to_chat_message(message))
    return spoken


def _result_message(result: ToolResult) -> ChatMessage:
    parts = (Text(result.content),) if isinstance(result.content, str) else result.content
    facts: dict[str, Any] = {"tool_call_id": result.call_id}
    return ChatMessage(role=MessageRole.TOOL, blocks=[_block(part, None) for part in parts], additional_kwargs=facts)


def _joined(blocks: Iterable[Block]) -> Iterator[Block]:
    """Runs of text in one piece: ``ChatMessage.content`` would put line breaks between them."""
    run: Text | None = None
    for block in blocks:
        if isinstance(block, Text):
            run = block if run is None else Text(run.text + block.text)
            continue
        if run is not None:
            yield run
            run = None
        if not isinstance(block, ToolResult):
            yield block
    if run is not None:
        yield run


def _block(block: Block, author: str | None) -> ContentBlock:
    match block:
        case Text():
            return TextBlock(text=block.text)
        case Thinking():
            return ThinkingBlock(content=block.text, additional_information=_kept(block, author))
        case ToolCall():
            return ToolCallBlock(tool_call_id=block.id, tool_name=block.name, tool_kwargs=arguments(block.arguments))
        case Media():
            return _media.to_block(block)
    raise AssertionError(f"{type(block).__name__} is a message of its own")


def _kept(block: Thinking, author: str | None) -> dict[str, Any]:
    """What a thought needs to be sent back, without what it has not."""
    facts = {AUTHOR: author, "signature": block.signature, "redacted": block.redacted, "extra": dict(block.extra)}
    return {name: fact for name, fact in facts.items() if fact}


def _entry(call: ToolCall, author: str | None) -> dict[str, Any]:
    """A call in the shape that LlamaIndex's older readers know, with the exact text of its arguments."""
    function = {"name": call.name, "arguments": call.arguments}
    kept = {AUTHOR: author, "extra": dict(call.extra)}
    return {
        "id": call.id,
        "type": "function",
        "function": function,
        **{name: fact for name, fact in kept.items() if fact},
    }


def entry_of(block: ToolCallBlock) -> dict[str, Any]:
    """The same for a call that stands in a block alone."""
    return _entry(_call(block, {}), None)


def _citations(text: Text) -> Iterator[CitationBlock]:
    for cited in text.extra.get("citations") or ():
        if not cited.get("cited_text"):
            continue
        places = {name: place for name, place in cited.items() if isinstance(place, int)}
        title = cited.get("title") or cited.get("document_title") or ""
        yield CitationBlock(
            cited_content=TextBlock(text=cited["cited_text"]),
            source=cited.get("source") or cited.get("url") or title,
            title=title,
            additional_location_info=places,
        )
