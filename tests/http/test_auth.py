from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from knell.config.schema import Http
from knell.errors import ConfigError
from knell.http.auth import check_address, is_loopback
from knell.http.server import HttpServer
from knell.manager import NotificationManager

TOKENS = ["first-token", "second-tökén"]
ROUTES = [
    *(("POST", "/v1/events"), ("GET", "/v1/events/x"), ("POST", "/-/reload")),
    *(("GET", "/nothing"), ("DELETE", "/v1/events")),
]
GIVEN = [
    *("", "Bearer", "Bearer ", "Bearer wrong", "Bearer first-token2", "Bearer first-toke"),
    *("Basic first-token", "first-token"),
]
OPEN = ["/livez", "/readyz", "/healthz", "/metrics"]


@pytest.fixture
def guarded(make: Callable[..., Any]) -> Any:
    """A served system with two tokens."""
    return make(http={"tokens": TOKENS})


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer first-token2", "Basic first-token", "first-token"],
)
def test_without_a_token_nothing_is_told(guarded: Any, method: str, path: str, given: str) -> None:
    """Not even which paths there are."""
    reply = guarded.ask(method, path, b"{}" if method == "POST" else None, Authorization=given)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="knell"')
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "first-token" not in reply.body.decode()


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_any_of_the_tokens_lets_in(guarded: Any, event: dict[str, Any], token: str, scheme: str) -> None:
    """Several are valid while one replaces another."""
    value = f"{scheme} {token}".encode().decode("latin-1")
    assert guarded.post(event, Authorization=value).status == 202


@pytest.mark.parametrize("path", OPEN)
def test_probes_and_metrics_need_no_token(guarded: Any, path: str) -> None:
    """Kubelet and Prometheus have none."""
    assert guarded.ask("GET", path).status == 200


def test_an_address_that_others_reach_needs_a_token() -> None:
    """An open door is a mistake of the configuration, found before the start."""
    for host in ("0.0.0.0", "::", "10.0.0.1", "knell.example.com"):  # noqa: S104 - what is refused
        with pytest.raises(ConfigError, match=r"set http\.tokens"):
            check_address(host, [])
        check_address(host, [SecretStr("t")])
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        check_address(host, [])


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_none(token: str) -> None:
    """A variable that is empty must not let everybody in."""
    with pytest.raises(ConfigError, match="a token is empty"):
        check_address("127.0.0.1", [SecretStr("t"), SecretStr(token)])


def test_a_server_is_not_even_made_for_an_open_door(tmp_path: Any) -> None:
    """Nothing was started when the error comes."""
    manager = NotificationManager({"store": {"url": f"sqlite:///{tmp_path}/k.db"}})
    try:
        with pytest.raises(ConfigError, match="can be reached from other machines"):
            HttpServer(manager, ("0.0.0.0", 0))  # noqa: S104
    finally:
        manager.system.host.io.close()


def test_a_page_that_rebinds_its_name_to_loopback_is_refused(served: Any, event: dict[str, Any]) -> None:
    """A browser sends the name of the page, and that is not ours."""
    for host in ("evil.example", "evil.example:8321", "169.254.169.254", ""):
        assert served.post(event, Host=host).status == 403
    for host in ("localhost", "LOCALHOST:8321", "127.0.0.1:9", "[::1]:8321", "[::1]"):
        assert served.post(event, Host=host).status == 202


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("localhost.evil", False)],
)
def test_what_counts_as_loopback(host: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Names are compared, never resolved."""
    assert is_loopback(host) is expected


def test_tokens_that_a_reload_brings_count_at_once(make: Callable[..., Any], event: dict[str, Any]) -> None:
    """Rotation needs no restart."""
    served = make()
    config = served.manager.config
    served.manager.update_config(config.model_copy(update={"http": Http(tokens=[SecretStr("t")])}))
    assert served.post(event).status == 401
    assert served.post(event, Authorization="Bearer t").status == 202


def test_a_reload_cannot_open_a_door(make: Callable[..., Any], event: dict[str, Any]) -> None:
    """Without its tokens a server that others reach refuses everything."""
    served = make(http={"tokens": ["t"]})
    served.server._service.loopback = False
    config = served.manager.config
    served.manager.update_config(config.model_copy(update={"http": Http()}))
    assert served.post(event, Authorization="Bearer t").status == 401
    assert served.post(event).status == 401
