"""What browsers are told, those that come late and those that are slow too."""

import asyncio
import re

from knell.lab.demo import hub
from knell.lab.demo.hub import Hub


def told(items: bytes) -> list[tuple[str, str]]:
    """Return kind and data of each event in a stream."""
    return re.findall(r"event: (\w+)\ndata: (.*)\n\n", items.decode())


def test_late_browser_gets_what_there_was() -> None:
    """The latest of its kind, the messages and the lines; then word that it is live."""

    async def first() -> bytes:
        here = Hub()
        here.latest("chapter", {"title": "old"})
        here.latest("chapter", {"title": "new"})
        here.line({"text": "a line"})
        here.message("slack", {"text": "a message"})
        return await anext(here.stream())

    assert told(asyncio.run(first())) == [
        ("hello", "{}"),
        ("chapter", '{"title":"new"}'),
        ("message", '{"text":"a message"}'),
        ("line", '{"text":"a line"}'),
        ("live", "{}"),
    ]


def test_newline_in_an_event_cannot_end_an_item() -> None:
    """Text of events cannot forge items of the stream."""

    async def first() -> bytes:
        here = Hub()
        here.line({"text": 'x\n\nevent: line\ndata: {"text": "forged"}\n\n'})
        return await anext(here.stream())

    assert [kind for kind, _ in told(asyncio.run(first()))] == ["hello", "line", "live"]


def test_news_reaches_every_browser_and_old_news_none() -> None:
    """What is the same as before is not sent again."""

    async def both() -> list[bytes]:
        here = Hub()
        streams = [here.stream(), here.stream()]
        for stream in streams:
            await anext(stream)
        assert here.watched
        here.latest("figures", {"events": 1})
        here.latest("figures", {"events": 1})
        here.close()
        rest = [[item async for item in stream] for stream in streams]
        assert not here.watched
        return [b"".join(items) for items in rest]

    assert [told(items) for items in asyncio.run(both())] == [[("figures", '{"events":1}')]] * 2


def test_slow_browser_is_sent_away() -> None:
    """One that falls behind gets an end, comes back, and gets everything at once."""

    async def slow() -> list[bytes]:
        here = Hub()
        stream = here.stream()
        await anext(stream)
        for number in range(hub.BEHIND + 1):
            here.line({"number": number})
        assert not here.watched
        here.line({"number": "later"})
        return [item async for item in stream]

    assert asyncio.run(slow()) == []


def test_history_is_bounded() -> None:
    """A demo that runs for days keeps the last of everything."""

    async def first() -> bytes:
        here = Hub()
        for number in range(1000):
            here.line({"number": number})
            here.message("slack", {"number": number})
        return await anext(here.stream())

    kinds = [kind for kind, _ in told(asyncio.run(first()))]
    assert kinds.count("message") == hub.KEPT_MESSAGES
    assert kinds.count("line") == hub.KEPT_LINES
