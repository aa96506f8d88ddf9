"""The stand-in for Twilio's Messages resource, row by row."""

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.lab import Answer, Lab, ManualClock, Respond
from knell.lab.segments import segments, smart_encoded
from knell.lab.twilio import RATE

Call = Callable[..., Answer]
Send = Callable[..., Answer]
NUMBER = "+819012345678"


def basic(user: str, word: str) -> dict[str, str]:
    """The head of Basic authentication."""
    return {"Authorization": f"Basic {b64encode(f'{user}:{word}'.encode()).decode()}"}


@pytest.fixture
def auth(lab: Lab) -> dict[str, str]:
    """The account's credentials as a head."""
    return basic(lab.twilio.account_sid, lab.twilio.auth_token)


@pytest.fixture
def send(lab: Lab, call: Call, auth: dict[str, str]) -> Send:
    """Post a message; a parameter of None is left out."""

    def post(**changes: str | None) -> Answer:
        form = {"To": NUMBER, "From": "+15005550006", "Body": "hello", **changes}
        given_ = {name: value for name, value in form.items() if value is not None}
        return call("POST", lab.twilio.url, form=given_, headers=auth)

    return post


def test_success(lab: Lab, send: Send) -> None:
    """201 means queued, with the segments counted and no price yet."""
    answer = send(Body="job failed\nsee log")
    said = answer.json
    assert (answer.status, said["status"], said["num_segments"], said["price"]) == (201, "queued", "1", None)
    assert (said["to"], said["from"], said["body"]) == (NUMBER, "+15005550006", "job failed\nsee log")
    (message,) = lab.twilio.messages
    assert (message.id, message.text, message.title) == (said["sid"], "job failed\nsee log", "job failed")
    assert message.to == (NUMBER,)


def test_an_api_key_does_as_well(lab: Lab, call: Call) -> None:
    """Key and secret are accepted in place of the account's own credentials."""
    form = {"To": NUMBER, "From": "+15005550006", "Body": "x"}
    head = basic(lab.twilio.api_key, lab.twilio.api_secret)
    assert call("POST", lab.twilio.url, form=form, headers=head).status == 201


@pytest.mark.parametrize(
    "head", [{}, {"Authorization": "Basic %%%"}, {"Authorization": "Bearer x"}, basic("AC0", "wrong")]
)
def test_wrong_credentials(lab: Lab, call: Call, head: dict[str, str]) -> None:
    """Without the right credentials it is 401, 20003, in Twilio's own form."""
    answer = call("POST", lab.twilio.url, form={}, headers=head)
    assert answer.status == 401
    assert answer.json == {
        "code": 20003,
        "message": "Authenticate",
        "more_info": "https://www.twilio.com/docs/errors/20003",
        "status": 401,
    }


def test_a_wrong_account(lab: Lab, call: Call, auth: dict[str, str]) -> None:
    """Another account's SID in the path is 404, 20404."""
    url = lab.twilio.url.replace(lab.twilio.account_sid, "AC" + "0" * 32)
    answer = call("POST", url, form={}, headers=auth)
    assert (answer.status, answer.json["code"]) == (404, 20404)


def test_json_is_no_form(lab: Lab, call: Call, auth: dict[str, str]) -> None:
    """A JSON body has no To."""
    answer = call("POST", lab.twilio.url, json={"To": NUMBER}, headers=auth)
    assert (answer.status, answer.json["code"]) == (400, 21604)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"To": None}, 400, 21604),
        ({"To": "09012345678"}, 400, 21211),
        ({"To": "+0123"}, 400, 21211),
        ({"To": "+" + "1" * 16}, 400, 21211),
        ({"From": None}, 400, 21603),
        ({"From": "+15005550007"}, 400, 21606),
        ({"From": "knell"}, 400, 21212),
        ({"From": None, "MessagingServiceSid": "MG0"}, 404, 20404),
        ({"Body": None}, 400, 21602),
        ({"Body": "x" * 1_601}, 400, 21617),
        ({"ValidityPeriod": "0"}, 400, 21601),
        ({"ValidityPeriod": "36001"}, 400, 21601),
        ({"ValidityPeriod": "soon"}, 400, 21601),
        ({"StatusCallback": "https://my_host.example.com/x"}, 400, 21609),
        ({"StatusCallback": "nowhere"}, 400, 21609),
        ({"SendAt": "2026-01-01T00:00:00Z", "ScheduleType": "fixed"}, 400, 35118),
        ({"To": "+15005550001"}, 400, 21211),
        ({"To": "+15005550002"}, 400, 21612),
        ({"To": "+15005550003"}, 400, 21408),
        ({"To": "+15005550004"}, 400, 21610),
        ({"To": "+15005550009"}, 400, 21614),
        ({"To": "+15005550010"}, 400, 21608),
        ({"To": "+15005550011"}, 429, 21611),
        ({"To": "+15005550012"}, 429, 20429),
    ],
)
def test_what_is_refused(
    lab: Lab, send: Send, changes: dict[str, str | None], status: int, code: int
) -> None:
    """Each bad parameter and each special number has its code."""
    answer = send(**changes)
    assert (answer.status, answer.json["code"], answer.json["status"]) == (status, code, status)
    assert lab.twilio.messages == ()


def test_what_is_taken(lab: Lab, send: Send) -> None:
    """The edges of the limits, and a scheduled message of the service."""
    assert (
        send(Body="x" * 1_600, ValidityPeriod="36000", StatusCallback="https://a.example.com/x").status == 201
    )
    service = {"From": None, "MessagingServiceSid": lab.twilio.service_sid}
    said = send(**service, SendAt="2026-01-01T00:00:00Z", ScheduleType="fixed").json
    assert (said["status"], said["num_segments"], said["from"]) == ("accepted", "0", None)


def test_smart_encoding(send: Send) -> None:
    """On demand typographic characters are replaced before the segments are counted."""
    text = "a" * 159 + "\u2019"
    assert send(Body=text).json["num_segments"] == "3"
    smart = send(Body=text, SmartEncoded="true").json
    assert (smart["num_segments"], smart["body"][-1]) == ("1", "'")
    assert smart_encoded("\u201ca\u201d \u2013\xa0b\u2026") == '"a" - b...'


def test_stop_and_start(lab: Lab, send: Send) -> None:
    """After STOP every send is 21610, and the second one a violation, until START."""
    assert send().status == 201
    lab.twilio.opt_out(NUMBER)
    assert send().json["code"] == 21610
    assert not lab.twilio.violations
    assert send().json["code"] == 21610
    assert lab.twilio.violations == (f"{NUMBER} had opted out (21610) and got another message",)
    lab.twilio.opt_in(NUMBER)
    assert send().status == 201
    assert len(lab.twilio.violations) == 1


def test_the_number_that_had_always_opted_out(lab: Lab, send: Send) -> None:
    """Sending again to Twilio's own blocked number is a violation as well."""
    send(To="+15005550004")
    send(To="+15005550004")
    assert len(lab.twilio.violations) == 1


def test_the_rate_of_the_account(send: Send, clock: ManualClock) -> None:
    """Above the account's rate it is 429, 20429, until a moment has passed."""
    for _ in range(RATE):
        assert send().status == 201
    answer = send()
    assert (answer.status, answer.json["code"]) == (429, 20429)
    clock.advance(1 / RATE)
    assert send().status == 201


def test_a_queue_that_is_full_once(lab: Lab, send: Send) -> None:
    """Any answer can be scripted: a full queue that has room again."""
    lab.twilio.script(Respond(429, {"code": 21611, "message": "queue is full", "status": 429}))
    assert send().json["code"] == 21611
    assert send().status == 201


def test_get_shows_how_it_ended(lab: Lab, call: Call, auth: dict[str, str], send: Send) -> None:
    """Once it was sent, GET shows the status and a negative price as text; one that failed has none."""
    sid = send(Body="x" * 161).json["sid"]
    url = lab.twilio.url.replace(".json", f"/{sid}.json")
    assert call("GET", url, headers=auth).json["price"] is None
    lab.twilio.settle(sid)
    shown = call("GET", url, headers=auth).json
    assert (shown["status"], shown["price"], shown["error_code"]) == ("delivered", "-0.01580", None)
    lab.twilio.settle(failed := send().json["sid"], "undelivered", 30003)
    url = lab.twilio.url.replace(".json", f"/{failed}.json")
    shown = call("GET", url, headers=auth).json
    assert (shown["status"], shown["price"], shown["error_code"]) == ("undelivered", None, 30003)


def test_lists_and_what_is_not_there(lab: Lab, call: Call, auth: dict[str, str], send: Send) -> None:
    """The list is filtered by number, newest first; unknown resources are 20404."""
    for body in ("one", "two"):
        send(Body=body)
    send(To="+819000000000", Body="three")
    found = call("GET", f"{lab.twilio.url}?To=%2B819012345678&DateSent%3E=2023-11-14", headers=auth).json
    assert [message["body"] for message in found["messages"]] == ["two", "one"]
    assert call("GET", f"{lab.twilio.url}?From=%2B1", headers=auth).json["messages"] == []
    missing = call("GET", lab.twilio.url.replace(".json", "/SM0.json"), headers=auth)
    assert (missing.status, missing.json["code"]) == (404, 20404)
    account = f"{lab.twilio.base_url}/2010-04-01/Accounts/{lab.twilio.account_sid}.json"
    assert call("GET", account, headers=auth).json["status"] == "active"
    lab.twilio.account_status = "suspended"
    assert call("GET", account, headers=auth).json["status"] == "suspended"
    assert call("POST", account, form={}, headers=auth).status == 405


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], str]]]]:
    """A server that keeps the forms it gets with their signatures, and its address."""
    got: list[tuple[dict[str, str], str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            got.append((dict(parse_qsl(body)), self.headers["X-Twilio-Signature"]))
            self.send_response(204)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/status?job=1", got
        server.shutdown()
        thread.join()


def test_callbacks_come_signed_in_any_order(
    lab: Lab, send: Send, receiver: tuple[str, list[tuple[dict[str, str], str]]]
) -> None:
    """Callbacks come in just the order the test wants, doubled or shuffled, and signed for their URL."""
    url, got = receiver
    sid = send(StatusCallback=url).json["sid"]
    statuses = ["sent", "undelivered", "sent", "undelivered"]
    assert lab.twilio.call_back(sid, statuses, error_code=30005) == [204] * 4
    assert [form["MessageStatus"] for form, _ in got] == statuses
    assert [form.get("ErrorCode") for form, _ in got] == [None, "30005", None, "30005"]
    form, signature = got[1]
    assert (form["MessageSid"], form["To"]) == (sid, NUMBER)
    assert signature == lab.twilio.signature(url, form)


def test_callbacks_come_doubled_and_shuffled_on_request(
    lab: Lab, send: Send, receiver: tuple[str, list[tuple[dict[str, str], str]]]
) -> None:
    """Dice make a bad hour of the network: each twice, in another order, the same for the same dice."""
    url, got = receiver
    sid = send(StatusCallback=url).json["sid"]
    story = ["queued", "sending", "sent", "delivered"]
    for _ in range(2):
        assert lab.twilio.call_back(sid, story, dice=Random(1)) == [204] * 8  # noqa: S311 - no secret
    orders = [[form["MessageStatus"] for form, _ in got[at : at + 8]] for at in (0, 8)]
    assert orders[0] == orders[1]
    assert orders[0] != story * 2
    assert sorted(orders[0]) == sorted(story * 2)


def test_what_people_answer_comes_signed(
    lab: Lab, send: Send, receiver: tuple[str, list[tuple[dict[str, str], str]]]
) -> None:
    """A STOP counts here as well, in the words of Advanced Opt-Out too; START ends it."""
    url, got = receiver
    assert lab.twilio.answer_back(url, NUMBER, "thanks") == 204
    assert send().status == 201
    assert lab.twilio.answer_back(url, NUMBER, "stop") == 204
    assert send().json["code"] == 21610
    assert lab.twilio.answer_back(url, NUMBER, "OUI", kind="START") == 204
    assert send().status == 201
    assert [(form["Body"], form.get("OptOutType")) for form, _ in got] == [
        ("thanks", None),
        ("stop", None),
        ("OUI", "START"),
    ]
    for form, signature in got:
        assert (form["From"], form["SmsStatus"]) == (NUMBER, "received")
        assert signature == lab.twilio.signature(url, form)
    assert lab.violations == ()


def test_the_signature_of_twilios_own_example(lab: Lab) -> None:
    """The example of Twilio's "Validating requests" page."""
    lab.twilio.auth_token = "12345"
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert lab.twilio.signature(url, form) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("url", ["https://example.com/x", None])
def test_callbacks_never_leave_the_machine(lab: Lab, send: Send, url: str | None) -> None:
    """A callback to another machine, or to nobody, is refused here."""
    sid = send(StatusCallback=url).json["sid"]
    with pytest.raises(ValueError, match="no callback address on this machine"):
        lab.twilio.call_back(sid, ["delivered"])


def test_a_receiver_that_is_down(lab: Lab, send: Send) -> None:
    """A callback nobody takes is status 0."""
    sid = send(StatusCallback=f"http://localhost:{lab.smtp.port}/").json["sid"]
    assert lab.twilio.call_back(sid, ["delivered"]) == [0]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 10, 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 159 + "\u2019", 3),
        ("あ" * 70, 1),
        ("あ" * 71, 2),
        ("\U0001f600" * 35, 1),
        ("\U0001f600" * 36, 2),
        ("あ" * 66 + "\U0001f600" + "あ" * 10, 2),
        ("あ" * 66 + "\U0001f600" + "あ" * 65, 2),
        ("あ" * 66 + "\U0001f600" + "あ" * 66, 3),
    ],
)
def test_segments(text: str, count: int) -> None:
    """Counted by the table of encodings; what takes two units moves whole."""
    assert segments(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("a" * 304, 2), ("a" * 305, 3), ("あ" * 132, 2), ("あ" * 133, 3)]
)
def test_segments_of_toll_free_numbers(text: str, count: int) -> None:
    """A toll-free sender has a unit less in each part."""
    assert segments(text, "+18885550100") == count


@given(st.text(alphabet="ab€^あ\U0001f600", max_size=400))
def test_segments_are_no_fewer_than_the_units_need(text: str) -> None:
    """A text takes as many parts as its units fill; each part wastes at most one unit."""
    ucs = any(character in "あ\U0001f600" for character in text)
    units = sum(2 if (ord(c) > 0xFFFF if ucs else c in "€^") else 1 for c in text)
    single, part = (70, 67) if ucs else (160, 153)
    if units <= single:
        assert segments(text) == 1
    else:
        assert -(-units // part) <= segments(text) <= -(-units // (part - 1))
