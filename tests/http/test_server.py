import socket
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest
from aiohttp import web

from knell.config.schema import Http
from knell.errors import KnellError
from knell.http.headers import HEADERS
from knell.http.probes import Probes
from knell.http.server import HttpServer
from knell.manager import NotificationManager


def test_port_zero_is_a_free_port(served: Any) -> None:
    """The URL names the real one."""
    assert served.server.url == f"http://127.0.0.1:{served.port}"
    assert served.port > 0


def test_a_port_in_use_is_an_error_in_plain_words(make: Callable[..., Any], tmp_path: Any) -> None:
    """Found before any actor starts, and the first server does not notice."""
    first = make()
    manager = NotificationManager({"store": {"url": f"sqlite:///{tmp_path}/other.db"}})
    second = HttpServer(manager, ("127.0.0.1", first.port))
    try:
        with pytest.raises(
            KnellError, match=f"cannot listen on 127.0.0.1:{first.port}: Address already in use"
        ):
            second.start()
    finally:
        manager.system.host.io.close()
    assert first.ask("GET", "/livez").status == 200


def test_a_host_that_is_none_is_an_error_in_plain_words(tmp_path: Any) -> None:
    """The resolver's words, without a number."""
    tokens = {"tokens": ["t"]}
    manager = NotificationManager({"store": {"url": f"sqlite:///{tmp_path}/k.db"}, "http": tokens})
    try:
        with pytest.raises(KnellError, match=r"cannot listen on no host\.invalid:0: [A-Z][a-z ]+"):
            HttpServer(manager, ("no host.invalid", 0)).start()
    finally:
        manager.system.host.io.close()


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/v1/events/x", "/metrics"])
def test_every_answer_has_the_security_headers(served: Any, path: str) -> None:
    """And tells nobody which version of what answers."""
    headers = served.ask("GET", path).headers
    assert headers.items() >= HEADERS.items()
    assert headers["Server"] == "knell"


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/", 404, "there is nothing at /"),
        ("GET", "/v1/event", 404, "there is nothing at /v1/event"),
        ("GET", "/v1/events", 405, "/v1/events takes POST"),
        ("PUT", "/livez", 405, "/livez takes GET, HEAD"),
        ("OPTIONS", "/v1/events", 405, "/v1/events takes POST"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(
    served: Any, method: str, path: str, status: int, detail: str
) -> None:
    """RFC 9457, like every other refusal."""
    reply = served.ask(method, path)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert reply.json.keys() == {"type", "title", "status", "detail"}
    assert (reply.json["status"], reply.json["detail"]) == (status, detail)


def test_what_is_no_http_is_refused_without_a_word_about_the_server(served: Any) -> None:
    """A client that speaks TLS, or nonsense, learns nothing, and its bytes are not repeated."""
    for nonsense in (b"\x16\x03\x01 secret\r\n\r\n", b"GET / HTTP/1.1\r\nbad header secret\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
            client.sendall(nonsense)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"400"
        assert b"Server: knell" in head
        assert b'"title":"Bad Request"' in body
        assert b"secret" not in answer


def test_a_mistake_of_ours_is_a_problem_too(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 without a word of the cause, which is in the log."""

    async def fail(_probes: Probes, _request: web.Request) -> web.Response:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Probes, "live", fail)
    reply = make().ask("GET", "/livez")
    assert (reply.status, reply.json["detail"]) == (500, "the cause is in the log of knell")
    assert b"secret" not in reply.body


def test_a_stopped_server_lets_go_of_its_port(served: Any) -> None:
    """A second stop does nothing."""
    port = served.port
    idle = HTTPConnection("127.0.0.1", port, timeout=20)
    idle.request("GET", "/livez")
    idle.getresponse().read()
    served.server.stop()
    served.server.stop()
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", port, timeout=20).connect()
    idle.close()


def test_the_end_of_the_system_is_the_end_of_the_server(served: Any) -> None:
    """Probes answer until the very end, and nobody has to remember to stop the server."""
    port = served.port
    served.manager.stop()
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection("127.0.0.1", port, timeout=20).connect()
    served.server.stop()


def test_a_configuration_that_does_not_reach_the_server_is_told(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A changed address needs a restart: nobody should have to guess."""
    served = make()
    served.server.check_config()
    assert "config.advice" not in caplog.messages
    config = served.manager.config
    served.manager.update_config(config.model_copy(update={"http": Http(listen="127.0.0.1:1")}))
    served.server._service.loopback = False
    served.server.check_config()
    problems = [record.__dict__.get("problem") for record in caplog.records if record.msg == "config.advice"]
    assert problems == [
        "http.listen: takes effect at the next start",
        "http.tokens: without a token everything is refused here",
    ]
