"""SMS segments: the table of the providers' rules, and what cutting and replacing must never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.segments import BASIC, EXTENSION, Encoding, encoding, fit, segments

GSM_TEXT = st.text(st.sampled_from(sorted(BASIC | EXTENSION)), max_size=700)
ANY_TEXT = st.text(max_size=300) | st.text(
    st.sampled_from("ab €{é漢😀\u200d\u0301\u2019\u2013\u00a0🇯🇵"), max_size=400
)


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ("", Encoding.GSM7, 0),
        ("a" * 160, Encoding.GSM7, 1),
        ("a" * 161, Encoding.GSM7, 2),
        ("a" * 306, Encoding.GSM7, 2),
        ("a" * 307, Encoding.GSM7, 3),
        ("€" * 80, Encoding.GSM7, 1),
        ("€" * 81, Encoding.GSM7, 2),
        ("a" * 152 + "€" + "a" * 10, Encoding.GSM7, 2),
        ("a" * 152 + "€" + "a" * 151, Encoding.GSM7, 2),
        ("a" * 152 + "€" + "a" * 152, Encoding.GSM7, 3),
        ("\r\n" * 80, Encoding.GSM7, 1),
        ("\r\n" * 80 + "a", Encoding.GSM7, 2),
        ("a" * 159 + "\u2019", Encoding.UCS2, 3),
        ("あ" * 70, Encoding.UCS2, 1),
        ("あ" * 71, Encoding.UCS2, 2),
        ("あ" * 134, Encoding.UCS2, 2),
        ("あ" * 135, Encoding.UCS2, 3),
        ("😀" * 35, Encoding.UCS2, 1),
        ("😀" * 36, Encoding.UCS2, 2),
        ("あ" * 66 + "😀" + "あ" * 10, Encoding.UCS2, 2),
        ("あ" * 66 + "😀" + "あ" * 66, Encoding.UCS2, 3),
        ("`", Encoding.UCS2, 1),
        ("\t", Encoding.UCS2, 1),
        ("ç", Encoding.UCS2, 1),
        ("Ç", Encoding.GSM7, 1),
        ("\x1b", Encoding.UCS2, 1),
    ],
)
def test_the_table(text: str, kind: Encoding, count: int) -> None:
    """Encoding and segments of texts at and around every limit."""
    assert encoding(text) is kind
    assert segments(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [("a" * 160, 1), ("a" * 304, 2), ("a" * 305, 3), ("あ" * 70, 1), ("あ" * 132, 2), ("あ" * 133, 3)],
)
def test_toll_free_parts_are_one_unit_shorter(text: str, count: int) -> None:
    """152 and 66 a part from a toll-free number, single messages as ever."""
    assert segments(text, toll_free=True) == count


def parts(text: str) -> list[str]:
    """Split a text as a phone would: greedily, each character whole."""
    single, part = (160, 153) if encoding(text) is Encoding.GSM7 else (70, 67)
    if width(text) <= single:
        return [text] if text else []
    found = [""]
    for char in text:
        if width(found[-1], text) + width(char, text) > part:
            found.append("")
        found[-1] += char
    return found


def width(text: str, whole: str | None = None) -> int:
    """Return the units of a text by its definition: septets with escapes, or UTF-16 units."""
    if encoding(text if whole is None else whole) is Encoding.GSM7:
        return len(text) + sum(text.count(char) for char in "\f^{}\\[~]|€")
    return len(text.encode("utf-16-be")) // 2


@given(GSM_TEXT | ANY_TEXT)
def test_counting_agrees_with_splitting(text: str) -> None:
    """As many segments as parts come out when the text is really split."""
    assert segments(text) == len(parts(text))


@given(ANY_TEXT | GSM_TEXT, st.integers(1, 10))
def test_what_is_fitted_fits(text: str, most: int) -> None:
    """Never more segments than allowed, never dearer than before, never over Twilio's 1,600 characters."""
    fitted = fit(text, most)
    assert segments(fitted) <= min(most, max(segments(text), 1))
    assert len(fitted) <= 1600
    assert fit(fitted, most) == fitted


@given(GSM_TEXT, st.integers(1, 4))
def test_a_cut_text_is_as_long_as_it_may_be(text: str, most: int) -> None:
    """What is kept is the beginning; one character more would not have fitted."""
    fitted = fit(text, most)
    if fitted == text:
        return
    kept = fitted.removesuffix("...")
    assert text.startswith(kept)
    assert encoding(fitted) is Encoding.GSM7
    longer = text[: len(kept) + 1]
    while longer != text and longer != longer.rstrip():  # white space at the cut is dropped, not counted
        longer = text[: len(longer) + 1]
    assert longer == text or "\r\n" in longer[-2:] or segments(f"{longer}...") > most


@given(st.text(st.sampled_from("漢字😀"), min_size=200, max_size=400))
def test_the_mark_of_a_cut_keeps_the_encoding(text: str) -> None:
    """Three dots in GSM-7, one character where the text is UCS-2 anyway."""
    fitted = fit(text, 2)
    assert fitted.endswith("…")
    assert text.startswith(fitted[:-1])


def test_a_cut_before_the_first_special_character_is_cheap() -> None:
    """If what is kept needs no UCS-2, neither does its mark, and more of it fits."""
    assert fit("a" * 300 + "漢", 1) == "a" * 157 + "..."


@pytest.mark.parametrize(
    "cluster", ["👨‍👩‍👧", "🇯🇵", "e\u0301", "👍🏽", "が"], ids=["family", "flag", "accent", "skin", "kana"]
)
def test_a_cut_never_tears_what_is_one_character_to_people(cluster: str) -> None:
    """Families, flags, accents and skin tones stay whole."""
    for lead in range(12):
        fitted = fit("あ" * lead + cluster * 80, 1)
        kept = fitted.removesuffix("…")[lead:]
        assert kept == cluster * (len(kept) // len(cluster))


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (
            "it\u2019s \u201cdone\u201d \u2013 at last… ok" + "a" * 100,
            'it\'s "done" - at last... ok' + "a" * 100,
        ),
        ("a\u00a0b" + "c" * 100, "a b" + "c" * 100),
        ("tab\there" + "c" * 100, "tab here" + "c" * 100),
        ("zero\u200bwidth" + "c" * 100, "zerowidth" + "c" * 100),
        ("it\u2019s", "it\u2019s"),
        ("it\u2019s 漢字" + "a" * 100, "it\u2019s 漢字" + "a" * 100),
    ],
)
def test_typographic_characters_are_replaced_where_that_is_cheaper(text: str, sent: str) -> None:
    """Short texts and texts that stay UCS-2 keep their look."""
    assert fit(text, 3) == sent


@given(ANY_TEXT)
def test_nothing_is_replaced_without_a_saving(text: str) -> None:
    """With room enough, a text changes only if it gets cheaper."""
    fitted = fit(text, 10)
    assert fitted == text or segments(fitted) < segments(text)


def test_a_huge_text_is_cut_quickly() -> None:
    """Megabytes are not looked at character by character."""
    assert fit("漢" * 5_000_000, 1) == "漢" * 69 + "…"


LINK = "https://ci.example.com/logs/381?step=300"


@pytest.mark.parametrize("text", ["word " * 100, "夜間ビルド" * 60, "🚨 " * 90], ids=["gsm", "kana", "emoji"])
def test_a_link_at_the_end_stays_whole(text: str) -> None:
    """What people press must lead somewhere, so the text before it gives way."""
    cuts: list[str] = []
    fitted = fit(f"{text.strip()} {LINK}", 1 if text.isascii() else 2, cuts=cuts)
    kept, _, link = fitted.rpartition(" ")
    assert link == LINK
    assert text.startswith(kept.rstrip(".…"))
    assert kept.endswith(("...", "…"))
    lost = len(text.strip()) - len(kept.rstrip(".…"))
    assert cuts[0].startswith(f"text: {lost} of ")


@pytest.mark.parametrize("most", range(1, 4))
@pytest.mark.parametrize("length", [100, 150, 300, 450, 2000])
def test_no_half_link_is_sent(length: int, most: int) -> None:
    """A link that has no room beside the text goes, wherever it stands."""
    link = "https://ci.example.com/".ljust(length, "x")
    for text in (f"the nightly build failed {link}", f"the nightly build failed {link} and {'y' * 500}"):
        fitted = fit(text, most)
        assert segments(fitted) <= most
        assert fitted.startswith("the nightly build")
        assert link in fitted.split() or "https" not in fitted


@given(st.text(st.sampled_from("ab :/.\n漢😀"), max_size=300), st.integers(1, 3))
def test_what_ends_with_a_link_fits_too(text: str, most: int) -> None:
    """The link takes nothing that was not paid for."""
    assert segments(fit(f"{text} {LINK}", most)) <= most


def test_what_is_replaced_by_nothing_does_not_hide_a_cut() -> None:
    """A text of soft hyphens shrinks when it is made cheaper: what follows it is still cut with a mark."""
    cuts: list[str] = []
    assert fit("\u00ad" * 150 + "a" * 600, 1, cuts=cuts).endswith("a...")
    assert cuts
