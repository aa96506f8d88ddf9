"""`knell store`: on a file that nobody has, and beside a service that has it."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from knell.cli.main import cli
from knell.cli.store import _size  # pyright: ignore[reportPrivateUsage]
from knell.deliveries import Again, Dead, Done, Route
from knell.events import NotificationEvent, seal
from knell.messages import Reason
from knell.store import open_store
from knell.store.contract import Store, Submission
from knell.store.schema import VERSION
from tests.store.steps import accept, fetch, settle, start
from tests.waiting import until

DAY = 86400.0

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def knell_store(folder: Path) -> Callable[..., Result]:
    """`knell store`, in a folder with a configuration."""
    del folder
    return lambda *arguments: CliRunner().invoke(cli, ["store", *arguments])


def _submission(event_id: str) -> Submission:
    event = NotificationEvent(event_type="job_failed", source="s", title="t", event_id=event_id)
    return Submission(seal(event), (Route("probe"), Route("slack")), (event_id,))


def _end(store: Store, channel: str, verdict: Any, at: float) -> None:
    for delivery in fetch(store, channel, now=at):
        start(store, delivery)
        settle(store, delivery, verdict, at)


@pytest.fixture
def path(folder: Path) -> Path:
    """A store with two events of 40 days ago, done and dead, and one of two hours ago that waits."""
    path, now = folder / ".knell" / "knell.db", time.time()
    store = open_store(f"sqlite:///{path}")
    store.open()
    accept(store, _submission("old1"), _submission("old2"), now=now - 40 * DAY)
    _end(store, "probe", Done(), now - 40 * DAY)
    _end(store, "slack", Dead(Reason.REFUSED, "no"), now - 40 * DAY)
    accept(store, _submission("new"), now=now - 7200)
    _end(store, "slack", Again(Reason.TIMEOUT, 7200.0), now - 7200)
    store.close()
    return path


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 8192)


def test_the_stats_show_how_full_it_is(path: Path, knell_store: Callable[..., Result]) -> None:
    """A line for each channel, a column for each state, and how long the oldest has been waiting."""
    result = knell_store("stats")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["file", ".knell/knell.db", "(version", f"{VERSION})"]
    assert lines[2] == ["events", "3"]
    assert " ".join(lines[3]) == "waiting the oldest was accepted 2h ago"
    assert lines[5] == ["CHANNEL", "PENDING", "SENDING", "DONE", "DEAD", "CANCELLED", "EXPIRED"]
    assert lines[6:] == [["probe", "1", "0", "2", "0", "0", "0"], ["slack", "1", "0", "0", "2", "0", "0"]]
    found = json.loads(knell_store("stats", "--json").stdout)
    assert found["states"] == {"probe": {"pending": 1, "done": 2}, "slack": {"pending": 1, "dead": 2}}
    assert found["bytes"] >= path.stat().st_size


def test_the_stats_of_an_empty_store_are_few(folder: Path, knell_store: Callable[..., Result]) -> None:
    """No table without rows."""
    store = open_store(f"sqlite:///{folder}/.knell/knell.db")
    store.open()
    store.close()
    lines = knell_store("stats").stdout.splitlines()
    assert len(lines) == 4
    assert lines[3].split() == ["waiting", "nothing"]


def test_a_check_of_a_good_file_says_so(path: Path, knell_store: Callable[..., Result]) -> None:
    """In words, and for programs."""
    assert path.exists()
    result = knell_store("check")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", ".knell/knell.db: ok\n")
    assert json.loads(knell_store("check", "--json").stdout) == {"ok": True, "problems": []}


def test_a_check_of_a_damaged_file_fails(path: Path, knell_store: Callable[..., Result]) -> None:
    """With every finding and what to do; no copy is made of it."""
    _damage(path)
    result = knell_store("check")
    assert result.exit_code == 1
    assert result.stdout
    assert ".knell/knell.db: damaged\n" in result.stderr
    assert json.loads(knell_store("check", "--json").stdout)["ok"] is False
    result = knell_store("backup", "copy.db")
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert not Path("copy.db").exists()


def test_a_backup_can_take_the_place_of_the_file(path: Path, knell_store: Callable[..., Result]) -> None:
    """It is all there; a second one overwrites nothing."""
    result = knell_store("backup", "copy.db")
    assert result.stdout.startswith("wrote copy.db (")
    assert json.loads(knell_store("backup", "other.db", "--json").stdout) == {
        "file": "other.db",
        "bytes": Path("other.db").stat().st_size,
    }
    result = knell_store("backup", "copy.db")
    assert (result.exit_code, result.stderr) == (1, "Error: backup copy.db: File exists\n")
    before = json.loads(knell_store("stats", "--json").stdout)
    _damage(path)
    Path("copy.db").replace(path)
    assert knell_store("check").exit_code == 0
    assert json.loads(knell_store("stats", "--json").stdout)["states"] == before["states"]


def test_pruning_keeps_what_waits(path: Path, knell_store: Callable[..., Result]) -> None:
    """What ended before the retention is forgotten, dead letters too; what is younger or waits stays."""
    assert path.exists()
    result = knell_store("prune")
    assert (result.stdout, result.stderr) == ("forgot 2 deliveries and 0 events\n", "")
    result = knell_store("prune", "--dead-days", "39")
    assert result.stdout == "forgot 2 deliveries and 2 events\n"
    assert json.loads(knell_store("prune", "--done-days", "0", "--json").stdout) == {
        "deliveries": 0,
        "events": 0,
    }
    found = json.loads(knell_store("stats", "--json").stdout)
    assert (found["events"], found["states"]) == (1, {"probe": {"pending": 1}, "slack": {"pending": 1}})


def test_the_retention_is_the_configurations(
    folder: Path, path: Path, knell_store: Callable[..., Result]
) -> None:
    """Unless the command says otherwise."""
    assert path.exists()
    config = Path(folder, "config", "notifications.yaml")
    config.write_text("store: {retention_days: 50, dead_retention_days: 39, dedup_days: 1}\n")
    assert knell_store("prune").stdout == "forgot 2 deliveries and 0 events\n"
    assert knell_store("prune", "--done-days", "39").stdout == "forgot 2 deliveries and 2 events\n"


@pytest.mark.parametrize("arguments", [["stats"], ["check"], ["prune"], ["backup", "copy.db"]])
def test_a_store_that_is_not_there_is_not_made(
    folder: Path, knell_store: Callable[..., Result], arguments: list[str]
) -> None:
    """A wrong --config would look like an empty store."""
    result = knell_store(*arguments)
    assert result.exit_code == 1
    assert result.stderr == "Error: store .knell/knell.db: there is no such file\n"
    assert not (folder / ".knell").exists()
    assert not (folder / "copy.db").exists()


def test_all_but_prune_work_beside_a_service(folder: Path, serve: Callable[..., Any], run: Run) -> None:
    """What it has committed is seen; pruning says who has the store."""
    service = serve()
    sent = run("send", "job_failed", "--title", "x", "--wait", KNELL_URL=service.url)
    assert sent.returncode == 0
    until(lambda: json.loads(run("store", "stats", "--json").stdout)["states"] == {"probe": {"done": 1}})
    assert run("store", "check").stderr == ".knell/knell.db: ok\n"
    assert run("store", "backup", "copy.db").returncode == 0
    refused = run("store", "prune")
    assert (refused.returncode, refused.stdout) == (1, "")
    pid = service.process.pid
    assert f"process {pid} is using it; a running 'knell run' prunes by itself" in refused.stderr
    assert (folder / "copy.db").exists()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (3 << 40, "3.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes_are_written_as_people_say_them(size: int, text: str) -> None:
    """In the largest unit that fits."""
    assert _size(size) == text
