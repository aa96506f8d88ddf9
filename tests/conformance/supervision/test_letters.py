import threading
from typing import Any

import pytest

from knell.actors.letters import LOG_EVERY
from tests.deeds import Puppets
from tests.puppets import PATIENCE, Gate

SENDERS, EACH = 4, 500


def test_46_a_flood_is_counted_exactly_and_logged_at_a_bounded_rate(
    timed: Any, puppet: Puppets, gate: Gate, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins; while it lasts one line a second with what came since; then as before.

    Origin: Pekko DeadLetterSuspensionSpec, 70.
    """

    def logged() -> list[int]:
        records = [record for record in caplog.records if record.message == "actor.dead_letter"]
        caplog.clear()
        return [record.__dict__["count"] for record in records]

    def flood() -> None:
        for number in range(EACH):
            ref.tell(number)

    timed.start(puppet("a", mailbox=1))
    ref = timed.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    ref.tell("fills it")
    senders = [threading.Thread(target=flood) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(PATIENCE)
    total = SENDERS * EACH
    assert timed.host.letters.counts() == {("a", "mailbox_full"): total}
    assert logged() == [1]
    time.passes(LOG_EVERY - 0.001)
    ref.tell("still the same second")
    assert logged() == []
    time.passes(0.001)
    ref.tell("the next one")
    assert logged() == [total + 1]
    time.passes(3600.0)
    ref.tell("long after the flood")
    assert logged() == [1]
    assert timed.host.letters.counts() == {("a", "mailbox_full"): total + 3}
