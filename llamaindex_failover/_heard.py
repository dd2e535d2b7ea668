"""What a LlamaIndex LLM answered, as failover's values.

Integrations differ in where they keep what they know (``raw`` may be a dict or an SDK's object; usage stands in
``raw``, in ``additional_kwargs`` of the response, or in those of its message), so each fact has a list of places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import ChatResponse

from failover._adopted import FINISH
from failover.attempter import Item
from failover.types import (
    Answer,
    Block,
    Chunk,
    Failure,
    Kind,
    Message,
    Outcome,
    Text,
    ToolCall,
    Usage,
)
from llamaindex_failover._messages import to_messages
from llamaindex_failover._results import text_of

INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count")
OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count")


def answer(response: ChatResponse, names: Mapping[str, str]) -> Outcome:
    """The answer as a value; ``names`` gives tools their own names back."""
    try:
        (turn,) = to_messages([response.message], lambda message: None)
    except ValueError as error:
        return Failure(Kind.MALFORMED, str(error), cause=error)
    return _judged(response, [_own(block, names) for block in turn.content])


def _judged(response: ChatResponse, blocks: list[Block]) -> Outcome:
    called = any(isinstance(block, ToolCall) for block in blocks)
    native = finish_of(response)
    reason = FINISH.get(native or "", "tool_calls" if called else "stop")
    said = called or any(not isinstance(block, Text) or block.text for block in blocks)
    if not said and reason == "stop":
        return Failure(Kind.EMPTY, "the model answered nothing")
    return Answer(
        Message("assistant", blocks),
        finish_reason=reason,
        native_finish_reason=native,
        usage=usage_of(response),
        model=str(_get(response.raw, "model") or ""),
        id=str(_get(response.raw, "id") or ""),
    )


def _own(block: Block, names: Mapping[str, str]) -> Block:
    """A call under its tool's own name, and with an id: some integrations give none."""
    if not isinstance(block, ToolCall):
        return block
    return replace(block, name=names.get(block.name, block.name), id=block.id or f"call_{uuid4().hex[:24]}")


# ------------------------------------------------------------------- facts


def _get(held: Any, name: str) -> Any:
    return held.get(name) if isinstance(held, Mapping) else getattr(held, name, None)


def finish_of(response: ChatResponse) -> str | None:
    choices = _get(response.raw, "choices")
    if choices:
        return _get(choices[0], "finish_reason")  # type: ignore[no-any-return]  # a string or None on every wire
    return _get(response.raw, "stop_reason") or response.message.additional_kwargs.get("stop_reason")


def _finishes(response: ChatResponse) -> bool:
    """Whether it comes from a wire that ends its streams with a reason."""
    return bool(_get(response.raw, "choices")) or "stop_reason" in response.message.additional_kwargs


def usage_of(response: ChatResponse) -> Usage | None:
    places = (
        _get(response.raw, "usage"),
        _get(response.raw, "usage_metadata"),
        response.additional_kwargs,
        response.message.additional_kwargs.get("usage"),
    )
    return next((usage for place in places if (usage := _usage(place)) is not None), None)


def _usage(told: Any) -> Usage | None:
    """Token counts; Anthropic's input leaves out what was read from or written to its cache, OpenAI's does not."""
    given, written = _first(told, INPUT), _first(told, OUTPUT)
    if given is None or written is None:
        return None
    read, kept = _get(told, "cache_read_input_tokens") or 0, _get(told, "cache_creation_input_tokens") or 0
    cached = _get(_get(told, "prompt_tokens_details"), "cached_tokens") or 0
    reasoned = _get(_get(told, "completion_tokens_details"), "reasoning_tokens") or 0
    return Usage(given + read + kept, written, read or cached, kept, reasoning_tokens=reasoned)


def _first(told: Any, names: tuple[str, ...]) -> int | None:
    return next((value for name in names if isinstance(value := _get(told, name), int)), None)


# ----------------------------------------------------------------- streams


class Heard:
    """What a streamed attempt has said so far.  The text is what came as deltas: the caller has seen it."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self._text: list[str] = []
        self._last: ChatResponse | None = None
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._should_finish = False

    def take(self, response: ChatResponse) -> Chunk:
        """New text or reasoning; tool calls are handed on when whole, at the end."""
        text, thought = self._delta(response), _thought(response)
        self._last = response
        self._usage = usage_of(response) or self._usage
        self._finish = finish_of(response) or self._finish
        self._should_finish = self._should_finish or _finishes(response)
        if text:
            self._text.append(text)
            return Chunk(text=text, index=1)
        return Chunk(reasoning=thought) if thought else Chunk()

    def says(self, response: ChatResponse) -> bool:
        """Whether there is anything in it, were it only a fragment of a call."""
        return bool(response.delta or _thought(response) or len(response.message.blocks) > 1)

    def ending(self) -> Iterator[Item]:
        outcome = self._outcome()
        if isinstance(outcome, Answer):
            blocks = [block for block in outcome.message.content if not isinstance(block, Text | ToolCall)]
            if blocks:
                yield Chunk(blocks=tuple(blocks))
            if outcome.message.tool_calls:
                yield Chunk(tool_calls=outcome.message.tool_calls, index=2)
        yield outcome

    def partial(self) -> Answer | None:
        outcome = self._whole()
        return outcome if isinstance(outcome, Answer) else None

    def _outcome(self) -> Outcome:
        if self._should_finish and self._finish is None:
            return Failure(Kind.CUT, "the stream ended without a finish reason", partial=self.partial())
        return self._whole()

    def _whole(self) -> Outcome:
        if self._last is None:
            return Failure(Kind.EMPTY, "the stream ended without a response")
        outcome = answer(self._last, self.names)
        if isinstance(outcome, Answer):
            return self._with_all(outcome)
        told = self._with_all(Answer(Message("assistant")))
        if outcome.kind is Kind.EMPTY:  # the last response may be, without the stream being so
            return told
        return replace(outcome, partial=told if isinstance(told, Answer) else None)

    def _with_all(self, last: Answer) -> Outcome:
        """The last response, with what only earlier ones said."""
        blocks = _with_text(last.message.content, "".join(self._text))
        if not blocks:
            return Failure(Kind.EMPTY, "the model answered nothing")
        called = any(isinstance(block, ToolCall) for block in blocks)
        reason = FINISH.get(self._finish or "", "tool_calls" if called else "stop")
        return replace(
            last,
            message=Message("assistant", blocks),
            usage=self._usage,
            finish_reason=reason,
            native_finish_reason=self._finish,
        )

    def _delta(self, response: ChatResponse) -> str:
        if response.delta is not None:
            return response.delta
        said, whole = "".join(self._text), text_of(response.message)
        return whole[len(said) :] if whole.startswith(said) else ""


def _thought(response: ChatResponse) -> str:
    for facts in (response.additional_kwargs, response.message.additional_kwargs):
        if thought := facts.get("thinking_delta"):
            return str(thought)
    return ""


def _with_text(blocks: tuple[Block, ...], text: str) -> list[Block]:
    """The blocks with ``text`` as their only text, where their first one stood, else before the calls."""
    others: list[Block] = [block for block in blocks if not isinstance(block, Text)]
    if not text:
        return others
    place = next((index for index, block in enumerate(blocks) if isinstance(block, Text | ToolCall)), len(others))
    return [*others[:place], Text(text), *others[place:]]
