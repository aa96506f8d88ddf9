"""The alarm: it tells people what supervision could not mend by itself.

An observer of all actors, on the thread of the supervisor that gave up; it never blocks and never raises.
"""

from collections.abc import Callable

from knell.events import EventType, NotificationEvent, Severity
from knell.log import log

from .mail import Diverted
from .orders import ActorEvent
from .policy.routing import ABOUT, SELF

CHANNELS = "channels"
"""The supervisor of the channels, by its path."""


class Alarm:
    """Watches for channels that are degraded and for the end of the root.

    Args:
        tell: tells an actor, by its path, something; nothing happens where there is none.
        has_fallback: whether the configuration names a fallback for a channel.
        fatal: told why when the root gives up.
    """

    def __init__(
        self,
        tell: Callable[[str, object], None],
        has_fallback: Callable[[str], bool],
        fatal: Callable[[str], None],
    ) -> None:
        self._tell = tell
        self._has_fallback = has_fallback
        self._fatal = fatal
        self._degraded: set[str] = set()

    def observe(self, event: ActorEvent) -> None:
        """Look at what happened to an actor."""
        parent, _, name = event.actor.rpartition("/")
        if event.kind == "escalated" and not event.actor:
            log.critical("system.failed", error=event.detail)
            self._fatal(event.detail)
        elif parent == CHANNELS and event.kind == "degraded":
            self._degraded.add(name)
            self._degrade(name, event.detail)
        elif parent == CHANNELS and event.kind in {"started", "restarted"} and name in self._degraded:
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
        if self._has_fallback(name):
            self._tell("outbox", Diverted(name, on=True))
