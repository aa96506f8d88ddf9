"""Options that several commands have."""

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


def config_option(function: F) -> F:
    """Add `--config`."""
    return click.option(
        "--config",
        metavar="PATH",
        help="The configuration; by default config/notifications.yaml, else the one that comes with knell.",
    )(function)


def service_options(function: F) -> F:
    """Add `--url` and `--token`."""
    url = click.option(
        "--url",
        envvar="KNELL_URL",
        show_envvar=True,
        help="A running service, such as http://127.0.0.1:8321.",
    )
    token = click.option("--token", envvar="KNELL_TOKEN", show_envvar=True, help="A token of the service.")
    return url(token(function))


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)
