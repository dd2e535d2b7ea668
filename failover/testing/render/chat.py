"""OpenAI Chat Completions as its providers send it, whole and streamed.

``HABITS`` says how a provider's answers differ from OpenAI's: when usage comes, whether tool calls come whole, what
stands in the first chunk, whether ``[DONE]`` ends a stream, and what else is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from failover.testing.render.event import Event
from failover.testing.replies import Question, Spoken, ToolUse, count, words
from failover.testing.strict import sign
from failover.testing.world import Tokens
from failover.types import FinishReason

Json = dict[str, Any]

FINISHES: Mapping[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "context_window": "length",
    "pause": "stop",
    "other": "insufficient_system_resource",
}


# ------------------------------------------------------------------- usage


def _usage(used: Tokens) -> Json:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {
            "cached_tokens": used.cached,
            "cache_write_tokens": used.written,
            "audio_tokens": used.audio_in,
        },
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": used.audio_out,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _plain_usage(used: Tokens) -> Json:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
    }


def _deepseek_usage(used: Tokens) -> Json:
    return {
        **_plain_usage(used),
        "prompt_cache_hit_tokens": used.cached,
        "prompt_cache_miss_tokens": used.input - used.cached,
        "prompt_tokens_details": {"cached_tokens": used.cached},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def _groq_usage(used: Tokens) -> Json:
    times = {"queue_time": 0.001, "prompt_time": 0.002, "completion_time": 0.01, "total_time": 0.012}
    details = {"completion_tokens_details": {"reasoning_tokens": used.reasoning}}
    return {**_plain_usage(used), **times, **details, "prompt_tokens_details": {"cached_tokens": used.cached}}


# ------------------------------------------------------------------ habits


@dataclass(frozen=True, slots=True)
class Habits:
    """How one provider's Chat Completions look.

    usage_when: ``asked`` sends a chunk of its own if the client asked; ``always`` sends it in any case;
    ``finish`` puts it into the last chunk, and ``never`` is for servers that do not report it in streams.
    ids: how a tool call's id is made from a bare name.
    """

    usage: Callable[[Tokens], Json] = _usage
    usage_when: Literal["asked", "always", "finish", "never"] = "asked"
    whole_calls: bool = False
    done: bool = True
    azure_first: bool = False
    groq: bool = False
    router: bool = False
    thought_signatures: bool = False
    ids: Callable[[str], str] = lambda name: f"call_{name[:24]}"


HABITS: Mapping[str, Habits] = {
    "azure": Habits(azure_first=True),
    "deepseek": Habits(_deepseek_usage, "finish", ids=lambda name: f"call_00_{name[:20]}"),
    "groq": Habits(_groq_usage, groq=True, whole_calls=True, ids=lambda name: f"{name[:9]}"),
    "openrouter": Habits(usage_when="always", router=True),
    "mistral": Habits(_plain_usage, "finish", whole_calls=True, ids=lambda name: name[:9]),
    "gemini": Habits(_plain_usage, whole_calls=True, thought_signatures=True, ids=lambda name: f"function-call-{name}"),
    "ollama": Habits(_plain_usage, whole_calls=True, ids=lambda name: f"call_{name[:8]}"),
    "vllm": Habits(_plain_usage, ids=lambda name: f"chatcmpl-tool-{name:0<32}"),
    "transformers": Habits(_plain_usage, "never", done=False),
}


def habits(question: Question) -> Habits:
    return HABITS.get(question.row.name, Habits())


# ------------------------------------------------------------------- whole


def whole(said: Spoken, question: Question) -> Json:
    """The answer as one body."""
    choice: Json = {
        "index": 0,
        "message": _message(said, question),
        "logprobs": None,
        "finish_reason": FINISHES[said.finish],
    }
    body = {**_frame(said, question, "chat.completion"), "choices": [choice]}
    body["usage"] = _billed(said.usage, question)
    if habits(question).groq:
        body["x_groq"] = {"id": f"req_{said.id[:20]}"}
    return body


def _frame(said: Spoken, question: Question, kind: str) -> Json:
    frame: Json = {
        "id": f"{'gen' if habits(question).router else 'chatcmpl'}-{said.id}",
        "object": kind,
        "created": 1_795_000_000,
        "model": said.model,
        "system_fingerprint": "fp_scripted",
    }
    return frame | ({"provider": "Scripted"} if habits(question).router else {"service_tier": "default"})


def _billed(used: Tokens, question: Question) -> Json:
    shown = habits(question).usage(used)
    if not habits(question).router:
        return shown
    cost = float(question.card.cost(used, 0.0))
    return {**shown, "cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


def _message(said: Spoken, question: Question) -> Json:
    message: Json = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning and _shows(question):
        message |= _reasoning(said.reasoning, question)
    if said.tools:
        message["tool_calls"] = [_call(tool, number, said, question) for number, tool in enumerate(said.tools)]
    return message


def _shows(question: Question) -> bool:
    return question.shows_reasoning and question.row.reasoning is not None


def _reasoning(text: str, question: Question) -> Json:
    shown: Json = {question.row.reasoning or "reasoning": text}
    if habits(question).router:
        shown["reasoning_details"] = [{"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}]
    return shown


def _call(tool: ToolUse, number: int, said: Spoken, question: Question) -> Json:
    call: Json = {
        "id": tool.id if tool.id is not None else habits(question).ids(f"{number}{said.id[::-1]}"),
        "type": "function",
        "function": {"name": tool.name, "arguments": tool.json},
    }
    if habits(question).thought_signatures and number == 0:
        call["extra_content"] = {"google": {"thought_signature": sign(question.model, tool.name + tool.json)}}
    return call


# ------------------------------------------------------------------ stream


def events(said: Spoken, question: Question) -> Iterator[Event]:
    """The answer as a stream of chunks."""
    manner = habits(question)
    if manner.azure_first:
        first = {**_frame(said, question, "chat.completion.chunk"), "choices": [], "prompt_filter_results": []}
        yield Event("open", first)
    hidden = 0 if _shows(question) else said.usage.reasoning
    yield _chunk("open", said, question, {"role": "assistant", "content": ""}, tokens=hidden)
    yield from _said(said, question)
    last = _chunk("finish", said, question, {}, FINISHES[said.finish])
    if manner.usage_when == "finish" and not question.include_usage:
        last.data["usage"] = _billed(said.usage, question)
    if manner.groq:
        last.data["x_groq"] = {"id": f"req_{said.id[:20]}", "usage": _billed(said.usage, question)}
    yield last
    if manner.usage_when == "always" or (manner.usage_when != "never" and question.include_usage):
        data = {**_frame(said, question, "chat.completion.chunk"), "choices": []}
        yield Event("usage", {**data, "usage": _billed(said.usage, question)})
    if manner.done:
        yield Event("end", "[DONE]")


def _said(said: Spoken, question: Question) -> Iterator[Event]:
    for thought in said.thoughts if _shows(question) else ():
        yield _chunk("content", said, question, _reasoning(thought, question), tokens=count(thought))
    for piece in said.pieces:
        yield _chunk("content", said, question, {"content": piece}, tokens=count(piece))
    for piece in words(said.refusal or ""):
        yield _chunk("content", said, question, {"refusal": piece}, tokens=count(piece))
    for number, tool in enumerate(said.tools):
        yield from _fragments(number, tool, said, question)


def _fragments(number: int, tool: ToolUse, said: Spoken, question: Question) -> Iterator[Event]:
    call = {"index": number, **_call(tool, number, said, question)}
    if habits(question).whole_calls:
        yield _chunk("content", said, question, {"tool_calls": [call]}, tokens=count(tool.json))
        return
    head = {**call, "function": {"name": tool.name, "arguments": ""}}
    yield _chunk("content", said, question, {"tool_calls": [head]})
    pieces = words(tool.json)
    share = -(-count(tool.json) // max(1, len(pieces)))
    left = count(tool.json)
    for piece in pieces:
        delta = {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
        yield _chunk("content", said, question, delta, tokens=min(share, left))
        left -= min(share, left)


def _chunk(
    kind: Literal["open", "content", "finish"],
    said: Spoken,
    question: Question,
    delta: Json,
    finish: str | None = None,
    tokens: int = 0,
) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    data = {**_frame(said, question, "chat.completion.chunk"), "choices": [choice]}
    if question.include_usage and habits(question).usage_when == "asked":
        data["usage"] = None
    return Event(kind, data, tokens=tokens)
