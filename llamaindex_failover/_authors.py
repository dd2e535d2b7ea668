"""Who wrote which assistant turn.

A conversation stays with the model that wrote its last turn, and reasoning goes back only to the model it came from;
so an answer has to remember its author on its way through chat memories.  A LlamaIndex message has no place for that:
whatever stands in ``additional_kwargs`` is pasted into prompts (``messages_to_history_str``), and memories keep
nothing else.  Therefore:

- a block with room for it says it itself (``ThinkingBlock.additional_information``, the entries of
  ``additional_kwargs["tool_calls"]``), and survives storage and other processes;
- a turn of plain text is recognised by its text, among the last few thousand that this process produced.  A turn that
  is not recognised costs a provider's prompt cache, nothing else.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock

AUTHOR = "author"


class Authors:
    """The authors of the last ``size`` answers (default 4096).  Copies are the same object; a pickle is empty."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._known: dict[int, str] = {}
        self._lock = Lock()

    def remember(self, message: ChatMessage, author: str) -> None:
        key = _fingerprint(message)
        if key is None:
            return
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = author
            if len(self._known) > self._size:
                del self._known[next(iter(self._known))]

    def of(self, message: ChatMessage) -> str | None:
        if author := _signature(message):
            return author
        key = _fingerprint(message)
        return None if key is None else self._known.get(key)

    def __deepcopy__(self, memo: dict[int, Any]) -> Authors:
        return self

    def __reduce__(self) -> Any:
        return Authors, (self._size,)


def _fingerprint(message: ChatMessage) -> int | None:
    text = "".join(block.text for block in message.blocks if isinstance(block, TextBlock))
    return hash(text) if text else None


def _signature(message: ChatMessage) -> str | None:
    """The author that the message itself names."""
    for block in message.blocks:
        if isinstance(block, ThinkingBlock) and (author := block.additional_information.get(AUTHOR)):
            return str(author)
    for call in message.additional_kwargs.get("tool_calls") or ():
        if isinstance(call, dict) and (author := call.get(AUTHOR)):
            return str(author)
    return None
