"""The router: the address of the whole system. It checks, routes, and hands over to the outbox.

Started after the outbox and the channels, stopped before them. It takes events that a host tells, events with
a receipt, and deliveries that need a fallback. It owns nothing but its mailbox: a crash loses nothing, and an
event that crashes it twice in a row is a dead letter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from knell.deliveries import Route
from knell.errors import EventError
from knell.events import NotificationEvent, Sealed, seal
from knell.filters import Filter
from knell.log import log
from knell.store.contract import Submission

from .behaviour import Behaviour, Signal, Timer
from .context import Context
from .mail import AddRoutes, Append, Confirmed, Fallback, Submit
from .policy.routing import Gate, RoutingTable, Rule
from .policy.similar import Dedup, similarity
from .receipt import Receipt
from .telemetry import Telemetry

MOST_UNCONFIRMED = 4096
"""Events the outbox may be behind before the router takes no more."""

SILENCE = 5.0
"""Seconds without a word of the outbox after which the router goes on by itself."""

FALLBACK = "fallback for {}"
"""The rule that is credited with a fallback delivery."""


class Router(Behaviour):
    """Routes events by one configuration.

    Args:
        rules, gates, global_filter: see `policy.routing`.
        fallbacks: for each channel, the channels to try when it cannot deliver.
        dedup: which events mean the same, and for how long.
    """

    most = 256
    finishes = True

    def __init__(
        self,
        ctx: Context,
        *,
        rules: Sequence[Rule],
        gates: Mapping[str, Gate],
        global_filter: Filter,
        fallbacks: Mapping[str, tuple[str, ...]],
        dedup: Dedup,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(ctx)
        self._table = RoutingTable(rules, gates, global_filter)
        self._fallbacks = fallbacks
        self._similar, self._window = similarity(dedup), dedup.window
        self._telemetry = telemetry
        self._unconfirmed = 0

    def on_receive(self, message: Any) -> Any:
        """Take one message."""
        self.on_batch([message])

    def on_batch(self, messages: list[Any]) -> None:
        """Route what has gathered, and hand it to the outbox at once."""
        submissions: list[tuple[Submission, Receipt | None]] = []
        for message in messages:
            match message:
                case Submit(sealed, receipt, key):
                    submissions.append((self._route(sealed, key), receipt))
                case Fallback():
                    self._fall_back(message)
                case _ if told := self._seal(message):
                    submissions.append((self._route(told), None))
                case _:
                    self._telemetry.count_event("", "invalid")
        if submissions and (outbox := self.ctx.lookup("outbox")):
            outbox.tell(Append(tuple(submissions), self.ctx.ref))
            self._unconfirmed += len(submissions)
            self._hold_back()

    def on_signal(self, signal: Signal) -> None:
        """Go on once the outbox has caught up, or has been silent for so long that a crash ate its word."""
        match signal:
            case Confirmed(count):
                self._unconfirmed = max(0, self._unconfirmed - count)
            case Timer("confirmed"):
                self._unconfirmed = 0
            case _:
                super().on_signal(signal)
        self._hold_back()

    def _hold_back(self) -> None:
        """Leave events in the bounded mailbox while the outbox is behind: memory has to end somewhere."""
        self.ctx.holding = self._unconfirmed >= MOST_UNCONFIRMED
        if self.ctx.holding:
            self.ctx.wake_at("confirmed", self.ctx.clock.now() + SILENCE)

    def _seal(self, event: object) -> Sealed | None:
        """Check what was told; there is nobody to tell about a mistake but the log."""
        try:
            return seal(event)
        except EventError as error:
            log.error("event.invalid", error=str(error), message_type=type(event).__name__)
            return None

    def _route(self, sealed: Sealed, key: str = "") -> Submission:
        event = sealed.event
        decision = self._table.decide(event)
        for channel, reason in decision.suppressed.items():
            self._telemetry.channel(channel).suppressed[reason].inc()
        if not decision.routes:
            log.info(
                "event.suppressed",
                event_id=event.event_id,
                event_type=event.event_type,
                reasons=dict(decision.suppressed),
            )
        suppressed = {channel: str(reason) for channel, reason in decision.suppressed.items()}
        # An id holds no blank, so a sender's key never meets another event's id.
        keys = (event.event_id, f"key {key}") if key else (event.event_id,)
        # What goes nowhere stands for nobody: a filtered warning must not swallow the failure after it.
        similar = self._similar(event) if decision.routes else ""
        return Submission(sealed, decision.routes, keys, order_key(event), suppressed, similar, self._window)

    def _fall_back(self, fallback: Fallback) -> None:
        wanted = self._fallbacks.get(fallback.channel, ())
        rule = FALLBACK.format(fallback.channel)
        routes = tuple(Route(name, rule) for name in self._table.open_to(fallback.event, wanted))
        if routes and (outbox := self.ctx.lookup("outbox")):
            outbox.tell(AddRoutes(fallback.seq, routes, order_key(fallback.event)))


def order_key(event: NotificationEvent) -> str:
    """Return what a channel keeps in order: the job an event belongs to; empty when it names none."""
    job = event.metadata.get("job_id")
    return str(job) if isinstance(job, str | int) else ""
