"""The page in a real browser."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from knell.lab import Lab
from knell.lab.demo import show
from knell.lab.demo.show import Options, play

ALL_SHOWN = """
new Promise((done) => {
  const ids = ["slack", "email", "discord", "webhook", "sms"];
  const look = () => ids.every((id) => document.getElementById(id)?.children.length)
    && document.querySelector("button:enabled[data-act]") && done(true);
  new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true });
  look();
})
"""

STATE = """
({
  scripts: document.scripts.length,
  frames: [...document.querySelectorAll("iframe")].map((frame) => frame.getAttribute("sandbox")),
  feeds: Object.fromEntries(["slack", "email", "discord", "webhook", "sms"]
    .map((id) => [id, document.getElementById(id).textContent])),
  marks: document.querySelectorAll("mark").length,
  actors: [...document.querySelectorAll(".node b")].map((name) => name.textContent),
  log: document.getElementById("log").textContent,
  verdicts: [...document.querySelectorAll(".headers .badge")].map((badge) => badge.className),
})
"""


@pytest.mark.real
def test_the_page_shows_every_receiver_and_runs_nothing_of_an_event(
    paper: Any, browse: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each column has messages, the hostile title is text everywhere, and the console stays empty."""
    monkeypatch.setattr(show, "PAUSE", 0.0)

    async def look(lab: Lab) -> tuple[dict[str, Any], list[str]]:
        playing = asyncio.create_task(play(lab, paper, Options(port=0)))
        url = (await paper.shows(r"http://\S+"))[0]
        async with browse() as tab:
            await tab.open(url)
            await tab.run(ALL_SHOWN)
            state = await tab.run(STATE)
        playing.cancel()
        await asyncio.wait({playing})
        return state, tab.errors

    with Lab() as lab:
        state, errors = asyncio.run(look(lab))
    assert errors == []
    assert state["scripts"] == 1
    assert set(state["frames"]) == {""}
    assert state["marks"] == 0
    assert {"slack", "email", "discord", "webhook", "sms", "router", "outbox", "channels"} == set(
        state["actors"]
    )
    for name, text in state["feeds"].items():
        assert "<script>alert(1)</script>" in text, name
    assert "RuntimeError" in state["log"]
    assert set(state["verdicts"]) == {"badge good"}
