import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from click.testing import CliRunner, Result

from knell.cli.main import cli
from knell.cli.remote import Remote
from knell.errors import KnellError
from knell.events import NotificationEvent, seal
from knell.messages import DeliveryResult

Run = Callable[..., subprocess.CompletedProcess[str]]
CRASHER = """
from knell.channels.base import Channel


class Crasher(Channel):
    async def send(self, message): raise RuntimeError("a bug \\x1b[31m in red")
"""

PROBE = {"type": "probe:Probe", "events": ["*"]}


def invoke(*arguments: str) -> Result:
    """Run `knell send` in this process."""
    return CliRunner().invoke(cli, ["send", *arguments])


# Through a system of its own


def test_it_delivers_through_a_system_of_its_own(run: Run) -> None:
    """The id on stdout, and on stderr what happened."""
    result = run("send", "job_failed", "--title", "ok", "--event-id", "e1")
    assert (result.returncode, result.stdout) == (0, "e1\n")
    first, second = result.stderr.splitlines()
    assert first == "accepted: job_failed 'ok'"
    assert second.startswith("probe  delivered in ")


def test_waiting_prints_a_line_per_channel(run: Run, configure: Callable[..., None]) -> None:
    """Exit code 1 when one of them failed."""
    configure(probe=PROBE, longer_name=PROBE)
    result = run("send", "job_failed", "--title", "refuse", "--wait")
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "probe        failed: refused: nobody lives here",
        "longer_name  failed: refused: nobody lives here",
    ]


def test_waiting_prints_json_for_programs(run: Run) -> None:
    """One object, with each DeliveryResult."""
    result = run("send", "job_failed", "--title", "ok", "--event-id", "e1", "--wait", "--json")
    answer = json.loads(result.stdout)
    assert (answer["id"], answer["duplicate"]) == ("e1", False)
    (delivered,) = msgspec.convert(answer["results"], list[DeliveryResult])
    assert (delivered.notification_id, delivered.channel, delivered.success) == ("e1", "probe", True)


def test_a_traceback_is_told_in_a_line(run: Run, folder: Path, configure: Callable[..., None]) -> None:
    """Its last one, which names the exception; what it says is text to the terminal. All of it is kept."""
    (folder / "crasher.py").write_text(CRASHER)
    configure(crasher={"type": "crasher:Crasher", "events": ["*"]})
    result = run("send", "job_failed", "--title", "x", "--wait", "--event-id", "e1")
    assert (result.returncode, result.stdout) == (
        1,
        "crasher  failed at attempt 3: crashed: RuntimeError: a bug \\x1b[31m in red\n",
    )
    told = run("dead", "show", "e1:crasher").stdout
    assert "the crash of try 3:\n  Traceback (most recent call last):\n" in told
    assert 'crasher.py", line 6, in send' in told
    assert "\x1b" not in told


def test_what_is_not_delivered_in_time_is_kept(run: Run, folder: Path) -> None:
    """It says so, and the next system with the same store sends it."""
    result = run("send", "job_failed", "--title", "gate", "--wait", "--timeout", "0.2")
    assert (result.returncode, result.stdout) == (1, "probe  not delivered yet\n")
    assert (
        "probe: kept in .knell/knell.db, sent by the next 'knell run' or 'knell send' with it"
        in result.stderr
    )
    (folder / "gate").touch()
    assert run("send", "job_failed", "--title", "ok", "--wait").returncode == 0


def test_an_event_for_nobody_is_told_with_the_reason(run: Run, configure: Callable[..., None]) -> None:
    """It is accepted; no channel gets it, and why."""
    configure(probe={**PROBE, "enabled": False}, other={**PROBE, "events": ["pr_created"]})
    result = run("send", "job_failed", "--title", "ok", "--wait")
    assert (result.returncode, result.stdout) == (0, "")
    assert "no channel gets it (probe: disabled, other: not routed)" in result.stderr


def test_a_store_in_use_leads_to_the_service(serve: Callable[..., Any], run: Run) -> None:
    """The one that uses it is probably the service, which takes events."""
    service = serve()
    result = run("send", "job_failed", "--title", "x")
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: store .knell/knell.db: process {service.process.pid} is using it; "
        "if that is 'knell run', send to it: --url http://127.0.0.1:8321\n"
    )


def test_a_wrong_configuration_is_told_in_full(run: Run, folder: Path) -> None:
    """Exit code 78."""
    (folder / "config" / "notifications.yaml").write_text("chanels: {}")
    result = run("send", "job_failed", "--title", "x")
    assert result.returncode == 78
    assert "unknown key 'chanels', did you mean 'channels'?" in result.stderr


# Through a service


def test_it_delivers_through_a_service(serve: Callable[..., Any], run: Run) -> None:
    """The same lines and exit codes, from wherever."""
    service = serve()
    sent = run("send", "job_failed", "--title", "ok", "--event-id", "e1", KNELL_URL=service.url + "/")
    assert (sent.returncode, sent.stdout) == (0, "e1\n")
    assert sent.stderr == f"accepted by {service.url}/: job_failed 'ok'\n"
    waited = run("send", "job_failed", "--title", "refuse", "--wait", "--url", service.url)
    assert (waited.returncode, waited.stdout) == (1, "probe  failed: refused: nobody lives here\n")
    late = run("send", "job_failed", "--title", "hang", "--wait", "--timeout", "0.2", "--url", service.url)
    assert (late.returncode, late.stdout) == (1, "probe  not delivered yet\n")
    as_json = run("send", "job_failed", "--title", "ok", "--wait", "--json", "--url", service.url)
    (delivered,) = json.loads(as_json.stdout)["results"]
    assert (as_json.returncode, delivered["success"], delivered["reason"]) == (0, True, "delivered")


def test_a_token_is_sent_and_a_missing_one_told(serve: Callable[..., Any], run: Run, folder: Path) -> None:
    """`--token` or KNELL_TOKEN."""
    config = folder / "config" / "notifications.yaml"
    config.write_text(json.dumps({**json.loads(config.read_text()), "http": {"tokens": ["t0ken"]}}))
    service = serve()
    refused = run("send", "job_failed", "--title", "x", "--url", service.url)
    assert refused.returncode == 1
    assert "answered 401: send a token of http.tokens" in refused.stderr
    assert run("send", "x", "--title", "x", "--url", service.url, KNELL_TOKEN="t0ken").returncode == 0


def test_nothing_listens(folder: Path) -> None:
    """A sentence and the likely cause, instead of nothing and an exit code."""
    del folder
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    result = invoke("x", "--title", "x", "--url", url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: nothing listens at {url}; is 'knell run' running there?\n"


@contextmanager
def answering(status: int, body: bytes, tls: ssl.SSLContext | None = None) -> Generator[str]:
    """A server that gives every request the same answer; status 0 closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if status:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "answered something else than knell does"),
        (202, b'{"id": 7}', "answered something else than knell does"),
        (404, b"<html>", "answered 404 Not Found; is this knell?"),
        (500, b'["detail"]', "answered 500 Internal Server Error; is this knell?"),
        (0, b"", "with --event-id e1"),
        (
            422,
            b'{"detail": "two", "errors": [{"field": "a", "message": "b"}, {"field": "c", "message": "d"}]}',
            "answered 422: two\n  a: b\n  c: d",
        ),
    ],
)
def test_what_a_server_may_answer(status: int, body: bytes, words: str) -> None:
    """Whatever it is, the message says what to make of it."""
    event = NotificationEvent(event_type="x", source="s", title="t", event_id="e1")
    with answering(status, body) as url, pytest.raises(KnellError) as caught:
        Remote(url, None, 20).send(seal(event))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1:8321", "expected the URL of a service"),
        ("ftp://127.0.0.1", "expected the URL of a service"),
        ("http://", "expected the URL of a service"),
        ("http://127.0.0.1:99999", "out of range"),
        ("http://user:pw@127.0.0.1", "use --token"),
        ("http://127.0.0.1/?a=b", "expected the URL of a service"),
    ],
)
def test_what_is_no_url_of_a_service(url: str, words: str) -> None:
    """Told before anything is sent."""
    result = invoke("x", "--title", "x", "--url", url)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_token_that_cannot_be_sent_is_told() -> None:
    """A line break in it would begin another header."""
    with answering(202, b"{}") as url:
        result = invoke("x", "--title", "x", "--url", url, "--token", "a\nb")
    assert result.exit_code == 1
    assert "the request cannot be written" in result.stderr
    assert "a\nb" not in result.stderr


def test_https_to_a_plain_server_is_told() -> None:
    """The likely mistake is named."""
    with answering(202, b"{}") as url:
        result = invoke("x", "--title", "x", "--url", url.replace("http", "https"))
    assert result.exit_code == 1
    assert "does not speak TLS; is it http:// instead?" in result.stderr


def test_a_certificate_nobody_vouches_for_is_told() -> None:
    """Nothing is sent to whoever that is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate: Any = trustme.CA().issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    with answering(202, b"{}", context) as url:
        result = invoke("x", "--title", "x", "--url", url.replace("http", "https"))
    assert result.exit_code == 1
    assert "its certificate is not trusted: " in result.stderr


@pytest.mark.parametrize("host", ["knell.invalid", "no host", "a..b"])
def test_a_host_that_is_none_is_told(host: str) -> None:
    """In words, without a number of the resolver's."""
    result = invoke("x", "--title", "x", "--url", f"http://{host}")
    assert result.exit_code == 1
    assert result.stderr == f"Error: there is no host {host!r}\n"


# The flags


def test_the_flags_make_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts stay texts, unless := says JSON."""
    sent: list[NotificationEvent] = []

    def accept(_self: Remote, sealed: Any) -> Any:
        sent.append(sealed.event)
        raise KnellError("enough")

    monkeypatch.setattr(Remote, "send", accept)
    invoke(
        *("job_failed", "--title", "t", "--severity", "error", "--source", "ci", "--description", "d"),
        *("--meta", "n=7", "--meta", "m:=7", "--meta", "list:=[1, true]", "--meta", "url=http://x?a=b"),
        *("--link", "Log=https://ci/?a=b", "--link", "https://ci/?c=d", "--event-id", "e1"),
        *("--url", "http://127.0.0.1:9"),
    )
    (event,) = sent
    assert (event.event_type, event.title, event.severity) == ("job_failed", "t", "error")
    assert (event.source, event.description, event.event_id) == ("ci", "d", "e1")
    assert event.metadata == {"n": "7", "m": 7, "list": [1, True], "url": "http://x?a=b"}
    assert [(link.text, link.url) for link in event.links] == [
        ("Log", "https://ci/?a=b"),
        ("", "https://ci/?c=d"),
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["x"], "Missing option '--title'"),
        (["--title", "x"], "Missing argument 'TYPE'"),
        (["a b", "--title", "x"], "TYPE: expected letters, digits"),
        (["x", "--title", " "], "--title: expected text that is not blank"),
        (["x", "--title", "x", "--severity", "fatal"], "'fatal' is not one of 'info', 'warning'"),
        (["x", "--title", "x", "--event-id", "a b"], "--event-id: expected letters, digits"),
        (["x", "--title", "x", "--meta", "novalue"], "--meta novalue: expected KEY=VALUE or KEY:=JSON"),
        (["x", "--title", "x", "--meta", "=v"], "expected KEY=VALUE or KEY:=JSON"),
        (["x", "--title", "x", "--meta", "a=1", "--meta", "a=2"], "--meta a is given twice"),
        (["x", "--title", "x", "--meta", "a:=1.2.3"], "what follows := is no JSON"),
        (["x", "--title", "x", "--link", "text"], "--link text: expected TEXT=URL or a URL"),
        (["x", "--title", "x", "--timeout", "0"], "0 is not in the range"),
        (["x", "--title", "x", "--url", "http://h", "--config", "c"], "the service's business"),
    ],
)
def test_wrong_usage_names_the_flag(flags: list[str], words: str) -> None:
    """Exit code 2."""
    result = invoke(*flags)
    assert result.exit_code == 2
    assert words in result.stderr
