"""The checks that every channel passes, also one that never leaves the machine."""

import asyncio
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from prometheus_client import generate_latest

from knell.assembly import model_of
from knell.channels.base import Channel, ChannelConfig
from knell.cli.samples import CUSTOM, samples
from knell.config.json_schema import json_schema
from knell.config.load import load_mapping
from knell.errors import ConfigError
from knell.events import EventType, Link, NotificationEvent
from knell.ids import uuid7
from knell.lab.standin import StandIn
from knell.manager import start
from knell.messages import FormattedMessage, HealthStatus, MessageFormat
from knell.testing.stage import NAME, Stage
from knell.testing.verdicts import Verdict, verdict
from knell.testing.world import certificate

EVENTS = (*map(str, EventType), CUSTOM)
AT_ONCE = 8
"""Messages sent at the same time."""

WAIT_SECONDS = 60.0
"""For a whole system to deliver or give up; reached only by a check that fails."""

_HOSTILE = (
    'He said "no" <!channel> <@U1> @everyone <b>x</b> {{7*7}} \\" \u202e\u0007\r\n.\r\n% }] *_~`|> 日本語 🔔'
)

MakeStage = Callable[..., AbstractContextManager[Stage]]


class LocalConformance:
    """What a channel promises, whatever it is.

    Attributes:
        channel: the class under test.
        provider: the stand-in it talks to, if it talks to anybody.
    """

    channel: ClassVar[type[Channel]]
    provider: ClassVar[type[StandIn] | None] = None

    def section(self, stage: Stage) -> dict[str, Any]:
        """Return the smallest section that works, with `stage.secret(...)` in each slot of a credential."""
        del stage
        return {}

    def delivered(self, stage: Stage) -> int | None:
        """Return how many messages their readers can see; None where nobody can tell."""
        return len(stage.provider.messages) if self.provider else None

    # Fixtures

    @pytest.fixture
    def make_stage(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> MakeStage:
        """Return what makes a stage, with TLS if it is told what certificate to show."""

        @contextmanager
        def make(kind: str = "") -> Generator[Stage]:
            shown = certificate(kind, tmp_path) if kind else None
            with Stage(self, tmp_path, shown, lambda: "".join(capsys.readouterr())).started() as stage:
                yield stage

        return make

    @pytest.fixture
    def stage(self, make_stage: MakeStage) -> Iterator[Stage]:
        """Return a stage without TLS."""
        with make_stage() as stage:
            yield stage

    # The section

    def test_a_section_survives_a_round_trip(self, stage: Stage) -> None:
        """What a section says is what it says after it was written and read again."""
        model = stage.model()
        dumped = model.model_dump(by_alias=True, exclude_unset=True)
        assert type(model).model_validate(dumped) == model

    def test_a_section_fits_the_json_schema(self, stage: Stage) -> None:
        """An editor accepts the section."""
        jsonschema = pytest.importorskip("jsonschema", reason='needs pip install "knell[testing]"')
        schema = json_schema({stage.type: self.channel.Config})
        section = json.loads(json.dumps(stage.section()))
        jsonschema.validate({"channels": {NAME: {**section, "type": stage.type}}}, schema)

    def test_a_misspelt_key_is_refused_with_a_hint(self, stage: Stage) -> None:
        """A key nobody knows is an error that says which one was meant."""
        if self.channel.Config.model_config.get("extra") == "allow":
            pytest.skip("its section has no schema (Config), so any key is taken")
        own = self.channel.Config.model_fields.keys() - ChannelConfig.model_fields.keys()
        key = max((own - stage.section().keys()) or {"timeout_seconds"}, key=len)
        with pytest.raises(ConfigError) as refused:
            self._load(stage, {f"{key}x": 1})
        assert f"{key}x" in str(refused.value)
        assert f"did you mean '{key}'" in str(refused.value)

    def test_secrets_are_masked(self, stage: Stage) -> None:
        """A section shows no secret: printed, formatted, written as JSON, or refused for another key."""
        model = stage.model()
        stage.saw(
            repr(model), str(model), f"{model}", model.model_dump_json(exclude={"filters"}), str(vars(model))
        )
        channel: Channel = self.channel(model)
        stage.saw(repr(channel), str(channel), *channel.validate_config())
        wrongs: tuple[Any, ...] = ({}, [[]], None)
        for key in stage.section():
            for wrong in wrongs:
                try:
                    self._load(stage, {key: wrong, "concurrency": "no number"})
                except ConfigError as error:
                    stage.saw(str(error), repr(error.problems))
        stage.check_secrets()

    # Sending

    @pytest.mark.parametrize("locale", ["en", "ja"])
    def test_every_event_is_taken(self, stage: Stage, locale: str) -> None:
        """Every event type, with much and with little in it, in this language, is valid at the provider."""
        wanted = [[_fresh(event)] for event_type in EVENTS for event in samples(event_type)]
        wanted.append([_fresh(samples(event_type)[0]) for event_type in EVENTS])
        stage.run(self._all_taken(stage, [stage.message(events, locale) for events in wanted]))

    def test_the_worst_of_texts_are_taken(self, stage: Stage) -> None:
        """Texts that are far too long, or hold what means something elsewhere, are cut and escaped."""
        long = "あ🔔x " * 5_000
        worst = [_worst(text) for text in (_HOSTILE, long, _HOSTILE * 2_000)]
        plain = [
            FormattedMessage(format=MessageFormat.TEXT, content=text, id=uuid7()) for text in (_HOSTILE, long)
        ]
        stage.run(self._all_taken(stage, [*(stage.message([event]) for event in worst), *plain]))

    async def _all_taken(self, stage: Stage, messages: list[FormattedMessage]) -> None:
        before = self.delivered(stage)
        async with stage.open() as channel:
            for message in messages:
                fitted = channel.fit(message)
                assert channel.fit(message) == fitted, "fit gives another result the second time"
                outcome = await stage.attempt(channel, message)
                told = f"{[str(event.event_type) for event in message.events]}: {outcome}"
                assert verdict(outcome) is Verdict.DELIVERED, told
        if before is not None:
            after = self.delivered(stage)
            assert after == before + len(messages), f"{after} messages arrived of {before + len(messages)}"
        if self.provider:
            assert stage.provider.violations == ()

    def test_messages_are_sent_at_the_same_time(self, stage: Stage) -> None:
        """Many sends at once do not get into each other's way."""

        async def check() -> None:
            async with stage.open() as channel:
                before = self.delivered(stage)
                messages = [stage.message([_fresh(samples(CUSTOM)[0], number)]) for number in range(AT_ONCE)]
                outcomes = await asyncio.gather(*(stage.attempt(channel, message) for message in messages))
                verdicts = [verdict(outcome) for outcome in outcomes]
                # A channel that knows how much its provider takes may let the rest wait.
                assert set(verdicts) - {Verdict.LIMITED} == {Verdict.DELIVERED}, outcomes
                if before is not None:
                    assert self.delivered(stage) == before + verdicts.count(Verdict.DELIVERED)

        stage.run(check())

    def test_a_cancelled_send_leaves_nothing(self, stage: Stage) -> None:
        """Cancelled as soon as it waits for something, a send ends at once, and the next one works."""

        async def check() -> None:
            async with stage.open() as channel:
                sending = asyncio.ensure_future(stage.attempt(channel))
                await asyncio.sleep(0)
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled() or verdict(sending.result()) is Verdict.DELIVERED
                assert verdict(await stage.attempt(channel)) is Verdict.DELIVERED

        stage.run(check())

    def test_close_gives_everything_back(self, stage: Stage) -> None:
        """After `close` no task, thread or connection is left; a channel that never sent can be closed."""

        async def check() -> None:
            async with stage.open():
                pass
            async with stage.open() as channel:
                assert verdict(await stage.attempt(channel)) is Verdict.DELIVERED
            if self.provider:
                assert stage.connections() == 0, "a connection outlives the channel"

        stage.run(check())

    def test_a_health_check_sends_nothing(self, stage: Stage) -> None:
        """A health check says how it is, and nobody gets a message."""

        async def check() -> None:
            async with stage.open() as channel:
                before = self.delivered(stage)
                status = await channel.health_check()
                assert isinstance(status, HealthStatus), f"health_check returned {status!r}"
                stage.saw(repr(status))
                assert self.delivered(stage) == before, "people got a message from a health check"
                assert status.healthy, status.detail

        stage.run(check())

    # In a system

    @pytest.mark.parametrize("works", [True, False])
    def test_no_secret_is_stored_or_counted(self, stage: Stage, works: bool) -> None:  # noqa: FBT001 - a parameter
        """In a running system the store, the metrics, the log and the results hold no secret."""
        if not works and not self.provider:
            pytest.skip("there is no provider that could fail")
        stage.model()  # from here on its secrets are known
        if not works:
            stage.provider.down()
        stage.run(self._in_a_system(stage, works=works))

    async def _in_a_system(self, stage: Stage, *, works: bool) -> None:
        config = self._settings(stage, {"retry_config": {"max_retries": 1, "initial_delay_ms": 1}})
        manager = start({**config, "store": {"url": f"sqlite:///{stage.folder}/knell.db"}})
        try:
            receipt = manager.notify(_fresh(samples("job_failed")[0]))
            results = await asyncio.to_thread(receipt.results, WAIT_SECONDS)
            assert [result.success for result in results] == [works], results
            status = manager.get_delivery_status(receipt.id)
            stage.saw(repr(results), repr(status), generate_latest(manager.registry).decode())
        finally:
            await asyncio.to_thread(manager.stop)
        for path in stage.folder.glob("knell.db*"):
            stage.saw(path.read_bytes().decode("utf-8", "replace"))

    # Small parts

    def _settings(self, stage: Stage, changes: dict[str, Any]) -> dict[str, Any]:
        section = {**stage.section(), "type": stage.type, "events": ["*"], **changes}
        return {"channels": {NAME: section}, "security": stage.security.model_dump(mode="json")}

    def _load(self, stage: Stage, changes: dict[str, Any]) -> None:
        load_mapping(self._settings(stage, changes), section_model=model_of, environ={})


def _fresh(event: NotificationEvent, number: int = 0) -> NotificationEvent:
    title = f"{event.title} {number}" if number else event.title
    return msgspec.structs.replace(event, event_id=uuid7(), title=title)


def _worst(text: str) -> NotificationEvent:
    full = samples("job_failed")[0]
    facts = full.metadata
    return msgspec.structs.replace(
        full,
        event_id=uuid7(),
        title=text,
        description=text,
        source=text,
        metadata={key: text if isinstance(value, str) else value for key, value in facts.items()},
        links=[Link(url="https://ci.example.com/" + "x" * 3000, text=text) for _ in range(30)],
    )
