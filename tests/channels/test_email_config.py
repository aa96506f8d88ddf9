"""The section of an e-mail channel: what the specification writes, and every mistake by its key."""

from typing import Any

import pytest

from knell.channels.email import EmailChannel, EmailConfig
from knell.channels.registry import find
from knell.channels.smtp_server import Encryption
from knell.errors import ChannelError

A = "a@example.com"
GOOD = {"smtp_server": "mail.example.com", "from": "knell@example.com", "to": [A]}


def test_the_section_of_the_specification_is_valid() -> None:
    """The keys and values of the specification's example, and the defaults of what it leaves out."""
    config = EmailConfig.model_validate(
        {
            "enabled": True,
            "smtp_server": "smtp.gmail.com",
            "smtp_port": 587,
            "use_tls": True,
            "from": "necrocode@example.com",
            "username": "someone",
            "password": "secret",
            "to": ["team@example.com", "alerts@example.com"],
            "events": ["job_failed", "task_failed"],
        }
    )
    assert config.sender == "necrocode@example.com"
    assert (config.concurrency, config.cc, config.bcc) == (4, [], [])
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"to": []}, "recipient"),
        ({"to": ["a@example.com\r\nBcc: x@y.z"]}, "to"),
        ({"to": "a@b@c"}, "to"),
        ({"from": "nobody"}, "from"),
        ({"from": None}, "from"),
        ({"smtp_server": "mail.example.com:25"}, "smtp_server"),
        ({"smtp_server": "mail.example.com\r\nQUIT"}, "smtp_server"),
        ({"smtp_port": 0}, "smtp_port"),
        ({"smtp_port": 65536}, "smtp_port"),
        ({"use_tls": "yes"}, "use_tls"),
        ({"username": "me"}, "username"),
        ({"password": "me"}, "password"),
        ({"subject_prefix": "x" * 51}, "subject_prefix"),
        ({"smtp_host": "typo"}, "smtp_host"),
        ({"use_tls": False, "implicit_tls": True}, "implicit_tls"),
        ({"implicit_tls": 1}, "implicit_tls"),
        ({"helo": "a b"}, "helo"),
        ({"helo": "a\r\nMAIL"}, "helo"),
        ({"reply_to": "nobody"}, "reply_to"),
        ({"on_unknown": "drop"}, "on_unknown"),
        ({"list_unsubscribe": {}}, "list_unsubscribe"),
        ({"list_unsubscribe": {"url": "https://x y"}}, "list_unsubscribe.url"),
        ({"dkim": {"domain": "example.com", "selector": "k1"}}, "dkim.private_key"),
        ({"dkim": {"domain": "a b", "selector": "k1", "private_key": "x"}}, "dkim.domain"),
        ({"dkim": {"domain": "example.com", "selector": "k;1", "private_key": "x"}}, "dkim.selector"),
    ],
)
def test_mistakes_in_the_section_are_named(change: dict[str, Any], place: str) -> None:
    """Each is refused when the configuration is read, by its key."""
    with pytest.raises(ValueError, match=place):
        EmailConfig.model_validate(GOOD | change)


@pytest.mark.parametrize(
    ("change", "encryption"),
    [
        ({}, Encryption.STARTTLS),
        ({"smtp_port": 25}, Encryption.STARTTLS),
        ({"smtp_port": 465}, Encryption.IMPLICIT),
        ({"smtp_port": 2465, "implicit_tls": True}, Encryption.IMPLICIT),
        ({"smtp_port": 465, "implicit_tls": False}, Encryption.STARTTLS),
        ({"use_tls": False}, Encryption.NONE),
        ({"use_tls": False, "smtp_port": 465}, Encryption.NONE),
        ({"use_tls": False, "implicit_tls": False}, Encryption.NONE),
    ],
)
def test_how_connections_are_protected(change: dict[str, Any], encryption: Encryption) -> None:
    """TLS unless waived; from the start on port 465, or where the section says so."""
    assert EmailConfig.model_validate(GOOD | change).encryption is encryption


def test_an_unusable_dkim_key_is_a_mistake_of_the_configuration() -> None:
    """The channel cannot be made, so that `knell check` and a start say so; the key shows nowhere."""
    dkim = {"domain": "example.com", "selector": "k1", "private_key": "s3cret"}
    config = EmailConfig.model_validate(GOOD | {"dkim": dkim})
    with pytest.raises(ChannelError, match=r"dkim.private_key: .*PEM") as error:
        EmailChannel(config)
    assert "s3cret" not in str(error.value) + repr(config)


def test_a_mail_server_has_a_minute_for_its_answer() -> None:
    """Longer than other providers: who hangs up during its search for spam gets the mail sent twice."""
    assert EmailConfig.model_validate(GOOD).timeout_seconds == 60


@pytest.mark.parametrize("server", ["mail", "192.0.2.1", "::1", "2001:db8::25", "mail_1.example.com"])
def test_servers_may_be_names_or_addresses(server: str) -> None:
    """Host names, IPv4 and IPv6."""
    assert EmailConfig.model_validate(GOOD | {"smtp_server": server}).smtp_server == server


def test_one_recipient_may_be_written_as_text() -> None:
    """`to: team@example.com` needs no list."""
    assert EmailConfig.model_validate(GOOD | {"to": A}).to == [A]


def test_blind_copies_alone_are_enough() -> None:
    """Somebody gets the mail."""
    assert EmailConfig.model_validate(GOOD | {"to": [], "bcc": A}).bcc == [A]


def test_a_good_section_has_no_problems() -> None:
    """Nothing to say beyond the schema."""
    assert EmailChannel(EmailConfig.model_validate(GOOD)).validate_config() == []


def test_email_is_a_built_in_type() -> None:
    """`type: email` finds this channel, with the specification's default events."""
    assert find("email") is EmailChannel
    assert EmailChannel.default_events == {
        *("job_completed", "job_failed", "task_failed", "pr_merged", "agent_error", "system_alert")
    }
