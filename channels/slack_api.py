"""Calls of Slack's Web API, and how often each method may be called."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import SecretStr

from knell.messages import Delivered, Outcome, Reason, Rejected, Retry

from .answer import Answer
from .http import Http
from .slack_answers import DESTINATION, by_api, word_of

Json = dict[str, Any]

TIERS = {
    "chat.update": 50,
    "reactions.add": 50,
    "reactions.remove": 50,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
}
"""Calls a minute of each method for one workspace (docs.slack.dev, "Rate limits": tiers 3 and 4)."""

BURST = 0.2
"""Part of a minute's calls that may come at once; the rest flows evenly, so that no minute holds too many."""

REST_SECONDS = 3600.0
"""How long a method rests that the app may not call: until somebody has given it the scope (ours)."""

_FORMS = {"files.getUploadURLExternal", "conversations.info"}
"""Methods that take a form and no JSON (docs.slack.dev, "Web API", on content types)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call.

    Attributes:
        outcome: `Delivered` when Slack did as it was told.
        data: the answer's JSON, empty when there was none.
        word: Slack's error word, empty when there was none.
        scopes: what the token may do; empty where Slack did not say.
    """

    outcome: Outcome
    data: Json = field(default_factory=dict[str, Any], repr=False)
    word: str = ""
    scopes: frozenset[str] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether Slack did as it was told."""
        return isinstance(self.outcome, Delivered)

    def text(self, name: str) -> str:
        """Return a text of the answer, empty when there is none."""
        value = self.data.get(name)
        return value if isinstance(value, str) else ""


class Tiers:
    """Keeps the calls of each method below its tier, and away from one that Slack closed for a while.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        self._closed: dict[str, tuple[float, str]] = {}
        self._barred: set[str] = set()

    def is_barred(self, method: str) -> bool:
        """Whether the app may not call a method at all, so that it is no use to wait."""
        return method in self._barred

    def take(self, method: str) -> str:
        """Count a call, or return why there must be none now."""
        now = self._clock()
        until, why = self._closed.get(method, (now, ""))
        if now < until:
            return why
        self._barred.discard(method)
        calls = TIERS[method]
        burst = calls * BURST
        level, then = self._levels.get(method, (burst, now))
        level = min(burst, level + (now - then) * calls * (1 - BURST) / 60)
        if level < 1:
            self._levels[method] = level, now
            return f"over {calls} calls of {method} a minute"
        self._levels[method] = level - 1, now
        return ""

    def rest(self, method: str, seconds: float, why: str) -> None:
        """Let a method alone for a while, or longer if it is so already."""
        until = self._clock() + seconds
        if until > self._closed.get(method, (0.0, ""))[0]:
            self._closed[method] = until, why

    def learn(self, method: str, outcome: Outcome) -> None:
        """Let a method rest that Slack limits, or that the app may not call."""
        if isinstance(outcome, Retry) and outcome.reason is Reason.RATE_LIMIT:
            self.rest(method, outcome.after or 1.0, outcome.detail)
        elif isinstance(outcome, Rejected) and outcome.reason is Reason.AUTHENTICATION:
            self.rest(method, REST_SECONDS, outcome.detail)
            self._barred.add(method)


class SlackApi:
    """The Web API with one bot token."""

    def __init__(self, http: Http, base_url: str, token: SecretStr) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._token = token

    async def call(self, method: str, given: Mapping[str, Any], seconds: float) -> Reply:
        """Call a method, once; a limit or refusal is in the reply."""
        head = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        url = f"{self._base_url}/{method}"
        if method in _FORMS:
            form = {name: str(value) for name, value in given.items()}
            answer = await self._http.post(url, form=form, headers=head, timeout=seconds)
        else:
            head["Content-Type"] = "application/json; charset=utf-8"
            answer = await self._http.post(url, json=dict(given), headers=head, timeout=seconds)
        return _reply(answer) if isinstance(answer, Answer) else Reply(answer)

    async def upload(self, url: str, content: bytes, seconds: float) -> Outcome:
        """Send a file's bytes where Slack said; the token does not go with them."""
        head = {"Content-Type": "application/octet-stream"}
        answer = await self._http.post(url, body=content, headers=head, timeout=seconds)
        if not isinstance(answer, Answer):
            return answer
        return Delivered() if answer.ok else _reply(answer).outcome


def _reply(answer: Answer) -> Reply:
    data = answer.json_object()
    listed = answer.headers.get("X-OAuth-Scopes", "")
    return Reply(
        by_api(answer),
        data,
        word_of(data.get("error")),
        frozenset(name for part in listed.split(",") if (name := part.strip())),
    )


async def post(call: Callable[[Json], Awaitable[Reply]], payload: Json, *, dynamic: bool) -> Reply:
    """Post a message; one whose blocks are refused is posted again at once as plain text.

    Args:
        call: posts a payload.
        payload: the message.
        dynamic: the message itself names its channel, so that it is to blame for one that does not work.
    """
    first = await call(payload)
    plain = {name: value for name, value in payload.items() if name not in {"blocks", "attachments"}}
    outcome = first.outcome
    if isinstance(outcome, Rejected) and dynamic and first.word in DESTINATION:
        return dataclasses.replace(first, outcome=Rejected(Reason.RECIPIENT, outcome.detail))
    if not (isinstance(outcome, Rejected) and outcome.reason is Reason.INVALID_MESSAGE) or plain == payload:
        return first
    second = await call(plain)
    if isinstance(second.outcome, Delivered):
        detail = f"{outcome.detail}; sent as plain text"
        return dataclasses.replace(second, outcome=msgspec.structs.replace(second.outcome, detail=detail))
    return first if isinstance(second.outcome, Rejected) else second
