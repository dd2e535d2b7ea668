"""What the rules of all dialects share: the request under judgement, signatures, and the size of a prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from failover.testing.strict.wording import Violation
from failover.testing.world import Card, DialectName, Row

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One request: who is asked (``row``), which model (``card``), and what was sent.

    ``headers`` has lower-case names; None: they are not judged.  ``key``: the only credential accepted, None: any.
    """

    dialect: DialectName
    row: Row
    card: Card
    body: Body
    headers: Mapping[str, str] | None = None
    key: str | None = None

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    def has(self, trait: str) -> bool:
        return trait in self.card.traits


Rule = Callable[[Case], Iterator[Violation]]


def refuse(message: str, rule: str, param: str | None = None, code: str | None = None, status: int = 400) -> Violation:
    return Violation(status, message, rule, code=code, param=param)


# -------------------------------------------------------------- signatures


def sign(model: str, text: str, conversation: str = "") -> str:
    """The signature of a thinking block, or the encrypted content of a reasoning item, that ``model`` wrote.

    ``conversation`` is ``opening(messages)`` for models whose thinking is bound to the conversation, else empty.
    """
    digest = hashlib.sha256(f"{model}\0{text}\0{conversation}".encode()).hexdigest()
    return f"Er{digest}{'c' if conversation else 'm'}=="


def signed(signature: Any, model: str, text: str, conversation: str) -> bool:
    """Whether ``model`` wrote this, in this conversation where the signature says so."""
    return signature in (sign(model, text), sign(model, text, conversation))


def opening(messages: Any) -> str:
    """What a conversation is recognised by: the text of its first user turn."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, Mapping) and message.get("role") == "user":
            return hashlib.sha256(text_of(message.get("content")).encode()).hexdigest()[:16]
    return "none"


def text_of(content: Any) -> str:
    """The text of a message's content, in any dialect."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


# -------------------------------------------------------------------- size

MEDIA_FIELDS = frozenset(("data", "file_data", "image_url", "url", "file_id", "signature", "encrypted_content"))
MEDIA_TOKENS = 800  # of one image or page: no provider counts its base64 as text


def tokens_of(value: Any) -> int:
    """Tokens of a prompt by the rule of thumb of four bytes each; media count ``MEDIA_TOKENS``."""
    return -(-_bytes_of(value) // 4)


def _bytes_of(value: Any) -> int:
    match value:
        case str():
            return len(value.encode("utf-8", "surrogatepass"))
        case Mapping():
            return sum(_field(name, item) for name, item in value.items())
        case list() | tuple():
            return sum(_bytes_of(item) for item in value)
        case None | bool():
            return 0
        case _:
            return len(json.dumps(value))


def _field(name: str, value: Any) -> int:
    if name in MEDIA_FIELDS:
        return MEDIA_TOKENS * 4
    return len(name.encode()) + _bytes_of(value)


# --------------------------------------------------------- what all refuse


def schema_name(name: Any) -> str:
    return name if isinstance(name, str) else "response"


def mentions_json(messages: Any) -> bool:
    """Whether the word ``json`` stands anywhere in the prompt."""
    return "json" in json.dumps(messages, ensure_ascii=False).lower()
