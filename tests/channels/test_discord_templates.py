"""The built-in templates, as Discord shows them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from knell.events import EventType, Link, NotificationEvent, Severity, seal
from knell.messages import Attachment, Delivered
from knell.templates import TemplateEngine
from tests.channels.discord_bench import Bench

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PICTURE = "https://ci.example.com/chart.png?job=7"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Discord channels and the lab."""
    with Bench() as running:
        yield running


@pytest.fixture
def engine() -> TemplateEngine:
    """The engine as the service has it."""
    return TemplateEngine(dashboard_url="https://dash.example.com")


def event(event_type: str = EventType.JOB_FAILED, **fields: Any) -> NotificationEvent:
    """Return an event."""
    given: dict[str, Any] = {"source": "dispatcher", "title": "nightly *build*", "timestamp": AT, **fields}
    return seal(NotificationEvent(event_type=event_type, **given)).event


def show(
    bench: Bench, engine: TemplateEngine, *events: NotificationEvent, files: tuple[Attachment, ...] = ()
) -> list[dict[str, Any]]:
    """Render and send a message; return the embeds that Discord has taken."""
    message = msgspec.structs.replace(engine.message("discord", events), events=events, attachments=files)
    assert isinstance(bench.send(bench.channel(), message), Delivered)
    (posted,) = bench.lab.discord.messages
    assert (posted.mentions, bench.lab.discord.violations) == ((), ())
    embeds: list[dict[str, Any]] = posted.payload["embeds"]
    return embeds


@pytest.mark.parametrize("event_type", [*EventType, "custom"])
def test_every_template_is_taken(bench: Bench, engine: TemplateEngine, event_type: str) -> None:
    """Colour, fields, footer, time and links of each event, whatever is in it."""
    metadata = {
        "job_id": "j7",
        "task_id": "1",
        "error": "`exit` @everyone" * 500,
        "duration": 5,
        "runner": "r",
    }
    told = event(event_type, metadata=metadata, description="<@1> " * 2000, links=[Link("https://x.io/a")])
    (embed,) = show(bench, engine, told)
    assert 0 < embed["color"] <= 0xFFFFFF
    assert embed["fields"]
    assert "dispatcher" in embed["footer"]["text"]
    assert embed["timestamp"] == "2026-01-02T03:04:05Z"
    assert embed["url"] == "https://x.io/a"
    assert "(https://x.io/a)" in embed["description"]


def test_the_least_event_is_taken(bench: Bench) -> None:
    """An event with nothing but its three fields has a title, and no empty parts."""
    (embed,) = show(bench, TemplateEngine(), event("custom"))
    assert embed["title"].endswith("nightly \\*build\\*")
    assert not {"image", "thumbnail", "description", "url"} & embed.keys()


def test_colours_are_the_severities(bench: Bench, engine: TemplateEngine) -> None:
    """Each severity of an event that is no good news has a colour of its own."""
    digest = [event("custom", severity=severity) for severity in Severity]
    colours = [embed["color"] for embed in show(bench, engine, *digest)]
    assert len(set(colours)) == len(Severity)


@pytest.mark.parametrize(("key", "part"), [("image_url", "image"), ("thumbnail_url", "thumbnail")])
def test_pictures_come_from_the_event(bench: Bench, engine: TemplateEngine, key: str, part: str) -> None:
    """A web address in the metadata is shown as a picture."""
    (embed,) = show(bench, engine, event(metadata={key: PICTURE}))
    assert embed[part] == {"url": PICTURE}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "attachment://chart.png",
        "https://user:word@x.io/a.png",
        "https://x.io/" + "a" * 3000,
        "",
        ["https://x.io/a.png"],
        {"a": 1},
        7,
        None,
    ],
)
def test_other_addresses_are_no_pictures(bench: Bench, engine: TemplateEngine, address: object) -> None:
    """Only http and https; everything else is left out, and the message arrives."""
    (embed,) = show(bench, engine, event(metadata={"image_url": address, "thumbnail_url": address}))
    assert not {"image", "thumbnail"} & embed.keys()


def test_a_template_chooses_its_pictures(bench: Bench, engine: TemplateEngine) -> None:
    """A template's own pictures win, also a file that comes along."""
    engine.register_template(
        "discord/custom.json",
        '{% extends "discord/base.json" %}{% set image %}attachment://chart.png{% endset %}'
        '{% set thumbnail = "https://x.io/logo.png" %}',
    )
    told = event("custom", metadata={"image_url": PICTURE})
    (embed,) = show(bench, engine, told, files=(Attachment("chart.png", b"1", "image/png"),))
    assert embed["image"] == {"url": "attachment://chart.png"}
    assert embed["thumbnail"] == {"url": "https://x.io/logo.png"}


def test_a_digest_is_one_message(bench: Bench, engine: TemplateEngine) -> None:
    """Many events are ten embeds at most; they have no common address, or Discord would merge them."""
    told = [event(title=f"job {number}", links=[Link("https://x.io")]) for number in range(12)]
    embeds = show(bench, engine, *told)
    assert len(embeds) == 10
    assert not any("url" in embed for embed in embeds)
