"""Slack: incoming webhooks and the Web API, as strict as the real one and never a 401 from the latter."""

import hashlib
import math
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec

from knell.lab import mrkdwn, slack_message, slack_webhook
from knell.lab.limits import Bucket
from knell.lab.record import Answer, Message, Request
from knell.lab.server import HttpStandIn
from knell.lab.slack_api import SlackApi, arguments
from knell.lab.slack_files import Upload, Uploads
from knell.lab.slack_message import SlackError
from knell.lab.standin import Setting

CHANNEL = "necrocode"
BURST, PER_SECOND, GRACE = 3, 1.0, 0.1
"""One message a second for each channel (docs.slack.dev, "Rate limits"); burst and grace are ours."""

SCOPES = frozenset({"channels:read", "chat:write", "chat:write.customize", "files:write", "reactions:write"})


class Slack(HttpStandIn):
    """A workspace with one app.

    Attributes:
        channels: the id of each channel, by name without `#`; add to it freely.
        not_member, archived: names of channels the app is not in, and of archived ones.
        scopes: what the app's token may do.
        edit_window: seconds after which a message cannot be changed any more.
        bot_token: the token the Web API takes.
    """

    name = "slack"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.bot_token = f"xoxb-{secrets.token_hex(12)}"
        self.channels = {CHANNEL: "C0LAB000001", "private": "C0LAB000002", "old": "C0LAB000003"}
        self.not_member = {"private"}
        self.archived = {"old"}
        self.scopes = SCOPES
        self.edit_window = math.inf
        self.uploads = Uploads(self)
        self._posted: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._threads: dict[tuple[str, str], str] = {}
        self._deleted: set[tuple[str, str]] = set()
        self._webhooks: dict[str, str] = {}
        self._main = self._new_webhook(CHANNEL)
        self._files: list[Upload] = []
        self._rate = Bucket(BURST, PER_SECOND, setting.clock, GRACE)
        self._sequence = count(1)
        self._api = SlackApi(self)

    @property
    def url(self) -> str:
        """The incoming webhook of the channel #necrocode."""
        return self.base_url + self._main

    @property
    def api_base_url(self) -> str:
        """The root of the Web API's methods."""
        return f"{self.base_url}/api"

    @property
    def files(self) -> tuple[Upload, ...]:
        """The files that were uploaded and shared; one whose upload was never completed is absent."""
        with self._changed:
            return tuple(self._files)

    def add_webhook(self, channel: str) -> str:
        """Make another incoming webhook, for a channel that is made if need be, and return its address."""
        self.channels.setdefault(channel, f"C0LAB{len(self.channels) + 1:06d}")
        return self.base_url + self._new_webhook(channel)

    def revoke(self) -> None:
        """Remove all incoming webhooks: `no_service` from now on."""
        self._webhooks.clear()

    def section(self) -> dict[str, Any]:
        """Return a channel section in webhook mode."""
        return {"type": "slack", "webhook_url": self.url}

    def api_section(self) -> dict[str, Any]:
        """Return a channel section in Web API mode."""
        return {
            "type": "slack",
            "bot_token": self.bot_token,
            "channel": f"#{CHANNEL}",
            "api_base_url": self.api_base_url,
        }

    def answer(self, request: Request) -> Answer:
        """Dispatch by path: webhook, Web API method, or upload."""
        if request.path in self._webhooks:
            return self._webhook(request)
        if request.path.startswith("/upload/"):
            return self.uploads.receive(request)
        if request.path.startswith("/api/"):
            return self._api.answer(request)
        return slack_webhook.refusal(HTTPStatus.NOT_FOUND, "no_service", "no such webhook")

    def lane(self, request: Request) -> str:
        """Return what is limited: a webhook, or a method for one channel."""
        if not request.path.startswith("/api/"):
            return request.path
        try:
            return f"{request.path} {arguments(request).get('channel', '')}"
        except SlackError:
            return request.path

    def gone(self, answer: Answer) -> bool:
        """Whether the webhook was removed; an archived channel may come back."""
        return answer.status == HTTPStatus.NOT_FOUND and answer.body in {b"no_service", b"no_team"}

    def limit(self, lane: str) -> None:
        """Take a place in a lane.

        Raises:
            SlackError: the lane is full.
        """
        wait = self._rate.take(lane) if self.rate_limited else 0.0
        if wait:
            raise SlackError("ratelimited", f"over {PER_SECOND:g} a second", retry_after=math.ceil(wait))

    def check_open(self, channel: str) -> None:
        """Check that a channel, given by its name, can be posted to.

        Raises:
            SlackError: it is archived.
        """
        if channel in self.archived:
            raise SlackError("is_archived", f"#{channel} is archived")

    def delete(self, channel: str, ts: str) -> None:
        """Do what a person does who deletes a message of the app."""
        self._posted.pop((channel, ts))
        self._deleted.add((channel, ts))

    def check_thread(self, channel: str, thread: object) -> None:
        """Hold it against the client when a file's thread is none."""
        if thread and self._threads.get((channel, str(thread))) != "":
            self.violate(f"thread_ts {thread} is no message that began a thread in {channel}")

    def post(self, payload: dict[str, Any], channel: str) -> Message:
        """Put a message that was checked into a channel, given by its id.

        Raises:
            SlackError: what it answers to was deleted, and takes no replies any more.
        """
        ts = f"{int(self.setting.wall())}.{next(self._sequence):06d}"
        thread = self._thread(channel, str(payload.get("thread_ts") or ""))
        if not thread:
            payload = {name: value for name, value in payload.items() if name != "thread_ts"}
        self._threads[channel, ts] = thread
        self._posted[channel, ts] = (self.setting.clock(), payload)
        digest = hashlib.sha256(msgspec.json.encode(payload, order="sorted")).hexdigest()
        message = Message(
            provider=self.name,
            id=ts,
            keys=(f"{channel} {digest}",),
            received=self.now(),
            at=self.setting.clock(),
            thread=thread,
            to=(channel,),
            **self._view(payload),
        )
        self.accept(message)
        return message

    def edit(self, channel: str, ts: str, changes: Mapping[str, Any]) -> None:
        """Change a posted message; parts that are not named stay.

        Raises:
            SlackError: there is none, it is too old, or what comes out is refused.
        """
        at, payload = self.posted(channel, ts)
        if self.setting.clock() - at > self.edit_window:
            raise SlackError("edit_window_closed", f"older than {self.edit_window:g} s")
        changed = {**payload, **changes}
        slack_message.check(changed)
        self._posted[channel, ts] = (at, changed)
        found = self.find(ts)
        self.change(ts, edits=found.edits + 1 if found else 1, **self._view(changed))

    def posted(self, channel: str, ts: str) -> tuple[float, dict[str, Any]]:
        """Return when a message was posted, and what.

        Raises:
            SlackError: there is none.
        """
        if (found := self._posted.get((channel, ts))) is None:
            raise SlackError("message_not_found", f"no message {ts} in {channel}")
        return found

    def share(self, upload: Upload) -> None:
        """Show a completed upload in its channel."""
        with self._changed:
            self._files.append(upload)
            self._changed.notify_all()

    def _thread(self, channel: str, thread: str) -> str:
        """Return the thread a message ends up in.

        What is left of a deleted message that had replies takes no more of them; where nothing is left, the
        reply silently becomes a message of the channel, and only the answer tells (slack-go #1571).
        """
        if (channel, thread) not in self._deleted:
            self.check_thread(channel, thread)
            return thread
        if any(place == channel and parent == thread for (place, _), parent in self._threads.items()):
            raise SlackError("cannot_reply_to_message", f"{thread} was deleted")
        return ""

    def _new_webhook(self, channel: str) -> str:
        path = f"/services/T0LAB00001/B{secrets.token_hex(5).upper()}/{secrets.token_hex(12)}"
        self._webhooks[path] = channel
        return path

    def _webhook(self, request: Request) -> Answer:
        channel = self._webhooks[request.path]
        try:
            self.limit(request.path)
            self.check_open(channel)
            payload = slack_webhook.payload(request)
            slack_message.check(payload)
            self.post(payload, self.channels[channel])
        except SlackError as error:
            return slack_webhook.refused(error)
        return Answer(HTTPStatus.OK, b"ok", {"Content-Type": "text/html"})

    def _view(self, payload: dict[str, Any]) -> dict[str, Any]:
        text = payload.get("text")
        if isinstance(text, str) and len(text) > slack_message.TEXT_CUT:
            self.violate(f"text of {len(text)} characters was cut to {slack_message.TEXT_CUT}")
            payload = {**payload, "text": text[: slack_message.TEXT_CUT]}
        reading = mrkdwn.read(payload)
        return {
            "payload": payload,
            "text": reading.text,
            "title": reading.title,
            "mentions": tuple(reading.mentions),
        }
