"""The SMS channel against the lab's Twilio: a result for each number, doubts looked up, opt-outs kept."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from time import time
from typing import Any

import pytest

from knell.channels import sms
from knell.channels.memory import Scratch
from knell.channels.optouts import OptOuts
from knell.channels.segments import segments
from knell.channels.sms import SmsChannel
from knell.channels.sms_config import SmsConfig
from knell.errors import StoreError
from knell.events import NotificationEvent
from knell.lab import Drop, Fault, Lab, Reset, Respond
from knell.messages import (
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Scope,
    Unknown,
)
from tests.channels.opening import attempted, running

A, B, C = "+819012345671", "+819012345672", "+819012345673"
STOPPED, LANDLINE = "+15005550004", "+15005550009"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab that enforces no rates."""
    with Lab(rate_limited=False) as running:
        yield running


def opened(
    lab: Lab, *, memory: Scratch | None = None, **changes: Any
) -> AbstractAsyncContextManager[SmsChannel]:
    """Run a channel that talks to the lab's Twilio."""
    section = {key: value for key, value in lab.twilio.section().items() if key != "type"}
    channel = SmsChannel(SmsConfig.model_validate({**section, "to_numbers": [A, B, C], **changes}))
    channel.memory = memory or Scratch()
    return running(channel)


def message(text: str = "nightly failed", progress: dict[str, Any] | None = None) -> FormattedMessage:
    """Return a message as the templates make it."""
    return FormattedMessage(format=MessageFormat.TEXT, content=text, id="msg_1", progress=progress or {})


def sent(lab: Lab, attempts: int = 1, **changes: Any) -> list[Outcome]:
    """Make attempts at one message, each with the progress of the one before."""

    async def run() -> list[Outcome]:
        async with opened(lab, **changes) as channel:
            return await attempted(channel, message(), attempts)

    return asyncio.run(run())


def inbox(lab: Lab) -> list[str]:
    """Return who got a message, as often as they did."""
    return [number for text in lab.twilio.messages for number in text.to]


def test_every_number_gets_the_text(lab: Lab) -> None:
    """One request each, with sender, text and validity; the receipt holds Twilio's ids."""
    [outcome] = sent(lab)
    assert isinstance(outcome, Delivered)
    ids = {text.to[0]: text.id for text in lab.twilio.messages}
    assert outcome.receipt == {"sid": ids[A], "accepted": ids, "num_segments": 3}
    assert list(ids) == [A, B, C]
    form = lab.twilio.messages[0].payload
    assert form == {"To": A, "From": "+15005550006", "Body": "nightly failed", "ValidityPeriod": "14400"}
    assert lab.violations == ()


def test_a_messaging_service_instead_of_a_number(lab: Lab) -> None:
    """Twilio picks the sender, and does not count segments yet: our own count stands in."""
    [outcome] = sent(lab, from_number="", messaging_service_sid=lab.twilio.service_sid)
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["num_segments"] == 3
    assert lab.twilio.messages[0].payload["MessagingServiceSid"] == lab.twilio.service_sid
    assert "From" not in lab.twilio.messages[0].payload


def test_a_refused_number_does_not_stop_the_others(lab: Lab) -> None:
    """The delivery dies visibly, with the code; a replay tries the refused number alone."""
    first, replay = sent(lab, attempts=2, to_numbers=[A, LANDLINE, B])
    assert isinstance(first, Rejected)
    assert first.reason is Reason.RECIPIENT
    assert first.detail == f"{LANDLINE}: 21614 not a mobile number"
    assert list(first.progress["accepted"]) == [A, B]
    assert list(first.progress["refused"]) == [LANDLINE]
    assert isinstance(replay, Rejected)
    assert inbox(lab) == [A, B]


def test_an_opt_out_is_never_written_to_again(lab: Lab) -> None:
    """After 21610 the channel does not even ask; the reason says why."""
    lab.twilio.opt_out(B)

    async def run() -> list[Outcome]:
        async with opened(lab, to_numbers=[A, B]) as channel:
            return [await channel.send(message(text)) for text in ("one", "two", "three")]

    for outcome in asyncio.run(run()):
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.OPTED_OUT
        assert outcome.reason.scope is Scope.MESSAGE
        assert outcome.progress["refused"] == {B: "21610 opted out with STOP"}
    assert inbox(lab) == [A, A, A]
    assert lab.violations == ()


def test_a_replay_is_no_consent(lab: Lab) -> None:
    """An operator who replays a dead letter cannot lift a legal stop, nor can a restart."""
    lab.twilio.opt_out(B)

    async def run() -> list[Outcome]:
        memory = Scratch()
        async with opened(lab, memory=memory, to_numbers=[B]) as channel:
            first = await channel.send(message())
            assert isinstance(first, Rejected)
            replays = [await channel.send(message(progress=dict(first.progress)))]
        async with opened(lab, memory=memory, to_numbers=[B]) as channel:
            replays.append(await channel.send(message(progress=dict(first.progress))))
            return [*replays, await channel.send(message("another"))]

    for outcome in asyncio.run(run()):
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.OPTED_OUT
    assert len(lab.twilio.requests) == 1
    assert lab.violations == ()


def test_after_start_a_replay_reaches_the_number(lab: Lab) -> None:
    """The owner has agreed again: the callback handler forgot the stop."""
    lab.twilio.opt_out(B)

    async def run() -> list[Outcome]:
        memory = Scratch()
        async with opened(lab, memory=memory, to_numbers=[B]) as channel:
            first = await channel.send(message())
            assert isinstance(first, Rejected)
            lab.twilio.opt_in(B)
            OptOuts(memory).start(B)
            replay = await channel.send(message(progress=dict(first.progress)))
            return [replay, await channel.send(message("another"))]

    assert all(isinstance(outcome, Delivered) for outcome in asyncio.run(run()))
    assert inbox(lab) == [B, B]
    assert lab.violations == ()


def test_an_operator_lifts_a_stop_with_a_consent_on_record(lab: Lab) -> None:
    """`opted_in` says when the owner agreed; only an older stop ends with it."""
    memory = Scratch()

    async def run(agreed: float) -> Outcome:
        day = datetime.fromtimestamp(agreed, UTC)
        async with opened(lab, memory=memory, to_numbers=[A], opted_in={A: day}) as channel:
            return await channel.send(message())

    OptOuts(memory).stop(A, time() - 100)
    assert isinstance(asyncio.run(run(time() - 200)), Rejected)
    assert isinstance(asyncio.run(run(time() - 50)), Delivered)
    assert inbox(lab) == [A]


def test_what_is_sent_at_once_is_not_sent_after_a_stop(lab: Lab) -> None:
    """Several messages at the same time: the first is refused with 21610, the others are never sent."""
    lab.twilio.opt_out(A)

    async def run() -> list[Outcome]:
        async with opened(lab, to_numbers=[A]) as channel:
            return list(await asyncio.gather(*(channel.send(message(f"{n}")) for n in range(8))))

    assert {type(outcome) for outcome in asyncio.run(run())} == {Rejected}
    assert len(lab.twilio.requests) == 1
    assert lab.violations == ()


class Broken(Scratch):
    """A memory whose store cannot be read."""

    async def get(self, key: str) -> Any:
        """Fail."""
        raise StoreError(f"disk I/O error at {key}")


def test_without_its_memory_nothing_is_sent(lab: Lab) -> None:
    """Who has opted out is not known then; it is tried again later."""

    async def run() -> Outcome:
        async with opened(lab, memory=Broken()) as channel:
            return await channel.send(message(progress={"accepted": {A: "SM1"}}))

    outcome = asyncio.run(run())
    assert isinstance(outcome, Retry)
    assert outcome.progress == {"accepted": {A: "SM1"}, "refused": {}}
    assert lab.twilio.requests == ()


def test_an_opt_out_among_other_refusals_is_a_matter_of_recipients(lab: Lab) -> None:
    """The reason says opted out only where that is all."""
    [outcome] = sent(lab, to_numbers=[STOPPED, LANDLINE])
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.RECIPIENT


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Respond(500, "oops"), Retry, Reason.SERVER_ERROR),
        (Respond(503, "down"), Retry, Reason.SERVER_ERROR),
        (Respond(429, {"code": 20429}), Retry, Reason.RATE_LIMIT),
        (Respond(401, {"code": 20003}), Rejected, Reason.AUTHENTICATION),
        (Respond(400, {"code": 21606}), Rejected, Reason.CONFIGURATION),
        (Respond(400, {"code": 21602}), Rejected, Reason.INVALID_MESSAGE),
    ],
)
def test_a_failure_ends_the_attempt_and_keeps_what_was_done(
    lab: Lab, fault: Fault, kind: type[Outcome], reason: Reason
) -> None:
    """The second of three requests fails: the first is not sent again, the next attempt does the rest."""

    async def run() -> tuple[Outcome, Outcome]:
        async with opened(lab) as channel:
            lab.twilio.script(Respond(201, {"sid": "SM1", "num_segments": "1"}, stored=True), fault)
            first = await channel.send(message())
            assert not isinstance(first, Delivered)
            return first, await channel.send(message(progress=dict(first.progress)))

    first, second = asyncio.run(run())
    assert isinstance(first, kind)
    assert not isinstance(first, Delivered)
    assert first.reason is reason
    assert first.progress == {"accepted": {A: "SM1"}, "refused": {}}
    assert isinstance(second, Delivered)
    assert inbox(lab) == [A, B, C]


@pytest.mark.parametrize("fault", [Drop(stored=True), Reset(stored=True), Respond(201, "?", stored=True)])
def test_a_message_in_doubt_is_looked_up_and_found(lab: Lab, fault: Fault) -> None:
    """Twilio had taken it and the answer was lost: the next attempt finds it and sends no second one."""

    async def run() -> tuple[Outcome, Outcome]:
        async with opened(lab, to_numbers=[A]) as channel:
            lab.twilio.script(fault)
            first = await channel.send(message())
            assert isinstance(first, Unknown)
            return first, await channel.send(message(progress=dict(first.progress)))

    first, second = asyncio.run(run())
    assert isinstance(first, Unknown)
    assert list(first.progress["unknown"]) == [A]
    assert isinstance(second, Delivered)
    assert second.receipt["sid"] == lab.twilio.messages[0].id
    assert inbox(lab) == [A]


def test_a_message_in_doubt_that_is_not_there_is_sent(lab: Lab) -> None:
    """The request was written and never processed: the look-up finds nothing, so it is sent."""

    async def run() -> list[Outcome]:
        async with opened(lab, to_numbers=[A]) as channel:
            lab.twilio.script(Respond(201, "no id"))
            first = await channel.send(message())
            assert isinstance(first, Unknown)
            return [first, await channel.send(message(progress=dict(first.progress)))]

    assert isinstance(asyncio.run(run())[1], Delivered)
    assert inbox(lab) == [A]


def test_an_earlier_message_with_the_same_text_is_not_taken_for_it(lab: Lab) -> None:
    """Two alerts may read the same: what is known to be the first is not the second."""

    async def run() -> Outcome:
        async with opened(lab, to_numbers=[A]) as channel:
            assert isinstance(await channel.send(message()), Delivered)
            lab.twilio.script(Respond(201, "no id"))
            second = await channel.send(message())
            assert isinstance(second, Unknown)
            return await channel.send(message(progress=dict(second.progress)))

    assert isinstance(asyncio.run(run()), Delivered)
    assert inbox(lab) == [A, A]


def test_an_old_message_with_the_same_text_is_not_taken_for_it(lab: Lab) -> None:
    """Nor is one from before the attempt in doubt, which another process may have sent."""

    async def run() -> Outcome:
        async with opened(lab, to_numbers=[A]) as earlier:
            await earlier.send(message())
        async with opened(lab, to_numbers=[A]) as channel:
            later = lab.twilio.setting.wall() + 60
            return await channel.send(message(progress={"unknown": {A: later}}))

    assert isinstance(asyncio.run(run()), Delivered)
    assert inbox(lab) == [A, A]


@pytest.mark.parametrize("fault", [Respond(500, "oops"), Respond(200, "no JSON"), Drop()])
def test_while_a_doubt_cannot_be_resolved_nothing_is_sent(lab: Lab, fault: Fault) -> None:
    """The look-up fails: the doubt stays for the next attempt."""

    async def run() -> tuple[Outcome, Outcome]:
        async with opened(lab, to_numbers=[A]) as channel:
            lab.twilio.script(Respond(201, "no id", stored=True))
            first = await channel.send(message())
            assert isinstance(first, Unknown)
            lab.twilio.down(fault)
            second = await channel.send(message(progress=dict(first.progress)))
            lab.twilio.up()
            assert isinstance(second, Retry)
            assert list(second.progress["unknown"]) == [A]
            return second, await channel.send(message(progress=dict(second.progress)))

    _, third = asyncio.run(run())
    assert isinstance(third, Delivered)
    assert inbox(lab) == [A]


def test_no_time_for_all_numbers_is_no_failure_of_those_reached(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt's time is one for all numbers; the rest is for the next attempt."""
    monkeypatch.setattr(sms.Errand, "seconds", 0.0)

    async def run() -> Outcome:
        async with opened(lab) as channel:
            return await channel.send(message(progress={"accepted": {A: "SM1"}}))

    outcome = asyncio.run(run())
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.progress == {"accepted": {A: "SM1"}, "refused": {}}
    assert inbox(lab) == []


@pytest.mark.parametrize("fault", [Respond(401, {"code": 20003}), Respond(404, {"code": 20404}), Drop()])
def test_no_detail_holds_a_secret(lab: Lab, fault: Fault) -> None:
    """Neither the account nor its token is in an outcome or in the section's text."""
    lab.twilio.script(fault)
    [outcome] = sent(lab)
    section = {key: value for key, value in lab.twilio.section().items() if key != "type"}
    for secret in (lab.twilio.account_sid, lab.twilio.auth_token):
        assert secret not in repr(outcome)
        assert secret not in repr(SmsConfig.model_validate(section))


def test_a_message_without_a_date_is_not_the_one_in_doubt(lab: Lab) -> None:
    """What cannot be told from an older one is left alone, and the text is sent."""
    lab.twilio.script(Respond(200, {"messages": [{"sid": "SM1", "to": A, "body": "nightly failed"}, 7]}))

    async def run() -> Outcome:
        async with opened(lab, to_numbers=[A]) as channel:
            return await channel.send(message(progress={"unknown": {A: 0.0}}))

    assert isinstance(asyncio.run(run()), Delivered)
    assert inbox(lab) == [A]


def test_texts_are_fitted_to_the_segments_paid_for(lab: Lab) -> None:
    """`fit` cuts to `max_segments`, whatever the format the template made."""

    async def run() -> list[FormattedMessage]:
        async with opened(lab, max_segments=2) as channel:
            long = FormattedMessage(format=MessageFormat.HTML, content={"html": "<p>", "text": "a" * 999})
            return [channel.fit(message("short")), channel.fit(long)]

    short, long = asyncio.run(run())
    assert short == message("short")
    assert (long.format, segments(str(long.content))) == (MessageFormat.TEXT, 2)


def test_where_a_template_says_nothing_the_title_is_sent(lab: Lab) -> None:
    """Twilio refuses a message without a text (21602)."""
    event = NotificationEvent(event_type="job_failed", source="tests", title="nightly failed")

    async def run() -> Outcome:
        async with opened(lab, to_numbers=[A]) as channel:
            blank = FormattedMessage(format=MessageFormat.TEXT, content=" \n", events=(event,), id="msg_1")
            return await channel.send(channel.fit(blank))

    assert isinstance(asyncio.run(run()), Delivered)
    assert [taken.text for taken in lab.twilio.messages] == ["nightly failed"]


def test_toll_free_senders_have_shorter_parts(lab: Lab) -> None:
    """306 characters are two segments from a long code and three from a toll-free number."""

    async def run(number: str) -> str:
        async with opened(lab, from_number=number, max_segments=2) as channel:
            return str(channel.fit(message("a" * 306)).content)

    assert len(asyncio.run(run("+15005550006"))) == 306
    assert len(asyncio.run(run("+18005550006"))) == 304


def test_health_is_a_look_at_the_account(lab: Lab) -> None:
    """Right or wrong credentials show without a message being sent."""

    async def run() -> tuple[bool, bool, str]:
        async with opened(lab) as channel:
            good = await channel.health_check()
        async with opened(lab, auth_token="wrong") as channel:
            bad = await channel.health_check()
        return good.healthy, bad.healthy, bad.detail

    good, bad, detail = asyncio.run(run())
    assert (good, bad) == (True, False)
    assert "20003" in detail
    assert inbox(lab) == []


def test_health_names_an_account_that_does_not_work(lab: Lab) -> None:
    """Right credentials of a suspended account are no help."""
    lab.twilio.account_status = "suspended"

    async def run() -> str:
        async with opened(lab) as channel:
            health = await channel.health_check()
            assert not health.healthy
            return health.detail

    assert asyncio.run(run()) == "the account is suspended: see the Twilio Console"


def test_callbacks_are_asked_for_by_channel(lab: Lab) -> None:
    """The address is the section's, and names the channel for those who share it."""
    [outcome] = sent(lab, to_numbers=[A], name="night-shift", status_callback_url="https://a.example.com/t")
    assert isinstance(outcome, Delivered)
    assert lab.twilio.messages[0].payload["StatusCallback"] == "https://a.example.com/t?channel=night-shift"
