"""The manager: the whole system behind one object, for the program that embeds it."""

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pykka
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from knell.actors.clock import Clock
from knell.actors.lifetime import ForkedError
from knell.actors.mail import Submit
from knell.actors.policy.channel import Reset
from knell.actors.receipt import Receipt
from knell.actors.system import System
from knell.assembly import Classes, Source, advice, classes, read
from knell.channels.base import Channel
from knell.config.load import check
from knell.config.schema import ChannelConfig, NotificationConfig, RoutingRule
from knell.errors import ChannelError, ConfigError, DeliveryError
from knell.events import NotificationEvent, Sealed, seal
from knell.log import log
from knell.messages import DeliveryResult, DeliveryStatus, HealthStatus
from knell.operations import Operations
from knell.store import free_bytes, open_reader
from knell.templates.engine import TemplateEngine

STOP_SECONDS = 10.0
"""How long `stop` lets what is under way end."""


def start(
    config: Source | None = None,
    *,
    registry: CollectorRegistry | None = None,
    environ: Mapping[str, str] | None = None,
    on_fatal: Callable[[str], None] | None = None,
) -> "NotificationManager":
    """Start a system and return its manager: use it as a context manager, or call its `stop`.

    Args:
        config: a file, a mapping, or a `NotificationConfig`; by default `config/notifications.yaml`.
        registry: where the metrics go; one of its own by default, never the global one.
        environ: where `${VAR}` comes from; the process's environment by default.
        on_fatal: called, on a thread of knell's, when the root supervisor gives up; by default it is logged.

    Raises:
        ConfigError: the configuration is wrong; nothing was started.
        StoreError: the outbox cannot be opened, for example because another process has it.
    """
    manager = NotificationManager(config, registry=registry, environ=environ, on_fatal=on_fatal)
    manager.start()
    return manager


class NotificationManager(Operations):
    """One running system; made by `start`. Its methods may be called from any thread.

    Attributes:
        ref: the address to tell events to: one object for the life of the system, whatever crashes behind it.
        registry: the metrics.
    """

    def __init__(
        self,
        config: Source | None = None,
        *,
        registry: CollectorRegistry | None = None,
        environ: Mapping[str, str] | None = None,
        on_fatal: Callable[[str], None] | None = None,
        clock: Clock | None = None,
        free: Callable[[str], float] = free_bytes,
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._source = config
        self._environ = environ
        self._switched: dict[str, bool] = {}
        self._registered: dict[str, tuple[ChannelConfig, type[Channel]]] = {}
        self._changing = threading.Lock()
        checked, found = self._with_registered(self._read())
        self._reader = open_reader(checked.store.url)
        self._system = System(checked, found, self.registry, clock=clock, free=free, on_fatal=on_fatal)
        self.ref: pykka.ActorRef[Any]

    # Life

    def start(self) -> None:
        """Start the actors; see the function `start`."""
        self._system.start()
        self._system.telemetry.reloaded(self._system.host.clock.wall())
        self.ref = self._system.router

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Take no more events, finish what is under way, and end; what is left waits for the next start.

        It returns after `timeout` seconds (and a moment for the connections) whatever hangs. A second call,
        and one in a forked child, does nothing. In a program that ends without it, it is called for a second.
        """
        self._system.stop(timeout)
        if not self._system.life.elsewhere:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Events

    def notify(self, event: NotificationEvent, *, key: str = "") -> Receipt:
        """Hand over an event; never blocks, and never raises because of a delivery.

        Args:
            event: what happened.
            key: an idempotency key besides the event's id: a second event with the same key is the first one.

        Raises:
            EventError: the event is malformed.
            SystemStopped: this process is a fork of the one that runs the system.
        """
        return self.submit(seal(event), key=key)

    def submit(self, sealed: Sealed, *, key: str = "") -> Receipt:
        """Do as `notify` does, for an event that was checked before."""
        receipt = Receipt(sealed.event.event_id, self._system.life)
        try:
            self.ref.tell(Submit(sealed, receipt, key))
        except ForkedError:
            raise
        except pykka.ActorDeadError:
            self._system.telemetry.count_event(sealed.event.event_type, "failed")
            receipt.refuse("stopped")
        return receipt

    def notify_and_wait(self, event: NotificationEvent, timeout: float | None = 30.0) -> list[DeliveryResult]:
        """Hand over an event and wait for its deliveries: one result per channel; see `Receipt.results`.

        Raises:
            EventError: the event is malformed.
            DeliveryError: the event was not accepted, or not in time; the message says why.
        """
        receipt = self.notify(event)
        results = receipt.results(timeout)
        if not receipt.accepted(0):
            why = receipt.refused or "that is not known in time"
            raise DeliveryError(f"event {receipt.id} was not accepted: {why}")
        return results

    def get_delivery_status(self, notification_id: str) -> DeliveryStatus:
        """Return where an event stands.

        Raises:
            DeliveryError: no event with this id has been accepted.
            StoreError: the store cannot be read.
        """
        self._system.life.check()
        status = self._reader.status(notification_id)
        if status is None:
            raise DeliveryError(f"no event {notification_id!r} was accepted")
        return status

    # Configuration

    @property
    def config(self) -> NotificationConfig:
        """The configuration in force."""
        return self._system.config

    @property
    def templates(self) -> TemplateEngine:
        """The templates: `register_template`, `list_templates`, `render`."""
        return self._system.equipment.engine

    @property
    def system(self) -> System:
        """The actors, for those who look inside: the HTTP server, the console, tests."""
        return self._system

    def reload_config(self) -> None:
        """Read the configuration again and take it over, all or nothing.

        Raises:
            ConfigError: it is wrong; the old one stays in force.
        """
        with self._change():
            try:
                self._take_over(self._read())
            except ConfigError as error:
                self._system.telemetry.reload_ok.set(0)
                log.error("config.rejected", error=str(error))
                raise

    def update_config(self, config: Source) -> None:
        """Take over another configuration; from now on `reload_config` reads this one.

        Raises:
            ConfigError: it is wrong; the old one stays in force.
        """
        before, self._source = self._source, config
        try:
            self.reload_config()
        except ConfigError:
            self._source = before
            raise

    def update_routing_rules(self, rules: Iterable[RoutingRule | Mapping[str, Any]]) -> None:
        """Replace the routing rules, until the configuration is read again.

        Raises:
            ConfigError: a rule is wrong; the old ones stay in force.
        """
        try:
            checked = [RoutingRule.model_validate(rule) for rule in rules]
        except ValidationError as error:
            raise ConfigError(f"event_routing: {error}") from error
        with self._change():
            config = self.config.model_copy(update={"event_routing": checked})
            check(config)
            self._take_over(config)

    def register_channel(self, channel: Channel) -> None:
        """Add a channel that a program made, under the name in its section.

        Its class and its section are what counts: a new object is made for every start of its actor.

        Raises:
            ChannelError: its section has no name, or the name is taken.
        """
        section = channel.config
        if not section.name or section.name in self.config.channels:
            raise ChannelError(f"register_channel: the name {section.name!r} is empty or taken")
        with self._change():
            self._registered[section.name] = (section, type(channel))
            self._take_over(self.config)

    def enable_channel(self, name: str) -> None:
        """Let a channel deliver again: start its actor, close its breaker, end its pauses.

        Raises:
            ChannelError: there is no such channel.
            ConfigError: its section cannot be used, for example because a credential is missing.
        """
        self._switch(name, on=True)
        self._system.root.children["channels"].children[name].actor_ref.tell(Reset())

    def disable_channel(self, name: str) -> None:
        """Stop a channel; what it has not delivered waits until it is enabled again.

        Raises:
            ChannelError: there is no such channel.
        """
        self._switch(name, on=False)

    def health(self) -> HealthStatus:
        """Say whether every actor serves; `checks` names each. A provider that is down is no ill health."""
        checks = {cell.path: "ok" if cell.up else "down" for cell in self._system.cells()}
        down = sorted(path for path, state in checks.items() if state != "ok")
        return HealthStatus(not down, f"down: {', '.join(down)}" if down else "", checks)

    # Small parts

    @contextmanager
    def _change(self) -> Generator[None]:
        """Change the configuration, one at a time, and never in a forked child, where nobody would answer."""
        self._system.life.check()
        with self._changing:
            yield

    def _switch(self, name: str, *, on: bool) -> None:
        if name not in self.config.channels:
            raise ChannelError(f"there is no channel {name!r}")
        with self._change():
            before, self._switched = self._switched, {**self._switched, name: on}
            try:
                self._take_over(self._read())  # a disabled channel's credentials were not looked at before
            except ConfigError:
                self._switched = before
                raise

    def _read(self) -> NotificationConfig:
        return read(self._source, self._environ, self._switched)

    def _take_over(self, config: NotificationConfig) -> None:
        config, found = self._with_registered(config)
        self._system.reconfigure(config, found)
        self._system.telemetry.reloaded(self._system.host.clock.wall())
        log.info("config.reloaded", channels=sorted(found))

    def _with_registered(self, config: NotificationConfig) -> tuple[NotificationConfig, Classes]:
        """Add the channels that a program registered."""
        own = config.model_copy(
            update={"channels": {n: s for n, s in config.channels.items() if n not in self._registered}}
        )
        found = classes(own)
        for problem in advice(own, found):
            log.warning("config.advice", problem=problem)
        sections = dict(own.channels)
        for name, (section, channel) in self._registered.items():
            enabled = self._switched.get(name, section.enabled)
            sections[name] = section.model_copy(update={"enabled": enabled})
            if enabled:
                found[name] = channel
        return own.model_copy(update={"channels": sections}), found
