import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from apprise import Apprise, NotifyBase
from pydantic import ValidationError

from knell.assembly import classes, read
from knell.channels.apprise import MISSING, AppriseChannel, AppriseConfig
from knell.config.schema import Security
from knell.errors import ChannelError, ConfigError
from knell.events import NotificationEvent
from knell.lab import Gate, Hold, Respond
from knell.messages import (
    Attachment,
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)
from knell.testing.provider import Provider, Providers
from tests.channels.opening import running

PLAIN = {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}


@pytest.fixture
def lab() -> Iterator[Provider]:
    """A web server that takes everything."""
    with Providers(Provider) as running:
        yield running.provider


def url(lab: Provider, schema: str = "json", more: str = "") -> str:
    """Return the server's address for Apprise."""
    return f"{schema}://{urlsplit(lab.base_url).netloc}/hook" + (f"?{more}" if more else "")


def message(
    text: str = "the text", *, format_: MessageFormat = MessageFormat.TEXT, **more: Any
) -> FormattedMessage:
    """Make a message about a job that failed."""
    event = NotificationEvent(event_type="job_failed", source="ci", title="nightly", severity="error")
    return FormattedMessage(format=format_, content=text, events=(event,), id="d1", **more)


def send(urls: list[str], *messages: FormattedMessage, security: Any = None, **section: Any) -> list[Outcome]:
    """Send messages through one channel."""

    async def run() -> list[Outcome]:
        channel = AppriseChannel(AppriseConfig.model_validate({"urls": urls, **section}))
        async with running(channel, Security.model_validate(security or PLAIN)):
            return [await channel.send(each) for each in messages]

    return asyncio.run(run())


def bodies(lab: Provider) -> list[dict[str, Any]]:
    """Return what the receiver got."""
    return [json.loads(request.body) for request in lab.requests]


def test_title_body_and_kind(lab: Provider) -> None:
    """The headline is the title and not repeated in the body; the severity is the kind."""
    (outcome,) = send([url(lab)], message("❌ nightly\n\nexit 1"))
    assert outcome == Delivered({"accepted": ["url 1 (json)"]})
    (body,) = bodies(lab)
    assert (body["title"], body["message"]) == ("❌ nightly", "exit 1")
    assert body["type"] == "failure"


def test_a_form(lab: Provider) -> None:
    """Another schema, another encoding."""
    lab.script(Respond(200))
    (outcome,) = send([url(lab, "form")], message())
    assert isinstance(outcome, Delivered)
    assert lab.requests[0].headers["Content-Type"].startswith("application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("format_", "text", "wish", "expected"),
    [
        (MessageFormat.MARKDOWN, "**bold**", "format=html", "<strong>bold</strong>"),
        (MessageFormat.HTML, "<b>bold</b> &amp; more", "format=text", "bold & more"),
        (MessageFormat.TEXT, "a < b & c", "format=html", "a&nbsp;&lt;&nbsp;b"),
    ],
)
def test_formats(lab: Provider, format_: MessageFormat, text: str, wish: str, expected: str) -> None:
    """What we have is turned into what the service wants."""
    send([url(lab, more=wish)], message(text, format_=format_))
    assert expected in bodies(lab)[0]["message"]


def test_attachments_where_they_are_taken(lab: Provider) -> None:
    """A file goes along where the service takes files, and is left out where it does not."""
    (outcome,) = send([url(lab)], message(attachments=(Attachment("log.txt", b"exit 1", "text/plain"),)))
    assert isinstance(outcome, Delivered)
    (attached,) = bodies(lab)[0]["attachments"]
    assert (attached["filename"], attached["mimetype"], attached["base64"]) == (
        "log.txt",
        "text/plain",
        "ZXhpdCAx",
    )


def test_each_url_has_a_result_of_its_own(lab: Provider) -> None:
    """What one service took is never sent to it again; the detail says who failed."""
    other = url(lab, more="which=other")
    first = send([url(lab), "json://127.0.0.1:1/x"], message())[0]
    assert isinstance(first, Retry)
    assert first.reason is Reason.SERVER_ERROR
    assert "url 2 (json): A Connection error occurred" in first.detail
    assert "url 1" not in first.detail
    assert len(bodies(lab)) == 1
    again = send([url(lab), "json://127.0.0.1:1/x"], message(progress=dict(first.progress)))[0]
    assert isinstance(again, Retry)
    assert len(bodies(lab)) == 1
    assert send([url(lab), other], message(progress=dict(first.progress)))[0] == Delivered(
        {"accepted": ["url 1 (json)", "url 2 (json)"]}
    )
    assert len(bodies(lab)) == 2


def test_progress_tells_nothing_of_a_url(lab: Provider) -> None:
    """It is stored: it knows a URL by its schema and a digest."""
    secret = f"json://canary-user:canary-password@{urlsplit(lab.base_url).netloc}/canary-token"
    lab.script(Respond(500, at="canary"))
    (outcome,) = send([secret, url(lab)], message())
    assert isinstance(outcome, Retry)
    assert "canary" not in repr(outcome)
    assert list(outcome.progress["accepted"].values()) == ["url 2 (json)"]


def test_what_apprise_says_is_the_detail(lab: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Its log lines are ours while we call it, without credentials; others' calls stay the host's."""
    caplog.set_level(logging.DEBUG)
    lab.script(Respond(401))
    netloc = urlsplit(lab.base_url).netloc
    (outcome,) = send([f"json://{netloc}/canary-token/canary.tail"], message())
    assert isinstance(outcome, Retry)
    assert outcome.detail.startswith("url 1 (json): Failed to send JSON POST notification: ")
    assert "error=401" in outcome.detail
    assert "canary" not in outcome.detail + caplog.text
    assert not [record for record in caplog.records if record.name in {"apprise", "urllib3.connectionpool"}]
    others: Any = Apprise
    others.instantiate("nonsense://host")
    assert [record for record in caplog.records if record.name == "apprise"]


def test_a_plugin_that_raises(lab: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exception may hold the URL: only its name is told, and the other services are served."""

    def build(*_: Any, **__: Any) -> None:
        raise RuntimeError(url(lab))

    monkeypatch.setattr(NotifyBase, "_build_send_calls", build)
    (outcome,) = send([url(lab)], message())
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.SERVER_ERROR


def test_a_service_that_hangs(lab: Provider) -> None:
    """At the deadline nobody knows; the others have it, and are not asked again."""
    with Gate() as gate:
        lab.script(Hold(gate, at="which"))
        hanging = f"json://{urlsplit(lab.base_url).netloc}/hook/which"
        (outcome,) = send([hanging, url(lab)], message(), timeout_seconds=1)
        assert isinstance(outcome, Unknown)
        assert outcome.reason is Reason.TIMEOUT
        assert outcome.detail == "url 1 (json): no answer in time; it may have arrived"
        assert list(outcome.progress["accepted"].values()) == ["url 2 (json)"]


def test_when_all_threads_hang(lab: Provider) -> None:
    """What never began was not sent, and is told as such."""
    hanging = f"json://{urlsplit(lab.base_url).netloc}/hook/which"
    with Gate() as gate:
        lab.script(Hold(gate))

        async def run() -> list[Outcome]:
            section = {"urls": [hanging], "timeout_seconds": 1, "concurrency": 1}
            channel = AppriseChannel(AppriseConfig.model_validate(section))
            async with running(channel, Security.model_validate(PLAIN)):
                first = asyncio.ensure_future(channel.send(message()))
                await asyncio.to_thread(gate.wait_arrived)
                second = await channel.send(message())
            return [await first, second]

        first, second = asyncio.run(run())
    assert isinstance(first, Unknown)
    assert isinstance(second, Retry)
    assert second.detail == "url 1 (json): no thread is free: services that hang keep them all"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("json://127.0.0.1:1/x", "plain HTTP: use the schema's secure form"),
        ("jsons://127.0.0.1:1/x?verify=no", "verify=no trusts any certificate"),
    ],
)
def test_tls_is_required_where_an_address_tells(address: str, why: str) -> None:
    """Nothing is sent; the channel waits for another configuration."""
    (outcome,) = send([address], message(), security={"require_tls": True})
    assert outcome == Rejected(
        Reason.CONFIGURATION, f"url 1 (json{'s' * ('jsons' in address)}): {why} (security.require_tls)"
    )


def test_services_that_have_no_plain_form_pass() -> None:
    """A schema that knows TLS alone, or none at all, is not refused."""
    channel = AppriseChannel(
        AppriseConfig.model_validate({"urls": ["tgram://123456789:abcdefg_hijklmnop/123", "syslog://"]})
    )

    async def run() -> list[str]:
        async with running(channel, Security()):
            return channel.validate_config()

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("address", ["nonsense://canary", "canary", "json://", "tgram://canary"])
def test_an_address_apprise_does_not_understand(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the configuration that shows nothing of it."""
    with pytest.raises(ChannelError, match=r"urls\[0\] \(.+\): Apprise does not understand it") as refused:
        AppriseChannel(AppriseConfig.model_validate({"urls": address}))
    assert "canary" not in f"{refused.value}{caplog.text}"


def test_no_address() -> None:
    """There has to be one."""
    with pytest.raises(ValidationError):
        AppriseConfig.model_validate({"urls": []})


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration is refused with the command that helps."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    config = read({"channels": {"apprise": {"urls": ["json://localhost"], "events": ["*"]}}})
    with pytest.raises(ConfigError) as refused:
        classes(config)
    assert str(refused.value) == f"channels.apprise: {MISSING}"
    assert 'pip install "knell[apprise]"' in MISSING
