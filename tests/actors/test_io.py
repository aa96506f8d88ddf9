import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from knell.actors.io import IoLoop
from tests.waiting import PATIENCE


@pytest.fixture
def io() -> Iterator[IoLoop]:
    """A running loop."""
    loop = IoLoop("test-io")
    yield loop
    loop.close()


class Outcomes:
    """Where outcomes are reported."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[Any, BaseException | None, float]] = queue.Queue()

    def __call__(self, result: Any, error: BaseException | None, elapsed: float) -> None:
        """Take one."""
        self.queue.put((result, error, elapsed))

    def next(self) -> tuple[Any, BaseException | None]:
        """Wait for one."""
        result, error, elapsed = self.queue.get(timeout=PATIENCE)
        assert elapsed >= 0
        return result, error


async def _echo(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def _fail(error: BaseException) -> None:
    raise error


def test_a_result_is_reported(io: IoLoop) -> None:
    """Once, on the loop's own thread."""
    outcomes, threads = Outcomes(), queue.Queue[str]()

    def finished(result: Any, error: BaseException | None, elapsed: float) -> None:
        threads.put(threading.current_thread().name)
        outcomes(result, error, elapsed)

    io.submit(_echo, ("x",), finished)
    assert outcomes.next() == ("x", None)
    assert threads.get(timeout=PATIENCE) == "test-io"
    assert threads.empty()


@pytest.mark.parametrize(
    "error", [ValueError("x"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
def test_whatever_escapes_is_reported(io: IoLoop, error: BaseException) -> None:
    """And the loop goes on: it is everybody's."""
    outcomes = Outcomes()
    io.submit(_fail, (error,), outcomes)
    assert type(outcomes.next()[1]) is type(error)
    assert io.run(_echo, 1, timeout=PATIENCE) == 1
    assert io.alive


def test_a_function_that_fails_before_its_first_step_is_reported(io: IoLoop) -> None:
    """Wrong arguments, for example."""
    outcomes = Outcomes()
    io.submit(_echo, ("too", "many"), outcomes)
    assert isinstance(outcomes.next()[1], TypeError)


def test_what_still_runs_is_cancelled_at_the_end() -> None:
    """Its outcome is reported all the same; later work is refused."""
    io, outcomes, entered = IoLoop(), Outcomes(), threading.Event()

    async def wait() -> None:
        entered.set()
        await asyncio.Event().wait()

    io.submit(wait, (), outcomes)
    assert entered.wait(PATIENCE)
    io.close()
    assert isinstance(outcomes.next()[1], asyncio.CancelledError)
    assert not io.alive
    io.submit(_echo, (1,), outcomes)
    assert isinstance(outcomes.next()[1], asyncio.CancelledError)
    io.close()


def test_what_cleans_up_is_waited_for(io: IoLoop) -> None:
    """The others are cancelled first: they are what it waits for."""
    worked, entered = Outcomes(), threading.Event()
    cleaned = Outcomes()
    idle = asyncio.Event()

    async def work() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            idle.set()

    async def clean_up() -> Any:
        await idle.wait()
        return await _echo("clean")

    io.submit(work, (), worked)
    io.submit(clean_up, (), cleaned, last=True)
    assert entered.wait(PATIENCE)
    io.finish(PATIENCE)
    assert cleaned.next() == ("clean", None)
    assert isinstance(worked.next()[1], asyncio.CancelledError)
    assert io.run(_echo, 1) == 1, "until `close` it goes on"


def test_cleaning_up_has_an_end(io: IoLoop) -> None:
    """It is not waited for for ever."""
    outcomes = Outcomes()
    io.submit(asyncio.Event().wait, (), outcomes, last=True)
    with pytest.raises(TimeoutError):
        io.finish(0.01)
    io.close()
    assert isinstance(outcomes.next()[1], asyncio.CancelledError)


@pytest.mark.parametrize("_again", range(20))
def test_work_that_never_began_is_reported_too(_again: int) -> None:
    """Handed over when the loop was about to end: its first step is never run."""
    io, outcomes = IoLoop(), Outcomes()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait(PATIENCE)

    io.loop.call_soon_threadsafe(hold)
    assert held.wait(PATIENCE)
    io.loop.call_soon_threadsafe(io.loop.stop)
    for number in range(3):
        io.submit(_echo, (number,), outcomes)
    release.set()
    io.close()
    ends = [outcomes.next() for _ in range(3)]
    assert all(error is None or isinstance(error, asyncio.CancelledError) for _, error in ends)


def test_run_waits_for_the_result(io: IoLoop) -> None:
    """Or raises what the coroutine raised."""
    assert io.run(_echo, 5) == 5
    with pytest.raises(ValueError, match="x"):
        io.run(_fail, ValueError("x"), timeout=PATIENCE)


def test_run_gives_up_and_cancels(io: IoLoop) -> None:
    """After its timeout the coroutine is not left behind."""
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        io.run(wait, timeout=0.01)
    assert cancelled.wait(PATIENCE)
