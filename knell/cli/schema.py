"""`knell schema`: what an editor needs to complete and check the configuration."""

import json

import click

from knell.channels.registry import find, known_types
from knell.config.json_schema import json_schema


@click.command(short_help="Print the JSON Schema of the configuration.")
def command() -> None:
    """Print the JSON Schema of the configuration.

    Editors find it by the first line of the file that 'knell init' writes:

    \b
    knell schema > config/notifications.schema.json
    """  # noqa: D301 - click reads the backspace
    models = {name: find(name).Config for name in known_types()}
    click.echo(json.dumps(json_schema(models), indent=2, ensure_ascii=False))
