"""Which events mean the same: those that agree in the fields that the configuration names under `dedup`."""

from collections.abc import Callable, Sequence

import msgspec

from knell.events import NotificationEvent

from .filters import MISSING, reader

Similarity = Callable[[NotificationEvent], str]
"""Returns the same text for events that mean the same; empty for one that is like no other."""


def similarity(fields: Sequence[str]) -> Similarity:
    """Return how alike events are, by fields such as `event_type` and `metadata.task_id`.

    An event that lacks one of them is like no other: two that name no task are not about the same task.
    """
    readers = [reader(tuple(field.split("."))) for field in fields]

    def similar(event: NotificationEvent) -> str:
        values = [read(event) for read in readers]
        if not values or any(value is MISSING for value in values):
            return ""
        return msgspec.json.encode(values, order="deterministic").decode()

    return similar
