"""The demo as a whole, in this process, with receivers that lose and repeat."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from knell.errors import KnellError
from knell.lab import Lab, Respond
from knell.lab.demo import show
from knell.lab.demo.chapters import STORY
from knell.lab.demo.show import Options, play
from knell.lab.demo.stage import system


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A running lab on real clocks: retries and rate limits are part of what is shown."""
    with Lab() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads along."""
    monkeypatch.setattr(show, "PAUSE", 0.0)
    monkeypatch.setattr(show, "PAUSE_ONCE", 0.0)


@pytest.fixture
def only_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A story of one chapter: a job fails, and all five channels get it."""
    monkeypatch.setattr(show, "STORY", STORY[1:2])


def once(lab: Lab, paper: Any, lang: str = "en") -> int:
    """Play the story and return the exit code."""
    return asyncio.run(play(lab, paper, Options(once=True, lang=lang)))


def test_story_in_japanese_arrives_whole(lab: Lab, paper: Any) -> None:
    """The whole story is told in Japanese as well, to the receivers too, and nothing is lost."""
    assert once(lab, paper, "ja") == 0, paper.text
    assert "すべての通知が、ちょうど一度だけ届きました。" in paper.text
    assert any("夜間ビルド" in message.text for message in lab.slack.messages)
    assert lab.violations == ()


@pytest.mark.usefixtures("only_failure")
def test_lost_message_is_missed(lab: Lab, paper: Any) -> None:
    """A receiver that says ok and keeps nothing is found out: exit code 1, and what is missing."""
    lab.slack.script(Respond(200, "ok"))
    assert once(lab, paper) == 1
    assert re.search(r"job_failed \d+: slack got it never", paper.text)
    assert re.search(r"^slack( +0){4} +1$", paper.text, re.MULTILINE)
    assert "exactly once" not in paper.text


@pytest.mark.usefixtures("only_failure")
def test_repeated_message_is_noticed(lab: Lab, paper: Any) -> None:
    """A receiver that takes a message and answers 500 gets it again: that is not exactly once."""
    lab.slack.script(Respond(500, "internal_error", stored=True))
    assert once(lab, paper) == 1
    assert re.search(r"job_failed \d+: slack got it 2 times", paper.text)


@pytest.mark.usefixtures("only_failure")
def test_delivery_that_takes_too_long_is_missed(
    lab: Lab, paper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story does not wait for ever for a provider that is down."""
    monkeypatch.setattr(show, "PATIENCE", 0.5)
    lab.discord.down()
    assert once(lab, paper) == 1
    assert "discord got it never" in paper.text
    assert re.search(r"job_failed +discord +503; it will be tried again", paper.text)


@pytest.mark.usefixtures("only_failure")
def test_nothing_stays_behind(lab: Lab, paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is in a temporary folder that is gone afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert once(lab, paper) == 0, paper.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("only_failure")
def test_signal_ends_it_cleanly(lab: Lab, paper: Any) -> None:
    """SIGINT in the live part stops everything in order: exit code 0, and a last table."""

    async def interrupted() -> int:
        playing = asyncio.create_task(play(lab, paper, Options(page=False)))
        await paper.shows("the day goes on")
        os.kill(os.getpid(), signal.SIGINT)
        return await playing

    assert asyncio.run(interrupted()) == 0
    assert paper.text.rstrip().splitlines()[-7].endswith("waiting")


@pytest.mark.usefixtures("only_failure")
def test_day_goes_on_and_takes_no_memory(lab: Lab, paper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the story events go on coming, and the receivers keep only the latest messages."""
    monkeypatch.setattr(show, "CALM_SECONDS", 0.02)
    monkeypatch.setattr(show, "KEPT", 1)

    async def interrupted() -> int:
        playing = asyncio.create_task(play(lab, paper, Options(page=False)))
        await paper.shows("task_failed +webhook +ok")
        os.kill(os.getpid(), signal.SIGINT)
        return await playing

    assert asyncio.run(interrupted()) == 0
    told = int(re.findall(r"(\d+) events told", paper.text)[-1])
    assert len(lab.webhook.messages) < told - 1


def test_signal_within_the_story_fails_it(lab: Lab, paper: Any) -> None:
    """A story that is broken off proves nothing: exit code 1."""

    async def interrupted() -> int:
        playing = asyncio.create_task(play(lab, paper, Options(once=True)))
        await paper.shows("1/6")
        os.kill(os.getpid(), signal.SIGTERM)
        return await playing

    assert asyncio.run(interrupted()) == 1
    assert "Ended before the story did." in paper.text


@pytest.mark.usefixtures("only_failure")
def test_cancelled_demo_takes_everything_down(lab: Lab, paper: Any) -> None:
    """Whoever runs the demo as a task may cancel it: the page is closed before that returns."""

    async def cancelled() -> str:
        playing = asyncio.create_task(play(lab, paper, Options(port=0)))
        found = await paper.shows(r"http://127.0.0.1:(\d+)")
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
        return str(found[1])

    port = asyncio.run(cancelled())
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(asyncio.open_connection("127.0.0.1", int(port)))


def test_taken_port_is_an_error(lab: Lab, paper: Any) -> None:
    """A port that was asked for and is taken is named."""
    with pytest.raises(KnellError, match=rf"cannot listen on 127.0.0.1:{lab.slack.port}: "):
        asyncio.run(play(lab, paper, Options(port=lab.slack.port)))


@pytest.mark.usefixtures("only_failure")
def test_system_that_gives_up_ends_the_demo(lab: Lab, paper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the root supervisor gives up, the demo says why and fails."""
    given: list[Any] = []

    def noted(*args: Any, **options: Any) -> Any:
        given.append(options["on_fatal"])
        return system(*args, **options)

    monkeypatch.setattr(show, "system", noted)

    async def broken() -> int:
        playing = asyncio.create_task(play(lab, paper, Options(page=False)))
        await paper.shows("the day goes on")
        given[0]("too many restarts")
        return await playing

    assert asyncio.run(broken()) == 1
    assert "knell gave up: too many restarts" in paper.text
