"""Media as wires want it: data URLs taken apart or put together, and types read from the first bytes.

A type that is wrong or missing gets a request refused, so the beginning of the data decides where it is known.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from failover.types import Media, MediaKind

BEGINNINGS: Mapping[MediaKind, tuple[tuple[str, str], ...]] = {
    "image": (
        ("/9j/", "image/jpeg"),
        ("iVBORw0KGgo", "image/png"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ),
    "document": (("JVBERi", "application/pdf"),),
    "audio": (
        ("UklGR", "audio/wav"),
        ("SUQz", "audio/mpeg"),
        ("//", "audio/mpeg"),
        ("T2dnUw", "audio/ogg"),
        ("ZkxhQw", "audio/flac"),
    ),
    "video": (),
}
"""First characters of base64 data → type."""

ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
}
USUAL: Mapping[MediaKind, str] = {
    "image": "image/png",
    "document": "application/pdf",
    "audio": "audio/wav",
    "video": "video/mp4",
}
TEXTUAL = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")


def settled(media: Media) -> Media:
    """``media`` with a data URL taken apart, and the right ``mime_type`` beside its data."""
    if media.url is not None and media.url[:5].lower() == "data:":
        media = _from_data_url(media, media.url)
    if media.data is None:
        return media
    known = next((kind for start, kind in BEGINNINGS[media.kind] if media.data.startswith(start)), None)
    stated = (media.mime_type or "").partition(";")[0].strip().lower()
    return replace(media, mime_type=known or ALIASES.get(stated, stated) or USUAL[media.kind])


def _from_data_url(media: Media, url: str) -> Media:
    header, _, payload = url[5:].partition(",")
    mime, *options = header.split(";")
    if "base64" not in (option.strip().lower() for option in options):
        payload = b64encode(unquote_to_bytes(payload)).decode()
    return replace(media, url=None, data=payload, mime_type=mime or media.mime_type)


def data_url(media: Media) -> str:
    return f"data:{media.mime_type or USUAL[media.kind]};base64,{media.data}"


def plain_text(media: Media) -> str | None:
    """The text of a document that is text; None for all else, and for data that is not base64."""
    if media.data is None or not (media.mime_type or "").startswith(TEXTUAL):
        return None
    try:
        return b64decode(media.data).decode("utf-8", "replace")
    except ValueError:
        return None
