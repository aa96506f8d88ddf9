"""Where knell's log lines go: one place to decide, and the host's choice by default.

Embedded, knell hands every line to the standard library's logger `knell` and leaves levels, handlers and
formats to the host; structlog's own global configuration is never touched. `knell run` and the other
commands call `to_stream`, which writes the lines themselves.
"""

import logging
import os
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.dev import plain_traceback

LONGEST = 2048
"""Characters of one value in a log line; longer ones are cut, an event text is untrusted."""

_Event = MutableMapping[str, Any]

# Never with local variables: they hold credentials and event texts.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _cut(_logger: Any, _method: str, event: _Event) -> _Event:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > LONGEST:
            event[key] = value[:LONGEST] + "…"
    return event


_HOST: list[Any] = [
    structlog.stdlib.filter_by_level,
    _cut,
    structlog.processors.format_exc_info,
    structlog.stdlib.render_to_log_kwargs,
]

_make: Callable[[], Any] = lambda: structlog.wrap_logger(  # noqa: E731 - replaced by to_stream
    logging.getLogger("knell"), processors=_HOST, wrapper_class=structlog.stdlib.BoundLogger
)

_wanted: Callable[[int], bool] = logging.getLogger("knell").isEnabledFor
"""Whether a line of this level goes anywhere; asked before anything is made of it."""


class Logger:
    """A logger that finds out at its first line where lines go."""

    def __init__(self) -> None:
        self._made: Any = None
        self._by: Callable[[], Any] | None = None

    def debug(self, event: str, **fields: Any) -> None:
        """Log a line that hardly anybody wants: next to nothing when nobody does, for events are many."""
        if _wanted(logging.DEBUG):
            self.__getattr__("debug")(event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log a line that many do not want."""
        if _wanted(logging.INFO):
            self.__getattr__("info")(event, **fields)

    def __getattr__(self, method: str) -> Any:
        """Return `info`, `warning`, `error`, ... of the logger behind it."""
        if self._by is not _make:
            self._by, self._made = _make, _make()
        return getattr(self._made, method)


log = Logger()
"""The logger of every part of knell. Lines are named as the contract lists them (section 8)."""


def to_stream(stream: TextIO, *, level: str = "info", json: bool | None = None) -> None:
    """Write log lines to a stream from now on: JSON unless it is a terminal, or as `json` says."""
    global _make, _wanted  # noqa: PLW0603 - the one switch of this module
    as_json = not stream.isatty() if json is None else json
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and "NO_COLOR" not in os.environ, exception_formatter=plain_traceback
        )
    )
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _cut,
            *([_tracebacks] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    _make = lambda: logger  # noqa: E731
    _wanted = getattr(logging, level.upper()).__le__
