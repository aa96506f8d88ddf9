import gzip
import json
import math
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.events import MAX_EVENT_BYTES
from knell.http import body as module
from knell.http.body import MAX_BYTES, parse
from knell.http.problems import Problem

NESTED = '{"a":' * 40 + "1" + "}" * 40


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "double quotes"),
        (b"{'a': 1}", "double quotes"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        (b'{"x": {"deep": 1, "deep": 1}}', "the key 'deep' occurs twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[Infinity]", "Infinity is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "1e999 is too large"),
        (b"[" + b"9" * 33 + b"]", "more than 32 digits"),
        (b"[" + b"9" * 10_000 + b"]", "more than 32 digits"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\x01"', "control character"),
        (b"[" * 100_000, "nests too deep"),
        (NESTED.encode(), "nests deeper than 32"),
        (f"[{NESTED}]".encode(), "nests deeper than 32"),
    ],
)
def test_what_readers_of_json_disagree_about_is_refused(text: bytes, why: str) -> None:
    """Two programs that read the same bytes must not read two different things."""
    with pytest.raises(Problem, match=why) as caught:
        parse(text)
    assert caught.value.status is HTTPStatus.BAD_REQUEST


def test_the_depth_an_event_may_have_is_accepted_alone_and_in_a_list() -> None:
    """Metadata of 32 levels, inside the event, inside the list."""
    event = '{"metadata":' + '{"a":' * 32 + "1" + "}" * 32 + "}"
    assert parse(event.encode()) == json.loads(event)
    assert parse(f"[{event}]".encode()) == [json.loads(event)]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_harm(body: bytes) -> None:
    """Whatever comes is JSON, or a problem."""
    try:
        parse(body)
    except Problem as problem:
        assert problem.status is HTTPStatus.BAD_REQUEST  # noqa: PT017 - both ends are right


_NUMBERS = st.integers(min_value=-(10**30), max_value=10**30) | st.floats(allow_nan=False).filter(
    math.isfinite
)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_JSON)
def test_all_json_is_read_as_it_was_meant(value: Any) -> None:
    """Strict is not wrong."""
    assert parse(json.dumps(value).encode()) == value


def test_what_is_no_json_by_its_type_is_not_looked_at(served: Any, event: dict[str, Any]) -> None:
    """A form of any web page can post text, but no `application/json` without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/cloudevents+json", ""):
        reply = served.post(event, Content_Type=kind)
        assert (reply.status, reply.json["detail"]) == (415, "send 'Content-Type: application/json'")
    assert served.post(event, Content_Type="Application/JSON; charset=utf-8").status == 202


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x"])
def test_what_is_packed_is_refused_and_never_unpacked(served: Any, encoding: str) -> None:
    """A bomb stays a small file."""
    reply = served.post(gzip.compress(b"[" + b" " * 50_000_000), Content_Encoding=encoding)
    assert (reply.status, reply.headers["Accept-Encoding"]) == (415, "identity")


def test_a_packed_body_that_is_none_is_refused_as_a_packed_one(served: Any) -> None:
    """What is wrong inside it does not matter."""
    assert served.post(b"no gzip at all", Content_Encoding="gzip").status == 415


def _spaced(event: dict[str, Any], size: int) -> bytes:
    """Return an event as JSON of exactly this size."""
    text = json.dumps({**event, "description": ""}).encode()
    return text.replace(b'"description": "', b'"description": "' + b"x" * (size - len(text)))


def test_the_size_of_an_event_ends_at_a_mebibyte(served: Any, event: dict[str, Any]) -> None:
    """One byte more is too large, by the header alone."""
    whole: dict[str, Any] = {
        "severity": "info",
        "metadata": {},
        "links": [],
        "timestamp": "2026-01-31T12:00:00Z",
    }
    assert served.post(_spaced({**event, **whole, "event_id": "e1"}, MAX_EVENT_BYTES)).status == 202
    reply = served.post(_spaced(event, MAX_EVENT_BYTES + 1))
    assert (reply.status, reply.json["detail"]) == (413, "an event may have 1048576 bytes at most")
    assert reply.headers["Connection"] == "close"


def test_an_event_in_a_list_may_be_no_larger_than_one_alone(served: Any, event: dict[str, Any]) -> None:
    """The list itself may be."""
    body = b"[" + _spaced(event, MAX_EVENT_BYTES + 1000) + b"]"
    assert served.post(body).status == 413
    assert served.post(b"[" + b",".join([_spaced(event, MAX_EVENT_BYTES // 2)] * 4) + b"]").status == 202


def test_a_request_ends_at_eight_mebibytes(served: Any) -> None:
    """Refused before it is read, when its length is told."""
    reply = served.post(b"[" + b" " * MAX_BYTES + b"]")
    assert (reply.status, reply.json["detail"]) == (413, "a request may have 8388608 bytes at most")


@pytest.mark.parametrize(("start", "limit"), [(b"{", MAX_EVENT_BYTES), (b"[", MAX_BYTES)])
def test_a_body_without_a_length_is_cut_off_at_the_limit(served: Any, start: bytes, limit: int) -> None:
    """A chunked body tells no length: what comes is counted."""

    def chunks() -> Iterator[bytes]:
        yield start
        for _ in range(limit // 65536 + 1):
            yield b" " * 65536

    reply = served.post(chunks(), Content_Type="application/json")
    assert reply.status == 413


def test_a_length_that_promises_too_much_is_waited_for_in_vain(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has a bounded time for its body; then its connection ends."""
    monkeypatch.setattr(module, "READ_SECONDS", 0.05)
    assert _raw(served.port, b"Content-Length: 1000\r\n\r\n{").startswith(b"HTTP/1.1 408 ")


def test_a_length_that_promises_too_little_cuts_the_body(served: Any) -> None:
    """The rest is no request; nobody reads it as one."""
    answer = _raw(served.port, b'Content-Length: 5\r\n\r\n{"a": 1}')
    assert answer.split()[1] == b"400"


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 9\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
def test_a_client_that_leaves_in_its_body_is_no_mistake_of_ours(
    served: Any, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left to be answered, and no operator need look at a traceback for it."""
    assert _raw(served.port, rest, leave=True) == b""
    assert served.ask("GET", "/livez").status == 200  # by now the loop has seen it leave
    assert not caplog.records


def _raw(port: int, rest: bytes, *, leave: bool = False) -> bytes:
    head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head + rest)
        if leave:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer
