"""Opt-outs: a legal stop that outlives the channel, and the ways in which it ends."""

import asyncio
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from knell.channels.memory import Scratch
from knell.channels.optouts import Consent, OptOuts, consent

A, B = "+819012345671", "+819012345672"
STOPPED_AT = 1_800_000_000.0


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"OptOutType": "STOP", "Body": "ARRET"}, Consent.STOP),
        ({"OptOutType": "START", "Body": "stop"}, Consent.START),
        ({"OptOutType": "HELP", "Body": "STOP"}, None),
        ({"Body": "STOP"}, Consent.STOP),
        ({"Body": " stop\n"}, Consent.STOP),
        ({"Body": "StopAll"}, Consent.STOP),
        ({"Body": "UNSUBSCRIBE"}, Consent.STOP),
        ({"Body": "CANCEL"}, Consent.STOP),
        ({"Body": "END"}, Consent.STOP),
        ({"Body": "QUIT"}, Consent.STOP),
        ({"Body": "REVOKE"}, Consent.STOP),
        ({"Body": "OPTOUT"}, Consent.STOP),
        ({"Body": "START"}, Consent.START),
        ({"Body": "yes"}, Consent.START),
        ({"Body": "UNSTOP"}, Consent.START),
        ({"Body": "please stop the build"}, None),
        ({"Body": ""}, None),
        ({}, None),
    ],
)
def test_what_an_answer_means(form: dict[str, str], said: Consent | None) -> None:
    """Twilio's own word wins; without it the whole text has to be one of its keywords."""
    assert consent(form) is said


class Noted(Scratch):
    """A memory that keeps for how long things were to be noted."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}

    def put(self, key: str, value: Any, seconds: float = 0.0) -> None:
        """Note something."""
        self.seconds[key] = seconds
        super().put(key, value, seconds)


def test_an_opt_out_is_kept_for_good_and_for_one_number() -> None:
    """Until START, for whoever asks the same memory."""

    async def run() -> None:
        memory = Noted()
        OptOuts(memory).stop(A, STOPPED_AT)
        assert memory.seconds == {f"stopped {A}": inf}
        assert await OptOuts(memory).hold(A, STOPPED_AT + 1e9)
        assert not await OptOuts(memory).hold(B, STOPPED_AT)
        OptOuts(memory).start(A)
        assert not await OptOuts(memory).hold(A, STOPPED_AT)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("agreed", "now", "held"),
    [
        (STOPPED_AT + 10, STOPPED_AT + 20, False),
        (STOPPED_AT - 10, STOPPED_AT + 20, True),
        (STOPPED_AT, STOPPED_AT + 20, True),
        (STOPPED_AT + 30, STOPPED_AT + 20, True),
    ],
    ids=["after the stop", "before it", "at once", "in the future"],
)
def test_a_consent_on_record_lifts_what_is_older(agreed: float, now: float, *, held: bool) -> None:
    """It never speaks for a later STOP, and not before its time has come."""

    async def run() -> bool:
        memory = Scratch()
        optouts = OptOuts(memory, {A: datetime.fromtimestamp(agreed, UTC)})
        optouts.stop(A, STOPPED_AT)
        return await optouts.hold(A, now)

    assert asyncio.run(run()) is held


@pytest.mark.parametrize("note", [True, "yes", {"at": "noon"}, {}, []])
def test_a_note_that_cannot_be_read_is_a_stop(note: object) -> None:
    """When in doubt, nothing is sent, whatever is on record."""

    async def run() -> bool:
        memory = Scratch()
        memory.put(f"stopped {A}", note)
        return await OptOuts(memory, {A: datetime.fromtimestamp(STOPPED_AT, UTC)}).hold(A, STOPPED_AT + 1)

    assert asyncio.run(run())
