"""Programs that host knell, run as processes of their own: how they end is what is tested."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import knell
from tests.puppets import PATIENCE

TO_FILE = '''
"""A channel that appends titles to a file; an event titled "stuck" never ends."""

import asyncio
from pathlib import Path

from knell.channels.base import Channel, Delivered


class ToFile(Channel):
    async def send(self, message):
        title = message.events[0].title
        if title == "stuck" and not Path("unstuck").exists():
            await asyncio.Event().wait()
        with Path("titles").open("a") as file:
            file.write(title + "\\n")
        return Delivered()
'''

PRELUDE = f"""
import os, signal

# Whoever hangs is ended by this, and so is a child that hangs in the very call that forks it.
os.register_at_fork(after_in_child=lambda: signal.alarm({PATIENCE:.0f}))

import asyncio, gc, json, logging, sys, threading
import knell

logging.getLogger("knell").addHandler(logging.NullHandler())

CONFIG = {{
    "channels": {{"file": {{"type": "tofile:ToFile", "events": ["*"]}}}},
    "store": {{"url": "sqlite:///knell.db"}},
}}

def event(title):
    return knell.NotificationEvent(event_type="job_failed", source="tests", title=title)

def say(**found):
    print(json.dumps(found), flush=True)
"""

Ended = subprocess.CompletedProcess[str]


class Programs:
    """Runs programs in a folder.

    Attributes:
        folder: where the store is, and what the channel has written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tofile.py").write_text(TO_FILE)

    def run(self, body: str) -> Ended:
        """Run a program to its end; it fails the test when it has none."""
        (self.folder / "program.py").write_text(PRELUDE + body)
        places = [str(self.folder), str(Path(knell.__file__).parents[1])]
        return subprocess.run(
            [sys.executable, "program.py"],
            check=False,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )

    def said(self, body: str) -> dict[str, Any]:
        """Run a program that ends well; return what all its processes said."""
        ended = self.run(body)
        assert (ended.returncode, ended.stderr) == (0, "")
        found: dict[str, Any] = {}
        for line in ended.stdout.splitlines():
            found |= json.loads(line)
        return found

    def titles(self) -> list[str]:
        """Return what was delivered, in order."""
        path = self.folder / "titles"
        return path.read_text().splitlines() if path.exists() else []

    def finish(self) -> list[str]:
        """Start once more, nothing stuck any more, and return all that was delivered by then."""
        (self.folder / "unstuck").touch()
        self.said(
            'CONFIG["channels"]["file"]["concurrency"] = 1\n'
            "with knell.start(CONFIG) as manager:\n"
            '    assert manager.notify_and_wait(event("last"))[0].success\n'
        )
        return self.titles()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """A folder to run programs in."""
    return Programs(tmp_path)
