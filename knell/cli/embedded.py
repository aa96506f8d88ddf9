"""`knell send` without a service: a whole system for one event."""

import logging

import click

from knell.cli.address import way_in
from knell.cli.results import PENDING, echo_json, echo_results, nobody
from knell.errors import KnellError, StoreLocked
from knell.events import Sealed
from knell.manager import NotificationManager
from knell.messages import DeliveryResult

ACCEPT_SECONDS = 10.0
"""How long the commit may take."""

GRACE_SECONDS = 5.0
"""How long deliveries nobody waits for get to end before the process does."""


def send(sealed: Sealed, config: str | None, timeout: float | None, *, as_json: bool) -> bool:
    """Send an event; return whether a delivery that was waited for (for `timeout` seconds) failed.

    Raises:
        ConfigError: the configuration is wrong.
        KnellError: the event was not accepted.
    """
    logging.getLogger("knell").setLevel(logging.CRITICAL + 1)  # the results say it all
    with _started(config) as manager:
        receipt = manager.submit(sealed)
        if not receipt.accepted(ACCEPT_SECONDS):
            raise KnellError(f"the event was not accepted: {receipt.refused or 'the commit takes too long'}")
        results = receipt.results(GRACE_SECONDS if timeout is None else timeout)
        again = " before" if receipt.duplicate else ""
        click.echo(f"accepted{again}: {sealed.event.event_type} {sealed.event.title!r}", err=True)
        if not results:
            click.echo(nobody(manager.get_delivery_status(receipt.id).suppressed), err=True)
    waited = timeout is not None
    if as_json:
        echo_json(receipt.id, duplicate=receipt.duplicate, results=results)
    else:
        echo_results(results, err=not waited)
        if not waited:
            click.echo(receipt.id)
    _say_pending(results, manager.config.store.url)
    return waited and any(not result.success for result in results)


def _started(config: str | None) -> NotificationManager:
    manager = NotificationManager(config)
    try:
        manager.start()
    except StoreLocked as error:
        raise KnellError(f"{error}; {way_in(manager.config.http, 'send to it')}") from error
    return manager


def _say_pending(results: list[DeliveryResult], store: str) -> None:
    waiting = [result.channel for result in results if result.error == PENDING]
    if waiting:
        kept = store.removeprefix("sqlite:///")
        who = ", ".join(waiting)
        click.echo(f"{who}: kept in {kept}, sent by the next 'knell run' or 'knell send' with it", err=True)
