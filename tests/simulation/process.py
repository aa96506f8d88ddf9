"""One process of knell: the topology and the actors of production, in simulated surroundings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import pykka
from prometheus_client import CollectorRegistry

from knell.actors.cell import Cell
from knell.actors.channel import ChannelActor, Equipment
from knell.actors.clock import Clock
from knell.actors.ending import running
from knell.actors.host import Host
from knell.actors.outbox import Outbox
from knell.actors.spec import Spec
from knell.actors.system import System
from knell.actors.telemetry import Telemetry
from knell.config.schema import NotificationConfig

from .cells import SimulatedCell, Stage
from .clockwork import Thread
from .memory_disk import Disk
from .memory_store import MemoryStore
from .network import SimulatedChannel, Templates


@dataclass(frozen=True)
class Cast:
    """Who plays what is of interest: the real ones, or mutants."""

    outbox: type[Outbox] = Outbox
    channel: type[ChannelActor] = ChannelActor
    store: type[MemoryStore] = MemoryStore


class Metrics(Telemetry):
    """The metrics of all simulated processes: made once, because that takes as long as a history."""

    def close(self) -> None:
        """Stay for the next one."""


METRICS = Metrics(CollectorRegistry())


class NoHttp:
    """Stands for the HTTP client."""

    def limited(self, _: int) -> "NoHttp":
        """Return the client of one channel."""
        return self

    async def close(self) -> None:
        """Close nothing."""


class Process(System):
    """A process.

    Args:
        config: its configuration.
        disk: what it finds.
        stage: where it plays.
        poison: events that the templates choke on.
        cast: who plays.
        on_fatal: told when the root gives up.
    """

    cell: ClassVar[type[Cell]] = SimulatedCell

    def __init__(
        self,
        config: NotificationConfig,
        disk: Disk,
        stage: Stage,
        poison: set[str],
        cast: Cast,
        on_fatal: Callable[[str], None],
    ) -> None:
        self._disk = disk
        self._stage = stage
        self._poison = poison
        self._cast = cast
        classes: dict[str, Any] = dict.fromkeys(config.channels, SimulatedChannel)
        super().__init__(config, classes, METRICS.registry, clock=stage.clock, on_fatal=on_fatal)

    @property
    def channels(self) -> list[Cell]:
        """The channel actors there are."""
        supervisor = self.root.children.get("channels")
        return list(supervisor.children.values()) if supervisor else []

    def find_store(self, _url: str, _remember: float) -> MemoryStore:
        """Return another store on the one disk."""
        return self._cast.store(self._disk)

    def spawn(self, run: Callable[[], None]) -> None:
        """Start a thread that dies with the process."""
        self._stage.threads.append(Thread(self._stage.clockwork, run))

    def vanish(self) -> None:
        """Leave nothing but the disk."""
        running.discard(self)
        self._disk.crash()
        for thread in self._stage.threads:
            thread.kill()
        for cell in (self.root, *self.cells()):
            pykka.ActorRegistry.unregister(cell.actor_ref)

    def _surroundings(self, clock: Clock) -> Host:
        assert clock is self._stage.clock
        return self._stage

    def _metrics(self, registry: CollectorRegistry) -> Telemetry:
        assert registry is METRICS.registry
        return METRICS

    def _equip(self) -> Equipment:
        return Equipment(cast("Any", Templates(self._poison)), cast("Any", NoHttp()), METRICS)

    def _outbox(self) -> Spec:
        spec = super()._outbox()
        return replace(spec, behaviour=self._cast.outbox, args={**spec.args, "find": self.find_store})

    def _channel_specs(self) -> tuple[Spec, ...]:
        return tuple(replace(spec, behaviour=self._cast.channel) for spec in super()._channel_specs())
