"""The story: what breaks, and what is told while it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from knell.lab import Lab, too_many
from knell.lab.demo.cast import Cast, Tell
from knell.templates.wording import msg

BURST = 24
"""Events of the chapter about batches."""

RETRY_AFTER = 1.0
"""Seconds that Discord asks for."""

Scene = Callable[[Cast], Sequence[Tell]]
"""What is told at one moment."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that a notification system has to survive.

    Attributes:
        title: what happens, in a few words.
        text: what the reader sees, and what to look at.
        scenes: what is told, one scene after the other.
        prepare: what goes wrong at the stand-ins meanwhile.
    """

    title: str
    text: str
    scenes: tuple[Scene, ...]
    prepare: Callable[[Lab], object] | None = None


STORY = (
    Chapter(
        msg("A job starts, and ends well"),
        msg("Rules decide who hears of it. Channels work side by side: nobody waits for another."),
        (lambda cast: [cast.job_started()], lambda cast: [cast.job_completed()]),
    ),
    Chapter(
        msg("A job fails, and it is critical"),
        msg("All five channels get it, each in its own format. The webhook is signed."),
        (lambda cast: [cast.job_failed()],),
    ),
    Chapter(
        msg("Discord says: not so fast"),
        msg("It answers 429, Retry-After: 1. The delivery waits on disk; the others do not wait."),
        (lambda cast: [cast.review()],),
        lambda lab: lab.discord.script(too_many(RETRY_AFTER)),
    ),
    Chapter(
        msg("The Slack actor crashes"),
        msg("An exception escapes in the middle of a delivery. The supervisor starts the actor anew."),
        (lambda cast: [cast.agent_error(bug=True)],),
    ),
    Chapter(
        msg("24 events at the same moment"),
        msg("Three messages instead of 24. Slack takes one a second: a limit delays, and drops nothing."),
        (lambda cast: cast.tasks(BURST),),
    ),
    Chapter(
        msg("A title that attacks its readers"),
        msg("<!channel>, @everyone, a script, a template: all of it arrives as text, and calls nobody."),
        (lambda cast: [cast.hostile()],),
    ),
)
