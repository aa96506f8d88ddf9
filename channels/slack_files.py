"""Files into a thread, in the three steps Slack wants: ask for an address, send the bytes, share once.

`files.upload` ended on 2025-11-12 (docs.slack.dev, "files.getUploadURLExternal").
"""

from collections.abc import Callable, Sequence
from typing import Any

from knell.messages import Attachment, Delivered

from ..templates.text import cut, one_line
from .slack_api import SlackApi, Tiers

LEAST_SECONDS = 0.5
"""Time below which a step is not begun (ours)."""

_LONGEST_NAME = 200

_BEGIN, _COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"


class Uploads:
    """Uploads files; what cannot be uploaded is told, and never fails a delivery.

    Args:
        api: the Web API.
        tiers: how often it may be called.
    """

    def __init__(self, api: SlackApi, tiers: Tiers) -> None:
        self._api = api
        self._tiers = tiers

    async def share(
        self, files: Sequence[Attachment], channel: str, thread: str, left: Callable[[], float]
    ) -> list[str]:
        """Put files into the thread of a message, and return what went wrong, in plain words.

        Args:
            files: what to upload.
            channel: the channel's id; with a thread there can be only one.
            thread: the parent's ts.
            left: returns the seconds that are left.
        """
        ready: list[dict[str, str]] = []
        problems: list[str] = []
        for file in files:
            name = cut(one_line(file.filename), _LONGEST_NAME) or "file"
            file_id, problem = await self._send(name, file.content, left)
            if problem:
                problems.append(f"{name} not sent: {problem}")
            else:
                ready.append({"id": file_id, "title": name})
        if ready:
            place = {"files": ready, "channel_id": channel, "thread_ts": thread}
            if problem := (await self._call(_COMPLETE, place, left))[1]:
                problems += [f"{item['title']} not sent: {problem}" for item in ready]
        return problems

    async def _send(self, name: str, content: bytes, left: Callable[[], float]) -> tuple[str, str]:
        """Take the first two steps; return the file's id, or what went wrong."""
        if not content:
            return "", "it is empty"
        given = {"filename": name, "length": len(content)}
        answer, problem = await self._call(_BEGIN, given, left)
        url, file_id = answer.get("upload_url"), answer.get("file_id")
        if problem or not (isinstance(url, str) and isinstance(file_id, str)):
            return "", problem or "Slack named no address to send it to"
        if (seconds := left()) < LEAST_SECONDS:
            return "", "no time was left"
        outcome = await self._api.upload(url, content, seconds)
        return file_id, "" if isinstance(outcome, Delivered) else outcome.detail

    async def _call(
        self, method: str, given: dict[str, Any], left: Callable[[], float]
    ) -> tuple[dict[str, Any], str]:
        """Call a method if it may be called now; return its answer, or why there is none."""
        if (seconds := left()) < LEAST_SECONDS:
            return {}, "no time was left"
        if why := self._tiers.take(method):
            return {}, why
        reply = await self._api.call(method, given, seconds)
        self._tiers.learn(method, reply.outcome)
        return reply.data, "" if isinstance(reply.outcome, Delivered) else reply.outcome.detail
