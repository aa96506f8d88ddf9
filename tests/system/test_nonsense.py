"""What a third party's channel returns that nobody can write down: a crash of its own, and nobody else's."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.channels.base import (
    Channel,
    Delivered,
    FormattedMessage,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Usage,
)
from knell.messages import DeliveryState
from knell.store.records import Selection
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

ANY: Any = None

NONSENSE: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "an object as receipt": lambda: Delivered({"answer": object()}),
    "half a character": lambda: Rejected(Reason.REFUSED, "\udcff"),
    "no detail": lambda: Rejected(Reason.REFUSED, ANY),
    "a wait in words": lambda: Retry(Reason.SERVER_ERROR, after="soon"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "an object as progress": lambda: Retry(Reason.SERVER_ERROR, progress={"answer": object()}),
    "a price that is no number": lambda: Delivered(usage=Usage(1, float("nan"), "USD")),
}


class Babbler(Channel):
    """Returns the nonsense that the title names."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Babble."""
        outcome: Outcome = NONSENSE[message.events[0].title]()
        return outcome


@pytest.mark.parametrize("title", NONSENSE)
def test_nonsense_is_a_crash_of_its_channel_alone(
    run_system: Callable[..., Watched], stage: Stage, title: str
) -> None:
    """The delivery ends as a dead letter, and the other channel delivers before and after."""
    babbler = {"type": f"{__name__}:Babbler", "events": ["*"], "filters": [{"title": {"ne": "after"}}]}
    watched = run_system({"babbler": babbler, "other": stage.section()})
    results = {r.channel: r for r in watched.manager.notify(event(title)).results(PATIENCE)}
    assert results["babbler"].reason is Reason.CRASHED
    assert results["other"].success
    (after,) = watched.manager.notify(event("after")).results(PATIENCE)
    assert after.success
    assert watched.manager.deliveries(Selection(state=DeliveryState.DEAD, channel="babbler"))


class Windbag(Channel):
    """Says more than anybody reads."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Refuse at length."""
        del message
        return Rejected(Reason.REFUSED, "x" * 1_000_000)


def test_an_endless_detail_is_cut(run_system: Callable[..., Watched]) -> None:
    """The store keeps what people read."""
    watched = run_system({"windbag": {"type": f"{__name__}:Windbag", "events": ["*"]}})
    (result,) = watched.manager.notify(event("a")).results(PATIENCE)
    assert 10_000 < len(result.error or "") < 30_000
