import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from knell.channels import registry
from knell.config.load import Loaded, candidates, load, load_mapping
from knell.config.problems import Problem
from knell.config.schema import ChannelConfig, NotificationConfig, RetryPolicy
from knell.config.tree import find
from knell.errors import ChannelError, ConfigError
from knell.events import EventType

Examine = Callable[..., Loaded]
Complaints = Callable[..., list[Problem]]
FindModel = Callable[[str], type[ChannelConfig]]

SPECIFICATION = """
slack:
  enabled: true
  webhook_url: ${SLACK_WEBHOOK_URL}
  channel: "#necrocode"
  username: "NecroCode Bot"
  icon_emoji: ":robot_face:"
  events:
    - job_completed
    - job_failed
    - pr_created
    - pr_merged
  filters:
    - severity: [warning, error, critical]

email:
  enabled: true
  smtp_server: smtp.gmail.com
  smtp_port: 587
  use_tls: true
  from: necrocode@example.com
  username: ${EMAIL_USERNAME}
  password: ${EMAIL_PASSWORD}
  to:
    - team@example.com
    - alerts@example.com
  events:
    - job_failed
    - task_failed

discord:
  enabled: true
  webhook_url: ${DISCORD_WEBHOOK_URL}
  username: "NecroCode"
  avatar_url: "https://example.com/necrocode-avatar.png"
  events:
    - job_completed
    - job_failed
    - pr_created

webhook:
  enabled: true
  url: https://api.example.com/notifications
  method: POST
  headers:
    Authorization: "Bearer ${WEBHOOK_TOKEN}"
    Content-Type: "application/json"
  signature_secret: ${WEBHOOK_SECRET}
  events:
    - "*"  # All events

sms:
  enabled: false
  provider: twilio
  account_sid: ${TWILIO_ACCOUNT_SID}
  auth_token: ${TWILIO_AUTH_TOKEN}
  from_number: "+1234567890"
  to_numbers:
    - "+819012345678"
  events:
    - job_failed
  filters:
    - severity: [critical]

event_routing:
  - name: "Critical Failures"
    event_types: [job_failed, agent_error]
    channels: [slack, email, sms]
    filters:
      - severity: critical
    priority: 100

  - name: "Success Notifications"
    event_types: [job_completed, pr_merged]
    channels: [slack, discord]
    priority: 50

  - name: "PR Activity"
    event_types: [pr_created, pr_merged, pr_closed]
    channels: [slack]
    filters:
      - metadata.repo: "necrocode-main"
    priority: 75
"""

ENVIRON = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x",
    "EMAIL_USERNAME": "user",
    "EMAIL_PASSWORD": "password",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/x",
    "WEBHOOK_TOKEN": "token",
    "WEBHOOK_SECRET": "a secret of the webhook",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory with the two folders a configuration may stand in."""
    (tmp_path / "config").mkdir()
    (tmp_path / ".kiro").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _told(error: ConfigError) -> list[str]:
    return [str(problem).splitlines()[0] for problem in error.problems]


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_example_of_the_specification_loads(examined: Examine, wrapped: bool) -> None:  # noqa: FBT001 - a row
    """As it is written there, and under the customer's `notifications:`."""
    text = SPECIFICATION
    if wrapped:
        text = "notifications:\n" + "\n".join(f"  {line}" for line in text.splitlines())
    loaded = examined(text, ENVIRON)
    config = loaded.config
    assert list(config.channels) == ["slack", "email", "discord", "webhook", "sms"]
    assert [rule.name for rule in config.event_routing] == [
        "Critical Failures",
        "Success Notifications",
        "PR Activity",
    ]
    assert config.channels["webhook"]["headers"]["Authorization"].get_secret_value() == "Bearer token"
    assert config.channels["sms"]["to_numbers"] == ["+819012345678"]
    assert not config.channels["sms"].enabled
    assert [warning.message for warning in loaded.warnings] == [
        "environment variable TWILIO_ACCOUNT_SID is not set (needed by channels.sms.account_sid)",
        "environment variable TWILIO_AUTH_TOKEN is not set (needed by channels.sms.auth_token)",
    ]


@pytest.mark.parametrize(
    "text", [SPECIFICATION, candidates(None, Path("nowhere"))[0].read_text(encoding="utf-8")]
)
def test_knells_own_channels_accept_the_example_and_the_default(tmp_path: Path, text: str) -> None:
    """All of them switched on, with the models they really have."""
    path = tmp_path / "n.yaml"
    path.write_text(text, encoding="utf-8")
    names = ["slack", "email", "discord", "webhook", "sms"]
    environ = ENVIRON | {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x"}
    config = load(
        path,
        section_model=lambda channel_type: registry.find(channel_type).Config,
        environ=environ,
        workspace=tmp_path,
        known_types=registry.known_types(),
        switched=dict.fromkeys(names, True),
    )
    assert set(names) <= dict(config.enabled_channels()).keys()


@pytest.mark.usefixtures("home")
def test_the_packaged_default_needs_no_account(find_model: FindModel) -> None:
    """Every notification reaches the log, nothing else is on, and no variable is asked for."""
    config = load(section_model=find_model, environ={})
    assert [name for name, _ in config.enabled_channels()] == ["console"]
    assert set(config.channels) == {"console", "slack", "email", "discord", "webhook", "sms"}
    assert config.channels["console"].events == ["*"]
    assert all("console" in rule.channels for rule in config.event_routing)
    policy = config.retry_policy
    assert (policy.max_retries, policy.initial_delay_ms, policy.max_delay_ms) == (150, 1000, 3_600_000)


def test_the_packaged_default_needs_only_the_variables_it_names(find_model: FindModel) -> None:
    """Switched on and given their variables, all its channels are complete."""
    (packaged, _) = candidates(None, Path("nowhere"))
    environ = ENVIRON | {"TWILIO_ACCOUNT_SID": "AC0", "TWILIO_AUTH_TOKEN": "x"}
    switched = dict.fromkeys(["slack", "email", "discord", "webhook", "sms"], True)
    config = load(packaged, section_model=find_model, environ=environ, switched=switched)
    assert len(list(config.enabled_channels())) == 6


def test_the_packaged_default_helps_editors() -> None:
    """The first line names the file that `knell schema` writes."""
    lines = candidates()[0].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=notifications.schema.json"
    assert max(map(len, lines)) <= 110


def test_the_file_of_the_working_directory_comes_before_the_packaged_one(
    home: Path, find_model: FindModel
) -> None:
    """Without a path, as the specification names it."""
    (home / "config" / "notifications.yaml").write_text("console: {}", encoding="utf-8")
    assert list(load(section_model=find_model, environ={}).channels) == ["console"]


def test_the_workspace_is_merged_over_the_file(home: Path, find_model: FindModel) -> None:
    """Mappings merge, lists and values are replaced, and new channels are added."""
    (home / "main.yaml").write_text(
        "slack: {webhook_url: 'https://x', channel: '#a', events: [job_failed]}\n"
        "event_routing: [{name: a, channels: slack}]\n"
        "retry_policy: {max_retries: 7, max_delay_ms: 9}\n",
        encoding="utf-8",
    )
    (home / ".kiro" / "notifications.yaml").write_text(
        "notifications:\n  channels: {slack: {channel: '#b', events: [pr_merged]}, console: {}}\n"
        "  retry_policy: {max_delay_ms: 8}\n",
        encoding="utf-8",
    )
    config = load("main.yaml", section_model=find_model, environ={})
    slack = config.channels["slack"]
    assert (slack["webhook_url"], slack["channel"], slack.events) == ("https://x", "#b", ["pr_merged"])
    assert (config.retry_policy.max_retries, config.retry_policy.max_delay_ms) == (7, 8)
    assert list(config.channels) == ["slack", "console"]
    assert [rule.name for rule in config.event_routing] == ["a"]


def test_the_workspace_may_lie_elsewhere(home: Path, find_model: FindModel) -> None:
    """A program names the workspace instead of changing its directory."""
    workspace = home / "elsewhere"
    (workspace / ".kiro").mkdir(parents=True)
    (workspace / ".kiro" / "notifications.yaml").write_text("locale: ja", encoding="utf-8")
    assert load(section_model=find_model, environ={}, workspace=workspace).locale == "ja"
    assert load(section_model=find_model, environ={}).locale == "en"


def test_the_workspace_may_disable_a_channel_that_lacks_its_variables(
    home: Path, find_model: FindModel
) -> None:
    """What counts is the merged section."""
    (home / "main.yaml").write_text("slack: {webhook_url: '${SLACK}'}", encoding="utf-8")
    (home / ".kiro" / "notifications.yaml").write_text("slack: {enabled: false}", encoding="utf-8")
    assert not load("main.yaml", section_model=find_model, environ={}).channels["slack"].enabled


def test_problems_point_at_the_file_they_stand_in(home: Path, find_model: FindModel) -> None:
    """After merging, each value still knows where it came from."""
    (home / "main.yaml").write_text("discord:\n  conurrency: 5\n  events: [5]\n", encoding="utf-8")
    (home / ".kiro" / "notifications.yaml").write_text(
        "locale: jp\ndiscord: {concurrency: 0,\n  wehook_url: 5}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        load("main.yaml", section_model=find_model, environ={})
    assert _told(caught.value) == [
        ".kiro/notifications.yaml:1:9: expected 'en' or 'ja'",
        ".kiro/notifications.yaml:2:24: must be at least 1",
        ".kiro/notifications.yaml:3:3: unknown key 'wehook_url', did you mean 'webhook_url'?",
        "main.yaml:2:3: unknown key 'conurrency'",
        "main.yaml:3:12: expected text, got a number, put it in quotes",
    ]


def test_both_files_are_read_before_anything_is_refused(home: Path, find_model: FindModel) -> None:
    """A broken override is reported with a broken file."""
    (home / "main.yaml").write_text("a: [", encoding="utf-8")
    (home / ".kiro" / "notifications.yaml").write_text("b: '", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load("main.yaml", section_model=find_model, environ={})
    assert _told(caught.value) == [
        ".kiro/notifications.yaml:1:4: this quote is never closed",
        "main.yaml:1:4: what '[' opens is never closed, or a ',' is missing in it",
    ]


def test_a_missing_file_is_a_problem(home: Path, find_model: FindModel) -> None:
    """A path that was given is not replaced by a default; an override that dangles is told too."""
    (home / ".kiro" / "notifications.yaml").symlink_to(home / "nowhere")
    with pytest.raises(ConfigError) as caught:
        load(home / "missing.yaml", section_model=find_model, environ={})
    assert _told(caught.value) == [
        ".kiro/notifications.yaml: cannot be read: No such file or directory",
        f"{home}/missing.yaml: cannot be read: No such file or directory",
    ]


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, find_model: FindModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tests and embedders pass another one."""
    monkeypatch.setenv("KNELL_TEST_LOCALE", "ja")
    path = tmp_path / "n.yaml"
    path.write_text("locale: ${KNELL_TEST_LOCALE}", encoding="utf-8")
    assert load(path, section_model=find_model).locale == "ja"
    assert load_mapping({"locale": "${KNELL_TEST_LOCALE}"}, section_model=find_model).locale == "ja"


def test_places_are_kept_for_explanations(examined: Examine) -> None:
    """`explain` names the line of a rule, also where the file was wrapped."""
    loaded = examined("notifications:\n  console: {}\n  event_routing:\n    - {name: a, channels: console}\n")
    rule = find(loaded.tree, ("event_routing", 0))[0]
    assert (rule.at.line, rule.at.column) == (4, 7)


def test_a_mapping_is_loaded_as_a_file_is(find_model: FindModel) -> None:
    """Wrapped or not, with references, enums, tuples, and objects where a program has them."""
    config = load_mapping(
        {
            "notifications": {
                "slack": {"webhook_url": SecretStr("https://x"), "events": (EventType.JOB_FAILED,)},
                "ops": {"type": "slack", "webhook_url": "${URL}", "retry": RetryPolicy(max_retries=1)},
                "rate_limits": {"ops": {"max_requests": 2}},
            }
        },
        section_model=find_model,
        environ={"URL": "https://y"},
    )
    ops = config.channels["ops"]
    assert config.channels["slack"]["webhook_url"] == "https://x"
    assert config.channels["slack"].events == ["job_failed"]
    assert ops["webhook_url"] == "https://y"
    assert ops.retry_config == RetryPolicy(max_retries=1)
    assert ops.rate_limit is not None


def test_problems_of_a_mapping_name_the_path_a_program_wrote(find_model: FindModel) -> None:
    """There is no line, and the path is the one in the program, not the one after moving."""
    data: dict[str, Any] = {
        "slack": {"webhook_url": "${MISSING}", "cncurrency": 5},
        "channels": {"discord": {}, "webhook": {"url": 5, "events": ["a b"]}},
        "event_routing": [{"name": "r", "channels": ["slak"]}],
    }
    with pytest.raises(ConfigError) as caught:
        load_mapping(data, section_model=find_model, environ={})
    assert sorted(_told(caught.value)) == [
        "channels.discord: missing key 'webhook_url' (needed by type discord)",
        "channels.webhook.events[0]: expected an event type, such as job_failed, or '*'",
        "channels.webhook.url: expected text, got a number, put it in quotes",
        "event_routing[0].channels[0]: unknown channel 'slak', did you mean 'slack'?",
        "slack.cncurrency: unknown key 'cncurrency', did you mean 'concurrency'?",
        "slack.webhook_url: environment variable MISSING is not set (needed by channels.slack.webhook_url)",
    ]


def test_an_empty_mapping_is_a_configuration_without_channels(find_model: FindModel) -> None:
    """All defaults; the specification's retry policy among them."""
    config = load_mapping({}, section_model=find_model, environ={})
    assert config == NotificationConfig()
    assert config.retry_policy.max_retries == 3


def test_a_channel_type_that_cannot_be_imported_is_a_problem(tmp_path: Path) -> None:
    """A third party's module may fail in any way."""

    def broken(channel_type: str) -> type[ChannelConfig]:
        if channel_type == "mine:Channel":
            raise ChannelError("channel type 'mine:Channel': No module named 'mine'")
        raise RuntimeError("c4n4ry")

    path = tmp_path / "n.yaml"
    path.write_text("channels:\n  a: {type: 'mine:Channel'}\n  b: {type: worse}\nknown: {}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, section_model=broken, environ={}, known_types=["known"])
    assert _told(caught.value) == [
        f"{path}:2:13: channel type 'mine:Channel': No module named 'mine'",
        f"{path}:3:13: channel type 'worse': RuntimeError at its import",
        f"{path}:4:1: channel type 'known': RuntimeError at its import",
    ]


def test_a_type_may_come_from_the_environment(examined: Examine, complaints: Complaints) -> None:
    """A missing one is reported once, a wrong one without its name."""
    text = "channels:\n  a:\n    type: ${T}\n    severty: x"
    assert examined(text.replace("severty", "anything"), {"T": "open"}).config.channels["a"].type == "open"
    (missing,) = complaints(text)
    assert missing.message == "environment variable T is not set (needed by channels.a.type)"
    (unknown,) = complaints(text, {"T": "slak-c4n4ry"})
    assert (unknown.line, unknown.message) == (3, "unknown channel type (from the environment, not shown)")


def test_a_type_is_looked_up_once(find_model: FindModel) -> None:
    """The look-up walks entry points, which costs more than the rest of a section."""
    asked: list[str] = []

    def counted(channel_type: str) -> type[ChannelConfig]:
        asked.append(channel_type)
        return find_model(channel_type)

    data = {name: {"type": "console"} for name in "abcdef"}
    load_mapping(data, section_model=counted, environ={})
    assert asked == ["console"]


def _mutated(text: str, random: Random) -> str:
    """Return a text with a few of the mistakes people and broken disks make."""
    for _ in range(random.randint(1, 4)):
        lines = text.split("\n")
        at = random.randrange(len(lines))
        place = random.randrange(len(text))
        match random.randrange(8):
            case 0:
                lines[at] = " " * random.randint(0, 6) + lines[at].lstrip()
            case 1:
                lines.insert(random.randrange(len(lines)), lines[at])
            case 2:
                del lines[at]
            case 3:
                lines[at] = lines[at].partition(":")[0] + ": " + random.choice(_ODD)
            case 4:
                lines[at] = "\t" + lines[at]
            case 5:
                lines = (text[:place] + random.choice(_ODD) + text[place:]).split("\n")
            case 6:
                lines = (text[:place] + text[place + random.randint(1, 30) :]).split("\n")
            case _:
                lines[at] = lines[at].replace("- ", "").replace('"', "")
        text = "\n".join(lines)
    return text


_ODD = (
    *("", "null", "[]", "{}", "5", "-1", "1e99", "true", "yes", "''", "[[[]]]", "{a: {b: [c]}}", "~"),
    *(":", "- ", "#", "&a ", "*a", "!!x ", "'", '"', "|", ">", "%", "@", "${", "${X}", "${file:/}", "<<: "),
    *(
        "\x00",
        "\x1b",
        "\u2028",
        "通知",
        "\U0001f480",
        "type: a:b",
        "type: .x:y",
        "*",
        "? ",
        "---\n",
        "9" * 400,
    ),
)


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_file_gives_findings_and_nothing_else(
    tmp_path: Path, find_model: FindModel, seed: int
) -> None:
    """Twenty mutations each of twenty seeds, of the specification's example and of the packaged default."""
    random = Random(seed)  # noqa: S311 - a repeatable test, no secret
    originals = [SPECIFICATION, candidates(None, tmp_path)[0].read_text(encoding="utf-8")]
    path = tmp_path / "n.yaml"
    errors: list[ConfigError] = []
    for _ in range(20):
        path.write_text(_mutated(random.choice(originals), random), encoding="utf-8")
        try:
            load(path, section_model=find_model, environ=ENVIRON, known_types=["slack", "email"])
        except ConfigError as error:
            errors.append(error)
    assert errors
    for found in errors:
        assert found.problems
        assert all(str(problem) in str(found) for problem in found.problems)
        assert not any(value in str(found) for name, value in ENVIRON.items() if "URL" in name)


_KEYS = st.sampled_from(
    [
        *("channels", "event_routing", "global_filters", "rate_limits", "supervision", "http", "sources"),
        *("slack", "email", "webhook", "console", "notifications", "type", "name", "enabled", "events"),
        *("filters", "any", "not", "severity", "metadata.a", "eq", "in", "matches", "children", "retry"),
        *("webhook_url", "headers", "signature_secret", "max_requests", "tokens", "fallback", "zzz"),
    ]
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["slack", "console", "${A}", "${B}", "${", "$$", "job_failed", "*", "critical", "false"]),
)
_SETTINGS = st.dictionaries(
    _KEYS,
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
        max_leaves=25,
    ),
    max_size=6,
)


@settings(deadline=None)
@given(_SETTINGS)
def test_any_settings_load_or_give_findings(data: dict[str, Any]) -> None:
    """Whatever stands where, with the models the channels really have; a hidden value stays hidden."""

    def model_of(channel_type: str) -> type[ChannelConfig]:
        return registry.find(channel_type).Config

    try:
        load_mapping(data, section_model=model_of, environ={"A": "c4n4ry-0123456789"}, known_types=["slack"])
    except ConfigError as error:
        found = error
    else:
        return
    assert found.problems
    assert "c4n4ry" not in str(found)


def test_loading_imports_nothing_heavy() -> None:
    """A command that only checks a file must not pay for the network, templates and actors."""
    program = (
        "import sys, knell.config.load, knell.config.json_schema;"
        "print([name for name in ('aiohttp', 'jinja2', 'pykka', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
