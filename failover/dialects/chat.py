"""OpenAI Chat Completions, as OpenAI and everybody who copied it speak it.

A request becomes one body: the conversation in the form that ``replay`` makes portable, the parameters as ``params``
fits them to the model, and what the provider's row adds.  How providers differ stands in their rows (``providers``),
never here as a name.

- JSON asked for: a schema goes out natively where the model takes one, else as an instruction beside
  ``json_object``; and wherever ``json_object`` goes out the prompt says "JSON", because the API insists on it.
- Tools beside ``reasoning_effort``: models that think and call tools only over Responses are told not to think.
- ``extra_body`` goes on top of it all, and what the model was found to refuse is taken out last.

What comes back is read by ``chat_answer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from failover.dialects.base import Decoder, Model, Wire
from failover.dialects.body import dumps, encode
from failover.dialects.chat_answer import ChatDecoder, parse
from failover.dialects.inline import inlined
from failover.dialects.media import data_url, plain_text, settled
from failover.dialects.params import Thought, amend, plain, roomed, thought, unforced
from failover.dialects.providers import is_dated
from failover.dialects.replay import ReplayRules, portable, rules_for, tool_names, wire_name
from failover.types import (
    JsonFormat,
    Media,
    Message,
    Outcome,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

Part = dict[str, Any]

HEADERS = {"content-type": "application/json"}
NO_PARAMETERS = {"type": "object", "properties": {}}
IN_JSON = "Answer with one JSON object and nothing else."
IN_SCHEMA = "Answer with one JSON object and nothing else. It must be valid against this JSON schema:\n"


class Chat:
    """The dialect ``chat``."""

    name = "chat"

    def render(self, request: Request, model: Model, stream: bool) -> Wire:
        notes: list[str] = []
        rules = rules_for(model, self.name)
        quirks = model.provider.quirks
        form, told = request.response_format, request.messages
        if form is not None:
            told = _told_json(request, form, model)
        messages = portable(told, model, rules)
        thinking = thought(request, model, notes)
        body: dict[str, Any] = {"model": model.id, "messages": _messages(messages, quirks, rules)}
        if request.tools:
            choice, thinking = unforced(request, model, thinking, notes)
            thinking = _calm(model, thinking, notes)
            body["tools"] = [_tool(tool, quirks, rules) for tool in request.tools]
            body |= _choice(choice, quirks, rules)
        body |= plain(request, model, thinking.thinks, notes)
        body |= THINKING[quirks.get("effort", "top")](request, thinking, notes)
        if stream:
            body |= _streamed(quirks)
        if request.response_format is not None:
            body |= _formatted(request, request.response_format, model)
        body |= _added(model)
        body |= request.extra_body
        roomed(body, model.facts, notes)
        if model.learned:
            amend(body, model.learned)
        return Wire(_path(model), encode(body), HEADERS, tuple(notes), tool_names(request.tools, rules))

    def parse(self, body: bytes, model: Model) -> Outcome:
        return parse(body, model)

    def decoder(self, model: Model) -> Decoder:
        return ChatDecoder(model)


def _path(model: Model) -> str:
    """Azure's dated versions have the deployment in the path."""
    version = model.api_version
    if not version or not model.provider.quirks.get("deployments"):
        return "/chat/completions"
    deployment = f"/deployments/{quote(model.id, safe='')}" if is_dated(version) else ""
    return f"{deployment}/chat/completions?api-version={quote(version, safe='')}"


def _streamed(quirks: Mapping[str, Any]) -> dict[str, Any]:
    if quirks.get("stream_usage", True):
        return {"stream": True, "stream_options": {"include_usage": True}}
    return {"stream": True}


def _added(model: Model) -> dict[str, Any]:
    """What every request to this provider, or to such a model there, carries."""
    quirks = model.provider.quirks
    added: dict[str, Any] = quirks.get("body", {})
    for start, members in quirks.get("model_body", {}).items():
        if model.id.rsplit("/", 1)[-1].lower().startswith(start):
            added = {**added, **members}
    return added


# ---------------------------------------------------------------- thinking


def _calm(model: Model, thinking: Thought, notes: list[str]) -> Thought:
    """Tools on this wire, for a model that thinks with tools only over Responses."""
    if not model.facts.tools_need_responses or thinking.effort == "none" or "none" not in (model.facts.efforts or ()):
        return thinking
    if thinking.thinks:
        notes.append("reasoning_effort became none: with tools, Chat Completions takes no other")
    return Thought("none", False)


def _by_effort(request: Request, thinking: Thought, notes: list[str]) -> dict[str, Any]:
    if request.thinking and request.thinking.get("type") != "disabled" and not request.reasoning_effort:
        notes.append("thinking dropped: this wire has reasoning_effort only")
    return {} if thinking.effort is None else {"reasoning_effort": thinking.effort}


def _by_switch(request: Request, thinking: Thought, notes: list[str]) -> dict[str, Any]:
    """DeepSeek: thinking is on or off, and if it is on, so or so deep."""
    if thinking.effort == "none":
        return {"thinking": {"type": "disabled"}}
    if thinking.effort is not None:
        return {"thinking": {"type": "enabled"}, "reasoning_effort": thinking.effort}
    return {"thinking": {"type": "enabled"}} if request.thinking else {}


def _nested(request: Request, thinking: Thought, notes: list[str]) -> dict[str, Any]:
    """OpenRouter: one object for every upstream's way to think."""
    if thinking.effort is not None:
        return {"reasoning": {"effort": thinking.effort}}
    if not request.thinking:
        return {}
    budget = request.thinking.get("budget_tokens")
    return {"reasoning": {"max_tokens": budget} if budget else {"enabled": True}}


THINKING = {"top": _by_effort, "switch": _by_switch, "nested": _nested}


# ------------------------------------------------------------------- tools


def _choice(choice: str | None, quirks: Mapping[str, Any], rules: ReplayRules) -> dict[str, Any]:
    match choice:
        case None:
            return {}
        case "auto" | "none":
            return {"tool_choice": choice}
        case "required":
            return {"tool_choice": quirks.get("required", choice)}
        case name:
            return {"tool_choice": {"type": "function", "function": {"name": wire_name(name, rules)}}}


def _tool(tool: Tool, quirks: Mapping[str, Any], rules: ReplayRules) -> Mapping[str, Any]:
    if tool.native is not None:
        return tool.native
    function: dict[str, Any] = {"name": wire_name(tool.name, rules)}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = _schema(tool.parameters, quirks) if tool.parameters else NO_PARAMETERS
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _schema(schema: Mapping[str, Any], quirks: Mapping[str, Any]) -> Mapping[str, Any]:
    """Every wire wants an object at the root; some cannot follow references."""
    if "type" not in schema:
        schema = {"type": "object", **schema}
    return inlined(schema) if quirks.get("inline") else schema


# -------------------------------------------------------------------- JSON


def _in_words(form: JsonFormat, model: Model) -> bool:
    """No schema, or none that the model takes: then ``json_object`` goes out, and words beside it."""
    return form.schema is None or not model.facts.json_schema


def _formatted(request: Request, form: JsonFormat, model: Model) -> dict[str, Any]:
    """The format to ask for; only the instruction, where JSON mode and tools exclude each other."""
    quirks = model.provider.quirks
    if not _in_words(form, model):
        return {"response_format": {"type": "json_schema", "json_schema": _named(form, quirks)}}
    if request.tools and not quirks.get("json_beside_tools", True):
        return {}
    return {"response_format": {"type": "json_object"}}


def _named(form: JsonFormat, quirks: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {"name": form.name, "schema": _schema(form.schema or {}, quirks)}
    if form.description:
        named["description"] = form.description
    if form.strict is not None:
        named["strict"] = form.strict
    return named


def _told_json(request: Request, form: JsonFormat, model: Model) -> tuple[Message, ...]:
    """The messages, with an instruction where the format alone would not say what is wanted, or be refused."""
    if not _in_words(form, model):
        return request.messages
    if form.schema is not None:
        return _instructed(request.messages, IN_SCHEMA + dumps(form.schema))
    if any("json" in message.text.lower() for message in request.messages):
        return request.messages
    return _instructed(request.messages, IN_JSON)


def _instructed(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """``words`` at the end of the first system message, which is made if there is none."""
    for at, message in enumerate(messages):
        if message.role == "system":
            told = Message("system", (*message.content, Text(f"\n\n{words}")), message.author, message.name)
            return (*messages[:at], told, *messages[at + 1 :])
    return (Message("system", words), *messages)


# ---------------------------------------------------------------- messages


def _messages(messages: Iterable[Message], quirks: Mapping[str, Any], rules: ReplayRules) -> list[Part]:
    parts: list[Part] = []
    for message in messages:
        match message.role:
            case "tool":
                parts += [_result(block) for block in message.content if isinstance(block, ToolResult)]
            case "assistant":
                parts.append(_assistant(message, quirks, rules))
            case _:
                parts.append(_spoken(message, quirks))
    return parts


def _spoken(message: Message, quirks: Mapping[str, Any]) -> Part:
    spoken: Part = {"role": message.role, "content": _content(message, quirks)}
    if message.name:
        spoken["name"] = message.name
    return spoken


def _result(result: ToolResult) -> Part:
    content = result.content
    if not isinstance(content, str):
        content = "".join([block.text for block in content if isinstance(block, Text)])
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}


def _content(message: Message, quirks: Mapping[str, Any]) -> str | list[Part]:
    """A string where it can be one: every server takes that."""
    cached = quirks.get("cache_point")
    for block in message.content:
        if not isinstance(block, Text) or (cached and block.cache_point):
            break
    else:
        return message.text
    return [
        part | cached if cached and block.cache_point else part
        for block in message.content
        if isinstance(block, Text | Media) and (part := _part(block, quirks.get("parts", "openai")))
    ]


def _assistant(message: Message, quirks: Mapping[str, Any], rules: ReplayRules) -> Part:
    calls = [_call(block) for block in message.content if isinstance(block, ToolCall)]
    text = message.text
    said: Part = {"role": "assistant", "content": text}
    if calls:
        if not text and quirks.get("null_content", True):
            said["content"] = None
        said["tool_calls"] = calls
    if "reasoning" in quirks:
        said |= _reasoning(message, quirks["reasoning"], bool(calls) and rules.reasoning_with_tools)
    return said


def _call(call: ToolCall) -> Part:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **call.extra}


def _reasoning(message: Message, key: str, demanded: bool) -> Part:
    """The model's own reasoning under ``key``; where it came as a list of details, exactly these."""
    thoughts = [block for block in message.content if isinstance(block, Thinking)]
    details = [detail for block in thoughts for detail in block.extra.get("reasoning_details", ())]
    if details:
        return {"reasoning_details": details}
    text = message.reasoning
    return {key: text} if text or demanded else {}


# ------------------------------------------------------------------- parts


def _part(block: Text | Media, style: str) -> Part:
    if isinstance(block, Text):
        return _text(block.text)
    media = settled(block)
    match media.kind:
        case "image":
            return _image(media)
        case "document":
            return DOCUMENTS[style](media)
        case "audio" if media.data is not None:
            return AUDIO[style](media)
        case "video" if style == "openrouter":
            return {"type": "video_url", "video_url": {"url": media.url or data_url(media)}}
        case _:
            return _mentioned(media)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _mentioned(media: Media) -> Part:
    """What this wire cannot carry is named at least."""
    return _text(f"[{media.kind}: {media.url or media.name or media.file_id or 'attached'}]")


def _image(media: Media) -> Part:
    if media.data is None and media.url is None:
        return {"type": "file", "file": {"file_id": media.file_id}}
    image = {"url": media.url or data_url(media)}
    if media.detail:
        image["detail"] = media.detail
    return {"type": "image_url", "image_url": image}


def _file(media: Media) -> Part:
    text = plain_text(media)
    if text is not None:
        return _text(f"{media.name}:\n{text}" if media.name else text)
    if media.file_id is not None:
        return {"type": "file", "file": {"file_id": media.file_id}}
    if media.data is None:
        return _mentioned(media)
    return {"type": "file", "file": {"filename": media.name or "document.pdf", "file_data": data_url(media)}}


def _file_or_url(media: Media) -> Part:
    if media.url is None:
        return _file(media)
    return {"type": "file", "file": {"filename": media.name or "document.pdf", "file_data": media.url}}


def _document_url(media: Media) -> Part:
    if media.data is None and media.url is None:
        return {"type": "file", "file_id": media.file_id}
    part = {"type": "document_url", "document_url": media.url or data_url(media)}
    return {**part, "document_name": media.name} if media.name else part


def _audio(media: Media) -> Part:
    kind = (media.mime_type or "").rpartition("/")[2]
    return {"type": "input_audio", "input_audio": {"data": media.data, "format": FORMATS.get(kind, kind)}}


def _bare_audio(media: Media) -> Part:
    return {"type": "input_audio", "input_audio": media.data}


FORMATS = {"mpeg": "mp3", "wave": "wav"}
DOCUMENTS = {"openai": _file, "openrouter": _file_or_url, "mistral": _document_url}
AUDIO = {"openai": _audio, "openrouter": _audio, "mistral": _bare_audio}
