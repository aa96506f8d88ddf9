"""`knell store`: the file that accepted events live in, as whoever runs the machine has to see it."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from knell.cli.columns import aligned
from knell.cli.options import config_option, json_option
from knell.cli.plain import plain
from knell.config.load import sections
from knell.config.schema import Store as Settings
from knell.errors import KnellError, StoreLocked
from knell.messages import DeliveryState
from knell.store import open_reader, open_store
from knell.store.contract import Reader, Store
from knell.store.moments import age
from knell.store.records import StoreStats

DAY = 86400.0
"""Seconds."""

SLICE = 1000
"""Deliveries that are forgotten in one transaction."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024

_SHORT = {
    "stats": "Show how full it is.",
    "check": "Look for damage, at every row.",
    "backup": "Copy it to a new file.",
    "prune": "Forget what ended long ago.",
}


@click.group(short_help="Look after the file that accepted events live in.")
def command() -> None:
    """Look after the file that accepted events live in: `store.url` of the configuration.

    All but prune work beside a running service. To restore a backup, stop the service and put the copy in
    the place of the file, without the -wal and -shm files that lie beside it.
    """


def _common(function: Callable[..., None]) -> click.Command:
    """Make a command of it, with the options that all of them have."""
    return command.command(short_help=_SHORT[function.__name__])(config_option(json_option(function)))


@_common
def stats(*, config: str | None, as_json: bool) -> None:
    """Show how full it is: deliveries by channel and state, sizes, and the oldest that waits."""
    settings = _settings(config)
    with closing(open_reader(settings.url)) as reader:
        found = reader.stats()
    if as_json:
        _echo_json(found)
        return
    for line in _stats(settings, found, datetime.now(UTC)):
        click.echo(line)


@_common
@click.pass_context
def check(ctx: click.Context, *, config: str | None, as_json: bool) -> None:
    """Look for damage, and for deliveries that are out of order or stuck; exits with 1 when there is any.

    It reads the whole file: seconds for each gigabyte.
    """
    settings = _settings(config)
    with closing(open_reader(settings.url)) as reader:
        problems = [line for found in reader.check() for line in found.splitlines()]
    if as_json:
        _echo_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            click.echo(plain(problem))
        how = click.style("damaged", fg="red") if problems else click.style("ok", fg="green")
        click.echo(f"{_path(settings)}: {how}", err=True)
        if problems:
            click.echo("stop the service, keep the file, and go on with a backup or without it", err=True)
    ctx.exit(1 if problems else 0)


@_common
@click.argument("file", type=click.Path(path_type=Path))
def backup(*, config: str | None, as_json: bool, file: Path) -> None:
    """Copy it to a new FILE, whole and as of one moment, while the service goes on."""
    with closing(open_reader(_settings(config).url)) as reader:
        reader.backup(file)
    size = file.stat().st_size
    if as_json:
        _echo_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"wrote {file} ({_size(size)})")


def _days(name: str, what: str, key: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        f"--{name}-days",
        type=click.FloatRange(min=0),
        metavar="DAYS",
        help=f"Forget {what} that ended longer ago than this; by default store.{key}.",
    )


@_common
@_days("dead", "dead letters", "dead_retention_days")
@_days("done", "other deliveries", "retention_days")
def prune(*, config: str | None, as_json: bool, done_days: float | None, dead_days: float | None) -> None:
    """Forget what ended long ago, and the events and ids nobody needs any more; what waits always stays.

    A running service does it by itself; this is for when none runs. The file keeps its size: the room in it
    is used again.
    """
    settings = _settings(config)
    done = settings.retention_days if done_days is None else done_days
    dead = settings.dead_retention_days if dead_days is None else dead_days
    with closing(open_reader(settings.url)) as reader, _owned(reader, settings) as store:
        before = reader.stats()
        _forget(store, time.time(), done, dead, settings.dedup_days)
        after = reader.stats()
    deliveries, events = _deliveries(before) - _deliveries(after), before.events - after.events
    if as_json:
        _echo_json({"deliveries": deliveries, "events": events})
    else:
        click.echo(f"forgot {_many(deliveries, 'delivery', 'deliveries')} and {_many(events, 'event')}")


@contextmanager
def _owned(reader: Reader, settings: Settings) -> Generator[Store]:
    """Own the store for a while.

    Raises:
        KnellError: a service has it.
    """
    reader.status("")  # a store that is not there is not made by asking for it
    logging.getLogger("knell").addHandler(logging.NullHandler())  # a log is for services
    store = open_store(settings.url, settings.dedup_days * DAY)
    try:
        store.open()
        yield store
    except StoreLocked as error:
        raise KnellError(f"{error}; a running 'knell run' prunes by itself") from None
    finally:
        store.close()


def _forget(store: Store, now: float, done: float, dead: float, keys: float) -> None:
    """Prune a slice at a time, until nothing is left that is older than so many days."""
    forgotten = 1
    while forgotten:
        store.begin()
        forgotten = store.prune(now - done * DAY, now - dead * DAY, now - keys * DAY, SLICE)
        store.commit()
    store.checkpoint()


def _stats(settings: Settings, found: StoreStats, now: datetime) -> Iterator[str]:
    oldest = found.oldest_pending
    facts = {
        "file": f"{_path(settings)} (version {found.version})",
        "size": f"{_size(found.bytes)}, with {_size(found.free_bytes)} left on its disk",
        "events": f"{found.events:,}",
        "waiting": "nothing" if oldest is None else f"the oldest was accepted {age(oldest, now)} ago",
    }
    for name, text in facts.items():
        yield f"{name:<7}  {text}"
    if not found.states:
        return
    yield ""
    heads = tuple(state.upper() for state in DeliveryState)
    rows = [
        (channel, *(f"{counts.get(state, 0):,}" for state in DeliveryState))
        for channel, counts in sorted(found.states.items())
    ]
    yield from aligned(("CHANNEL", *heads), rows, heads)


def _settings(config: str | None) -> Settings:
    return sections(config, "store").store


def _path(settings: Settings) -> str:
    return settings.url.removeprefix("sqlite:///")


def _deliveries(found: StoreStats) -> int:
    return sum(sum(counts.values()) for counts in found.states.values())


def _many(count: int, word: str, words: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else words or f'{word}s'}"


def _size(size: float) -> str:
    """Write a number of bytes as people say it."""
    unit = 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"


def _echo_json(content: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(content)).decode())
