"""Mailboxes and header text: what is accepted, and that nothing breaks out of a header field."""

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.mail_headers import Mailbox, encoded_words, one_line, unstructured

if TYPE_CHECKING:
    from email.headerregistry import UniqueAddressHeader

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=200)
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=400)


def parsed(field: str, value: str) -> str:
    """Read one header field back with the standard library."""
    mail = message_from_bytes(f"{field}: {value}\r\n\r\n".encode("ascii"), policy=policy.default)
    assert mail.keys() == [field]
    return str(mail[field])


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("team@example.com", "team@example.com", ""),
        ("  team@example.com ", "team@example.com", ""),
        ("<team@example.com>", "team@example.com", ""),
        ("The Team <team@example.com>", "team@example.com", "The Team"),
        ('"Team, \\"A\\"" <team@example.com>', "team@example.com", 'Team, "A"'),
        ("開発 <team@example.com>", "team@example.com", "開発"),
        ("a.b+c=d@sub.example.com", "a.b+c=d@sub.example.com", ""),
        ("root@localhost", "root@localhost", ""),
        ("root@[192.0.2.1]", "root@[192.0.2.1]", ""),
        ("team@例え.jp", "team@xn--r8jz45g.jp", ""),
    ],
)
def test_a_mailbox_is_read(text: str, address: str, name: str) -> None:
    """Plain addresses, named ones and international domains are understood."""
    assert Mailbox.parse(text) == Mailbox(address, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "team",
        "@example.com",
        "team@",
        "a@b@example.com",
        "a@example.com, b@example.com",
        "a b@example.com",
        ".a@example.com",
        "a..b@example.com",
        "a@-example.com",
        "a@example..com",
        "a@exa mple.com",
        "ü@example.com",
        '"a b"@example.com',
        f"{'a' * 65}@example.com",
        f"a@{'a.' * 128}com",
        "a@" + "あ" * 80 + ".jp",
        "a@example.com\r\nBcc: evil@example.com",
        "Eve\r\nBcc: x@y.z <a@example.com>",
        "Eve\0 <a@example.com>",
        f"{'n' * 201} <a@example.com>",
        "a@example.com> SIZE=1 <b@example.com",
        "Team <a@example.com> trailing",
    ],
)
def test_what_is_no_single_mailbox_is_refused(text: str) -> None:
    """No two addresses, no control characters, nothing an SMTP command could be broken with."""
    with pytest.raises(ValueError, match="mail address") as refusal:
        Mailbox.parse(text)
    assert "evil" not in str(refusal.value)


@given(NAMES)
def test_every_display_name_comes_back(name: str) -> None:
    """A name of any script and with any punctuation is what the receiver's program shows."""
    box = Mailbox("team@example.com", one_line(name))
    mail = message_from_bytes(f"To: {box.header}\r\n\r\n".encode("ascii"), policy=policy.default)
    assert mail.keys() == ["To"]
    [found] = cast("UniqueAddressHeader", mail["To"]).addresses
    assert found.addr_spec == "team@example.com"
    if box.header.startswith(
        "=?"
    ):  # the header parser of Python 3.11 joins encoded words of a name by a space
        shown = str(make_header(decode_header(box.header.rpartition(" <")[0])))
    else:
        shown = found.display_name
    assert shown == box.name


@given(ANY_TEXT)
def test_header_text_comes_back_on_one_line(text: str) -> None:
    """Whatever the text, exactly one field results, and it says the same."""
    wanted = one_line(text).encode("utf-8", "replace").decode("utf-8")
    assert parsed("Subject", unstructured(text)) == wanted


@given(ANY_TEXT)
def test_header_lines_are_short_and_ascii(text: str) -> None:
    """Encoded words keep to 76 characters a line, plain text to what its words allow."""
    lines = f"Subject: {encoded_words(text)}".split("\r\n")
    assert all(line.isascii() and line.isprintable() and len(line) <= 76 for line in lines)
    assert all(len(line) <= 998 for line in f"Subject: {unstructured(text)}".split("\r\n"))


@given(st.text(st.sampled_from(" ab=?"), max_size=300))
def test_text_that_looks_encoded_is_not_decoded(text: str) -> None:
    """A title `=?utf-8?B?...?=` is shown as it is written."""
    assert parsed("Subject", unstructured(text)) == one_line(text)


def test_an_ascii_subject_stays_readable() -> None:
    """A plain subject is not encoded, and a long one is folded at a space."""
    assert unstructured("job failed") == "job failed"
    assert unstructured("word " * 30).replace("\r\n", "") == ("word " * 30).strip()
    assert [len(line) for line in unstructured("word " * 30).split("\r\n")] == [59, 60, 30]
