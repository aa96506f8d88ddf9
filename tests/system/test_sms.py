"""Text messages through the whole system: sockets to the lab's Twilio and from it, restarts, and a clock."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from knell.actors.clock import Clock
from knell.channels.budget import day_of, spent_on
from knell.channels.sms import SmsChannel
from knell.events import Severity
from knell.http.server import HttpServer
from knell.lab import Lab
from knell.lab.callbacks import post_callbacks
from knell.manager import NotificationManager
from knell.messages import DeliveryResult, Reason
from knell.store.records import Selection
from tests.puppets import PATIENCE
from tests.rogues import Stage, event

A = "+819012345678"
NOON = 1_800_100_800.0
DAY = 86_400.0
PRICE = 0.0079
"""What the lab bills for a segment."""


class Dated(SmsChannel):
    """A channel that takes the test's word for the day."""

    templates = "sms"
    at: ClassVar[float] = NOON

    def now(self) -> float:
        """Return the time."""
        return self.at


@pytest.fixture(autouse=True)
def date() -> Iterator[None]:
    """Begin every test at noon of the same day."""
    Dated.at = NOON
    yield
    Dated.at = NOON


class Service:
    """A system behind its server, whose SMS channel is called back where that server listens."""

    def __init__(self, settings: dict[str, Any], section: dict[str, Any]) -> None:
        self.manager = NotificationManager({**settings, "channels": {}}, clock=Clock(wall=lambda: Dated.at))
        self.server = HttpServer(self.manager, ("127.0.0.1", 0))
        self.server.start()
        self.manager.start()
        self.server.serve()
        self.webhook = f"{self.server.url}/ingest/twilio"
        own = {**section, "status_callback_url": self.webhook}
        self.manager.update_config({**settings, "channels": {**settings["channels"], "sms": own}})

    def stop(self) -> None:
        """Stop it; a second call does nothing."""
        self.server.stop()
        self.manager.stop()

    def send(self, title: str, **fields: Any) -> DeliveryResult:
        """Tell of an event of the same job as all; return what became of its text message."""
        told = event(title, metadata={"job_id": "nightly"}, **fields)
        results = self.manager.notify_and_wait(told, PATIENCE)
        return next(result for result in results if result.channel == "sms")

    def note(self, key: str) -> Any:
        """Return what the channel's memory holds."""
        memory = self.manager.system.memory("sms")
        return self.manager.system.host.io.run(memory.get, key, timeout=PATIENCE)

    @property
    def spent(self) -> float:
        """What the day did cost."""
        memory = self.manager.system.memory("sms")
        run = self.manager.system.host.io.run
        return float(run(spent_on, memory, day_of(Dated.at), timeout=PATIENCE))

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric of the channel."""
        return self.manager.registry.get_sample_value(name, {"channel": "sms", **labels})

    def replay(self) -> int:
        """Replay every dead letter."""
        return self.manager.replay(Selection(channel="sms"), by="test")


Serve = Callable[..., Service]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A Twilio that nobody annoys: no message after an opt-out."""
    with Lab(rate_limited=False, wall=lambda: Dated.at) as running:
        yield running
        assert running.violations == ()


@pytest.fixture
def serve(lab: Lab, stage: Stage, tmp_path: Path) -> Iterator[Serve]:
    """Return what starts a service with one SMS channel, and a chat that hears alerts and takes over."""
    services: list[Service] = []

    def start(**keys: Any) -> Service:
        settings = {
            **lab.config(),
            "channels": {"chat": stage.section(events=["system_alert"])},
            "store": {"url": f"sqlite:///{tmp_path}/knell.db"},
        }
        section = {**lab.twilio.section(), "type": f"{__name__}:Dated", "events": ["job_failed"]}
        services.append(Service(settings, {**section, "rate_limit": None, **keys}))
        return services[-1]

    yield start
    for service in services:
        service.stop()


def dice(seed: int) -> Random:
    """Return the network's mood."""
    return Random(seed)  # noqa: S311 - no secret


BUDGET = {"per_day": 1.0, "price_per_segment": 0.1, "reserve": 0.2}


def test_callbacks_shuffled_and_doubled_tell_one_story(lab: Lab, serve: Serve) -> None:
    """The state is the last one, the money what Twilio bills, and nothing is counted twice."""
    service = serve(budget=BUDGET)
    assert service.metric("knell_sms_cost_total", currency="USD") == 0
    assert service.metric("knell_sms_segments_total") == 0
    result = service.send("nightly")
    assert result.success, result.error
    sid = result.receipt["sid"]
    assert service.metric("knell_sms_cost_total", currency="USD") == 0.1
    assert service.metric("knell_sms_segments_total") == 1
    assert service.spent == 0.1
    lab.twilio.settle(sid)
    story = ["queued", "sending", "sent", "delivered"]
    for seed in range(3):
        assert lab.twilio.call_back(sid, story, dice=dice(seed)) == [204] * 8
    assert service.note(f"status {sid}") == "delivered"
    assert service.spent == PRICE
    assert service.metric("knell_sms_undelivered_total") == 0
    service.stop()
    assert serve(budget=BUDGET).note(f"status {sid}") == "delivered"


def test_a_price_that_comes_late_is_asked_for_again(lab: Lab, serve: Serve) -> None:
    """At first Twilio has none; with the next message that ends, it is looked for once more."""
    service = serve(budget=BUDGET)
    first, second = (service.send(title).receipt["sid"] for title in ("one", "two"))
    assert lab.twilio.call_back(first, ["delivered"]) == [204]
    assert (service.note("unpriced"), service.spent) == ([first], 0.2)
    lab.twilio.settle(first)
    lab.twilio.settle(second)
    assert lab.twilio.call_back(second, ["delivered"]) == [204]
    assert (service.note("unpriced"), service.spent) == (None, 2 * PRICE)


def test_a_price_in_another_currency_is_left_alone(lab: Lab, serve: Serve) -> None:
    """What it is in the budget's nobody knows: the estimate stands."""
    service = serve(budget={**BUDGET, "currency": "EUR"})
    sid = service.send("nightly").receipt["sid"]
    lab.twilio.settle(sid)
    assert lab.twilio.call_back(sid, ["delivered"]) == [204]
    assert (service.spent, service.note("unpriced")) == (0.1, None)
    assert service.metric("knell_sms_cost_total", currency="EUR") == 0.1


@pytest.mark.parametrize("code", [30003, 30004, 30005, 30006, 30008])
def test_people_hear_that_a_message_was_lost(lab: Lab, serve: Serve, stage: Stage, code: int) -> None:
    """By another channel, once, whatever the network does."""
    service = serve()
    sid = service.send("nightly").receipt["sid"]
    lab.twilio.settle(sid, "undelivered", code)
    assert lab.twilio.call_back(sid, ["sent", "undelivered"], code, dice=dice(code)) == [204] * 4
    assert stage.next_sent() == "A text message of channel sms was not delivered"
    assert service.metric("knell_sms_undelivered_total") == 1
    assert len(lab.twilio.messages) == 1


def test_a_forged_signature_is_refused(lab: Lab, serve: Serve) -> None:
    """Whoever does not know the token cannot stop messages."""
    service = serve()
    sid = service.send("nightly").receipt["sid"]
    lab.twilio.auth_token, right = "guessed", lab.twilio.auth_token
    assert lab.twilio.call_back(sid, ["failed"], 21610) == [403]
    form = {"From": A, "To": "+15005550006", "Body": "STOP"}
    assert post_callbacks(service.webhook, [(form, lab.twilio.signature(service.webhook, form))]) == [403]
    lab.twilio.auth_token = right
    assert service.note(f"status {sid}") is None
    assert service.send("another").success


def test_a_stop_outlives_restarts_and_replays(lab: Lab, serve: Serve) -> None:
    """21610 is asked for once; only the owner's START ends it."""
    service = serve()
    lab.twilio.opt_out(A)
    assert service.send("one").reason is Reason.OPTED_OUT
    assert service.send("two").reason is Reason.OPTED_OUT
    service.stop()
    service = serve()
    assert service.send("three").reason is Reason.OPTED_OUT
    assert service.replay() == 3
    assert service.send("four").reason is Reason.OPTED_OUT  # after those that were replayed
    assert len(lab.twilio.requests) == 1
    assert lab.twilio.answer_back(service.webhook, A, "START") == 204
    assert service.send("five").success
    assert len(lab.twilio.messages) == 1


def test_a_stop_by_message_comes_before_any_refusal(lab: Lab, serve: Serve) -> None:
    """Twilio tells at once what somebody answered: it is not even tried."""
    service = serve()
    assert service.send("one").success
    assert lab.twilio.answer_back(service.webhook, A, "ARRET", kind="STOP") == 204
    assert service.send("two").reason is Reason.OPTED_OUT
    service.stop()
    assert serve().send("three").reason is Reason.OPTED_OUT
    assert len(lab.twilio.requests) == 1


def test_over_the_budget_only_critical_events_go(lab: Lab, serve: Serve, stage: Stage) -> None:
    """The rest is dead letters and goes by the fallback; a restart forgets nothing; tomorrow all can go."""
    service = serve(budget=BUDGET, fallback=["chat"])
    assert [service.send(f"{n}").success for n in range(8)] == [True] * 8
    refused = service.send("refused")
    assert refused.reason is Reason.BUDGET
    assert "over the budget of 1 USD for 2027-01-16 (UTC)" in str(refused.error)
    assert stage.next_sent() == "refused"
    service.stop()
    service = serve(budget=BUDGET, fallback=["chat"])
    assert service.send("still refused").reason is Reason.BUDGET
    assert [service.send("grave", severity=Severity.CRITICAL).success for _ in range(2)] == [True, True]
    assert service.send("beyond", severity=Severity.CRITICAL).reason is Reason.BUDGET
    assert len(lab.twilio.requests) == 10
    assert service.spent == 1.0
    Dated.at = NOON + DAY
    assert service.send("tomorrow").success
    assert service.replay() == 3
    assert service.send("last").success
    assert len(lab.twilio.messages) == 15
    assert service.metric("knell_sms_cost_total", currency="USD") == pytest.approx(0.7)
    assert service.spent == 0.5
