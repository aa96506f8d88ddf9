"""Hostile events through every channel: nothing a provider would refuse, nobody called, no text lost unsaid.

The judges share no code with the fitter: they are the stand-ins' validators and readers (`knell.lab`) and the
standard library's mail and HTML parsers.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from email import message_from_bytes, policy
from functools import cache
from html.parser import HTMLParser
from typing import Any, NamedTuple, cast
from unicodedata import normalize
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from knell.channels.answer import Answer
from knell.channels.base import Channel
from knell.channels.discord import DiscordChannel
from knell.channels.discord_config import DiscordConfig
from knell.channels.email import EmailChannel
from knell.channels.email_config import EmailConfig
from knell.channels.http import Http
from knell.channels.mail import Letterhead, compose
from knell.channels.mail_headers import Mailbox
from knell.channels.slack import SlackChannel, SlackConfig
from knell.channels.sms import SmsChannel
from knell.channels.sms_config import SmsConfig
from knell.channels.webhook import WebhookChannel, WebhookConfig
from knell.config.schema import Security
from knell.errors import TemplateError
from knell.events import NotificationEvent
from knell.lab import blocks, discord_body, discord_view, mrkdwn, segments, slack_message, twilio_rules
from knell.lab.bodies import form, listing, mapping
from knell.lab.record import Request
from knell.messages import FormattedMessage
from knell.templates import TemplateEngine
from tests import hostile

ENGINE = TemplateEngine(dashboard_url="https://knell.example.com")
MAX_SEGMENTS = 3
LOCALES = st.sampled_from(["en", "ja"])


class Wire(Http):
    """Keeps what would go out, and answers as every provider does when all is well."""

    def __init__(self) -> None:
        super().__init__(Security())
        self.sent: list[Request] = []

    async def request(self, method: str, url: Any, **parts: Any) -> Answer:
        """Keep a request."""
        headers: dict[str, str] = {"Content-Type": "application/json", **(parts.get("headers") or {})}
        body = parts.get("body")
        if body is None and parts.get("form") is not None:
            body = urlencode(parts["form"]).encode()
        if body is None:
            body = msgspec.json.encode(parts.get("json"))
        self.sent.append(Request(provider="", at=0, method=method, path=str(url), headers=headers, body=body))
        answer = {"ok": True, "ts": "1.1", "channel": "C1", "id": "1", "sid": "SM1", "status": "queued"}
        return Answer(201, {}, json.dumps(answer).encode())


def sent(channel: Channel, message: FormattedMessage) -> Request:
    """Send a message, and return the request that carries it."""

    async def run() -> Request:
        wire = Wire()
        await channel.open(wire)
        await channel.send(message)
        await channel.close()
        return wire.sent[0]

    return asyncio.run(run())


class Case(NamedTuple):
    """Some events as one message: rendered, and fitted by its channel."""

    events: Sequence[NotificationEvent]
    channel: Channel
    rendered: FormattedMessage
    fitted: FormattedMessage


def case(channel: Channel, events: Sequence[NotificationEvent], locale: str) -> Case:
    """Render and fit, as the channel's actor does."""
    kind = type(channel).__module__.rpartition(".")[2]
    try:
        message = ENGINE.message(kind, events, locale=locale)
    except TemplateError:
        # Thousands of links, or a digest of megabytes: more than a template may write.
        assert len(events) > 1 or len(events[0].links) > 1000
        message = ENGINE.plain(events, locale=locale)
    message = msgspec.structs.replace(message, id="message-1", events=tuple(events))
    fitted = channel.fit(message)
    assert channel.fit(fitted).content == fitted.content
    return Case(events, channel, message, fitted)


# What a reader sees

_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdd3\u200b]")
_MARKS = re.compile("[\ufdd0-\ufdd3]")
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def readable(text: str) -> str:
    """Return a text as a person sees it: without what is invisible, white space as single spaces."""
    text = _HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return " ".join(_TURNING.sub(lambda found: f"[U+{ord(found[0]):04X}]", text).split())


def begins(text: str, shown: str) -> bool:
    """Whether a beginning of the text is shown, ended by the sign of a cut."""
    starts = [found.end() for found in re.finditer(re.escape(text[:1]), shown)]
    ends = [found.start() for found in re.finditer("…", shown)]
    # A first character of more code points than are kept is left out as a whole.
    return re.search(": ?…", shown) is not None or any(
        text.startswith(shown[start - 1 : end].rstrip()) for end in ends for start in starts if start <= end
    )


def shows(case: Case, shown: str, *names: str) -> None:
    """Check that texts of the events are there in full, or reported as cut; of one event the title begins."""
    shown = readable(shown)
    for event in case.events:
        for name in names:
            text = readable(getattr(event, name))
            if text in shown:
                continue
            assert case.fitted.cuts, f"{name} is cut, and nothing says so"
            if name == "title" and len(case.events) == 1:
                assert begins(text[:2000], shown[:3000]), (text[:200], shown[:400])


def no_text_of(case: Case) -> None:
    """Check that the report holds no event text."""
    for cut in case.fitted.cuts:
        assert re.fullmatch(r"[A-Za-z0-9_.,:\[\] ?]+", cut), cut
        assert len(cut) < 200


# One judge for each provider


def slack(case: Case) -> None:
    """Slack takes it, and calls nobody."""
    payload = mapping(sent(case.channel, case.fitted).json) or {}
    slack_message.check(payload)
    assert len(str(payload["text"])) <= 40_000
    holders = [payload, *(mapping(item) or {} for item in listing(payload.get("attachments")) or [])]
    assert all(blocks.total_text(holder.get("blocks")) <= 12_000 for holder in holders)
    reading = mrkdwn.read(payload)
    assert reading.mentions == []
    if len(case.events) == 1:
        shows(case, reading.text, "title", "description")
    else:
        shows(case, reading.text, "title")


def discord(case: Case) -> None:
    """Discord takes it, and pings nobody; what was cut is in the file."""
    body = discord_body.read_body(sent(case.channel, case.fitted))
    body.check()
    urls = [
        url for item in listing(body.payload.get("embeds")) or [] if (url := (mapping(item) or {}).get("url"))
    ]
    assert len(set(urls)) == len(urls)
    text, _, pings = discord_view.read(body.payload)
    assert pings == ()
    shows(case, text, *(("title", "description") if len(case.events) == 1 else ("title",)))
    filed(case)


def filed(case: Case) -> None:
    """Check that the whole is in a file exactly when something was cut."""
    attachments = case.fitted.attachments
    assert bool(attachments) == bool(case.fitted.cuts)
    for attachment in attachments:
        assert len(attachment.content) <= 10 * 1024 * 1024
        assert attachment.filename == "details.txt"
        text = attachment.content.decode()
        if not text.endswith("…"):
            assert all(event.title in text and event.description in text for event in case.events)


class Page(HTMLParser):
    """The text of a page, and the tags, attributes and links in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.forms: set[str] = set()
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag down."""
        self.forms |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_comment(self, data: str) -> None:
        """Take a comment down."""
        self.forms.add(f"comment {data}")

    def handle_data(self, data: str) -> None:
        """Take a text down."""
        self.texts.append(data)


@cache
def usual_forms() -> set[str]:
    """Return the tags and attributes of the mails of harmless events."""
    found: set[str] = set()
    for count in (1, 2):
        for event_type in ("job_failed", "job_completed"):
            event = NotificationEvent(
                event_type=event_type,
                source="s",
                title="t",
                description="d",
                metadata={"error": "e", "log_url": "https://x.example", "job_id": "7", "status": "x"},
            )
            content = cast("dict[str, str]", ENGINE.message("email", [event] * count).content)
            found |= Page(content["html"]).forms
    return found


def email(case: Case) -> None:
    """Every mail program can read it: ASCII, CRLF, no line beyond 998 octets, the whole text twice."""
    box = Mailbox.parse("knell <knell@example.com>")
    mail = compose(Letterhead(box, (box,)), case.fitted, "<1@example.com>")
    assert mail.isascii()
    assert b"\0" not in mail
    lines = mail.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    parsed = message_from_bytes(mail, policy=policy.default)
    assert set(parsed.keys()) <= {
        *("From", "To", "Auto-Submitted", "MIME-Version", "Subject", "Date", "Message-ID", "Content-Type"),
        *("X-NecroCode-Event", "In-Reply-To", "References", "Content-Transfer-Encoding"),
    }
    assert 0 < len(str(parsed["Subject"])) <= 260
    assert not parsed.defects
    html, plain = parsed.get_body(("html",)), parsed.get_body(("plain",))
    assert plain is not None
    names = ("title", "description") if len(case.events) == 1 else ("title",)
    shows(case, str(plain.get_content()), *names)
    if html is not None:
        page = Page(str(html.get_content()))
        assert page.forms <= usual_forms()
        assert all(re.match("https?://", link, re.IGNORECASE) for link in page.links)
        shows(case, "".join(page.texts), *names)


def sms(case: Case) -> None:
    """Twilio takes it, and it costs no more than the section allows."""
    told = form(sent(case.channel, case.fitted).body)
    twilio_rules.check(told, {twilio_rules.SENDER}, "")
    assert 0 < segments.segments(told["Body"], twilio_rules.SENDER) <= MAX_SEGMENTS
    if len(case.events) == 1 and spelled(case.events[0].title) not in spelled(told["Body"]):
        assert case.fitted.cuts


def spelled(text: str) -> str:
    """Return the letters and digits of a text: everything else an SMS may write in a cheaper way."""
    text = normalize("NFKC", readable(text).replace("\u00d7", "x"))
    return "".join(character for character in text if character.isalnum())


def webhook(case: Case) -> None:
    """It is JSON of the standard's form and of bearable size, with the events exactly as they were told."""
    request = sent(case.channel, case.fitted)
    assert len(request.body) <= 1024 * 1024
    body = msgspec.json.decode(request.body, type=dict[str, Any])
    assert body.keys() == {"type", "timestamp", "data"}
    assert re.fullmatch(r"[A-Za-z0-9_.:\-]+", body["type"])
    assert str(request.headers["webhook-id"]) == "message-1"
    if not case.fitted.cuts:
        # Four of Unicode's noncharacters mark data in templates: nothing else of a text is ever lost.
        told = [json.loads(_MARKS.sub("", msgspec.json.encode(event).decode())) for event in case.events]
        assert body["data"] == (told[0] if len(told) == 1 else {"count": len(told), "events": told})


def channels() -> dict[str, tuple[Callable[[], Channel], Callable[[Case], None]]]:
    """Return a maker of each channel, and its judge."""
    address = "https://hooks.example.com/x"
    sections: dict[str, tuple[type[Channel], Any, Mapping[str, Any], Callable[[Case], None]]] = {
        "slack": (SlackChannel, SlackConfig, {"webhook_url": address}, slack),
        "discord": (DiscordChannel, DiscordConfig, {"webhook_url": address}, discord),
        "email": (
            EmailChannel,
            EmailConfig,
            {"smtp_server": "mail.example.com", "from": "a@example.com", "to": "b@example.com"},
            email,
        ),
        "sms": (
            SmsChannel,
            SmsConfig,
            {
                "account_sid": "AC1",
                "auth_token": "x",
                "from_number": twilio_rules.SENDER,
                "to_numbers": ["+819012345678"],
                "max_segments": MAX_SEGMENTS,
            },
            sms,
        ),
        "webhook": (WebhookChannel, WebhookConfig, {"url": address}, webhook),
    }

    def maker(make: type[Channel], config: Any, keys: Mapping[str, Any]) -> Callable[[], Channel]:
        return lambda: make(config.model_validate({"name": "test", "type": "test", **keys}))

    return {
        name: (maker(make, config, keys), judge) for name, (make, config, keys, judge) in sections.items()
    }


CHANNELS = channels()


def hold(name: str, events: Sequence[NotificationEvent], locale: str) -> None:
    """Take events through a channel and have its judge look at what comes out."""
    make, judge = CHANNELS[name]
    found = case(make(), events, locale)
    no_text_of(found)
    judge(found)


def slack_files(events: Sequence[NotificationEvent], locale: str) -> None:
    """Slack's Web API takes files: what was cut is in one."""
    config = SlackConfig.model_validate(
        {"name": "test", "type": "slack", "bot_token": "xoxb-1", "channel": "#x"}
    )
    filed(case(SlackChannel(config), events, locale))


QUICK = settings(
    max_examples=250,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.generate, Phase.shrink],
)


@pytest.mark.parametrize("name", CHANNELS)
@QUICK
@given(event=hostile.events(), locale=LOCALES)
def test_one_event(name: str, event: NotificationEvent, locale: str) -> None:
    """Whatever an event holds, the message is valid, complete or reported as cut, and calls nobody."""
    hold(name, [event], locale)


@pytest.mark.parametrize("name", CHANNELS)
@settings(QUICK, max_examples=50)
@given(events=hostile.digests, locale=LOCALES)
def test_a_digest(name: str, events: list[NotificationEvent], locale: str) -> None:
    """The same for several events in one message."""
    hold(name, events, locale)


@settings(QUICK, max_examples=100)
@given(event=hostile.events(), locale=LOCALES)
def test_files_of_slack(event: NotificationEvent, locale: str) -> None:
    """The same as for Discord's files."""
    slack_files([event], locale)


SHARDS = 4
TOTAL = 10_000
SEED = int(os.environ.get("KNELL_SEED", "2025"))
"""Set KNELL_SEED to look at other events."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_ten_thousand_events_through_all_channels(shard: int) -> None:
    """10,000 events, one in ten a digest, each through every channel; the seed is in the output."""
    print(f"KNELL_SEED={SEED}, shard {shard}")  # noqa: T201 - shown when it fails

    @seed(SEED + shard)
    @settings(QUICK, max_examples=TOTAL // SHARDS, phases=[Phase.generate], database=None)
    @given(events=st.integers(0, 9).flatmap(_some), locale=LOCALES)
    def run(events: list[NotificationEvent], locale: str) -> None:
        for name in CHANNELS:
            hold(name, events, locale)
        slack_files(events, locale)

    run()


def _alone(event: NotificationEvent) -> list[NotificationEvent]:
    return [event]


def _some(dice: int) -> st.SearchStrategy[list[NotificationEvent]]:
    return hostile.digests if dice == 0 else hostile.events().map(_alone)
