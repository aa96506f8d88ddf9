"""The channel actor: the interpreter of one channel's core.

Started by the channel supervisor, one for each enabled section of the configuration. It owns its mailbox, its
core (limiter, batcher, breaker, retry) and its channel object. It takes the outbox's answers, the outcomes of
its own I/O, and an operator's `Reset`. A crash loses nothing: deliveries are in the outbox; bucket, breaker,
pause and the attempts under way are in `keep`, and the outcomes of those reach the next incarnation.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from knell.deliveries import Again, Attempt, Settlement
from knell.errors import TemplateError
from knell.events import EventType, NotificationEvent, Severity
from knell.log import log
from knell.messages import Delivered, FormattedMessage, Reason

from ..channels.base import Channel
from ..channels.http import Http
from ..channels.veil import Veil
from ..config.schema import ChannelConfig
from ..templates.engine import TemplateEngine
from .behaviour import Behaviour, HandledError, IoDone, Signal, Timer
from .context import Context
from .line import Line
from .mail import Begin, Begun, Diverted, Settled, Want
from .memory import StoredMemory
from .policy.breaker import Phase
from .policy.channel import (
    Attempted,
    Broke,
    Changed,
    ChannelPolicy,
    ChannelState,
    Deliver,
    Divert,
    Drain,
    Effect,
    Fetch,
    Input,
    Limited,
    Reset,
    Send,
    Settle,
    Tick,
    WakeAt,
    Withdrawn,
)
from .policy.core import ChannelCore
from .policy.routing import ABOUT, SELF
from .telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Sending:
    """Names the I/O of one attempt, and carries it to whoever gets the outcome."""

    rows: tuple[int, ...]
    attempt: Attempt

    def __hash__(self) -> int:
        return hash(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sending) and other.rows == self.rows


@dataclass(frozen=True, slots=True)
class Equipment:
    """What every channel actor of one system works with."""

    engine: TemplateEngine
    http: Http
    telemetry: Telemetry


class ChannelActor(Behaviour):
    """Carries out what the core of one channel decides."""

    def __init__(
        self,
        ctx: Context,
        *,
        section: ChannelConfig,
        make: type[Channel],
        policy: ChannelPolicy,
        equipment: Equipment,
    ) -> None:
        super().__init__(ctx)
        self._section = section
        self._veil = Veil(section)
        self._policy = policy
        self._equipment = equipment
        self._metrics = equipment.telemetry.channel(section.name)
        self._metrics.priced_in(getattr(section, "currency", ""))
        self._kind = make.templates or section.type
        self._in_flight: dict[tuple[int, ...], Attempt] = ctx.keep.setdefault("in_flight", {})
        state: ChannelState = ctx.keep.setdefault("state", ChannelState.fresh(policy))
        self._core = ChannelCore(policy, state, ctx.clock.dice, self._in_flight)
        memory = StoredMemory(section.name, partial(ctx.lookup, "outbox"))
        http = equipment.http.limited(section.concurrency)
        with self._veil.over():
            channel = make(section)
        self._line = Line(channel, http, section.timeout_seconds, memory)

    # Life

    def on_start(self) -> None:
        """Ask for what was begun and never sent before the crash, then for more."""
        self._metrics.circuit(self._core.state.breaker.phase)
        on_the_wire = {op.rows for op in self.ctx.pending if isinstance(op, Sending)}
        for rows, attempt in self._in_flight.items():
            if rows not in on_the_wire:
                self._outbox(Begin(attempt, self.ctx.ref))
        self._handle(Tick())

    def on_drain(self) -> None:
        """Begin nothing more."""
        self._handle(Drain())

    def on_stop(self) -> None:
        """Close the channel object once its last send has ended."""
        self._retire()

    def on_failure(self, error: BaseException) -> None:
        """Close the channel object; sends under way end on it and reach the next incarnation."""
        del error
        self._retire()

    def on_receive(self, message: Any) -> Any:
        """Take what the outbox answers, or an operator's order."""
        match message:
            case Begun(attempt):
                self._send(attempt)
            case Withdrawn(attempt) if Sending(attempt.rows, attempt) in self.ctx.pending:
                return  # asked for twice, and the first answer was yes
            case Deliver() | Withdrawn() | Reset():
                self._handle(message)
            case _:
                super().on_receive(message)

    def on_signal(self, signal: Signal) -> None:
        """Wake up at a time the core asked for."""
        if isinstance(signal, Timer):
            self._handle(Tick())
        else:
            super().on_signal(signal)

    def on_io(self, done: IoDone) -> None:
        """Take the outcome of a send, also of one that an earlier incarnation began.

        Raises:
            HandledError: with what escaped the channel's `send`, after it was written down: that is a crash.
        """
        attempt = done.op.attempt
        self._metrics.attempt_seconds.observe(done.elapsed)
        if done.error is None:
            reason = Reason.DELIVERED if isinstance(done.result, Delivered) else done.result.reason
            self._metrics.attempts[reason].inc()
            self._metrics.used(done.result.usage)
            self._handle(Attempted(attempt, self._veil.outcome(done.result), done.elapsed))
            return
        self._metrics.attempts[Reason.CRASHED].inc()
        error, traceback = self._veil.error(done.error)
        self._handle(Broke(attempt, traceback, done.elapsed))
        raise HandledError(error)

    # Sending

    def _send(self, attempt: Attempt) -> None:
        """Render and send; the last step hands it to the loop, so that a crash before it sends nothing."""
        op = Sending(attempt.rows, attempt)
        if op in self.ctx.pending:
            return  # begun twice, by this incarnation and by the one before it
        if attempt.rows not in self._in_flight:
            self._give_back(attempt)
            return
        message = self._render(attempt)
        self._metrics.batch_size.observe(len(attempt.deliveries))
        log.debug("delivery.attempt", channel=self.ctx.name, delivery_id=attempt.deliveries[0].id)
        self.ctx.spawn_io(self._line.send, message, op=op)

    def _give_back(self, attempt: Attempt) -> None:
        """Put back what was begun for nobody: asked for twice, and withdrawn by the first answer.

        If it has been settled since, that stands.
        """
        verdict = Again(Reason.CANCELLED, 0.0, counted=False)
        self._outbox(Settled(tuple(Settlement(delivery, verdict) for delivery in attempt.deliveries)))

    def _render(self, attempt: Attempt) -> FormattedMessage:
        events = tuple(delivery.event for delivery in attempt.deliveries)
        override = self._section.template_overrides.get(events[0].event_type)
        locale = self._section.locale
        engine = self._equipment.engine
        try:
            message = engine.message(self._kind, events, locale=locale, override=override)
        except TemplateError as error:
            log.error("template.failed", channel=self.ctx.name, event_id=events[0].event_id, error=str(error))
            message = engine.plain(events, locale=locale)
        first = attempt.deliveries[0]
        message = replace(
            message,
            id=attempt.id,
            attempt=max(delivery.attempts for delivery in attempt.deliveries) + 1,
            events=events,
            progress=first.progress,
        )
        with self._veil.over():
            fitted = self._line.channel.fit(message)
        if fitted.cuts:
            log.info("delivery.cut", channel=self.ctx.name, delivery_id=first.id, cuts=list(fitted.cuts))
        return fitted

    def _retire(self) -> None:
        self.ctx.cell.host.io.submit(self._line.retire, (), self._retired, last=True)

    def _retired(self, _result: object, error: BaseException | None, _elapsed: float) -> None:
        if error is not None:
            log.warning("channel.close_failed", error=self._veil.text(repr(error)))

    # What the core decides

    def _handle(self, message: Input) -> None:
        for effect in self._core.handle(message, self.ctx.clock.now()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Fetch():
                self._outbox(Want(self.ctx.name, effect, self.ctx.ref))
            case Send(attempt):
                self._outbox(Begin(attempt, self.ctx.ref))
            case Settle(settlements):
                self._outbox(Settled(settlements))
            case WakeAt(at):
                self.ctx.wake_at("core", at)
            case Changed():
                self._changed(effect)
            case Limited(seconds):
                self._metrics.limited.inc(seconds)
                log.info("channel.limited", channel=self.ctx.name, seconds=round(seconds, 3))
            case Divert(on):
                self._outbox(Diverted(self.ctx.name, on))

    def _changed(self, change: Changed) -> None:
        """Show what the breaker did, and tell people when it opens and closes."""
        self._metrics.circuit(change.after)
        self._metrics.transitions[change.after].inc()
        log.warning(
            "channel.breaker",
            channel=self.ctx.name,
            before=change.before,
            after=change.after,
            error=change.why,
        )
        if change.before is Phase.CLOSED or change.after in {Phase.CLOSED, Phase.DISABLED}:
            self._alert(change)

    def _alert(self, change: Changed) -> None:
        titles = {
            Phase.CLOSED: ("Channel {} works again", Severity.INFO),
            Phase.DISABLED: ("Channel {} is gone and was disabled", Severity.CRITICAL),
        }
        title, severity = titles.get(change.after, ("Channel {} cannot deliver", Severity.ERROR))
        alert = NotificationEvent(
            event_type=EventType.SYSTEM_ALERT,
            source=SELF,
            severity=severity,
            title=title.format(self.ctx.name),
            description=change.why,
            metadata={ABOUT: self.ctx.name, "status": str(change.after)},
        )
        if router := self.ctx.lookup("router"):
            router.tell(alert)

    def _outbox(self, message: object) -> None:
        if outbox := self.ctx.lookup("outbox"):
            outbox.tell(message)
