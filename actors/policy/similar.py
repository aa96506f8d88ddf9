"""Which events mean the same: those that agree in the fields that the configuration names under `dedup`."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from knell.events import NotificationEvent

from .filters import MISSING, reader

Similarity = Callable[[NotificationEvent], str]
"""Returns the same text for events that mean the same; empty for one that is like no other."""


@dataclass(frozen=True, slots=True)
class Dedup:
    """What makes events mean the same.

    Attributes:
        fields: such as `event_type` and `metadata.task_id`; without any, no event is like another.
        window: seconds for which an event stands for those that mean the same.
    """

    fields: tuple[str, ...] = ()
    window: float = 0.0


def similarity(dedup: Dedup) -> Similarity:
    """Return how alike events are.

    An event that lacks one of them is like no other: two that name no task are not about the same task.
    """
    readers = [reader(tuple(field.split("."))) for field in dedup.fields]

    def similar(event: NotificationEvent) -> str:
        values = [read(event) for read in readers]
        if not values or any(value is MISSING for value in values):
            return ""
        return msgspec.json.encode(values, order="deterministic").decode()

    return similar
