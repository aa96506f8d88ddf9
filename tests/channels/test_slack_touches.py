"""Edits and reactions without time or in great number, and what each method's tier lets through."""

import asyncio
from typing import Any

import pytest

from knell.channels.slack_api import Reply, SlackApi, Tiers
from knell.channels.slack_touches import MAX_OWED, Touches
from knell.lab import ManualClock
from knell.messages import Delivered, Reason, Rejected, Retry

NOTHING: dict[str, Any] = {"text": "x"}


class Calls(SlackApi):
    """A Web API that notes what it is asked, and takes all."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def call(self, method: str, given: Any, seconds: float) -> Reply:
        """Note a call."""
        del method, seconds
        self.made.append(given["ts"])
        return Reply(Delivered())


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


def test_what_is_owed_is_bounded(clock: ManualClock) -> None:
    """The newest are kept; without time nothing is made up for."""
    api = Calls()
    touches = Touches(api, Tiers(clock))

    async def play() -> None:
        for number in range(MAX_OWED + 50):
            problem, lost = await touches.edit("C1", str(number), NOTHING, 0.1)
            assert (problem, lost) == ("not edited: no time was left", False)
        await touches.make_up(lambda: 0.1)
        assert api.made == []
        for _ in range(MAX_OWED):
            clock.advance(60)
            await touches.make_up(lambda: 9.0)

    asyncio.run(play())
    assert sorted(map(int, api.made)) == list(range(50, MAX_OWED + 50))


def test_what_the_app_may_not_do_is_not_owed(clock: ManualClock) -> None:
    """When somebody gives it the scope, old states are no use to anybody."""
    api, tiers = Calls(), Tiers(clock)
    touches = Touches(api, tiers)
    tiers.learn("chat.update", Rejected(Reason.AUTHENTICATION, "no scope"))
    assert asyncio.run(touches.edit("C1", "1", NOTHING, 9.0)) == ("not edited: no scope", False)
    clock.advance(3600)
    asyncio.run(touches.make_up(lambda: 9.0))
    assert api.made == []
    assert asyncio.run(touches.edit("C1", "2", NOTHING, 9.0)) == ("", False)
    assert api.made == ["2"]


def test_a_minute_never_holds_more_than_the_tier(clock: ManualClock) -> None:
    """Whenever it begins: the burst and what flows in together are fifty."""
    tiers = Tiers(clock)
    times: list[float] = []
    for _ in range(2000):
        clock.advance(0.1)
        if not tiers.take("chat.update"):
            times.append(clock())
    most = max(sum(start <= time < start + 60 for time in times) for start in times)
    assert 45 <= most <= 50


def test_the_longer_rest_wins(clock: ManualClock) -> None:
    """A shorter one, or a success, does not end it; without a hint it is a second."""
    tiers = Tiers(clock)
    tiers.learn("chat.update", Retry(Reason.RATE_LIMIT, 60, "long"))
    tiers.learn("chat.update", Retry(Reason.RATE_LIMIT, None, "short"))
    tiers.learn("chat.update", Delivered())
    clock.advance(59)
    assert tiers.take("chat.update") == "long"
    assert tiers.take("reactions.add") == ""
    clock.advance(1)
    assert tiers.take("chat.update") == ""
    tiers.learn("chat.update", Rejected(Reason.AUTHENTICATION, "no scope"))
    assert (tiers.take("chat.update"), tiers.is_barred("chat.update")) == ("no scope", True)
