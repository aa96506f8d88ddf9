from collections.abc import Callable

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from knell.config.problems import Problem
from knell.config.tree import Table, from_mapping
from knell.config.validate import validate

Complaints = Callable[..., list[Problem]]

CASES = [
    # text, line, column, message, hint
    ("xyz: x", 1, 1, "unknown key 'xyz'", ""),
    ("evnt_routing: []", 1, 1, "unknown key 'evnt_routing'", "did you mean 'event_routing'?"),
    ("slak: {enabled: true}", 1, 1, "unknown key 'slak'", "did you mean 'slack'?"),
    ("slack: true", 1, 8, "expected a mapping (key: value), got true or false", ""),
    ("console:", 1, 9, "expected a mapping (key: value), got nothing", ""),
    ("console: {evnts: []}", 1, 11, "unknown key 'evnts'", "did you mean 'events'?"),
    ("console:\n  retry: {max_retrys: 3}", 2, 11, "unknown key 'max_retrys'", "did you mean 'max_retries'?"),
    (
        "console: {retry: {}, retry_config: {}}",
        1,
        11,
        "'retry' and 'retry_config' are the same key",
        "keep one of them",
    ),
    ("console: {name: x}", 1, 11, "the name of a channel is the name of its section", "leave it out"),
    ("discord: {}", 1, 1, "missing key 'webhook_url' (needed by type discord)", ""),
    ("d2: {type: discord}", 1, 1, "missing key 'webhook_url' (needed by type discord)", ""),
    ("console: {rate_limit: {}}", 1, 11, "missing key 'max_requests' (needed by rate_limit)", ""),
    ("event_routing:\n  - name: a", 2, 5, "missing key 'channels' (needed by event_routing[0])", ""),
    ("slack: {}", 1, 1, "give webhook_url, or bot_token and channel", ""),
    ("console: {concurrency: many}", 1, 24, "expected a whole number, got text", ""),
    ("console: {concurrency: 1.5}", 1, 24, "expected a whole number, got a number", ""),
    ("console: {concurrency: true}", 1, 24, "expected a number, got true or false", ""),
    ("console: {concurrency: 0}", 1, 24, "must be at least 1", ""),
    ("console: {concurrency: 1001}", 1, 24, "must be at most 1000", ""),
    ("console: {timeout_seconds: 0}", 1, 28, "must be more than 0", ""),
    ("console: {timeout_seconds: nan}", 1, 28, "expected a number, got text", ""),
    ("console: {timeout_seconds: [1]}", 1, 28, "expected a number, got a list", ""),
    ("console: {enabled: yes}", 1, 20, "expected true or false", ""),
    ("console: {enabled: 1}", 1, 20, "expected true or false", ""),
    ("console: {enabled: }", 1, 20, "expected true or false", ""),
    ("email: {smtp_server: a, from: b, to: c, use_tls: on}", 1, 50, "expected true or false", ""),
    ("console: {stream: off}", 1, 19, "expected true or false", ""),
    ("console: {batch: 5}", 1, 18, "expected a mapping, got a number", ""),
    ("console: {events: {a: 1}}", 1, 19, "expected a list, got a mapping", ""),
    ("console: {events: [1]}", 1, 20, "expected text, got a number", "put it in quotes"),
    ("console: {events: [job failed]}", 1, 20, "expected an event type, such as job_failed, or '*'", ""),
    (
        "console: {events: job_*}",
        1,
        19,
        "'*' alone stands for every event type; for a part of them use filters with 'glob'",
        "",
    ),
    (
        "slack: {webhook_url: 'https://x', username: 1.10}",
        1,
        45,
        "expected text, got a number",
        "put it in quotes",
    ),
    ("slack: {webhook_url: 'https://x', username: }", 1, 45, "expected text, got nothing", ""),
    ("slack: {webhook_url: 'http://x'}", 1, 22, "expected an https:// URL", ""),
    ("webhook: {url: x, signature_secret: {}}", 1, 37, "expected text or a list, got a mapping", ""),
    ("webhook: {url: x, signature_secret: [a, 1]}", 1, 41, "expected text, got a number", "put it in quotes"),
    ("slack: {bot_token: x, icon_emoji: robot}", 1, 35, "does not have the expected form: :name:", ""),
    ("console: {tag: 'A'}", 1, 16, "does not have the expected form: ^[a-z]*$", ""),
    (
        "console: 5\nrate_limits: {console: {max_requests: 1}}",
        1,
        10,
        "expected a mapping (key: value), got a number",
        "",
    ),
    (
        "backoff: {type: console}\nsupervision: {children: {backoff: {max_seconds: 1}}}",
        2,
        36,
        "unknown key 'max_seconds'",
        "did you mean 'within_seconds'?",
    ),
    ("locale: jp", 1, 9, "expected 'en' or 'ja'", ""),
    (
        "supervision:\n  strategy: one_for_two",
        2,
        13,
        "expected 'one_for_one', 'one_for_all' or 'rest_for_one'",
        "did you mean 'one_for_one'?",
    ),
    ("http: {listen: ':80'}", 1, 16, "expected host:port, such as 127.0.0.1:8321 or [::1]:8321", ""),
    (
        "http: {listen: 'localhost:70000'}",
        1,
        16,
        "expected host:port, such as 127.0.0.1:8321 or [::1]:8321",
        "",
    ),
    (
        "store: {url: mysql://x}",
        1,
        14,
        "expected sqlite:///path/to/file.db or postgresql://user@host/database",
        "",
    ),
    (
        "security: {allowed_networks: [10.0.0.1/8]}",
        1,
        31,
        "expected a network, such as 10.0.0.0/8 or fd00::/8",
        "",
    ),
    ("dedup: {key: []}", 1, 14, "needs 1 or more entries, got 0", ""),
    ("event_routing:\n  - {name: '', channels: []}", 2, 12, "must have at least 1 characters", ""),
    ("event_routing: {a: 1}", 1, 16, "expected a list, got a mapping", ""),
    ("event_routing:", 1, 15, "expected a list, got nothing", ""),
    ("channels: [a]", 1, 11, "expected a mapping (key: value), got a list", ""),
    ("channels: {console: }", 1, 21, "expected a mapping (key: value), got nothing", ""),
    ("channels: {slak: {}}", 1, 12, "unknown channel type 'slak'", "did you mean 'slack'?"),
    ("channels:\n  ops: {type: slak}", 2, 15, "unknown channel type 'slak'", "did you mean 'slack'?"),
    ("channels:\n  ops: {type: [a]}", 2, 15, "expected the name of a channel type, got a list", ""),
    (
        "channels: {zzz: {}}",
        1,
        12,
        "unknown channel type 'zzz'; there are console, discord, email, open, slack, sms, webhook",
        "",
    ),
    (
        "channels: {'a b': {type: console}}",
        1,
        12,
        "'a b' cannot name a channel",
        "use letters, digits, '-' and '_', 64 at most, a letter or digit first",
    ),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), CASES)
def test_one_error(
    complaints: Complaints, text: str, line: int, column: int, message: str, hint: str
) -> None:
    """One mistake gives one finding: at the key when the key is wrong, at the value when the value is."""
    found = complaints(text)
    assert [(item.line, item.column, item.message, item.hint) for item in found] == [
        (line, column, message, hint)
    ]


FILTERS = [
    ("{severty: x}", 14, "unknown field 'severty'", "did you mean 'severity'?"),
    ("[{source: a}, {severty: x}]", 28, "unknown field 'severty'", "did you mean 'severity'?"),
    ("[{any: [{a: 1}]}]", 22, "unknown field 'a'", ""),
    ("{not: {any: [{not: {source: {eqq: 1}}}]}}", 42, "source: unknown operator 'eqq'", "did you mean 'eq'?"),
    ("{severity: {gte: hihg}}", 30, "severity gte: 'hihg' is no severity", ""),
    ("{title: {matches: '('}}", 31, "title matches: missing ): (", ""),
    ("{title: {exists: 5}}", 30, "title exists: expected true or false, got a number", ""),
    ("{source: {in: a}}", 27, "source in: expected a list, got text", ""),
    ("{metadata: x}", 14, "metadata: name a key of the metadata, as in metadata.repo", ""),
    ("{any: x}", 19, "any: expected a list of filters, got text", ""),
    ("{not: x}", 19, "expected a mapping or a list, got text", ""),
    ("text", 13, "expected a mapping or a list, got text", ""),
    ("[text]", 14, "expected a mapping or a list, got text", ""),
]


@pytest.mark.parametrize(("text", "column", "message", "hint"), FILTERS)
@pytest.mark.parametrize("where", ["channel", "rule", "global"])
def test_the_wrong_part_of_a_filter_is_pointed_at(
    complaints: Complaints, where: str, text: str, column: int, message: str, hint: str
) -> None:
    """At any depth, in each of the three places filters stand."""
    lines = {
        "channel": f"console:\n  filters: {text}",
        "rule": f"event_routing:\n- name: a\n  channels: []\n  filters: {text}",
        "global": f"global_filters: {text}",
    }[where]
    found = complaints(lines)
    assert [(item.column, item.message, item.hint) for item in found] == [
        (column + 4 if where == "global" else column - 1, message, hint)
    ]


def test_every_wrong_part_of_a_filter_is_reported(complaints: Complaints) -> None:
    """The parser of filters stops at the first; a person wants them all."""
    found = complaints("global_filters: [{a: 1}, {b: 2}, {severity: {c: 1, gt: x}}]")
    assert [item.column for item in found] == [19, 27, 46, 56]


def test_all_problems_come_at_once_in_the_order_of_the_file(complaints: Complaints) -> None:
    """Nobody has to fix one to see the next."""
    found = complaints(
        "locale: jp\n"
        "console: {evnts: []}\n"
        "slak: {}\n"
        "a: 1\n"
        "a: 2\n"
        "email:\n"
        "  smtp_server: ${HOST}\n"
        "  from: 5\n"
        "  smtp_port: 0\n"
        "event_routing:\n"
        "  - {name: r, channels: [consle], filters: {severty: x}}\n"
        "supervision: {children: {routr: {}}}\n"
    )
    assert [(item.line, item.column) for item in found] == [
        (1, 9),
        (2, 11),
        (3, 1),
        (4, 1),
        (5, 1),
        (6, 1),
        (7, 16),
        (8, 9),
        (9, 14),
        (11, 26),
        (11, 45),
        (12, 26),
    ]


def test_a_misspelt_key_is_not_reported_as_missing_too(complaints: Complaints) -> None:
    """The suggestion says it all."""
    found = complaints("discord: {webhok_url: 'https://x'}")
    assert [item.message for item in found] == ["unknown key 'webhok_url'"]


class _Third(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: SecretStr
    token: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _fail(self) -> "_Third":
        url = self.url.get_secret_value()
        if url.startswith("quote"):
            raise ValueError(f"no {url[:12]} here")
        if url.startswith("crash"):
            raise KeyError(url)
        raise ValueError("url and token belong together")


def _told(**values: str) -> list[str]:
    problems: list[Problem] = []
    section = from_mapping(values, problems)
    assert isinstance(section, Table)
    instance, found = validate(_Third, section, "type third", {})
    assert instance is None
    return [item.message for item in found]


def test_the_words_of_a_third_party_are_shown_when_they_quote_no_credential() -> None:
    """A helpful message about the whole section survives."""
    assert _told(url="https://secret.example.com/12345678") == ["url and token belong together"]


def test_the_words_of_a_third_party_are_withheld_when_they_quote_a_credential() -> None:
    """Even a part of one."""
    (message,) = _told(url="quote-this-credential")
    assert "quote-this" not in message
    assert message.startswith("not valid (the value is not shown")


def test_a_crash_in_the_schema_of_a_third_party_is_a_problem() -> None:
    """It must not end the service, and its words may hold a credential."""
    assert _told(url="crash-12345678") == ["the schema of type third failed (KeyError)"]
