"""One thread for each job: what a message is to it, and what its first message shows. Pure decisions."""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, cast

import msgspec

from knell.events import EventType, NotificationEvent, Severity

from .fit import fit_slack, shorten
from .slack_answers import escape

Json = dict[str, Any]

MAX_FIELDS = 10
"""Fields of a section (slack_sdk `models/blocks/blocks.py`)."""

_LONGEST_KEY = 200
_LONGEST_BEGINNING = 300
_CANCELLED = {"cancelled", "canceled"}


class State(StrEnum):
    """Where a job stands."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


Turn = tuple[State, NotificationEvent]
"""Where a job stands now, and the event that says so."""

_STATES = {
    EventType.JOB_STARTED: State.STARTED,
    EventType.JOB_COMPLETED: State.SUCCEEDED,
    EventType.JOB_FAILED: State.FAILED,
    "job_cancelled": State.CANCELLED,
    "job_canceled": State.CANCELLED,
}

_SIGNS = {
    State.STARTED: ":rocket:",
    State.SUCCEEDED: ":white_check_mark:",
    State.FAILED: ":x:",
    State.CANCELLED: ":no_entry_sign:",
}


class Thread(msgspec.Struct, frozen=True):
    """What is remembered of a job: plain data, kept in the channel's memory.

    Attributes:
        channel: the channel's id.
        ts: the parent's ts, never a reply's.
        reaction: the emoji on the parent that shows the state.
        began: the text of a parent that told of something else than the job's start.
        facts: fields of a parent that told of the job's start: project, branch and the like.
    """

    channel: str
    ts: str
    reaction: str = ""
    began: str = ""
    facts: tuple[str, ...] = ()


def read(note: object) -> Thread | None:
    """Read what was remembered; None when it is nothing, or not readable any more."""
    try:
        return msgspec.convert(note, Thread)
    except msgspec.ValidationError:
        return None


def key(channel: str, job: str) -> str:
    """Return the key a job's thread is remembered by; another channel has threads of its own."""
    text = f"thread {channel} {job}"
    return text if len(text) <= _LONGEST_KEY else f"thread {hashlib.sha256(text.encode()).hexdigest()}"


def jobs(events: Sequence[NotificationEvent]) -> list[str]:
    """Return the jobs of a message, each once; empty for an event that names none."""
    return list(dict.fromkeys(_job(event) for event in events))


def turn(events: Sequence[NotificationEvent], job: str) -> Turn | None:
    """Return where a message leaves a job, and the event that says so; None when it says nothing of that."""
    states = [(state, event) for event in events if _job(event) == job and (state := _state(event))]
    return states[-1] if states else None


def is_loud(events: Sequence[NotificationEvent]) -> bool:
    """Whether a reply is worth showing in the channel too: a job has failed, or something is critical."""
    return any(_state(event) is State.FAILED or event.severity == Severity.CRITICAL for event in events)


def begun(channel: str, ts: str, payload: Json, events: Sequence[NotificationEvent]) -> Thread:
    """Return what is to be remembered of a job whose first message was posted."""
    if [_state(event) for event in events] == [State.STARTED]:
        return Thread(channel, ts, facts=tuple(_fields(payload)))
    if all(_state(event) for event in events):
        return Thread(channel, ts)
    return Thread(
        channel, ts, began=shorten(" ".join(str(payload.get("text", "")).split()), _LONGEST_BEGINNING)
    )


def view(thread: Thread, payload: Json, state: State, event: NotificationEvent, *, alone: bool) -> Json:
    """Return what the parent shows from now on: the state, and what it told before that is not repeated.

    Args:
        thread: what the parent told.
        payload: the message that tells of the state.
        state: where the job stands.
        event: the event that says so.
        alone: whether the message tells of nothing else; a digest does not stand for the job.
    """
    if alone:
        text, blocks = str(payload.get("text", "")), _with_facts(payload, thread.facts)
    else:
        text, blocks = f"{_SIGNS[state]} {escape(event.title)}", []
    if thread.began:
        blocks = blocks or [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": thread.began}]})
    attachments = _objects(payload.get("attachments")) if alone else []
    # Empty lists where there is nothing: what is not named would stay.
    return {"blocks": [], **fit_slack({"text": text, "blocks": blocks}), "attachments": attachments}


def _job(event: NotificationEvent) -> str:
    job = event.metadata.get("job_id")
    return str(job) if isinstance(job, str | int) else ""


def _state(event: NotificationEvent) -> State | None:
    state = _STATES.get(event.event_type)
    status = str(event.metadata.get("status", "")).lower()
    return State.CANCELLED if state is State.FAILED and status in _CANCELLED else state


def _objects(value: object) -> list[Json]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def _fields(payload: Json) -> list[str]:
    """Return the fields of a message's first section that has any."""
    for block in _objects(payload.get("blocks")):
        if fields := _objects(block.get("fields")):
            return [text for item in fields if isinstance(text := item.get("text"), str)]
    return []


def _with_facts(payload: Json, facts: Sequence[str]) -> list[Json]:
    """Return the blocks with these fields in the first section that has any, but no label twice."""
    blocks = _objects(payload.get("blocks"))
    place = next((place for place, block in enumerate(blocks) if _objects(block.get("fields"))), None)
    if place is not None and facts:
        known = {_label(text) for text in _fields(payload)}
        more = [{"type": "mrkdwn", "text": text} for text in facts if _label(text) not in known]
        fields = [*_objects(blocks[place]["fields"]), *more]
        blocks[place] = {**blocks[place], "fields": fields[:MAX_FIELDS]}
    return blocks


def _label(field: str) -> str:
    return field.partition("\n")[0]
