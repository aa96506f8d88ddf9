"""What the handlers of one server share: the system behind them, and how far it is."""

from dataclasses import dataclass
from enum import StrEnum

from knell.manager import NotificationManager


class Phase(StrEnum):
    """How far the service is; events are taken while it serves."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(slots=True)
class Service:
    """The running service.

    Attributes:
        manager: the system; its actors run from `SERVING` on.
        loopback: whether nobody but this machine can reach the server.
    """

    manager: NotificationManager
    loopback: bool
    phase: Phase = Phase.STARTING
