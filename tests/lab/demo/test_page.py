"""The page's server: what it hands out, and to whom."""

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest

from knell.lab.demo import page
from knell.lab.demo.hub import Hub
from knell.lab.demo.page import OWN, Page
from knell.lab.demo.words import words

T = TypeVar("T")


def served(ask: Callable[[aiohttp.ClientSession, Page, Hub], Awaitable[T]], lang: str = "en") -> T:
    """Serve a page on a free port, and ask it something."""

    async def run() -> T:
        hub = Hub()
        async with (
            Page(hub, words(lang), lambda name: name == "fail", 0) as here,
            aiohttp.ClientSession() as session,
        ):
            return await ask(session, here, hub)

    return asyncio.run(run())


def document(lang: str = "en") -> tuple[str, Any]:
    """Return the document and its headers."""

    async def ask(session: aiohttp.ClientSession, here: Page, _: Hub) -> tuple[str, Any]:
        async with session.get(here.url) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            return await answer.text(), answer.headers

    return served(ask, lang)


def test_policy_lets_nothing_in() -> None:
    """Nothing but the page's own script runs, and nothing is fetched from elsewhere."""
    text, headers = document()
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert len(script) == 1
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Python" not in headers["Server"]


def test_document_is_whole_and_calls_nobody() -> None:
    """No address of another place is in it, no file is missing from it, no word was forgotten."""
    text, _ = document()
    assert "//" not in text
    assert not re.search(r"\b(src|href)=[\"'](?!data:,)", text)
    assert "<!-- style" not in text
    assert "[[" not in re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)
    assert 'new EventSource("/events")' in text


def test_document_speaks_japanese() -> None:
    """Its words and its language are those that were asked for."""
    text, _ = document("ja")
    assert '<html lang="ja">' in text
    assert "スーパービジョンツリー" in text


def test_scripts_make_no_markup_of_text() -> None:
    """No way from a text to markup is used; only a mail's frame takes HTML, in a sandbox."""
    text, _ = document()
    ways = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
        "new Function",
    )
    assert [way for way in ways if way in text] == []
    assert text.count("srcdoc =") == 1
    assert 'frame.setAttribute("sandbox", "")' in text


def test_stream_carries_messages_as_data() -> None:
    """What happens is sent as it happens; a hostile title stays within JSON of a type no browser renders."""
    title = "\n\n<script>alert(1)</script>"

    async def ask(session: aiohttp.ClientSession, here: Page, hub: Hub) -> tuple[str, str]:
        async with session.get(f"{here.url}/events") as answer:
            await answer.content.readuntil(b"event: live\ndata: {}\n\n")
            hub.message("slack", {"channel": "slack", "payload": {"text": title}})
            return answer.headers["Content-Type"], (await answer.content.readuntil(b"\n\n")).decode()

    kind, item = served(ask)
    assert kind == "text/event-stream"
    assert item == (
        'event: message\ndata: {"channel":"slack","payload":{"text":"\\n\\n<script>alert(1)</script>"}}\n\n'
    )


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [("fail", {OWN: "1"}, 204), ("format-disk", {OWN: "1"}, 404), ("fail", {}, 403)],
)
def test_buttons_are_for_the_page_alone(name: str, headers: dict[str, str], status: int) -> None:
    """Another site can post without the header only, and then nothing happens."""

    async def ask(session: aiohttp.ClientSession, here: Page, _: Hub) -> int:
        async with session.post(f"{here.url}/act/{name}", headers=headers) as answer:
            return answer.status

    assert served(ask) == status


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("127.0.0.1", 200), ("evil.example", 403)])
def test_other_names_of_this_machine_are_refused(host: str, status: int) -> None:
    """A site that has its name resolved to loopback reads nothing."""

    async def ask(session: aiohttp.ClientSession, here: Page, _: Hub) -> int:
        async with session.get(here.url, headers={"Host": f"{host}:{here.url.rpartition(':')[2]}"}) as answer:
            return answer.status

    assert served(ask) == status


def test_usual_port_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wish for a port another one is found."""

    async def start() -> str:
        async with Page(Hub(), words("en"), lambda _: False, None) as here:
            return here.url

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(page, "PORT", taken.getsockname()[1])
        url = asyncio.run(start())
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert not url.endswith(f":{page.PORT}")
