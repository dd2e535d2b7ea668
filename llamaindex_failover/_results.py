"""Failover's answers as LlamaIndex's: whole, and as a stream of snapshots.

A stream's items are independent of each other: each holds the message so far, built anew, because chat engines and
agents keep and change what they are given.  ``delta`` is always a string.  The last item carries what is known only
at the end: ``raw`` with the usage, token counts, and ``additional_kwargs["failover"]``, which says who answered.

Token counts stand where LlamaIndex's readers look for them: ``raw["usage"]`` (``TokenCountingHandler`` and tracing)
and ``additional_kwargs``.  Where the provider reported none they are left out, so that readers make their own
estimate instead of believing a zero.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LogProb, TextBlock

from failover.types import Block, Chunk, Message, Response, Text, Thinking, Usage
from llamaindex_failover._messages import to_chat_message


def to_chat_response(response: Response) -> ChatResponse:
    return ChatResponse(
        message=to_chat_message(response.message),
        raw=_raw(response),
        logprobs=_logprobs(response.answer.extra.get("logprobs")),
        additional_kwargs={**_counts(response.answer.usage), "failover": _account(response)},
    )


def to_completion(chat: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=text_of(chat.message),
        delta=chat.delta,
        raw=chat.raw,
        logprobs=chat.logprobs,
        additional_kwargs=chat.additional_kwargs,
    )


def text_of(message: ChatMessage) -> str:
    """The text as it was streamed (``message.content`` puts line breaks where a thought or a call lies between)."""
    return "".join(block.text for block in message.blocks if isinstance(block, TextBlock))


class Snapshots:
    """The chunks of one stream as snapshots of the message so far."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def feed(self, chunk: Chunk) -> ChatResponse:
        if chunk.response is not None:
            last = to_chat_response(chunk.response)
            last.delta = ""
            return last
        self._add(chunk)
        thought = {"thinking_delta": chunk.reasoning} if chunk.reasoning else {}
        return ChatResponse(
            message=to_chat_message(Message("assistant", self._blocks)), delta=chunk.text, additional_kwargs=thought
        )

    def _add(self, chunk: Chunk) -> None:
        if chunk.text:
            self._grow(Text(chunk.text))
        if chunk.reasoning:
            self._grow(Thinking(chunk.reasoning))
        for block in chunk.blocks:
            self._finish(block)
        self._blocks.extend(chunk.tool_calls)

    def _grow(self, piece: Text | Thinking) -> None:
        match self._blocks[-1:], piece:
            case [Text() as last], Text():
                self._blocks[-1] = Text(last.text + piece.text)
            case [Thinking(signature=None, redacted=None) as last], Thinking():
                self._blocks[-1] = Thinking(last.text + piece.text)
            case _:
                self._blocks.append(piece)

    def _finish(self, block: Block) -> None:
        """A finished block takes the place of the pieces it was made of."""
        match self._blocks[-1:], block:
            case [Thinking(signature=None, redacted=None) as last], Thinking() if block.text in ("", last.text):
                self._blocks[-1] = Thinking(last.text, block.signature, block.redacted, block.extra)
            case [Text() as last], Text() if block.text in ("", last.text):
                self._blocks[-1] = Text(last.text, extra=block.extra)
            case _:
                self._blocks.append(block)


# ----------------------------------------------------------- the last item


def _raw(response: Response) -> dict[str, Any]:
    """The answer as plain data, in the shape of OpenAI's, which LlamaIndex's tracing reads."""
    answer = response.answer
    raw: dict[str, Any] = {
        "id": answer.id,
        "model": answer.model,
        "provider": response.provider,
        "finish_reason": answer.finish_reason,
        "native_finish_reason": answer.native_finish_reason,
        **answer.extra,
    }
    return {**raw, "usage": _usage(answer.usage)} if answer.usage is not None else raw


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        **_counts(usage),
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _counts(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _account(response: Response) -> dict[str, Any]:
    """Who answered and what it took, as plain data.  ``cost`` in US dollars, ``latency`` in seconds."""
    return {
        "target": response.target,
        "author": response.author,
        "attempts": sum(step.sent for step in response.trail),
        "trail": [str(step) for step in response.trail],
        "cached": response.cached,
        "resumed": list(response.resumed),
        "cost": float(response.cost),
        "latency": response.latency,
    }


def _logprobs(said: Any) -> list[list[LogProb]] | None:
    """OpenAI's token log-probabilities: for each token the likeliest ones, or the token itself."""
    tokens = said.get("content") if isinstance(said, dict) else said
    if not tokens:
        return None
    return [[_logprob(each) for each in token.get("top_logprobs") or (token,)] for token in tokens]


def _logprob(token: dict[str, Any]) -> LogProb:
    return LogProb(token=token["token"], logprob=token["logprob"], bytes=token.get("bytes") or [])
