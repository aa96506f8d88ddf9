"""The whole of what a message says, as a file beside it: what is cut from it is not lost to its reader."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from knell.events import NotificationEvent
from knell.messages import Attachment, FormattedMessage

FILENAME = "details.txt"

MAX_FILE, MAX_FILES = 10 * 1024 * 1024, 10
"""Octets of one file (discord-api-docs, "Uploading Files") and files of one message (JSON error code 30015);
kept for Slack too."""

_LINE = "=" * 40


def with_file(
    message: FormattedMessage, content: str | dict[str, Any], cuts: Sequence[str], *, files: bool
) -> FormattedMessage:
    """Return a message with its fitted content, with a report, and with the whole as a file if it was cut.

    Args:
        message: as it was rendered.
        content: what is left of its content.
        cuts: what was cut now; what the template cut the message says itself.
        files: whether the channel can send files.
    """
    if content is message.content and not message.cuts and not message.attachments:
        return message
    report = [*message.cuts, *cuts]
    attachments = _files(message.attachments, report) if files else message.attachments
    if files and report and all(attachment.filename != FILENAME for attachment in attachments):
        if len(attachments) == MAX_FILES:
            report.append(f"attachments[{MAX_FILES - 1}]: left out for {FILENAME}")
        attachments = (*attachments[: MAX_FILES - 1], details(message))
        report.append(f"full text attached as {FILENAME}")
    return msgspec.structs.replace(
        message, content=content, attachments=attachments, cuts=tuple(dict.fromkeys(report))
    )


def details(message: FormattedMessage) -> Attachment:
    """Write what a message is about in full: its events, or where it has none its content."""
    parts = [_event(event) for event in message.events] or [_written(message.content)]
    octets = f"\n\n{_LINE}\n\n".join(parts).encode("utf-8", "replace")
    if len(octets) > MAX_FILE:
        octets = octets[: MAX_FILE - 3].decode("utf-8", "ignore").encode() + "…".encode()
    return Attachment(FILENAME, octets, "text/plain; charset=utf-8")


def _files(attachments: Sequence[Attachment], report: list[str]) -> tuple[Attachment, ...]:
    """Return the files a provider takes."""
    kept: list[Attachment] = []
    for place, attachment in enumerate(attachments):
        if len(attachment.content) > MAX_FILE:
            report.append(f"attachments[{place}]: left out, it has {len(attachment.content):,} bytes")
        elif len(kept) == MAX_FILES:
            report.append(f"attachments[{place}]: left out, a message has {MAX_FILES} files at most")
        else:
            kept.append(attachment)
    return tuple(kept)


def _event(event: NotificationEvent) -> str:
    """Write an event as its source told it: a reader of any language knows the keys."""
    about = {"event_type": event.event_type, "severity": str(event.severity), "source": event.source}
    about |= {"timestamp": event.timestamp.isoformat(), "event_id": event.event_id}
    parts = [event.title, event.description, _pairs(about), _pairs(event.metadata)]
    parts.append("\n".join(" ".join(filter(None, (link.text, link.url))) for link in event.links))
    return "\n\n".join(filter(None, parts))


def _pairs(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {_written(value)}" for key, value in values.items())


def _written(value: Any) -> str:
    """Write a text as it is, and what has parts as JSON."""
    if isinstance(value, str):
        return value
    plain: Any = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    octets = msgspec.json.encode(plain)
    return (msgspec.json.format(octets, indent=2) if isinstance(plain, dict | list) else octets).decode()
