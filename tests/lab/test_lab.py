"""The lab as a whole: starting, stopping, configuring, subscribing."""

import asyncio
import gc
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import aiohttp
import pytest

from knell.channels.registry import find
from knell.config.load import load_mapping
from knell.lab import Answer, Gate, Hold, Lab, Message, Request, Respond
from knell.lab.standin import StandIn

Call = Callable[..., Answer]


def refuses_connections(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def was_ended(connection: socket.socket) -> bool:
    """Whether the other side ends a connection, in good order or not; closes it here."""
    with connection:
        connection.settimeout(10)
        try:
            while connection.recv(1000):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
    return True


def test_stop_leaves_no_thread_no_port_and_no_warning() -> None:
    """After the context its thread has ended, its ports are closed, and nothing is left to collect."""
    before = threading.active_count()
    with Lab() as lab:
        ports = [stand_in.port for stand_in in lab.stand_ins]
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert all(refuses_connections(port) for port in ports)
    # An unclosed socket or loop would warn here, and a warning is an error.
    gc.collect()


def test_stop_cuts_connections_that_clients_keep_open() -> None:
    """Idle keep-alive connections and SMTP sessions do not hold the lab up."""
    with Lab() as lab:
        idle = [socket.create_connection(("127.0.0.1", stand_in.port)) for stand_in in lab.stand_ins]
        assert idle[-1].recv(4) == b"220 "
    assert all(was_ended(connection) for connection in idle)


def test_stop_sees_connections_that_came_the_moment_before() -> None:
    """A connection the lab had no time to notice is closed all the same."""
    for _ in range(5):
        with Lab() as lab:
            fresh = [socket.create_connection(("127.0.0.1", stand_in.port)) for stand_in in lab.stand_ins]
        assert all(was_ended(connection) for connection in fresh)
    gc.collect()


def test_stop_ends_a_request_that_is_held(call: Call) -> None:
    """A request that waits at a gate when the lab stops loses its connection."""
    failed: queue.Queue[Exception] = queue.Queue()
    gate = Gate()

    def client(url: str) -> None:
        try:
            call("POST", url, json={"text": "held"})
        except OSError as error:
            failed.put(error)

    with Lab() as lab:
        lab.slack.script(Hold(gate))
        thread = threading.Thread(target=client, args=(lab.slack.url,))
        thread.start()
        gate.wait_arrived()
    thread.join()
    assert isinstance(failed.get_nowait(), OSError)
    gate.open()


def test_two_labs_run_side_by_side(call: Call) -> None:
    """Labs share neither ports nor credentials nor logs."""
    with Lab() as one, Lab() as two:
        assert call("POST", one.slack.url, json={"text": "to one"}).status == 200
        assert call("POST", two.slack.url, json={"text": "to two"}).status == 200
        assert [message.text for message in one.slack.messages] == ["to one"]
        assert [message.text for message in two.slack.messages] == ["to two"]
        assert one.twilio.auth_token != two.twilio.auth_token


def test_a_lab_runs_once() -> None:
    """A lab that ran cannot be started again, and stopping it again is harmless."""
    lab = Lab()
    lab.stop()
    with lab:
        pass
    lab.stop()
    with pytest.raises(RuntimeError, match="runs once"):
        lab.start()


def test_addresses_exist_while_it_runs_only() -> None:
    """Before the start there is no address to hand out."""
    lab = Lab()
    with pytest.raises(RuntimeError, match="slack has no address yet"):
        _ = lab.slack.url
    with pytest.raises(RuntimeError, match="smtp has no address yet"):
        lab.smtp.section()


def test_a_failed_start_tells_its_caller() -> None:
    """What keeps a stand-in from listening is raised by `start`, and the thread ends."""
    before = threading.active_count()
    lab = Lab()

    async def fail() -> None:
        raise OSError("no port")

    lab.twilio.start = fail  # type: ignore[method-assign] # a machine out of ports cannot be arranged
    with pytest.raises(OSError, match="no port"):
        lab.start()
    lab.stop()
    assert threading.active_count() == before


def test_config_reaches_every_stand_in(lab: Lab) -> None:
    """The configuration names all five channels, with addresses of this lab and plain HTTP allowed."""
    config = lab.config()
    channels = config["channels"]
    assert sorted(channels) == ["discord", "email", "slack", "sms", "webhook"]
    assert channels["slack"] == {"type": "slack", "webhook_url": lab.slack.url, "events": ["*"]}
    assert channels["email"]["smtp_port"] == lab.smtp.port
    assert config["security"] == {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}


def test_config_is_a_knell_configuration(lab: Lab) -> None:
    """Every key is one the loader and the channel types know; so is Slack's other section."""
    config = lab.config()
    config["channels"]["slack-api"] = lab.slack.api_section()
    loaded = load_mapping(config, section_model=lambda kind: find(kind).Config)
    assert loaded.channels["slack-api"].get("api_base_url") == lab.slack.api_base_url
    assert loaded.channels["email"].events == ["*"]
    problems = [find(section.type)(section).validate_config() for section in loaded.channels.values()]
    assert problems == [[]] * 6


def test_config_leaves_events_to_the_defaults_on_demand(lab: Lab) -> None:
    """Without events every section is silent about them."""
    assert all("events" not in section for section in lab.config(events=None)["channels"].values())


def test_subscribers_get_messages_changes_and_refusals(lab: Lab, call: Call) -> None:
    """A subscriber sees what readers see and what was refused, in order; afterwards nothing more."""
    seen: queue.Queue[Message | Request] = queue.Queue()
    unsubscribe = lab.subscribe(seen.put)
    message_id = call("POST", f"{lab.discord.url}?wait=true", json={"content": "one"}).json["id"]
    call("POST", lab.slack.url, json={})
    call("PATCH", f"{lab.discord.url}/messages/{message_id}", json={"content": "two"})
    first, refused, changed = (seen.get(timeout=10) for _ in range(3))
    assert isinstance(first, Message)
    assert first.text == "one"
    assert isinstance(refused, Request)
    assert refused.answer is not None
    assert refused.answer.refused.startswith("missing_text_or_fallback_or_attachments")
    assert isinstance(changed, Message)
    assert (changed.text, changed.edits) == ("two", 1)
    unsubscribe()
    call("POST", lab.slack.url, json={"text": "unseen"})
    assert seen.empty()


def test_a_failing_subscriber_harms_nobody(lab: Lab, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """A subscriber that raises is reported; the stand-in answers as ever."""
    reported = threading.Event()

    def explode(_: object) -> None:
        reported.set()
        raise LookupError("a bug of the page")

    lab.subscribe(explode)
    assert call("POST", lab.slack.url, json={"text": "hello"}).status == 200
    assert reported.wait(10)
    assert call("POST", lab.slack.url, json={"text": "again"}).status == 200
    assert "a bug of the page" in caplog.text


def test_violations_of_all_stand_ins_are_named(lab: Lab) -> None:
    """The lab's violations carry the name of the stand-in."""
    lab.smtp.violate("sent twice")
    assert lab.violations == ("smtp: sent twice",)


def test_the_lab_needs_neither_test_tools_nor_the_rest_of_knell() -> None:
    """Importing it brings in no test package, no actor, and none of the code it is there to check."""
    code = "import sys, knell.lab; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    loaded = set(done.stdout.split())
    assert not loaded & {"pytest", "trustme", "standardwebhooks", "hypothesis", "pykka"}
    assert not [name for name in loaded if name.startswith(("knell.channels", "knell.actors"))]


def test_waiting_fails_with_a_summary(lab: Lab, call: Call) -> None:
    """A wait that ends in vain tells what came instead."""
    call("POST", lab.slack.url, json={})
    with pytest.raises(TimeoutError, match=r"slack: not within 0.01 s; 0 messages, 1 requests.*missing_text"):
        lab.slack.wait_for(1, timeout=0.01)


def test_waiting_blocks_until_it_is_there(lab: Lab, call: Call) -> None:
    """A wait ends as soon as what it waits for is recorded by the other thread."""
    thread = threading.Thread(target=call, args=("POST", lab.slack.url), kwargs={"json": {"text": "late"}})
    thread.start()
    assert [message.text for message in lab.slack.wait_for(1)] == ["late"]
    lab.slack.wait(lambda slack: len(slack.requests) == 1)
    thread.join()


def test_down_holds_until_up(lab: Lab, call: Call) -> None:
    """An outage strikes every request, behind what the script says, until it is over."""
    lab.slack.down()
    lab.slack.script(Respond(418))
    statuses = [call("POST", lab.slack.url, json={"text": "x"}).status for _ in range(3)]
    assert statuses == [418, 503, 503]
    lab.slack.up()
    assert call("POST", lab.slack.url, json={"text": "x"}).status == 200


def test_clear_forgets_the_log_and_keeps_the_provider(lab: Lab, call: Call) -> None:
    """What was recorded goes; what the provider knows stays."""
    message_id = call("POST", f"{lab.discord.url}?wait=true", json={"content": "one"}).json["id"]
    lab.discord.violate("something")
    lab.discord.warn("something")
    lab.discord.clear()
    assert (lab.discord.messages, lab.discord.requests, lab.discord.violations) == ((), (), ())
    assert lab.discord.warnings == ()
    edited = call("PATCH", f"{lab.discord.url}/messages/{message_id}", json={"content": "two"})
    assert edited.status == 200
    assert lab.discord.messages == ()


@pytest.mark.parametrize("name", ["slack", "discord", "twilio", "webhook"])
def test_unlimited_stand_ins_take_any_load(name: str) -> None:
    """With the rates switched off fifty requests at once are all taken, over kept connections."""

    async def flood(lab: Lab) -> list[int]:
        auth = aiohttp.encode_basic_auth(lab.twilio.account_sid, lab.twilio.auth_token)
        sms = {"To": "+819012345678", "From": "+15005550006", "Body": "x"}
        requests = {
            "slack": (lab.slack.url, {"json": {"text": "x"}}),
            "discord": (f"{lab.discord.url}?wait=true", {"json": {"content": "x"}}),
            "twilio": (lab.twilio.url, {"data": sms, "headers": {"Authorization": auth}}),
            "webhook": (lab.webhook.url, {"json": {"type": "job_failed"}}),
        }
        url, options = requests[name]

        async def one(session: aiohttp.ClientSession) -> int:
            async with session.post(url, **options) as response:  # type: ignore[arg-type] # options differ
                await response.read()
                return response.status

        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(one(session) for _ in range(50)))

    with Lab(rate_limited=False) as lab:
        lab.webhook.secrets = ()
        statuses = asyncio.run(flood(lab))
        stand_in: StandIn = getattr(lab, name)
        assert set(statuses) <= {200, 201}
        assert len(stand_in.messages) == 50
        assert stand_in.violations == ()
