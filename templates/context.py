"""What templates see: plain data made from the events, in one language.

| name | what |
|---|---|
| `event` | the event's fields; `event.metadata.<key>` prints a dash where there is no such key |
| `metadata` | the same as `event.metadata` |
| `facts` | job, task, status, error, duration, links, ... (`facts.py`) |
| `headline`, `word`, `status_emoji` | what has happened, in words, in one word, in a picture |
| `timestamp`, `timestamp_iso` | when, for people and for machines |
| `severity_color`, `severity_emoji`, `severity_label` | how much it matters |
| `color`, `color_number` | the accent: severity, unless the news are good |
| `labels` | what the facts are called: `labels.duration`, `labels.error`, `labels.source`, ... |
| `dashboard_url`, `locale` | from the configuration |
| `events`, `entries`, `count`, `newest_iso` | a digest: the events, and for each of them all of the above |
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from knell.events import NotificationEvent, Severity

from .facts import facts, labels
from .occasions import SEVERITY_COLORS, SEVERITY_EMOJI, SEVERITY_WORDS, as_number, color, occasion
from .printing import lenient
from .wording import Catalog


def plain_data(source: NotificationEvent | Mapping[str, Any]) -> dict[str, Any]:
    """Return an event, or variables of the host, as dicts, lists, texts and numbers only."""
    data: dict[str, Any] = msgspec.to_builtins(source, str_keys=True, enc_hook=str)
    return data


def variables(
    events: Sequence[NotificationEvent],
    plain: Sequence[dict[str, Any]],
    words: Catalog,
    dashboard_url: str,
) -> dict[str, Any]:
    """Return everything the templates of a message can use; the first event is `event`.

    `plain` holds the same events as plain data.
    """
    entries = [_entry(event, data, words, dashboard_url) for event, data in zip(events, plain, strict=True)]
    return {
        **entries[0],
        "entries": entries,
        "events": [entry["event"] for entry in entries],
        "count": len(entries),
        "newest_iso": _iso(max(map(_moment, events))) if len(events) > 1 else entries[0]["timestamp_iso"],
        "dashboard_url": dashboard_url,
        "labels": labels(words),
        "locale": words.locale,
    }


def _entry(
    event: NotificationEvent, data: dict[str, Any], words: Catalog, dashboard_url: str
) -> Mapping[str, Any]:
    severity = Severity(data["severity"])
    found = occasion(data["event_type"], severity)
    accent = color(found, severity)
    shown = {**data, "metadata": lenient(data["metadata"])}
    at = _moment(event)
    return {
        "event": shown,
        "metadata": shown["metadata"],
        "facts": facts(data, found, words, dashboard_url),
        "headline": words(found.headline),
        "word": words(found.word),
        "status_emoji": found.emoji,
        "timestamp": words.moment(at),
        "timestamp_iso": _iso(at),
        "severity_color": SEVERITY_COLORS[severity],
        "severity_emoji": SEVERITY_EMOJI[severity],
        "severity_label": words(SEVERITY_WORDS[severity]),
        "color": accent,
        "color_number": as_number(accent),
    }


def _moment(event: NotificationEvent) -> datetime:
    """Return when an event happened; a naive time is the host's local one (contract, section 2)."""
    at = event.timestamp
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
