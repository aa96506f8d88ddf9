"""`knell`: its commands, each imported when it is used, and what each way to fail means to the shell.

A new command is a module of its name in this folder with a click command called `command`, and a line in
`COMMANDS`.
"""

import os
import sys
from importlib import import_module
from typing import Any

import click

from knell.errors import ConfigError, KnellError

FAILED = 1
BAD_CONFIG = 78
"""EX_CONFIG of sysexits.h."""

COMMANDS = {
    "demo": "Show what knell does, on this machine alone.",
    "run": "Run the service in the foreground.",
    "send": "Send one event.",
    "test": "Send a test message through a channel.",
    "dead": "Show, replay or drop what could not be delivered.",
    "store": "Look after the file that accepted events live in.",
    "tree": "Show the actors of a running service.",
    "check": "Find every mistake in a configuration.",
    "init": "Write a configuration to begin with.",
    "schema": "Print the JSON Schema of the configuration.",
}
"""Name and help of each command, in the order of `knell --help`, which imports none of them."""


class Commands(click.Group):
    """The commands, by their names; the real ones are loaded when one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Load the command that is called."""
        name, found, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            found = import_module(f"knell.cli.{name}").command
        return name, found, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; say what went wrong in words and by the exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            ctx.exit(BAD_CONFIG)
        except KnellError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(FAILED)


@click.group(
    cls=Commands,
    commands={name: click.Command(name, short_help=text) for name, text in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration.",
)
@click.version_option(package_name="knell", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Tell people what their coding jobs did."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command line and end the process.

    A channel of the configuration's own may lie in the working directory, as for `python -m knell`. Last, so
    that it shadows nothing that is installed.
    """
    sys.path.append("")
    cli(prog_name="knell")
