"""The books: what counts as arrived, and what is held against a message."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from knell.lab import Message
from knell.lab.demo.cast import HOSTILE, LOGS, Cast, Tell
from knell.lab.demo.ledger import Ledger
from knell.templates.wording import ENGLISH


@pytest.fixture
def cast() -> Cast:
    """A cast that speaks English."""
    return Cast(ENGLISH)


@pytest.fixture
def ledger() -> Ledger:
    """Empty books."""
    return Ledger()


def message(provider: str, *tells: Tell, **more: Any) -> Message:
    """Return a message that tells of these events as a good one does."""
    titles = "\n".join(tell.event.title for tell in tells)
    given: dict[str, Any] = {
        "id": "1",
        "keys": (),
        "received": datetime.now(UTC),
        "at": 2.0,
        "payload": {"links": [f"{LOGS}{tell.number}" for tell in tells]},
        "text": titles,
        **more,
    }
    return Message(provider=provider, **given)


def test_complete_delivery_is_no_problem(cast: Cast, ledger: Ledger) -> None:
    """An event that is once where it must be leaves nothing open."""
    tell = cast.review()
    ledger.tell(tell, 1.0)
    assert ledger.missing() == {"discord": 1, "webhook": 1}
    for provider in ("discord", "webhook"):
        assert [entry.tell for entry in ledger.arrive(message(provider, tell))] == [tell]
    assert ledger.problems() == []
    assert ledger.missing() == {}


def test_batch_counts_each_event(cast: Cast, ledger: Ledger) -> None:
    """One message may tell of many events; an address that stands twice in it counts once."""
    tells = cast.tasks(3)
    for tell in tells:
        ledger.tell(tell, 1.0)
    for provider in ("slack", "discord"):
        ledger.arrive(message(provider, *tells, tells[0]))
    assert ledger.problems() == []
    assert ledger.arrived == {"slack": 3, "discord": 3}
    assert ledger.messages == {"slack": 1, "discord": 1}


def test_mail_and_phone_are_known_by_their_providers(cast: Cast, ledger: Ledger) -> None:
    """What the mail server and Twilio got counts for the channels email and sms; their text is read."""
    tell = cast.job_failed()
    ledger.tell(tell, 1.0)
    text = f"{tell.event.title} {LOGS}{tell.number}"
    for provider in ("smtp", "twilio"):
        ledger.arrive(message(provider, payload=msgspec.UNSET, text=text))
    assert ledger.missing() == {"slack": 1, "discord": 1, "webhook": 1}


@pytest.mark.parametrize(
    ("times", "problem"),
    [(0, "slack got it never"), (2, "slack got it 2 times")],
)
def test_lost_and_repeated_messages_are_problems(
    cast: Cast, ledger: Ledger, times: int, problem: str
) -> None:
    """Anything but exactly once is one."""
    tell = cast.task_failed()
    ledger.tell(tell, 1.0)
    for provider in ("webhook", *["slack"] * times):
        ledger.arrive(message(provider, tell))
    assert ledger.problems() == [f"task_failed {tell.number}: {problem}"]


def test_message_to_the_wrong_receiver_is_a_problem(cast: Cast, ledger: Ledger) -> None:
    """A channel that no rule names must not get the event."""
    tell = cast.review()
    ledger.tell(tell, 1.0)
    for provider in ("discord", "webhook", "slack"):
        ledger.arrive(message(provider, tell))
    assert ledger.problems() == [f"pr_created {tell.number}: slack got it once, and should not have"]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ({"mentions": ("@channel",)}, "slack: a message calls @channel"),
        ({"html": "<p><SCRIPT>"}, "slack: a message holds a script"),
        ({"text": HOSTILE.replace("7*7", "49")}, "slack: the title of {} is not what was told"),
    ],
)
def test_harm_is_a_problem(cast: Cast, ledger: Ledger, harm: dict[str, Any], problem: str) -> None:
    """A message that calls people, holds a script, or computes what is in a title is found out."""
    tell = cast.hostile()
    ledger.tell(tell, 1.0)
    for provider in ("smtp", "discord", "webhook", "twilio"):
        ledger.arrive(message(provider, tell))
    ledger.arrive(message("slack", tell, **harm))
    assert ledger.problems() == [problem.format(tell.number)]


def test_unknown_message_counts_and_tells_of_nothing(ledger: Ledger) -> None:
    """Alerts of knell's own are in nobody's books."""
    assert ledger.arrive(message("slack", text=f"Channel discord works again {LOGS}99999")) == []
    assert ledger.messages == {"slack": 1}


def test_forgetting_keeps_what_is_open_and_the_sums(cast: Cast, ledger: Ledger) -> None:
    """Days of events take no memory, and what is missing stays known."""
    done, open_ = cast.review(), cast.review()
    for tell in (done, open_):
        ledger.tell(tell, 1.0)
    for provider in ("discord", "webhook"):
        ledger.arrive(message(provider, done))
    ledger.forget()
    assert ledger.missing() == {"discord": 1, "webhook": 1}
    assert ledger.known_in(f"{LOGS}{done.number}") == []
    assert (ledger.events, ledger.arrived["discord"]) == (2, 1)
