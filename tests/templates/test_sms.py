"""One line for a telephone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.templates.meter import metered
from knell.templates.sms import gsm, is_gsm, length, sms_line
from knell.templates.wording import Catalog

phone_text = st.text(st.sampled_from("abc €{}|あ🔔\u2019\u201c\u2013…\u00a0\n"), max_size=400)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("a" * 160, 160),
        ("€" * 80, 160),
        ("a" * 159 + "\u2019", 160),
        ("あ" * 70, 70),
        ("🔔" * 35, 70),
        ("a\n", 2),
    ],
)
def test_a_text_takes_what_the_network_counts(text: str, units: int) -> None:
    """Extension characters count twice in GSM-7, an emoji twice in UCS-2."""
    assert length(text) == units


def test_typographic_characters_are_replaced_only_where_it_pays() -> None:
    """In a text that needs UCS-2 anyway they stay as they are."""
    assert gsm("It\u2019s \u201cdown\u201d \u2013 wait\u2026") == 'It\'s "down" - wait...'
    assert gsm("It\u2019s \u3042") == "It\u2019s \u3042"


@given(
    body=phone_text,
    lead=st.text("FAILED あ", max_size=40),
    link=st.sampled_from(["", "https://x.example.com/1"]),
)
def test_a_line_fits_and_keeps_lead_and_link(body: str, lead: str, link: str) -> None:
    """One part of GSM-7 or two of UCS-2, and the ends stay whole."""
    line = sms_line(body, lead, link)
    assert "\n" not in line
    assert length(line) <= (160 if is_gsm(line) else 134)
    assert line.startswith(" ".join(lead.split()))
    assert line.endswith(link)


def test_a_long_link_gets_a_second_part() -> None:
    """A cut link leads nowhere, and a message of a link alone says nothing."""
    link = "https://ci.example.com/" + "x" * 120
    line = sms_line("word " * 100, "FAILED job-1", link)
    assert 160 < length(line) <= 306
    assert line.startswith("FAILED job-1 word word")
    assert line.endswith(f"... {link}")


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ("word " * 10, None),
        ("x" * 200, 56),
        ("\u2069" * 50, 36),
        ("x" * 10_000, 9_856),
        (" " * 300 + "x", None),
    ],
)
def test_what_is_cut_is_reported(body: str, lost: int | None) -> None:
    """In characters of the text, also where its signs are spelled out or its spaces are no news."""
    with metered(Catalog("en", {})) as cuts:
        sms_line(body, "FAILED job-1")
    assert cuts == ({} if lost is None else {body: lost})


def test_a_link_as_long_as_the_message_leaves_no_room() -> None:
    """Then lead and link go alone; the channel's own fitter has the last word."""
    link = "https://ci.example.com/" + "x" * 400
    assert sms_line("body", "FAILED", link) == f"FAILED {link}"


def test_a_cut_line_never_splits_a_character() -> None:
    """A family of emoji stays whole or goes."""
    line = sms_line("あ" + "👨‍👩‍👧" * 40, "失敗", "")
    assert line.removesuffix("…").endswith("👧")
    assert length(line) <= 134
