"""Reading request bodies: JSON objects, forms, and forms with files."""

from dataclasses import dataclass
from email.parser import BytesHeaderParser, HeaderParser
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec


def mapping(value: object) -> dict[str, Any] | None:
    """Return the value if it is a JSON object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def listing(value: object) -> list[Any] | None:
    """Return the value if it is a JSON array."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def json_object(body: bytes | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the text is something else.
    """
    try:
        value = msgspec.json.decode(body)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if (found := mapping(value)) is None:
        raise ValueError("JSON, but no object")
    return found


def form(body: bytes) -> dict[str, str]:
    """Read a URL-encoded form; of a repeated field the last value counts.

    Raises:
        ValueError: the text is no UTF-8.
    """
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form; `filename` is None when the part names none."""

    name: str
    filename: str | None
    content_type: str
    content: bytes


def multipart(content_type: str, body: bytes) -> list[Part]:
    """Read a multipart form (RFC 7578), its contents byte for byte.

    Raises:
        ValueError: there is no boundary, or a part has no head.
    """
    head = BytesHeaderParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n")
    boundary = head.get_boundary()
    if not boundary:
        raise ValueError("multipart without a boundary")
    # A delimiter is the boundary at the start of a line; the line's end before it belongs to it.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    return [_part(piece) for piece in pieces[1:] if not piece.startswith(b"--")]


def _part(piece: bytes) -> Part:
    head, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not found:
        raise ValueError("multipart with a part without a head")
    # Browsers and bots write file names as they are, in UTF-8.
    fields = HeaderParser().parsestr(head.decode())
    return Part(
        name=str(fields.get_param("name", "", header="content-disposition")),
        filename=fields.get_filename(),
        content_type=fields.get_content_type(),
        content=content,
    )
