"""Every fault, as a client on a real socket meets it; the webhook receiver plays them."""

import asyncio
import socket
import threading
from collections.abc import Callable
from http.client import IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit

import aiohttp
import pytest

from knell.lab import (
    Answer,
    Drop,
    Endless,
    Gate,
    Half,
    Hold,
    Lab,
    ManualClock,
    Redirect,
    Reset,
    Respond,
    Slow,
)

Call = Callable[..., Answer]
EVENT = {"type": "job_failed"}


@pytest.fixture(autouse=True)
def _unsigned(lab: Lab) -> None:
    lab.webhook.secrets = ()


def test_an_answer_instead_of_the_providers_own(lab: Lab, call: Call) -> None:
    """Status, headers and body are the script's; the message is not taken; the next request is left alone."""
    lab.webhook.script(Respond(503, {"error": "busy"}, {"Retry-After": "0"}))
    answer = call("POST", lab.webhook.url, json=EVENT)
    assert (answer.status, answer.json, answer.headers["Retry-After"]) == (503, {"error": "busy"}, "0")
    assert lab.webhook.messages == ()
    assert call("POST", lab.webhook.url, json=EVENT).status == 200


def test_an_answer_that_lies_about_stored_work(lab: Lab, call: Call) -> None:
    """A provider may fail after its work was done: `stored` takes the message all the same."""
    lab.webhook.script(Respond(500, b"oops", stored=True))
    assert call("POST", lab.webhook.url, json=EVENT).body == b"oops"
    assert len(lab.webhook.messages) == 1


def test_faults_strike_in_order_and_by_place(lab: Lab, call: Call) -> None:
    """A fault with a place waits for a request to that place; the others go on in order."""
    lab.webhook.script(Respond(500, at="/elsewhere"), Respond(501), Respond(502))
    assert [call("POST", lab.webhook.url, json=EVENT).status for _ in range(3)] == [501, 502, 200]
    assert lab.webhook.pending_faults == (Respond(500, at="/elsewhere"),)
    assert call("POST", f"{lab.webhook.base_url}/elsewhere", json=EVENT).status == 500


def test_hold_waits_at_the_gate(lab: Lab, call: Call) -> None:
    """A held request has not been handled; once the gate is open it is handled as any other."""
    answers: list[Answer] = []
    with Gate() as gate:
        lab.webhook.script(Hold(gate))
        thread = threading.Thread(target=lambda: answers.append(call("POST", lab.webhook.url, json=EVENT)))
        thread.start()
        gate.wait_arrived()
        assert lab.webhook.messages == ()
    thread.join()
    assert [answer.status for answer in answers] == [200]
    assert len(lab.webhook.messages) == 1


def test_a_held_answer_after_the_work(lab: Lab) -> None:
    """With `stored` the message is taken while the client, which gives up, has heard nothing."""
    gate = Gate()
    lab.webhook.script(Hold(gate, stored=True))
    with socket.create_connection(("127.0.0.1", lab.webhook.port)) as client:
        client.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n" + b'{"type":"a"}')
        gate.wait_arrived()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    assert len(lab.webhook.messages) == 1
    gate.open()


def test_an_open_gate_holds_nobody(lab: Lab, call: Call) -> None:
    """A gate that was opened stays open, and still counts who came by."""
    gate = Gate()
    gate.open()
    lab.webhook.script(Hold(gate), Hold(gate))
    assert [call("POST", lab.webhook.url, json=EVENT).status for _ in range(2)] == [200, 200]
    gate.wait_arrived(2)
    with pytest.raises(TimeoutError, match="2 of 3 requests"):
        gate.wait_arrived(3, timeout=0.01)


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Reset(), ConnectionResetError), (Drop(), RemoteDisconnected)],
)
def test_a_connection_lost_before_the_body_stores_nothing(
    lab: Lab, call: Call, fault: Reset | Drop, error: type[Exception]
) -> None:
    """A reset or a close before the body was read leaves a request without answer and no message."""
    lab.webhook.script(fault)
    with pytest.raises(error):
        call("POST", lab.webhook.url, json=EVENT)
    assert lab.webhook.messages == ()
    assert [request.answer for request in lab.webhook.requests] == [None]
    assert call("POST", lab.webhook.url, json=EVENT).status == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Reset(stored=True), ConnectionResetError), (Drop(stored=True), RemoteDisconnected)],
)
def test_a_connection_lost_after_the_work_shows_as_duplicate(
    lab: Lab, call: Call, fault: Reset | Drop, error: type[Exception]
) -> None:
    """The message is taken though the client saw an error; the retry is counted as its duplicate."""
    lab.webhook.script(fault)
    headers = {"webhook-id": "msg_1"}
    with pytest.raises(error):
        call("POST", lab.webhook.url, json=EVENT, headers=headers)
    assert len(lab.webhook.messages) == 1
    assert call("POST", lab.webhook.url, json=EVENT, headers=headers).status == 200
    assert [message.id for message in lab.webhook.messages] == ["msg_1"]
    assert [message.id for message in lab.webhook.duplicates] == ["msg_1"]


def test_half_an_answer(lab: Lab, call: Call) -> None:
    """The head promises more than comes; the message is taken."""
    lab.webhook.script(Half())
    with pytest.raises(IncompleteRead) as caught:
        call("POST", lab.webhook.url, json=EVENT)
    assert caught.value.partial == b'{"ok"'
    assert len(lab.webhook.messages) == 1


def test_a_slow_body_stops_after_its_first_byte(lab: Lab) -> None:
    """Head and first byte come at once; the rest when the gate opens."""
    gate = Gate()
    lab.webhook.script(Slow(gate))

    async def client() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.post(lab.webhook.url, json=EVENT) as response,
        ):
            first = await response.content.readexactly(1)
            assert first == b"{"
            gate.open()
            return first + await response.content.read()

    assert asyncio.run(client()) == b'{"ok":true}'
    assert len(lab.webhook.messages) == 1


def test_an_endless_body_ends_with_the_client(lab: Lab) -> None:
    """A body without end: whoever reads on gets more; hanging up ends it, and the stand-in lives on."""
    lab.webhook.script(Endless())

    async def client() -> tuple[int, int]:
        async with aiohttp.ClientSession() as session:
            async with session.post(lab.webhook.url, json=EVENT) as response:
                read = len(await response.content.readexactly(1_000_000))
                response.close()
            async with session.post(lab.webhook.url, json=EVENT) as response:
                return read, response.status

    assert asyncio.run(client()) == (1_000_000, 200)


def test_a_redirect_to_itself_that_is_followed_is_a_violation(lab: Lab, call: Call) -> None:
    """The Location names the same address, marked; whoever comes by it has followed."""
    lab.webhook.script(Redirect())
    answer = call("POST", f"{lab.webhook.url}?a=1", json=EVENT)
    assert answer.status == 301
    location = answer.headers["Location"]
    assert urlsplit(location)._replace(query="").geturl() == lab.webhook.url
    assert not lab.webhook.violations
    call("GET", location)
    assert lab.webhook.violations == ("GET /hook: a redirect was followed",)


def test_a_redirect_to_another_host_that_is_followed_is_a_violation_there(lab: Lab, call: Call) -> None:
    """The other stand-in knows the mark as well."""
    lab.webhook.script(Redirect(lab.slack.url, status=307))
    answer = call("POST", lab.webhook.url, json=EVENT)
    assert answer.status == 307
    call("POST", answer.headers["Location"], json={"text": "leaked"})
    assert lab.slack.violations == (f"POST {urlsplit(lab.slack.url).path}: a redirect was followed",)


@pytest.mark.parametrize("status", [429, 503])
def test_a_repeat_within_the_pause_is_a_violation(
    lab: Lab, call: Call, clock: ManualClock, status: int
) -> None:
    """The body that was sent away must not come back before the pause has ended."""
    lab.webhook.script(Respond(status, headers={"Retry-After": "2"}))
    call("POST", lab.webhook.url, json=EVENT)
    clock.advance(1.5)
    call("POST", lab.webhook.url, json=EVENT)
    (violation,) = lab.webhook.violations
    assert violation == "POST /hook: sent 0.50 s before the pause it was told to keep had ended"
    clock.advance(0.5)
    call("POST", lab.webhook.url, json=EVENT)
    assert len(lab.webhook.violations) == 1


def test_requests_on_their_way_are_not_held_against_a_client(
    lab: Lab, call: Call, clock: ManualClock
) -> None:
    """Another body right after the 429 was on its way already; a moment later it is a violation."""
    lab.webhook.script(Respond(429, headers={"Retry-After": "2.5"}))
    call("POST", lab.webhook.url, json=EVENT)
    call("POST", lab.webhook.url, json={"type": "job_started"})
    assert lab.webhook.violations == ()
    clock.advance(1)
    call("POST", lab.webhook.url, json={"type": "job_completed"})
    assert len(lab.webhook.violations) == 1


def test_retry_after_that_nobody_can_read_is_no_pause(lab: Lab, call: Call) -> None:
    """The answer goes out as it was scripted."""
    lab.webhook.script(Respond(429, headers={"Retry-After": "in a moment"}))
    answer = call("POST", lab.webhook.url, json=EVENT)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "in a moment")
    call("POST", lab.webhook.url, json=EVENT)
    assert lab.webhook.violations == ()


def test_retry_after_as_a_date(lab: Lab, call: Call, clock: ManualClock) -> None:
    """An HTTP date is a pause as well, reckoned on the wall clock."""
    lab.webhook.script(Respond(503, headers={"Retry-After": "Tue, 14 Nov 2023 22:13:25 GMT"}))
    call("POST", lab.webhook.url, json=EVENT)
    clock.advance(4)
    call("POST", lab.webhook.url, json=EVENT)
    clock.advance(1)
    call("POST", lab.webhook.url, json=EVENT)
    assert lab.webhook.violations == (
        "POST /hook: sent 0.50 s before the pause it was told to keep had ended",
    )


def test_a_retry_after_nobody_can_read_is_sent_as_it_was_scripted(lab: Lab, call: Call) -> None:
    """It is the client's business what to make of it, and no pause to hold it to."""
    lab.webhook.script(Respond(429, headers={"Retry-After": "soon"}))
    answer = call("POST", lab.webhook.url, json=EVENT)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "soon")
    assert call("POST", lab.webhook.url, json=EVENT).status == 200
    assert lab.webhook.violations == ()


def test_a_client_that_breaks_off_its_body_harms_nobody(lab: Lab, call: Call) -> None:
    """A request that never ends is dropped with its connection."""
    with socket.create_connection(("127.0.0.1", lab.webhook.port)) as client:
        client.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert call("POST", lab.webhook.url, json=EVENT).status == 200
    assert len(lab.webhook.messages) == 1
