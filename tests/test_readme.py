"""What the README shows works as it is written."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from knell.cli.main import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(code: str, cwd: Path) -> str:
    """Run a piece of Python in a folder, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own README
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pager() -> Iterator[tuple[str, list[str]]]:
    """Return the address of a server that takes every POST, and the paths it was sent to."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_embedding_example_runs(tmp_path: Path) -> None:
    """The lines under "Embed it" start a system from the shipped configuration and deliver an event."""
    shutil.copytree(ROOT / "config", tmp_path / "config", ignore=shutil.ignore_patterns("*.py"))
    first, second = blocks("python")[:2]
    tail = "\n".join(
        f"    {line}" for line in ["event = E", *second.splitlines(), "print(receipt.results(9))"]
    )
    event = 'E = knell.NotificationEvent(event_type="job_failed", source="ci", title="t")\n'
    printed = run(first.replace("\n\n", f"\n\n{event}", 1) + tail, tmp_path)
    assert "success=True" in printed


def test_the_channel_example_delivers(tmp_path: Path, pager: tuple[str, list[str]]) -> None:
    """The channel under "Add a channel" works when it is copied, with nothing but its section."""
    address, paths = pager
    code = next(block for block in blocks("python") if "class Pager" in block)
    (tmp_path / "yours.py").write_text(code.replace("https://pager.example", address), encoding="utf-8")
    config = yaml.safe_load(next(block for block in blocks("yaml") if "yours:Pager" in block))
    config["security"] = {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}
    config["store"] = {"url": f"sqlite:///{tmp_path}/knell.db"}
    printed = run(
        "import knell\n"
        f"with knell.start({config!r}) as manager:\n"
        '    event = knell.NotificationEvent(event_type="job_failed", source="ci", title="t")\n'
        "    print(manager.notify_and_wait(event, 30))\n",
        tmp_path,
    )
    assert "success=True" in printed
    assert paths == ["/42"]


def test_the_routing_example_is_valid() -> None:
    """The rule shown is one the configuration takes."""
    config = yaml.safe_load(next(block for block in blocks("yaml") if "event_routing" in block))
    config["channels"] = {name: {"type": "console"} for name in ("slack", "email", "sms")}
    printed = run(f"from knell.assembly import read\nprint(read({config!r}).event_routing[0].name)", ROOT)
    assert printed == f"{config['event_routing'][0]['name']}\n"


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "config/notifications.yaml", "docs/templates.md"]
)
def test_only_commands_that_exist_are_spoken_of(name: str) -> None:
    """What a text tells its reader to type is there to be typed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    assert set(re.findall(r"^`?knell ([a-z]+)", code, re.MULTILINE)) <= set(cli.commands)
