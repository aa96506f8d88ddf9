import asyncio
from typing import Any

from tests.deeds import Puppets, ask, crash
from tests.puppets import PATIENCE


def test_50_a_thousand_calls_take_the_time_of_one(tree: Any, story: Any, puppet: Puppets) -> None:
    """All are under way before the first one ends, and the actor hears of each.

    Origin: pykka, where blocking calls wait for each other.
    """
    under_way = 0
    everybody = asyncio.Event()

    async def call(number: int) -> int:
        nonlocal under_way
        under_way += 1
        if under_way == 1000:
            everybody.set()
        await everybody.wait()  # for ever, if they were not all under way together
        return number

    tree.start(puppet())
    ref = tree.ref("a")
    ask(ref, lambda p: [p.ctx.spawn_io(call, n, op=n) for n in range(1000)])
    assert ref.ask("meanwhile", timeout=PATIENCE) == "meanwhile"
    told = [word for word in story.take(1002) if word[1] == "io"]
    assert sorted(word[2:] for word in told) == [(number, number, False) for number in range(1000)]
    assert ask(ref, lambda p: p.ctx.pending) == {}


def test_51_outcomes_reach_the_next_incarnation(tree: Any, story: Any, puppet: Puppets) -> None:
    """A hundred calls under way at a crash: every outcome comes once, marked as another's.

    Origin: pykka, where nothing outlives a crash.
    """
    release = asyncio.Event()

    async def call(number: int) -> int:
        if number % 2:  # half of them end while the actor is on its way up
            await release.wait()
        return number

    def begin(puppet: Any) -> None:
        for number in range(100):
            puppet.ctx.spawn_io(call, number, op=number)
        crash(puppet)

    tree.start(puppet())
    tree.ref("a").tell(begin)
    assert [word[1] for word in story.until("a", "start", 2)] == ["start", "failure", "start"]
    tree.host.io.loop.call_soon_threadsafe(release.set)
    assert sorted(story.take(100)) == [("a", "io", number, number, True) for number in range(100)]
    assert ask(tree.ref("a"), lambda p: p.ctx.pending) == {}
    assert story.rest() == []
