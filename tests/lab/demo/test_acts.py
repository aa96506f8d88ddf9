"""What keys and buttons do, and where the events of the cast go."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from knell.lab import Lab
from knell.lab.demo import acts
from knell.lab.demo.acts import KEYS, Acts
from knell.lab.demo.cast import Cast, Tell
from knell.lab.demo.reporter import Line
from knell.lab.demo.stage import system
from knell.lab.demo.watch import Watch
from knell.lab.demo.words import words
from knell.templates.wording import ENGLISH


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A running lab without the providers' rates."""
    with Lab(rate_limited=False) as running:
        yield running


class Lines(asyncio.Queue[Line]):
    """The lines, and waiting for what they tell."""

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; it can only begin to with a line."""
        async with asyncio.timeout(30):
            while not holds():
                await self.get()


BREAKER_THRESHOLD = 3

Act = Callable[[Acts, Watch, Lines], Coroutine[Any, Any, None]]


def playing(lab: Lab, act: Act) -> Watch:
    """Let something be done to a system, and return the watch that saw it."""

    async def run() -> Watch:
        lines = Lines()
        watch = Watch(lab, ENGLISH, lines.put_nowait)
        running = system(lab, lang="en", dashboard_url="", on_fatal=pytest.fail)
        with watch.receivers(), running as manager, watch.actors(manager):
            async with asyncio.TaskGroup() as tasks:
                await act(Acts(lab, manager, watch, ENGLISH, tasks), watch, lines)
        lab.stop()
        await asyncio.sleep(0)  # one turn of the loop: what the lab said last is in it
        return watch

    return asyncio.run(run())


def scenes(cast: Cast) -> list[Tell]:
    """Return one of each event there is."""
    calm = cast.calm()
    return [cast.job_failed(), cast.hostile(), cast.agent_error(), *(next(calm) for _ in range(6))]


def test_every_event_reaches_the_channels_it_names(lab: Lab) -> None:
    """The rules of the configuration send each event just where the cast says."""

    async def act(acts_: Acts, *_: object) -> None:
        tells = scenes(acts_.cast)
        for tell, receipt in zip(tells, acts_.tell(tells), strict=True):
            assert {result.channel for result in await receipt} == set(tell.to), tell

    assert playing(lab, act).ledger.problems() == []


def test_bug_crashes_the_slack_actor_once(lab: Lab) -> None:
    """The event with the bug is delivered after one restart."""

    async def act(acts_: Acts, *_: object) -> None:
        results = await acts_.tell([acts_.cast.agent_error(bug=True)])[0]
        assert all(result.success for result in results)

    watch = playing(lab, act)
    assert watch.figures.restarts("slack") == 1
    assert watch.figures.retries("slack") == 1
    assert watch.ledger.problems() == []


def test_outage_opens_the_breaker_and_loses_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord is down for a while; people hear of it, and what was told meanwhile arrives afterwards."""
    monkeypatch.setattr(acts, "OUTAGE_STEP", 0.1)

    async def act(acts_: Acts, watch: Watch, lines: Lines) -> None:
        assert acts_.act("outage")
        assert acts_.act("outage")  # one at a time
        told = acts.OUTAGE_EVENTS
        await lines.until(lambda: watch.ledger.events == told and not watch.ledger.missing())

    watch = playing(lab, act)
    assert watch.ledger.events == acts.OUTAGE_EVENTS
    assert watch.ledger.problems() == []
    assert watch.figures.retries("discord") >= BREAKER_THRESHOLD
    assert "Channel discord cannot deliver" in {message.title for message in lab.webhook.messages}


def test_unknown_act_is_refused(lab: Lab) -> None:
    """There is nothing behind other names."""

    async def act(acts_: Acts, *_: object) -> None:
        assert not acts_.act("shutdown")

    assert playing(lab, act).ledger.events == 0


def test_every_key_has_an_act(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that are offered do something."""
    monkeypatch.setattr(acts, "OUTAGE_STEP", 0.0)

    async def act(acts_: Acts, *_: object) -> None:
        assert all(acts_.act(name) for name, _ in KEYS.values())

    assert playing(lab, act).ledger.events == 1 + 1 + acts.OUTAGE_EVENTS + acts.BURST


def test_cast_speaks_japanese() -> None:
    """Titles are in the language of the demo."""
    assert Cast(words("ja")).job_started().event.title == "OAuth ログインの追加"
