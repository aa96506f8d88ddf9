"""A form with files (RFC 7578) as the bytes of a request body."""

import re
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

from aiohttp import BytesIOPayload, MultipartWriter

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"\\/]')
_MEDIA_TYPE = re.compile(r"[\w.+\-]+/[\w.+\-]+(?:; ?[\w\-]+=[\w.\-]+)*", re.ASCII)


class Part(NamedTuple):
    """A field of the form; with a filename it is a file."""

    name: str
    content: bytes
    content_type: str
    filename: str = ""


async def form_data(parts: Iterable[Part]) -> tuple[bytes, str]:
    """Return the body and its content type."""
    form = MultipartWriter("form-data")
    for part in parts:
        payload = BytesIOPayload(BytesIO(part.content), content_type=media_type(part.content_type))
        names = {"name": part.name} | ({"filename": safe_name(part.filename)} if part.filename else {})
        # Names as they are, in UTF-8: quoted ones would be shown as they were quoted.
        payload.set_content_disposition("form-data", quote_fields=False, **names)
        form.append_payload(payload)
    return await form.as_bytes(), form.content_type


def safe_name(filename: str) -> str:
    """Return a file's name without what would end the header it stands in, or mean a folder."""
    text = filename.encode("utf-8", "replace").decode()
    return _NOT_IN_NAMES.sub("_", text).strip(" .")[-200:] or "file"


def media_type(text: str) -> str:
    """Return a media type, that of plain bytes when the text is none."""
    return text if _MEDIA_TYPE.fullmatch(text) else "application/octet-stream"
