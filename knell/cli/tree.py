"""`knell tree`: the actors of a running service, and what holds each of them up."""

import sys
from importlib import import_module

import click
import msgspec

from knell.cli.branches import lines
from knell.cli.options import config_option, json_option, service_options
from knell.cli.remote import Remote
from knell.errors import KnellError

ANSWER_SECONDS = 10.0
"""How long the service may take: it reads the tree from memory."""


@click.command(short_help="Show the actors of a running service.")
@service_options
@config_option
@json_option
def command(*, url: str | None, token: str | None, config: str | None, as_json: bool) -> None:
    """Show the actors of a running service: how each is, what waits for it, and what holds a channel back.

    The service is the one at --url, else the one that 'knell run' starts with the same configuration.

    \b
    STATE     running, restarting, degraded (crashed too often, rests for its cool-down), stopped
    MAILBOX   messages that wait
    HANDLED   messages handled
    RESTARTS  how often it was started again
    IN HAND   age of the message it works on
    """  # noqa: D301 - click reads the backspace
    if url and config:
        raise click.UsageError("--config is of no use with a --url (or KNELL_URL)")
    seen = _service(url, token, config).tree()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen)).decode())
        return
    for line in lines(seen, sys.stdout.encoding):
        click.echo(line)


def _service(url: str | None, token: str | None, config: str | None) -> Remote:
    if url:
        return Remote(url, token, ANSWER_SECONDS)
    # With it comes what reads configurations, which nobody with a URL needs.
    http = import_module("knell.config.load").sections(config, "http").http
    found = import_module("knell.cli.address").address(http)
    if found is None:
        raise KnellError("http.listen names no fixed port; use the --url that 'knell run' prints")
    if token is None and http.tokens:
        token = http.tokens[0].get_secret_value()
    return Remote(found, token, ANSWER_SECONDS)
