import asyncio
from typing import Any

import pykka
import pytest

from tests.deeds import Puppets, crash, incarnation
from tests.puppets import PATIENCE


class Stock(pykka.ThreadingActor):
    """An actor of the host's own, with nothing of knell's."""

    def on_receive(self, message: Any) -> Any:
        """Echo."""
        return message


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_47_whatever_escapes_a_handler_restarts_that_actor_alone(
    tree: Any, puppet: Puppets, error: type[BaseException]
) -> None:
    """Told or asked: no other actor stops, not even one of the host's own.

    Origin: pykka, where a BaseException stops every actor of the process.
    """

    def raise_it(_puppet: Any) -> None:
        raise error("out of a handler")

    stock = Stock.start()
    tree.start(puppet("a"), puppet("b"))
    ref = tree.ref("a")
    ref.tell(raise_it)
    with pytest.raises(error, match="out of a handler"):
        ref.ask(raise_it, timeout=PATIENCE)
    assert ref.ask(incarnation, timeout=PATIENCE) == 3
    assert tree.ref("b").ask(incarnation, timeout=PATIENCE) == 1
    assert stock.ask("alive", timeout=PATIENCE) == "alive"
    assert stock.stop(timeout=PATIENCE)


def test_48_an_ask_that_crashes_is_answered_with_its_exception(
    tree: Any, story: Any, puppet: Puppets
) -> None:
    """And counts as a crash: the state behind it is suspect. It is not handed out again.

    Origin: pykka, where the actor goes on with suspect state.
    """
    tree.start(puppet(attempts=3))
    with pytest.raises(ZeroDivisionError, match="over a message"):
        tree.ref("a").ask(crash, timeout=PATIENCE)
    told = story.until("a", "start", 2)
    assert [word[1] for word in told] == ["start", "failure", "start"]
    assert tree.host.letters.total == 0
    assert tree.ref("a").ask("next", timeout=PATIENCE) == "next"
    assert story.rest() == [("a", "next")]
