"""The pool of kept connections: what is lent, what is tested before it is lent, what is thrown away."""

import asyncio
from typing import cast

import pytest

from knell.channels import smtp_pool
from knell.channels.smtp import Connection
from knell.channels.smtp_pool import Pool


class Fake:
    """A connection that notes what the pool does with it."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive = alive
        self.usable = True
        self.reused = False
        self.dirty = False
        self.idle_since = 0.0
        self.resets = 0
        self.end = ""

    async def reset(self) -> bool:
        """Answer the test."""
        self.resets += 1
        self.dirty = False
        return self.alive

    async def quit(self) -> None:
        """End in good order."""
        self.end = "quit"

    def drop(self) -> None:
        """End at once."""
        self.end = "drop"


class Opener:
    """Opens connections, and keeps them for the test to look at."""

    def __init__(self) -> None:
        self.opened: list[Fake] = []

    async def __call__(self) -> Connection:
        """Open one more."""
        self.opened.append(Fake())
        return cast("Connection", self.opened[-1])


async def use(pool: Pool) -> Fake:
    """Borrow a connection and give it back."""
    async with pool.connection() as connection:
        return cast("Fake", connection)


def test_a_connection_is_lent_again() -> None:
    """It is known to have been used before, and needs no test so soon."""

    async def run() -> None:
        opener = Opener()
        pool = Pool(opener, 2)
        first, again = await use(pool), await use(pool)
        assert first is again
        assert again.reused
        assert again.resets == 0

    asyncio.run(run())


def test_no_connection_is_lent_twice_at_once() -> None:
    """While one is out, the next borrower gets another."""

    async def run() -> None:
        opener = Opener()
        pool = Pool(opener, 2)
        async with pool.connection() as first, pool.connection() as second:
            assert first is not second
        assert len(opener.opened) == 2

    asyncio.run(run())


def test_no_more_are_kept_than_the_pool_holds() -> None:
    """What comes back to a full pool is closed."""

    async def run() -> list[str]:
        opener = Opener()
        pool = Pool(opener, 1)
        async with pool.connection(), pool.connection():
            pass
        return sorted(fake.end for fake in opener.opened)

    assert asyncio.run(run()) == ["", "drop"]


@pytest.mark.parametrize("why", ["idle", "dirty"])
def test_what_was_idle_or_left_an_envelope_is_tested(why: str) -> None:
    """RSET before the next mail: it clears the envelope and shows that the server is still there."""

    async def run() -> None:
        opener = Opener()
        pool = Pool(opener, 1, idle_seconds=0.0 if why == "idle" else 30.0)
        first = await use(pool)
        first.dirty = why == "dirty"
        assert await use(pool) is first
        assert first.resets == 1

    asyncio.run(run())


def test_what_fails_the_test_is_replaced() -> None:
    """A connection the server has given up costs no attempt."""

    async def run() -> None:
        opener = Opener()
        pool = Pool(opener, 2, idle_seconds=0.0)
        first = await use(pool)
        first.alive = False
        second = await use(pool)
        assert first.end == "drop"
        assert second is opener.opened[1]

    asyncio.run(run())


def test_what_is_unusable_is_not_kept() -> None:
    """Broken, or an answer is owed: it is closed when it comes back, and when it broke while it was kept."""

    async def run() -> None:
        opener = Opener()
        pool = Pool(opener, 2)
        async with pool.connection() as connection:
            cast("Fake", connection).usable = False
        assert opener.opened[0].end == "drop"
        second = await use(pool)
        second.usable = False
        third = await use(pool)
        assert (second.end, third) == ("drop", opener.opened[2])

    asyncio.run(run())


def test_a_cancelled_test_leaves_nothing_behind() -> None:
    """The time of the attempt ends while the server says nothing."""

    async def run() -> str:
        pool = Pool(silent, 1, idle_seconds=0.0)
        connection = await use(pool)
        waiting = asyncio.create_task(use(pool))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return connection.end

    assert asyncio.run(run()) == "drop"


class Silent(Fake):
    """A connection whose server answers nothing any more."""

    async def reset(self) -> bool:
        """Wait for ever."""
        await asyncio.Event().wait()
        return True

    async def quit(self) -> None:
        """Wait for ever; close at the end of the patience."""
        try:
            await asyncio.Event().wait()
        finally:
            self.drop()


async def silent() -> Connection:
    """Open such a connection."""
    return cast("Connection", Silent())


def test_a_server_that_fell_silent_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the next mail, which gets another connection, nor the end of the channel."""
    monkeypatch.setattr(smtp_pool, "TEST_SECONDS", 0.01)
    monkeypatch.setattr(smtp_pool, "GOODBYE_SECONDS", 0.01)

    async def run() -> list[str]:
        pool = Pool(silent, 1, idle_seconds=0.0)
        first = await use(pool)
        second = await use(pool)
        await pool.close()
        return [first.end, second.end]

    assert asyncio.run(run()) == ["drop", "drop"]


def test_close_says_goodbye_to_the_idle_and_drops_the_late() -> None:
    """A mail under way when the channel closes may end; its connection is not kept."""

    async def run() -> list[str]:
        opener = Opener()
        pool = Pool(opener, 2)
        async with pool.connection():
            await use(pool)
            await pool.close()
        return [fake.end for fake in opener.opened]

    assert asyncio.run(run()) == ["drop", "quit"]
