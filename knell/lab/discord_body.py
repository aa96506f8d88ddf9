"""A request body for Discord: JSON, or a form with `payload_json` and files."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from knell.lab import bodies, embeds
from knell.lab.record import File, Request

FILE_BYTES = 10 * 1024 * 1024
"""The default limit for one file (discord-api-docs, "Uploading Files")."""

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
    """What is to be shown: a payload, and the files that came with it."""

    payload: dict[str, Any]
    files: tuple[File, ...] = ()

    def check(self) -> None:
        """Check it against Discord's limits.

        Raises:
            DiscordError: it would be refused.
        """
        for file in self.files:
            if len(file.content) > FILE_BYTES:
                raise DiscordError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 40005, "Request entity too large")
        if errors := embeds.check(self.payload, [file.name for file in self.files]):
            raise _invalid(errors)
        if not self.files and embeds.is_empty(self.payload):
            raise DiscordError(HTTPStatus.BAD_REQUEST, 50006, "Cannot send an empty message")


def read_body(request: Request) -> Body:
    """Read a body.

    Raises:
        DiscordError: it cannot be read, or a file has no name.
    """
    kind = request.headers.get("Content-Type", "")
    try:
        if not kind.startswith("multipart/form-data"):
            return Body(bodies.json_object(request.body))
        return _read_form(bodies.multipart(kind, request.body))
    except ValueError as error:
        text = "The request body contains invalid JSON."
        raise DiscordError(HTTPStatus.BAD_REQUEST, 50109, f"{text} {error}") from error


def _read_form(parts: list[bodies.Part]) -> Body:
    payload: dict[str, Any] = {}
    files: list[File] = []
    for part in parts:
        if part.name == "payload_json":
            payload = bodies.json_object(part.content)
        elif not _FILE_PART.fullmatch(part.name):
            payload[part.name] = part.content.decode()
        elif not part.filename:
            raise _invalid({part.name: "A file needs a filename."})
        else:
            files.append(File(part.filename, part.content, part.content_type))
    _check_described(payload, len(files))
    return Body(payload, tuple(files))


def _check_described(payload: dict[str, Any], files: int) -> None:
    for place, item in enumerate(bodies.listing(payload.get("attachments")) or []):
        number = str((bodies.mapping(item) or {}).get("id", ""))
        if not number.isdecimal() or int(number) >= files:
            raise _invalid({f"attachments.{place}": "Attachment data not found"})


def _invalid(errors: embeds.Errors) -> DiscordError:
    return DiscordError(HTTPStatus.BAD_REQUEST, 50035, "Invalid Form Body", errors)
