"""One channel fails in every way it can, and nobody else notices."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.actors.receipt import Receipt
from knell.actors.tree import survey
from knell.events import EventType
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

Run = Callable[..., Watched]
AT_ONCE = {"min_seconds": 0, "max_seconds": 0}
DEGRADED = {"max_restarts": 1, "backoff": AT_ONCE, "children": {"bad": {"attempts": 100}}}
ALERT = "Channel bad crashes and was degraded"


def channels(watched: Watched) -> dict[str, Any]:
    """Return the channels as the tree shows them."""
    root = survey(watched.manager.system.root).root
    return {node.name: node for node in root.children[1].children}


def test_a_degraded_channel_is_alone(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """It is marked down and says why; its deliveries wait; people are told elsewhere; others go on."""
    bad, good = make_stage(), make_stage()
    bad.crashing.set()
    watched = run_system(
        {"bad": bad.section(concurrency=1), "good": good.section()},
        supervision={**DEGRADED, "cooldown_seconds": 3600},
    )
    watched.tell("first")
    watched.event("degraded", "channels/bad")
    watched.tell("second", "third")
    assert {good.next_sent() for _ in range(4)} == {"first", ALERT, "second", "third"}
    node = channels(watched)["bad"]
    assert (node.status, node.error) == ("degraded", "RuntimeError('a bug')")
    assert 3500 < node.again_seconds <= 3600
    assert channels(watched)["good"].status == "running"
    assert watched.metric("knell_actor_up", actor="channels/bad") == 0
    assert watched.metric("knell_actor_up", actor="channels/good") == 1
    assert watched.metric("knell_actor_restarts_total", actor="channels/good") == 0
    assert watched.metric("knell_pending", channel="bad") == 3, "the alert is not among what waits"
    assert watched.metric("knell_suppressed_total", channel="bad", reason="about_itself") == 1
    assert not watched.manager.health().healthy
    assert bad.sent.empty()


def test_the_alert_is_an_event_like_any_other(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """Rules may route it by type; one that names the channel itself does not reach it."""
    bad, good = make_stage(), make_stage()
    bad.crashing.set()
    watched = run_system(
        {"bad": bad.section(), "good": good.section(events=["system_alert"])},
        event_routing=[
            {"name": "alerts", "event_types": [EventType.SYSTEM_ALERT], "channels": ["bad", "good"]}
        ],
        supervision={**DEGRADED, "cooldown_seconds": 3600},
    )
    watched.tell("first")
    assert good.next_sent() == ALERT
    watched.event("degraded", "channels/bad")
    assert ALERT not in list(bad.tried.queue)


def test_it_is_tried_again_and_delivers_what_waited(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """After the cool-down, each once; the slate is clean."""
    bad, good = make_stage(), make_stage()
    bad.crashing.set()
    watched = run_system(
        {"bad": bad.section(concurrency=1), "good": good.section()},
        supervision={**DEGRADED, "cooldown_seconds": 0.3},
    )
    titles = [f"event {number}" for number in range(20)]
    watched.tell(*titles)
    watched.event("degraded", "channels/bad")
    bad.crashing.clear()
    watched.event("restarted", "channels/bad")
    assert sorted(bad.next_sent() for _ in titles) == sorted(titles)
    assert {good.next_sent() for _ in range(21)} == {*titles, ALERT}
    watched.tell("after")
    assert bad.next_sent() == "after"
    assert channels(watched)["bad"].status == "running"
    assert watched.metric("knell_actor_up", actor="channels/bad") == 1


def test_its_fallback_takes_over(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """For what waits and for what comes, until it works again; then it delivers its own once more."""
    bad, spare = make_stage(), make_stage()
    bad.crashing.set()
    watched = run_system(
        {"bad": bad.section(concurrency=1, fallback=["spare"]), "spare": spare.section(events=["pr_closed"])},
        supervision={**DEGRADED, "cooldown_seconds": 0.3},
    )
    watched.tell("waits")
    watched.event("degraded", "channels/bad")
    assert spare.next_sent() == "waits"
    bad.crashing.clear()
    watched.event("restarted", "channels/bad")
    assert bad.next_sent() == "waits"
    watched.tell("after")
    assert bad.next_sent() == "after"
    watched.manager.stop()
    assert spare.sent.empty()


@pytest.mark.parametrize("how", ["disabled", "removed"])
def test_a_degraded_channel_may_be_taken_away(
    run_system: Run, make_stage: Callable[[], Stage], how: str
) -> None:
    """When it comes back it is as good as new: its fallback gets nothing more."""
    bad, spare = make_stage(), make_stage()
    bad.crashing.set()
    sections = {
        "bad": bad.section(concurrency=1, fallback=["spare"]),
        "spare": spare.section(events=["pr_closed"]),
    }
    watched = run_system(sections, supervision={**DEGRADED, "cooldown_seconds": 3600})
    watched.tell("waits")
    assert spare.next_sent() == "waits"
    bad.crashing.clear()
    manager, given = watched.manager, {"store": {"url": watched.manager.config.store.url}}
    if how == "disabled":
        manager.disable_channel("bad")
        manager.enable_channel("bad")
    else:
        manager.update_config({"channels": {"spare": sections["spare"]}, **given})
        manager.update_config({"channels": sections, **given})
    assert bad.next_sent() == "waits"
    (result,) = manager.notify_and_wait(event("after"), PATIENCE)
    assert (result.channel, result.success) == ("bad", True)
    manager.stop()
    assert spare.sent.empty()


# Providers that freeze

MANY = 300

RECEIVER = """
import http.server, sys

class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
"""


def webhook(port: int) -> dict[str, Any]:
    """Return the section of a webhook on this machine."""
    return {
        "type": "webhook",
        "url": f"http://127.0.0.1:{port}/",
        "events": ["*"],
        "timeout_seconds": 600,
        "concurrency": 8,
    }


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections, and never reads or writes."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A receiver of webhooks as a process of its own, and its port."""
    (tmp_path / "receiver.py").write_text(RECEIVER)
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, str(tmp_path / "receiver.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.send_signal(signal.SIGCONT)
        process.kill()


def settings(**more: Any) -> dict[str, Any]:
    """Return what lets webhooks reach this machine."""
    return {"security": {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}, **more}


def check_others_deliver(watched: Watched, others: list[Stage], frozen: str) -> list[Receipt]:
    """Send many events and insist that everybody but one channel delivers them all; return the receipts."""
    titles = [f"event {number}" for number in range(MANY)]
    receipts = [watched.manager.notify(event(title)) for title in titles]
    for other in others:
        assert {other.next_sent() for _ in titles} == set(titles)
    assert watched.metric("knell_pending", channel=frozen) == MANY
    assert watched.metric("knell_actor_up", actor=f"channels/{frozen}") == 1
    for path in ("outbox", "router", "channels"):
        assert watched.metric("knell_actor_restarts_total", actor=path) == 0
    return receipts


def test_a_provider_that_never_answers(run_system: Run, make_stage: Callable[[], Stage], silent: int) -> None:
    """It takes the connection and no more, as a stopped process does."""
    others = [make_stage(), make_stage()]
    sections = {f"other{number}": stage.section() for number, stage in enumerate(others)}
    watched = run_system({"frozen": webhook(silent), **sections}, **settings())
    check_others_deliver(watched, others, "frozen")
    assert channels(watched)["frozen"].circuit.in_flight == 8
    watched.manager.stop(0.2)


def test_a_provider_that_is_stopped_and_goes_on(
    run_system: Run, make_stage: Callable[[], Stage], receiver: tuple["subprocess.Popen[str]", int]
) -> None:
    """A real process under SIGSTOP; when it goes on, it gets everything that waited."""
    process, port = receiver
    others = [make_stage(), make_stage()]
    sections = {f"other{number}": stage.section() for number, stage in enumerate(others)}
    watched = run_system({"frozen": webhook(port), **sections}, **settings())
    (result, *_) = watched.manager.notify_and_wait(event("warm"), PATIENCE)
    assert result.success
    assert [other.next_sent() for other in others] == ["warm", "warm"]
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    receipts = check_others_deliver(watched, others, "frozen")
    assert all(receipt.open for receipt in receipts)
    process.send_signal(signal.SIGCONT)
    assert all(result.success for receipt in receipts for result in receipt.results(PATIENCE))


def test_an_actor_that_hangs_again_and_again(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """Its threads are given up one after the other; the others deliver all that comes meanwhile."""
    bad, good = make_stage(), make_stage()
    bad.hanging.set()
    watched = run_system(
        {"bad": bad.section(concurrency=1), "good": good.section()},
        supervision={
            "max_restarts": 1,
            "cooldown_seconds": 3600,
            "backoff": AT_ONCE,
            "children": {"bad": {"hang_after_seconds": 0.05}},
        },
    )
    titles = [f"event {number}" for number in range(MANY)]
    teller = threading.Thread(target=watched.tell, args=titles)
    teller.start()
    watched.event("degraded", "channels/bad")
    teller.join(PATIENCE)
    assert {good.next_sent() for _ in range(MANY + 1)} == {*titles, ALERT}
    assert watched.metric("knell_zombie_threads") == 2
    assert watched.metric("knell_actor_up", actor="channels/bad") == 0
