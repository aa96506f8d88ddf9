"""A request body for Discord: JSON, or a form with `payload_json` and files."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from knell.lab import bodies, embeds
from knell.lab.record import File, Request

FILE_BYTES, FILES = 10 * 1024 * 1024, 10
"""The default limit for one file (discord-api-docs, "Uploading Files"); files of a message (code 30015)."""

_FILE_PART = re.compile(r"files\[\d+\]|file\d*")


class DiscordError(Exception):
    """An answer that is no success: status, JSON code, and problems by path."""

    def __init__(self, status: int, code: int, text: str, errors: embeds.Errors | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.errors = errors or {}


@dataclass(frozen=True, slots=True)
class Body:
    """What is to be shown: a payload, and the files that came with it.

    `ids`: the files' own, once the message was posted.
    """

    payload: dict[str, Any]
    files: tuple[File, ...] = ()
    ids: tuple[str, ...] = ()

    def check(self) -> None:
        """Check it against Discord's limits.

        Raises:
            DiscordError: it would be refused.
        """
        for file in self.files:
            if len(file.content) > FILE_BYTES:
                raise DiscordError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 40005, "Request entity too large")
        if len(self.files) > FILES:
            text = f"Maximum number of attachments in a message reached ({FILES})"
            raise DiscordError(HTTPStatus.BAD_REQUEST, 30015, text)
        if errors := embeds.check(self.payload, [file.name for file in self.files]):
            raise invalid(errors)
        if not self.files and embeds.is_empty(self.payload):
            raise DiscordError(HTTPStatus.BAD_REQUEST, 50006, "Cannot send an empty message")


def read_body(request: Request, known: Collection[str] = ()) -> Body:
    """Read a body; `known` are the ids of the files that the message it changes has already.

    Raises:
        DiscordError: it cannot be read, or a file has no name.
    """
    kind = request.headers.get("Content-Type", "")
    try:
        if kind.startswith("multipart/form-data"):
            body = _read_form(bodies.multipart(kind, request.body))
        else:
            body = Body(bodies.json_object(request.body))
    except ValueError as error:
        text = "The request body contains invalid JSON."
        raise DiscordError(HTTPStatus.BAD_REQUEST, 50109, f"{text} {error}") from error
    _check_described(body, known)
    if request.query.get("with_components", "").lower() not in {"true", "1"}:
        body.payload.pop("components", None)
    return body


def _read_form(parts: list[bodies.Part]) -> Body:
    payload: dict[str, Any] = {}
    files: list[File] = []
    for part in parts:
        if part.name == "payload_json":
            payload = bodies.json_object(part.content)
        elif not _FILE_PART.fullmatch(part.name):
            payload[part.name] = part.content.decode()
        elif not part.filename:
            raise invalid({part.name: "A file needs a filename."})
        else:
            files.append(File(part.filename, part.content, part.content_type))
    return Body(payload, tuple(files))


def described(payload: dict[str, Any]) -> list[str]:
    """Return the ids a message names as its attachments: files of it, or places of those that come along."""
    items = bodies.listing(payload.get("attachments")) or []
    return [str((bodies.mapping(item) or {}).get("id", "")) for item in items]


def _check_described(body: Body, known: Collection[str]) -> None:
    for place, number in enumerate(described(body.payload)):
        if number not in known and not (number.isdecimal() and int(number) < len(body.files)):
            raise invalid({f"attachments.{place}": "Attachment data not found"})


def invalid(errors: embeds.Errors) -> DiscordError:
    """Return the answer to a body in which something is wrong, by its path."""
    return DiscordError(HTTPStatus.BAD_REQUEST, 50035, "Invalid Form Body", errors)
