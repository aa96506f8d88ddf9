import asyncio
import io
import json
import logging
from typing import Any

import pytest

from knell import log as knell_log
from knell.channels.log import LogChannel, LogConfig
from knell.events import NotificationEvent, Severity
from knell.messages import Delivered, FormattedMessage, MessageFormat


def message(*severities: str) -> FormattedMessage:
    """Make a message about events of these severities."""
    events = tuple(
        NotificationEvent(
            event_type="job_failed",
            source="ci",
            title="nightly",
            severity=Severity(each),
            event_id=f"e-{each}",
        )
        for each in severities
    )
    return FormattedMessage(format=MessageFormat.TEXT, content="nightly\nexit 1\n", events=events)


def send(logged: FormattedMessage, **section: Any) -> None:
    """Log a message."""
    channel = LogChannel(LogConfig.model_validate(section))
    assert asyncio.run(channel.send(logged)) == Delivered()


def test_a_line_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    """By the host's logger `knell`, at the level of the event's severity, with its fields."""
    caplog.set_level(logging.INFO, "knell")
    send(message("info", "warning", "error", "critical"))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR", "CRITICAL"]
    assert {record.getMessage() for record in caplog.records} == {"notification"}
    line = vars(caplog.records[2])
    assert (line["event_id"], line["event_type"], line["source"]) == ("e-error", "job_failed", "ci")
    assert (line["severity"], line["title"], line["text"]) == ("error", "nightly", "nightly\nexit 1")


def test_one_level_for_all_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """A section may say both."""
    caplog.set_level(logging.DEBUG, "knell")
    send(message("critical"), level="debug", text=False)
    (record,) = caplog.records
    assert record.levelname == "DEBUG"
    assert not hasattr(record, "text")


def test_a_message_about_no_event(caplog: pytest.LogCaptureFixture) -> None:
    """Its text is logged."""
    caplog.set_level(logging.INFO, "knell")
    send(message())
    assert [vars(record)["text"] for record in caplog.records] == ["nightly\nexit 1"]


def test_a_host_that_does_not_want_it(caplog: pytest.LogCaptureFixture) -> None:
    """Levels are the host's; what it drops counts as delivered all the same."""
    caplog.set_level(logging.ERROR, "knell")
    send(message("info"))
    assert caplog.records == []


def test_in_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """`knell run` writes one JSON object a line, whatever the event holds."""
    for name in ("_make", "_wanted"):
        monkeypatch.setattr(knell_log, name, getattr(knell_log, name))
    stream = io.StringIO()
    knell_log.to_stream(stream)
    event = NotificationEvent(event_type="x", source="ci", title='a\n"b"\u2028\x1b[31m')
    send(FormattedMessage(format=MessageFormat.TEXT, content="text", events=(event,)))
    (line,) = stream.getvalue().splitlines()[:1]
    found = json.loads(line)
    assert (found["event"], found["level"], found["title"]) == ("notification", "info", event.title)
