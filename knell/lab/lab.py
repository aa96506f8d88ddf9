"""All stand-ins together, on one thread of their own."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, Self

from knell.lab.discord import Discord
from knell.lab.limits import Clock
from knell.lab.record import Message, Request, Subscriber
from knell.lab.slack import Slack
from knell.lab.smtp import Smtp
from knell.lab.standin import Setting, StandIn
from knell.lab.twilio import Twilio
from knell.lab.webhook import Webhook

START_SECONDS = 30.0


class Lab:
    """Slack, Discord, Twilio, a webhook receiver and a mail server on 127.0.0.1, for as long as the context.

    Nothing leaves the machine. Ports are free ones, so any number of labs can run side by side. One lab runs
    once.

    Args:
        certificates: a server-side context: every stand-in then speaks TLS, the mail server STARTTLS.
        clock: monotonic seconds, for rates and pauses; a test may own it (`ManualClock`).
        wall: seconds since 1970, for timestamps that cross the wire.
        rate_limited: False lets the providers' rates alone, for load tests.
    """

    def __init__(
        self,
        *,
        certificates: ssl.SSLContext | None = None,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        rate_limited: bool = True,
    ) -> None:
        setting = Setting(certificates, clock, wall, rate_limited)
        self.slack = Slack(setting)
        self.discord = Discord(setting)
        self.twilio = Twilio(setting)
        self.webhook = Webhook(setting)
        self.smtp = Smtp(setting)
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    @property
    def stand_ins(self) -> tuple[StandIn, ...]:
        """Every stand-in."""
        return self.slack, self.discord, self.twilio, self.webhook, self.smtp

    @property
    def violations(self) -> tuple[str, ...]:
        """What a good client never does, at any of the stand-ins."""
        return tuple(
            f"{stand_in.name}: {text}" for stand_in in self.stand_ins for text in stand_in.violations
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Open all ports; returns when they listen."""
        if self._thread is not None:
            raise RuntimeError("a lab runs once; make a new one")
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="knell-lab", daemon=True)
        self._thread.start()
        started.result(START_SECONDS)
        return self

    def stop(self) -> None:
        """Close every port and connection, and end the thread; harmless when it does not run."""
        if self._thread is None or self._loop is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call back with each accepted or changed `Message` and each refused `Request`, until unsubscribed.

        Calls come on the lab's thread, in order: a slow one delays the stand-ins. Returns what unsubscribes.
        """
        self._subscribers = [*self._subscribers, callback]

        def unsubscribe() -> None:
            self._subscribers = [other for other in self._subscribers if other is not callback]

        return unsubscribe

    def config(self, *, events: Sequence[str] | None = ("*",)) -> dict[str, Any]:
        """Return a knell configuration whose channels slack, discord, email, webhook and sms end here.

        Args:
            events: what each channel gets; None leaves it to knell's defaults for each channel type.
        """
        sections = {
            "slack": self.slack.section(),
            "discord": self.discord.section(),
            "email": self.smtp.section(),
            "webhook": self.webhook.section(),
            "sms": self.twilio.section(),
        }
        wanted = {} if events is None else {"events": list(events)}
        return {
            "channels": {name: {**section, **wanted} for name, section in sections.items()},
            "retry_policy": {"max_retries": 5, "initial_delay_ms": 10, "max_delay_ms": 100},
            "security": {"require_tls": self.smtp.requires_tls, "allowed_networks": ["127.0.0.0/8"]},
        }

    def _run(self, started: Future[None]) -> None:
        # Never a uvloop the host may have installed: it lacks the TLS upgrade of aiosmtpd's STARTTLS.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main(started))

    async def _main(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_report)
        async with AsyncExitStack() as running:
            try:
                for stand_in in self.stand_ins:
                    stand_in.publish_to(self._publish)
                    await stand_in.start()
                    running.push_async_callback(stand_in.stop)
            except Exception as error:  # noqa: BLE001 - the caller of `start` gets it
                started.set_exception(error)
                return
            started.set_result(None)
            await self._ended.wait()

    def _publish(self, item: Message | Request) -> None:
        # By way of the loop: a subscriber that raises is reported, and harms no stand-in.
        if self._loop is not None:
            for subscriber in self._subscribers:
                self._loop.call_soon(subscriber, item)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A client that hangs up leaves aiosmtpd's session with this exception, which nobody waits for.
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)
