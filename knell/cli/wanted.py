"""Which dead letters a command is about: its filters as a selection."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from knell.errors import KnellError
from knell.messages import DeliveryState
from knell.store import parsing
from knell.store.records import Selection

F = TypeVar("F", bound=Callable[..., object])


def _read(_ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Return the value of a filter; click says which one is wrong."""
    try:
        return None if value is None else parsing.one(param.name or "", value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def filter_options(function: F) -> F:
    """Add the filters; `selection` takes them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.option("--channel", metavar="NAME", callback=_read, help="Only of this channel."),
    click.option("--type", "event_type", metavar="TYPE", callback=_read, help="Only of events of this type."),
    click.option("--reason", metavar="REASON", callback=_read, help="Only those given up for this reason."),
    click.option(
        "--since",
        metavar="WHEN",
        callback=_read,
        help="Only those given up since: a time such as 2026-01-31T12:00:00Z, or an age such as 30m, 2h, 3d.",
    ),
    click.option("--until", metavar="WHEN", callback=_read, help="Only those given up before."),
)


def known_form(id_: str) -> str:
    """Return an id that can be one.

    Raises:
        KnellError: it cannot, so that no delivery has it.
    """
    if not parsing.is_id(id_):
        raise KnellError(f"there is no delivery {id_!r}")
    return id_


def selection(filters: Mapping[str, Any], ids: Sequence[str] = ()) -> Selection:
    """Return the dead letters that are meant.

    Raises:
        KnellError: an id cannot be one.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    return Selection(ids=tuple(dict.fromkeys(map(known_form, ids))), state=DeliveryState.DEAD, **given)


def certain(filters: Mapping[str, Any], ids: Sequence[str], *, everything: bool) -> Selection:
    """Return the dead letters that are to be changed.

    Raises:
        click.UsageError: nothing says which, or too much does.
        KnellError: an id cannot be one.
    """
    ways = [bool(ids), any(value is not None for value in filters.values()), everything]
    if sum(ways) != 1:
        also = ", and only one of these" if any(ways) else ""
        raise click.UsageError(f"say which: IDs, filters such as --channel slack, or --all{also}")
    return selection(filters, ids)
