"""The checks of a channel that talks to a provider over a network, in whatever protocol."""

import asyncio
import socket
from typing import ClassVar

import pytest

from knell.lab.faults import Drop, Fault, Gate, Hold, Reset
from knell.lab.record import Request
from knell.lab.standin import StandIn
from knell.messages import Outcome, Reason, Retry, Unknown
from knell.testing.local import LocalConformance, MakeStage
from knell.testing.provider import Provider
from knell.testing.stage import Stage
from knell.testing.verdicts import Verdict, verdict
from knell.testing.world import CERTIFICATES, NAME, unresolvable

SHORT = 1.0
"""Seconds of a deadline that is meant to pass: long enough for a busy machine to send the request first."""

LONG = 30.0
"""Seconds of a deadline that is not meant to pass."""


class NetworkConformance(LocalConformance):
    """What a channel promises when its provider fails.

    Attributes:
        tls: whether it can speak TLS.
        opaque: whether a library in between blocks, and hides why something failed. Then every failure may be
            one that passes, and a send that was cancelled may go on until its deadline.
    """

    provider: ClassVar[type[StandIn] | None] = Provider
    tls: ClassVar[bool] = True
    opaque: ClassVar[bool] = False

    def sent(self, request: Request) -> bool:
        """Whether a request says anything that must not go to a server without a good certificate."""
        del request
        return True

    def at_first(self, fault: Fault) -> Fault:
        """Return a fault so that it strikes before the provider has taken the message."""
        return fault

    # Failures of the connection

    def test_no_answer(self, stage: Stage) -> None:
        """The provider has the message and never says so: nobody knows, least of all the channel."""

        async def check(gate: Gate) -> None:
            stage.provider.script(Hold(gate, stored=True))
            async with stage.open(timeout_seconds=SHORT) as channel:
                outcome = await stage.attempt(channel)
                assert isinstance(outcome, Unknown), outcome
                assert outcome.reason is Reason.TIMEOUT
                assert self.delivered(stage) == 1

        with Gate() as gate:
            stage.run(check(gate))

    @pytest.mark.parametrize("fault", [Reset, Drop])
    def test_a_connection_lost_after_the_work(self, stage: Stage, fault: type[Reset | Drop]) -> None:
        """The provider takes the message and hangs up: it may have arrived."""
        outcome = self._outcome(stage, fault(stored=True))
        assert self.delivered(stage) == 1
        self._check(outcome, Verdict.UNKNOWN, Reason.CONNECTION_ERROR)

    @pytest.mark.parametrize("fault", [Reset, Drop])
    def test_a_connection_lost_before_the_work(self, stage: Stage, fault: type[Reset | Drop]) -> None:
        """The provider hangs up on the request: it is tried again, and nobody takes it for delivered."""
        outcome = self._outcome(stage, self.at_first(fault()))
        assert self.delivered(stage) == 0
        assert isinstance(outcome, Retry | Unknown), outcome
        assert outcome.reason in {Reason.CONNECTION_ERROR, Reason.SERVER_ERROR}

    def test_a_refused_connection(self, stage: Stage) -> None:
        """Nobody listens: nothing was sent, and it may pass."""

        async def check() -> None:
            async with stage.open() as channel:
                await asyncio.to_thread(stage.shut)
                self._check(await stage.attempt(channel), Verdict.TRANSIENT, Reason.CONNECTION_ERROR)

        stage.run(check())

    @pytest.mark.parametrize("error", ["EAI_NONAME", "EAI_AGAIN"])
    def test_a_name_that_cannot_be_resolved(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, error: str
    ) -> None:
        """Nothing was sent. No name server that answers may pass; no such name may be the section's fault."""
        stage.elsewhere = NAME
        with unresolvable(monkeypatch, getattr(socket, error)):
            outcome = self._outcome(stage)
        if error == "EAI_NONAME" and verdict(outcome) is Verdict.CHANNEL:
            assert getattr(outcome, "reason", None) is Reason.CONFIGURATION
        else:
            self._check(outcome, Verdict.TRANSIENT, Reason.CONNECTION_ERROR)
        assert stage.provider.requests == ()

    # TLS

    def test_a_good_certificate(self, make_stage: MakeStage) -> None:
        """Over TLS everything works: what follows fails because of the certificates alone."""
        self._needs_tls()
        with make_stage("good") as stage:
            assert verdict(self._outcome(stage)) is Verdict.DELIVERED

    @pytest.mark.parametrize("kind", CERTIFICATES)
    def test_a_bad_certificate(self, make_stage: MakeStage, kind: str) -> None:
        """A server that may be somebody else gets not a byte of the message, and no credential."""
        self._needs_tls()
        with make_stage(kind) as stage:
            self._check(self._outcome(stage), Verdict.CHANNEL, Reason.TLS)
            assert [request for request in stage.provider.requests if self.sent(request)] == []

    # Cancellation

    def test_a_send_cancelled_under_way(self, stage: Stage) -> None:
        """Cancelled while the provider works, a send lets go of its connection; the next one works."""

        async def check(gate: Gate) -> None:
            stage.provider.script(Hold(gate))
            async with stage.open(timeout_seconds=LONG) as channel:
                before = stage.connections()
                sending = asyncio.ensure_future(stage.attempt(channel))
                await asyncio.to_thread(gate.wait_arrived)
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled(), f"it answers {sending.result()!r} to its cancellation"
                await asyncio.sleep(0)
                left = stage.connections() - before
                assert self.opaque or left <= 0, "the connection of the cancelled send is still open"
                gate.open()
                assert verdict(await stage.attempt(channel)) is Verdict.DELIVERED

        with Gate() as gate:
            stage.run(check(gate))

    def test_a_health_check_of_a_provider_that_is_down(self, stage: Stage) -> None:
        """A health check never raises, hangs or shows a secret, whatever the provider does."""

        async def check() -> None:
            stage.provider.down()
            async with stage.open(timeout_seconds=LONG) as channel:
                stage.saw(repr(await channel.health_check()))
                await asyncio.to_thread(stage.shut)
                stage.saw(repr(await channel.health_check()))

        stage.run(check())

    # Small parts

    def _needs_tls(self) -> None:
        if not self.tls:
            pytest.skip("the case says that it speaks no TLS")

    def _check(self, outcome: Outcome, expected: Verdict, *reasons: Reason) -> None:
        found = verdict(outcome)
        if self.opaque:
            assert found in {expected, Verdict.TRANSIENT}, outcome
            return
        assert found is expected, outcome
        assert not reasons or getattr(outcome, "reason", None) in reasons, outcome

    def _outcome(self, stage: Stage, *faults: Fault, seconds: float = LONG) -> Outcome:
        """Send one message to a provider that fails in these ways."""

        async def attempt() -> Outcome:
            stage.provider.script(*faults)
            async with stage.open(timeout_seconds=seconds) as channel:
                return await stage.attempt(channel)

        return stage.run(attempt())
