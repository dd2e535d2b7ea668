"""Answers and streams, as LangChain has them.

Two shapes, told by the model's ``output_version``:

- v0 (LangChain's default): ``content`` is a string, whoever answered; reasoning is beside it, in
  ``additional_kwargs["reasoning_content"]``.  Only an answer that holds media is a list of standard blocks.
- v1: ``content`` is always the list of LangChain's standard blocks, reasoning and tool calls among them.

Both keep what replay needs (see ``_kept``), both say who answered (``response_metadata``: ``model_name``,
``model_provider``, ``finish_reason`` and our own ``failover`` entry), and both leave the message's id to LangChain:
a cached answer must never carry the id of an earlier message, which LangGraph would replace.

Who really answered is also said where tracers look for it: LangSmith, which is told the first target when the run
starts, in ``generation_info`` (as of langchain-core 1.7, as by LangChain's own gateway), Langfuse in ``llm_output``.

A stream is translated chunk by chunk by a ``Pieces`` of its own; usage, metadata and ``chunk_position`` ride on its
last chunk only.  Usage of a cached answer is shown as LangChain's own cache shows it: the tokens stand, with
``total_cost`` 0.  A cost above 0 is in the ``failover`` entry and not in ``usage_metadata``, because langchain-core
adds usages up as integers and fails on anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall
from langchain_core.messages import ToolCall as LangChainCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tracers import core as tracing

from failover.types import Block, Chunk, Media, Response, Step, Text, Thinking, ToolCall, Usage
from langchain_failover._kept import BROKEN, KEY, keep
from langchain_failover._messages import ENTRY
from langchain_failover._readers import keep_apart

ORIGIN = "failover_origin"
"""Where an answer keeps what a LangChain model that served as a target had returned (``Answer.extra``, and here)."""

RESOLVED = getattr(tracing, "GATEWAY_METADATA_RESPONSE_KEY", None)
"""Where LangChain's tracers read who was chosen to answer; None before langchain-core 1.7, whose tracers do not."""

PASSED_ON = ("logprobs", "system_fingerprint", "service_tier")
"""What a provider said besides that LangChain's own integrations show as well."""

Content = str | list[str | dict[Any, Any]]


# ---------------------------------------------------------- whole answers


def result_of(response: Response, version: str | None) -> ChatResult:
    """The answer as the one generation of a ``ChatResult``."""
    generation = ChatGeneration(message=_message(response, version), generation_info=_resolved(response))
    return ChatResult(generations=[generation], llm_output={"model_name": _model_name(response)})


def _message(response: Response, version: str | None) -> AIMessage:
    keep_apart(response.provider)
    calls, broken = parsed_calls(response.tool_calls)
    return AIMessage(
        content=_v1_content(response) if version == "v1" else _v0_content(response),
        additional_kwargs={**_beside(response, version), **_kept(response)},
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=usage_of(response),
        response_metadata=metadata_of(response, version),
    )


def _v0_content(response: Response) -> Content:
    blocks = response.answer.message.content
    if not any(isinstance(block, Media) for block in blocks):
        return response.content
    return [part for block in blocks if isinstance(block, Text | Media) for part in standard(block)]


def _v1_content(response: Response) -> Content:
    return [part for block in response.answer.message.content for part in standard(block)]


def _beside(response: Response, version: str | None) -> dict[str, Any]:
    shown = version != "v1" and response.reasoning
    return {"reasoning_content": response.reasoning} if shown else {}


def _kept(response: Response) -> dict[str, Any]:
    records = keep(response.answer.message.content)
    origin = response.answer.extra.get(ORIGIN)
    return {**({KEY: records} if records else {}), **({ORIGIN: origin} if origin else {})}


def parsed_calls(calls: Sequence[ToolCall]) -> tuple[list[LangChainCall], list[InvalidToolCall]]:
    """Calls whose arguments are a JSON object, and the others with what is wrong with them."""
    good: list[LangChainCall] = []
    broken: list[InvalidToolCall] = []
    for call in calls:
        raw = {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        try:
            parsed: Any = parse_tool_call(raw)
        except OutputParserException as error:
            broken.append(make_invalid_tool_call(raw, str(error)))
            continue
        if isinstance(parsed["args"], dict):
            good.append(parsed)
        else:
            broken.append(make_invalid_tool_call(raw, "the arguments are not a JSON object"))
    return good, broken


# -------------------------------------------------------- standard blocks


def standard(block: Block) -> Iterator[dict[Any, Any]]:
    """LangChain's standard (v1) block for one of ours."""
    match block:
        case Text(text=text, extra=extra):
            yield {"type": "text", "text": text, **_annotated(extra)}
        case Thinking(redacted=str(data)):
            yield {"type": "non_standard", "value": {"type": "redacted_thinking", "data": data}}
        case Thinking(text="", signature=None) if (foreign := _vendors_own(block)) is not None:
            yield {"type": "non_standard", "value": foreign}
        case Thinking(text=text):
            yield {"type": "reasoning", "reasoning": text, **_extras(block)}
        case ToolCall():
            yield _call_block(block)
        case Media():
            yield _media_block(block)


def _annotated(extra: Mapping[str, Any]) -> dict[str, Any]:
    found = [_annotation(item) for key in ("annotations", "citations") for item in extra.get(key) or ()]
    return {"annotations": found} if found else {}


def _annotation(item: Mapping[str, Any]) -> dict[str, Any]:
    """A citation with a quotation or an address is a standard one; whatever else it says is kept in ``extras``."""
    flat = {**item, **(item.get("url_citation") or {})}
    title = flat.get("title") or flat.get("document_title")
    known = {key: flat[key] for key in ("url", "cited_text", "start_index", "end_index") if flat.get(key) is not None}
    if not (known.keys() & {"url", "cited_text"}):
        return {"type": "non_standard_annotation", "value": dict(item)}
    named = {"title": title} if title else {}
    return {"type": "citation", **known, **named, "extras": dict(item)}


def _extras(block: Thinking) -> dict[str, Any]:
    extras = {**block.extra, **({"signature": block.signature} if block.signature else {})}
    return {"extras": extras} if extras else {}


def _vendors_own(block: Thinking) -> dict[str, Any] | None:
    """A whole block of the vendor's own that a dialect keeps: a server-side tool and its result."""
    return next((dict(held) for held in block.extra.values() if isinstance(held, Mapping) and "type" in held), None)


def _call_block(call: ToolCall) -> dict[str, Any]:
    good, broken = parsed_calls((call,))
    if good:
        return {**good[0], "type": "tool_call"}
    return {**broken[0], "type": "invalid_tool_call"}


def _media_block(media: Media) -> dict[str, Any]:
    kind = "file" if media.kind == "document" else media.kind
    held = {"base64": media.data, "url": media.url, "file_id": media.file_id, "mime_type": media.mime_type}
    named = {"extras": {"filename": media.name}} if media.name else {}
    return {"type": kind, **{key: value for key, value in held.items() if value}, **named}


# --------------------------------------------------- who, how, and at what cost


def usage_of(response: Response) -> UsageMetadata | None:
    """Tokens as LangChain counts them; None where the provider reported none."""
    usage = response.answer.usage
    if usage is None:
        return None
    counted = UsageMetadata(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
    )
    if details := _input_details(usage):
        counted["input_token_details"] = details
    if spent := _output_details(usage):
        counted["output_token_details"] = spent
    if response.cached:
        counted["total_cost"] = 0  # type: ignore[typeddict-unknown-key]  # LangSmith's own key, as langchain-core sets it
    return counted


def _input_details(usage: Usage) -> InputTokenDetails:
    details = InputTokenDetails(
        cache_read=usage.cache_read_tokens, cache_creation=usage.cache_write_tokens, audio=usage.audio_input_tokens
    )
    return cast("InputTokenDetails", {key: value for key, value in details.items() if value})


def _output_details(usage: Usage) -> OutputTokenDetails:
    details = OutputTokenDetails(reasoning=usage.reasoning_tokens, audio=usage.audio_output_tokens)
    return cast("OutputTokenDetails", {key: value for key, value in details.items() if value})


def metadata_of(response: Response, version: str | None) -> dict[str, Any]:
    """Who answered and how it went; our own part under ``failover``."""
    answer = response.answer
    said = {key: answer.extra[key] for key in PASSED_ON if answer.extra.get(key)}
    shape = {"output_version": "v1"} if version == "v1" else {}
    return {
        "model_name": _model_name(response),
        "model_provider": response.provider,
        "finish_reason": response.finish_reason,
        **({"id": answer.id} if answer.id else {}),
        **said,
        **shape,
        ENTRY: entry_of(response),
    }


def _model_name(response: Response) -> str:
    return response.model or response.author.partition(":")[2]


def _resolved(response: Response) -> dict[str, Any] | None:
    return {RESOLVED: {"provider": response.provider, "model": _model_name(response)}} if RESOLVED else None


def entry_of(response: Response) -> dict[str, Any]:
    """``cost`` is in US dollars, times are seconds since the call began."""
    return {
        "target": response.target,
        "provider": response.provider,
        "author": response.author,
        "cached": response.cached,
        "cost": float(response.cost),
        "cost_estimated": response.cost_estimated,
        "latency": response.latency,
        "native_finish_reason": response.answer.native_finish_reason,
        "resumed": list(response.resumed),
        "capped": response.capped,
        "attempts": [_step(step) for step in response.trail],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "target": step.target,
        "reason": step.reason,
        "detail": step.detail,
        "status": step.status,
        "started": step.started,
        "duration": step.duration,
        "sent": step.sent,
    }


# ---------------------------------------------------------------- streams


class Pieces(Protocol):
    """Translates the chunks of one stream, in order."""

    def translate(self, chunk: Chunk) -> ChatGenerationChunk: ...


def pieces(version: str | None) -> Pieces:
    return StandardPieces() if version == "v1" else PlainPieces()


_SORTS: Mapping[type, str] = {Text: "text", Thinking: "reasoning"}


class _Seen:
    """Which blocks were already shown piece by piece, so that a finished block is not shown twice.

    A block is told by its sort and the number it has in the answer; LangChain gets numbers of our own, in the order
    in which blocks appear, because a resumed stream begins its numbers anew.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}

    def __contains__(self, block: tuple[str, int]) -> bool:
        return block in self._numbers

    def number(self, sort: str, index: int) -> int:
        return self._numbers.setdefault((sort, index), len(self._numbers))

    def fresh(self) -> int:
        return self.number("", len(self._numbers))


def _chunk(content: Content, **parts: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=content, **parts))


def _last(content: Content, response: Response, version: str | None) -> ChatGenerationChunk:
    keep_apart(response.provider)
    message = AIMessageChunk(
        content=content,
        additional_kwargs=_kept(response),
        usage_metadata=usage_of(response),
        response_metadata=metadata_of(response, version),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info=_resolved(response))


def _call_chunk(call: ToolCall, number: int) -> Any:
    """LangChain reads chunks leniently: of ``{"path": "/ho`` it would make a call.  The mark keeps it from that."""
    good, _ = parsed_calls((call,))
    args = call.arguments or "{}" if good else BROKEN + call.arguments
    return tool_call_chunk(name=call.name, args=args, id=call.id, index=number)


class PlainPieces:
    """v0: text as strings, reasoning beside it, media as standard blocks."""

    def __init__(self) -> None:
        self._seen = _Seen()

    def translate(self, chunk: Chunk) -> ChatGenerationChunk:
        if chunk.response is not None:
            return _last("", chunk.response, None)
        if chunk.tool_calls:
            calls = [_call_chunk(call, self._seen.fresh()) for call in chunk.tool_calls]
            return _chunk("", tool_call_chunks=calls)
        return self._said(chunk)

    def _said(self, chunk: Chunk) -> ChatGenerationChunk:
        finished = self._finished(chunk)
        reasoning = chunk.reasoning + "".join(b.text for b in finished if isinstance(b, Thinking))
        text = chunk.text + "".join(b.text for b in finished if isinstance(b, Text))
        media: list[str | dict[Any, Any]] = [p for b in finished if isinstance(b, Media) for p in standard(b)]
        self._note(chunk)
        beside = {"reasoning_content": reasoning} if reasoning else {}
        return _chunk(media or text, additional_kwargs=beside)

    def _note(self, chunk: Chunk) -> None:
        for sort in ("text", "reasoning"):
            if getattr(chunk, sort):
                self._seen.number(sort, chunk.index)

    def _finished(self, chunk: Chunk) -> list[Block]:
        """Finished blocks whose text was not already shown."""
        return [block for block in chunk.blocks if (_SORTS.get(type(block), ""), chunk.index) not in self._seen]


class StandardPieces:
    """v1: every chunk holds standard blocks, each with its ``index``."""

    def __init__(self) -> None:
        self._seen = _Seen()

    def translate(self, chunk: Chunk) -> ChatGenerationChunk:
        if chunk.response is not None:
            return _last([], chunk.response, "v1")
        if chunk.tool_calls:
            return self._calls(chunk.tool_calls)
        return self._shown(list(self._parts(chunk)))

    def _shown(self, parts: list[str | dict[Any, Any]], **more: Any) -> ChatGenerationChunk:
        return _chunk(parts, response_metadata={"output_version": "v1"}, **more)

    def _calls(self, calls: Sequence[ToolCall]) -> ChatGenerationChunk:
        chunks = [_call_chunk(call, self._seen.fresh()) for call in calls]
        return self._shown([dict(chunk) for chunk in chunks], tool_call_chunks=chunks)

    def _parts(self, chunk: Chunk) -> Iterator[dict[Any, Any]]:
        for block in chunk.blocks:  # beside text, they were held back until it came
            yield from self._finished(block, chunk.index)
        if chunk.text:
            yield {"type": "text", "text": chunk.text, "index": self._seen.number("text", chunk.index)}
        if chunk.reasoning:
            number = self._seen.number("reasoning", chunk.index)
            yield {"type": "reasoning", "reasoning": chunk.reasoning, "index": number}

    def _finished(self, block: Block, index: int) -> Iterator[dict[Any, Any]]:
        """A finished block; of one that was shown already only what is new (signature, citations)."""
        sort = _SORTS.get(type(block), "")
        again = (sort, index) in self._seen
        number = self._seen.number(sort, index) if sort else self._seen.fresh()
        for part in standard(block):
            yield {**part, **({sort: ""} if again and sort in part else {}), "index": number}
