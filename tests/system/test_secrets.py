"""What a third party's channel says of its secrets: nobody gets to see it."""

import logging
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception

import pytest
from pydantic import SecretStr

from knell.channels.base import Channel, ChannelConfig, FormattedMessage, Outcome, Reason, Rejected
from knell.errors import ConfigError
from knell.messages import DeliveryState
from knell.store.records import Selection
from tests.puppets import PATIENCE
from tests.rogues import Watched, event

CANARY = "c4n4ry-in-a-coal-mine"


class GossipConfig(ChannelConfig):
    """The section of a channel that cannot keep a secret."""

    token: SecretStr


class Gossip(Channel):
    """Says its token whenever something goes wrong."""

    Config = GossipConfig
    config: GossipConfig

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Fail here, if the title asks for it."""
        if message.events[0].title == "fit":
            raise RuntimeError(f"the token {self.config['token']} is wrong")
        return message

    async def send(self, message: FormattedMessage) -> Outcome:
        """Fail in the way that the title asks for."""
        said = f"the token {self.config['token']} is wrong"
        if message.events[0].title == "crash":
            raise RuntimeError(said)
        return Rejected(Reason.REFUSED, said)

    async def close(self) -> None:
        """Fail here too."""
        raise RuntimeError(self.config["token"])


@pytest.mark.parametrize("title", ["crash", "refuse", "fit"])
def test_a_channel_that_says_its_secret_is_masked(
    run_system: Callable[..., Watched], tmp_path: Path, caplog: pytest.LogCaptureFixture, title: str
) -> None:
    """In results, dead letters, logs, metrics and the store; what it said besides is there."""
    caplog.set_level(logging.DEBUG)
    section = {"type": f"{__name__}:Gossip", "events": ["*"], "token": CANARY}
    watched = run_system({"gossip": section})
    (result,) = watched.manager.notify(event(title)).results(PATIENCE)
    (dead,) = watched.manager.deliveries(Selection(state=DeliveryState.DEAD))
    detail = watched.manager.delivery(dead.id)
    watched.manager.stop()
    assert "the token *** is wrong" in str(result.error)
    records = [f"{vars(record)} {caplog.handler.format(record)}" for record in caplog.records]
    assert any("***" in record for record in records)
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("knell.db*"))
    assert b"is wrong" in stored
    for shown in (repr(result), repr(detail), *records, stored.decode("latin-1")):
        assert CANARY not in shown


class Loud(Gossip):
    """Says its token before it has begun."""

    def __init__(self, config: GossipConfig) -> None:
        super().__init__(config)
        raise RuntimeError(f"no good: {config['token']}")


class Critic(Gossip):
    """Says its token instead of what is wrong with its section."""

    def validate_config(self) -> list[str]:
        """Fail."""
        raise RuntimeError(f"no good: {self.config['token']}")


@pytest.mark.parametrize("kind", [Loud, Critic])
def test_a_class_that_fails_at_the_start_is_a_mistake_of_the_configuration(
    run_system: Callable[..., Watched], kind: type[Channel]
) -> None:
    """It says which channel and what, and not the secret."""
    section = {"type": f"{__name__}:{kind.__name__}", "events": ["*"], "token": CANARY}
    with pytest.raises(ConfigError, match=r"channels\.gossip: .*no good: \*\*\*") as caught:
        run_system({"gossip": section})
    assert CANARY not in "".join(format_exception(caught.value))
