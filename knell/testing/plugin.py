"""The pytest plugin: it costs nothing until one of its fixtures, or the suite, is used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from knell.lab import Lab

# The suite's failures should show what was compared, as those of a test module do.
pytest.register_assert_rewrite(
    "knell.testing.conformance",
    "knell.testing.local",
    "knell.testing.network",
    "knell.testing.stage",
    "knell.testing.verdicts",
)


@pytest.fixture
def knell_lab() -> "Iterator[Lab]":
    """Stand-ins of Slack, Discord, Twilio, a webhook receiver and a mail server, on 127.0.0.1.

    `knell.start(knell_lab.config())` delivers to them; see `knell.lab`.
    """
    from knell.lab import Lab  # noqa: PLC0415 - the lab is large, and most runs do not use it

    with Lab() as lab:
        yield lab
