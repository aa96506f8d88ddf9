"""Deliveries for the machines."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.deliveries import Delivery
from knell.events import NotificationEvent, Severity

MakeDelivery = Callable[..., Delivery]


@pytest.fixture(scope="session")
def make_delivery() -> MakeDelivery:
    """Return a maker of deliveries: `make_delivery(7, key="job", severity="critical", attempts=1)`."""

    def make(
        row: int, key: str = "", event_type: str = "job_failed", severity: str = "error", **fields: Any
    ) -> Delivery:
        given: dict[str, Any] = {
            "severity": Severity(severity),
            "title": "t",
            "source": "s",
            "event_id": f"e{row}",
        }
        event = NotificationEvent(event_type=event_type, **given)
        return Delivery(row=row, event=event, channel="slack", order_key=key or f"#{row}", **fields)

    return make
