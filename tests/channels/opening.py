"""A channel as its actor runs it: opened, asked to send attempt after attempt, closed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from knell.channels.base import Channel
from knell.channels.http import Http
from knell.config.schema import Security
from knell.messages import Delivered, FormattedMessage, HealthStatus, Outcome
from knell.testing import world
from knell.testing.world import SomeChannel

LOOPBACK = Security.model_validate({"require_tls": False, "allowed_networks": ["127.0.0.0/8"]})
"""What a channel may do that talks to a stand-in without TLS."""


@asynccontextmanager
async def running(channel: SomeChannel, security: Security = LOOPBACK) -> AsyncGenerator[SomeChannel, None]:
    """Run a channel over connections of its own."""
    async with world.running(channel, Http(security)):
        yield channel


async def examined(channel: Channel, security: Security = LOOPBACK) -> HealthStatus:
    """Return what an open channel says of its health."""
    async with running(channel, security):
        return await channel.health_check()


async def attempted(channel: Channel, message: FormattedMessage, attempts: int) -> list[Outcome]:
    """Make attempts at one message, each with the progress of the one before."""
    outcomes: list[Outcome] = []
    progress: Mapping[str, Any] = message.progress
    for attempt in range(1, attempts + 1):
        outcome = await channel.send(replace(message, attempt=attempt, progress=dict(progress)))
        outcomes.append(outcome)
        progress = {} if isinstance(outcome, Delivered) else outcome.progress
    return outcomes
