"""`knell run` as a process that may be killed, starved and started again on the same store."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import knell
from tests.waiting import PATIENCE, until

CAP = 32
"""Most requests of one channel on the wire at once: the default of `concurrency`."""

_SOURCES = os.pathsep.join([str(Path(knell.__file__).parents[1]), str(Path(__file__).parents[2])])
_RUN = ["run", "--listen", "127.0.0.1:0", "--log-level", "warning"]
_MUTATED = "from tests.faults import mutants; mutants.{}(); from knell.cli.main import main; main()"


class Service:
    """A folder with a configuration and a store, and at most one process that serves it.

    Args:
        folder: where it lives.
        channels: the webhook channels: a URL, or what else is in the section.
        mutant: a function of `mutants` that breaks the product in the process before it starts.
        environ: more of the process's environment.
        config: more of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        channels: Mapping[str, str | Mapping[str, Any]],
        *,
        mutant: str = "",
        environ: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        self.folder, self.url = folder, ""
        self.process: subprocess.Popen[str] | None = None
        self._command = ["-c", _MUTATED.format(mutant)] if mutant else ["-m", "knell"]
        ours = {name: text for name, text in os.environ.items() if not name.startswith("KNELL_")}
        self._environ = {**ours, "PYTHONPATH": _SOURCES, "NO_COLOR": "1", **(environ or {})}
        settings = {
            "channels": {name: _section(given) for name, given in channels.items()},
            "security": {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]},
            "retry_policy": {"max_retries": 150, "initial_delay_ms": 50, "max_delay_ms": 1000},
            **config,
        }
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "notifications.yaml").write_text(json.dumps(settings))

    # Life

    def spawn(self) -> None:
        """Start a process; it may not serve yet."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, *self._command, *_RUN],
                cwd=self.folder,
                env=self._environ,
                stdout=log,
                stderr=subprocess.PIPE,
                text=True,
            )

    def start(self) -> "Service":
        """Start a process, and wait until it serves."""
        self.spawn()
        self.wait_until_up()
        return self

    def wait_until_up(self) -> None:
        """Wait until the process says where it listens, which it does once it takes events."""
        assert self.process is not None
        assert self.process.stderr is not None
        told: list[str] = []
        for line in self.process.stderr:
            told.append(line)
            if " listens on " in line:
                self.url = line.split(" listens on ")[1].split()[0]
                return
        raise AssertionError(f"it does not start: {''.join(told)} {self.log()[-1000:]}")

    def refusal(self) -> tuple[int, str]:
        """Start a process that cannot serve; return its exit code and what it said."""
        self.spawn()
        assert self.process is not None
        _, words = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, words

    def kill(self) -> None:
        """Kill it, as the kernel does when memory runs out."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def stop(self) -> int:
        """Let it end what is under way; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.wait()

    # Surroundings

    def limit(self, kind: int, soft: int | None) -> None:
        """Change a limit of the running process; None takes it away."""
        assert self.process is not None
        hard = resource.prlimit(self.process.pid, kind)[1]
        resource.prlimit(self.process.pid, kind, (hard if soft is None else soft, hard))

    def descriptors(self) -> int:
        """Return how many file descriptors it has open."""
        assert self.process is not None
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def resident(self) -> int:
        """Return the bytes of memory it occupies."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    # What it says

    def get(self, path: str) -> tuple[int, str]:
        """Ask it; (0, "") while nobody answers."""
        try:
            with urlopen(self.url + path, timeout=PATIENCE) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except URLError as error:
            body = getattr(error, "read", None)
            return getattr(error, "code", 0), body().decode() if body else ""
        except (OSError, ValueError):
            return 0, ""

    def log(self) -> str:
        """Return what it logged so far: warnings and worse."""
        return (self.folder / "log").read_text()

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Look until a condition holds."""
        until(condition, seconds, story=self.log)

    # What it keeps

    @property
    def store(self) -> Path:
        """The file of its store."""
        return self.folder / ".knell" / "knell.db"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into the store, without a write."""
        if not self.store.exists():
            return []
        connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=PATIENCE)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def unfinished(self) -> int:
        """Return how many deliveries have not ended."""
        return int(self.rows("SELECT count(*) FROM delivery WHERE state < 4")[0][0])

    def drain(self, patience: float = PATIENCE) -> bool:
        """Wait until no delivery is unfinished; False once nothing has moved for `patience` seconds."""
        never, before, moved = Event(), -1, time.monotonic()
        while (now := self.unfinished()) and time.monotonic() < moved + patience:
            if now != before:
                before, moved = now, time.monotonic()
            never.wait(0.05)
        return now == 0


def _section(given: str | Mapping[str, Any]) -> dict[str, Any]:
    more = {"url": given} if isinstance(given, str) else given
    return {"type": "webhook", "events": ["*"], **more}
