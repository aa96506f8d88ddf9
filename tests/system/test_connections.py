"""Channels of one running system share a client, and each has connections of its own."""

from collections.abc import Callable

import pytest

from knell.channels.http import Http
from knell.lab import Gate, Hold, Lab
from tests.rogues import Watched

Run = Callable[..., Watched]


def test_channel_has_as_many_connections_as_its_concurrency(
    run_system: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One channel's receiver hangs on all of its connections, and another's messages go on arriving."""
    given: list[int] = []
    limited = Http.limited

    def noted(http: Http, connections: int) -> Http:
        given.append(connections)
        return limited(http, connections)

    monkeypatch.setattr(Http, "limited", noted)
    with Lab(rate_limited=False) as lab, Gate() as gate:
        lab.webhook.down(Hold(gate))
        channels = {
            "hung": {**lab.webhook.section(), "events": ["*"], "concurrency": 2},
            "fine": {**lab.discord.section(), "events": ["*"], "concurrency": 7},
        }
        security = {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}
        watched = run_system(channels, security=security)
        watched.tell(*(f"event {number}" for number in range(4)))
        gate.wait_arrived(2)
        lab.discord.wait_for(4)
        assert sorted(given) == [2, 7]
        gate.open()
        lab.webhook.wait_for(4)
