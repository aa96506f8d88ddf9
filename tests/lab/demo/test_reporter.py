"""The words for what happens."""

from datetime import UTC, datetime
from typing import Any

import pytest

from knell.actors.orders import ActorEvent
from knell.lab import Answer, Message, Request
from knell.lab.demo.cast import LOGS, Cast
from knell.lab.demo.ledger import Ledger
from knell.lab.demo.reporter import Line, Reporter, Tone
from knell.templates.wording import ENGLISH


class Desk:
    """A reporter with its books, and what it said."""

    def __init__(self) -> None:
        self.said: list[Line] = []
        self.ledger = Ledger()
        self.reporter = Reporter(self.ledger, ENGLISH, self.said.append)
        self.reporter.began = 100.0
        self.cast = Cast(ENGLISH)

    def message(self, at: float, **more: Any) -> None:
        """Let a message arrive."""
        given: dict[str, Any] = {
            "provider": "discord",
            "id": "1",
            "keys": (),
            "text": "",
            "payload": {},
            **more,
        }
        arrived = Message(at=at, received=datetime.now(UTC), **given)
        self.reporter.arrived(arrived, self.ledger.arrive(arrived))


@pytest.fixture
def desk() -> Desk:
    """A desk on which nothing lies yet."""
    return Desk()


def test_arrival_says_how_long_it_took(desk: Desk) -> None:
    """The time counts from the moment the event was told, the line from the start."""
    tell = desk.cast.review()
    desk.ledger.tell(tell, 101.0)
    desk.message(102.5, text=tell.event.title, payload={"url": f"{LOGS}{tell.number}"})
    assert desk.said == [Line(2.5, Tone.GOOD, "pr_created", "discord", "ok in 1,500 ms")]


def test_batch_says_how_many(desk: Desk) -> None:
    """The oldest event of a batch tells how long it took."""
    tells = desk.cast.tasks(2)
    for at, tell in zip((101.0, 101.2), tells, strict=True):
        desk.ledger.tell(tell, at)
    desk.message(101.5, payload={"links": [f"{LOGS}{tell.number}" for tell in tells]})
    text = "2 events in one message, ok in 500 ms"
    assert desk.said == [Line(1.5, Tone.GOOD, "task_completed", "discord", text)]


def test_message_of_nobody_is_named_by_its_title(desk: Desk) -> None:
    """An alert of knell's own has no event in the books."""
    desk.message(101.0, provider="webhook", title="Channel discord works again")
    assert desk.said == [Line(1.0, Tone.PLAIN, "", "webhook", "Channel discord works again")]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "no answer; it will be tried again"),
        (Answer(429, headers={"Retry-After": "1"}), "429, told to wait 1 s"),
        (Answer(503), "503; it will be tried again"),
    ],
)
def test_refusal_says_what_the_provider_said(desk: Desk, answer: Answer | None, text: str) -> None:
    """The request's body tells which event it was about."""
    tell = desk.cast.review()
    desk.ledger.tell(tell, 100.0)
    body = f'{{"url": "{LOGS}{tell.number}"}}'.encode()
    desk.reporter.refused(
        Request(provider="discord", at=101.0, method="POST", path="/", body=body, answer=answer)
    )
    assert desk.said == [Line(1.0, Tone.WAIT, "pr_created", "discord", text)]


def test_crash_and_restart_are_told(desk: Desk) -> None:
    """A restart says how long the actor was down."""
    desk.reporter.actor(ActorEvent("crashed", "channels/slack", "RuntimeError('x')"), 101.0)
    desk.reporter.actor(ActorEvent("restarted", "channels/slack"), 101.104)
    assert desk.said == [
        Line(1.0, Tone.BAD, "", "slack", "the actor crashed: RuntimeError('x')"),
        Line(1.104, Tone.GOOD, "", "slack", "restarted after 104 ms, nothing lost"),
    ]


def test_rest_after_too_many_crashes_is_told(desk: Desk) -> None:
    """An actor that its supervisor has given up for a while is news; a start is none."""
    desk.reporter.actor(ActorEvent("started", "channels/slack"), 101.0)
    desk.reporter.actor(ActorEvent("degraded", "channels/slack", "x"), 102.0)
    assert [(line.tone, line.channel) for line in desk.said] == [(Tone.BAD, "slack")]
    assert "deliveries wait on disk" in desk.said[0].text
