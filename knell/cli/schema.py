"""`knell schema`: what an editor needs to complete and check the configuration."""

import json

import click

from knell.channels.registry import find, known_types
from knell.config.json_schema import json_schema

SCHEMA = "notifications.schema.json"
"""Its file, beside the configuration whose first line names it."""


@click.command(short_help="Print the JSON Schema of the configuration.")
def command() -> None:
    """Print the JSON Schema of the configuration.

    'knell init' writes it where editors look for it; after an upgrade, or with channels of others installed:

    \b
    knell schema > config/notifications.schema.json
    """  # noqa: D301 - click reads the backspace
    click.echo(text())


def text() -> str:
    """Return the schema with every channel that is installed, as JSON."""
    models = {name: find(name).Config for name in known_types()}
    return json.dumps(json_schema(models), indent=2, ensure_ascii=False)
