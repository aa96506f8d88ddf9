"""Discord, by a webhook."""

import re
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec
from yarl import URL

from knell.errors import StoreError
from knell.events import EventType
from knell.messages import (
    Delivered,
    FormattedMessage,
    HealthStatus,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Scope,
    Unknown,
)

from ..templates.text import cut, one_line
from .answer import Answer
from .base import Channel, titles
from .discord_answers import LOST_MESSAGES, LOST_THREADS, classify, code_of
from .discord_config import DiscordConfig
from .discord_draft import Draft, draft, is_blank
from .discord_gate import gate_of
from .discord_job import Job, Place, is_over, job_of, rings, thread_name
from .discord_limits import MAX_CONTENT, fit_discord
from .discord_webhook import Webhook
from .fit_text import cut_escaped
from .http import Http

_MARKUP = re.compile(r"https?://[^\s\\`*|\[\]<>]+|[\\`*_~|\[\]<>]|^[#>-]", re.MULTILINE)

_GONE = "gone"
"""The note of a webhook that Discord no longer knows."""

_WITHOUT_FILES = "without_files"
"""Said in the progress of a message whose files Discord found too large."""


class DiscordChannel(Channel):
    """Posts messages to one Discord webhook, and edits them."""

    Config = DiscordConfig
    default_events: ClassVar[frozenset[str]] = frozenset(
        {
            EventType.JOB_STARTED,
            EventType.JOB_COMPLETED,
            EventType.JOB_FAILED,
            EventType.TASK_COMPLETED,
            EventType.PR_CREATED,
        }
    )
    config: DiscordConfig

    def __init__(self, config: DiscordConfig) -> None:
        super().__init__(config)
        self._url = URL(config.webhook_url.get_secret_value())
        self._mark = blake2b(str(self._url).encode(), digest_size=16).hexdigest()
        names = ("username", "avatar_url")
        self._sender = {name: value for name in names if (value := getattr(config, name))}
        self.clock: Callable[[], float] = time.monotonic

    async def open(self, http: Http) -> None:
        """Take part in the limits that all Discord channels of this client share."""
        await super().open(http)
        self.webhook = Webhook(self._url, http, gate_of(http), self.clock)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a message to Discord's limits."""
        return fit_discord(message, escape)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Post a message, or show it in the place of the one that its job has already."""
        try:
            return await self._send(message)
        except StoreError as error:  # raised before anything of this attempt is shown
            detail = f"where the message belongs cannot be looked up: {error}"
            return Retry(Reason.SERVER_ERROR, None, detail, message.progress)

    def validate_config(self) -> list[str]:
        """Return keys that do not go well together."""
        config, problems = self.config, list[str]()
        if config.batch.enabled and (config.thread_name or config.updates == "edit"):
            problems.append("batch: a digest of several jobs goes into none of their posts and messages")
        if config.concurrency > 1:
            problems.append("concurrency: more than 1 may overrun Discord's limits")
        return problems

    async def health_check(self) -> HealthStatus:
        """Ask Discord what the webhook is; nothing is posted."""
        answer = await self.webhook.look(self._deadline())
        if isinstance(answer, Answer) and answer.ok:
            self.memory.put(_GONE, None)
            said = answer.json_object()
            name, place = (cut(one_line(str(said.get(key) or "?")), 100) for key in ("name", "channel_id"))
            return HealthStatus(healthy=True, detail=f"webhook {name} of channel {place}")
        outcome = classify(answer, time.time()) if isinstance(answer, Answer) else answer
        return HealthStatus(healthy=False, detail=outcome.detail)

    async def _send(self, message: FormattedMessage) -> Outcome:
        if await self.memory.get(_GONE) == self._mark:
            return Rejected(Reason.GONE, "the webhook was deleted: put a new one's address into webhook_url")
        content = message.content
        if isinstance(content, str):
            content = {"content": escape(content) if message.format is MessageFormat.TEXT else content}
        shown, by = draft(content, message.attachments).worded(_title(message)), self._deadline()
        if not shown.files and is_blank(shown.content):
            return Rejected(Reason.INVALID_MESSAGE, "there is nothing to show in it; look at the template")
        if message.progress.get(_WITHOUT_FILES):
            return await self._sent_bare(shown, message, by)
        outcome = await self._deliver(shown, message, by)
        if shown.files and isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE:
            return await self._sent_bare(shown, message, by)
        return self._finished(outcome, shown)

    async def _sent_bare(self, shown: Draft, message: FormattedMessage, by: float) -> Outcome:
        """Send without the files, and remember that when it has to be done again."""
        bare = shown.bare("too large for Discord").worded(_title(message))
        outcome = self._finished(await self._deliver(bare, message, by), bare)
        if isinstance(outcome, Delivered):
            return outcome
        return msgspec.structs.replace(outcome, progress={_WITHOUT_FILES: True})

    def _finished(self, outcome: Outcome, shown: Draft) -> Outcome:
        if isinstance(outcome, Rejected) and outcome.reason is Reason.GONE:
            self.memory.put(_GONE, self._mark)
        if not isinstance(outcome, Delivered):
            return outcome
        receipt: dict[str, Any] = outcome.receipt or {}
        if shown.left_out:
            receipt = {**receipt, "left_out": list(shown.left_out)}
        return msgspec.structs.replace(outcome, receipt=receipt or None, pause=self.webhook.rest or None)

    async def _deliver(self, shown: Draft, message: FormattedMessage, by: float) -> Outcome:
        events = message.events
        job = Job(self.memory, job_of(events))
        known = place = await job.place()
        if self.config.updates == "edit" and known.message:
            edited = await self._edit(shown, known, by)
            if edited is None:
                place = place._replace(message="")
            elif not rings(events) or _ends(edited, message.attempt):
                return _repeatable(edited)
        outcome, place = await self._post(shown, message, place, by)
        if isinstance(outcome, Delivered):
            if is_over(events):
                # Its last state stays to be seen; what comes later, or a second run, begins anew.
                place = place._replace(message="")
            if place != known:
                job.move(place)
        return outcome

    async def _edit(self, shown: Draft, place: Place, by: float) -> Outcome | None:
        """Edit the job's message; None when it cannot be edited any more."""
        answer = await self.webhook.edit(shown, place.message, self._thread(place), by)
        if not isinstance(answer, Answer):
            return answer
        lost = LOST_MESSAGES | LOST_THREADS if self.config.thread_name else LOST_MESSAGES
        return None if code_of(answer) in lost else classify(answer, time.time())

    async def _post(
        self, shown: Draft, message: FormattedMessage, place: Place, by: float
    ) -> tuple[Outcome, Place]:
        """Post, and return where the job is shown afterwards."""
        config, thread, more = self.config, self._thread(place), dict[str, object](self._sender)
        if config.thread_name and not thread:
            more["thread_name"] = thread_name(config.thread_name, message.events)
        answer = await self.webhook.post(shown, more, thread, by)
        if not isinstance(answer, Answer):
            return answer, place
        if config.thread_name and thread and code_of(answer) in LOST_THREADS:
            return await self._post(shown, message, Place(), by)
        outcome = classify(answer, time.time())
        posted: dict[str, Any] = (outcome.receipt or {}) if isinstance(outcome, Delivered) else {}
        return outcome, Place(
            place.message or (str(posted.get("id", "")) if config.updates == "edit" else ""),
            thread or str(posted.get("channel_id", "")) if config.thread_name else "",
        )

    def _deadline(self) -> float:
        """Return by when all requests of an attempt must have ended, which are up to four."""
        return self.clock() + self.config.timeout_seconds

    def _thread(self, place: Place) -> str:
        return self.config.thread_id or (place.thread if self.config.thread_name else "")


def escape(text: str) -> str:
    """Make a text show as it is where Discord reads Markdown; addresses work as they are."""
    return _MARKUP.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", text)


def _title(message: FormattedMessage) -> str:
    return escape(cut_escaped(titles(message.events), MAX_CONTENT, escape))


def _ends(edited: Outcome, attempt: int) -> bool:
    """Whether an edit that went wrong keeps the new message from being posted.

    It goes before the message because it can be repeated without harm. A limit or the channel's own trouble
    would meet the message as well; anything else holds it up once, not for good.
    """
    if isinstance(edited, Delivered):
        return False
    scope = edited.reason.scope
    return scope in {Scope.LIMITED, Scope.CHANNEL, Scope.GONE} or (scope is Scope.TRANSIENT and attempt == 1)


def _repeatable(edited: Outcome) -> Outcome:
    """Say that an edit without an answer may simply be made again: the second changes nothing."""
    return Retry(edited.reason, None, edited.detail) if isinstance(edited, Unknown) else edited
