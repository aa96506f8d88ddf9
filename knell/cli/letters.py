"""Dead letters as text: a line for each, or the whole story of one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import click
import msgspec

from knell.cli.columns import aligned, widths
from knell.cli.plain import brief, plain
from knell.messages import DeliveryState
from knell.store.moments import age
from knell.store.records import AttemptRecord, DeliveryDetail, DeliveryRecord

LEAST_TITLE = 20
"""Characters of a title that are shown however narrow the terminal is."""

_HEAD = ("AGE", "CHANNEL", "EVENT", "REASON", "TRIES", "ID", "TITLE")
_STORY_HEAD = ("TRY", "AT", "OUTCOME", "REASON", "TOOK", "ERROR")
_NUMBERS = {"TRIES", "TRY", "TOOK"}
_COLOURS = {
    DeliveryState.DONE: "green",
    DeliveryState.DEAD: "red",
    DeliveryState.PENDING: "yellow",
    DeliveryState.SENDING: "yellow",
}


def table(records: Sequence[DeliveryRecord], now: datetime, width: int | None) -> Iterator[str]:
    """Return a line for each delivery; titles are cut to the width of a terminal, when there is one."""
    rows = [
        (
            age(record.finished or record.accepted, now),
            record.channel,
            plain(record.event_type),
            record.reason,
            str(record.attempts),
            record.id,
            plain(record.title),
        )
        for record in records
    ]
    used = sum(widths([_HEAD[:-1], *(row[:-1] for row in rows)])) + 2 * (len(_HEAD) - 1)
    room = None if width is None else max(LEAST_TITLE, width - used)
    yield from aligned(_HEAD, [(*row[:-1], _cut(row[-1], room)) for row in rows], _NUMBERS)


def story(detail: DeliveryDetail, now: datetime) -> Iterator[str]:
    """Return everything about one delivery: where it stands, its attempts, what crashed, its event."""
    facts = dict(_facts(detail, now))
    width = max(map(len, facts))
    for name, text in facts.items():
        yield f"{name:<{width}}  {text}"
    yield ""
    if detail.attempts:
        yield from aligned(_STORY_HEAD, [_attempt(attempt) for attempt in detail.attempts], _NUMBERS)
    else:
        yield "it has not been tried yet"
    yield from _traceback(detail)
    yield ""
    yield "the event:"
    for line in msgspec.json.format(msgspec.json.encode(detail.event)).decode().splitlines():
        yield f"  {plain(line)}"


def _facts(detail: DeliveryDetail, now: datetime) -> Iterator[tuple[str, str]]:
    record = detail.delivery
    state = click.style(record.state, fg=_COLOURS.get(record.state))
    yield "delivery", record.id
    if record.finished is not None:
        yield "state", f"{state} since {_time(record.finished)} ({age(record.finished, now)} ago)"
    elif record.next_attempt is not None:
        yield "state", f"{state}, to be tried at {_time(record.next_attempt)}"
    else:
        yield "state", state
    if record.reason and record.state is not DeliveryState.DONE:
        yield "reason", f"{record.reason}: {brief(record.error)}".removesuffix(": ")
    title = f"{plain(record.title)} ({plain(record.event_type)}, {record.severity})"
    yield "event", f"{title} from {plain(detail.event.source)}"
    yield "accepted", f"{_time(record.accepted)} ({age(record.accepted, now)} ago)"
    yield "rule", plain(detail.rule) or "none: the channel's own events"


def _attempt(attempt: AttemptRecord) -> tuple[str, ...]:
    return (
        str(attempt.number),
        _time(attempt.at),
        attempt.outcome,
        attempt.reason,
        f"{attempt.milliseconds} ms",
        brief(attempt.error),
    )


def _traceback(detail: DeliveryDetail) -> Iterator[str]:
    """Show what it crashed with last, at length."""
    long = [attempt for attempt in detail.attempts if "\n" in attempt.error.strip()]
    if long:
        yield ""
        yield f"the crash of try {long[-1].number}:"
        for line in long[-1].error.strip().splitlines():
            yield f"  {plain(line)}"


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else f"{text[: room - 3]}..."


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")
