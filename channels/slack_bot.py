"""Sends with a bot token: a message goes into its job's thread, and the thread's parent shows the state.

The message comes first and alone decides the outcome, except that a parent is edited before: whether that can
still be done decides where the message goes.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from knell.errors import StoreError
from knell.messages import Delivered, FormattedMessage, Outcome, Reason, Retry

from . import slack_thread
from .memory import Memory
from .slack_api import Json, Reply, SlackApi, Tiers, post
from .slack_config import SlackConfig
from .slack_files import Uploads
from .slack_thread import Thread, Turn
from .slack_touches import LEAST_SECONDS, Touches

TOUCH_SHARE = 0.25
"""Part of an attempt's time that an edit or a reaction may take: the message needs the rest (ours)."""

SENT_SECONDS = 86400.0
"""How long it is remembered that a message was posted whose attempt has not come to its end (ours)."""

_UNTHREADED = {
    "cannot_reply_to_message",
    "invalid_thread_ts",
    "message_not_found",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_not_found",
}
"""Error words that are about the thread only (docs.slack.dev, "chat.postMessage")."""


@dataclass(slots=True)
class _Errand:
    """One attempt.

    Attributes:
        left: returns the seconds that are left of those of the attempt.
        job: the one job the message is about; empty when it is about none, several, or threads are off.
        thread: the job's thread, None as long as there is none.
        sent: where the message was posted, by this attempt or by an earlier one that did not come to its end.
        is_kept: whether that is remembered.
        notes: what could not be done besides, in plain words.
    """

    payload: Json
    message: FormattedMessage
    left: Callable[[], float]
    seconds: float
    job: str = ""
    thread: Thread | None = None
    sent: dict[str, Any] = field(default_factory=dict[str, Any])
    is_kept: bool = False
    notes: list[str] = field(default_factory=list[str])

    @property
    def key(self) -> str:
        """What the job's thread is remembered by."""
        return self.key_of(self.job)

    def spare(self) -> float:
        """Return the seconds that something besides the message may take."""
        return min(self.left(), self.seconds * TOUCH_SHARE)

    def key_of(self, job: str) -> str:
        """Return what a job's thread is remembered by."""
        return slack_thread.key(self.payload["channel"], job)

    def turn(self, job: str) -> Turn | None:
        """Return where the message leaves a job."""
        return slack_thread.turn(self.message.events, job)


class Bot:
    """One Slack channel, as an app with a bot token sees it.

    Args:
        config: the section.
        api: the Web API.
        memory: where threads are remembered.
        clock: monotonic seconds.
    """

    def __init__(
        self, config: SlackConfig, api: SlackApi, memory: Memory, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._api = api
        self._memory = memory
        self._clock = clock
        tiers = Tiers(clock)
        self._touches = Touches(api, tiers)
        self._uploads = Uploads(api, tiers)

    async def send(self, payload: Json, message: FormattedMessage) -> Outcome:
        """Post a message where it belongs, and keep its job's thread up to date."""
        try:
            errand = await self._begun(payload, message)
        except StoreError as error:
            return Retry(Reason.SERVER_ERROR, None, f"the job's thread cannot be looked up: {error}")
        if not errand.sent:
            await self._edit(errand)
            outcome = await self._post(errand)
            if not isinstance(outcome, Delivered):
                return outcome
        if errand.thread is not None:
            await self._react(errand, errand.job, errand.thread)
        await self._share(errand)
        with suppress(StoreError):
            await self._tell_others(errand)
        await self._touches.make_up(errand.spare)
        if errand.is_kept:
            self._memory.put(_sent_key(message), None)
        return Delivered(errand.sent["receipt"], "; ".join(errand.notes))

    # The steps of an attempt

    async def _begun(self, payload: Json, message: FormattedMessage) -> _Errand:
        seconds = self._config.timeout_seconds
        end = self._clock() + seconds
        errand = _Errand(payload, message, lambda: max(0.0, end - self._clock()), seconds)
        jobs = slack_thread.jobs(message.events)
        if self._config.threads and len(jobs) == 1 and jobs[0] and "thread_ts" not in payload:
            errand.job = jobs[0]
            errand.thread = slack_thread.read(await self._memory.get(errand.key))
        if message.attempt > 1:
            errand.sent = await self._memory.get(_sent_key(message)) or {}
            errand.is_kept = bool(errand.sent)
        return errand

    async def _edit(self, errand: _Errand) -> None:
        """Let the parent show where the job stands; a parent that takes no edit any more is left behind."""
        if errand.thread and await self._is_lost(errand, errand.job, errand.thread):
            errand.thread = None

    async def _is_lost(self, errand: _Errand, job: str, thread: Thread) -> bool:
        """Edit a job's parent if its state has changed; return whether it cannot be edited any more."""
        turn = errand.turn(job)
        if turn is None or not self._config.edit_parent:
            return False
        state, event = turn
        alone = len(errand.message.events) == 1
        view = slack_thread.view(thread, errand.payload, state, event, alone=alone)
        problem, lost = await self._touches.edit(thread.channel, thread.ts, view, errand.spare())
        errand.notes += [f"first message {problem}"] if problem else []
        return lost

    async def _post(self, errand: _Errand) -> Outcome:
        reply = None
        if errand.thread is not None:
            loud = self._config.broadcast_failures and slack_thread.is_loud(errand.message.events)
            more = {"thread_ts": errand.thread.ts} | ({"reply_broadcast": True} if loud else {})
            reply = await self._call({**errand.payload, **more}, errand)
        if reply is None or reply.word in _UNTHREADED:
            errand.thread = None
            reply = await self._call(errand.payload, errand)
        if isinstance(reply.outcome, Delivered):
            errand.notes += [reply.outcome.detail] if reply.outcome.detail else []
            self._note(errand, reply)
        return reply.outcome

    async def _call(self, payload: Json, errand: _Errand) -> Reply:
        async def call(given: Json) -> Reply:
            return await self._api.call("chat.postMessage", given, max(errand.left(), LEAST_SECONDS))

        return await post(call, payload, dynamic=payload["channel"] != self._config.channel)

    def _note(self, errand: _Errand, reply: Reply) -> None:
        """Remember where a message is, before anything else is waited for."""
        channel, ts = reply.text("channel"), reply.text("ts")
        shown = reply.data.get("message")
        if errand.thread and isinstance(shown, dict) and "thread_ts" not in shown:
            # Slack makes a message of the channel out of a reply to a deleted one (slack-go #1571).
            errand.thread = None
        receipt = {"ts": ts, "channel": channel} | ({"thread_ts": errand.thread.ts} if errand.thread else {})
        errand.sent = {"receipt": receipt}
        if errand.job and ts and errand.thread is None:
            errand.thread = slack_thread.begun(channel, ts, errand.payload, errand.message.events)
            self._memory.put(errand.key, msgspec.to_builtins(errand.thread))
        if errand.message.attachments or any(map(errand.turn, slack_thread.jobs(errand.message.events))):
            self._keep(errand)

    def _keep(self, errand: _Errand) -> None:
        """Remember that the message is posted, until its attempt has come to its end."""
        errand.is_kept = True
        self._memory.put(_sent_key(errand.message), errand.sent, SENT_SECONDS)

    async def _react(self, errand: _Errand, job: str, thread: Thread) -> None:
        """Let the reaction on a job's parent show where the job stands."""
        turn = errand.turn(job)
        emoji = self._config.emoji(turn[0]) if turn else thread.reaction
        if not self._config.reactions or emoji == thread.reaction:
            return
        errand.notes += await self._touches.react(
            thread.channel, thread.ts, (thread.reaction, emoji), errand.spare
        )
        changed = msgspec.structs.replace(thread, reaction=emoji)
        self._memory.put(errand.key_of(job), msgspec.to_builtins(changed))

    async def _share(self, errand: _Errand) -> None:
        """Upload the message's files into its thread, once at most."""
        files, receipt = errand.message.attachments, errand.sent["receipt"]
        if not files or errand.sent.get("shared"):
            return
        if not (self._config.upload_files and receipt["ts"]):
            why = "Slack named no ts" if self._config.upload_files else "upload_files is off"
            errand.notes.append(f"{len(files)} files not sent: {why}")
            return
        errand.sent["shared"] = True
        self._keep(errand)
        thread = receipt.get("thread_ts") or receipt["ts"]
        errand.notes += await self._uploads.share(files, receipt["channel"], thread, errand.left)

    async def _tell_others(self, errand: _Errand) -> None:
        """Let the parents of jobs show what a digest of several jobs says about them."""
        jobs = slack_thread.jobs(errand.message.events)
        for job in jobs if self._config.threads and len(jobs) > 1 else ():
            if not (job and errand.turn(job)):
                continue
            thread = slack_thread.read(await self._memory.get(errand.key_of(job)))
            if thread and await self._is_lost(errand, job, thread):
                self._memory.put(errand.key_of(job), None)
            elif thread:
                await self._react(errand, job, thread)


def _sent_key(message: FormattedMessage) -> str:
    return f"sent {message.id}"
