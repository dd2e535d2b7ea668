"""LangChain's readers of a message's content (``content_blocks``), made to read ours whole.

LangChain chooses the reader by ``model_provider``.  Each knows the shape in which that provider's own integration
writes its messages, and misses what stands elsewhere: Anthropic's finds neither tool calls nor reasoning beside a
string.  Our messages have one shape, whoever answered, and LangChain's general reader finds everything in it.  So
messages that a ChatFailover wrote are given to that one, and all others to the reader that was there before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.block_translators import PROVIDER_TRANSLATORS, get_translator, register_translator

from langchain_failover._messages import ENTRY


@dataclass(frozen=True, slots=True)
class OursApart:
    """A provider's reader, which ours are kept from."""

    theirs: Callable[[Any], list[Any]]

    def __call__(self, message: AIMessage) -> list[Any]:
        notes = message.response_metadata
        if ENTRY not in notes:
            return self.theirs(message)
        anonymous = {key: value for key, value in notes.items() if key != "model_provider"}
        return message.model_copy(update={"response_metadata": anonymous}).content_blocks


def keep_apart(provider: str) -> None:
    """See to it that this provider's reader is not asked about messages of ours.  Doing it again changes nothing."""
    readers = get_translator(provider)
    if readers is None or isinstance(readers["translate_content"], OursApart):
        return
    whole, chunk = (OursApart(readers[name]) for name in ("translate_content", "translate_content_chunk"))
    register_translator(provider, whole, chunk)


for known in tuple(PROVIDER_TRANSLATORS):  # messages may be loaded and read before this process has made any
    keep_apart(known)
