"""What a message lost on its way is in the log."""

import logging
from collections.abc import Callable

import msgspec
import pytest

from knell.messages import FormattedMessage
from tests.rogues import Rogue, Stage, Watched


class Shortening(Rogue):
    """A channel whose provider has room for little."""

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut everything but what is short."""
        if message.events[0].title == "short":
            return message
        return msgspec.structs.replace(message, cuts=("text: 5 of 9 characters left out",))


def test_a_cut_is_logged_once_for_each_attempt(
    run_system: Callable[..., Watched], stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """With channel, delivery and the report; a message that lost nothing has no line."""
    caplog.set_level(logging.INFO, logger="knell")
    watched = run_system({"a": stage.section(type="tests.system.test_cuts:Shortening")})
    watched.tell("short")
    assert stage.next_sent() == "short"
    stage.failing.set()
    watched.tell("long")
    titles = [stage.next_tried() for _ in range(3)]
    stage.failing.clear()
    assert stage.next_sent() == "long"
    assert titles == ["short", "long", "long"]
    attempts = 2 + stage.tried.qsize()
    lines = [record for record in caplog.records if record.message == "delivery.cut"]
    assert len(lines) == attempts
    for line in lines:
        assert (line.levelname, line.__dict__["channel"]) == ("INFO", "a")
        assert line.__dict__["cuts"] == ["text: 5 of 9 characters left out"]
        assert line.__dict__["delivery_id"]
