"""The books of the demo: what was told, where it must arrive, and what the receivers got."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from knell.lab import Message
from knell.lab.demo.cast import ALL, LOGS, Tell

SMS_TITLE = 12
"""Characters of a title that an SMS has room for in any case (ours)."""

_NUMBER = re.compile(re.escape(LOGS.partition("//")[2]) + r"(\d+)")
_CHANNELS = {"smtp": "email", "twilio": "sms"}


def channel_of(provider: str) -> str:
    """Return the channel that ends at a stand-in."""
    return _CHANNELS.get(provider, provider)


def harm(message: Message, entries: Iterable["Entry"]) -> list[str]:
    """Return what a message does to its readers beyond telling them, and what it does not tell them."""
    channel = channel_of(message.provider)
    found = [f"{channel}: a message calls {name}" for name in message.mentions]
    if "<script" in message.html.lower():
        found.append(f"{channel}: a message holds a script")
    seen = _one_line(f"{message.title}\n{message.text}")
    for entry in entries:
        title = _one_line(entry.tell.event.title)
        if (title[:SMS_TITLE] if channel == "sms" else title) not in seen:
            found.append(f"{channel}: the title of {entry.tell.number} is not what was told")
    return found


def _text_of(message: Message) -> str:
    """Return all that a message holds, the addresses behind its buttons too."""
    payload = message.payload
    return msgspec.json.encode(payload).decode() if isinstance(payload, dict) else message.text


def _one_line(text: str) -> str:
    return " ".join(text.split())


@dataclass(slots=True)
class Entry:
    """One event that was told, at a monotonic moment, and how often each channel's receiver got it."""

    tell: Tell
    at: float
    arrived: Counter[str] = field(default_factory=Counter[str])

    @property
    def complete(self) -> bool:
        """Whether it is where it must be."""
        return all(self.arrived[channel] for channel in self.tell.to)


class Ledger:
    """Counts; on the demo's loop alone.

    Attributes:
        events: how many were told.
        arrived: by channel, events that were told and have arrived.
        messages: by channel, messages that the receivers got; one may tell of several events.
    """

    def __init__(self) -> None:
        self.events = 0
        self.arrived: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self._entries: dict[int, Entry] = {}
        self._harm: list[str] = []

    def tell(self, tell: Tell, at: float) -> None:
        """Note that an event is about to be told."""
        self.events += 1
        self._entries[tell.number] = Entry(tell, at)

    def arrive(self, message: Message) -> list[Entry]:
        """Note what a receiver got, and return the events it tells of."""
        channel = channel_of(message.provider)
        found = self.known_in(_text_of(message))
        self.messages[channel] += 1
        self.arrived[channel] += len(found)
        self._harm += harm(message, found)
        for entry in found:
            entry.arrived[channel] += 1
        return found

    def known_in(self, text: str) -> list[Entry]:
        """Return the events that a text tells of: each has a link with a number of its own."""
        numbers = dict.fromkeys(int(number) for number in _NUMBER.findall(text))
        return [self._entries[number] for number in numbers if number in self._entries]

    def forget(self) -> None:
        """Forget the events that are where they must be; a demo may run for days."""
        self._entries = {number: entry for number, entry in self._entries.items() if not entry.complete}

    def missing(self) -> Counter[str]:
        """Return how many events each channel's receiver has not got."""
        return Counter(
            channel
            for entry in self._entries.values()
            for channel in entry.tell.to
            if not entry.arrived[channel]
        )

    def problems(self) -> list[str]:
        """Return every event that a receiver did not get exactly once, or not as it was told."""
        wrong = [
            f"{entry.tell.event.event_type} {entry.tell.number}: {channel} got it {_times(got)}"
            for entry in self._entries.values()
            for channel in ALL
            if (got := entry.arrived[channel]) != (channel in entry.tell.to)
        ]
        return wrong + self._harm


def _times(got: int) -> str:
    return "never" if not got else "once, and should not have" if got == 1 else f"{got} times"
