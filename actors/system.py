"""The whole system on one page: who there is, in which order they start, and what ties them together.

    root         one_for_one, or the configuration's strategy; when it gives up, the system has failed
     ├── outbox     accepts, hands out, settles; owns the store
     ├── channels   one_for_one, each with an intensity of its own: it is degraded alone
     │    ├── slack
     │    └── ...   one per enabled section
     └── router     the address of the system

Start is from top to bottom and stop the reverse: nothing is accepted that could not be handed on.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pykka
from prometheus_client import CollectorRegistry

from knell.errors import KnellError
from knell.events import EventType, NotificationEvent, Severity
from knell.log import log

from ..channels.base import Channel
from ..channels.http import Http
from ..config.schema import NotificationConfig
from ..templates.engine import TemplateEngine
from . import translate
from .amends import Amends
from .cell import Cell
from .channel import ChannelActor, Equipment
from .clock import Clock
from .context import signal
from .control import Control
from .host import Host
from .io import IoLoop
from .mail import Diverted
from .orders import ActorEvent, Halt
from .outbox import Outbox
from .policy.restart import Strategy
from .policy.routing import ABOUT, SELF
from .router import Router
from .spec import INFINITY, Spec
from .supervisor import Supervisor
from .telemetry import Telemetry

ROUTER_MAILBOX = 50_000
"""Events that may wait to be accepted (contract, section 2)."""

CHANNEL_MAILBOX = 1_000
"""Messages; a channel gets few, each with many deliveries."""

HANG_AFTER = 30.0
"""Seconds one message may take. Not for the outbox: a slow disk is no hang, and its thread owns the store."""

ATTEMPTS = 3
"""How often a message that crashes its actor is handed out."""

Classes = Mapping[str, type[Channel]]


class System:
    """One running tree of actors.

    Args:
        config: the checked configuration.
        classes: the channel class of each enabled section, by the section's name.
        registry: where the metrics go.
        clock: time and dice.
        on_fatal: told why when the root gives up.
    """

    def __init__(
        self,
        config: NotificationConfig,
        classes: Classes,
        registry: CollectorRegistry,
        *,
        clock: Clock | None = None,
        on_fatal: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self._classes = dict(classes)
        self._on_fatal = on_fatal
        self.host = self._surroundings(clock or Clock())
        self._degraded: set[str] = set()
        self.telemetry = self._metrics(registry)
        self.equipment = self._equip()
        self._channels_spec = self._channels()
        self.root = self.cell(self._root(), self.host)
        self.telemetry.root = self.root
        self.host.observers.extend([self.telemetry.observe, self._observe])
        self.host.letters.hand_back = Amends(self.telemetry, lambda: self._ref("outbox")).make

    # What it is made of

    cell: ClassVar[type[Cell]] = Cell
    """The kind of every actor in the tree."""

    def _surroundings(self, clock: Clock) -> Host:
        return Host(IoLoop(), clock, max_zombies=self.config.supervision.max_zombies)

    def _metrics(self, registry: CollectorRegistry) -> Telemetry:
        return Telemetry(registry)

    def _equip(self) -> Equipment:
        return Equipment(_engine(self.config), Http(self.config.security), self.telemetry)

    # The topology

    def _root(self) -> Spec:
        supervision = self.config.supervision
        args = {
            "specs": self._pipeline(),
            "strategy": Strategy(supervision.strategy),
            "intensity": translate.intensity(self.config),
        }
        return Spec("root", Supervisor, args, shutdown=INFINITY, start_timeout=None)

    def _pipeline(self) -> tuple[Spec, ...]:
        """The root's children, in start order."""
        return (self._outbox(), self._channels_spec, self._router())

    def _outbox(self) -> Spec:
        args = {"url": self.config.store.url, "telemetry": self.telemetry}
        return self._worker("outbox", Outbox, args, hang_after=None, mailbox=None)

    def _channels(self) -> Spec:
        args = {"specs": self._channel_specs(), "together": True}
        return Spec("channels", Supervisor, args, shutdown=INFINITY, start_timeout=None)

    def _channel_specs(self) -> tuple[Spec, ...]:
        """The channel supervisor's children: one for every enabled section."""
        return tuple(
            self._worker(
                name,
                ChannelActor,
                {
                    "section": section,
                    "make": self._classes[name],
                    "policy": translate.channel_policy(section, self.config),
                    "equipment": self.equipment,
                },
                mailbox=CHANNEL_MAILBOX,
                own=translate.intensity(self.config, name),
                cooldown=self.config.supervision.cooldown_seconds,
            )
            for name, section in self.config.enabled_channels()
        )

    def _router(self) -> Spec:
        args = {
            "rules": translate.rules(self.config),
            "gates": translate.gates(self.config, self._classes),
            "global_filter": self.config.global_filters,
            "fallbacks": translate.fallbacks(self.config),
            "telemetry": self.telemetry,
        }
        return self._worker("router", Router, args, mailbox=ROUTER_MAILBOX)

    def _worker(self, name: str, behaviour: Any, args: Mapping[str, Any], **defaults: Any) -> Spec:
        """Return a spec with what the configuration says about this actor."""
        given = translate.child(self.config, name)
        settings: dict[str, Any] = {"hang_after": HANG_AFTER, "attempts": ATTEMPTS, **defaults}
        wishes = {
            "shutdown": given.shutdown_seconds,
            "hang_after": given.hang_after_seconds,
            "mailbox": given.mailbox,
            "attempts": given.attempts,
        }
        settings |= {key: value for key, value in wishes.items() if value is not None}
        return Spec(name, behaviour, args, backoff=translate.backoff(self.config, name), **settings)

    # Life

    def start(self) -> None:
        """Start everything, in order.

        Raises:
            KnellError: something did not start; everything is stopped again.
        """
        pykka.ActorRegistry.register(self.root.actor_ref)
        launch = self.root.begin()
        launch.done.wait()
        if launch.failed is not None:
            self._release()
            error = launch.failed.error
            cause = error.__cause__ if error is not None else None
            raise cause if isinstance(cause, KnellError) else error or KnellError("the system did not start")

    def stop(self, timeout: float | None = None) -> None:
        """Stop everything in reverse order; a second call does nothing.

        After `timeout` seconds what still runs is abandoned; its deliveries are in the outbox.
        """
        if not self.root.closed.is_set():
            halt = Halt(final=True)
            signal(self.root.actor_ref, halt)
            if not halt.done.wait(timeout):
                log.error("system.abandoned", after_seconds=timeout)
        self._release()

    def reconfigure(self, config: NotificationConfig, classes: Classes) -> None:
        """Take over another configuration: only the actors whose part of it changed are replaced.

        The router goes first, so that nothing new is routed to a channel on its way out; what is routed to
        one that does not run yet waits in the outbox.
        """
        before, old = self.config, self.equipment
        self.config, self._classes = config, dict(classes)
        if _equipped(config) != _equipped(before):
            self.equipment = self._equip()
        Control(self.root.actor_ref).apply(self._pipeline())
        Control(self.root.children["channels"].actor_ref).apply(self._channel_specs())
        if self.equipment is not old:
            self.host.io.submit(old.http.close, (), _ignore)

    @property
    def router(self) -> pykka.ActorRef[Any]:
        """The address of the system: one object for its whole life."""
        return self.root.children["router"].actor_ref

    def cells(self) -> Iterator[Cell]:
        """Go through all actors, in start order."""
        waiting = [self.root]
        while waiting:
            children = list(waiting.pop().children.values())
            waiting += children
            yield from children

    def _ref(self, name: str) -> pykka.ActorRef[Any] | None:
        cell = self.root.children.get(name)
        return cell.actor_ref if cell else None

    def _observe(self, event: ActorEvent) -> None:
        """Tell people what supervision could not mend by itself."""
        parent, _, name = event.actor.rpartition("/")
        if event.kind == "escalated" and not event.actor:
            log.critical("system.failed", error=event.detail)
            if self._on_fatal is not None:
                self._on_fatal(event.detail)
        elif parent == "channels" and event.kind == "degraded":
            self._degraded.add(name)
            self._degrade(name, event.detail)
        elif parent == "channels" and event.kind == "restarted" and name in self._degraded:
            self._degraded.discard(name)
            self._tell("outbox", Diverted(name, on=False))

    def _degrade(self, name: str, why: str) -> None:
        """A channel is down for its cool-down: tell by other channels, and let its fallback take over."""
        self._tell(
            "router",
            NotificationEvent(
                event_type=EventType.SYSTEM_ALERT,
                source=SELF,
                severity=Severity.CRITICAL,
                title=f"Channel {name} crashes and was degraded",
                description=why,
                metadata={ABOUT: name, "status": "degraded"},
            ),
        )
        if self.config.channels[name].fallback:
            self._tell("outbox", Diverted(name, on=True))

    def _tell(self, name: str, message: object) -> None:
        if (ref := self._ref(name)) is not None and ref.is_alive():
            ref.tell(message)

    def _release(self) -> None:
        if self.host.io.alive:
            self.host.io.run(self.equipment.http.close, timeout=5.0)
            self.host.io.close()
            self.telemetry.close()


def _ignore(_result: object, _error: BaseException | None, _elapsed: float) -> None:
    """Nobody waits for the old client to be closed."""


def _equipped(config: NotificationConfig) -> tuple[object, ...]:
    """The parts of a configuration that every channel works with."""
    return (config.security, config.templates, config.dashboard_url, config.locale)


def _engine(config: NotificationConfig) -> TemplateEngine:
    return TemplateEngine(
        dashboard_url=config.dashboard_url,
        locale=config.locale,
        directories=[Path(folder) for folder in config.templates.directories],
    )
