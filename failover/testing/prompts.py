"""Tokens of a prompt, and what of them a provider has in its prompt cache."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from failover.testing.replies import Question
from failover.testing.strict import tokens_of
from failover.testing.world import Tokens

MINIMUM_CACHED = 1024
"""Tokens; shorter prompts are not cached by any provider."""


class PromptCache:
    """What an earlier request began with in the same words comes from the cache.

    Anthropic caches up to the last cache point, and what is new there is written at its own price.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def count(self, body: Mapping[str, Any], question: Question) -> Tokens:
        """The tokens of this prompt, which is known from now on."""
        parts = prompt_parts(body)
        total = max(1, sum(tokens_of(part) for part in parts))
        writes = question.dialect == "anthropic"
        digests = list(_prefixes(question.model, _marked(parts) if writes else parts))
        if not digests or digests[-1][1] < MINIMUM_CACHED:
            return Tokens(total)
        with self._lock:
            known = max((size for digest, size in digests if digest in self._seen), default=0)
            self._seen.update(digest for digest, _ in digests)
        return Tokens(total, cached=known, written=digests[-1][1] - known if writes else 0)


def prompt_parts(body: Mapping[str, Any]) -> list[Any]:
    turns = body.get("messages") or body.get("input") or []
    first = [body.get("tools"), body.get("system"), body.get("instructions")]
    return [part for part in first if part] + (turns if isinstance(turns, list) else [turns])


def _marked(parts: list[Any]) -> list[Any]:
    """The prompt up to its last cache point."""
    marks = [number for number, part in enumerate(parts) if "'cache_control'" in repr(part)]
    return parts[: marks[-1] + 1] if marks else []


def _prefixes(model: str, parts: list[Any]) -> Iterator[tuple[str, int]]:
    """A digest of each beginning of the prompt, and its size in tokens."""
    digest, size = hashlib.sha256(model.encode()), 0
    for part in parts:
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        size += tokens_of(part)
        yield digest.hexdigest(), size
