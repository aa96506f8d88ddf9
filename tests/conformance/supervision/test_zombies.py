import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import knell
from knell.actors.policy.restart import Intensity
from tests.deeds import Puppets, nested
from tests.puppets import PATIENCE, Gate

PATIENT = Intensity(100, 60.0)
GAVE_UP = 70
"""EX_SOFTWARE of sysexits.h."""

STUCK = '''
"""A third-party channel with a bug: it blocks for ever in code that runs on its actor's own thread."""

import threading

from knell.channels.base import Channel, Delivered


class Stuck(Channel):
    def fit(self, message):
        threading.Event().wait()

    async def send(self, message):
        return Delivered()
'''


@pytest.mark.parametrize("host", [1], indirect=True)
@pytest.mark.parametrize("deep", [False, True], ids=["flat", "nested"])
def test_55_too_many_hung_threads_end_the_root(tree: Any, puppet: Puppets, gate: Gate, *, deep: bool) -> None:
    """However deep they hang: no restart of a supervisor in between brings a thread back.

    Origin: pykka, where hung threads gather in silence.
    """
    hung = puppet("a", hang_after=0.02)
    spec = nested("inner", hung, supervision={"intensity": PATIENT}) if deep else hung
    tree.start(spec, puppet("b"), intensity=PATIENT)
    ref = (tree.cell("inner").children["a"] if deep else tree.cell("a")).actor_ref
    ref.tell(gate)
    assert tree.ref("b").ask("one is no reason", timeout=PATIENCE) == "one is no reason"
    ref.tell(gate)
    events = [tree.event("escalated") for _ in range(1 + deep)]
    assert [event.actor for event in events] == ["inner", ""][-len(events) :]
    assert {event.detail for event in events} == {"2 hung threads, more than 1"}
    assert tree.root.closed.wait(PATIENCE)
    assert not ref.is_alive()


@pytest.mark.parametrize("host", [0], indirect=True)
def test_55_a_child_that_does_not_stop_counts_too(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """Its thread was given up at its deadline; the operator who stopped it is told what follows.

    Origin: pykka, where a stop that times out leaves the thread behind.
    """
    control = tree.start(puppet("a", shutdown=0.02))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    with pytest.raises(Exception, match="1 hung threads, more than 0"):
        control.terminate_child("a")
    assert tree.root.closed.wait(PATIENCE)


@pytest.fixture
def service(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A running `knell run` whose only channel hangs, and which may have no hung thread."""
    (tmp_path / "stuck.py").write_text(STUCK)
    settings = {
        "channels": {"stuck": {"type": "stuck:Stuck", "events": ["*"]}},
        "supervision": {"max_zombies": 0, "children": {"stuck": {"hang_after_seconds": 0.2}}},
    }
    (tmp_path / "knell.yaml").write_text(json.dumps(settings))  # JSON is YAML too
    environ = {name: text for name, text in os.environ.items() if not name.startswith("KNELL_")}
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(knell.__file__).parents[1])])
    command = [sys.executable, "-m", "knell", "run", "--config", "knell.yaml", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [*command, "--log-format", "json"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_55_the_process_ends_with_a_clear_message(service: "subprocess.Popen[str]") -> None:
    """Exit code 70 and a line that says why, while the hung thread still hangs.

    Origin: pykka, whose process hangs with its thread.
    """
    assert service.stderr is not None
    started = service.stderr.readline()
    assert " listens on " in started
    url = started.split(" listens on ")[1].split()[0]
    sent = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "knell", "send", "job_failed", "--title", "anything", "--url", url],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
    )
    assert sent.returncode == 0, sent.stderr
    log, _ = service.communicate(timeout=PATIENCE * 2)
    assert service.returncode == GAVE_UP
    (failed,) = [line for line in map(json.loads, log.splitlines()) if line["event"] == "system.failed"]
    assert failed["level"] == "critical"
    assert failed["error"] == "1 hung threads, more than 0"
