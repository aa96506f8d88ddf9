import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from knell.actors.nodes import Circuit, Node, Survey
from knell.actors.policy.breaker import Phase
from knell.actors.policy.restart import Status
from knell.cli.branches import lines
from knell.cli.main import cli
from knell.cli.remote import Remote
from tests.waiting import until

CRASHER = """
from knell.channels.base import Channel, Delivered


class Crasher(Channel):
    async def send(self, message):
        raise RuntimeError("a bug \\x1b[31m in red")
"""


def circuit(**fields: Any) -> Circuit:
    """Return a circuit that holds nothing back but what a test says."""
    given: dict[str, Any] = {"phase": Phase.CLOSED, "in_flight": 0, **fields}
    return Circuit(**given)


def channel(name: str, status: Status = Status.RUNNING, **fields: Any) -> Node:
    """Return a channel's actor."""
    given: dict[str, Any] = {"circuit": circuit(), "handled": 7, **fields}
    return Node(name=name, path=f"channels/{name}", status=status, **given)


def system(*channels: Node, zombies: int = 0, dead: int = 0) -> Survey:
    """Return a system with these channels."""
    parts = (
        Node(name="outbox", path="outbox", status=Status.RUNNING, handled=1234, busy_seconds=0.25),
        Node(name="channels", path="channels", status=Status.RUNNING, supervisor=True, children=channels),
        Node(name="router", path="router", status=Status.RUNNING, mailbox=50_000, busy_seconds=75.0),
    )
    root = Node(name="root", path="", status=Status.RUNNING, supervisor=True, children=parts)
    return Survey(root, zombies, dead)


def shown(seen: Survey, encoding: str = "utf-8") -> list[str]:
    """Return the lines without their colours."""
    return [re.sub(r"\x1b\[\d+m", "", line) for line in lines(seen, encoding)]


def test_a_tree_in_every_state_at_a_glance() -> None:
    """A line for each actor, aligned; what it crashed with is under its name; the sums are at the end."""
    seen = system(
        channel("slack"),
        channel("pager", Status.DEGRADED, mailbox=2, restarts=6, again_seconds=41.2, error="OSError('no')"),
        channel("sms", Status.RESTARTING, restarts=1, again_seconds=0.4),
        channel("mail", circuit=circuit(phase=Phase.OPEN, probe_seconds=150.0)),
        channel("hook", circuit=circuit(phase=Phase.HALF_OPEN, in_flight=1)),
        channel("gone", Status.UNDEFINED, circuit=circuit(phase=Phase.DISABLED)),
        zombies=1,
        dead=1234,
    )
    assert shown(seen) == [
        "ACTOR          STATE       MAILBOX  HANDLED  RESTARTS  IN HAND",
        "root           running           0        0         0        -",
        "├── outbox     running           0    1,234         0    0.2 s",
        "├── channels   running           0        0         0        -",
        "│   ├── slack  running           0        7         0        -  breaker closed",
        "│   ├── pager  degraded          2        7         6        -  again in 41 s, breaker closed",
        "│   │   last crash: OSError('no')",
        "│   ├── sms    restarting        0        7         1        -  again in 0.4 s, breaker closed",
        "│   ├── mail   running           0        7         0        -  breaker open (probe in 2 min)",
        "│   ├── hook   running           0        7         0        -  breaker half open, 1 in flight",
        "│   └── gone   stopped           0        7         0        -  breaker disabled",
        "└── router     running      50,000        0         0     75 s",
        "",
        "1 zombie, 1,234 dead letters",
    ]


def test_what_holds_a_channel_back_is_told() -> None:
    """A pause its provider asked for, its rate limit, and whether its fallback has taken over."""
    held = circuit(paused_seconds=7300.0, limited_seconds=12.0, diverted=True)
    assert shown(system(channel("a", circuit=held)))[4].partition("breaker closed, ")[2] == (
        "paused by the provider for 2 h, rate limit for 12 s, fallback gets its deliveries"
    )


def test_colours_point_at_what_is_wrong() -> None:
    """Green runs, yellow waits, red needs somebody."""
    seen = system(
        channel("a", Status.DEGRADED, error="oh"), channel("b", circuit=circuit(phase=Phase.OPEN)), dead=2
    )
    told = "\n".join(lines(seen, "utf-8"))
    assert "\x1b[32mrunning\x1b[0m" in told
    assert "\x1b[31mdegraded\x1b[0m" in told
    assert "\x1b[31mlast crash: oh\x1b[0m" in told
    assert "\x1b[31mbreaker open (probe with the next delivery)\x1b[0m" in told
    assert "\x1b[33m2 dead letters\x1b[0m" in told


def test_an_error_is_text_to_the_terminal() -> None:
    """It is whatever a third party's exception says of itself."""
    told = shown(system(channel("a", error="two\nlines \x1b[2J\u202e é")))
    assert "│   └── a" in told[4]
    assert told[5] == "│       last crash: two\\nlines \\x1b[2J\\u202e é"


def test_a_terminal_without_branches_gets_plain_ones() -> None:
    """No encoding makes the command fail."""
    told = shown(system(channel("a", error="é")), "ascii")
    assert [re.split("  +r", line)[0] for line in told[1:7]] == [
        *("root", "|-- outbox", "|-- channels", "|   `-- a", "|       last crash: \\xe9", "`-- router")
    ]


def test_the_tree_of_a_running_service(
    serve: Callable[..., Any],
    run: Callable[..., Any],
    configure: Callable[..., None],
    folder: Path,
) -> None:
    """Text for people, without colours where no terminal is; JSON for programs, with the same in it."""
    (folder / "crasher.py").write_text(CRASHER)
    configure(
        probe={"type": "probe:Probe", "events": ["*"]},
        crasher={"type": "crasher:Crasher", "events": ["job_failed"]},
    )
    service = serve()
    for _ in range(3):  # each is a dead letter after three crashes: two are enough
        assert run("send", "job_failed", "--title", "x", "--url", service.url).returncode == 0

    def crashed() -> Any:
        seen = json.loads(run("tree", "--json", KNELL_URL=service.url).stdout)
        channels = {node["name"]: node for node in seen["root"]["children"][1]["children"]}
        return (seen, channels) if channels["crasher"]["status"] == "degraded" else None

    seen, channels = until(crashed)
    assert [node["path"] for node in seen["root"]["children"]] == ["outbox", "channels", "router"]
    assert channels["probe"]["status"] == "running"
    assert channels["crasher"]["error"] == "RuntimeError('a bug \\x1b[31m in red')"
    assert 0 < channels["crasher"]["again_seconds"] <= 60
    told = run("tree", "--url", service.url)
    assert (told.returncode, told.stderr) == (0, "")
    assert "\x1b" not in told.stdout
    assert re.search(r"crasher +degraded .* again in \d", told.stdout)
    assert re.search(r"probe +running +0 +\d+ +0 +-  breaker closed\n", told.stdout)
    assert told.stdout.splitlines()[-1] == "no zombies, no dead letters"


def test_the_service_is_found_by_the_configuration(
    serve: Callable[..., Any], run: Callable[..., Any], folder: Path
) -> None:
    """Address and token are the ones of `http`; what else is in the file may be broken from here."""
    service = serve()
    port = service.url.rpartition(":")[2]
    path = folder / "config" / "notifications.yaml"
    path.write_text(
        f"http: {{listen: '0.0.0.0:{port}'}}\nslack: {{webhook_url: '${{ONLY_THE_SERVICE_HAS_IT}}'}}"
    )
    assert "router" in run("tree").stdout
    assert "router" in run("tree", "--config", str(path)).stdout
    path.write_text("http: {listen: '127.0.0.1:0'}")
    told = run("tree")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "Error: http.listen names no fixed port; use the --url that 'knell run' prints\n"
    path.write_text("http: {lissten: '127.0.0.1:1'}")
    told = run("tree")
    assert (told.returncode, told.stdout) == (78, "")
    assert "did you mean 'listen'?" in told.stderr


def test_the_token_is_the_configurations(
    serve: Callable[..., Any], run: Callable[..., Any], folder: Path
) -> None:
    """Whoever can read the file may look; a token that is given wins."""
    path = folder / "config" / "notifications.yaml"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "http": {"tokens": ["${TREE_TOKEN:-abc}"]}}))
    service = serve()
    port = service.url.rpartition(":")[2]
    http = {"listen": f"127.0.0.1:{port}", "tokens": ["${TREE_TOKEN:-abc}"]}
    path.write_text(json.dumps({**settings, "http": http}))
    assert "router" in run("tree").stdout
    told = run("tree", "--token", "wrong")
    assert (told.returncode, told.stdout) == (1, "")
    assert "answered 401" in told.stderr


def test_without_a_service_it_says_so(folder: Path) -> None:
    """Exit code 1, and where nobody was."""
    del folder
    result = CliRunner().invoke(cli, ["tree", "--url", "http://127.0.0.1:1"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: nothing listens at http://127.0.0.1:1; is 'knell run' running there?\n"


def test_a_url_and_a_configuration_are_one_too_many() -> None:
    """Wrong usage: only one of them can say where the service is."""
    result = CliRunner().invoke(cli, ["tree", "--url", "http://127.0.0.1:1", "--config", "x"])
    assert result.exit_code == 2
    assert "--config is of no use with a --url" in result.stderr


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_that_want_it(
    no_color: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """`NO_COLOR` takes it away where it would be."""
    del folder
    monkeypatch.setenv("NO_COLOR", no_color)
    seen = system(channel("a"))

    def tree(_: Remote) -> Survey:
        return seen

    monkeypatch.setattr(Remote, "tree", tree)
    colour: dict[str, Any] = {} if no_color else {"color": True}
    result = CliRunner().invoke(cli, ["tree", "--url", "http://127.0.0.1:1"], **colour)
    assert ("\x1b[32mrunning" in result.stdout) is (no_color == "")
