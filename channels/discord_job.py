"""What a Discord channel remembers of a job: the message that shows its state, and its forum post."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from knell.events import EventType, NotificationEvent, Severity

from ..templates.text import cut, one_line
from .base import titles
from .discord_config import MAX_THREAD_NAME
from .memory import Memory

_FINAL = frozenset({EventType.JOB_COMPLETED, EventType.JOB_FAILED, "job_cancelled", "job_canceled"})


class Place(NamedTuple):
    """Where a job is shown: ids of Discord's, empty for none."""

    message: str = ""
    thread: str = ""


class Job:
    """The job a message is about, in a channel's memory.

    Args:
        name: what tells it from others; empty when the events are about no job, or about several.
    """

    def __init__(self, memory: Memory, name: str) -> None:
        self._memory = memory
        # Of one length, whatever a job is called.
        digest = blake2b(name.encode(errors="replace"), digest_size=16).hexdigest()
        self._key = f"job:{digest}" if name else ""

    async def place(self) -> Place:
        """Return where it is shown.

        Raises:
            StoreError: the memory cannot be read.
        """
        noted = await self._memory.get(self._key) if self._key else None
        return Place(str(noted.get("message", "")), str(noted.get("thread", ""))) if noted else Place()

    def move(self, place: Place) -> None:
        """Note where it is shown from now on; at no place at all it is forgotten."""
        if self._key:
            self._memory.put(self._key, place._asdict() if any(place) else None)


def job_of(events: Sequence[NotificationEvent]) -> str:
    """Return the job that all of these events are about."""
    ids = {str(event.metadata.get("job_id") or "") for event in events}
    return ids.pop() if len(ids) == 1 else ""


def is_over(events: Sequence[NotificationEvent]) -> bool:
    """Whether a job has come to its end."""
    return any(event.event_type in _FINAL for event in events)


def rings(events: Sequence[NotificationEvent]) -> bool:
    """Whether somebody has to notice: an edited message makes no sound."""
    return is_over(events) or any(Severity(event.severity).rank >= Severity.ERROR.rank for event in events)


def thread_name(form: str, events: Sequence[NotificationEvent]) -> str:
    """Return the name of the post that is opened for these events; one of no job is called by its title."""
    first = events[0]
    values = {
        "job": job_of(events) or titles(events),
        "title": first.title,
        "type": str(first.event_type),
        "source": first.source,
    }
    return cut(one_line(form.format_map(values)), MAX_THREAD_NAME).strip() or str(first.event_type)
