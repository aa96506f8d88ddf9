import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_sigterm_ends_what_is_under_way_and_loses_nothing(
    serve: Callable[..., Any], run: Run, folder: Path
) -> None:
    """Not ready at once, no event taken any more, the delivery under way delivered, exit code 0."""
    service = serve()
    sent = run("send", "job_failed", "--title", "gate", "--event-id", "e1", "--url", service.url)
    assert (sent.returncode, sent.stdout) == (0, "e1\n")
    until(lambda: '"state":"sending"' in service.get("/v1/events/e1")[1])
    service.signal(signal.SIGTERM)
    until(lambda: service.get("/readyz") == (503, "not ready: draining\n"))
    assert service.get("/livez")[0] == 200
    refused = run("send", "job_failed", "--title", "late", "--url", service.url)
    assert refused.returncode == 1
    assert "answered 503: the service is draining" in refused.stderr
    (folder / "gate").touch()
    assert service.wait() == 0
    store = sqlite3.connect(folder / ".knell" / "knell.db")
    assert store.execute("SELECT count(*) FROM event").fetchone() == (1,)
    assert store.execute("SELECT state, attempts FROM delivery").fetchall() == [(4, 1)]
    store.close()


def test_a_second_signal_ends_at_once_and_loses_nothing(
    serve: Callable[..., Any], run: Run, folder: Path
) -> None:
    """The delivery that hangs is on disk, and goes out after the next start."""
    service = serve()
    run("send", "job_failed", "--title", "gate", "--event-id", "e1", "--url", service.url)
    until(lambda: '"state":"sending"' in service.get("/v1/events/e1")[1])
    service.signal(signal.SIGINT)
    until(lambda: service.get("/readyz")[0] == 503)
    service.signal(signal.SIGINT)
    assert service.wait() == 1
    assert service.lines["stderr"][-1].startswith("stopped at once")
    (folder / "gate").touch()
    again = serve()
    until(lambda: '"state":"done"' in again.get("/v1/events/e1")[1])
    again.signal(signal.SIGTERM)
    assert again.wait() == 0


def test_sighup_takes_over_the_file_or_leaves_it(
    serve: Callable[..., Any],
    configure: Callable[..., None],
    folder: Path,
) -> None:
    """A channel more; then a broken file, which changes nothing and is told."""
    service = serve()
    probe = {"type": "probe:Probe", "events": ["*"]}
    configure(probe=probe, second=probe)
    service.signal(signal.SIGHUP)
    until(lambda: "[+]channels/second ok" in service.get("/readyz?verbose")[1])
    (folder / "config" / "notifications.yaml").write_text("channels: [")
    service.signal(signal.SIGHUP)
    assert "config/notifications.yaml:1:11: " in service.line("stdout", "config.rejected")
    assert "knell_config_last_reload_successful 0.0" in service.get("/metrics")[1]
    assert "[+]channels/second ok" in service.get("/readyz?verbose")[1]


def test_what_it_says(serve: Callable[..., Any], run: Run) -> None:
    """One line for people on stderr; the log on stdout, JSON when that is no terminal."""
    service = serve()
    assert service.line("stderr", "knell ") == (
        f"knell 0.1.0 listens on {service.url} with config/notifications.yaml; channels: probe"
    )
    run("send", "job_failed", "--title", "x", "--wait", "--url", service.url)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    events = [json.loads(line)["event"] for line in service.lines["stdout"]]
    assert events.index("event.accepted") < events.index("delivery.delivered")
    assert events.count("actor.started") == events.count("actor.stopped") == 4


def test_its_log_can_be_chosen(serve: Callable[..., Any]) -> None:
    """Plain lines for a person, and nothing below a level."""
    service = serve("--log-format", "console", "--log-level", "error")
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    assert service.lines["stdout"] == []


def _started(folder: Path, environ: dict[str, str], stdout: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "knell", "run", *arguments],
        cwd=folder,
        env=environ,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_reader_of_its_log_that_goes_away_does_no_harm(
    folder: Path, environ: dict[str, str], run: Run
) -> None:
    """As in `knell run | head -1`: the log is lost, events are not."""
    read, write = os.pipe()
    with _started(folder, environ, write, "--listen", "127.0.0.1:0") as process:
        os.close(write)
        assert process.stderr is not None
        url = process.stderr.readline().split(" listens on ")[1].split()[0]
        os.close(read)
        sent = [run("send", "job_failed", "--title", "x", "--wait", "--url", url) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [(result.returncode, result.stdout[:16]) for result in sent] == [(0, "probe  delivered")] * 2


def test_a_wrong_configuration_starts_nothing(run: Run, folder: Path) -> None:
    """Every problem on stderr, exit code 78, no store."""
    (folder / "config" / "notifications.yaml").write_text("chanels: {}\nlocale: fr\n")
    result = run("run")
    assert (result.returncode, result.stdout) == (78, "")
    assert "config/notifications.yaml:1:1: unknown key 'chanels', did you mean 'channels'?" in result.stderr
    assert "config/notifications.yaml:2:9: expected 'en' or 'ja'" in result.stderr
    assert not (folder / ".knell").exists()


def test_a_door_open_to_others_is_a_wrong_configuration(run: Run, folder: Path) -> None:
    """Without tokens it listens on loopback only."""
    result = run("run", "--listen", "0.0.0.0:0")
    assert result.returncode == 78
    assert "set http.tokens, or listen on 127.0.0.1" in result.stderr
    assert not (folder / ".knell").exists()


def test_a_port_in_use_is_told(run: Run, folder: Path) -> None:
    """Exit code 1, and no actor was started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("run", "--listen", f"127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert not (folder / ".knell").exists()


def test_a_store_in_use_is_told_with_its_owner(serve: Callable[..., Any], run: Run) -> None:
    """Two services must not share a store; the process that has it is named."""
    service = serve()
    result = run("run", "--listen", "127.0.0.1:0")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: store .knell/knell.db: process {service.process.pid} is using it"
    )


@pytest.mark.parametrize("listen", ["8321", "localhost", "127.0.0.1:99999"])
def test_a_malformed_address_is_wrong_usage(run: Run, listen: str) -> None:
    """Exit code 2, with the form that is right."""
    result = run("run", "--listen", listen)
    assert result.returncode == 2
    assert "--listen: expected host:port, such as 127.0.0.1:8321" in result.stderr


def test_when_the_root_gives_up_the_process_ends(serve: Callable[..., Any], run: Run, folder: Path) -> None:
    """Exit code 70: whoever supervises the process starts it anew."""
    (folder / "probe.py").write_text(
        (folder / "probe.py").read_text()
        + """
from knell.actors.router import Router

route = Router.on_batch


def poisoned(router, messages):
    if any(getattr(getattr(m, "sealed", None), "event", m).title == "poison" for m in messages):
        raise RuntimeError("poisoned")
    route(router, messages)


Router.on_batch = poisoned
"""
    )
    config = folder / "config" / "notifications.yaml"
    config.write_text(json.dumps({**json.loads(config.read_text()), "supervision": {"max_restarts": 0}}))
    service = serve()
    run("send", "job_failed", "--title", "poison", "--url", service.url)
    assert service.wait() == 70
    assert "system.failed" in service.line("stdout", "system.failed")


def test_http_can_be_switched_off(folder: Path, environ: dict[str, str]) -> None:
    """A service that only has sources of its own needs no port."""
    config = folder / "config" / "notifications.yaml"
    config.write_text(json.dumps({**json.loads(config.read_text()), "http": {"enabled": False}}))
    with _started(folder, environ, subprocess.DEVNULL) as process:
        assert process.stderr is not None
        assert "runs without HTTP with config/notifications.yaml" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
