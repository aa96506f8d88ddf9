"""What can be done to the system while it runs: by the story, by a key, by a button of the page."""

import asyncio
import time
from collections.abc import Callable, Iterable

from knell.actors.receipt import Receipt
from knell.lab import Lab
from knell.lab.demo.cast import Cast, Tell
from knell.lab.demo.reporter import Tone
from knell.lab.demo.watch import Watch
from knell.manager import NotificationManager
from knell.templates.wording import Catalog, msg

KEYS = {
    "f": ("fail", msg("A job fails")),
    "k": ("crash", msg("Crash the Slack actor")),
    "o": ("outage", msg("Break Discord for 10 s")),
    "b": ("burst", msg("Burst of 100")),
}
"""What each key does, and what its button says."""

BURST = 100

OUTAGE_EVENTS, OUTAGE_STEP = 8, 1.25
"""How many events are told while Discord is broken, and the seconds between them: ten seconds in all."""


class Acts:
    """Tells events, and breaks things.

    Args:
        lab: whose stand-ins break.
        manager: the system that is told.
        watch: notes what is told.
        words: the language.
        spawn: runs what takes time.
    """

    def __init__(
        self, lab: Lab, manager: NotificationManager, watch: Watch, words: Catalog, spawn: asyncio.TaskGroup
    ) -> None:
        self._lab = lab
        self._manager = manager
        self._watch = watch
        self._words = words
        self._spawn = spawn
        self._broken = False
        self._named: dict[str, Callable[[], object]] = {
            "fail": lambda: self.tell([self.cast.job_failed()]),
            "crash": lambda: self.tell([self.cast.agent_error(bug=True)]),
            "outage": lambda: self._spawn.create_task(self._outage()),
            "burst": lambda: self.tell(self.cast.tasks(BURST)),
        }
        self.cast = Cast(words)

    def tell(self, tells: Iterable[Tell]) -> list[Receipt]:
        """Tell events, and note when."""
        receipts: list[Receipt] = []
        for tell in tells:
            self._watch.ledger.tell(tell, time.monotonic())
            receipts.append(self._manager.notify(tell.event))
        return receipts

    def act(self, name: str) -> bool:
        """Do what a key or a button asks for; False when there is no such thing to do."""
        if name not in self._named:
            return False
        self._named[name]()
        return True

    async def _outage(self) -> None:
        """Let Discord answer 503, and have something to tell it."""
        if self._broken:
            return
        self._broken = True
        self._lab.discord.down()
        self._say(Tone.BAD, self._words("answers 503 to everything for 10 s"))
        for _ in range(OUTAGE_EVENTS):
            self.tell([self.cast.review()])
            await asyncio.sleep(OUTAGE_STEP)
        self._lab.discord.up()
        self._say(Tone.GOOD, self._words("works again; the next probe will find out"))
        self._broken = False

    def _say(self, tone: Tone, text: str) -> None:
        self._watch.reporter.say(time.monotonic(), tone, text, channel="discord")
