"""Styles in the elements: what mail programs drop with `<style>` is said there, too."""

from pathlib import Path

import pytest

from knell.channels.mail_css import inlined


def page(style: str, body: str = '<p class="a" style="margin:0">x &nbsp; é</p>', attributes: str = "") -> str:
    """Return HTML with a style in its head."""
    return f"<!DOCTYPE html><html><head><style{attributes}>{style}</style></head><body>{body}</body></html>"


@pytest.mark.parametrize(
    ("style", "style_of_p"),
    [
        (".a { color: red }", "color: red;margin: 0"),
        ("p { color: red; margin: 9px }", "color: red;margin: 0"),
        ("p { margin: 9px !important }", "margin: 9px !important"),
        ("p { color: red } p { color: blue }", "color: blue;margin: 0"),
        ("p { color: red } .a { color: blue }", "color: blue;margin: 0"),
    ],
)
def test_rules_are_written_into_their_elements(style: str, style_of_p: str) -> None:
    """The cascade stays what it was: the element's own style wins, `!important` over it."""
    html = inlined(page(style))
    assert f'style="{style_of_p}"' in html
    assert "<style" not in html or "color" not in html.partition("</style>")[0]


def test_what_no_element_can_hold_stays() -> None:
    """`@media` and `:hover` are for the programs that read `<style>`."""
    rest = "@media (max-width: 600px) { p { color: blue !important } } a:hover { color: green }"
    kept = inlined(page(f"p {{ color: red }} {rest}")).partition("</style>")[0]
    assert "@media" in kept
    assert "a:hover" in kept
    assert "red" not in kept


@pytest.mark.parametrize(
    "html",
    [
        "<p>no style</p>",
        page("p { color: red }", attributes=' data-css-inline="ignore"'),
        page("p { color: red }", attributes=" type='text/css' data-css-inline=ignore"),
    ],
)
def test_without_a_style_of_that_kind_html_is_left_alone(html: str) -> None:
    """Not a byte changes, and nothing is parsed."""
    assert inlined(html) is html


def test_what_is_beside_the_ignored_is_inlined() -> None:
    """Each `<style>` for itself."""
    html = page("p { color: red }", attributes=' data-css-inline="ignore"')
    html = inlined(html.replace("</head>", "<style>p { margin-top: 7px }</style></head>"))
    assert "margin-top: 7px" in html.partition("<p")[2]
    assert "p { color: red }" in html


def test_text_and_comments_survive() -> None:
    """Entities, other scripts and Outlook's comments arrive as they were."""
    body = "<!--[if mso]><table><![endif]--><p>a &lt;b&gt; &nbsp; é 日本</p>"
    assert body in inlined(page("i { color: red }", body))


def test_no_file_and_no_address_is_read(tmp_path: Path) -> None:
    """A linked sheet stays a link: a mail's HTML must not read this machine's files."""
    sheet = tmp_path / "secret.css"
    sheet.write_text("p { color: red }")
    link = f'<link rel="stylesheet" href="{sheet.as_uri()}"><link rel="stylesheet" href="{sheet}">'
    html = inlined(page("p { margin: 1px }").replace("</head>", f"{link}</head>"))
    assert "red" not in html
    assert html.count("<link") == 2


@pytest.mark.parametrize(
    "style", ["p {", "}}}", "p { color: }", "@media {", "<!-- p { color: red } -->", "\0"]
)
def test_a_broken_style_breaks_no_mail(style: str) -> None:
    """What cannot be understood is left out, and the text is there."""
    assert "x &nbsp; é" in inlined(page(style))
