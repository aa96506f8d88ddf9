"""What happens, in one line each: the same for the terminal and for the page."""

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from http import HTTPStatus

import msgspec

from knell.actors.orders import ActorEvent
from knell.lab import Message, Request
from knell.lab.demo.ledger import Entry, Ledger, channel_of
from knell.templates.wording import Catalog


class Tone(StrEnum):
    """How a line is meant."""

    GOOD = "good"
    WAIT = "wait"
    BAD = "bad"
    PLAIN = "plain"


class Line(msgspec.Struct, frozen=True):
    """One thing that happened, `at` seconds after the start; `event` and `channel` where there is one."""

    at: float
    tone: Tone
    event: str
    channel: str
    text: str


class Reporter:
    """Finds the words; on the demo's loop alone.

    Args:
        ledger: knows what was told.
        words: the language.
        publish: gets every line.

    Attributes:
        began: the monotonic moment from which lines count.
    """

    def __init__(self, ledger: Ledger, words: Catalog, publish: Callable[[Line], object]) -> None:
        self._ledger = ledger
        self._words = words
        self.began = time.monotonic()
        self._publish = publish
        self._crashed: dict[str, float] = {}

    def say(self, at: float, tone: Tone, text: str, *, channel: str = "", event: str = "") -> None:
        """Publish a line."""
        self._publish(Line(round(at - self.began, 3), tone, event, channel, text))

    def arrived(self, message: Message, entries: Sequence[Entry]) -> None:
        """Tell that a receiver got a message, and how long after its oldest event was told."""
        channel = channel_of(message.provider)
        if not entries:  # knell's own alerts are in nobody's books
            self.say(message.at, Tone.PLAIN, message.title, channel=channel)
            return
        took = f"{(message.at - min(entry.at for entry in entries)) * 1000:,.0f}"
        text = (
            self._words.fill("ok in %(ms)s ms", ms=took)
            if len(entries) == 1
            else self._words.fill(
                "%(count)s events in one message, ok in %(ms)s ms", count=len(entries), ms=took
            )
        )
        event_type = entries[0].tell.event.event_type
        self.say(message.at, Tone.GOOD, text, channel=channel, event=event_type)

    def refused(self, request: Request) -> None:
        """Tell that a provider did not take a message."""
        answer = request.answer
        if answer is None:
            text = self._words("no answer; it will be tried again")
        elif answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = answer.headers.get("Retry-After", "?")
            text = self._words.fill("429, told to wait %(seconds)s s", seconds=wait)
        else:
            text = self._words.fill("%(status)s; it will be tried again", status=answer.status)
        found = self._ledger.known_in(request.body.decode(errors="replace"))
        event = found[0].tell.event.event_type if found else ""
        self.say(request.at, Tone.WAIT, text, channel=channel_of(request.provider), event=event)

    def actor(self, event: ActorEvent, at: float) -> None:
        """Tell what happened to an actor."""
        channel = event.actor.rpartition("/")[2]
        match event.kind:
            case "crashed" | "hung":
                self._crashed[event.actor] = at
                text = self._words.fill("the actor crashed: %(error)s", error=event.detail)
                self.say(at, Tone.BAD, text, channel=channel)
            case "restarted":
                took = round((at - self._crashed.pop(event.actor, at)) * 1000)
                text = self._words.fill("restarted after %(ms)s ms, nothing lost", ms=took)
                self.say(at, Tone.GOOD, text, channel=channel)
            case "degraded":
                text = self._words("crashed too often: its supervisor lets it rest, deliveries wait on disk")
                self.say(at, Tone.BAD, text, channel=channel)
            case _:
                return
