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


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)
