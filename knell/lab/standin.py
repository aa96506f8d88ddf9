"""What every stand-in is: a record of what came, a script of what goes wrong, and a server on loopback."""

import asyncio
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from knell.lab.faults import Fault, Respond, Script
from knell.lab.limits import Clock
from knell.lab.record import Record

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all stand-ins of one lab share.

    Attributes:
        certificates: a server-side context; every stand-in then speaks TLS.
        clock: monotonic seconds, for rates and pauses.
        wall: seconds since 1970, for timestamps that cross the wire.
        rate_limited: whether the providers' rates are enforced at the start.
    """

    certificates: ssl.SSLContext | None = None
    clock: Clock = time.monotonic
    wall: Callable[[], float] = time.time
    rate_limited: bool = True


_TURNS = 5


async def settled() -> None:
    """Let what was accepted become a connection, and what was closed come to its end.

    Both take the loop a few turns; a connection nobody sees between them would never be closed.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class StandIn(Record, ABC):
    """A provider on 127.0.0.1. Set `rate_limited` to False for load tests."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self.rate_limited = setting.rate_limited
        self.port = 0
        self._script = Script()
        self._servers: list[asyncio.Server] = []

    @abstractmethod
    async def start(self) -> None:
        """Listen on a free port."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the port and every connection."""

    @abstractmethod
    def section(self) -> dict[str, Any]:
        """Return the section of a knell configuration that reaches this stand-in."""

    def script(self, *faults: Fault) -> None:
        """Let the next requests meet these faults, one each, in order."""
        self._script.add(tuple(self._prepared(fault) for fault in faults))

    @property
    def pending_faults(self) -> tuple[Fault, ...]:
        """The scripted faults that have not struck yet."""
        return self._script.pending

    def down(self, fault: Fault | None = None) -> None:
        """Let every request meet this fault (status 503 if none is given) until `up`."""
        self._script.stand(self._prepared(fault or self._outage()))

    def up(self) -> None:
        """End an outage that `down` began."""
        self._script.stand(None)

    def now(self) -> datetime:
        """Return the wall time."""
        return datetime.fromtimestamp(self.setting.wall(), UTC)

    def _outage(self) -> Fault:
        return Respond(503, "service unavailable")

    def _prepared(self, fault: Fault) -> Fault:
        return fault

    async def _listen(
        self, protocol: Callable[[], asyncio.BaseProtocol], certificates: ssl.SSLContext | None
    ) -> int:
        """Open a free port of loopback and return its number."""
        server = await asyncio.get_running_loop().create_server(protocol, LOOPBACK, 0, ssl=certificates)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _close_ports(self) -> None:
        """Close the ports; every connection that was accepted before is made by then."""
        self.port = 0
        loop = asyncio.get_running_loop()
        for server in self._servers:
            for port in server.sockets:
                # First stop accepting: asyncio loses a connection it is about to make when its server closes.
                loop.remove_reader(port.fileno())
        await settled()
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _listening(self) -> int:
        if not self.port:
            raise RuntimeError(f"the lab does not run: {self.name} has no address yet")
        return self.port
