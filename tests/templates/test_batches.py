"""Digests: several events in one message."""

from collections.abc import Callable

import pytest

from knell.events import NotificationEvent
from knell.messages import FormattedMessage
from knell.templates import TemplateEngine

EventFactory = Callable[..., NotificationEvent]
TextOf = Callable[[FormattedMessage], str]


@pytest.mark.parametrize("locale", ["en", "ja"])
@pytest.mark.parametrize("kind", ["slack", "discord", "email"])
def test_a_digest_shows_title_status_error_duration_and_link_of_each(
    kind: str, locale: str, engine: TemplateEngine, rich: EventFactory, text_of: TextOf
) -> None:
    """Each event has its own part, and the count stands at the top."""
    events = [rich("job_failed", title="first *one*"), rich("pr_merged", title="second <one>")]
    message = engine.message(kind, events, locale=locale)
    text = text_of(message)
    assert ("2 notifications" if locale == "en" else "2件の通知") in text
    for said in ("first", "second", "stuck", "exit code 137", "https://ci.example.com/jobs/7"):
        assert said in text
    assert text.count("3 min 12 s" if locale == "en" else "3分12秒") >= 2
    assert message.events == tuple(events)
    assert [event["title"] for event in message.metadata["events"]] == ["first *one*", "second <one>"]
    assert message.metadata["event"] == message.metadata["events"][0]


def test_a_webhook_digest_holds_every_event(engine: TemplateEngine, minimal: EventFactory) -> None:
    """Count and events as they were told; the time is that of the newest."""
    late = minimal(timestamp="2025-12-01T10:00:00.250000Z")
    events = [minimal(title="a"), late, minimal(title="c")]
    message = engine.message("webhook", events)
    assert message.content == {
        "type": "knell.batch",
        "timestamp": "2025-12-01T10:00:00.250000Z",
        "data": {"count": 3, "events": message.metadata["events"]},
    }


def test_a_text_digest_names_each_in_a_few_words(engine: TemplateEngine, rich: EventFactory) -> None:
    """How many, then word and job of each, in one line."""
    message = engine.message("sms", [rich("job_failed"), rich("pr_created")])
    assert message.content == (
        "2 notifications: FAILED job-7 (nightly); OPENED #42 Refunds https://ci.example.com/jobs/7"
    )


@pytest.mark.parametrize("kind", ["slack", "discord"])
def test_a_digest_holds_every_event_for_the_channel_to_cut(
    kind: str, engine: TemplateEngine, minimal: EventFactory, text_of: TextOf
) -> None:
    """What a provider has room for is for its channel to know, which reports what it leaves out."""
    text = text_of(engine.message(kind, [minimal(title=f"build {number:03}") for number in range(100)]))
    assert all(f"build {number:03}" in text for number in range(100))


def test_a_mail_digest_leaves_nobody_out(engine: TemplateEngine, minimal: EventFactory) -> None:
    """All of a hundred events are in the HTML and in the text."""
    content = engine.message("email", [minimal(title=f"build {number:03}") for number in range(100)]).content
    assert isinstance(content, dict)
    for part in (content["html"], content["text"]):
        assert all(f"build {number:03}" in part for number in range(100))
    assert content["subject"] == "100 notifications: build 000"


def test_a_channel_without_a_digest_gets_plain_text(engine: TemplateEngine, minimal: EventFactory) -> None:
    """The plain layouts one after the other."""
    message = engine.message("pager", [minimal(title="a"), minimal(title="b")])
    assert isinstance(message.content, str)
    assert message.content.startswith("2 notifications\n")
    assert "Job failed: a" in message.content
    assert "Job failed: b" in message.content
