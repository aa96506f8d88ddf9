from knell.channels.console import ConsoleChannel
from knell.testing import LocalConformance


class TestConsole(LocalConformance):
    """The terminal."""

    channel = ConsoleChannel
