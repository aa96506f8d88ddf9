"""Mails as bytes: read back by the standard library's parser, they say what was put in."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.mail import Letterhead, compose, subject_of
from knell.channels.mail_headers import Mailbox
from knell.channels.mail_unsubscribe import Unsubscribe
from knell.events import NotificationEvent
from knell.messages import Attachment, FormattedMessage, MessageFormat

LETTERHEAD = Letterhead(
    Mailbox("knell@example.com", "Knell"),
    to=(Mailbox("team@example.com"), Mailbox("ops@example.com", "運用")),
    cc=(Mailbox("boss@example.com"),),
)
NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=300) | st.text(
    st.sampled_from("a \té漢😀.=-\r\n"), max_size=3000
)


def event(**changes: Any) -> NotificationEvent:
    """Return an event of a failed job."""
    facts: dict[str, Any] = {
        "event_type": "job_failed",
        "source": "test",
        "title": "nightly failed",
        **changes,
    }
    return NotificationEvent(**facts)


def html(text: str = "it failed", markup: str = "<p>it failed</p>", **changes: Any) -> FormattedMessage:
    """Return a message as the HTML templates make it."""
    content = {"subject": "Job failed: nightly", "html": markup, "text": text}
    values: dict[str, Any] = {"content": content, "id": "msg_1", "events": (event(),), **changes}
    return FormattedMessage(format=MessageFormat.HTML, **values)


def plain(text: str = "it failed", **changes: Any) -> FormattedMessage:
    """Return a message of text alone."""
    values: dict[str, Any] = {"content": text, "id": "msg_1", "events": (event(),), **changes}
    return FormattedMessage(format=MessageFormat.TEXT, **values)


def composed(letterhead: Letterhead, message: FormattedMessage, now: datetime | None = NOW) -> bytes:
    """Compose a mail as the channel does."""
    return compose(letterhead, message, letterhead.message_id(message.id), now)


def read(mail: bytes) -> EmailMessage:
    """Parse a mail as a receiver does; every defect the parser finds is a failure."""
    parsed = message_from_bytes(mail, policy=policy.default)
    assert [part.defects for part in parsed.walk() if part.defects] == []
    return parsed


def words(part: MIMEPart | None) -> str:
    """Return what a text part says, with its line ends as LF."""
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def as_sent(text: str) -> str:
    """Return text as a mail can carry it: LF line ends and no half characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines.encode("utf-8", "replace").decode("utf-8")


def check_wire(mail: bytes) -> None:
    """Assert what SMTP demands of the octets themselves."""
    assert mail.isascii()
    assert b"\0" not in mail
    lines = mail.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998


def test_the_header_fields() -> None:
    """Sender, receivers, subject, date, a stable id, and no blind copies."""
    mail = read(composed(LETTERHEAD, html()))
    assert mail["From"] == "Knell <knell@example.com>"
    assert mail["To"] == "team@example.com, 運用 <ops@example.com>"
    assert mail["Cc"] == "boss@example.com"
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Job failed: nightly"
    assert mail["Date"].datetime == NOW
    assert mail["Message-ID"] == "<msg_1@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-NecroCode-Event"] == "job_failed"


def test_no_header_field_stands_twice() -> None:
    """Each field occurs once, as RFC 5322 wants of those it defines."""
    names = read(composed(LETTERHEAD, html(events=(event(metadata={"job_id": "j"}),)))).keys()
    assert len(names) == len({name.lower() for name in names})


def test_text_comes_first_and_html_last() -> None:
    """A program that shows HTML takes the last alternative, the others the first."""
    mail = read(composed(LETTERHEAD, html()))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert words(mail.get_body(["plain"])) == "it failed"
    assert words(mail.get_body(["html"])) == "<p>it failed</p>"


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        (plain("só"), "text/plain", "só"),
        (plain(""), "text/plain", ""),
        (html(markup=""), "text/plain", "it failed"),
        (html(text="", markup="<p> </p>"), "text/html", "<p> </p>"),
    ],
)
def test_one_body_needs_no_multipart(message: FormattedMessage, kind: str, said: str) -> None:
    """Text alone or HTML alone is a mail of one part."""
    mail = read(composed(LETTERHEAD, message))
    assert mail.get_content_type() == kind
    assert words(mail) == said


@pytest.mark.parametrize(
    "message",
    [
        html(text="", markup="<h1>Job failed</h1><p>see <a href='https://x.y/1'>log</a></p>"),
        html(content="<h1>Job failed</h1><p>see <a href='https://x.y/1'>log</a></p>"),
    ],
)
def test_html_without_a_text_gets_one(message: FormattedMessage) -> None:
    """Whoever gives HTML alone reaches people who read text, too."""
    mail = read(composed(LETTERHEAD, message))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert words(mail.get_body(["plain"])) == "Job failed\n\nsee log: https://x.y/1"


def test_styles_go_into_the_elements() -> None:
    """Gmail's app and Outlook drop `<style>`: what it says is in the elements, too."""
    markup = "<html><head><style>p { color: red }</style></head><body><p>x</p></body></html>"
    mail = read(composed(LETTERHEAD, html(markup=markup)))
    assert '<p style="color: red;">x</p>' in words(mail.get_body(["html"]))


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_text_comes_back_and_obeys_the_wire(subject: str, text: str, markup: str) -> None:
    """Whatever an event holds, the mail is valid, says it, and gains no header or part."""
    message = html(content={"subject": subject, "html": f"<p>{markup}</p>", "text": f"> {text}"})
    octets = composed(LETTERHEAD, message)
    check_wire(octets)
    mail = read(octets)
    assert mail["Subject"] == subject_of(message).encode("utf-8", "replace").decode("utf-8")
    assert words(mail.get_body(["plain"])) == as_sent(f"> {text}")
    assert words(mail.get_body(["html"])) == as_sent(f"<p>{markup}</p>")
    assert len(list(mail.walk())) == 3


@given(ANY_TEXT)
def test_any_text_alone_comes_back(text: str) -> None:
    """A mail of one part carries any text too."""
    octets = composed(LETTERHEAD, plain(text))
    check_wire(octets)
    assert words(read(octets)) == as_sent(text)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\nlines\n", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("a bell \x07", "quoted-printable"),
        ("mostly ASCII with a tick ✅ in it, and more words around", "quoted-printable"),
        ("日本語の本文", "base64"),
    ],
)
def test_the_cheapest_encoding_is_taken(text: str, encoding: str) -> None:
    """What is plain stays plain, what is mostly ASCII stays readable, the rest is base64."""
    mail = read(composed(LETTERHEAD, plain(text)))
    assert mail["Content-Transfer-Encoding"] == encoding
    assert words(mail) == text


@given(
    st.binary(max_size=2000),
    st.text(max_size=300),
    st.sampled_from(["text/x-log", "image/png", "bad type", "a/b\r\nX: y"]),
)
def test_attachments_come_back(content: bytes, filename: str, content_type: str) -> None:
    """A file of any content and name stands beside the body, its name in no header of its own."""
    octets = composed(LETTERHEAD, html(attachments=(Attachment(filename, content, content_type),)))
    check_wire(octets)
    mail = read(octets)
    assert mail.get_content_type() == "multipart/mixed"
    body, attached = mail.iter_parts()
    assert body.get_content_type() == "multipart/alternative"
    assert attached.get_payload(decode=True) == content
    assert attached.get_content_disposition() == "attachment"
    assert attached.get_content_type() in {"text/x-log", "image/png", "application/octet-stream"}
    assert attached.keys() == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]


PICTURE = Attachment("chart.png", b"\x89PNG", "image/png", content_id="chart@knell")


def test_pictures_are_inside_the_html() -> None:
    """A file with a content id belongs to the HTML part; other files stand beside the body."""
    files = (Attachment("build.log", b"1"), PICTURE)
    mail = read(composed(LETTERHEAD, html(markup='<img src="cid:chart@knell">', attachments=files)))
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/octet-stream",
    ]
    [related] = [part for part in mail.walk() if part.get_content_type() == "multipart/related"]
    assert related.get_param("type") == "text/html"
    picture = list(related.walk())[-1]
    assert picture["Content-ID"] == "<chart@knell>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_filename() == "chart.png"
    assert picture.get_payload(decode=True) == b"\x89PNG"


@pytest.mark.parametrize(
    ("message", "files"),
    [
        (plain(attachments=(PICTURE,)), ["chart.png"]),
        (html(attachments=(Attachment("a.png", b"1", "image/png", content_id="a>\r\nX: y"),)), ["a.png"]),
    ],
)
def test_a_picture_that_no_html_can_show_is_a_file(message: FormattedMessage, files: list[str]) -> None:
    """In a mail of text, or with an id that is none, it is attached like any other."""
    mail = read(composed(LETTERHEAD, message))
    assert mail.get_content_type() == "multipart/mixed"
    assert [part.get_filename() for part in mail.iter_attachments()] == files
    assert all(part["Content-ID"] is None for part in mail.walk())


def test_pictures_alone_need_no_mixed() -> None:
    """Without other files the alternative is the outermost part."""
    mail = read(composed(LETTERHEAD, html(attachments=(PICTURE,))))
    assert mail.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize(
    "name", ["build.log", "build log (1).txt", "ビルド.log", 'a"b.txt', "a;b=c.txt", "../x"]
)
def test_a_file_keeps_its_name(name: str) -> None:
    """Names with quotes, spaces and other scripts arrive as they were."""
    mail = read(composed(LETTERHEAD, html(attachments=(Attachment(name, b"1"),))))
    assert [part.get_filename() for part in mail.iter_attachments()] == [name]


def test_a_long_file_name_is_cut_between_characters() -> None:
    """255 octets at most, and no half character at the end."""
    mail = read(composed(LETTERHEAD, html(attachments=(Attachment("é" * 400, b"1"),))))
    assert [part.get_filename() for part in mail.iter_attachments()] == ["é" * 127]


def test_boundaries_cannot_be_guessed() -> None:
    """Two mails of the same message have different boundaries, so an event cannot forge a part."""
    boundaries = {read(composed(LETTERHEAD, html())).get_boundary() for _ in range(20)}
    assert len(boundaries) == 20


def test_a_mail_without_visible_receivers_has_a_to() -> None:
    """With blind copies alone the field says so instead of missing."""
    mail = read(composed(Letterhead(Mailbox("knell@example.com")), html()))
    assert mail["To"] == "undisclosed-recipients:;"
    assert mail["Cc"] is None


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        (html(), "Job failed: nightly"),
        (html(content={"html": "x", "text": "x"}, metadata={"subject": "from metadata"}), "from metadata"),
        (plain(metadata={"subject": "from metadata"}), "from metadata"),
        (plain(), "nightly failed"),
        (plain(events=(), metadata={"event": {"title": "as plain data"}}), "as plain data"),
        (plain(events=(), metadata={"events": [{"title": "first"}, {"title": "second"}]}), "first"),
        (plain(events=()), ""),
        (plain(metadata={"subject": " two\r\nlines\tand\x00more "}), "two lines and more"),
        (plain(metadata={"subject": "x" * 251}), "x" * 249 + "…"),
        (plain(metadata={"subject": "x" * 250}), "x" * 250),
    ],
)
def test_where_the_subject_comes_from(message: FormattedMessage, subject: str) -> None:
    """The template's subject, else the metadata's, else the event's title, on one line of bounded length."""
    assert subject_of(message) == subject


def test_answers_and_goodbyes_have_addresses() -> None:
    """`reply_to` and `list_unsubscribe` of the configuration are in every mail."""
    letterhead = Letterhead(
        Mailbox("knell@example.com"),
        reply_to=(Mailbox("ops@example.com", "Ops"),),
        unsubscribe=Unsubscribe(url="https://example.com/leave?l=1", mailto="leave@example.com"),
    )
    mail = read(composed(letterhead, html()))
    assert mail["Reply-To"] == "Ops <ops@example.com>"
    assert mail["List-Unsubscribe"] == "<mailto:leave@example.com>, <https://example.com/leave?l=1>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_the_prefix_stands_before_the_subject() -> None:
    """`subject_prefix` of the configuration marks every mail."""
    marked = Letterhead(Mailbox("knell@example.com"), subject_prefix="[staging]")
    assert read(composed(marked, html()))["Subject"] == "[staging] Job failed: nightly"


@pytest.mark.parametrize(
    "name", ["", "a b", "a@b", "event-1:email", "x\r\nBcc: evil@example.com", "é", "a..b"]
)
def test_a_message_id_is_valid_whatever_the_name(name: str) -> None:
    """A name that cannot stand in a Message-ID is hashed; it stays the same on every attempt."""
    first, again = (composed(LETTERHEAD, plain(id=name)) for _ in range(2))
    assert read(first)["Message-ID"] == read(again)["Message-ID"]
    local_part, _, domain = read(first)["Message-ID"].strip("<>").partition("@")
    assert domain == "example.com"
    assert local_part.isalnum()
    assert read(first)["Bcc"] is None


def test_mails_of_one_job_share_a_thread() -> None:
    """The root of the thread comes from the job alone: other events of it have the same one."""
    mails = [
        read(composed(LETTERHEAD, plain(id=number, events=(event(metadata={"job_id": job}),))))
        for number, job in (("a", "job 1"), ("b", "job 1"), ("c", "job 2"))
    ]
    roots = [mail["References"] for mail in mails]
    assert roots[0] == roots[1] != roots[2]
    assert [mail["In-Reply-To"] for mail in mails] == roots
    assert len({mail["Message-ID"] for mail in mails}) == 3


@pytest.mark.parametrize(
    "events", [(event(),), (event(metadata={"job_id": "a"}), event(metadata={"job_id": "b"})), ()]
)
def test_without_one_job_there_is_no_thread(events: tuple[NotificationEvent, ...]) -> None:
    """No job, or a batch over several: the mail begins a thread of its own."""
    mail = read(composed(LETTERHEAD, plain(events=events)))
    assert mail["References"] is None
    assert mail["In-Reply-To"] is None


def test_a_job_in_plain_data_counts_too() -> None:
    """A message that holds its event as plain data is threaded alike."""
    data = {"event": {"event_type": "job_failed", "title": "t", "metadata": {"job_id": "job 1"}}}
    given_plain = read(composed(LETTERHEAD, plain(events=(), metadata=data)))
    given_event = read(composed(LETTERHEAD, plain(events=(event(metadata={"job_id": "job 1"}),))))
    assert given_plain["References"] == given_event["References"]
    assert given_plain["X-NecroCode-Event"] == "job_failed"


def test_a_batch_names_every_type_once() -> None:
    """Mail rules find any of the types in a batch."""
    events = tuple(event(event_type=kind) for kind in ("job_failed", "task_failed", "job_failed"))
    assert read(composed(LETTERHEAD, plain(events=events)))["X-NecroCode-Event"] == "job_failed, task_failed"


def test_the_present_is_the_default_date() -> None:
    """Without a date given, a mail is dated when it is composed."""
    before = datetime.now(UTC).replace(microsecond=0)
    assert before <= read(composed(LETTERHEAD, plain(), None))["Date"].datetime <= datetime.now(UTC)
