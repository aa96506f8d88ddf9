import asyncio
import io
import os
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.console import ConsoleChannel, ConsoleConfig, shown
from knell.events import NotificationEvent
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome, Reason, Rejected, Retry


def event(title: str = "nightly") -> NotificationEvent:
    """Make an event."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return NotificationEvent(event_type="job_failed", source="dispatcher", title=title, timestamp=at)


def message(text: str, *titles: str) -> FormattedMessage:
    """Make a message about events with such titles."""
    return FormattedMessage(format=MessageFormat.TEXT, content=text, events=tuple(map(event, titles)))


def send(printed: FormattedMessage, stream: str = "stderr") -> Outcome:
    """Print a message."""
    channel = ConsoleChannel(ConsoleConfig.model_validate({"stream": stream}))
    return asyncio.run(channel.send(printed))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_message_is_printed(capsys: pytest.CaptureFixture[str], stream: str) -> None:
    """A heading with time, severity, type, source and title, then the text, indented."""
    assert send(message("nightly\nexit 1\n", "nightly"), stream) == Delivered()
    printed = capsys.readouterr()
    expected = "2026-01-02T03:04:05Z INFO job_failed dispatcher: nightly\n  nightly\n  exit 1\n"
    assert (printed.out, printed.err) == ((expected, "") if stream == "stdout" else ("", expected))


def test_batch_and_message_about_nothing() -> None:
    """A batch counts its events; a message without one has a heading too."""
    assert shown(message("a", "one", "two", "three")).startswith(
        "2026-01-02T03:04:05Z INFO job_failed dispatcher: one (+2)\n"
    )
    assert shown(message("a")) == "message\n  a\n"


def test_controls_areshown_not_obeyed() -> None:
    """An event cannot move the cursor, colour the screen, reverse the text or pose as another heading."""
    text = shown(message("a\x1b[2Jb\r\x07\u202ec\u2028d\tf\x85g", "x\ny"))
    assert text == (
        "2026-01-02T03:04:05Z INFO job_failed dispatcher: x\\ny\n"
        "  a\\x1b[2Jb\\r\\x07\\u202ec\\u2028d\\tf\\x85g\n"
    )


@given(st.text(), st.text(min_size=1))
def test_every_line_but_the_heading_is_indented(text: str, title: str) -> None:
    """Whatever an event holds, only the first line begins at the margin."""
    heading, *lines = shown(message(text, title)).removesuffix("\n").splitlines()
    assert heading.startswith("2026-")
    assert all(line.startswith("  ") for line in lines)


def test_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the terminal's encoding does not have is escaped, not a failure."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, "ascii"))
    assert send(message("日")) == Delivered()
    assert raw.getvalue() == b"message\n  \\u65e5\n"


def test_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe is a failure that may pass, not a crash."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    outcome = send(message("a"), "stdout")
    assert outcome == Retry(Reason.CONNECTION_ERROR, None, "stdout: BrokenPipeError")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_closed_and_missing_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stream may come back; a process without one never prints."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert send(message("a")) == Retry(Reason.CONNECTION_ERROR, None, "stderr: ValueError")
    monkeypatch.setattr(sys, "stderr", None)
    assert send(message("a")) == Rejected(Reason.CONFIGURATION, "there is no stderr")


def test_every_event_by_default() -> None:
    """A console shows everything unless its section says otherwise."""
    assert ConsoleConfig.model_validate({}).events == ["*"]
    assert ConsoleConfig.model_validate({"events": "job_failed"}).events == ["job_failed"]
