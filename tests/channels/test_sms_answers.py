"""Every error code of Twilio that has a meaning here, answered over a real socket, and how the send ends."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from knell.channels.sms import SmsChannel
from knell.channels.sms_config import SmsConfig
from knell.lab import Lab, Respond
from knell.messages import FormattedMessage, MessageFormat, Outcome, Reason, Rejected, Retry, Scope
from tests.channels.opening import running

A, B = "+819012345671", "+819012345672"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab that enforces no rates."""
    with Lab(rate_limited=False) as running:
        yield running


def sent(lab: Lab) -> Outcome:
    """Send one message to two numbers."""

    async def run() -> Outcome:
        section = {key: value for key, value in lab.twilio.section().items() if key != "type"}
        channel = SmsChannel(SmsConfig.model_validate({**section, "to_numbers": [A, B]}))
        async with running(channel):
            return await channel.send(FormattedMessage(format=MessageFormat.TEXT, content="x", id="m"))

    return asyncio.run(run())


def refusal(code: int, status: int) -> Respond:
    """Return an error as Twilio writes it."""
    body: dict[str, Any] = {"code": code, "message": "no", "status": status}
    return Respond(status, {**body, "more_info": f"https://www.twilio.com/docs/errors/{code}"})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (21211, Reason.RECIPIENT),
        (21408, Reason.RECIPIENT),
        (21608, Reason.RECIPIENT),
        (21610, Reason.OPTED_OUT),
        (21612, Reason.RECIPIENT),
        (21614, Reason.RECIPIENT),
    ],
)
def test_codes_about_one_number(lab: Lab, code: int, reason: Reason) -> None:
    """The other number gets it; the message is dead for the one, with the code."""
    lab.twilio.script(refusal(code, 400))
    outcome = sent(lab)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.reason.scope) == (reason, Scope.MESSAGE)
    assert outcome.detail.startswith(f"{A}: {code} ")
    assert [text.to for text in lab.twilio.messages] == [(B,)]
    assert outcome.usage is not None
    assert outcome.usage.segments == 1


@pytest.mark.parametrize(
    ("code", "status", "reason", "scope"),
    [
        (20003, 401, Reason.AUTHENTICATION, Scope.CHANNEL),
        (20404, 404, Reason.CONFIGURATION, Scope.CHANNEL),
        (21212, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21603, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21606, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21659, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21660, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21661, 400, Reason.CONFIGURATION, Scope.CHANNEL),
        (21602, 400, Reason.INVALID_MESSAGE, Scope.MESSAGE),
        (21617, 400, Reason.TOO_LARGE, Scope.MESSAGE),
        (99999, 400, Reason.INVALID_MESSAGE, Scope.MESSAGE),
        (99999, 403, Reason.AUTHENTICATION, Scope.CHANNEL),
        (99999, 404, Reason.CONFIGURATION, Scope.CHANNEL),
        (99999, 410, Reason.GONE, Scope.GONE),
        (99999, 413, Reason.TOO_LARGE, Scope.MESSAGE),
        (99999, 418, Reason.REFUSED, Scope.MESSAGE),
        (99999, 302, Reason.CONFIGURATION, Scope.CHANNEL),
    ],
)
def test_codes_that_end_it(lab: Lab, code: int, status: int, reason: Reason, scope: Scope) -> None:
    """Nobody gets it; of a code that is not listed the status decides."""
    lab.twilio.script(refusal(code, status))
    outcome = sent(lab)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.reason.scope) == (reason, scope)
    assert lab.twilio.messages == ()
    assert len(lab.twilio.requests) == 1


@pytest.mark.parametrize(
    ("code", "status", "reason", "after"),
    [
        (20429, 429, Reason.RATE_LIMIT, None),
        (21611, 429, Reason.RATE_LIMIT, 300.0),
        (21611, 400, Reason.RATE_LIMIT, 300.0),
        (99999, 429, Reason.RATE_LIMIT, None),
        (99999, 408, Reason.TIMEOUT, None),
        (99999, 425, Reason.SERVER_ERROR, None),
        (20500, 500, Reason.SERVER_ERROR, None),
        (21610, 503, Reason.SERVER_ERROR, None),
        (99999, 504, Reason.SERVER_ERROR, None),
    ],
)
def test_codes_that_pass(lab: Lab, code: int, status: int, reason: Reason, after: float | None) -> None:
    """Tried again later, and no recipient is held for settled."""
    lab.twilio.script(refusal(code, status))
    outcome = sent(lab)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after, outcome.progress) == (reason, after, {})
    assert lab.twilio.messages == ()
