"""The whole suite: the checks of a channel that speaks HTTP, and all those before them."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import ClassVar

import pytest

from knell.lab.faults import Endless, Gate, Half, Redirect, Respond, Slow
from knell.messages import Outcome, Reason, Retry
from knell.testing.network import SHORT, NetworkConformance
from knell.testing.stage import Stage
from knell.testing.verdicts import EVERY_STATUS, Verdict, by_status, verdict

WISH = 1800
"""Seconds a provider asks for: far from every default."""


class ChannelConformance(NetworkConformance):
    """What a channel promises whose provider speaks HTTP.

    Attributes:
        statuses: status -> verdict, where the provider's documentation says otherwise than HTTP.
        unreadable: what a success means whose body breaks off or says nothing.
    """

    statuses: ClassVar[Mapping[int, Verdict]] = {}
    unreadable: ClassVar[Verdict] = Verdict.DELIVERED

    def answer(self, status: int) -> Respond:
        """Return the provider's answer of this status: an empty body unless it has a form of its own."""
        return Respond(status)

    def limited(self, retry_after: str) -> Respond:
        """Return the answer by which the provider asks to wait."""
        answer = self.answer(429)
        return Respond(429, answer.body, {**answer.headers, "Retry-After": retry_after})

    def test_every_status(self, stage: Stage) -> None:
        """Each status of HTTP means what it says, or what the case's own table says."""

        async def check() -> dict[int, tuple[Verdict, Outcome]]:
            wrong: dict[int, tuple[Verdict, Outcome]] = {}
            for status in EVERY_STATUS:
                stage.provider.down(self.answer(status))
                async with stage.open() as channel:
                    outcome = await stage.attempt(channel)
                expected = self.statuses.get(status, by_status(status))
                if self.opaque and expected is not Verdict.DELIVERED:
                    expected = Verdict.TRANSIENT
                if verdict(outcome) is not expected:
                    wrong[status] = (expected, outcome)
            return wrong

        assert stage.run(check()) == {}

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, stage: Stage, status: int) -> None:
        """A redirect is a mistake of the configuration, and its target sees nothing."""
        stage.provider.down(Redirect(stage.trap.base_url, status))
        outcome = self._outcome(stage)
        assert stage.trap.requests == (), "the redirect was followed"
        self._check(outcome, Verdict.CHANNEL)

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_retry_after(self, stage: Stage, form: str) -> None:
        """The provider's wish is passed on, in both forms of the header (RFC 9110, section 10.2.3)."""
        if self.opaque:
            pytest.skip("the library in between hides what the provider wishes")
        now = time.time()
        wish = str(WISH) if form == "seconds" else formatdate(now + WISH, usegmt=True)
        stage.provider.down(self.limited(wish))
        outcome = self._outcome(stage)
        assert isinstance(outcome, Retry), outcome
        assert outcome.reason is Reason.RATE_LIMIT
        assert outcome.after is not None
        # A date counts down while the request is under way.
        passed = time.time() - now + 1
        assert WISH - passed <= outcome.after <= WISH

    def test_an_endless_answer(self, stage: Stage) -> None:
        """An answer without end is cut off; it neither fills the memory nor uses up the time."""
        if self.opaque:
            pytest.skip("what the library in between reads is not the channel's to limit")
        outcome = self._outcome(stage, Endless(), seconds=SHORT)
        self._check_unreadable(outcome)
        assert getattr(outcome, "reason", None) is not Reason.TIMEOUT, "only the deadline ended the reading"

    def test_an_answer_that_breaks_off(self, stage: Stage) -> None:
        """The status was seen: what happens to the body is no failure of the delivery."""
        self._check_unreadable(self._outcome(stage, Half()))

    def test_an_answer_that_drips(self, stage: Stage) -> None:
        """A body that comes ever so slowly is given up at the deadline."""
        with Gate() as gate:
            self._check_unreadable(self._outcome(stage, Slow(gate), seconds=SHORT))

    def _check_unreadable(self, outcome: Outcome) -> None:
        # At the deadline a library in between has said nothing at all.
        given_up = self.opaque and verdict(outcome) is Verdict.UNKNOWN
        self._check(outcome, Verdict.UNKNOWN if given_up else self.unreadable)
