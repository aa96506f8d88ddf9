"""`knell demo` as people run it."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import knell

KNELL = (sys.executable, "-m", "knell")
PATIENCE = 60.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which temporary files can be counted, and nothing else is known."""
    place = str(Path(knell.__file__).parents[1])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": place, "TMPDIR": str(tmp_path)}


def demo(environ: dict[str, str], *options: str) -> subprocess.Popen[str]:
    """Start a demo."""
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen((*KNELL, "demo", *options), env=environ, text=True, **pipes)  # noqa: S603 - ours


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read what a demo prints until the pattern is found."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern} was never printed")


def test_once_tells_the_story_and_succeeds(environ: dict[str, str], tmp_path: Path) -> None:
    """All five channels deliver: a 429 is waited for, an actor returns, a burst is batched, all arrives."""
    process = demo(environ, "--once")
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, ""), out
    for channel in ("slack", "email", "discord", "webhook", "sms"):
        assert re.search(rf" s  job_failed      {channel} +ok in [\d,]+ ms\n", out)
        assert re.search(rf"^{channel} .* 0$", out, re.MULTILINE)
    assert re.search(
        r"pr_created +discord +429, told to wait 1 s\n.*pr_created +discord +ok in 1,\d+ ms", out
    )
    assert re.search(r"slack +the actor crashed: RuntimeError.*\n.*slack +restarted after \d+ ms", out)
    assert re.search(r"task_completed +slack +10 events in one message", out)
    assert "30 events told" in out
    assert "Every delivery arrived, exactly once." in out
    assert "\033" not in out
    assert list(tmp_path.iterdir()) == []


def test_page_lives_until_ctrl_c(environ: dict[str, str], tmp_path: Path) -> None:
    """The page is there as soon as its address is printed; Ctrl-C ends the demo with 0 and without a word."""
    with demo(environ, "--port", "0") as process:
        url = until(process, r"http://127\.0\.0\.1:\d+")[0]
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - the demo's own
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        until(process, "job_started")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_taken_port_is_named(environ: dict[str, str]) -> None:
    """A port that was asked for must be had: the error says which one and why."""
    with demo(environ, "--port", "0") as first:
        port = until(first, r"http://127\.0\.0\.1:(\d+)")[1]
        second = demo(environ, "--port", port)
        _, errors = second.communicate(timeout=PATIENCE)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert errors == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_closed_pipe_is_no_crash(environ: dict[str, str]) -> None:
    """`knell demo --once | head -1` plays on unseen, and still says by its exit code how it went."""
    with demo(environ, "--once") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")


class Screen:
    """A terminal of its own, with a demo in it and somebody before it."""

    def __init__(self, environ: dict[str, str], *options: str) -> None:
        self._keyboard, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.text = ""
        self.process = subprocess.Popen(  # noqa: S603 - our own arguments
            (sys.executable, "-c", ADOPT, *KNELL, "demo", *options),
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._keyboard, keys.encode())

    def shows(self, text: str) -> None:
        """Read until a text is there."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            ready, _, _ = select.select([self._keyboard], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} was never shown: {self.text}"
            self.text += os.read(self._keyboard, 65536).decode(errors="replace")

    def close(self) -> list[Any]:
        """Wait for the end, and return how the terminal was left behind."""
        assert self.process.wait(PATIENCE) == 0
        left = termios.tcgetattr(self._theirs)
        os.close(self._theirs)
        os.close(self._keyboard)
        return left


ADOPT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal the one that the process belongs to, as a shell has it."""


def test_keys_work_and_the_terminal_is_left_as_it_was(environ: dict[str, str]) -> None:
    """On a terminal there are colours and keys: k crashes the Slack actor, q quits."""
    screen = Screen(environ, "--no-page")
    screen.shows("q\033[0m Quit")
    screen.press("k")
    screen.shows("\033[31mthe actor crashed")
    screen.shows("restarted after")
    screen.press("q")
    screen.shows("waiting")
    assert screen.close() == screen.before


def test_no_color_is_honoured(environ: dict[str, str]) -> None:
    """With NO_COLOR not one escape sequence is written, on a terminal neither."""
    screen = Screen({**environ, "NO_COLOR": "1"}, "--no-page")
    screen.shows("job_started")
    screen.press("q")
    screen.shows("waiting")
    screen.close()
    assert "\033" not in screen.text
