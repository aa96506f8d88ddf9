"""The whole topology on one page: who there is, in which order they start, and what each gets.

    root         one_for_one, or the configuration's strategy; when it gives up, the system has failed
     ├── outbox     accepts, hands out, settles; owns the store
     ├── channels   one_for_one, each with an intensity of its own: it is degraded alone
     │    ├── slack
     │    └── ...   one per enabled section
     └── router     the address of the system

Start is from top to bottom and stop the reverse: nothing is accepted that could not be handed on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..channels.base import Channel
from ..channels.http import Http
from ..config.schema import NotificationConfig
from ..templates.engine import TemplateEngine
from . import translate
from .channel import ChannelActor, Equipment
from .outbox import Outbox
from .policy.restart import Strategy
from .room import Room
from .router import Router
from .spec import Spec
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


class Topology:
    """The specs of all actors, as a configuration wants them; see `System`, which this is the base of.

    Args:
        config: the checked configuration.
        classes: the channel class of each enabled section, by the section's name.
        telemetry: counts for all of them.
        room: whether there is room on the store's disk.
    """

    def __init__(
        self, config: NotificationConfig, classes: Classes, telemetry: Telemetry, room: Room
    ) -> None:
        self.config = config
        self.telemetry = telemetry
        self.room = room
        self._classes = dict(classes)
        self.equipment = self._equip()
        self._channels_spec = self._channels()

    def _root(self) -> Spec:
        supervision = self.config.supervision
        args = {
            "specs": self._pipeline(),
            "strategy": Strategy(supervision.strategy),
            "intensity": translate.intensity(self.config),
        }
        return Spec("root", Supervisor, args)

    def _pipeline(self) -> tuple[Spec, ...]:
        """The root's children, in start order."""
        return (self._outbox(), self._channels_spec, self._router())

    def _outbox(self) -> Spec:
        store = self.config.store
        args = {
            "url": store.url,
            "telemetry": self.telemetry,
            "room": self.room,
            "min_free_mb": store.min_free_mb,
            "keeping": translate.keeping(self.config),
        }
        return self._needed("outbox", Outbox, args, hang_after=None, mailbox=None)

    def _channels(self) -> Spec:
        # Whatever becomes of its children is told to it: nothing may be lost or late, so no bound, no limit.
        args = {"specs": self._channel_specs(), "together": True}
        return self._needed("channels", Supervisor, args, hang_after=None, mailbox=None)

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
            "dedup": translate.dedup(self.config),
            "telemetry": self.telemetry,
        }
        return self._needed("router", Router, args, mailbox=ROUTER_MAILBOX)

    def _needed(self, name: str, behaviour: Any, args: Mapping[str, Any], **defaults: Any) -> Spec:
        """Return the spec of one of the root's children: the system fails with it, it is never degraded."""
        own = translate.own_intensity(self.config, name)
        return self._worker(name, behaviour, args, own=own, cooldown=None, **defaults)

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

    def _equip(self) -> Equipment:
        return Equipment(_engine(self.config), Http(self.config.security), self.telemetry)


def equipped(config: NotificationConfig) -> tuple[object, ...]:
    """The parts of a configuration that every channel works with."""
    return (config.security, config.templates, config.dashboard_url, config.locale)


def _engine(config: NotificationConfig) -> TemplateEngine:
    return TemplateEngine(
        dashboard_url=config.dashboard_url,
        locale=config.locale,
        directories=[Path(folder) for folder in config.templates.directories],
    )
