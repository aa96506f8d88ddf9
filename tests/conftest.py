"""What every suite needs: events that differ only where a test says so."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from knell.events import NotificationEvent

# A machine that is busy with something else is no failure of a test.
settings.register_profile("knell", deadline=None)
settings.load_profile("knell")

pytest_plugins = ["tests.puppets", "tests.rogues"]

MakeEvent = Callable[..., NotificationEvent]


@pytest.fixture(scope="session")
def make_event() -> MakeEvent:
    """Return a maker of events: `make_event(severity="error")`."""

    def make(event_type: str = "job_failed", **fields: Any) -> NotificationEvent:
        given: dict[str, Any] = {"event_type": event_type, "source": "tests", "title": "a title", **fields}
        return NotificationEvent(**given)

    return make
