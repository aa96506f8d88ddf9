"""Files that go with a message."""

from collections.abc import Iterator
from typing import Any

import pytest

from knell.channels.fit_file import MAX_FILE, MAX_FILES
from knell.lab import Respond, too_many
from knell.messages import Attachment, Delivered, FormattedMessage, MessageFormat, Reason, Rejected, Retry
from tests.channels.discord_bench import Bench, message


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Discord channels and the lab."""
    with Bench() as running:
        yield running


def too_large() -> Respond:
    """What Discord says to a request that is too large as a whole."""
    return Respond(413, {"message": "Request entity too large", "code": 40005})


PICTURE = Attachment("chart.png", b"\x89PNG\r\n--\x00\r\n", "image/png")
SHOWN = {"embeds": [{"title": "t", "image": {"url": "attachment://chart.png"}}]}


def test_files_arrive_byte_for_byte(bench: Bench) -> None:
    """Names, contents and types arrive as they are, embeds may show them, and nobody is mentioned."""
    files = (PICTURE, Attachment("größe.txt", b"", "text/plain; charset=utf-8"))
    content = {**SHOWN, "content": "@everyone"}
    outcome = bench.send(bench.channel(username="knell"), message(content=content, attachments=files))
    assert isinstance(outcome, Delivered)
    (posted,) = bench.lab.discord.messages
    assert [(file.name, file.content, file.content_type) for file in posted.files] == [
        ("chart.png", PICTURE.content, "image/png"),
        ("größe.txt", b"", "text/plain"),
    ]
    assert posted.mentions == ()
    assert posted.payload["attachments"] == [
        {"id": 0, "filename": "chart.png"},
        {"id": 1, "filename": "größe.txt"},
    ]
    assert posted.payload["username"] == "knell"
    assert bench.lab.discord.violations == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\r\nX-Evil: 1\r\n\r\n.txt", "a__X-Evil: 1____.txt"),
        ('a".txt', "a_.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\x", "_x"),
        ("", "file"),
        ("...", "file"),
        ("\ud800.txt", "?.txt"),
        ("x" * 300 + ".log", "x" * 196 + ".log"),
    ],
)
def test_names_do_nothing(bench: Bench, name: str, shown: str) -> None:
    """No name ends a header or climbs out of a folder; every file has one."""
    assert isinstance(bench.send(bench.channel(), message(attachments=(Attachment(name, b"1"),))), Delivered)
    (posted,) = bench.lab.discord.messages
    assert [file.name for file in posted.files] == [shown]


def test_a_type_that_is_none(bench: Bench) -> None:
    """A type from who knows where cannot end its header."""
    file = Attachment("a", b"1", "text/plain\r\nX-Evil: 1")
    bench.send(bench.channel(), message(attachments=(file,)))
    assert bench.lab.discord.messages[0].files[0].content_type == "application/octet-stream"


def test_too_large_files_never_leave(bench: Bench) -> None:
    """A file over 10 MiB is left out with the picture that shows it, the rest goes, and the report tells."""
    large = Attachment("chart.png", b"x" * (MAX_FILE + 1), "image/png")
    small = Attachment("log.txt", b"1")
    given, channel = message(content=SHOWN, attachments=(large, small)), bench.channel()
    assert channel.fit(given).cuts[0] == f"attachments[0]: left out, it has {MAX_FILE + 1:,} bytes"
    assert isinstance(bench.send(channel, given), Delivered)
    (posted,) = bench.lab.discord.messages
    assert [file.name for file in posted.files] == ["log.txt", "details.txt"]
    assert posted.payload["embeds"] == [{"title": "t"}]


def test_the_largest_file_goes(bench: Bench) -> None:
    """Exactly 10 MiB are taken."""
    file = Attachment("a.bin", b"x" * MAX_FILE)
    assert isinstance(bench.send(bench.channel(), message(attachments=(file,))), Delivered)
    assert len(bench.lab.discord.messages[0].files[0].content) == MAX_FILE


def test_a_message_holds_ten_files(bench: Bench) -> None:
    """The eleventh is left out, and the tenth for the file that says so in full."""
    files = tuple(Attachment(f"{number}.txt", b"1") for number in range(MAX_FILES + 1))
    given, channel = message(attachments=files), bench.channel()
    assert channel.fit(given).cuts == (
        "attachments[10]: left out, a message has 10 files at most",
        "attachments[9]: left out for details.txt",
        "full text attached as details.txt",
    )
    assert isinstance(bench.send(channel, given), Delivered)
    assert len(bench.lab.discord.messages[0].files) == MAX_FILES


def test_a_request_that_is_too_large_goes_without_files(bench: Bench) -> None:
    """At 413 it is sent once more, at once, without files and the pictures that show them."""
    bench.lab.discord.script(too_large())
    outcome = bench.send(bench.channel(), message(content=SHOWN, attachments=(PICTURE,)))
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["left_out"] == ["chart.png: too large for Discord"]
    (posted,) = bench.lab.discord.messages
    assert (posted.files, posted.payload["embeds"]) == ((), [{"title": "t"}])
    assert len(bench.lab.discord.requests) == 2


def test_an_edit_that_is_too_large_goes_without_files(bench: Bench) -> None:
    """The same for a message that is there already."""
    channel = bench.channel(updates="edit")
    bench.send(channel, message("started", job="j1"))
    bench.lab.discord.script(too_large())
    outcome = bench.send(channel, message("step", job="j1", attachments=(PICTURE,)))
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["left_out"] == ["chart.png: too large for Discord"]
    assert [(posted.text, posted.edits) for posted in bench.lab.discord.messages] == [("step", 1)]


def test_without_files_it_is_tried_once(bench: Bench) -> None:
    """A message that is too large by itself is rejected, after one more request if it has files."""
    bench.lab.discord.script(too_large(), too_large())
    outcome = bench.send(bench.channel(), message(attachments=(PICTURE,)))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TOO_LARGE
    bench.lab.discord.script(too_large())
    assert isinstance(bench.send(bench.channel(), message()), Rejected)
    assert len(bench.lab.discord.requests) == 3


def test_a_retry_remembers_to_leave_the_files(bench: Bench) -> None:
    """When the second request has to wait, the next attempt does not begin with the files again."""
    bench.lab.discord.script(too_large(), too_many(2))
    channel = bench.channel()
    outcome = bench.send(channel, message(attachments=(PICTURE,)))
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.RATE_LIMIT
    bench.clock.advance(2)
    again = message(attachments=(PICTURE,), progress=dict(outcome.progress))
    outcome = bench.send(channel, again)
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["left_out"] == ["chart.png: too large for Discord"]
    assert len(bench.lab.discord.requests) == 3


@pytest.mark.parametrize(
    ("name", "part", "left"),
    [
        ("image", {"url": "attachment://a"}, None),
        ("thumbnail", {"url": "attachment://a"}, None),
        ("footer", {"text": "f", "icon_url": "attachment://a"}, {"text": "f"}),
        ("author", {"name": "n", "icon_url": "attachment://a"}, {"name": "n"}),
        ("image", {"url": "https://x.io/a.png"}, {"url": "https://x.io/a.png"}),
    ],
)
def test_pictures_of_missing_files_are_left_out(bench: Bench, name: str, part: object, left: object) -> None:
    """Discord would refuse the whole message for one of them; pictures of the web stay."""
    content = {"embeds": [{"title": "t", name: part}]}
    assert isinstance(bench.send(bench.channel(), message(content=content)), Delivered)
    (embed,) = bench.lab.discord.messages[0].payload["embeds"]
    assert embed == {"title": "t"} | ({} if left is None else {name: left})


BLANK: list[dict[str, Any]] = [
    {"content": " \n\t\u3000"},
    {"content": ""},
    {},
    {"embeds": []},
    {"embeds": [{"color": 1, "title": " ", "footer": {"text": ""}}]},
    {"content": None, "embeds": [{"image": {"url": "attachment://gone.png"}}]},
]


@pytest.mark.parametrize("content", BLANK)
def test_where_there_is_nothing_to_see_the_title_stands(bench: Bench, content: dict[str, Any]) -> None:
    """Discord refuses an empty message (50006); people get the event's title, and no ping."""
    outcome = bench.send(bench.channel(), message(content=content, title="@everyone *build* failed"))
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["left_out"] == ["the message showed nothing: the title stands in its place"]
    (posted,) = bench.lab.discord.messages
    assert (posted.text, posted.mentions) == ("@everyone *build* failed", ())
    assert len(bench.lab.discord.requests) == 1


def test_a_long_title_in_the_place_of_nothing_is_cut(bench: Bench) -> None:
    """It has the limit of every content."""
    assert isinstance(bench.send(bench.channel(), message(" ", title="*" * 5000)), Delivered)
    assert len(bench.lab.discord.messages[0].payload["content"]) <= 2000


def test_a_file_alone_is_a_message_until_it_has_to_go(bench: Bench) -> None:
    """Only when Discord finds it too large the title stands there instead."""
    assert isinstance(bench.send(bench.channel(), message(" ", attachments=(PICTURE,))), Delivered)
    bench.lab.discord.script(too_large())
    assert isinstance(bench.send(bench.channel(), message(" ", attachments=(PICTURE,))), Delivered)
    first, second = bench.lab.discord.messages
    assert (len(first.files), second.files, second.text) == (1, (), "A title")


def test_what_has_no_title_either_is_refused_before_it_is_sent(bench: Bench) -> None:
    """In plain words, and without a request."""
    outcome = bench.send(bench.channel(), FormattedMessage(format=MessageFormat.TEXT, content=" "))
    assert outcome == Rejected(Reason.INVALID_MESSAGE, "there is nothing to show in it; look at the template")
    assert bench.lab.discord.requests == ()
