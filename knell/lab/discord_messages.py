"""The webhooks of a Discord server, and what was posted by them."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from knell.lab import discord_view
from knell.lab.discord_body import Body, DiscordError, described, invalid, read_body
from knell.lab.record import Answer, Message, Request
from knell.lab.server import as_json

if TYPE_CHECKING:
    from knell.lab.discord import Discord

THREAD_NAME = 100
"""Characters of a thread's name (discord-api-docs, channel resource)."""

_FIRST_ID = 1_300_000_000_000_000_000


@dataclass(slots=True)
class Hook:
    """A webhook of one channel; the threads in it by id."""

    id: str
    token: str
    channel: str
    forum: bool
    threads: set[str] = field(default_factory=set[str])


class Messages:
    """Posts, edits and shows messages."""

    def __init__(self, discord: "Discord") -> None:
        self._discord = discord
        self._ids = count(_FIRST_ID)
        self._posted: dict[tuple[str, str, str], Body] = {}

    def new_hook(self, *, forum: bool = False) -> Hook:
        """Make a webhook."""
        return Hook(self.new_id(), secrets.token_urlsafe(24), self.new_id(), forum)

    def new_id(self) -> str:
        """Return a snowflake nobody has yet."""
        return str(next(self._ids))

    def delete(self, message_id: str) -> None:
        """Forget a message."""
        self._posted = {key: body for key, body in self._posted.items() if key[2] != message_id}

    def act(self, request: Request, hook: Hook, message_id: str | None) -> Answer:
        """Do what a request asks of a webhook.

        Raises:
            DiscordError: Discord would refuse it.
        """
        match request.method, message_id:
            case "POST", None:
                return self._post(request, hook)
            case "PATCH", str():
                return as_json(HTTPStatus.OK, self._edit(request, hook, message_id))
            case "GET", str():
                thread, body = self._known(request, hook, message_id)
                return as_json(HTTPStatus.OK, self._shown(hook, thread, message_id, body))
            case "GET", None:
                shown = {"id": hook.id, "type": 1, "name": "lab", "channel_id": hook.channel}
                return as_json(HTTPStatus.OK, shown)
            case _:
                raise DiscordError(HTTPStatus.METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed")

    def _post(self, request: Request, hook: Hook) -> Answer:
        waits = request.query.get("wait", "").lower() in {"true", "1"}
        try:
            body = read_body(request)
            body.check()
            thread = _thread(request, hook, body.payload)
        except DiscordError as error:
            if waits or error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            # Without `wait` Discord has answered before it looks.
            return Answer(HTTPStatus.NO_CONTENT, refused=f"lost in silence: {error}")
        message_id = self.new_id()
        body = replace(body, ids=tuple(self.new_id() for _ in body.files))
        if body.payload.get("thread_name"):
            thread = message_id
            hook.threads.add(thread)
        self._posted[hook.id, thread, message_id] = body
        self._accept(hook, message_id, thread, body)
        if not waits:
            return Answer(HTTPStatus.NO_CONTENT)
        return as_json(HTTPStatus.OK, self._shown(hook, thread, message_id, body))

    def _edit(self, request: Request, hook: Hook, message_id: str) -> dict[str, Any]:
        thread, old = self._known(request, hook, message_id)
        body = self._changed(old, read_body(request, known=old.ids))
        body.check()
        self._posted[hook.id, thread, message_id] = body
        found = self._discord.find(message_id)
        self._discord.change(message_id, edits=found.edits + 1 if found else 1, **_view(body))
        return self._shown(hook, thread, message_id, body)

    def _changed(self, old: Body, changes: Body) -> Body:
        """Put what is said over what was said; a list of attachments names the old files that stay."""
        named = described(changes.payload) if "attachments" in changes.payload else old.ids
        kept = [(file, number) for file, number in zip(old.files, old.ids, strict=True) if number in named]
        come = [(file, self.new_id()) for file in changes.files]
        files, ids = zip(*kept, *come, strict=True) if kept or come else ((), ())
        payload = {**old.payload, **changes.payload}
        return Body(payload, tuple(files), tuple(ids))

    def _known(self, request: Request, hook: Hook, message_id: str) -> tuple[str, Body]:
        thread = request.query.get("thread_id", "")
        if thread and thread not in hook.threads:
            raise DiscordError(HTTPStatus.NOT_FOUND, 10003, "Unknown Channel")
        if (body := self._posted.get((hook.id, thread, message_id))) is None:
            raise DiscordError(HTTPStatus.NOT_FOUND, 10008, "Unknown Message")
        return thread, body

    def _accept(self, hook: Hook, message_id: str, thread: str, body: Body) -> None:
        digest = hashlib.sha256(msgspec.json.encode(body.payload, order="sorted"))
        for file in body.files:
            digest.update(file.name.encode() + file.content)
        message = Message(
            provider=self._discord.name,
            id=message_id,
            keys=(f"{hook.id} {digest.hexdigest()}",),
            received=self._discord.now(),
            at=self._discord.setting.clock(),
            to=(hook.id,),
            thread=thread,
            **_view(body),
        )
        self._discord.accept(message)

    def _shown(self, hook: Hook, thread: str, message_id: str, body: Body) -> dict[str, Any]:
        return {
            "id": message_id,
            "type": 0,
            "channel_id": thread or hook.channel,
            "webhook_id": hook.id,
            "content": body.payload.get("content") or "",
            "embeds": body.payload.get("embeds") or [],
            "components": body.payload.get("components") or [],
            "flags": body.payload.get("flags") or 0,
            "timestamp": self._discord.now().isoformat(),
            "author": {"id": hook.id, "username": body.payload.get("username") or "lab", "bot": True},
            "attachments": [
                {"id": number, "filename": file.name, "size": len(file.content)}
                for number, file in zip(body.ids, body.files, strict=True)
            ],
        }


def _thread(request: Request, hook: Hook, payload: Mapping[str, Any]) -> str:
    thread, name = request.query.get("thread_id", ""), payload.get("thread_name")
    if thread and thread not in hook.threads:
        raise DiscordError(HTTPStatus.NOT_FOUND, 10003, "Unknown Channel")
    if name is not None and not (isinstance(name, str) and 0 < len(name.strip()) <= THREAD_NAME):
        raise invalid({"thread_name": f"Must be between 1 and {THREAD_NAME} in length."})
    if hook.forum and thread and name:
        text = "Webhooks posted to forum channels cannot have both a thread_name and thread_id"
        raise DiscordError(HTTPStatus.BAD_REQUEST, 220002, text)
    if hook.forum and not thread and not name:
        text = "Webhooks posted to forum channels must have a thread_name or thread_id"
        raise DiscordError(HTTPStatus.BAD_REQUEST, 220001, text)
    if name and not hook.forum:
        raise DiscordError(
            HTTPStatus.BAD_REQUEST, 220003, "Webhooks can only create threads in forum channels"
        )
    return thread


def _view(body: Body) -> dict[str, Any]:
    text, title, pings = discord_view.read(body.payload)
    return {"payload": body.payload, "text": text, "title": title, "mentions": pings, "files": body.files}
