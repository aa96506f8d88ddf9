import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knell.cli.main import cli

DAYS = {"max_retries": 150, "max_delay_ms": 3_600_000}
CONSOLE = {"type": "console"}
OFF = {"type": "console", "enabled": False}
WEBHOOK = {"type": "webhook", "url": "https://example.com/"}
HOOK = "https://hooks.slack.com/services/T0/B0/x"


def check(*arguments: str) -> Result:
    """Run `knell check`."""
    return CliRunner().invoke(cli, ["check", *arguments])


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes a configuration, one key a line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()

    def write(**keys: Any) -> None:
        given: dict[str, Any] = {"channels": {"console": {}}, "retry_policy": DAYS, **keys}
        lines = [f"{key}: {json.dumps(value)}" for key, value in given.items()]
        (tmp_path / "config" / "notifications.yaml").write_text("\n".join(lines) + "\n")

    return write


def test_a_good_configuration_is_ok(settings: Callable[..., None]) -> None:
    """Nothing on stdout, a summary for people."""
    settings()
    result = check()
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "config/notifications.yaml: ok: 1 channel (console), 0 rules\n"


def test_the_packaged_configuration_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, the one that comes with knell is in force; it warns of nothing but variables."""
    monkeypatch.chdir(tmp_path)
    result = check()
    assert result.exit_code == 0
    assert all("is not set (needed by" in line for line in result.stdout.splitlines())


def test_every_mistake_comes_at_once_with_its_place(tmp_path: Path) -> None:
    """`file:line:col: message`, the line, a caret under the place; exit code 78."""
    file = tmp_path / "broken.yaml"
    file.write_text("channels:\n  console:\n    enabld: true\nlocale: fr\n")
    result = check(str(file))
    assert result.exit_code == 78
    assert result.stdout == (
        f"{file}:3:5: unknown key 'enabld', did you mean 'enabled'?\n"
        "      enabld: true\n"
        "      ^\n"
        f"{file}:4:9: expected 'en' or 'ja'\n"
        "  locale: fr\n"
        "          ^\n"
    )
    assert result.stderr == f"{file}: wrong; 2 problems\n"


def test_json_is_for_programs(settings: Callable[..., None]) -> None:
    """The same findings, nothing else on stdout and nothing on stderr."""
    settings(locale="fr")
    result = check("--json")
    assert (result.exit_code, result.stderr) == (78, "")
    answer = json.loads(result.stdout)
    assert (answer["ok"], answer["warnings"]) == (False, [])
    (problem,) = answer["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("config/notifications.yaml", 3, 9)
    assert problem["message"] == "expected 'en' or 'ja'"


def test_a_missing_file_is_a_wrong_configuration(tmp_path: Path) -> None:
    """It is named."""
    result = check(str(tmp_path / "no.yaml"))
    assert result.exit_code == 78
    assert str(tmp_path / "no.yaml") in result.stdout


ODD: list[tuple[dict[str, Any], str]] = [
    ({"channels": {}}, "no channel is switched on: nobody is told anything"),
    ({"channels": {"off": OFF}}, "no channel is switched on: nobody is told anything"),
    (
        {
            "event_routing": [{"name": "r", "event_types": ["pr_created"], "channels": ["off"]}],
            "channels": {"off": OFF, "console": {}},
        },
        "rule 'r' can never deliver anything: off is disabled",
    ),
    (
        {
            "event_routing": [{"name": "r", "event_types": ["pr_created"], "channels": ["c"]}],
            "channels": {"c": {"type": "console", "events": ["job_failed"]}},
        },
        "rule 'r' can never deliver anything: c takes none of its event types",
    ),
    (
        {"event_routing": [{"name": "r", "channels": [], "filters": {"source": "x"}}]},
        "rule 'r' can never deliver anything: it names no channel",
    ),
    (
        {"channels": {"hook": WEBHOOK}},
        "no event can reach hook: no rule brings it one that it takes, and it has no defaults",
    ),
    (
        {
            "event_routing": [{"name": "all", "channels": ["a"]}],
            "channels": {"a": CONSOLE, "b": CONSOLE},
        },
        "no event can reach b: ",
    ),
    (
        {
            "retry_policy": {"max_retries": 3},
            "channels": {"a": CONSOLE, "b": CONSOLE},
        },
        "a, b: a delivery is given up after about 4 seconds of tries; a longer outage",
    ),
    (
        {"channels": {"console": {"retry": {"max_retries": 0}}}},
        "console: a delivery is given up at its first failure",
    ),
    (
        {"channels": {"console": {"retry_config": {"max_retries": 100, "max_delay_ms": 60_000}}}},
        "console: a delivery is given up after about 48 minutes",
    ),
    (
        {"channels": {"console": {"retry_config": {"max_retries": 30, "max_delay_ms": 3_600_000}}}},
        "console: a delivery is given up after about 10 hours",
    ),
    ({"sources": [{"type": "github"}]}, "has no effect in this version"),
    ({"security": {"redact": ["email"]}}, "has no effect in this version"),
    ({"supervision": {"children": {"watcher": {"mailbox": 5}}}}, "has no effect in this version"),
    ({"channels": {"console": {"events": ["*", "job_faild"]}}}, "did you mean 'job_failed'?"),
    (
        {"channels": {"console": {}, "slack": {"enabled": False, "webhook_url": "${SLACK_X}"}}},
        "environment variable SLACK_X is not set (needed by channels.slack.webhook_url)",
    ),
    (
        {"channels": {"hook": {**WEBHOOK, "url": "http://example.com/", "events": ["*"]}}},
        "url: nothing is sent there, only https is allowed (security.require_tls)",
    ),
]


@pytest.mark.parametrize(("keys", "warning"), ODD)
def test_what_is_odd_is_a_warning(settings: Callable[..., None], keys: dict[str, Any], warning: str) -> None:
    """One line with its place; nothing is wrong, so the exit code is 0."""
    settings(**keys)
    result = check()
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("config/notifications.yaml:")
    assert ": warning: " in line
    assert warning in line
    assert result.stderr.endswith("; 1 warning\n")


@pytest.mark.parametrize(("expires", "warnings"), [(3600, 0), (86_399, 0), (86_400, 1), (None, 1)])
def test_what_is_soon_worthless_may_be_given_up_early(
    settings: Callable[..., None], expires: float | None, warnings: int
) -> None:
    """Whoever says when a delivery is worthless thought about outages; beyond a day they still matter."""
    given = {} if expires is None else {"expire_after_seconds": expires}
    settings(channels={"console": {"retry": {"max_retries": 3}, **given}})
    assert check().stdout.count("a delivery is given up after about 4 seconds") == warnings


@pytest.mark.parametrize(
    "keys",
    [
        {
            "event_routing": [{"name": "r", "channels": ["off", "console"]}],
            "channels": {"console": {}, "off": OFF},
        },
        {
            "channels": {
                "a": {"type": "console", "fallback": "b"},
                "b": WEBHOOK,
            }
        },
        {
            "event_routing": [{"name": "r", "channels": ["a"], "filters": {"source": "x"}}],
            "channels": {"a": CONSOLE, "b": CONSOLE},
        },
        {
            "event_routing": [{"name": "r", "event_types": ["pr_created"], "channels": ["a"]}],
            "channels": {"a": CONSOLE, "b": CONSOLE},
        },
        {"security": {"redact": []}, "sources": []},
        {
            "security": {"require_tls": False},
            "channels": {"hook": {**WEBHOOK, "url": "http://example.com/", "events": ["*"]}},
        },
    ],
)
def test_what_is_not_odd_is_no_warning(settings: Callable[..., None], keys: dict[str, Any]) -> None:
    """A warning that is none teaches people not to read them."""
    settings(**keys)
    assert check().stdout == ""


def test_the_advice_of_channels_is_passed_on(tmp_path: Path, settings: Callable[..., None]) -> None:
    """What only the channel knows, at the place of its section."""
    module = tmp_path / "advisor.py"
    module.write_text(
        "from knell.channels.base import Channel, Delivered\n"
        "class Advisor(Channel):\n"
        "    def validate_config(self): return ['the moon is wrong']\n"
        "    async def send(self, message): return Delivered()\n"
    )
    settings(channels={"mine": {"type": "advisor:Advisor", "events": ["*"]}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path), *sys.path])
        result = check()
    assert result.stdout == "config/notifications.yaml:1:12: warning: the moon is wrong\n"


def test_a_channel_that_cannot_fit_its_messages_is_a_problem(
    tmp_path: Path, settings: Callable[..., None]
) -> None:
    """Its actor would crash over every message."""
    (tmp_path / "unfit.py").write_text(
        "from knell.channels.base import Channel, Delivered\n"
        "class Unfit(Channel):\n"
        "    def fit(self, message): raise ValueError('too long')\n"
        "    async def send(self, message): return Delivered()\n"
    )
    settings(channels={"mine": {"type": "unfit:Unfit", "events": ["job_failed", "pr_created"]}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path), *sys.path])
        result = check()
    assert result.exit_code == 78
    assert result.stdout.startswith(
        "config/notifications.yaml:1:12: mine: cannot be fitted to the provider's limits: "
        "ValueError('too long') (job_failed, pr_created)\n"
    )


def test_what_only_a_start_would_find_is_found(settings: Callable[..., None]) -> None:
    """An open door, and a store this version cannot open."""
    settings(http={"listen": "0.0.0.0:8321"}, store={"url": "postgresql://u@h/d"})
    result = check()
    assert result.exit_code == 78
    assert ":3:18: http.listen: 0.0.0.0 can be reached from other machines" in result.stdout
    assert ":4:16: store: 'postgresql' is no kind of store this version has" in result.stdout
    settings(http={"listen": "0.0.0.0:8321", "enabled": False})
    assert check().exit_code == 0


# Templates


@pytest.fixture
def template(tmp_path: Path, settings: Callable[..., None]) -> Callable[..., Result]:
    """Return what checks a Slack channel with a template of the operator's own."""

    def run(name: str, text: str, **section: Any) -> Result:
        folder = tmp_path / "mine" / "slack"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        slack = {"webhook_url": HOOK, "events": ["job_failed", "pr_created"], **section}
        settings(channels={"slack": slack}, templates={"directories": ["mine"]})
        return check()

    return run


def test_a_template_that_fails_is_a_problem(template: Callable[..., Result]) -> None:
    """Once, with its line, and for which events in which languages."""
    result = template("job_failed.json", '{\n "text": "{{ nobody.knows }}"\n}')
    assert result.exit_code == 78
    assert result.stdout.startswith("config/notifications.yaml:1:12: slack: slack/job_failed.json:2: ")
    assert "(job_failed)" in result.stdout.splitlines()[0]
    assert result.stderr.endswith("; 1 problem\n")


def test_a_template_that_cannot_be_parsed_is_a_problem(template: Callable[..., Result]) -> None:
    """Also where only one of many event types uses it."""
    result = template("pr_created.json", '{"text": "{{ title"}')
    assert result.exit_code == 78
    assert "slack: slack/pr_created.json:1: " in result.stdout


def test_a_template_nobody_uses_is_not_looked_at(template: Callable[..., Result]) -> None:
    """The channel gets no such event."""
    assert template("job_started.json", '{"text": "{{ title"}').exit_code == 0


def test_a_template_for_batches_is_rendered_where_there_are_any(template: Callable[..., Result]) -> None:
    """As an event never comes alone there."""
    broken = '{"text": "{{ nobody.knows }}"}'
    assert template("batch.json", broken).exit_code == 0
    assert template("batch.json", broken, batch={"enabled": True}).exit_code == 78


def test_an_override_that_leads_nowhere_is_a_problem(template: Callable[..., Result]) -> None:
    """At its own place."""
    result = template("mine.json", '{"text": "x"}', template_overrides={"job_failed": "mien"})
    assert result.exit_code == 78
    assert "slack: there is no template 'mien', did you mean 'slack/mine.json'" in result.stdout
    written = (Path("config") / "notifications.yaml").read_text().index('"mien"')
    assert f":1:{written + 1}: " in result.stdout


def test_a_folder_of_templates_that_is_missing_is_a_problem(settings: Callable[..., None]) -> None:
    """It would end the start."""
    settings(templates={"directories": ["nowhere"]})
    result = check()
    assert result.exit_code == 78
    assert "template directory nowhere is not there" in result.stdout


def test_every_builtin_channel_renders_everything(settings: Callable[..., None]) -> None:
    """All events, both languages, as they come and in batches."""
    batch = {"batch": {"enabled": True}, "events": ["*"]}
    settings(
        channels={
            "slack": {"webhook_url": HOOK, **batch},
            "discord": {"webhook_url": "https://discord.com/api/webhooks/1/x", **batch},
            "email": {
                "smtp_server": "mail.example.com",
                "from": "a@example.com",
                "to": ["b@example.com"],
                **batch,
            },
            "webhook": {"url": "https://example.com/", **batch},
            "sms": {
                "account_sid": "AC" + "0" * 32,
                "auth_token": "x",
                "from_number": "+15005550006",
                "to_numbers": ["+819012345678"],
                **batch,
            },
            "console": batch,
        }
    )
    result = check()
    assert (result.exit_code, [line for line in result.stdout.splitlines() if "warning" not in line]) == (
        0,
        [],
    )
