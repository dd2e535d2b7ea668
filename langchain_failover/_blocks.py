"""Content parts, as LangChain messages carry them, to blocks.

A part may come from anywhere: LangChain's standard blocks (v1), their predecessors (v0, told by ``source_type``),
OpenAI Chat Completions and Responses parts, Anthropic parts, Gemini's ``media``.  One small function per part type,
found in ``READERS`` by the part's ``type``.

- Media are told by what they hold, not by where they came from: ``base64`` or ``data``, ``url``, ``file_id``, an
  Anthropic ``source``, a data URL.  A ``file`` is an image, audio, video or a document by its MIME type.
- A part that no reader knows is the caller's mistake in what a user or tool says (``BadRequest``, naming it); in what
  a model said it is another vendor's own (server-side tools, cache points) and is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from failover.errors import BadRequest
from failover.types import Block, Failure, Kind, Media, MediaKind, Text, Thinking, ToolResult

Part = str | Mapping[str, Any]
Reader = Callable[[Mapping[str, Any]], Iterable[Block]]

KINDS: Mapping[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
CITED = ("citations", "annotations")
SILENT = frozenset(("cachePoint", "cache_point"))


def blocks_of(content: str | Iterable[Part]) -> tuple[Block, ...]:
    """Blocks of what a user, a system prompt or a tool says.  Raises ``BadRequest`` for a part nobody knows."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(block for part in _parts(content) for block in _strict(part))


def said_blocks(content: str | Iterable[Part]) -> Iterator[Block]:
    """Blocks of what a model said; parts that only its vendor understands are left out."""
    for part in _parts(content):
        if (reader := _reader(part)) is not None:
            yield from reader(part)


def _parts(content: str | Iterable[Part]) -> Iterator[Mapping[str, Any]]:
    for part in (content,) if isinstance(content, str) else content:
        if isinstance(part, str):
            if part:
                yield {"type": "text", "text": part}
        elif part.get("type") == "non_standard" and isinstance(part.get("value"), Mapping):
            yield cast("Mapping[str, Any]", part["value"])
        else:
            yield part


def _strict(part: Mapping[str, Any]) -> Iterable[Block]:
    reader = _reader(part)
    if reader is not None:
        return reader(part)
    if SILENT & part.keys():
        return ()
    known = ", ".join(sorted(READERS))
    raise _mistake(f"a content part of type {part.get('type')!r} is not understood; known types: {known}")


def _reader(part: Mapping[str, Any]) -> Reader | None:
    """A part without a type is told by its only telling key, as OpenAI's and Bedrock's shorthands are."""
    kind = part.get("type")
    if kind is None:
        kind = next((key for key in ("text", "image_url", "image") if key in part), None)
    return READERS.get(str(kind))


# ------------------------------------------------------------------- text


def _text(part: Mapping[str, Any]) -> Iterable[Block]:
    text = part.get("text") or ""
    extra = {key: part[key] for key in CITED if part.get(key)}
    return (Text(text, cache_point="cache_control" in part, extra=extra),) if text else ()


def _refusal(part: Mapping[str, Any]) -> Iterable[Block]:
    return (Text(part.get("refusal") or ""),)


def _search_result(part: Mapping[str, Any]) -> Iterable[Block]:
    heading = " ".join(str(part[key]) for key in ("title", "source") if part.get(key))
    return (Text(heading), *blocks_of(part.get("content") or ()))


# -------------------------------------------------------------- reasoning


def _thinking(part: Mapping[str, Any]) -> Iterable[Block]:
    return (Thinking(part.get("thinking") or "", signature=part.get("signature")),)


def _redacted(part: Mapping[str, Any]) -> Iterable[Block]:
    return (Thinking(redacted=part.get("data") or ""),)


def _reasoning(part: Mapping[str, Any]) -> Iterable[Block]:
    """LangChain's ``reasoning`` block, or an OpenAI Responses item of the same name (with a ``summary``).

    A Responses item is sealed by its ``encrypted_content``; without it, its id is worth nothing.
    """
    flat = {**(part.get("extras") or {}), **part}
    seal = flat.get("signature") or flat.get("encrypted_content")
    text = flat.get("reasoning") or "".join(item.get("text", "") for item in flat.get("summary") or ())
    kept = {key: value for key, value in flat.items() if key not in SHOWN and (seal or key != "id")}
    return (Thinking(text, signature=seal, extra=kept),)


SHOWN = frozenset(("type", "reasoning", "signature", "encrypted_content", "index", "extras", "status"))


def _reasoning_content(part: Mapping[str, Any]) -> Iterable[Block]:
    """Bedrock Converse."""
    inner = part.get("reasoning_content") or {}
    return (Thinking(inner.get("text") or "", signature=inner.get("signature")),)


# ------------------------------------------------------------------ media


def _image(part: Mapping[str, Any]) -> Iterable[Block]:
    return (_media("image", part),)


def _image_url(part: Mapping[str, Any]) -> Iterable[Block]:
    held = part.get("image_url") or ""
    inner = held if isinstance(held, Mapping) else {"url": held}
    return (_media("image", {**part, **inner}),)


def _audio(part: Mapping[str, Any]) -> Iterable[Block]:
    return (_media("audio", part),)


def _input_audio(part: Mapping[str, Any]) -> Iterable[Block]:
    inner = part.get("input_audio") or {}
    return (_media("audio", {"base64": inner.get("data"), "mime_type": f"audio/{inner.get('format', 'wav')}"}),)


def _video(part: Mapping[str, Any]) -> Iterable[Block]:
    return (_media("video", part),)


def _video_url(part: Mapping[str, Any]) -> Iterable[Block]:
    held = part.get("video_url") or ""
    return (_media("video", {"url": held.get("url") if isinstance(held, Mapping) else held}),)


def _file(part: Mapping[str, Any]) -> Iterable[Block]:
    """LangChain's ``file``, OpenAI's (``file: {...}``) and Responses' ``input_file``."""
    inner = part.get("file")
    flat = {**part, **inner} if isinstance(inner, Mapping) else part
    if flat.get("source_type") == "text":
        return (Text(flat.get("text") or flat.get("data") or flat.get("url") or ""),)
    url = flat.get("file_data") or flat.get("file_url") or flat.get("file_uri")
    media = _media("document", {**flat, "url": url} if url else flat)
    return (_as_kind(media),)


def _document(part: Mapping[str, Any]) -> Iterable[Block]:
    """Anthropic's ``document``, whose source may also be plain text or further parts."""
    match part.get("source"):
        case {"type": "text", "data": str(text)}:
            return (Text(text, cache_point="cache_control" in part),)
        case {"type": "content", "content": content}:
            return blocks_of(content)
        case _:
            return (_media("document", part),)


def _as_kind(media: Media) -> Media:
    kind = KINDS.get((media.mime_type or "").partition("/")[0], "document")
    if kind == media.kind:
        return media
    return Media(kind, media.mime_type, media.data, media.url, media.file_id, media.name, media.detail)


def _media(kind: MediaKind, part: Mapping[str, Any]) -> Media:
    source = part.get("source")
    flat = {**part, **source} if isinstance(source, Mapping) else part
    mime = flat.get("mime_type") or flat.get("media_type")
    data, url = flat.get("base64") or flat.get("data"), flat.get("url")
    if data is None and isinstance(url, str) and url.startswith("data:"):
        mime, data, url = _data_url(url, mime)
    file_id = None if data or url else _file_id(flat)
    if not (data or url or file_id):
        raise _mistake(f"a content part of type {part.get('type')!r} holds neither data, nor a URL, nor a file id")
    cached = "cache_control" in part
    return Media(kind, mime, data, url, file_id, _name(part), part.get("detail"), cache_point=cached)


def _data_url(url: str, mime: str | None) -> tuple[str | None, str | None, None]:
    head, _, data = url.removeprefix("data:").partition(",")
    return head.partition(";")[0] or mime, data, None


def _file_id(part: Mapping[str, Any]) -> str | None:
    """A standard block's own ``id`` is no file's, except where nothing else says what is meant."""
    return part.get("file_id") or part.get("id")


def _name(part: Mapping[str, Any]) -> str | None:
    notes = {**(part.get("metadata") or {}), **(part.get("extras") or {}), **part}
    return next((notes[key] for key in ("filename", "name", "title") if notes.get(key)), None)


# ----------------------------------------------------------- tool results


def _tool_result(part: Mapping[str, Any]) -> Iterable[Block]:
    """Anthropic's, inside a user's message."""
    call_id = part.get("tool_use_id") or part.get("tool_call_id") or ""
    return (ToolResult(call_id, result_content(part.get("content") or ""), is_error=bool(part.get("is_error"))),)


def result_content(content: str | Iterable[Part]) -> str | tuple[Text | Media, ...]:
    """What a tool gave back: a string stays one, parts become text and media."""
    if isinstance(content, str):
        return content
    return tuple(block for block in blocks_of(content) if isinstance(block, Text | Media))


def _json(part: Mapping[str, Any]) -> Iterable[Block]:
    """Bedrock's tool results."""
    return (Text(json.dumps(part.get("json"), ensure_ascii=False)),)


def _mistake(message: str) -> BadRequest:
    return BadRequest(Failure(Kind.BAD_REQUEST, message, sent=False))


READERS: Mapping[str, Reader] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "text-plain": _text,
    "refusal": _refusal,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "reasoning": _reasoning,
    "reasoning_content": _reasoning_content,
    "image": _image,
    "image_url": _image_url,
    "input_image": _image_url,
    "audio": _audio,
    "input_audio": _input_audio,
    "video": _video,
    "video_url": _video_url,
    "file": _file,
    "input_file": _file,
    "media": _file,
    "document": _document,
    "tool_result": _tool_result,
    "json": _json,
}
