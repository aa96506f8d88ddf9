"""Slack's Web API: always status 200, and `ok` says what happened."""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from knell.lab import bodies, slack_message
from knell.lab.limits import Bucket
from knell.lab.record import Answer, Request
from knell.lab.server import as_json
from knell.lab.slack_message import SlackError

if TYPE_CHECKING:
    from collections.abc import Callable

    from knell.lab.slack import Slack

TIER_3, TIER_4 = 50, 100
"""Calls a minute for each method (docs.slack.dev, "Rate limits")."""

_JSON_FIELDS = ("blocks", "attachments", "files", "metadata")
_CUSTOM = ("username", "icon_emoji", "icon_url")
_MESSAGE = ("text", "blocks", "attachments")
_EMOJI = re.compile(r"[a-z0-9_+'\-]+")

Arguments = dict[str, Any]


class SlackApi:
    """The methods an app with a bot token can call."""

    def __init__(self, slack: "Slack") -> None:
        self._slack = slack
        clock = slack.setting.clock
        self._tiers = {tier: Bucket(tier, tier / 60, clock) for tier in (TIER_3, TIER_4)}
        self._reactions: set[tuple[str, str, str]] = set()
        self._methods: dict[str, tuple[str, Callable[[Arguments], Arguments]]] = {
            "auth.test": ("", self._auth_test),
            "chat.postMessage": ("chat:write", self._post),
            "chat.update": ("chat:write", self._update),
            "reactions.add": ("reactions:write", self._react),
            "reactions.remove": ("reactions:write", self._take_back),
            "conversations.info": ("channels:read", self._info),
            "files.getUploadURLExternal": ("files:write", self._begin),
            "files.completeUploadExternal": ("files:write", self._complete),
        }

    def answer(self, request: Request) -> Answer:
        """Call a method."""
        try:
            result = self._call(request)
        except SlackError as error:
            body = {"ok": False, "error": error.code, **error.more}
            if seconds := error.more.get("retry_after"):
                head = {"Retry-After": str(seconds)}
                return as_json(HTTPStatus.TOO_MANY_REQUESTS, body, f"{error.code}: {error}", head)
            return as_json(HTTPStatus.OK, body, f"{error.code}: {error}")
        head = {"X-OAuth-Scopes": ",".join(sorted(self._slack.scopes))}
        return as_json(HTTPStatus.OK, {"ok": True, **result}, headers=head)

    def _call(self, request: Request) -> Arguments:
        name = request.path.rpartition("/")[2]
        arguments_ = arguments(request)
        self._authorise(request, arguments_)
        if name == "files.upload":
            raise SlackError("method_deprecated", "files.upload ended on 2025-11-12")
        if name not in self._methods:
            raise SlackError("unknown_method", name)
        scope, method = self._methods[name]
        self._need(scope)
        return method(arguments_)

    def _authorise(self, request: Request, given: Arguments) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token if scheme.lower() == "bearer" else str(given.get("token", ""))
        if not token:
            raise SlackError("not_authed", "no token")
        if token != self._slack.bot_token:
            raise SlackError("invalid_auth", "wrong token")

    def _need(self, scope: str) -> None:
        if scope and scope not in self._slack.scopes:
            have = ",".join(sorted(self._slack.scopes))
            raise SlackError("missing_scope", f"needs {scope}", needed=scope, provided=have)

    def _auth_test(self, _: Arguments) -> Arguments:
        return {
            "url": f"{self._slack.base_url}/",
            "team": "Lab",
            "user": "knell",
            "team_id": "T0LAB00001",
            "user_id": "U0LAB00001",
            "bot_id": "B0LAB00001",
        }

    def _post(self, given: Arguments) -> Arguments:
        channel = self._channel(given.get("channel"), names=True)
        if any(given.get(name) for name in _CUSTOM):
            self._need("chat:write.customize")
        self._slack.limit(channel)
        payload = {name: value for name, value in given.items() if name not in {"token", "channel"}}
        slack_message.check(payload)
        message = self._slack.post(payload, channel)
        return {"channel": channel, "ts": message.id, "message": _shown(message.payload, message.id)}

    def _update(self, given: Arguments) -> Arguments:
        self._limit("chat.update")
        channel = self._channel(given.get("channel"), names=False)
        ts = str(given.get("ts", ""))
        self._slack.edit(channel, ts, {name: given[name] for name in _MESSAGE if name in given})
        _, payload = self._slack.posted(channel, ts)
        return {"channel": channel, "ts": ts, "text": payload.get("text", ""), "message": _shown(payload, ts)}

    def _react(self, given: Arguments) -> Arguments:
        self._limit("reactions.add")
        channel, ts, name = reaction = self._reaction(given)
        self._slack.posted(channel, ts)
        if reaction in self._reactions:
            raise SlackError("already_reacted", name)
        self._reactions.add(reaction)
        if found := self._slack.find(ts):
            self._slack.change(ts, reactions=(*found.reactions, name))
        return {}

    def _take_back(self, given: Arguments) -> Arguments:
        self._limit("reactions.remove")
        channel, ts, name = reaction = self._reaction(given)
        self._slack.posted(channel, ts)
        if reaction not in self._reactions:
            raise SlackError("no_reaction", name)
        self._reactions.remove(reaction)
        if found := self._slack.find(ts):
            self._slack.change(ts, reactions=tuple(other for other in found.reactions if other != name))
        return {}

    def _reaction(self, given: Arguments) -> tuple[str, str, str]:
        channel = self._channel(given.get("channel"), names=False)
        name = str(given.get("name", ""))
        if not _EMOJI.fullmatch(name):
            raise SlackError("invalid_name", f"{name!r} is no emoji's name")
        return channel, str(given.get("timestamp", "")), name

    def _info(self, given: Arguments) -> Arguments:
        self._limit("conversations.info")
        for name, channel_id in self._slack.channels.items():
            if channel_id == given.get("channel"):
                member = name not in self._slack.not_member
                archived = name in self._slack.archived
                shown = {"id": channel_id, "name": name, "is_member": member, "is_archived": archived}
                return {"channel": shown}
        raise SlackError("channel_not_found", f"no channel {given.get('channel')!r}")

    def _begin(self, given: Arguments) -> Arguments:
        self._limit("files.getUploadURLExternal", TIER_4)
        return self._slack.uploads.begin(given)

    def _complete(self, given: Arguments) -> Arguments:
        self._limit("files.completeUploadExternal", TIER_4)
        channel = given.get("channel_id")
        known = self._channel(channel, names=False) if channel else ""
        done = self._slack.uploads.complete(given, known)
        self._slack.check_thread(known, given.get("thread_ts"))
        return done

    def _limit(self, method: str, tier: int = TIER_3) -> None:
        wait = self._tiers[tier].take(method) if self._slack.rate_limited else 0.0
        if wait:
            raise SlackError("ratelimited", f"over {tier} a minute", retry_after=int(wait) + 1)

    def _channel(self, value: object, *, names: bool) -> str:
        """Return a channel's id. Only old methods such as `chat.postMessage` take names (slack-sdk #696)."""
        text = str(value or "")
        for name, channel_id in self._slack.channels.items():
            if text == channel_id or (names and text.removeprefix("#") == name):
                self._slack.check_open(name)
                if name in self._slack.not_member:
                    raise SlackError("not_in_channel", f"the app is not in #{name}")
                return channel_id
        raise SlackError(
            "channel_not_found", f"no channel {text!r}" + ("" if names else " (an id is needed)")
        )


def arguments(request: Request) -> Arguments:
    """Read a call's arguments from its query and its body.

    Raises:
        SlackError: they cannot be read, or not in this form.
    """
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            if request.path.endswith("files.getUploadURLExternal"):
                raise SlackError("invalid_arguments", "this method takes a form, no JSON")
            return {**request.query, **bodies.json_object(request.body)}
        given: Arguments = {**request.query, **_fields(kind, request)}
        return {name: _decoded(name, value) for name, value in given.items()}
    except ValueError as error:
        raise SlackError("invalid_json" if "json" in kind else "invalid_form_data", str(error)) from error


def _fields(kind: str, request: Request) -> dict[str, str]:
    if kind != "multipart/form-data":
        return bodies.form(request.body)
    parts = bodies.multipart(request.headers["Content-Type"], request.body)
    return {part.name: part.content.decode() for part in parts}


def _decoded(name: str, value: str) -> Any:
    return msgspec.json.decode(value) if name in _JSON_FIELDS else value


def _shown(payload: Arguments, ts: str) -> Arguments:
    kept = {name: payload[name] for name in (*_MESSAGE, "thread_ts") if name in payload}
    return {"type": "message", "subtype": "bot_message", "bot_id": "B0LAB00001", "ts": ts, **kept}
