"""Cutting and cleaning text for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.templates.text import clean, cut, is_web_url, one_line

FAMILY = "👨‍👩‍👧"
KEYCAP = "1\ufe0f\u20e3"


@given(text=st.text(), limit=st.integers(1, 30))
def test_a_cut_text_fits_and_starts_as_it_did(text: str, limit: int) -> None:
    """Never longer than the limit; what is short enough stays as it is."""
    shortened = cut(text, limit)
    assert len(shortened) <= limit
    assert shortened == text if len(text) <= limit else shortened.endswith("…")
    assert text.startswith(shortened.removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 4, "abc…"),
        ("ab cdef", 4, "ab…"),
        (f"a{FAMILY}b", 5, "a…"),
        (f"a{FAMILY}b", 7, f"a{FAMILY}b"),
        ("👍🏽👍🏽", 3, "👍🏽…"),
        ("👍🏽👍🏽", 2, "…"),
        ("🇯🇵🇫🇷🇩🇪", 4, "🇯🇵…"),
        ("🇯🇵🇫🇷🇩🇪", 5, "🇯🇵🇫🇷…"),
        (f"{KEYCAP}{KEYCAP}", 4, f"{KEYCAP}…"),
        (f"{KEYCAP}{KEYCAP}", 3, "…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", 5, "\u1112\u1161\u11ab…"),
        ("\u1112\u1161\u11ab\u1100", 3, "…"),
        ("か\u3099か\u3099", 3, "か\u3099…"),
        ("a\r\nbcdef", 4, "a…"),
        ("a" + "\u0301" * 500, 9, "…"),
        ("a" + "\u0301" * 500, 90, "a" + "\u0301" * 88 + "…"),
    ],
)
def test_a_cut_keeps_what_reads_as_one_character(text: str, limit: int, expected: str) -> None:
    """Families, skin tones, flags, keycaps, accents and Hangul letters stay whole."""
    assert cut(text, limit) == expected


def test_a_cut_may_end_without_a_sign() -> None:
    """A shorter sign, or none."""
    assert cut("abcdef", 4, "") == "abcd"
    assert cut("abcdef", 5, "...") == "ab..."
    assert cut("abcdef", 2, "...") == ".."


def test_a_very_long_text_is_cut_at_once() -> None:
    """The work depends on the limit, not on the text: a megabyte of flags or accents takes no time."""
    assert len(cut("🇯" * 1_000_000, 100)) <= 100
    assert len(cut("e" + "\u0301" * 1_000_000, 100)) <= 100


@given(text=st.text())
def test_clean_text_has_no_controls(text: str) -> None:
    """Only newline and tab are left of the control characters, and no bidirectional control at all."""
    for character in clean(text):
        assert character in "\n\t" or not ("\x00" <= character <= "\x1f" or "\x7f" <= character <= "\x9f")
        assert character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_one_line_is_one_line() -> None:
    """Newlines, tabs and runs of spaces become one space."""
    assert one_line(" a\r\n\tb\u3000 c\u2028d\x00 ") == "a b c d"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTP://EXAMPLE.com:8080/a(b)?c=d&e=[f]#g",
        "http://localhost:8080",
        "https://[::1]:8443/x",
        "https://例え.jp/パス",
    ],
)
def test_a_web_address_is_shown(url: str) -> None:
    """With http or https, and a host."""
    assert is_web_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "https://",
            "https:///x",
            "example.com",
            "//example.com",
            "/x",
            "ftp://example.com",
            "mailto:a@b.c",
        ),
        *("javascript:alert(1)", "data:text/html,x", " https://example.com", "https://example.com/a b"),
        *("https://user@example.com", "https://user:pw@example.com", "https://example.com\\@evil.example"),
        *(
            "https://example.com/\n",
            "https://example.com/\u202e",
            'https://"x"/',
            "https://<x>/",
            "https://a:b/",
        ),
        "https://example.com/" + "x" * 3000,
    ],
)
def test_anything_else_is_not(url: str) -> None:
    """Other schemes, no host, credentials, what cannot be seen, and what is too long."""
    assert not is_web_url(url)
