"""`knell run`: the service in the foreground."""

import sys

import click

from knell.cli.foreground import Foreground
from knell.cli.options import config_option
from knell.cli.stream import lossy
from knell.config.schema import Http
from knell.config.values import host_and_port
from knell.log import to_stream


@click.command(short_help="Run the service in the foreground.")
@config_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where to listen, in the place of http.listen; port 0 is a free one.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least that is logged.",
)
@click.option(
    "--log-format",
    type=click.Choice(["json", "console"]),
    help="By default console on a terminal, else JSON.",
)
@click.pass_context
def command(
    ctx: click.Context, *, config: str | None, listen: str | None, log_level: str, log_format: str | None
) -> None:
    """Run the service in the foreground; its log goes to stdout.

    SIGTERM and Ctrl-C let what is under way end (10 seconds at most), a second one ends at once: what is not
    delivered is kept and sent after the next start. SIGHUP reads the configuration again.
    """
    address = None if listen is None else _address(listen)
    to_stream(lossy(sys.stdout), level=log_level, json=None if log_format is None else log_format == "json")
    ctx.exit(Foreground(config, address).run())


def _address(listen: str) -> tuple[str, int]:
    try:
        return Http(listen=host_and_port(listen)).address
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
