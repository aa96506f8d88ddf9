from knell.channels.log import LogChannel
from knell.testing import LocalConformance


class TestLog(LocalConformance):
    """The host's log."""

    channel = LogChannel
