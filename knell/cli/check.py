"""`knell check`: every mistake at once, then everything that is odd."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click
import msgspec

from knell.assembly import classes, model_of
from knell.channels.registry import known_types
from knell.cli.address import serves
from knell.cli.advice import warnings
from knell.cli.main import BAD_CONFIG
from knell.cli.options import config_option, json_option
from knell.cli.rendering import template_problems
from knell.config.load import Loaded, candidates, examine
from knell.config.problems import Problem, in_order
from knell.config.tree import find
from knell.errors import ConfigError, StoreError
from knell.http.auth import check_address
from knell.store import open_reader


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `summary` says what there is, when nothing is wrong."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    summary: str = ""


@click.command(short_help="Find every mistake in a configuration.")
@click.argument("path", required=False)
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, *, path: str | None, config: str | None, as_json: bool) -> None:
    """Find every mistake in a configuration, by default config/notifications.yaml.

    Renders every template for every event each channel can get, in each language; warns of rules that can
    never deliver, of channels nobody reaches, and of variables that a disabled channel misses.

    Exits with 78 when something is wrong; warnings are not.
    """
    wanted = path or config
    report = examined(wanted)
    if as_json:
        _echo_json(report)
    else:
        _echo(report)
        counts = _counted(report)
        name = candidates(wanted)[0]
        head = click.style("ok", fg="green") if not report.problems else click.style("wrong", fg="red")
        click.echo(
            f"{name}: {head}{report.summary and ': '}{report.summary}{counts and '; '}{counts}", err=True
        )
    ctx.exit(BAD_CONFIG if report.problems else 0)


def examined(path: str | None) -> Report:
    """Look at everything in a configuration."""
    files = candidates(path)
    try:
        loaded = examine(files, section_model=model_of, known_types=known_types())
        found = classes(loaded.config)
    except ConfigError as error:
        known = tuple(item for item in error.problems if isinstance(item, Problem))
        return Report(known or (Problem(str(files[0]), 0, 0, str(error)),))
    return Report(
        in_order([*_unstartable(loaded), *template_problems(loaded, found)]),
        in_order(warnings(loaded, found)),
        _summary(loaded),
    )


def _unstartable(loaded: Loaded) -> Iterator[Problem]:
    """Return what only a start would find out."""
    config = loaded.config
    try:
        if serves(config.http):
            check_address(config.http.address[0], config.http.tokens)
    except ConfigError as error:
        yield find(loaded.tree, ("http", "listen"))[0].at.problem(str(error))
    try:
        open_reader(config.store.url).close()
    except StoreError as error:
        yield find(loaded.tree, ("store", "url"))[0].at.problem(str(error))


def _summary(loaded: Loaded) -> str:
    names = [name for name, _ in loaded.config.enabled_channels()]
    rules = len(loaded.config.event_routing)
    return f"{_many(len(names), 'channel')} ({', '.join(names) or 'none'}), {_many(rules, 'rule')}"


def _counted(report: Report) -> str:
    found = (("problem", report.problems), ("warning", report.warnings))
    return ", ".join(_many(len(items), word) for word, items in found if items)


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _echo(report: Report) -> None:
    for problem in report.problems:
        click.echo(str(problem))
    for warning in report.warnings:
        click.echo(_as_warning(warning))


def _as_warning(found: Problem) -> str:
    """Return one line: nothing is wrong in it that a caret would have to show."""
    words = "; ".join(filter(None, (found.message, found.hint)))
    return f"{found.where}: {click.style('warning', fg='yellow')}: {words}"


def _echo_json(report: Report) -> None:
    def listed(found: Sequence[Problem]) -> list[dict[str, object]]:
        return [asdict(problem) for problem in found]

    content = {
        "ok": not report.problems,
        "problems": listed(report.problems),
        "warnings": listed(report.warnings),
    }
    click.echo(msgspec.json.encode(content).decode())
