"""What text messages cost: the usage of every outcome, and a budget that stops what is not critical."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from knell.channels.budget import day_of, spent_on
from knell.channels.memory import Scratch
from knell.channels.sms import SmsChannel
from knell.channels.sms_config import SmsConfig
from knell.events import NotificationEvent, Severity
from knell.lab import Drop, Fault, Lab, Respond
from knell.messages import (
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
    Usage,
)
from tests.channels.opening import running

A, B, C = "+819012345671", "+819012345672", "+819012345673"
LANDLINE = "+15005550009"
BUDGET = {"per_day": 1.0, "price_per_segment": 0.1, "reserve": 0.2}
NOON = 1_800_100_800.0


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab whose Twilio nobody annoys."""
    with Lab(rate_limited=False, wall=lambda: NOON) as running:
        yield running
        assert running.violations == ()


class Timed(SmsChannel):
    """A channel with a clock of its own."""

    at = NOON

    def now(self) -> float:
        """Return what the test says."""
        return self.at


def opened(
    lab: Lab, memory: Scratch, budget: dict[str, Any] | None, *numbers: str
) -> AbstractAsyncContextManager[Timed]:
    """Run a channel with a budget."""
    section = {key: value for key, value in lab.twilio.section().items() if key != "type"}
    channel = Timed(SmsConfig.model_validate({**section, "to_numbers": numbers or [A], "budget": budget}))
    channel.memory = memory
    return running(channel)


def message(
    text: str = "x", *, severity: Severity = Severity.ERROR, progress: dict[str, Any] | None = None
) -> FormattedMessage:
    """Return a message of one event."""
    event = NotificationEvent(event_type="job_failed", source="tests", title="t", severity=severity)
    return FormattedMessage(
        format=MessageFormat.TEXT, content=text, id="msg_1", events=(event,), progress=progress or {}
    )


CRITICAL = Severity.CRITICAL


def outcomes(lab: Lab, *messages: FormattedMessage, numbers: tuple[str, ...] = (A,)) -> list[Outcome]:
    """Send messages one after another."""

    async def run() -> list[Outcome]:
        async with opened(lab, Scratch(), BUDGET, *numbers) as channel:
            return [await channel.send(each) for each in messages]

    return asyncio.run(run())


def test_what_was_sent_is_used(lab: Lab) -> None:
    """Segments and money of all numbers together."""
    [outcome] = outcomes(lab, message("a" * 161), numbers=(A, B))
    assert isinstance(outcome, Delivered)
    assert outcome.usage == Usage(4, 0.4, "USD")


def test_without_a_budget_segments_are_counted_alone(lab: Lab) -> None:
    """What they cost is not known."""

    async def run() -> Outcome:
        async with opened(lab, Scratch(), None) as channel:
            return await channel.send(message())

    assert asyncio.run(run()).usage == Usage(1, 0.0, "")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Respond(500, "oops"), Retry), (Respond(401, {"code": 20003}), Rejected), (Respond(201, "?"), Unknown)],
)
def test_what_a_failed_attempt_spent_is_used(lab: Lab, fault: Fault, kind: type[Outcome]) -> None:
    """The first of two numbers got it: that is in the outcome, whatever became of the second."""

    async def run() -> tuple[Outcome, Outcome]:
        async with opened(lab, Scratch(), BUDGET, A, B) as channel:
            lab.twilio.script(Respond(201, {"sid": "SM1", "num_segments": "1"}, stored=True), fault)
            first = await channel.send(message())
            assert not isinstance(first, Delivered)
            return first, await channel.send(message(progress=dict(first.progress)))

    first, second = asyncio.run(run())
    assert isinstance(first, kind)
    assert (first.usage, second.usage) == (Usage(1, 0.1, "USD"), Usage(1, 0.1, "USD"))


def test_what_was_refused_costs_nothing(lab: Lab) -> None:
    """Neither in the outcome nor in the day."""

    async def run() -> tuple[Outcome, float]:
        memory = Scratch()
        async with opened(lab, memory, BUDGET, LANDLINE) as channel:
            return await channel.send(message()), await spent_on(memory, day_of(NOON))

    outcome, spent = asyncio.run(run())
    assert (outcome.usage, spent) == (None, 0.0)


@pytest.mark.parametrize("stored", [True, False])
def test_a_doubt_is_paid_for_once(lab: Lab, *, stored: bool) -> None:
    """It is set aside until it is known; found, it is used then; not found, it is given back."""

    async def run() -> list[object]:
        memory = Scratch()
        async with opened(lab, memory, BUDGET) as channel:
            lab.twilio.script(Drop(stored=True) if stored else Respond(201, "?"))
            first = await channel.send(message())
            assert isinstance(first, Unknown)
            between = await spent_on(memory, day_of(NOON))
            second = await channel.send(message(progress=dict(first.progress)))
            return [first.usage, between, second.usage, await spent_on(memory, day_of(NOON))]

    assert asyncio.run(run()) == [None, 0.1, Usage(1, 0.1, "USD"), 0.1]
    assert len(lab.twilio.messages) == 1


def test_over_the_budget_only_what_is_critical_goes(lab: Lab) -> None:
    """Eight of ten go, the ninth is refused, two critical ones use the reserve, and then nothing goes."""
    plain, grave = message(), message(severity=CRITICAL)
    found = outcomes(lab, *[plain] * 9, grave, plain, grave, grave)
    sent = [isinstance(outcome, Delivered) for outcome in found]
    assert sent == [True] * 8 + [False, True, False, True, False]
    assert len(lab.twilio.requests) == 10
    for outcome in (found[8], found[12]):
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.BUDGET
        assert outcome.usage is None
        assert "over the budget of 1 USD for 2027-01-16 (UTC)" in outcome.detail


def test_the_next_day_a_replay_reaches_those_who_were_left_out(lab: Lab) -> None:
    """Who has the message already does not get it again; a restart forgets nothing of it."""

    async def run() -> list[Outcome]:
        memory = Scratch()
        async with opened(lab, memory, BUDGET, A, B, C) as channel:
            found = [await channel.send(message(f"{n}")) for n in range(3)]
        assert isinstance(found[-1], Rejected)
        progress = dict(found[-1].progress)
        async with opened(lab, memory, BUDGET, A, B, C) as channel:
            found.append(await channel.send(message("2", progress=progress)))
            channel.at = NOON + 86_400
            return [*found, await channel.send(message("2", progress=progress))]

    found = asyncio.run(run())
    assert [type(outcome) for outcome in found] == [Delivered, Delivered, Rejected, Rejected, Delivered]
    assert found[2].usage == Usage(2, 0.2, "USD")
    third = [text.to[0] for text in lab.twilio.messages if text.text == "2"]
    assert third == [A, B, C]


def test_many_at_once_stay_within_the_budget(lab: Lab) -> None:
    """Twenty at the same time, eight of which the day can pay."""

    async def run() -> list[Outcome]:
        numbers = [f"+8190123456{n:02}" for n in range(20)]
        async with opened(lab, Scratch(), BUDGET, *numbers) as channel:
            return list(await asyncio.gather(*(channel.send(message(f"{n}")) for n in range(3))))

    found = asyncio.run(run())
    assert all(isinstance(outcome, Rejected) for outcome in found)
    assert len(lab.twilio.messages) == 8
    assert sum(outcome.usage.segments for outcome in found if outcome.usage) == 8


def test_what_twilio_counts_is_what_is_spent(lab: Lab) -> None:
    """Its segments win over our own count."""

    async def run() -> tuple[Outcome, float]:
        memory = Scratch()
        async with opened(lab, memory, BUDGET) as channel:
            lab.twilio.script(Respond(201, {"sid": "SM1", "num_segments": "3"}, stored=True))
            return await channel.send(message()), await spent_on(memory, day_of(NOON))

    outcome, spent = asyncio.run(run())
    assert (outcome.usage, spent) == (Usage(3, 0.3, "USD"), 0.3)
