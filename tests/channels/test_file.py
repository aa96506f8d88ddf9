import asyncio
import errno
import fcntl
import json
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knell.channels.file import FileChannel, FileConfig
from knell.events import NotificationEvent
from knell.messages import (
    Delivered,
    FormattedMessage,
    HealthStatus,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)


def message(*titles: str, text: str = "", id_: str = "d1") -> FormattedMessage:
    """Make a message about events with these titles."""
    events = tuple(NotificationEvent(event_type="job_failed", source="s", title=title) for title in titles)
    return FormattedMessage(format=MessageFormat.TEXT, content=text, events=events, id=id_)


def send(path: Path, *messages: FormattedMessage, **section: Any) -> list[Outcome]:
    """Send messages through one channel."""

    async def run() -> list[Outcome]:
        channel = FileChannel(FileConfig.model_validate({"path": str(path), **section}))
        try:
            return [await channel.send(each) for each in messages]
        finally:
            await channel.close()

    return asyncio.run(run())


def health(path: Path) -> HealthStatus:
    """Ask for the health of a channel."""

    async def run() -> HealthStatus:
        channel = FileChannel(FileConfig(path=str(path)))
        try:
            return await channel.health_check()
        finally:
            await channel.close()

    return asyncio.run(run())


def titles(path: Path) -> list[str]:
    """Return the titles in a file, line by line."""
    return [json.loads(line)["data"]["title"] for line in path.read_text().split("\n")[:-1]]


def test_a_line_for_each_event(tmp_path: Path) -> None:
    """The shape of a webhook's body, with the delivery's id; a batch is written at once."""
    path = tmp_path / "new" / "folders" / "audit.jsonl"
    (first, second) = send(path, message("one"), message("two\n\u2028", "three"))
    assert first == Delivered({"path": str(path), "offset": 0})
    assert isinstance(second, Delivered)
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == 4
    line = json.loads(lines[0])
    assert (line["id"], line["type"], line["data"]["title"]) == ("d1", "job_failed", "one")
    assert line["timestamp"] == line["data"]["timestamp"]
    assert titles(path) == ["one", "two\n\u2028", "three"]
    assert second.receipt["offset"] == len(lines[0]) + 1


def test_a_message_about_no_event(tmp_path: Path) -> None:
    """Its text is kept."""
    path = tmp_path / "audit.jsonl"
    send(path, message(text="hello"))
    assert json.loads(path.read_text())["data"] == {"text": "hello"}


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Events may be confidential: the file is 0600, folders that are made are 0700."""
    path = tmp_path / "made" / "audit.jsonl"
    send(path, message("one"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    send(Path("~/audit.jsonl"), message("one"))
    assert titles(tmp_path / "audit.jsonl") == ["one"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Who may make a link there could let us write into any file of ours."""
    target, path = tmp_path / "target", tmp_path / "audit.jsonl"
    target.write_text("mine")
    path.symlink_to(target)
    assert send(path, message("one")) == [
        Rejected(Reason.CONFIGURATION, f"{path}: it is a symbolic link, which is not followed")
    ]
    assert target.read_text() == "mine"
    assert health(path) == HealthStatus(False, f"{path}: it is a symbolic link, which is not followed")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe nobody reads blocks nothing; a folder is named as such."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (outcome,) = send(pipe, message("one"))
    assert outcome == Rejected(Reason.CONFIGURATION, f"{pipe}: it is no regular file")
    (outcome,) = send(tmp_path, message("one"))
    assert outcome == Rejected(Reason.CONFIGURATION, f"{tmp_path}: it is a directory")
    (outcome,) = send(pipe / "below", message("one"))
    assert outcome == Rejected(Reason.CONFIGURATION, f"{pipe / 'below'}: a part of its path is no directory")


def fails(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    """Let a system call fail."""

    def call(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, call)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, Retry(Reason.SERVER_ERROR, None, "the disk is full")),
        (errno.EDQUOT, Retry(Reason.SERVER_ERROR, None, "the disk quota is used up")),
        (errno.EIO, Retry(Reason.SERVER_ERROR, None, "the disk reports an error")),
        (errno.ENOMEM, Retry(Reason.SERVER_ERROR, None, "Cannot allocate memory")),
        (errno.EACCES, Rejected(Reason.CONFIGURATION, "no permission to write there")),
        (errno.EROFS, Rejected(Reason.CONFIGURATION, "the file system is read-only")),
    ],
)
@pytest.mark.parametrize("call", ["open", "write"])
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: Retry | Rejected
) -> None:
    """What may pass is tried again, what stays is a matter of the configuration; both in plain words."""
    fails(monkeypatch, call, number)
    (outcome,) = send(tmp_path / "audit.jsonl", message("one"))
    assert type(outcome) is type(expected)
    assert isinstance(outcome, Retry | Rejected)
    assert (outcome.reason, outcome.detail) == (
        expected.reason,
        f"{tmp_path / 'audit.jsonl'}: {expected.detail}",
    )


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full in the middle of a write leaves the file as it was."""
    path = tmp_path / "audit.jsonl"
    send(path, message("one"))
    before, real = path.read_bytes(), os.write

    def write(file: int, data: bytes) -> int:
        return real(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", write)
    assert send(path, message("two")) == [Retry(Reason.SERVER_ERROR, None, f"{path}: the disk is full")]
    assert path.read_bytes() == before


def test_what_a_power_cut_left(tmp_path: Path) -> None:
    """After half a line a new one begins, so only that one is lost."""
    path = tmp_path / "audit.jsonl"
    path.write_text('{"half": ')
    (outcome,) = send(path, message("one"))
    assert path.read_text().splitlines()[0] == '{"half": '
    assert isinstance(outcome, Delivered)
    assert json.loads(path.read_bytes()[outcome.receipt["offset"] :])["data"]["title"] == "one"


def test_rotation(tmp_path: Path) -> None:
    """A full file moves to .1, that one to .2, and the oldest goes; no line is lost before that."""
    path = tmp_path / "audit.jsonl"
    section = {"max_mb": 0.0001, "keep": 2}  # 104 bytes: every line fills a file
    send(path, *(message(str(number)) for number in range(5)), **section)
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2",
    ]
    kept = [titles(tmp_path / name) for name in ("audit.jsonl", "audit.jsonl.1", "audit.jsonl.2")]
    assert kept == [["4"], ["3"], ["2"]]


def writer(path: str, number: int) -> None:
    """Write a hundred lines, as one of several processes."""
    send(Path(path), *(message(f"{number}-{line}") for line in range(50)), max_mb=0.002, keep=1000)


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    """With rotations among them, every line is whole and none is lost."""
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=writer, args=(str(path), number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [title for item in tmp_path.iterdir() for title in titles(item)]
    assert sorted(found) == sorted(f"{number}-{line}" for number in range(3) for line in range(50))


def test_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `fsync` a line is on disk before it counts as delivered; without, nobody waits for that."""
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    send(tmp_path / "a", message("one"))
    assert synced == []
    send(tmp_path / "b", message("one"), fsync=True)
    assert len(synced) == 1


def test_a_disk_that_hangs(tmp_path: Path) -> None:
    """A write that does not end holds up nobody else, and nobody knows what became of it."""
    path = tmp_path / "audit.jsonl"
    path.touch()
    with path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ticks = 0

        async def run() -> Outcome:
            nonlocal ticks
            channel = FileChannel(FileConfig(path=str(path), timeout_seconds=0.2))
            sending = asyncio.ensure_future(channel.send(message("one")))
            while not sending.done():
                await asyncio.sleep(0)
                ticks += 1
            await channel.close()
            fcntl.flock(other, fcntl.LOCK_UN)
            return sending.result()

        outcome = asyncio.run(run())
    assert outcome == Unknown(Reason.TIMEOUT, f"{path}: the disk does not answer")
    assert ticks > 10


def test_writing_happens_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the thread that all channels share."""
    names: list[str] = []
    real: Callable[..., int] = os.write

    def write(file: int, data: bytes) -> int:
        names.append(threading.current_thread().name)
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    send(tmp_path / "audit.jsonl", message("one"))
    assert [name for name in names if name.startswith("knell-file")]


def test_health(tmp_path: Path) -> None:
    """It could write, and made nothing to find out."""
    assert health(tmp_path / "new" / "audit.jsonl") == HealthStatus(healthy=True)
    assert list(tmp_path.iterdir()) == []
    assert health(tmp_path) == HealthStatus(False, f"{tmp_path}: it is a directory")


def test_a_channel_that_is_only_tried_out() -> None:
    """A check makes channels and never uses them: that starts no thread."""
    before = threading.active_count()
    FileChannel(FileConfig(path="audit.jsonl"))
    assert threading.active_count() == before
