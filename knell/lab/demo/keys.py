"""Single keys from a terminal, without waiting for Enter."""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def keys(pressed: Callable[[str], object]) -> Generator[bool]:
    """Call back with each key on the running loop; yield whether there is a keyboard."""
    if not _has_keyboard():
        yield False
        return
    keyboard, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, lambda: _read(keyboard, loop, pressed))
    try:
        yield True
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _has_keyboard() -> bool:
    """Say whether stdin is a terminal and ours: to change it from the background stops the process."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _read(keyboard: int, loop: asyncio.AbstractEventLoop, pressed: Callable[[str], object]) -> None:
    try:
        text = os.read(keyboard, 64)
    except OSError:
        text = b""
    if not text:  # the terminal has gone
        loop.remove_reader(keyboard)
    for key in text.decode(errors="ignore"):
        pressed(key)
