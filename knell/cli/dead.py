"""`knell dead`: what could not be delivered, why, and what is to become of it."""

import getpass
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Protocol

import click
import msgspec

from knell.cli.letters import story, table
from knell.cli.options import config_option, json_option, service_options
from knell.cli.plain import writable
from knell.cli.remote import Page, Remote
from knell.cli.wanted import certain, filter_options, known_form, selection
from knell.messages import DeliveryState
from knell.store.contract import REPLAY_INTERVAL
from knell.store.records import DeliveryDetail, DeliveryRecord, Selection

ANSWER_SECONDS = 60.0
"""How long the service may take: a replay of a million deliveries is one commit."""

PAGE = 500
"""Deliveries asked for at once."""

_SHORT = {
    "ls": "List dead letters.",
    "show": "Show everything about one delivery.",
    "replay": "Try dead letters again.",
    "drop": "Give up dead letters for good.",
}


class Desk(Protocol):
    """Where dead letters are: a running service, or a store file."""

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> Page:
        """Return a page of what is selected, and how many there are."""
        ...

    def delivery(self, id_: str) -> DeliveryDetail:
        """Return one delivery."""
        ...

    def replay(self, selection: Selection, by: str) -> int:
        """Try what is selected again; return how many."""
        ...

    def cancel(self, selection: Selection, by: str) -> int:
        """Give up what is selected; return how many."""
        ...


@click.group(short_help="Show, replay or drop what could not be delivered.")
def command() -> None:
    """Show, replay or drop what could not be delivered.

    Asks the service at --url (or KNELL_URL); else the store file of the configuration is used: to look at it
    beside a running service, to change it when no process has it.
    """


def _common(function: Callable[..., None]) -> click.Command:
    """Make a command of it, with the options that all of them have."""
    return command.command(short_help=_SHORT[function.__name__])(
        service_options(config_option(json_option(function)))
    )


@_common
@filter_options
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Show so many at most, the latest.",
)
def ls(
    *, url: str | None, token: str | None, config: str | None, as_json: bool, limit: int, **filters: Any
) -> None:
    """List dead letters, the youngest events first.

    \b
    AGE    how long ago it was given up
    TRIES  attempts that counted
    """  # noqa: D301 - click reads the backspace
    found, total = _all(_desk(url, token, config), selection(filters), limit)
    if as_json:
        _echo_json({"deliveries": found, "total": total})
        return
    if found:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in table(found, datetime.now(UTC), width):
            click.echo(writable(line, sys.stdout.encoding))
    click.echo(_summary(len(found), total), err=True)


@_common
@click.argument("id_", metavar="ID")
def show(*, url: str | None, token: str | None, config: str | None, as_json: bool, id_: str) -> None:
    """Show one delivery: its event, every attempt, and why it was given up."""
    detail = _desk(url, token, config).delivery(known_form(id_))
    if as_json:
        _echo_json(detail)
        return
    for line in story(detail, datetime.now(UTC)):
        click.echo(writable(line, sys.stdout.encoding))


def _changes(function: Callable[..., None]) -> click.Command:
    """Make a command of it that changes what is selected."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--all", "everything", is_flag=True, help="All dead letters there are."),
        filter_options,
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        function = option(function)
    return _common(function)


@_changes
def replay(*, url: str | None, token: str | None, config: str | None, **what: Any) -> None:
    """Try dead letters again, under their old ids and with all their attempts.

    Each channel gets 20 a second of them, so that new events are not kept waiting. Recipients who have the
    message already do not get it again.

    \b
    knell dead replay --channel slack --since 2h
    """  # noqa: D301 - click reads the backspace
    desk = _desk(url, token, config)
    count = _change(desk, "replay", "replayed", desk.replay, **what)
    if count and not url:
        click.echo("they are sent by the next 'knell run'", err=True)
    elif count:
        click.echo(
            f"they are sent from now on, {1 / REPLAY_INTERVAL:.0f} a second for each channel", err=True
        )


@_changes
def drop(*, url: str | None, token: str | None, config: str | None, **what: Any) -> None:
    """Give up dead letters for good; they stay in the history as cancelled."""
    desk = _desk(url, token, config)
    _change(desk, "drop", "dropped", desk.cancel, **what)


def _change(  # noqa: PLR0913 - what both commands take
    desk: Desk,
    verb: str,
    done: str,
    carry_out: Callable[[Selection, str], int],
    *,
    ids: Sequence[str],
    everything: bool,
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> int:
    """Carry out an order, after a question to whoever is at a terminal; return how many it concerned."""
    wanted = certain(filters, ids, everything=everything)
    named = [_named(desk, id_) for id_ in wanted.ids]
    if not yes and on_terminal():
        total = sum(named) if named else desk.deliveries(wanted, "", 1).total
        if total:
            click.confirm(f"{verb.capitalize()} {_letters(total)}?", abort=True, err=True)
    count = carry_out(wanted, _user())
    if as_json:
        _echo_json({done: count})
    else:
        click.echo(f"{_letters(count)} {done}")
    return count


def on_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _named(desk: Desk, id_: str) -> bool:
    """Return whether a delivery is a dead letter, and say what else it is."""
    state = desk.delivery(id_).delivery.state
    if state is not DeliveryState.DEAD:
        click.echo(f"{id_} is {state} and left alone", err=True)
    return state is DeliveryState.DEAD


def _desk(url: str | None, token: str | None, config: str | None) -> Desk:
    if url and config:
        raise click.UsageError("--config is the service's business when there is a --url (or KNELL_URL)")
    if url:
        return Remote(url, token, ANSWER_SECONDS)
    # With it comes what reads configurations, which nobody with a URL needs.
    found: Desk = import_module("knell.cli.local").Local(config)
    return found


def _all(desk: Desk, wanted: Selection, limit: int) -> tuple[list[DeliveryRecord], int]:
    """Return up to `limit` deliveries, a page at a time, and how many there are."""
    page = desk.deliveries(wanted, "", min(limit, PAGE))
    found, total = page.deliveries, page.total
    while page.next and len(found) < limit:
        page = desk.deliveries(wanted, page.next, min(limit - len(found), PAGE))
        found = [*found, *page.deliveries]
    return found, total


def _summary(shown: int, total: int) -> str:
    if not total:
        return "no dead letters"
    return _letters(total) if shown == total else f"{shown} of {_letters(total)}; --limit shows more"


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _user() -> str:
    """Return who asks, as far as the system knows; it ends up in the audit record."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
    return name if name.isprintable() else ""


def _echo_json(content: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(content)).decode())
