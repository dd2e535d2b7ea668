"""Images, documents, audio and video: LlamaIndex's blocks as ``Media``, and back.

Bytes and files travel as base64, web addresses as they are (the provider fetches them), ``data:`` URLs are unpacked.
LlamaIndex keeps bytes that were given as base64 already, but hands out a file object's content raw; both are read
here, without touching the block.
"""

from __future__ import annotations

import base64
import mimetypes
from io import IOBase
from pathlib import Path
from typing import Any, NamedTuple, cast

from llama_index.core.base.llms.types import AudioBlock, ContentBlock, DocumentBlock, ImageBlock, VideoBlock

from failover.types import Media

AUDIO_TYPES = {"mp3": "audio/mpeg", "mpga": "audio/mpeg", "m4a": "audio/mp4"}


class Source(NamedTuple):
    """Where the bytes are; LlamaIndex lets any one of the three be set."""

    content: bytes | IOBase | None
    path: Path | str | None
    url: str | None


def image(block: ImageBlock) -> Media:
    source = Source(block.image, block.path, _text(block.url))
    found = _media(source, block.image_mimetype, "image")
    return Media("image", **found, detail=block.detail)


def audio(block: AudioBlock) -> Media:
    source = Source(block.audio, block.path, _text(block.url))
    mime = AUDIO_TYPES.get(block.format, f"audio/{block.format}") if block.format else None
    return Media("audio", **_media(source, mime, "audio"))


def video(block: VideoBlock) -> Media:
    source = Source(block.video, block.path, _text(block.url))
    return Media("video", **_media(source, block.video_mimetype, "video"), detail=block.detail)


def document(block: DocumentBlock) -> Media:
    source = Source(block.data, block.path, block.url)
    mime = block.document_mimetype or mimetypes.guess_type(block.title or "")[0]
    return Media("document", **_media(source, mime, "document"), name=block.title)


def _text(url: Any) -> str | None:
    return None if url is None else str(url)


def _media(source: Source, mime: str | None, kind: str) -> dict[str, Any]:
    """The fields of ``Media`` that say what it is and where."""
    mime = mime or mimetypes.guess_type(str(source.path or source.url or ""))[0]
    if source.content is None and source.path is None and source.url:
        return _linked(source.url, mime)
    data = _bytes(source)
    if not data:
        raise ValueError(f"empty {kind} block: give it bytes, a path or a url")
    return {"mime_type": mime or _sniffed(data, kind), "data": base64.b64encode(data).decode("ascii")}


def _linked(url: str, mime: str | None) -> dict[str, Any]:
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and comma):
        return {"mime_type": mime, "url": url}
    stated, _, encoding = head.removeprefix("data:").partition(";")
    if not encoding.endswith("base64"):
        data = base64.b64encode(data.encode()).decode("ascii")
    return {"mime_type": stated or mime, "data": data}


def _bytes(source: Source) -> bytes:
    match source:
        case Source(content=bytes(encoded)):
            return base64.b64decode(encoded)
        case Source(content=IOBase() as file):
            file.seek(0)
            return cast(bytes, file.read())
        case Source(path=path) if path is not None:
            return Path(path).read_bytes()
    return b""


def _sniffed(data: bytes, kind: str) -> str | None:
    """Plain text is told from binary documents; of anything else the block has already guessed what it could."""
    if kind != "document":
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"


def to_block(media: Media) -> ContentBlock:
    """A ``Media`` of an answer (a generated image, spoken audio) as LlamaIndex's block."""
    content = None if media.data is None else media.data.encode("ascii")
    match media.kind:
        case "image":
            return ImageBlock(image=content, url=media.url, image_mimetype=media.mime_type, detail=media.detail)
        case "audio":
            return AudioBlock(audio=content, url=media.url, format=_extension(media.mime_type))
        case "video":
            return VideoBlock(video=content, url=media.url, video_mimetype=media.mime_type, detail=media.detail)
        case "document":
            return DocumentBlock(data=content, url=media.url, title=media.name, document_mimetype=media.mime_type)


def _extension(mime: str | None) -> str | None:
    spoken = {kind: extension for extension, kind in reversed(AUDIO_TYPES.items())}
    return None if mime is None else spoken.get(mime, mime.partition("/")[2])
