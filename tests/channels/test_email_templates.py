"""knell's own mails: right where a program drops `<style>`, dark where a reader wants that."""

import re

import pytest

from knell.channels.mail_css import inlined
from knell.events import Link, NotificationEvent
from knell.templates.engine import TemplateEngine
from knell.templates.html_text import as_text

ENGINE = TemplateEngine()
NAMES = [name for name in ENGINE.list_templates() if re.fullmatch(r"email/(?!base)\w+\.html", name)]
_ELEMENT = re.compile(r'<\w+[^>]*\bclass="([^"]+)"[^>]*>')
_COLOURED = {"ink", "soft", "dim", "link"}


def mail(name: str) -> dict[str, str]:
    """Render one of the templates with all there can be in it."""
    event = NotificationEvent(
        event_type=name.partition("/")[2].partition(".")[0],
        source="test",
        title="nightly <b>",
        description="It failed.",
        metadata={"job_id": "job-7", "error": "boom\n  at line 3", "duration_seconds": 9},
        links=[Link("https://ci.example.com/7", "log"), Link("https://ci.example.com/8", "more")],
    )
    content = ENGINE.message("email", [event] * (1 + name.endswith("batch.html"))).content
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_the_head(name: str) -> None:
    """Each element that has another colour in the dark has one of its own; nothing needs inlining."""
    html = mail(name)["html"]
    assert inlined(html) is html
    for element in _ELEMENT.finditer(html):
        classes = set(element[1].split())
        assert not classes & _COLOURED or re.search(r'[;"]color:#', element[0]), element[0]
        assert not classes & {"page", "card", "code", "other"} or "background:#" in element[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_dark_knows_every_class(name: str) -> None:
    """No rule is left for a class that nothing has, and no class without a rule."""
    html = mail(name)["html"]
    used = {word for element in _ELEMENT.finditer(html) for word in element[1].split()}
    style, _, _ = html.partition("</style>")
    assert used == set(re.findall(r"\.([a-z]+) {", style))
    assert style.count("prefers-color-scheme: dark") == 1


@pytest.mark.parametrize("name", NAMES)
def test_html_and_text_say_the_same(name: str) -> None:
    """What a reader of the HTML learns, a reader of the text does."""
    content = mail(name)
    shown = as_text(content["html"])
    for said in ("nightly <b>", "boom", "https://ci.example.com/7", "https://ci.example.com/8", "job-7"):
        assert said in shown
        assert said in content["text"]
