"""The show: plays the story through a real system, then lets the page live until somebody ends it."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from knell.lab import Lab
from knell.lab.demo.acts import KEYS, Acts
from knell.lab.demo.chapters import STORY
from knell.lab.demo.keys import keys
from knell.lab.demo.page import Page
from knell.lab.demo.reporter import Tone
from knell.lab.demo.stage import system
from knell.lab.demo.terminal import Out, Terminal
from knell.lab.demo.watch import Watch
from knell.lab.demo.words import words
from knell.templates.wording import msg

PATIENCE = 20.0
"""Seconds that the deliveries of a scene may take before the story goes on without them."""

PAUSE, PAUSE_ONCE = 1.2, 0.4
"""Seconds between scenes: for a reader, and for a script."""

CALM_SECONDS = 4.0
"""Seconds between the events that keep the page alive."""

KEPT = 500
"""Messages after which a stand-in forgets them: a demo may run for days."""

QUIT = "q"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; `port` None is 8321, or a free one where that is taken."""

    once: bool = False
    lang: str = "en"
    page: bool = True
    port: int | None = None


def perform(out: Out, options: Options, *, color: bool) -> int:
    """Run the demo and return the exit code: 1 when a delivery of the story did not arrive exactly once.

    Raises:
        KnellError: it did not start, for example because the port is taken.
    """
    with Lab() as lab:
        return asyncio.run(play(lab, out, options, color=color))


async def play(lab: Lab, out: Out, options: Options, *, color: bool = False) -> int:
    """Do as `perform` does, with a lab of the caller's."""
    return await Show(lab, Terminal(out, words(options.lang), color=color), options).run()


class Show:
    """One run of the demo, made on its loop.

    Args:
        lab: the stand-ins; they run.
        terminal: tells people.
        options: what was asked for.
    """

    def __init__(self, lab: Lab, terminal: Terminal, options: Options) -> None:
        self._lab = lab
        self._terminal = terminal
        self._options = options
        self._words = words(options.lang)
        self._watch = Watch(lab, self._words, terminal.line)
        self._acts: Acts | None = None
        self._loop = asyncio.get_running_loop()
        self._body: asyncio.Task[int] | None = None
        self._fatal = ""

    async def run(self) -> int:
        """Play until the end, or until Ctrl-C, SIGTERM or `q`; return the exit code."""
        body = self._body = asyncio.create_task(self._play())
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._end)
        try:
            await asyncio.wait({body})
        finally:  # what was built up is taken down, whoever ends it
            self._end()
            await asyncio.wait({body})
        if not body.cancelled():
            return body.result()
        if self._fatal:
            self._terminal.text(self._words.fill("knell gave up: %(why)s", why=self._fatal), Tone.BAD)
        elif self._options.once:
            self._terminal.text(self._words("Ended before the story did."), Tone.BAD)
        else:
            self._terminal.summary(self._watch.ledger, self._watch.figures, self._words("waiting"))
        return 1 if self._fatal or self._options.once else 0

    async def _play(self) -> int:
        """Build everything up, play, and take it down in reverse, however it ends."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._watch.receivers())
            url = await self._open_page(stack)
            self._terminal.opening(url)
            manager = stack.enter_context(
                system(self._lab, lang=self._options.lang, dashboard_url=url, on_fatal=self._on_fatal)
            )
            stack.enter_context(self._watch.actors(manager))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(self._watch.refresh(manager)).cancel)
            keyboard = not self._options.once and stack.enter_context(keys(self._press))
            acts = Acts(self._lab, manager, self._watch, self._words, tasks)
            await self._story(acts)
            if not self._options.once:
                self._acts = acts  # from now on: whoever breaks something meanwhile would spoil the story
                self._watch.look(manager)
                self._verdict()
                self._epilogue(keyboard=keyboard)
                await self._live(acts)
        self._lab.stop()
        await asyncio.sleep(0)  # what the lab published last is in the loop by now
        return self._verdict()

    async def _open_page(self, stack: AsyncExitStack) -> str:
        if self._options.once or not self._options.page:
            return ""
        page = Page(self._watch.hub, self._words, self._act, self._options.port)
        return (await stack.enter_async_context(page)).url

    async def _story(self, acts: Acts) -> None:
        pause = PAUSE_ONCE if self._options.once else PAUSE
        self._watch.reporter.began = time.monotonic()
        for number, chapter in enumerate(STORY, 1):
            self._chapter(chapter.title, chapter.text, f"{number}/{len(STORY)}")
            if chapter.prepare:
                chapter.prepare(self._lab)
            for scene in chapter.scenes:
                receipts = acts.tell(scene(acts.cast))
                await asyncio.wait([asyncio.ensure_future(each) for each in receipts], timeout=PATIENCE)
                await asyncio.sleep(pause)

    async def _live(self, acts: Acts) -> None:
        """Go on calmly until somebody ends it."""
        for tell in acts.cast.calm():
            await asyncio.sleep(CALM_SECONDS)
            acts.tell([tell])
            self._watch.ledger.forget()
            for stand_in in self._lab.stand_ins:
                if len(stand_in.messages) > KEPT:
                    stand_in.clear()

    # What is said

    def _chapter(self, title: str, text: str, number: str = "") -> None:
        title, text = self._words(title), self._words(text)
        self._terminal.chapter(number, title, text)
        said = {"number": number, "title": title, "text": text, "free": self._acts is not None}
        self._watch.hub.latest("chapter", said)

    def _epilogue(self, *, keyboard: bool) -> None:
        text = msg("Break something: the deliveries arrive all the same.")
        self._chapter(msg("The story is told, and the day goes on"), text)
        self._terminal.keys({key: label for key, (_, label) in KEYS.items()} if keyboard else {}, QUIT)

    def _verdict(self) -> int:
        """Say how the story ended, and return the exit code."""
        self._terminal.summary(self._watch.ledger, self._watch.figures, self._words("lost"))
        problems = [*self._watch.ledger.problems(), *self._lab.violations]
        for problem in problems:
            self._terminal.text(problem, Tone.BAD)
        if not problems:
            self._terminal.text(self._words("Every delivery arrived, exactly once."), Tone.GOOD)
        return 1 if problems else 0

    # What others ask for

    def _act(self, name: str) -> bool:
        return self._acts is not None and self._acts.act(name)

    def _press(self, key: str) -> None:
        if key == QUIT:
            self._end()
        else:
            name, _ = KEYS.get(key, ("", ""))
            self._act(name)

    def _end(self) -> None:
        if self._body is not None and not self._body.cancelling():
            self._body.cancel()

    def _on_fatal(self, why: str) -> None:
        self._loop.call_soon_threadsafe(self._give_up, why)

    def _give_up(self, why: str) -> None:
        self._fatal = why
        self._end()
