"""Slack's upload in three steps: ask for an address, send the bytes there, share the file once."""

import secrets
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from knell.lab import bodies
from knell.lab.record import Answer, Request
from knell.lab.slack_message import SlackError

if TYPE_CHECKING:
    from knell.lab.slack import Slack


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was shared, or is on its way; an empty channel means it was shared with nobody."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    channel: str = ""
    thread: str = ""
    comment: str = ""


class Uploads:
    """The files on their way."""

    def __init__(self, slack: "Slack") -> None:
        self._slack = slack
        self._open: dict[str, Upload] = {}
        self._addresses: dict[str, str] = {}

    def begin(self, given: dict[str, Any]) -> dict[str, Any]:
        """`files.getUploadURLExternal`.

        Raises:
            SlackError: no name, or no length in bytes.
        """
        name, length = str(given.get("filename", "")), str(given.get("length", ""))
        if not name or not length.isdecimal() or not int(length):
            raise SlackError("invalid_arguments", "needs filename, and length in bytes")
        file_id = f"F{secrets.token_hex(5).upper()}"
        path = f"/upload/v1/{secrets.token_hex(12)}"
        self._open[file_id] = Upload(id=file_id, name=name, length=int(length))
        self._addresses[path] = file_id
        return {"upload_url": self._slack.base_url + path, "file_id": file_id}

    def receive(self, request: Request) -> Answer:
        """Take the bytes, raw or as a form's one file."""
        upload = self._open.get(self._addresses.get(request.path, ""))
        if upload is None:
            return Answer(HTTPStatus.NOT_FOUND, b"not found", {}, refused="no such upload address")
        try:
            content = _content(request)
        except ValueError as error:
            return Answer(HTTPStatus.BAD_REQUEST, b"bad form", {}, refused=str(error))
        if len(content) != upload.length:
            self._slack.violate(f"{upload.name}: announced {upload.length} bytes, sent {len(content)}")
        self._open[upload.id] = replace(upload, content=content)
        return Answer(HTTPStatus.OK, f"OK - {len(content)}".encode(), {"Content-Type": "text/plain"})

    def complete(self, given: dict[str, Any], channel: str) -> dict[str, Any]:
        """`files.completeUploadExternal`: all of the files or none.

        Raises:
            SlackError: a file is unknown, without its bytes, or completed already.
        """
        items = [bodies.mapping(item) or {} for item in bodies.listing(given.get("files")) or []]
        titles = {str(item.get("id", "")): str(item.get("title") or "") for item in items}
        if not titles:
            raise SlackError("invalid_arguments", "files is no list of objects with an id")
        for file_id in titles:
            if file_id not in self._open or self._open[file_id].content is None:
                raise SlackError("file_not_found", f"{file_id}: never begun, never sent, or completed before")
        thread, comment = str(given.get("thread_ts") or ""), str(given.get("initial_comment") or "")
        for file_id, title in titles.items():
            upload = replace(self._open.pop(file_id), channel=channel, thread=thread, comment=comment)
            self._slack.share(replace(upload, title=title or upload.name))
        return {"files": [{"id": file_id, "title": title} for file_id, title in titles.items()]}


def _content(request: Request) -> bytes:
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("multipart/form-data"):
        return request.body
    parts = bodies.multipart(kind, request.body)
    return next((part.content for part in parts if part.filename is not None), b"")
