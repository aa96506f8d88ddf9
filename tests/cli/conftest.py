"""The command line as its users have it: processes, signals, exit codes, and what is printed where."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import knell
from tests.waiting import PATIENCE

PROBE = '''
"""A channel whose deliveries end as the title of their event says."""

import asyncio
from pathlib import Path

from knell.channels.base import Channel, Delivered, Reason, Rejected


class Probe(Channel):
    async def send(self, message):
        title = message.events[0].title
        if title == "refuse":
            return Rejected(Reason.REFUSED, "nobody lives here")
        if title == "hang":
            await asyncio.Event().wait()
        if title == "gate":
            while not Path("gate").exists():
                await asyncio.sleep(0.01)
        return Delivered()
'''


class Service:
    """A running `knell run` in a folder."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "knell", "run", "--listen", "127.0.0.1:0", *arguments],
            cwd=folder,
            env=dict(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._new: queue.Queue[None] = queue.Queue()
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self.lines]
        for reader in self._readers:
            reader.start()
        self.url = self.line("stderr", " listens on ").split(" listens on ")[1].split()[0]

    def _read(self, name: str) -> None:
        for line in getattr(self.process, name):
            self.lines[name].append(line.rstrip())
            self._new.put(None)

    def line(self, name: str, text: str) -> str:
        """Wait for a line that holds a text."""
        while True:
            for line in list(self.lines[name]):
                if text in line:
                    return line
            self._new.get(timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, str]:
        """Ask the service; (0, "") while nobody answers."""
        try:
            with urlopen(self.url + path, timeout=PATIENCE) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except URLError as error:
            body = getattr(error, "read", None)
            return getattr(error, "code", 0), body().decode() if body else ""

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration of one channel, the probe."""
    (tmp_path / "config").mkdir()
    (tmp_path / "probe.py").write_text(PROBE)
    write_config(tmp_path, probe={"type": "probe:Probe", "events": ["*"]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KNELL_URL", raising=False)
    return tmp_path


def write_config(folder: Path, **channels: Any) -> None:
    """Write a configuration; JSON is YAML too."""
    settings = {
        "channels": channels,
        "retry_policy": {"max_retries": 150, "max_delay_ms": 3_600_000},
    }
    (folder / "config" / "notifications.yaml").write_text(json.dumps(settings, indent=1))


@pytest.fixture
def configure(folder: Path) -> Callable[..., None]:
    """Return what writes a configuration of these channels."""

    def write(**channels: Any) -> None:
        write_config(folder, **channels)

    return write


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    """The environment of the processes: ours, with the probe and the knell under test to import."""
    places = [str(folder), str(Path(knell.__file__).parents[1])]
    ours = {name: text for name, text in os.environ.items() if not name.startswith("KNELL_")}
    return {**ours, "PYTHONPATH": os.pathsep.join(places), "NO_COLOR": "1"}


@pytest.fixture
def run(folder: Path, environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs a command to its end."""

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "knell", *arguments],
            check=False,
            cwd=folder,
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return call


@pytest.fixture
def serve(folder: Path, environ: dict[str, str]) -> Iterator[Callable[..., Service]]:
    """Return what starts a service; it ends with the test."""
    services: list[Service] = []

    def start(*arguments: str) -> Service:
        services.append(Service(folder, environ, *arguments))
        return services[-1]

    yield start
    for service in services:
        service.stop()
