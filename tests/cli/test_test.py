import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knell.cli.main import cli
from knell.cli.remedies import remedy
from knell.lab import Drop, Fault, Lab, Redirect, Respond
from knell.messages import Reason, Scope

CRASHER = """
from knell.channels.base import Channel


class Crasher(Channel):
    async def send(self, message): raise RuntimeError("canary")

    async def health_check(self): raise RuntimeError("canary")
"""

GOSSIP = """
import asyncio
from knell.channels.base import Channel, ChannelConfig, Delivered, HealthStatus, Reason, Rejected
from pydantic import SecretStr


class Section(ChannelConfig):
    token: SecretStr
    fault: str


class Gossip(Channel):
    Config = Section

    def __init__(self, config):
        super().__init__(config)
        self.said = f"the token {config.token.get_secret_value()} is wrong"
        self.told("making")

    def told(self, moment):
        if self.config.fault == moment: raise RuntimeError(self.said)

    async def open(self, http):
        await super().open(http)
        self.told("opening")

    async def send(self, message):
        if self.config.fault == "silence": await asyncio.Event().wait()
        if self.config.fault == "nonsense": return None
        if self.config.fault == "receipt": return Delivered({"id": self.said})
        return Rejected(Reason.REFUSED, self.said)

    async def health_check(self): return HealthStatus(False, self.said)

    async def close(self): self.told("closing")
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The providers."""
    with Lab(rate_limited=False) as running:
        yield running


@pytest.fixture
def settings(lab: Lab) -> dict[str, Any]:
    """A configuration that ends at the lab."""
    return lab.config()


@pytest.fixture
def try_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> Callable[..., Result]:
    """Return what runs `knell test` with the settings, as they are by then."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()

    def run(*arguments: str) -> Result:
        (tmp_path / "config" / "notifications.yaml").write_text(json.dumps(settings))
        return CliRunner().invoke(cli, ["test", *arguments])

    return run


@pytest.mark.parametrize("channel", ["slack", "discord", "email", "webhook", "sms"])
def test_a_message_arrives(lab: Lab, try_out: Callable[..., Result], channel: str) -> None:
    """One real message, which says that it is a test; nothing is left in the working directory."""
    by_channel = {stand_in.section()["type"]: stand_in for stand_in in lab.stand_ins}
    provider = by_channel[channel]
    before = len(provider.messages)
    result = try_out(channel)
    assert result.exit_code == 0, result.output
    assert re.match(rf"{channel}: delivered in \d+ ms\n", result.stdout)
    assert len(provider.messages) == before + 1
    assert "Test message of knell" in provider.messages[-1].text
    assert not Path(".knell").exists()


def test_a_check_sends_nothing(lab: Lab, try_out: Callable[..., Result]) -> None:
    """`--check` says how it is; nobody gets a message."""
    before = len(lab.slack.messages), len(lab.smtp.messages)
    for channel in ("slack", "email"):
        result = try_out(channel, "--check")
        assert (result.exit_code, result.stdout.splitlines()[0]) == (
            0,
            f"{channel}: ready (nothing was sent)",
        )
    assert (len(lab.slack.messages), len(lab.smtp.messages)) == before


def test_json(try_out: Callable[..., Result]) -> None:
    """One object for programs, with the provider's reference."""
    answer = json.loads(try_out("discord", "--json").stdout)
    assert (answer["channel"], answer["type"], answer["ok"], answer["outcome"]) == (
        "discord",
        "discord",
        True,
        "delivered",
    )
    assert answer["receipt"]["id"]


@pytest.mark.parametrize(
    ("fault", "head", "told"),
    [
        (Respond(403, "no"), "not delivered: authentication", "copy the token, password or address again"),
        (Respond(404, ""), "not delivered: configuration", "copy the address again"),
        (Respond(410, ""), "not delivered: gone", "make a new webhook or endpoint"),
        (Respond(400, ""), "not delivered: invalid message", "'knell check' renders them all"),
        (Respond(503, ""), "not delivered, may work later: server error", "status page"),
        (
            Respond(429, "", {"Retry-After": "7"}),
            "not delivered, may work later: rate limit",
            "the provider asks to wait 7 s",
        ),
        (Redirect(), "not delivered: configuration", "put the new address into channels.webhook"),
        (Drop(stored=True), "nobody knows whether it was delivered: connection error", "possible duplicate"),
    ],
)
def test_a_failure_comes_with_its_cure(
    lab: Lab, try_out: Callable[..., Result], fault: Fault, head: str, told: str
) -> None:
    """The reason, what the provider said, why that is, and what to do; exit code 1."""
    lab.webhook.script(fault)
    result = try_out("webhook")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == f"webhook: {head}"
    assert told in result.stdout
    assert "why: " in result.stdout
    assert "fix: " in result.stdout
    assert "{section}" not in result.stdout
    assert not any(secret in result.output for secret in lab.webhook.secrets)


@pytest.mark.parametrize(
    ("url", "security", "told"),
    [
        ("http://nobody.invalid/x", {}, "check the host's spelling"),
        ("http://127.0.0.1:1/x", {}, "check host and port"),
        ("http://127.0.0.1:1/x", {"allowed_networks": []}, 'security: {allowed_networks: ["127.0.0.1/32"]}'),
        ("http://127.0.0.1:1/x", {"require_tls": True}, "use the https address"),
    ],
)
def test_an_address_that_leads_nowhere(
    settings: dict[str, Any], try_out: Callable[..., Result], url: str, security: dict[str, Any], told: str
) -> None:
    """Names, ports and networks have cures of their own."""
    settings["channels"]["webhook"]["url"] = url
    settings["security"] |= security
    result = try_out("webhook")
    assert result.exit_code == 1
    assert told in result.stdout


def test_credentials_of_a_mail_server(settings: dict[str, Any], try_out: Callable[..., Result]) -> None:
    """A wrong password is named as such, in a test and in a check, and not shown."""
    settings["channels"]["email"]["password"] = "canary-password"
    for arguments in (("email",), ("email", "--check")):
        result = try_out(*arguments)
        assert result.exit_code == 1
        assert "the provider does not accept the credentials" in result.stdout
        assert "canary" not in result.output


def test_what_other_channels_miss_does_not_matter(
    settings: dict[str, Any], try_out: Callable[..., Result]
) -> None:
    """A variable that another channel lacks is that channel's; one of this channel's own is an error."""
    settings["channels"]["other"] = {"type": "slack", "webhook_url": "${KNELL_TEST_NOT_SET}"}
    assert try_out("webhook").exit_code == 0
    result = try_out("other")
    assert result.exit_code == 78
    assert "KNELL_TEST_NOT_SET is not set" in result.stderr


def test_a_channel_that_is_off_can_be_tested(
    lab: Lab, settings: dict[str, Any], try_out: Callable[..., Result]
) -> None:
    """Before it is switched on is when one wants to know."""
    settings["channels"]["slack"]["enabled"] = False
    before = len(lab.slack.messages)
    assert try_out("slack").exit_code == 0
    assert len(lab.slack.messages) == before + 1


def test_a_channel_that_is_not_there(try_out: Callable[..., Result]) -> None:
    """Wrong usage, with a suggestion."""
    result = try_out("slak")
    assert result.exit_code == 2
    assert "there is no channel 'slak'; did you mean 'slack'?" in result.stderr


def test_a_channel_that_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], try_out: Callable[..., Result]
) -> None:
    """Its exception is named; its text, which may hold anything, is not shown."""
    (tmp_path / "knell_test_crasher.py").write_text(CRASHER)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    settings["channels"]["crasher"] = {"type": "knell_test_crasher:Crasher", "events": ["*"]}
    for arguments in (("crasher",), ("crasher", "--check")):
        result = try_out(*arguments)
        assert result.exit_code == 1
        assert "crasher: the channel crashed\n  the channel raised RuntimeError\n" in result.stdout
        assert "canary" not in result.output


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.scope is not Scope.NONE])
def test_every_reason_of_an_attempt_has_a_cure(reason: Reason) -> None:
    """Whatever a channel may say, there is something to do."""
    if reason in {Reason.HUNG, Reason.EXPIRED, Reason.CANCELLED}:
        pytest.skip("no attempt ends so: the actor and the operator do")
    found = remedy(reason, "")
    assert found.why
    assert found.fix


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("certificate has expired", "renew it"),
        ("Hostname mismatch, certificate is not valid for 'x'", "another name"),
        ("self-signed certificate in certificate chain", "vouches"),
        ("unable to get local issuer certificate", "vouches"),
        ("ffff::1 is refused: x (security.allowed_networks)", '["ffff::1/128"]'),
    ],
)
def test_what_tls_and_addresses_say(detail: str, told: str) -> None:
    """The words of OpenSSL and of the guard are understood."""
    found = remedy(Reason.TLS, detail)
    assert told in f"{found.why} {found.fix}".replace("{{", "{").replace("}}", "}")


def _gossip(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> dict[str, Any]:
    """Return the section of a channel that says its token."""
    (folder / "gossip.py").write_text(GOSSIP)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "gossip", raising=False)
    return {"type": "gossip:Gossip", "token": "c4n4ry-42", "fault": fault}


@pytest.mark.parametrize("fault", ["making", "opening", "closing", "receipt", "nonsense", "none"])
@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_a_channel_that_says_its_secret(
    settings: dict[str, Any],
    try_out: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    flags: list[str],
) -> None:
    """Wherever a third party's channel says it: nobody sees it, and nobody sees a traceback."""
    settings["channels"]["ours"] = _gossip(tmp_path, monkeypatch, fault)
    result = try_out("ours", *flags)
    assert result.exit_code in {0, 1, 78}
    assert isinstance(result.exception, SystemExit | None)
    assert "c4n4ry" not in result.output


def test_a_channel_that_never_answers(
    settings: dict[str, Any], try_out: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends all the same, as a delivery of the service would."""
    monkeypatch.setattr("knell.actors.line.GRACE", 0.01)
    section = _gossip(tmp_path, monkeypatch, "silence")
    settings["channels"]["ours"] = {**section, "timeout_seconds": 0.01}
    result = try_out("ours")
    assert result.exit_code == 1
    assert "nobody knows whether it was delivered: timeout" in result.output
