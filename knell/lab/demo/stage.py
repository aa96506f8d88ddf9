"""Where the demo plays: stand-ins, system and store, all gone without a trace at the end."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from knell.lab import Lab
from knell.lab.demo.cast import ALL, ROUTING
from knell.lab.demo.fragile import FragileSlack
from knell.manager import NotificationManager, start

STOP_SECONDS = 3.0
"""How long deliveries under way may take at the end."""


def configuration(lab: Lab, folder: Path, *, lang: str = "en", dashboard_url: str = "") -> dict[str, Any]:
    """Return a configuration as an operator might write it, only in more of a hurry."""
    config = lab.config(events=None)
    channels = {name: config["channels"][name] for name in ALL}
    calm = {"enabled": True, "max_batch_size": 10, "max_wait_seconds": 0.1}
    channels["slack"] |= {"type": f"{FragileSlack.__module__}:{FragileSlack.__name__}", "batch": calm}
    breaker = {"failure_threshold": 3, "timeout_seconds": 2, "success_threshold": 1}
    channels["discord"] |= {"batch": calm, "circuit_breaker": breaker}
    return {
        **config,
        "channels": channels,
        "event_routing": ROUTING,
        "retry_policy": {"max_retries": 10, "initial_delay_ms": 400, "max_delay_ms": 2000},
        "supervision": {"within_seconds": 10, "cooldown_seconds": 5},
        "store": {"url": f"sqlite:///{folder}/knell.db"},
        "dashboard_url": dashboard_url,
        "locale": lang,
    }


@contextmanager
def system(
    lab: Lab, *, lang: str, dashboard_url: str, on_fatal: Callable[[str], None]
) -> Generator[NotificationManager]:
    """Run a system against a lab that runs."""
    with _quiet(), TemporaryDirectory(prefix="knell-demo-") as folder:
        config = configuration(lab, Path(folder), lang=lang, dashboard_url=dashboard_url)
        manager = start(config, environ={}, on_fatal=on_fatal)
        try:
            yield manager
        finally:
            manager.stop(STOP_SECONDS)


@contextmanager
def _quiet() -> Generator[None]:
    """Keep knell's log from the terminal: the demo tells the same things in words of its own."""
    logger = logging.getLogger("knell")
    before, logger.propagate = logger.propagate, False
    silent = logging.NullHandler()
    logger.addHandler(silent)
    try:
        yield
    finally:
        logger.removeHandler(silent)
        logger.propagate = before
