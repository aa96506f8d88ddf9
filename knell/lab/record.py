"""What a stand-in remembers: every request, the messages it accepted, and what a good client never does."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

import msgspec

WAIT_SECONDS = 10.0
"""How long a test waits for something that never comes; reached only by a test that fails."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stand-in said. `refused` is the stand-in's own reason for people, empty when it accepted."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    refused: str = ""

    @property
    def json(self) -> Any:
        """The body as JSON data.

        Raises:
            ValueError: the body is no JSON.
        """
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came in; for SMTP one command, with its argument as the path.

    `at` is the lab's clock when the head had arrived. `answer` is None when the client got none. Header names
    are case-insensitive.
    """

    provider: str
    at: float
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    answer: Answer | None = None

    @property
    def json(self) -> Any:
        """The body as JSON data.

        Raises:
            ValueError: the body is no JSON.
        """
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True)
class File:
    """A file that came with a message, or by Slack's upload."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that reached its readers.

    Attributes:
        id: the provider's reference: ts, snowflake, SID, Message-ID or webhook-id.
        keys: what makes two messages one and the same; a key seen before is a duplicate.
        received: wall time; `at` is the same moment on the lab's clock.
        payload: the message as it was sent: JSON data, form fields, or an `EmailMessage`.
        text: what a reader sees, escapes undone; a live mention reads `[MENTION ...]`.
        mentions: what would make somebody's phone ring: `@channel`, `@here`, `@U0123`.
        to: the channel, the webhook, the numbers or the addresses it went to.
        thread: reference of the message it answers to.
        edits: how often it was changed after it was posted; every field shows the last state.
    """

    provider: str
    id: str
    keys: tuple[str, ...]
    received: datetime
    at: float
    payload: Any
    text: str
    title: str = ""
    html: str = ""
    mentions: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    thread: str = ""
    files: tuple[File, ...] = ()
    reactions: tuple[str, ...] = ()
    edits: int = 0


Subscriber = Callable[[Message | Request], object]
"""Gets each accepted (or changed) message, and each request that was refused or left without an answer."""


class Record:
    """The log of one stand-in, written on the lab's thread and read on any other.

    Every reading is an immutable snapshot.
    """

    name = ""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._requests: list[Request] = []
        self._violations: list[str] = []
        self._warnings: list[str] = []
        self._duplicates: list[Message] = []
        self._keys: set[str] = set()
        self._places: dict[str, int] = {}
        self._tell: Subscriber | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages its readers see, oldest first."""
        with self._changed:
            return tuple(self._messages)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request, answered or not."""
        with self._changed:
            return tuple(self._requests)

    @property
    def violations(self) -> tuple[str, ...]:
        """What a good client never does; a test of a client asserts that there are none."""
        with self._changed:
            return tuple(self._violations)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was accepted against the provider's advice."""
        with self._changed:
            return tuple(self._warnings)

    @property
    def duplicates(self) -> tuple[Message, ...]:
        """Messages that were accepted a second time or more."""
        with self._changed:
            return tuple(self._duplicates)

    def wait(self, predicate: Callable[[Self], bool], timeout: float = WAIT_SECONDS) -> None:
        """Block until the predicate holds; it is asked again whenever something was recorded.

        Raises:
            TimeoutError: it did not hold within `timeout` seconds; the text tells what there is instead.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise TimeoutError(f"{self.name}: not within {timeout:g} s; {self._summary()}")

    def wait_for(self, count: int, timeout: float = WAIT_SECONDS) -> tuple[Message, ...]:
        """Block until `count` messages were accepted, and return all of them.

        Raises:
            TimeoutError: there were fewer after `timeout` seconds.
        """
        self.wait(lambda _: len(self._messages) >= count, timeout)
        return self.messages

    def clear(self) -> None:
        """Forget what was recorded; what the provider knows (threads, webhooks, opt-outs) stays."""
        with self._changed:
            for log in (self._messages, self._requests, self._violations, self._warnings, self._duplicates):
                log.clear()
            self._keys.clear()
            self._places.clear()
            self._changed.notify_all()

    def find(self, message_id: str) -> Message | None:
        """Return the newest message with this reference."""
        with self._changed:
            place = self._places.get(message_id)
            return None if place is None else self._messages[place]

    def publish_to(self, tell: Subscriber) -> None:
        """Hand everything that is worth showing to this callback."""
        self._tell = tell

    def accept(self, message: Message) -> None:
        """Record a message, and that it is a duplicate if one of its keys was seen."""
        with self._changed:
            self._note_keys(message)
            self._places[message.id] = len(self._messages)
            self._messages.append(message)
            self._changed.notify_all()
        self._publish(message)

    def accept_again(self, message: Message) -> None:
        """Record a message its receiver knows already: readers see it once."""
        with self._changed:
            self._note_keys(message)
            self._changed.notify_all()

    def change(self, message_id: str, **fields: Any) -> None:
        """Replace fields of a recorded message; a forgotten one stays forgotten."""
        with self._changed:
            place = self._places.get(message_id)
            if place is None:
                return
            changed = self._messages[place] = replace(self._messages[place], **fields)
            self._changed.notify_all()
        self._publish(changed)

    def log(self, request: Request) -> None:
        """Record a request with its answer."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        if request.answer is None or request.answer.refused:
            self._publish(request)

    def violate(self, text: str) -> None:
        """Record what a good client never does."""
        self._append(self._violations, text)

    def warn(self, text: str) -> None:
        """Record what goes against the provider's advice."""
        self._append(self._warnings, text)

    def _append(self, log: list[str], text: str) -> None:
        with self._changed:
            log.append(text)
            self._changed.notify_all()

    def _note_keys(self, message: Message) -> None:
        if not self._keys.isdisjoint(message.keys):
            self._duplicates.append(message)
        self._keys.update(message.keys)

    def _publish(self, item: Message | Request) -> None:
        if self._tell is not None:
            self._tell(item)

    def _summary(self) -> str:
        refused = [request.answer.refused for request in self._requests if request.answer]
        return (
            f"{len(self._messages)} messages, {len(self._requests)} requests, "
            f"last refusals: {[reason for reason in refused if reason][-_SHOWN:]}, "
            f"violations: {self._violations[-_SHOWN:]}"
        )
