"""`knell init`: a configuration to begin with, its schema, and the variables it names."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import click

from knell.cli import schema
from knell.config.load import DEFAULT
from knell.config.problems import Problem
from knell.config.strict_yaml import read
from knell.config.tree import Node, child, entries, leaves
from knell.errors import KnellError

ENV = Path(".env.example")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
_HEAD = f"""\
# What {DEFAULT} names. Copy this file to .env, fill in what the channels you switch on need, and
# keep .env out of version control. Load it with:  set -a; . ./.env; set +a
"""


@click.command(short_help="Write a configuration to begin with.")
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def command(*, directory: Path, force: bool) -> None:
    """Write config/notifications.yaml, its schema for editors, and .env.example into DIR, by default here."""
    packaged = Path(str(files("knell.config"))) / DEFAULT.name
    content = {
        directory / DEFAULT: packaged.read_text("utf-8"),
        directory / DEFAULT.with_name(schema.SCHEMA): schema.text() + "\n",
        directory / ENV: env_example(packaged),
    }
    _write(content, force=force)
    for path in content:
        click.echo(f"wrote {path}", err=True)
    click.echo(_next_steps(directory), err=True)


def env_example(config: Path) -> str:
    """Return every variable a configuration names, by the channel that needs it."""
    problems: list[Problem] = []
    root = read(config, problems)
    lines = [_HEAD]
    for name, section in entries(child(root, "channels")).items():
        if variables := list(_variables(section)):
            lines += [f"# {name}", *variables, ""]
    return "\n".join(lines)


def _variables(section: Node) -> Iterator[str]:
    seen: set[str] = set()
    for leaf in leaves(section):
        for name, default in _VARIABLE.findall(leaf.value) if isinstance(leaf.value, str) else ():
            if name not in seen:
                seen.add(name)
                yield f"# {name}={default}" if default else f"{name}="


def _write(content: dict[Path, str], *, force: bool) -> None:
    """Write all files or, where one is in the way, none.

    Raises:
        KnellError: a file is there already, or cannot be written.
    """
    there = [str(path) for path in content if path.exists()]
    if there and not force:
        verb = "is" if len(there) == 1 else "are"
        raise KnellError(f"{' and '.join(there)} {verb} there already; --force overwrites")
    try:
        for path, text in content.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise KnellError(f"cannot write {error.filename}: {error.strerror}") from None


def _next_steps(directory: Path) -> str:
    move = [] if directory == Path() else [f"cd {directory}"]
    steps = [
        *move,
        f"switch on a channel in {DEFAULT}: enabled: true",
        "cp .env.example .env, fill in what that channel needs, then: set -a; . ./.env; set +a",
        "knell check",
        "knell run",
        'elsewhere: KNELL_URL=http://127.0.0.1:8321 knell send job_failed --title "It works" --wait',
    ]
    return "\n".join(["", "Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])
