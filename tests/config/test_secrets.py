import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.config.load import Loaded
from knell.config.problems import Problem
from knell.config.secrets import MAX_SECRET_BYTES, Interpolation
from knell.config.tree import Leaf, Origin, Table, child, from_mapping, plain
from knell.errors import ConfigError

Examine = Callable[..., Loaded]
Complaints = Callable[..., list[Problem]]

CANARY = "https://c4n4ry.example.com/0123456789abcdef"


def _resolved(text: str, environ: dict[str, str] | None = None) -> Leaf:
    problems: list[Problem] = []
    root = from_mapping({"key": text}, problems)
    assert isinstance(root, Table)
    interpolation = Interpolation(environ or {})
    leaf = child(interpolation.resolve(root), "key")
    assert isinstance(leaf, Leaf)
    assert interpolation.problems == problems == []
    return leaf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y", "xoney"),
        ("${A}${B}-${A}", "onetwo-one"),
        ("Bearer ${A}", "Bearer one"),
        ("${MISSING:-default}", "default"),
        ("${MISSING:-}", ""),
        ("${MISSING:-a:-b $c}", "a:-b $c"),
        ("${MISSING:-two\nlines}", "two\nlines"),
        ("${A:-default}", "one"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$A costs $5 $", "$A costs $5 $"),
        ("${NESTED}", "${A} $$"),
        ("no reference", "no reference"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    """What is put in is taken as it is, and `$$` escapes."""
    environ = {"A": "one", "B": "two", "EMPTY": "", "NESTED": "${A} $$"}
    assert _resolved(text, environ).value == expected


def test_what_came_from_outside_is_hidden_and_nothing_else() -> None:
    """The mark decides what an error may show."""
    assert _resolved("${A}", {"A": "x"}).origin is Origin.HIDDEN
    assert _resolved("pay $$5").origin is Origin.WRITTEN


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_text_without_a_brace_after_a_dollar_comes_back(text: str) -> None:
    """Escaping every dollar makes any text literal."""
    assert _resolved(text.replace("$", "$$")).value == text


@pytest.mark.parametrize(
    "text",
    ["${", "a ${ b", "${}", "${A B}", "${1A}", "${A-b}", "${A:b}", "${A:-${B}}", "${-A}", "${ A }"],
)
def test_a_malformed_reference_is_a_problem(complaints: Complaints, text: str) -> None:
    """Half a reference is never passed on as a password."""
    found = complaints(f"dashboard_url: '{text}'\n", {"A": "x", "B": "y"})
    assert [(item.line, item.column, item.message) for item in found] == [
        (1, 16, "a '${' that is no reference")
    ]


def test_a_missing_variable_names_variable_key_and_line(complaints: Complaints) -> None:
    """One problem per reference, and no second one about the empty value."""
    found = complaints(
        "slack:\n  webhook_url: ${SLACK_URL}\nwebhook:\n  url: https://x\n  headers:\n    X-A: a ${B} c\n"
        "http:\n  listen: ${LISTEN}\n  tokens: ['${T}']\n"
    )
    assert [(item.line, item.column, item.message) for item in found] == [
        (2, 16, "environment variable SLACK_URL is not set (needed by channels.slack.webhook_url)"),
        (6, 10, "environment variable B is not set (needed by channels.webhook.headers.X-A)"),
        (8, 11, "environment variable LISTEN is not set (needed by http.listen)"),
        (9, 12, "environment variable T is not set (needed by http.tokens[0])"),
    ]


DISABLED = """
slack:
  enabled: {enabled}
  webhook_url: ${{SLACK_URL}}
  concurrency: ${{MANY}}
  rate_limit: {{max_requests: "${{RATE}}"}}
  locale: ${{file:/missing}}
"""


@pytest.mark.parametrize("enabled", ["false", "False", '"false"', "${OFF}", "${MISSING:-false}"])
def test_a_disabled_channel_needs_no_variables(examined: Examine, enabled: str) -> None:
    """Nothing is said about its missing values, not even that they are no numbers; a warning tells."""
    loaded = examined(DISABLED.format(enabled=enabled), {"OFF": "false"})
    assert not loaded.config.channels["slack"].enabled
    assert [warning.message for warning in loaded.warnings] == [
        "environment variable SLACK_URL is not set (needed by channels.slack.webhook_url)",
        "environment variable MANY is not set (needed by channels.slack.concurrency)",
        "environment variable RATE is not set (needed by channels.slack.rate_limit.max_requests)",
        "/missing is no file (needed by channels.slack.locale)",
    ]


@pytest.mark.parametrize("enabled", ["true", "${MISSING}", "${MISSING:-true}"])
def test_an_enabled_channel_needs_its_variables(complaints: Complaints, enabled: str) -> None:
    """A channel counts as enabled unless `enabled` is false."""
    assert len(complaints(DISABLED.format(enabled=enabled))) >= 4


def test_a_disabled_channel_may_be_incomplete_but_not_wrong(complaints: Complaints) -> None:
    """What is written is checked; what is not there is not missed."""
    found = complaints("email: {enabled: false}\nsms:\n  enabled: false\n  provder: x\n  concurrency: 0\n")
    assert [(item.line, item.column, item.message) for item in found] == [
        (4, 3, "unknown key 'provder'"),
        (5, 16, "must be at least 1"),
    ]


def test_enabling_a_disabled_channel_asks_for_its_variables(
    examined: Examine, complaints: Complaints
) -> None:
    """An operator who switches a channel on hears what it lacks."""
    text = "slack: {enabled: false, webhook_url: '${SLACK_URL}'}"
    found = complaints(text, switched={"slack": True, "unheard": True})
    assert [item.message for item in found] == [
        "environment variable SLACK_URL is not set (needed by channels.slack.webhook_url)"
    ]
    switched = examined(text, {"SLACK_URL": "https://x"}, switched={"slack": True}).config
    assert switched.channels["slack"].enabled


def test_an_interpolated_value_is_text_that_the_field_converts(examined: Examine) -> None:
    """A number or a switch may come from the environment."""
    config = examined(
        "email: {smtp_server: '${HOST}', smtp_port: '${PORT}', use_tls: '${TLS}', from: a@b.c, to: x}",
        {"HOST": "12345", "PORT": "25", "TLS": "false"},
    ).config
    email = config.channels["email"]
    assert (email["smtp_server"], email["smtp_port"], email["use_tls"]) == ("12345", 25, False)


def test_a_file_is_read_without_its_trailing_newline(tmp_path: Path, examined: Examine) -> None:
    """Editors and `kubectl` end files with a newline, passwords do not have one; relative to the file."""
    (tmp_path / "token").write_text("https://x/ a\n", encoding="utf-8")
    (tmp_path / "crlf").write_bytes(b"abc\r\n")
    text = f"slack: {{webhook_url: '${{file:token}}', bot_token: '${{file:{tmp_path}/crlf}}'}}"
    slack = examined(text).config.channels["slack"]
    assert (slack["webhook_url"], slack["bot_token"]) == ("https://x/ a", "abc")


def test_a_file_that_cannot_be_used_is_a_problem_without_its_content(
    tmp_path: Path, complaints: Complaints
) -> None:
    """The path helps; what stands in the file never appears."""
    (tmp_path / "binary").write_bytes(b"\xff" + CANARY.encode())
    (tmp_path / "large").write_bytes(CANARY.encode() * (MAX_SECRET_BYTES // 40))
    os.mkfifo(tmp_path / "pipe")
    names = ["binary", "large", "pipe", "missing", ".", "nul\\0", "~nobody-here/x"]
    messages: list[str] = []
    for name in names:
        text = f'dashboard_url: "${{file:{name}}}"\n'
        found = complaints(text)
        assert CANARY not in "".join(map(str, found))
        messages += [item.message for item in found]
    assert messages[:5] == [
        "binary is not UTF-8 text (needed by dashboard_url)",
        f"large is larger than {MAX_SECRET_BYTES} bytes (needed by dashboard_url)",
        "pipe is no file (needed by dashboard_url)",
        "missing is no file (needed by dashboard_url)",
        ". is no file (needed by dashboard_url)",
    ]
    assert len(messages) == len(names)


LEAKS = """
slack: {webhook_url: '${S}', concurrency: '${S}', locale: '${S}', enabled: '${S}', username: ['${S}']}
email: {smtp_server: ['${S}'], smtp_port: '${S}', use_tls: '${S}', from: x, to: {a: '${S}'}, batch: '${S}'}
discord: {webhook_url: 'http://${S}', events: ['${S}', 'a*${S}'], fallback: ['${S}']}
open: {filters: {severity: '${S}'}}
more: {type: '${S}'}
webhook:
  url: '${S}'
  filters: [{title: {matches: '(${S}'}}, '${S}', {source: {in: '${S}'}}, {any: '${S}'}, {not: '${S}'}]
  timeout_seconds: '${S}'
  rate_limit: {max_requests: '${S}', window_seconds: -1}
  retry_config: {retry_on_errors: ['${S}']}
event_routing:
  - {name: '${S}', channels: ['${S}'], event_types: '${S}', priority: '${S}', stop: '${S}'}
  - {name: '${S}', channels: '${S}'}
global_filters: '${S}'
supervision: {strategy: '${S}', children: {slack: '${S}'}}
store: {url: '${S}'}
http: {listen: '${S}', tokens: {a: '${S}'}}
security: {allowed_networks: ['${S}'], redact: ['${S}']}
locale: '${S}'
"""


@pytest.mark.parametrize("secret", [CANARY, "c4n4ry'\"\\ \n\t c4n4ry", "-c4n4ry-5", "c4n4ry" * 30])
def test_no_error_shows_what_came_from_the_environment(complaints: Complaints, secret: str) -> None:
    """Wherever a secret is put by mistake, and whatever check it fails."""
    found = complaints(LEAKS, {"S": secret})
    assert len(found) > 25
    assert "c4n4ry" not in "".join(map(str, found))


def test_no_error_shows_what_came_from_a_file(tmp_path: Path, complaints: Complaints) -> None:
    """A file is as secret as the environment."""
    (tmp_path / "s").write_text(CANARY, encoding="utf-8")
    found = complaints(LEAKS.replace("${S}", "${file:s}"))
    assert "c4n4ry" not in "".join(map(str, found))


def test_no_error_shows_a_credential_that_is_written_out(complaints: Complaints) -> None:
    """Neither the message, nor the excerpt of the line."""
    text = (
        "slack:\n  webhook_url: http://c4n4ry.example.com\n  bot_token: [c4n4ry]\n"
        "sms: {account_sid: {x: c4n4ry}, auth_token: 5, from_number: c4n4ry5, to_numbers: 5, c4: 1}\n"
        "webhook:\n  url: x\n  headers: {X: [c4n4ry]}\n  signature_secret: {c4n4ry: c4n4ry}\n"
    )
    found = complaints(text)
    shown = "".join(str(item) for item in found)
    assert "c4n4ry.example.com" not in shown
    assert "[c4n4ry]" not in shown
    assert {item.line for item in found} == {2, 3, 4, 7, 8}


def test_the_error_of_the_validator_does_not_hang_on_ours(examined: Examine) -> None:
    """A chained pydantic error would print the values in a traceback."""
    with pytest.raises(ConfigError) as caught:
        examined(LEAKS, {"S": CANARY})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_secrets_are_masked_in_the_configuration_itself(examined: Examine) -> None:
    """A configuration that is logged by mistake shows no credential."""
    config = examined("slack: {webhook_url: '${S}'}\nhttp: {tokens: ['${S}']}", {"S": CANARY}).config
    assert config.channels["slack"]["webhook_url"] == CANARY
    assert CANARY not in repr(config)
    assert CANARY not in str(config)


def test_the_tree_keeps_the_settings_as_they_are_used(examined: Examine) -> None:
    """`explain` reads places and values from one tree."""
    assert plain(examined("locale: ${L}", {"L": "ja"}).tree)["locale"] == "ja"
