"""Hosts that live on an asyncio loop: nothing of knell's may stand still because of them, or they of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import knell
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

Run = Callable[..., Watched]


def test_start_notify_await_and_stop(stage: Stage, tmp_path: Any) -> None:
    """The loop goes on while knell starts and stops: here it is the loop that lets the stop end."""
    settings = {"channels": {"a": stage.section()}, "store": {"url": f"sqlite:///{tmp_path}/knell.db"}}

    async def main() -> None:
        manager = await asyncio.to_thread(knell.start, settings)
        receipt = manager.notify(event("one"))
        assert await receipt.wait(PATIENCE)
        (result,) = await receipt
        assert result.success
        stage.holding.set()
        receipt = manager.notify(event("two"))
        assert await asyncio.to_thread(lambda: [stage.next_tried(), stage.next_tried()]) == ["one", "two"]
        stopping = asyncio.create_task(asyncio.to_thread(manager.stop, PATIENCE))
        done, _ = await asyncio.wait({stopping}, timeout=0.05)
        assert not done, "it waits for what is under way"
        stage.release()
        await stopping
        (result,) = await receipt
        assert result.success

    asyncio.run(main())


def test_many_wait_at_once(run_system: Run, stage: Stage) -> None:
    """A waiting task costs no thread."""
    watched = run_system({"a": stage.section()})

    async def main() -> list[list[Any]]:
        receipts = [watched.manager.notify(event(str(number))) for number in range(200)]
        return await asyncio.wait_for(asyncio.gather(*map(_results, receipts)), PATIENCE)

    assert all(result.success for results in asyncio.run(main()) for result in results)


def test_start_and_stop_on_the_loop_itself(stage: Stage, tmp_path: Any) -> None:
    """It blocks the loop for that long and works all the same; whoever waits is let go with what is known."""
    settings = {"channels": {"a": stage.section()}, "store": {"url": f"sqlite:///{tmp_path}/knell.db"}}
    stage.holding.set()

    async def main() -> list[Any]:
        with knell.start(settings) as manager:
            receipt = manager.notify(event("one"))
            assert await receipt.wait(PATIENCE)
            waiting = asyncio.create_task(_results(receipt))
            await asyncio.sleep(0)
            manager.stop(0.05)
        return await asyncio.wait_for(waiting, PATIENCE)

    (result,) = asyncio.run(main())
    assert (result.success, result.error) == (False, "pending")


def test_a_task_that_is_cancelled_waits_no_more(run_system: Run, stage: Stage) -> None:
    """The delivery goes on; the receipt can be asked again, from another loop."""
    stage.holding.set()
    watched = run_system({"a": stage.section()})
    receipt = watched.manager.notify(event("one"))

    async def give_up() -> None:
        assert await receipt.wait(PATIENCE)
        waiting = asyncio.create_task(_results(receipt))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()

    asyncio.run(give_up())
    stage.release()
    (result,) = asyncio.run(_results(receipt))
    assert result.success


async def _results(receipt: knell.Receipt) -> list[Any]:
    return await receipt
