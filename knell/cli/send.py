"""`knell send`: one event, to a running service or through a system of its own."""

import time
from importlib import import_module
from typing import Any

import click

from knell.cli.event import event_from, event_options
from knell.cli.options import config_option, json_option, service_options
from knell.cli.results import echo_json, echo_results, nobody, results_of
from knell.events import Sealed
from knell.messages import DeliveryStatus

POLL_SECONDS = 0.02
"""First wait between two looks at a running service; it doubles up to `POLL_MOST`."""

POLL_MOST = 1.0
"""Seconds of the longest wait."""


@click.command(short_help="Send one event.")
@event_options
@click.option("--wait", is_flag=True, help="Wait for the deliveries; exit 1 if one failed.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How long to wait.",
)
@service_options
@config_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    wait: bool,
    timeout: float,
    url: str | None,
    token: str | None,
    config: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Send one event: to the service at --url, else through a system of its own for this one event.

    TYPE is job_started, job_completed, job_failed, task_started, task_completed, task_failed, pr_created,
    pr_merged, pr_closed, agent_error, system_alert, or a name of yours.

    \b
    knell send job_failed --title "nightly build failed" --severity error --meta job_id=42
    """  # noqa: D301 - click reads the backspace
    sealed = event_from(flags)
    if url:
        if config:
            raise click.UsageError("--config is the service's business when there is a --url (or KNELL_URL)")
        failed = _to_service(sealed, url, token, timeout, wait=wait, as_json=as_json)
    else:
        # With it comes the whole system, which a sender to a service does not need.
        embedded = import_module("knell.cli.embedded")
        failed = embedded.send(sealed, config, timeout if wait else None, as_json=as_json)
    ctx.exit(1 if failed else 0)


def _to_service(
    sealed: Sealed, url: str, token: str | None, timeout: float, *, wait: bool, as_json: bool
) -> bool:
    """Send to a running service; return whether a delivery that was waited for failed."""
    remote = import_module("knell.cli.remote").Remote(url, token, timeout)
    accepted = remote.send(sealed)
    again = ", as before" if accepted.duplicate else ""
    click.echo(f"accepted by {url}{again}: {sealed.event.event_type} {sealed.event.title!r}", err=True)
    if not wait:
        if as_json:
            echo_json(accepted.id, duplicate=accepted.duplicate)
        else:
            click.echo(accepted.id)
        return False
    status = _final(remote, accepted.id, timeout)
    results = results_of(status)
    if as_json:
        echo_json(accepted.id, duplicate=accepted.duplicate, results=results)
    else:
        echo_results(results)
    if not results:
        click.echo(nobody(status.suppressed), err=True)
    return any(not result.success for result in results)


def _final(remote: Any, event_id: str, timeout: float) -> DeliveryStatus:
    """Look again and again until every delivery has ended, or the time has."""
    until, pause = time.monotonic() + timeout, POLL_SECONDS
    while True:
        status: DeliveryStatus = remote.status(event_id)
        left = until - time.monotonic()
        if left <= 0 or all(channel.state.final for channel in status.channels):
            return status
        time.sleep(min(pause, left))
        pause = min(pause * 2, POLL_MOST)
