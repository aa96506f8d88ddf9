"""A selection of deliveries as SQL."""

from collections.abc import Iterator
from typing import Any

import msgspec

from knell.messages import DeliveryState
from knell.store.contract import State
from knell.store.records import Selection

FROM = "FROM delivery d JOIN event e ON e.seq = d.seq"

# Ids lead through the keys: that of a similar event names the event that stands for it.
_NAMED = (
    "d.id IN (SELECT o.id FROM json_each(?) AS j JOIN key k ON k.key = json_extract(j.value, '$[0]') "
    "JOIN delivery o ON o.seq = k.seq AND o.channel = json_extract(j.value, '$[1]'))"
)


def where(selection: Selection) -> tuple[str, list[Any]]:
    """Return the condition on `FROM` for the deliveries that are selected, and its parameters."""
    conditions, values = ["1"], list[Any]()
    for condition, value in _conditions(selection):
        conditions.append(condition)
        values += value
    return " AND ".join(conditions), values


def written(selection: Selection) -> str:
    """Return a selection for an audit record: JSON, and only what was asked for."""
    given = {key: value for key, value in msgspec.to_builtins(selection).items() if value}
    return msgspec.json.encode(given).decode()


def _conditions(selection: Selection) -> Iterator[tuple[str, list[Any]]]:
    if selection.ids:
        yield _NAMED, [msgspec.json.encode([id_.rpartition(":")[::2] for id_ in selection.ids]).decode()]
    match selection.state:
        case None:
            pass
        case DeliveryState.PENDING:
            yield f"d.finished IS NULL AND d.state < {State.SENDING:d}", []
        case state:
            yield f"d.state = {State[state.name]:d}", []
    for column, value in (
        ("d.channel", selection.channel),
        ("e.type", selection.event_type),
        ("d.reason", selection.reason),
    ):
        if value is not None:
            yield f"{column} = ?", [value]
    if selection.since is not None:
        yield "coalesce(d.finished, e.accepted) >= ?", [selection.since.timestamp()]
    if selection.until is not None:
        yield "coalesce(d.finished, e.accepted) < ?", [selection.until.timestamp()]
