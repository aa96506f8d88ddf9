"""Discord webhooks: rate headers on every answer, and a ban for those who do not read them."""

import hashlib
import math
import re
from collections import deque
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from knell.lab import bodies, embeds
from knell.lab.discord_body import DiscordError
from knell.lab.discord_faults import too_many
from knell.lab.discord_messages import Hook, Messages
from knell.lab.faults import Fault
from knell.lab.limits import Window
from knell.lab.record import Answer, Request
from knell.lab.server import HttpStandIn, as_json, scripted
from knell.lab.standin import Setting

LIMIT, WINDOW_SECONDS = 5, 2.0
"""Requests per webhook and window, as birdie0's guide observed them; a client must read the headers."""

BAN_AFTER, BAN_WINDOW_SECONDS = 10_000, 600.0
"""Invalid requests that get an IP banned (discord-api-docs, "Rate limits")."""

CLOUDFLARE_SECONDS = 60.0
"""How long to stay away after a 429 that is no JSON."""

UNKNOWN_WEBHOOK = 10015

_PATH = re.compile(
    r"/(?:api/(?:v\d+/)?)?webhooks/(?P<id>\d+)/(?P<token>[\w\-]+)(?:/messages/(?P<message>\d+))?"
)
_INVALID = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}


class Discord(HttpStandIn):
    """A server with a webhook in a text channel and one in a forum.

    Attributes:
        ban_after: how many answers of 401, 403 or 429 within ten minutes end everything with a 403 page.
        window_seconds: length of the window; a change opens new ones.
    """

    name = "discord"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.ban_after = BAN_AFTER
        self._posts = Messages(self)
        self._main = self._posts.new_hook()
        self._forum = self._posts.new_hook(forum=True)
        self._hooks = {hook.id: hook for hook in (self._main, self._forum)}
        self.window_seconds = WINDOW_SECONDS
        self._invalid: deque[float] = deque()
        self._banned = False

    @property
    def window_seconds(self) -> float:
        """Seconds in which a webhook takes five requests."""
        return self._window_seconds

    @window_seconds.setter
    def window_seconds(self, seconds: float) -> None:
        self._window_seconds = seconds
        self._window = Window(LIMIT, seconds, self.setting.clock)

    @property
    def url(self) -> str:
        """The webhook of a text channel."""
        return self._address(self._main)

    @property
    def forum_url(self) -> str:
        """The webhook of a forum channel."""
        return self._address(self._forum)

    def add_webhook(self) -> str:
        """Make another webhook, and return its address."""
        hook = self._posts.new_hook()
        self._hooks[hook.id] = hook
        return self._address(hook)

    def add_thread(self) -> str:
        """Begin a thread in the text channel, and return its id."""
        thread = self._posts.new_id()
        self._main.threads.add(thread)
        return thread

    def delete_thread(self, thread: str) -> None:
        """Delete a thread, with what is in it."""
        for hook in self._hooks.values():
            hook.threads.discard(thread)

    def delete_message(self, message_id: str) -> None:
        """Delete a message; the record still has it."""
        self._posts.delete(message_id)

    def revoke(self) -> None:
        """Delete all webhooks: unknown from now on."""
        self._hooks.clear()

    def section(self) -> dict[str, Any]:
        """Return a channel section for the text channel."""
        return {"type": "discord", "webhook_url": self.url}

    def answer(self, request: Request) -> Answer:
        """Check the webhook and its rate, then do what is asked."""
        found = _PATH.fullmatch(request.path)
        hook = self._hooks.get(found["id"]) if found else None
        if found is None or hook is None:
            return _error(DiscordError(HTTPStatus.NOT_FOUND, UNKNOWN_WEBHOOK, "Unknown Webhook"))
        if found["token"] != hook.token:
            return _error(DiscordError(HTTPStatus.UNAUTHORIZED, 50027, "Invalid Webhook Token"))
        return self._limited(request, hook, found["message"])

    def lane(self, request: Request) -> str:
        """Return what is limited: the webhook, whatever message is edited."""
        return request.path.partition("/messages/")[0]

    def gone(self, answer: Answer) -> bool:
        """Whether the webhook was deleted."""
        return answer.status == HTTPStatus.NOT_FOUND and _said(answer).get("code") == UNKNOWN_WEBHOOK

    def pause(self, request: Request, answer: Answer) -> tuple[str, float]:
        """Return the lane and the larger of header and body; a global limit closes every lane."""
        lane, seconds = super().pause(request, answer)
        if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
            return lane, seconds
        said = _said(answer)
        if not said:
            return "", max(seconds, CLOUDFLARE_SECONDS)
        wish = said.get("retry_after")
        longest = max(seconds, float(wish) if isinstance(wish, int | float) else 0.0)
        return ("" if said.get("global") else lane), longest

    def _answered(self, request: Request, fault: Fault | None) -> Answer:
        if self._banned:
            page = b"<html><title>Access denied</title><h1>Error 1015</h1></html>"
            return Answer(HTTPStatus.FORBIDDEN, page, {"Content-Type": "text/html"}, refused="banned")
        answer = super()._answered(request, fault)
        # Only the client's own mistakes count: a limit that others used up is none.
        if answer.status in _INVALID and answer.headers.get("X-RateLimit-Scope") != "shared":
            self._count_invalid()
        return answer

    def _count_invalid(self) -> None:
        now = self.setting.clock()
        self._invalid.append(now)
        while self._invalid[0] < now - BAN_WINDOW_SECONDS:
            self._invalid.popleft()
        self._banned = len(self._invalid) >= self.ban_after

    def _limited(self, request: Request, hook: Hook, message_id: str | None) -> Answer:
        if not self.rate_limited:
            return self._act(request, hook, message_id)
        bucket = f"{request.method} {hook.id}"
        quota = self._window.take(bucket)
        # Rounded up: who waits so long must not come too early.
        after = math.ceil(quota.reset_after * 1000) / 1000
        rate = {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(quota.remaining),
            "X-RateLimit-Reset": f"{self.setting.wall() + after:.3f}",
            "X-RateLimit-Reset-After": f"{after:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(bucket.encode()).hexdigest()[:16],
        }
        if quota.allowed:
            answer = self._act(request, hook, message_id)
        else:
            why = f"over {LIMIT} in {self.window_seconds:g} s"
            answer = replace(scripted(too_many(after)), refused=why)
        return replace(answer, headers={**answer.headers, **rate})

    def _act(self, request: Request, hook: Hook, message_id: str | None) -> Answer:
        try:
            return self._posts.act(request, hook, message_id)
        except DiscordError as error:
            return _error(error)

    def _address(self, hook: Hook) -> str:
        return f"{self.base_url}/api/webhooks/{hook.id}/{hook.token}"


def _error(error: DiscordError) -> Answer:
    body: dict[str, Any] = {"message": str(error), "code": error.code}
    if error.errors:
        body["errors"] = embeds.tree(error.errors)
    return as_json(error.status, body, f"{error.code}: {error} {error.errors or ''}".rstrip())


def _said(answer: Answer) -> dict[str, Any]:
    try:
        return bodies.json_object(answer.body)
    except ValueError:
        return {}
