"""Where a channel type comes from: an entry point, a module of this folder, or a dotted name.

A new built-in channel needs no line here: its type is the name of its module.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from knell.errors import ChannelError

from .base import Channel

ENTRY_POINTS = "knell.channels"
"""The entry point group in which other packages publish channel types."""


def find(channel_type: str) -> type[Channel]:
    """Return the class of a channel type.

    Raises:
        ChannelError: there is no such type, or what is there is no `Channel`.
    """
    for point in entry_points(group=ENTRY_POINTS, name=channel_type):
        return _loaded(channel_type, point.load)
    module, colon, name = channel_type.partition(":")
    if colon:
        return _loaded(channel_type, lambda: getattr(import_module(module), name))
    if channel_type in _modules() and (found := _channel_in(channel_type)):
        return found
    raise ChannelError(f"unknown channel type {channel_type!r}; there are {', '.join(known_types())}")


def builtin_types() -> list[str]:
    """Return the channel types that come with knell; this imports them all."""
    return [name for name in _modules() if _channel_in(name)]


def known_types() -> list[str]:
    """Return every channel type that can be named without a colon."""
    return sorted({*builtin_types(), *(point.name for point in entry_points(group=ENTRY_POINTS))})


def _modules() -> list[str]:
    return sorted(found.name for found in iter_modules(import_module(__package__ or "").__path__))


def _channel_in(name: str) -> type[Channel] | None:
    """Return the channel class that a module of this folder defines, if it defines one."""
    module = import_module(f"{__package__}.{name}")
    return next(
        (
            item
            for item in vars(module).values()
            if inspect.isclass(item)
            and issubclass(item, Channel)
            and item.__module__ == module.__name__
            and not inspect.isabstract(item)
        ),
        None,
    )


def _loaded(channel_type: str, load: Callable[[], object]) -> type[Channel]:
    try:
        found = load()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ChannelError(f"channel type {channel_type!r}: {error}") from error
    if inspect.isclass(found) and issubclass(found, Channel):
        return found
    raise ChannelError(f"channel type {channel_type!r}: {found!r} is no subclass of Channel")
