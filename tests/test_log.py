"""Lines that nobody wants cost nothing, and all others go where the host or the command wants them."""

import io
import json
import logging

import pytest

import knell.log as module
from knell.log import log, to_stream


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Give the lines back to the host at the end."""
    for name in ("_make", "_wanted"):
        monkeypatch.setattr(module, name, getattr(module, name))


def test_the_hosts_level_decides(caplog: pytest.LogCaptureFixture) -> None:
    """Also when the host changes its mind while knell runs."""
    for level in (logging.WARNING, logging.INFO, logging.DEBUG):
        caplog.set_level(level, "knell")
        for method in (log.debug, log.info, log.warning, log.error):
            method(f"at {level}", number=1)
    said = [(record.message, record.levelname) for record in caplog.records]
    assert said == [
        *(("at 30", name) for name in ("WARNING", "ERROR")),
        *(("at 20", name) for name in ("INFO", "WARNING", "ERROR")),
        *(("at 10", name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")),
    ]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_commands_level_decides(level: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the standard library's logger is set to."""
    caplog.set_level(logging.CRITICAL, "knell")
    stream = io.StringIO()
    to_stream(stream, level=level)
    levels = ["debug", "info", "warning", "error"]
    for method in levels:
        getattr(log, method)("line", number=1)
    said = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert said == levels[levels.index(level) :]
