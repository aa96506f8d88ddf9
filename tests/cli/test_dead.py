"""`knell dead`: on the store file, and by way of a running service."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knell.cli.letters import story, table
from knell.cli.main import cli
from knell.events import NotificationEvent, Severity
from knell.http.server import HttpServer
from knell.manager import NotificationManager
from knell.messages import DeliveryState
from knell.store import open_reader
from knell.store.records import AttemptRecord, DeliveryDetail, DeliveryRecord
from tests.puppets import PATIENCE
from tests.rogues import Stage, event

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STORE = "sqlite:///.knell/knell.db"

# What is printed


def record(id_: str = "e1:slack", **fields: Any) -> DeliveryRecord:
    """Return a dead letter that is two hours old."""
    given: dict[str, Any] = {
        "id": id_,
        "cursor": "1",
        "channel": id_.rpartition(":")[2],
        "event_id": id_.rpartition(":")[0],
        "event_type": "job_failed",
        "severity": Severity.ERROR,
        "title": "nightly build failed",
        "state": DeliveryState.DEAD,
        "attempts": 4,
        "crashes": 0,
        "reason": "server_error",
        "error": "503 service unavailable",
        "accepted": NOW - timedelta(hours=2, minutes=5),
        "finished": NOW - timedelta(hours=2),
        **fields,
    }
    return DeliveryRecord(**given)


def attempt(number: int, **fields: Any) -> AttemptRecord:
    """Return an attempt."""
    given: dict[str, Any] = {
        "at": NOW - timedelta(hours=3) + timedelta(minutes=number),
        "outcome": "retry",
        "reason": "server_error",
        "error": "503 service unavailable",
        "milliseconds": 9 * number,
        **fields,
    }
    return AttemptRecord(number=number, **given)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be where local time is UTC."""
    import time  # noqa: PLC0415

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_line_for_each_letter() -> None:
    """Aligned, with ids whole: they are copied from here. What others say is text to the terminal."""
    records = [
        record("01a2:ops-pager", title="two\nlines \x1b[2J", attempts=12, finished=NOW - timedelta(days=3)),
        record(),
    ]
    assert list(table(records, NOW, None)) == [
        "AGE  CHANNEL    EVENT       REASON        TRIES  ID              TITLE",
        "3d   ops-pager  job_failed  server_error     12  01a2:ops-pager  two\\nlines \\x1b[2J",
        "2h   slack      job_failed  server_error      4  e1:slack        nightly build failed",
    ]


def test_titles_are_cut_to_the_terminal() -> None:
    """The rest is not, however narrow it is."""
    letter = record(title="x" * 200)
    head, line = table([letter], NOW, 100)
    assert (len(line), line[-4:]) == (100, "x...")
    assert head.endswith("ID        TITLE")
    assert list(table([letter], NOW, 10))[1].endswith("e1:slack  " + "x" * 17 + "...")


@pytest.mark.usefixtures("utc")
def test_the_story_of_a_letter() -> None:
    """Where it stands, the way there, what crashed, and the event."""
    crash = 'Traceback (most recent call last):\n  File "x.py", line 1\nZeroDivisionError: \x1b[31mred\n'
    detail = DeliveryDetail(
        delivery=record(reason="crashed", error=crash),
        event=NotificationEvent(
            event_type="job_failed", source="ci", title="nightly", timestamp=NOW, event_id="e1"
        ),
        rule="Critical failures",
        attempts=(
            attempt(1),
            attempt(2, outcome="unknown", reason="timeout", error=""),
            attempt(10, outcome="crashed", reason="crashed", error=crash),
        ),
    )
    told = list(story(detail, NOW))
    told[1] = told[1].replace("\x1b[31mdead\x1b[0m", "dead")
    assert told == [
        "delivery  e1:slack",
        "state     dead since 2026-01-31 10:00:00+00:00 (2h ago)",
        "reason    crashed: ZeroDivisionError: \\x1b[31mred",
        "event     nightly build failed (job_failed, error) from ci",
        "accepted  2026-01-31 09:55:00+00:00 (2h ago)",
        "rule      Critical failures",
        "",
        "TRY  AT                         OUTCOME  REASON         TOOK  ERROR",
        "  1  2026-01-31 09:01:00+00:00  retry    server_error   9 ms  503 service unavailable",
        "  2  2026-01-31 09:02:00+00:00  unknown  timeout       18 ms",
        " 10  2026-01-31 09:10:00+00:00  crashed  crashed       90 ms  ZeroDivisionError: \\x1b[31mred",
        "",
        "the crash of try 10:",
        "  Traceback (most recent call last):",
        '    File "x.py", line 1',
        "  ZeroDivisionError: \\x1b[31mred",
        "",
        "the event:",
        "  {",
        '    "event_type": "job_failed",',
        '    "source": "ci",',
        '    "title": "nightly",',
        '    "description": "",',
        '    "severity": "info",',
        '    "metadata": {},',
        '    "links": [],',
        '    "timestamp": "2026-01-31T12:00:00Z",',
        '    "event_id": "e1"',
        "  }",
    ]


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"state": DeliveryState.SENDING, "finished": None, "reason": ""}, ["sending"]),
        (
            {"state": DeliveryState.PENDING, "finished": None, "next_attempt": NOW, "error": ""},
            ["pending, to be tried at 2026-01-31 12:00:00+00:00", "server_error"],
        ),
        (
            {"state": DeliveryState.DONE, "reason": "delivered", "error": ""},
            ["done since 2026-01-31 10:00:00+00:00 (2h ago)"],
        ),
    ],
)
def test_a_delivery_in_another_state_is_shown_too(fields: dict[str, Any], lines: list[str]) -> None:
    """Whoever replayed one wants to see what becomes of it."""
    told_event = NotificationEvent(event_type="job_failed", source="ci", title="nightly")
    detail = DeliveryDetail(delivery=record(**fields), event=told_event, rule="", attempts=())
    told = [
        line.replace("\x1b[33m", "").replace("\x1b[32m", "").replace("\x1b[0m", "")
        for line in story(detail, NOW)
    ]
    found = dict(line.split(maxsplit=1) for line in told[: told.index("")])
    assert [found[name] for name in ("state", "reason") if name in found] == lines
    assert found["rule"] == "none: the channel's own events"
    assert "it has not been tried yet" in told


# A ward of dead letters


class Ward:
    """A configuration with two channels, `a` and `b`, whose provider refuses until it is healed."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        self.stage = stage
        self.path = folder / "config" / "notifications.yaml"
        settings = {
            "channels": {name: stage.section() for name in ("a", "b")},
            "retry_policy": {"max_retries": 0},
            "store": {"url": STORE},
        }
        self.path.write_text(json.dumps(settings))
        stage.failing.set()
        self.manager: NotificationManager | None = None
        self.server: HttpServer | None = None

    def start(self) -> str:
        """Start the service; return its URL."""
        self.manager = NotificationManager(str(self.path))
        self.server = HttpServer(self.manager, ("127.0.0.1", 0))
        self.server.start()
        self.manager.start()
        self.server.serve()
        return self.server.url

    def stop(self) -> None:
        """Stop it."""
        self.stage.release()
        if self.server and self.manager:
            self.server.stop()
            self.manager.stop()
        self.server = self.manager = None

    def kill(self, *ids: str, **fields: Any) -> None:
        """Tell of events with these ids, and wait until all their deliveries are dead."""
        assert self.manager
        receipts = [self.manager.notify(event(id_, event_id=id_, **fields)) for id_ in ids]
        for receipt in receipts:
            assert [result.success for result in receipt.results(PATIENCE)] == [False, False]


@pytest.fixture
def ward(folder: Path, stage: Stage) -> Iterator[Ward]:
    """A ward that is not running yet."""
    ward = Ward(folder, stage)
    yield ward
    ward.stop()


@pytest.fixture(params=["file", "service"])
def knell_dead(request: pytest.FixtureRequest, ward: Ward) -> Callable[..., Result]:
    """`knell dead` where three events are dead for both channels: on the file, or by way of the service."""
    url = ward.start()
    ward.kill("e1", "a/b:c@+=2")
    ward.kill("e3", event_type="pr_created")
    if request.param == "file":
        ward.stop()
    else:
        ward.stage.holding.set()  # what is replayed does not die again before a test has looked
    more = ["--url", url] if request.param == "service" else []
    return lambda *arguments: CliRunner().invoke(cli, ["dead", *arguments, *more])


def ids(result: Result) -> list[str]:
    """Return which deliveries a listing in JSON holds."""
    assert result.exit_code == 0, result.stderr
    return [found["id"] for found in json.loads(result.stdout)["deliveries"]]


def said(result: Result) -> str:
    """Return the answer of a command that went well."""
    assert result.exit_code == 0, result.stderr
    return result.stdout


ALL = ["e3:b", "e3:a", "a/b:c@+=2:b", "a/b:c@+=2:a", "e1:b", "e1:a"]


def test_dead_letters_are_listed(knell_dead: Callable[..., Result]) -> None:
    """A table for people with the count beside it, and JSON with the same in it."""
    result = knell_dead("ls")
    lines = said(result).splitlines()
    assert lines[0].split() == ["AGE", "CHANNEL", "EVENT", "REASON", "TRIES", "ID", "TITLE"]
    assert [line.split()[5] for line in lines[1:]] == ALL
    assert lines[1].split()[1:] == ["b", "pr_created", "server_error", "1", "e3:b", "e3"]
    assert result.stderr == "6 dead letters\n"
    listed = knell_dead("ls", "--json")
    assert ids(listed) == ALL
    assert json.loads(listed.stdout)["total"] == 6


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--channel", "a"], ALL[1::2]),
        (["--type", "pr_created"], ALL[:2]),
        (["--type", "pr_created", "--channel", "b"], ALL[:1]),
        (["--reason", "server_error"], ALL),
        (["--reason", "refused"], []),
        (["--since", "1h"], ALL),
        (["--until", "1h"], []),
        (["--since", "2100-01-31T12:00:00+09:00"], []),
        (["--until", "2100-01-31T12:00:00Z"], ALL),
    ],
)
def test_filters_narrow(knell_dead: Callable[..., Result], filters: list[str], found: list[str]) -> None:
    """All of them together; times are RFC 3339 or ages. A replay by the same filter takes just these."""
    assert ids(knell_dead("ls", "--json", *filters)) == found
    count = f"{len(found)} dead letter{'' if len(found) == 1 else 's'} replayed\n"
    assert said(knell_dead("replay", *filters)) == count
    assert ids(knell_dead("ls", "--json")) == [id_ for id_ in ALL if id_ not in found]


def test_more_than_a_page(knell_dead: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds over pages, and what it hides is told."""
    monkeypatch.setattr("knell.cli.dead.PAGE", 2)
    assert ids(knell_dead("ls", "--json")) == ALL
    result = knell_dead("ls", "--limit", "5")
    assert len(said(result).splitlines()) == 1 + 5
    assert result.stderr == "5 of 6 dead letters; --limit shows more\n"


def test_one_is_shown(knell_dead: Callable[..., Result]) -> None:
    """Whatever its event id holds; JSON has everything."""
    assert said(knell_dead("show", "a/b:c@+=2:a")).startswith("delivery  a/b:c@+=2:a\nstate     dead since ")
    found = json.loads(said(knell_dead("show", "--json", "e3:b")))
    assert (found["delivery"]["id"], found["event"]["event_type"]) == ("e3:b", "pr_created")
    assert [attempt["reason"] for attempt in found["attempts"]] == ["server_error"]


@pytest.mark.parametrize("id_", ["nobody:a", "e1", "e 1:a", "\udcff:a"])
@pytest.mark.parametrize("what", ["show", "replay", "drop"])
def test_what_is_not_there_is_an_error(knell_dead: Callable[..., Result], what: str, id_: str) -> None:
    """Exit code 1, in words, and nothing is changed."""
    result = knell_dead(what, *([] if what == "show" else ["e1:a"]), id_)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no delivery" in result.stderr
    assert ids(knell_dead("ls", "--json")) == ALL


@pytest.mark.parametrize(("what", "done"), [("replay", "replayed"), ("drop", "dropped")])
def test_a_change_is_counted_exactly(knell_dead: Callable[..., Result], what: str, done: str) -> None:
    """By ids, by filter, all; once: the second time there is nothing left to do."""
    assert said(knell_dead(what, "e1:a", "e1:b", "e1:a")) == f"2 dead letters {done}\n"
    again = knell_dead(what, "e1:a")
    assert said(again) == f"0 dead letters {done}\n"
    assert "e1:a is " in again.stderr
    assert "and left alone" in again.stderr
    assert said(knell_dead(what, "--type", "pr_created", "--channel", "a")) == f"1 dead letter {done}\n"
    assert json.loads(said(knell_dead(what, "--all", "--json"))) == {done: 3}
    assert json.loads(said(knell_dead(what, "--all", "--json", "--yes"))) == {done: 0}
    assert ids(knell_dead("ls", "--json")) == []
    assert knell_dead("ls").stderr == "no dead letters\n"


def test_what_was_replayed_is_sent(knell_dead: Callable[..., Result], ward: Ward) -> None:
    """At once by a service that runs, else by the next one; what was dropped is not."""
    ward.stage.failing.clear()
    ward.stage.release()
    said(knell_dead("drop", "--channel", "b"))
    result = knell_dead("replay", "--all")
    assert said(result) == "3 dead letters replayed\n"
    if ward.manager is None:
        assert result.stderr == "they are sent by the next 'knell run'\n"
        ward.start()
    else:
        assert result.stderr == "they are sent from now on, 20 a second for each channel\n"
    assert sorted(ward.stage.next_sent() for _ in range(3)) == ["a/b:c@+=2", "e1", "e3"]
    assert ward.manager
    ward.manager.stop()
    assert ward.stage.sent.empty()


def test_who_did_it_is_written_down(
    knell_dead: Callable[..., Result], ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the user, and by which way."""
    monkeypatch.setenv("LOGNAME", "mika")
    said(knell_dead("replay", "e1:a"))
    by = "cli: mika" if ward.manager is None else "http: mika"
    reader = open_reader(STORE)
    (entry,) = reader.audit()
    reader.close()
    assert (entry.action, entry.by, entry.deliveries) == ("replay", by, 1)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["replay"], "say which: IDs, filters such as --channel slack, or --all\n"),
        (["drop", "--yes"], "say which"),
        (["replay", "--all", "--channel", "a"], "or --all, and only one of these"),
        (["drop", "--all", "e1:a"], "and only one of these"),
        (["replay", "--channel", "a", "e1:a"], "and only one of these"),
        (["ls", "--since", "yesterday"], "'--since': expected a time such as 2026-01-31T12:00:00Z"),
        (["ls", "--reason", "x"], "'--reason': expected one of delivered, timeout"),
        (["ls", "--channel", "a b"], "'--channel': expected the name of a channel"),
        (["ls", "--type", ""], "'--type': expected the name of an event type"),
        (["ls", "--limit", "0"], "--limit"),
        (["ls", "--url", "http://127.0.0.1:1", "--config", "x"], "--config is the service's business"),
    ],
)
def test_wrong_usage_is_told(ward: Ward, arguments: list[str], why: str) -> None:
    """Exit code 2; what would mean everything has to say so."""
    ward.start()
    ward.kill("e1")
    ward.stop()
    result = CliRunner().invoke(cli, ["dead", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert len(ids(CliRunner().invoke(cli, ["dead", "ls", "--json"]))) == 2


# Who has the store


def test_a_store_in_use_is_read_and_not_written(ward: Ward) -> None:
    """Looking works beside the service; for the rest it says who has the store, and the way in."""
    ward.start()
    ward.kill("e1")
    assert len(ids(CliRunner().invoke(cli, ["dead", "ls", "--json"]))) == 2
    assert said(CliRunner().invoke(cli, ["dead", "show", "e1:a"]))
    for what in ("replay", "drop"):
        result = CliRunner().invoke(cli, ["dead", what, "--all"])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"Error: store .knell/knell.db: process {os.getpid()} is using it; "
            "if that is 'knell run', let it do that: --url http://127.0.0.1:8321\n"
        )


@pytest.mark.parametrize(
    ("http", "way"),
    [
        ({"listen": "0.0.0.0:9"}, "let it do that: --url http://127.0.0.1:9"),
        ({"listen": "[::]:9"}, "let it do that: --url http://[::1]:9"),
        ({"listen": "127.0.0.1:0"}, "let it do that: --url URL (it prints it)"),
        ({"enabled": False}, "stop it first: it has no HTTP (http.enabled)"),
    ],
)
def test_the_way_in_is_the_configurations(ward: Ward, http: dict[str, Any], way: str) -> None:
    """As far as it says; nothing else in the file matters here."""
    ward.start()
    path = ward.path.with_name("other.yaml")
    path.write_text(json.dumps({"http": http, "slack": {"webhook_url": "${ONLY_THE_SERVICE_HAS_IT}"}}))
    result = CliRunner().invoke(cli, ["dead", "drop", "--all", "--config", str(path)])
    assert result.exit_code == 1
    assert result.stderr.endswith(f"if that is 'knell run', {way}\n")


@pytest.mark.parametrize("arguments", [["ls"], ["show", "e1:a"], ["replay", "--all"], ["drop", "e1:a"]])
def test_a_store_that_is_not_there_is_not_made(folder: Path, arguments: list[str]) -> None:
    """Whoever is in the wrong folder is told so."""
    result = CliRunner().invoke(cli, ["dead", *arguments])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: store .knell/knell.db: there is no such file\n"
    assert not (folder / ".knell").exists()


def test_a_wrong_store_section_is_a_wrong_configuration(ward: Ward) -> None:
    """Exit code 78, with the place."""
    ward.path.write_text("store: {urll: x}")
    result = CliRunner().invoke(cli, ["dead", "ls"])
    assert result.exit_code == 78
    assert "did you mean 'url'?" in result.stderr


# At a terminal


@pytest.mark.parametrize(
    ("typed", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("\n", 1, 2), ("\x04", 1, 2)]
)
def test_whoever_is_at_a_terminal_is_asked(
    ward: Ward, environ: dict[str, str], typed: str, code: int, left: int
) -> None:
    """With the exact count; anything but yes changes nothing."""
    ward.start()
    ward.kill("e1")
    ward.stop()
    master, slave = pty.openpty()
    try:
        os.write(master, typed.encode())
        result = subprocess.run(
            [sys.executable, "-m", "knell", "dead", "drop", "--all"],
            check=False,
            env=environ,
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert result.returncode == code
    assert "Drop 2 dead letters? [y/N]: " in result.stdout + result.stderr
    assert len(ids(CliRunner().invoke(cli, ["dead", "ls", "--json"]))) == left


def test_a_change_of_the_file_says_nothing_else(ward: Ward, run: Callable[..., Any]) -> None:
    """What the store logs is for services."""
    ward.start()
    ward.kill("e1")
    ward.stop()
    result = run("dead", "drop", "--all")
    assert (result.returncode, result.stdout, result.stderr) == (0, "2 dead letters dropped\n", "")


def test_yes_and_nothing_to_do_are_not_asked(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with `--yes`, nor where no letter would be changed."""
    ward.start()
    ward.kill("e1")
    monkeypatch.setattr("knell.cli.dead.on_terminal", lambda: True)
    url = ["--url", ward.server.url] if ward.server else []
    assert said(CliRunner().invoke(cli, ["dead", "drop", "e1:a", "--yes", *url])) == "1 dead letter dropped\n"
    assert said(CliRunner().invoke(cli, ["dead", "drop", "e1:a", *url])) == "0 dead letters dropped\n"
    asked = CliRunner().invoke(cli, ["dead", "drop", "e1:a", "e1:b", *url], input="y\n")
    assert "Drop 1 dead letter? [y/N]: " in asked.output
    assert asked.stdout.endswith("1 dead letter dropped\n")
