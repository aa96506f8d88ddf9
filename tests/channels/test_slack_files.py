"""Files of a message, uploaded into its thread."""

from collections.abc import Iterator

import pytest

from knell.lab import Drop, Respond
from knell.lab.faults import Fault
from knell.messages import Delivered
from tests.channels.slack_room import Room, event, file

STARTED = event("job_started")
TASK = event("task_failed", "tests fail", error="boom")
ALERT = event("system_alert", "disk", None)
BEGIN, COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"


@pytest.fixture
def room() -> Iterator[Room]:
    """A channel with a bot token."""
    with Room() as found:
        yield found


def detail(outcome: object) -> str:
    """Return what is said of a delivered message."""
    assert isinstance(outcome, Delivered)
    return outcome.detail


def test_a_file_of_a_reply_goes_into_the_thread(room: Room) -> None:
    """On the parent's ts, after the message, with its bytes as they are; the token stays with Slack."""
    room.send(STARTED)
    content = bytes(range(256)) * 100
    assert detail(room.send(TASK, attachments=(file("log.bin", content),))) == ""
    (shared,) = room.lab.slack.files
    assert (shared.name, shared.title, shared.content) == ("log.bin", "log.bin", content)
    assert (shared.channel, shared.thread) == ("C0LAB000001", room.messages[0].id)
    paths = [found.path.rpartition("/")[2] for found in room.lab.slack.requests]
    assert paths[-4:-2] == ["chat.postMessage", BEGIN]
    (sent,) = [found for found in room.lab.slack.requests if found.path.startswith("/upload/")]
    assert "Authorization" not in sent.headers


def test_files_of_a_message_without_a_job(room: Room) -> None:
    """Its own thread; several files are shared together."""
    assert detail(room.send(ALERT, attachments=(file("a.txt"), file("b.txt", b"b")))) == ""
    assert [(shared.name, shared.thread) for shared in room.lab.slack.files] == [
        ("a.txt", room.messages[0].id),
        ("b.txt", room.messages[0].id),
    ]
    assert len(room.calls(COMPLETE)) == 1


def test_a_first_message_takes_its_file_into_its_thread(room: Room) -> None:
    """The parent is the file's thread."""
    room.send(STARTED, attachments=(file(),))
    assert room.lab.slack.files[0].thread == room.messages[0].id


def test_the_missing_scope_is_told_and_the_message_delivered(room: Room) -> None:
    """Once an hour Slack is asked anew."""
    room.lab.slack.scopes = room.lab.slack.scopes - {"files:write"}
    said = "details.txt not sent: Slack answered missing_scope: give the app files:write"
    for _ in range(2):
        assert detail(room.send(ALERT, attachments=(file(),))) == said
    begun = [found for found in room.lab.slack.requests if found.path.endswith(BEGIN)]
    assert (len(begun), len(room.messages)) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Respond(200, {"ok": True}, at=BEGIN), "Slack named no address to send it to"),
        (Respond(200, {"ok": False, "error": "fatal_error"}, at=BEGIN), "Slack answered fatal_error"),
        (Respond(500, "", at=BEGIN), "Slack answered 500"),
        (Respond(500, "", at="/upload/"), "Slack answered 500"),
        (Drop(at="/upload/"), "sent, but no answer came"),
        (
            Respond(200, {"ok": False, "error": "invalid_channel"}, at=COMPLETE),
            "Slack answered 200 invalid_c",
        ),
        (Respond(200, "<html>", at=COMPLETE, stored=True), "Slack answered 200 with no JSON"),
    ],
)
def test_an_upload_that_fails_fails_nothing_else(room: Room, fault: Fault, said: str) -> None:
    """The message counts as delivered, and the detail says which file is missing and why."""
    room.lab.slack.script(fault)
    found = detail(room.send(ALERT, attachments=(file(),)))
    assert found.startswith("details.txt not sent: ")
    assert said in found
    assert len(room.messages) == 1


def test_one_file_of_two_fails(room: Room) -> None:
    """The other is shared; an empty one cannot be uploaded; a name is one line."""
    files = (file("empty", b""), file("a\n b.txt"))
    assert detail(room.send(ALERT, attachments=files)) == "empty not sent: it is empty"
    assert [shared.name for shared in room.lab.slack.files] == ["a b.txt"]


def test_an_address_elsewhere_is_not_written_to(room: Room) -> None:
    """The guard of outgoing connections holds for an address that came with an answer."""
    body = {"ok": True, "upload_url": "http://10.0.0.1/x", "file_id": "F1"}
    room.lab.slack.script(Respond(200, body, at=BEGIN))
    assert "10.0.0.1" in detail(room.send(ALERT, attachments=(file(),)))


def test_a_limit_is_kept(room: Room) -> None:
    """No file until its time is over; the message goes all the same."""
    limit = Respond(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "60"}, at=BEGIN)
    room.lab.slack.script(limit)
    for _ in range(2):
        assert detail(room.send(ALERT, attachments=(file(),))) == (
            "details.txt not sent: Slack answered 429 ratelimited"
        )
    room.clock.advance(60)
    assert detail(room.send(ALERT, attachments=(file(),))) == ""
    assert (len(room.lab.slack.files), len(room.messages)) == (1, 3)


def test_no_time_is_left(room: Room) -> None:
    """Nothing is begun that could make the attempt late."""
    at = iter([0.0, *[100.0] * 100])
    room.open(clock=lambda: next(at))
    assert detail(room.send(ALERT, attachments=(file(),))) == "details.txt not sent: no time was left"


def test_uploads_can_be_switched_off(room: Room) -> None:
    """Then the detail says so."""
    room.open(upload_files=False)
    said = detail(room.send(ALERT, attachments=(file(),)))
    assert (said, room.lab.slack.files) == ("1 files not sent: upload_files is off", ())


def test_a_webhook_takes_no_files() -> None:
    """The message is delivered, and the detail says what is missing."""
    with Room(webhook=True) as room:
        outcome = room.send(ALERT, attachments=(file("a"), file("b")))
        assert detail(outcome) == "a, b not sent: an incoming webhook takes no files"
