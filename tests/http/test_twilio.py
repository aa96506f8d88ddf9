"""`POST /ingest/twilio` behind a proxy: a signature instead of a token, and what callbacks change."""

import itertools
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest

from knell.channels.memory import Memory
from knell.channels.optouts import OptOuts
from knell.channels.twilio_signature import sign
from knell.events import NotificationEvent
from knell.http.twilio import MAX_BYTES, MAX_FIELDS
from knell.messages import FormattedMessage, Outcome
from tests.http.conftest import Reply, Served
from tests.rogues import Rogue, Stage

Make = Callable[..., Served]
PATH = "/ingest/twilio"
PUBLIC = "https://knell.example.com/hooks/sms"
A, OURS, OTHER = "+819012345671", "+15005550006", "+15005550001"
FORM = "application/x-www-form-urlencoded"


class Teller(Rogue):
    """A channel that keeps the events it is sent."""

    seen: ClassVar[list[NotificationEvent]] = []

    async def send(self, message: FormattedMessage) -> Outcome:
        """Keep them."""
        self.seen.extend(message.events)
        return await super().send(message)


def section(token: str = "token", **keys: Any) -> dict[str, Any]:
    """Return an SMS channel whose Twilio nobody asks for anything."""
    return {
        "type": "sms",
        "account_sid": "AC1",
        "auth_token": token,
        "from_number": OURS,
        "to_numbers": [A],
        "api_base_url": "https://127.0.0.1:1",
        "status_callback_url": PUBLIC,
        **keys,
    }


@pytest.fixture
def sms(make: Make) -> Served:
    """A served system with one SMS channel."""
    return make(channels={"sms": section(events=["*"])})


def report(status: str, sid: str = "SM1", **more: str) -> dict[str, str]:
    """Return a status callback."""
    return {"MessageSid": sid, "MessageStatus": status, "To": A, **more}


def post(
    served: Served, form: dict[str, str], *, query: str = "?channel=sms", token: str = "token", **head: str
) -> Reply:
    """Post a form as Twilio does, by way of a proxy."""
    signed = sign(token, f"{PUBLIC}{query}", list(form.items()))
    head = {"Content_Type": FORM, "X_Twilio_Signature": signed, **head}
    return served.ask("POST", f"{PATH}{query}", urlencode(form).encode(), **head)


def held(served: Served, number: str = A, channel: str = "sms") -> bool:
    """Whether nothing may be sent to a number."""
    memory: Memory = served.manager.system.memory(channel)
    wait = served.manager.system.host.io.run
    return bool(wait(OptOuts(memory).hold, number, served.manager.system.host.clock.wall(), timeout=20))


def lost(served: Served, channel: str = "sms") -> float | None:
    """Return how many messages were lost after Twilio had taken them."""
    return served.manager.registry.get_sample_value("knell_sms_undelivered_total", {"channel": channel})


def test_a_signed_callback_is_taken(sms: Served) -> None:
    """No token, no word in the answer; Twilio wants nothing but a success."""
    reply = post(sms, report("sent"))
    assert (reply.status, reply.body) == (204, b"")


def test_it_needs_no_token_and_no_name_of_this_machine(make: Make) -> None:
    """A server that others reach lets a signature in, and the proxy's host name; nothing else is open."""
    served = make(channels={"sms": section()}, http={"tokens": ["secret"]})
    assert post(served, report("sent"), Host="knell.example.com").status == 204
    assert served.ask("GET", "/v1/tree").status == 401


@pytest.mark.parametrize(
    "change",
    [
        {"token": "another"},
        {"X_Twilio_Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        {"X_Twilio_Signature": ""},
        {"query": "?channel=none"},
        {"query": "?channel=console"},
    ],
)
def test_a_forged_callback_changes_nothing(sms: Served, change: dict[str, Any]) -> None:
    """Refused with 403, whatever it says."""
    reply = post(sms, report("failed", ErrorCode="21610"), **change)
    assert reply.status == 403
    assert "token" not in reply.body.decode()
    assert not held(sms)
    assert lost(sms) == 0


def test_what_was_signed_for_another_channel_is_refused(make: Make) -> None:
    """The channel in the query is part of what is signed, and so is each account's token."""
    served = make(channels={"sms": section(), "night": section("night-token")})
    form = report("failed", ErrorCode="21610")
    assert post(served, form, query="?channel=night").status == 403
    signed = sign("token", f"{PUBLIC}?channel=sms", list(form.items()))
    moved = post(served, form, query="?channel=night", X_Twilio_Signature=signed)
    assert moved.status == 403
    assert not held(served, channel="night")


def test_a_changed_field_is_refused(sms: Served) -> None:
    """What a signature was made for cannot be used for something else."""
    signed = sign("token", f"{PUBLIC}?channel=sms", list(report("delivered").items()))
    assert post(sms, report("failed"), X_Twilio_Signature=signed).status == 403


@pytest.mark.parametrize("enabled", [True, False])
def test_without_a_callback_address_nobody_is_let_in(make: Make, *, enabled: bool) -> None:
    """Nor by the section of a channel that is off."""
    keys: dict[str, Any] = {"status_callback_url": None} if enabled else {"enabled": False}
    served = make(channels={"sms": section(**keys)})
    assert post(served, report("sent")).status == 403


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"a=" + b"x" * MAX_BYTES, FORM, 413),
        (b"a=%ff", FORM, 400),
        (b"\xff=1", FORM, 400),
        (b"a=1&" * (MAX_FIELDS + 1), FORM, 400),
        (b"", FORM, 403),
    ],
)
def test_what_is_no_form(sms: Served, body: bytes, kind: str, status: int) -> None:
    """Type, size, encoding and number of fields are looked at before anything else."""
    assert sms.ask("POST", PATH, body, Content_Type=kind).status == status


def test_a_body_without_a_length_is_bounded_too(sms: Served) -> None:
    """One that comes in pieces ends where the limit is."""
    pieces = iter([b"a=" + b"x" * MAX_BYTES, b"y"])
    reply = sms.ask("POST", PATH, pieces, Content_Type=FORM)
    assert reply.status == 413


def test_other_methods_are_refused(sms: Served) -> None:
    """A browser that looks there is told."""
    assert sms.ask("GET", PATH).status == 405


def test_before_the_start_it_is_not_taken(make: Make) -> None:
    """Nothing could be kept yet."""
    assert post(make(started=False, channels={"sms": section()}), report("sent")).status == 503


@pytest.mark.parametrize(
    ("code", "words", "severity"),
    [
        ("30005", "the number does not exist any more", "warning"),
        ("30034", "the sender is not registered", "error"),
        ("31999", "see https://www.twilio.com/docs/api/errors/31999", "warning"),
    ],
)
def test_people_hear_of_a_loss_by_another_channel(
    make: Make, stage: Stage, code: str, words: str, severity: str
) -> None:
    """Once, counted once, however often and in whatever order it comes; never by the channel it is about."""
    Teller.seen.clear()
    teller = {**stage.section(), "type": "tests.http.test_twilio:Teller"}
    served = make(channels={"sms": section(events=["*"]), "chat": teller})
    for status in ("undelivered", "sent", "undelivered", "queued"):
        assert post(served, report(status, ErrorCode=code)).status == 204
    assert stage.next_sent() == "A text message of channel sms was not delivered"
    (event,) = Teller.seen
    assert f"To {A}: Twilio error {code}: {words}" in event.description
    assert (event.severity, event.event_type, event.source) == (severity, "system_alert", "knell")
    assert lost(served) == 1
    about = {"channel": "sms", "reason": "about_itself"}
    assert served.manager.registry.get_sample_value("knell_suppressed_total", about) == 1


def test_an_opt_out_after_acceptance_is_kept(sms: Served) -> None:
    """A messaging service says it late."""
    assert post(sms, report("failed", ErrorCode="21610")).status == 204
    assert held(sms)


_ids = itertools.count(1)


def answer(body: str, **more: str) -> dict[str, str]:
    """Return what the messaging webhook gets."""
    return {
        "MessageSid": f"SM{next(_ids)}",
        "SmsStatus": "received",
        "From": A,
        "To": OURS,
        "Body": body,
        **more,
    }


def test_stop_and_start(sms: Served) -> None:
    """By the messaging webhook, whose address names no channel."""
    for form, stopped in (
        (answer("hello"), False),
        (answer("Stop"), True),
        (answer("ok"), True),
        (answer("start"), False),
        (answer("ARRET", OptOutType="STOP"), True),
        (answer("?", OptOutType="HELP"), True),
        (answer("OUI", OptOutType="START"), False),
    ):
        assert post(sms, form, query="").status == 204
        assert held(sms) is stopped


def test_an_answer_is_for_the_channel_it_was_sent_to(make: Make) -> None:
    """By its number or its messaging service; where none has that, a STOP is for all, a START for nobody."""
    service = {"from_number": "", "messaging_service_sid": "MG1"}
    served = make(channels={"sms": section(), "bulk": section(**service), "far": section("far")})

    def stopped() -> list[str]:
        return [name for name in ("sms", "bulk", "far") if held(served, channel=name)]

    post(served, answer("STOP"), query="")
    assert stopped() == ["sms"]
    post(served, answer("START", MessagingServiceSid="MG1", To=OTHER), query="")
    assert stopped() == ["sms"]
    post(served, answer("STOP", MessagingServiceSid="MG1", To=OTHER), query="")
    assert stopped() == ["sms", "bulk"]
    post(served, answer("START"), query="")
    assert stopped() == ["bulk"]
    post(served, answer("STOP", To=OTHER), query="")
    assert stopped() == ["sms", "bulk"]
    post(served, answer("START", To=OTHER), query="")
    assert stopped() == ["sms", "bulk"]


def test_a_status_without_a_channel_is_for_the_one_that_sent_it(make: Make) -> None:
    """An address in Twilio's console names none; channels of one account are told apart by the id."""
    served = make(channels={"sms": section(), "night": section()})
    memory = served.manager.system.memory("night")
    note = {"to": A, "day": "2027-01-16", "cost": 0.1}

    async def sent() -> None:
        memory.put("sent SM1", note)

    served.manager.system.host.io.run(sent, timeout=20)
    assert post(served, report("failed", ErrorCode="30005"), query="").status == 204
    assert (lost(served, "night"), lost(served)) == (1, 0)
