"""What is sent to OpenAI Responses.

A conversation is a list of items, not of turns: a message, a call, a call's result and a piece of reasoning are an
item each.  Nothing is stored at the provider (``store`` is false), so reasoning comes and goes sealed
(``encrypted_content``).  Items of a turn keep their ids only beside its reasoning: the provider checks that an item
with a known id comes together with the reasoning that led to it, and takes items without ids as they are.
Leading system text is ``instructions``; later system text stays where it was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from failover.dialects.base import Model
from failover.dialects.body import given
from failover.dialects.media import data_url
from failover.dialects.params import Thought, plain, thought, unforced
from failover.dialects.replay import ReplayRules, wire_name
from failover.dialects.schemas import ONLY_JSON, in_words
from failover.types import JsonFormat, Media, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult

Item = dict[str, Any]

OPAQUE = "responses_item"
LEAST_OUTPUT = 16
"""``max_output_tokens`` below it are refused."""
QUIRKS: Mapping[str, Any] = {
    "rename": {"max_tokens": "max_output_tokens"},
    "refuses": frozenset(("stop", "seed", "top_k", "presence_penalty", "frequency_penalty")),
}
"""What any server that speaks this wire takes, in the terms of ``providers``."""
UNKNOWN_AT: Mapping[str, tuple[str, ...]] = {"groq": ("store", "include")}
"""Members that some servers of this wire refuse."""


def body(request: Request, model: Model, turns: Sequence[Message], rules: ReplayRules, notes: list[str]) -> Item:
    thinking = thought(request, model, notes)
    choice, thinking = unforced(request, model, thinking, notes)
    parameters = _parameters(request, model, thinking.thinks, notes)
    include = _included(parameters.pop("logprobs", None), thinking.thinks)
    instructions, later = _instructions(turns)
    items = [item for turn in later for item in _items(turn)]
    optional = {
        "instructions": instructions,
        "include": include,
        "reasoning": _reasoning(request, model, thinking, notes),
        "text": _text_format(request.response_format, model, rules, items),
        "tools": [_tool(tool, rules) for tool in request.tools],
        "tool_choice": _choice(choice, rules) if request.tools else None,
    }
    filled = {name: value for name, value in optional.items() if value}
    whole = {"model": model.id, "input": items, "store": False} | filled | parameters
    return {name: value for name, value in whole.items() if name not in UNKNOWN_AT.get(model.provider.name, ())}


# -------------------------------------------------------------- parameters


def _parameters(request: Request, model: Model, thinks: bool, notes: list[str]) -> Item:
    wired = replace(model, provider=replace(model.provider, quirks=QUIRKS))
    taken = plain(request, wired, thinks, notes)
    cap = taken.get("max_output_tokens", LEAST_OUTPUT)
    if cap < LEAST_OUTPUT:
        notes.append(f"max_tokens {cap} became {LEAST_OUTPUT}")
        taken["max_output_tokens"] = LEAST_OUTPUT
    return taken


def _included(logprobs: Any, thinks: bool) -> list[str]:
    """Models that do not think refuse to be asked for sealed reasoning."""
    sealed = ["reasoning.encrypted_content"] if thinks else []
    return sealed + (["message.output_text.logprobs"] if logprobs else [])


def _reasoning(request: Request, model: Model, thinking: Thought, notes: list[str]) -> Item:
    shown = given(request.thinking or {}, ("summary", "context", "mode"))
    if shown and model.facts.efforts == ():
        notes.append(f"thinking dropped: {model.id} does not think")
        return {}
    return shown if thinking.effort is None else shown | {"effort": thinking.effort}


def _text_format(wanted: JsonFormat | None, model: Model, rules: ReplayRules, items: list[Item]) -> Item | None:
    """``json_object`` is refused unless the prompt says "JSON", so the prompt is made to."""
    if wanted is None:
        return None
    if wanted.schema is None or not model.facts.json_schema:
        items.insert(0, _said("developer", in_words(wanted) if wanted.schema else ONLY_JSON))
        return {"format": {"type": "json_object"}}
    shape = {"type": "json_schema", "name": wire_name(wanted.name, rules), "schema": wanted.schema}
    described = {"description": wanted.description} if wanted.description else {}
    return {"format": shape | {"strict": bool(wanted.strict)} | described}


def _tool(tool: Tool, rules: ReplayRules) -> Item:
    """``strict`` is always said: here, unlike elsewhere, it is on by default."""
    if tool.native is not None:
        return dict(tool.native)
    schema = {"type": "object", "properties": {}} | dict(tool.parameters)
    described = {"description": tool.description} if tool.description else {}
    named = {"type": "function", "name": wire_name(tool.name, rules)}
    return named | described | {"parameters": schema, "strict": bool(tool.strict)}


def _choice(choice: str | None, rules: ReplayRules) -> str | Item | None:
    if choice in (None, "auto", "none", "required"):
        return choice
    return {"type": "function", "name": wire_name(choice, rules)}


# ------------------------------------------------------------------- items


def _instructions(turns: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """Leading system text and the turns after it; system text stays an item where there is nothing else."""
    first = next((at for at, turn in enumerate(turns) if turn.role != "system"), 0)
    return "\n\n".join(turn.text for turn in turns[:first]), turns[first:]


def _items(turn: Message) -> Iterator[Item]:
    match turn.role:
        case "assistant":
            yield from _assistant_items(turn)
        case "tool":
            yield from (_output(block) for block in turn.content if isinstance(block, ToolResult))
        case "system":
            yield _said("system", turn.text)
        case _:
            yield {"type": "message", "role": "user", "content": _parts(turn.content)}


def _said(role: str, text: str) -> Item:
    return {"type": "message", "role": role, "content": text}


def _assistant_items(turn: Message) -> Iterator[Item]:
    known = any(isinstance(block, Thinking) and block.extra.get("id") for block in turn.content)
    texts: list[Text] = []
    for block in turn.content:
        if texts and (not isinstance(block, Text) or block.extra.get("id") != texts[0].extra.get("id")):
            yield _message(texts, known)
            texts = []
        match block:
            case Text():
                texts.append(block)
            case Thinking():
                yield from _reasoning_item(block)
            case ToolCall():
                yield _call(block, known)
    if texts:
        yield _message(texts, known)


def _message(texts: Sequence[Text], known: bool) -> Item:
    phase = given(texts[0].extra, ("phase",))
    if not (known and texts[0].extra.get("id")):
        return _said("assistant", "".join(text.text for text in texts)) | phase
    content = [_output_part(text) for text in texts]
    message = {"type": "message", "id": texts[0].extra["id"], "role": "assistant", "status": "completed"}
    return message | {"content": content} | phase


def _output_part(text: Text) -> Item:
    if text.extra.get("refusal"):
        return {"type": "refusal", "refusal": text.text}
    return {"type": "output_text", "text": text.text, "annotations": text.extra.get("annotations", [])}


def _reasoning_item(block: Thinking) -> Iterator[Item]:
    if OPAQUE in block.extra:
        yield dict(block.extra[OPAQUE])
    elif block.extra.get("id"):
        shown = [{"type": "summary_text", "text": block.text}] if block.text and "content" not in block.extra else []
        item = {"type": "reasoning", "id": block.extra["id"], "summary": block.extra.get("summary", shown)}
        yield item | given(block.extra, ("content",)) | {"encrypted_content": block.signature}


def _call(call: ToolCall, known: bool) -> Item:
    item = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
    return item | given(call.extra, ("id", "namespace", "caller") if known else ("namespace", "caller"))


def _output(result: ToolResult) -> Item:
    whole = isinstance(result.content, str)
    output = result.content if whole else _parts(result.content)
    return {"type": "function_call_output", "call_id": result.call_id, "output": output}


def _parts(blocks: Iterable[Any]) -> list[Item]:
    return [_part(block) for block in blocks if isinstance(block, Text | Media)]


def _part(block: Text | Media) -> Item:
    if isinstance(block, Text):
        return {"type": "input_text", "text": block.text}
    return _image(block) if block.kind == "image" else _file(block)


def _image(media: Media) -> Item:
    source = {"file_id": media.file_id} if media.file_id else {"image_url": media.url or data_url(media)}
    return {"type": "input_image", "detail": media.detail or "auto"} | source


def _file(media: Media) -> Item:
    if media.file_id:
        return {"type": "input_file", "file_id": media.file_id}
    if media.url:
        return {"type": "input_file", "file_url": media.url}
    return {"type": "input_file", "filename": media.name or "document.pdf", "file_data": data_url(media)}
