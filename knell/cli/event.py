"""An event from the flags of a command line."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from knell.errors import EventError
from knell.events import Link, NotificationEvent, Sealed, Severity, seal
from knell.ids import uuid7

F = TypeVar("F", bound=Callable[..., object])

_WEB = ("http://", "https://")


def event_options(function: F) -> F:
    """Add the flags that make an event; `event_from` takes them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS: Sequence[Callable[[Any], Any]] = (
    click.argument("event_type", metavar="TYPE"),
    click.option("--title", metavar="T", required=True, help="What happened, in a line."),
    click.option(
        "--severity",
        type=click.Choice([str(severity) for severity in Severity]),
        default=str(Severity.INFO),
        show_default=True,
        help="How much it matters.",
    ),
    click.option("--source", metavar="X", default="cli", show_default=True, help="Who tells."),
    click.option("--description", metavar="D", default="", help="What happened, at length."),
    click.option("--meta", metavar="K=V", multiple=True, help="A fact, as text; K:=JSON for anything else."),
    click.option("--link", metavar="TEXT=URL", multiple=True, help="Where to look further."),
    click.option("--event-id", metavar="ID", help="Its id; a repetition with the same id is not sent twice."),
)


def event_from(flags: Mapping[str, Any]) -> Sealed:
    """Return the checked event that the flags of `event_options` make.

    Raises:
        click.UsageError: a flag is wrong; the message names it.
    """
    event = NotificationEvent(
        event_type=flags["event_type"],
        source=flags["source"],
        title=flags["title"],
        severity=Severity(flags["severity"]),
        description=flags["description"],
        metadata=_metadata(flags["meta"]),
        links=[_link(text) for text in flags["link"]],
        event_id=flags["event_id"] or uuid7(),
    )
    try:
        return seal(event)
    except EventError as error:
        raise click.UsageError(_explained(str(error))) from None


def _explained(message: str) -> str:
    """Name the flag rather than the field, and the characters rather than the pattern."""
    field, _, why = message.partition(": ")
    return f"{_FLAGS.get(field, f'--{field}')}: {_CHARACTERS.get(field, why)}"


_FLAGS = {"event_type": "TYPE", "event_id": "--event-id", "metadata": "--meta", "links": "--link"}
_CHARACTERS = {
    "event_type": "expected letters, digits and _ . : -, 100 at most, a letter or digit first",
    "event_id": "expected letters, digits and _ . : @ / + = -, 200 at most, a letter or digit first",
    "source": "expected text that is not blank",
    "title": "expected text that is not blank",
}


def _metadata(facts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact in facts:
        key, equals, value = fact.partition("=")
        as_json = key.endswith(":")
        key = key.removesuffix(":")
        if not (key and equals):
            raise click.UsageError(f"--meta {fact}: expected KEY=VALUE or KEY:=JSON")
        if key in found:
            raise click.UsageError(f"--meta {key} is given twice")
        found[key] = _decoded(fact, value) if as_json else value
    return found


def _decoded(fact: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"--meta {fact}: what follows := is no JSON: {error}") from None


def _link(given: str) -> Link:
    text, equals, url = ("", "=", given) if given.startswith(_WEB) else given.partition("=")
    if not (equals and url):
        raise click.UsageError(f"--link {given}: expected TEXT=URL or a URL")
    return Link(url=url, text=text)
