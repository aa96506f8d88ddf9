"""Dead letters through the whole system: a provider refuses, somebody looks, it heals, all is sent once."""

import json
import logging
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from knell.cli.main import cli
from knell.deliveries import Attempt, Dead, Route, Settlement
from knell.events import seal
from knell.http.server import HttpServer
from knell.lab import Lab
from knell.lab.faults import Respond
from knell.manager import NotificationManager
from knell.messages import DeliveryState, Reason
from knell.store import open_store
from knell.store.contract import Submission
from knell.store.records import Selection
from tests.puppets import PATIENCE
from tests.rogues import event

MANY = 10_000


class Ends(logging.Handler):
    """How deliveries end, in the order in which the log tells it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._told: queue.Queue[tuple[str, str]] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        """Take what ends a delivery; its metrics are counted by then."""
        if record.getMessage() in {"delivery.dead", "delivery.delivered"}:
            self._told.put((record.getMessage().removeprefix("delivery."), record.__dict__["delivery_id"]))

    def take(self, count: int) -> dict[str, set[str]]:
        """Wait for so many ends; return which deliveries ended how."""
        found: dict[str, set[str]] = {"dead": set(), "delivered": set()}
        for _ in range(count):
            how, id_ = self._told.get(timeout=PATIENCE)
            assert id_ not in found[how]
            found[how].add(id_)
        return found

    @property
    def quiet(self) -> bool:
        """Whether nothing ended that was not waited for."""
        return self._told.empty()


class Service:
    """A system behind its HTTP server, against the providers of a lab."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.manager = NotificationManager(settings)
        self.server = HttpServer(self.manager, ("127.0.0.1", 0))
        self.server.start()
        self.manager.start()
        self.server.serve()

    def stop(self) -> None:
        """Stop it; a second call does nothing."""
        self.server.stop()
        self.manager.stop()

    def tell(self, *ids: str, **fields: Any) -> None:
        """Tell of events with these ids."""
        for id_ in ids:
            self.manager.ref.tell(event(f"title of {id_}", event_id=id_, **fields))

    def http(self, path: str, body: Any = None) -> Any:
        """Ask over HTTP; return the JSON of the answer."""
        data = None if body is None else json.dumps(body).encode()
        asked = Request(self.server.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - our own
        with urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310
            return json.loads(answer.read())

    def knell(self, *arguments: str) -> str:
        """Run a command against the service; return what it says."""
        result = CliRunner().invoke(cli, [*arguments, "--url", self.server.url])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def metrics(self, channel: str) -> tuple[float | None, float | None]:
        """Return how many deliveries of a channel are pending and dead, as Prometheus would see it."""
        with urlopen(f"{self.server.url}/metrics", timeout=PATIENCE) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        names = (f'{name}{{channel="{channel}"}}' for name in ("knell_pending", "knell_dead_letters"))
        pending, dead = (float(values[name]) for name in names)
        return pending, dead


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Providers that do as they are told."""
    with Lab(rate_limited=False) as running:
        yield running
        assert running.violations == ()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """What the log tells of the ends of deliveries."""
    handler, logger = Ends(), logging.getLogger("knell")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def serve(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Return what starts a service with some of the lab's channels, and one attempt for each delivery."""
    services: list[Service] = []

    def start(*channels: str, **more: Any) -> Service:
        settings = lab.config()
        sections = {name: {**settings["channels"][name], **more} for name in channels}
        retries = {"max_retries": 1, "initial_delay_ms": 1, "max_delay_ms": 1}
        store = {"url": f"sqlite:///{tmp_path}/knell.db"}
        services.append(Service({**settings, "channels": sections, "retry_policy": retries, "store": store}))
        return services[-1]

    yield start
    for service in services:
        service.stop()


def letters(service: Service, *filters: str) -> list[str]:
    """Return the dead letters that `knell dead ls` lists."""
    found = json.loads(service.knell("dead", "ls", "--json", *filters))
    return [letter["id"] for letter in found["deliveries"]]


def test_what_a_provider_refused_is_sent_once_when_it_has_healed(
    lab: Lab, ends: Ends, serve: Callable[..., Service]
) -> None:
    """Dead letters are everywhere to be seen; a replay by filter takes just those, each under its old id."""
    service = serve("webhook")
    lab.webhook.down(Respond(400, "not today"))
    service.tell("e1", "e2", "e3")
    service.tell("p1", "p2", event_type="pr_created")
    dead = {f"{id_}:webhook" for id_ in ("e1", "e2", "e3", "p1", "p2")}
    assert ends.take(5) == {"dead": dead, "delivered": set()}
    first = {request.headers["webhook-id"] for request in lab.webhook.requests}
    assert len(first) == 5
    assert service.metrics("webhook") == (0, 5)
    listed = service.http("/v1/deliveries?state=dead&reason=invalid_message&count=true")
    assert {letter["id"] for letter in listed["deliveries"]} == dead
    assert listed["total"] == 5
    assert set(letters(service)) == dead

    lab.webhook.up()
    assert service.http("/v1/deliveries/replay", {"event_type": "job_failed"}) == {"replayed": 3}
    assert service.http("/v1/deliveries/replay", {"event_type": "job_failed"}) == {"replayed": 0}
    assert ends.take(3)["delivered"] == {"e1:webhook", "e2:webhook", "e3:webhook"}
    assert service.metrics("webhook") == (0, 2)
    assert set(letters(service)) == {"p1:webhook", "p2:webhook"}
    assert service.knell("dead", "replay", "--channel", "webhook", "--since", "1h") == (
        "2 dead letters replayed\n"
    )
    assert ends.take(2)["delivered"] == {"p1:webhook", "p2:webhook"}
    assert service.knell("dead", "replay", "--all") == "0 dead letters replayed\n"
    assert service.metrics("webhook") == (0, 0)

    service.stop()
    assert ends.quiet
    assert {message.id for message in lab.webhook.messages} == first
    assert len(lab.webhook.messages) == 5
    assert lab.webhook.duplicates == ()


def test_what_fails_again_is_a_dead_letter_again(lab: Lab, ends: Ends, serve: Callable[..., Service]) -> None:
    """Its attempts start anew, its history and its id stay; it is counted once."""
    service = serve("webhook")
    lab.webhook.down()
    service.tell("e1")
    assert ends.take(1)["dead"] == {"e1:webhook"}
    assert len(lab.webhook.requests) == 2
    assert service.http("/v1/deliveries/e1:webhook/replay", {}) == {"id": "e1:webhook", "replayed": 1}
    assert ends.take(1)["dead"] == {"e1:webhook"}
    assert service.metrics("webhook") == (0, 1)
    found = service.http("/v1/deliveries/e1:webhook")
    assert (found["delivery"]["state"], found["delivery"]["attempts"]) == ("dead", 2)
    assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3, 4]
    assert {attempt["reason"] for attempt in found["attempts"]} == {"server_error"}
    assert len({request.headers["webhook-id"] for request in lab.webhook.requests}) == 1
    assert len(lab.webhook.requests) == 4
    lab.webhook.up()
    assert service.knell("dead", "replay", "e1:webhook") == "1 dead letter replayed\n"
    assert ends.take(1)["delivered"] == {"e1:webhook"}


def test_recipients_who_have_it_do_not_get_it_again(
    lab: Lab, ends: Ends, serve: Callable[..., Service]
) -> None:
    """A mail is dead for the one that was refused; the replay is for that one, under the same Message-ID."""
    service = serve("email", to=["team@example.com", "gone@example.com"])
    service.tell("e1")
    assert ends.take(1)["dead"] == {"e1:email"}
    found = service.http("/v1/deliveries/e1:email")["delivery"]
    assert (found["reason"], "gone@example.com" in found["error"]) == ("recipient", True)
    (first,) = lab.smtp.wait_for(1)
    assert first.to == ("team@example.com",)
    del lab.smtp.replies["gone"]
    assert service.knell("dead", "replay", "--reason", "recipient") == "1 dead letter replayed\n"
    assert ends.take(1)["delivered"] == {"e1:email"}
    first, second = lab.smtp.messages
    assert second.to == ("gone@example.com",)
    assert second.id == first.id
    assert lab.smtp.duplicates == ()


def test_what_is_dropped_is_never_sent(lab: Lab, ends: Ends, serve: Callable[..., Service]) -> None:
    """Nor found by a replay of everything; it stays in the history."""
    service = serve("webhook")
    lab.webhook.down(Respond(400, "not today"))
    service.tell("e1", "e2")
    assert len(ends.take(2)["dead"]) == 2
    lab.webhook.up()
    assert service.knell("dead", "drop", "e1:webhook") == "1 dead letter dropped\n"
    assert service.metrics("webhook") == (0, 1)
    assert service.knell("dead", "replay", "--all") == "1 dead letter replayed\n"
    assert ends.take(1)["delivered"] == {"e2:webhook"}
    assert service.http("/v1/deliveries/e1:webhook")["delivery"]["state"] == "cancelled"
    service.stop()
    assert [message.title for message in lab.webhook.messages] == ["title of e2"]


def test_a_replay_outlives_its_service(lab: Lab, ends: Ends, serve: Callable[..., Service]) -> None:
    """What was brought back and not sent yet is sent by the next one, and just once."""
    service = serve("webhook")
    lab.webhook.down(Respond(400, "not today"))
    ids = [f"e{n}" for n in range(20)]
    service.tell(*ids)
    assert len(ends.take(20)["dead"]) == 20
    lab.webhook.up()
    service.manager.disable_channel("webhook")  # so that nothing goes before the end
    assert service.http("/v1/deliveries/replay", {"all": True}) == {"replayed": 20}
    service.stop()
    assert [message.title for message in lab.webhook.messages] == []
    serve("webhook")
    assert ends.take(20)["delivered"] == {f"{id_}:webhook" for id_ in ids}
    assert sorted(mail.title for mail in lab.webhook.messages) == sorted(f"title of {id_}" for id_ in ids)
    assert lab.webhook.duplicates == ()


@pytest.fixture
def many(tmp_path: Path) -> None:
    """Ten thousand dead letters of the webhook, every other one of a pull request, and one mail."""
    store = open_store(f"sqlite:///{tmp_path}/knell.db")
    store.open()
    store.begin()
    for n in range(MANY + 1):
        channel = "webhook" if n < MANY else "email"
        told = event(f"title {n}", event_id=f"e{n}", event_type="pr_created" if n % 2 else "job_failed")
        store.append([Submission(seal(told), (Route(channel),), (f"e{n}",), f"job-{n % 100}")], 1.0)
        (delivery,) = store.fetch(channel, 1, 1, frozenset(), 1.0)
        assert store.start([Attempt((delivery,))]) == [True]
        store.settle([Settlement(delivery, Dead(Reason.SERVER_ERROR, "503"))], 2.0)
    store.commit()
    store.close()


@pytest.mark.usefixtures("many")
def test_ten_thousand_are_replayed_and_counted(serve: Callable[..., Service]) -> None:
    """By filter, exactly; a second time there are none. A channel that is off keeps them to be counted."""
    service = serve("webhook", "email", enabled=False)
    assert service.metrics("webhook") == (0, MANY)
    assert service.http("/v1/deliveries/replay", {"channel": "webhook", "event_type": "pr_created"}) == {
        "replayed": MANY // 2
    }
    assert service.metrics("webhook") == (MANY // 2, MANY // 2)
    assert service.knell("dead", "replay", "--channel", "webhook") == f"{MANY // 2} dead letters replayed\n"
    assert service.knell("dead", "replay", "--channel", "webhook") == "0 dead letters replayed\n"
    assert service.metrics("webhook") == (MANY, 0)
    assert service.metrics("email") == (0, 1)
    assert service.manager.count(Selection(state=DeliveryState.PENDING)) == MANY
    assert [entry.deliveries for entry in service.manager.audit()] == [0, MANY // 2, MANY // 2]
