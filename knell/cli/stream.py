"""A stream whose reader may go away: what nobody reads any more must not crash whoever writes it."""

import os
from io import TextIOBase
from typing import TextIO, cast


def lossy(stream: TextIO) -> TextIO:
    """Return a stream that writes to another for as long as that works.

    The actors log: a closed pipe or a full disk behind stdout would crash one after the other.
    """
    return cast("TextIO", Lossy(stream))


class Lossy(TextIOBase):
    """See `lossy`, which has the type that takers of a stream want."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def write(self, text: str, /) -> int:
        """Write, or do as if."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        """Flush; a stream that cannot is led nowhere, so that the end of the process is none of failure."""
        try:
            self._stream.flush()
        except OSError:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except ValueError:
            return
