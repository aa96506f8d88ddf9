"""A channel's memory, kept by the outbox: the same store, the same durability, the same order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pykka

from knell.errors import StoreError

from ..channels.memory import MONTH
from .mail import Recall, Ref, Remember

STOPPED = "the outbox does not run: nothing can be looked up"


class StoredMemory:
    """See `channels.memory.Memory`. Used on one event loop, whichever.

    A note and a later question go through the same mailbox, so that the answer knows the note; and a note
    goes before the outcome of the send that made it, so that it is durable no later.

    Args:
        channel: whose it is.
        outbox: returns the address of the outbox; None while there is none.
    """

    def __init__(self, channel: str, outbox: Callable[[], Ref | None]) -> None:
        self._channel = channel
        self._outbox = outbox

    async def get(self, key: str) -> Any:
        """Return what was noted last; None when nothing was, or its time is over.

        Raises:
            StoreError: the store cannot be read, or the outbox does not run.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | None] = loop.create_future()

        def reply(found: bytes | StoreError | None) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, answer, found)

        if not self._tell(Recall(self._channel, key, reply)):
            raise StoreError(STOPPED)
        found = await answer
        return None if found is None else msgspec.json.decode(found)

    def put(self, key: str, value: Any, seconds: float = MONTH) -> None:
        """Note something for so many seconds; None forgets it."""
        written = None if value is None else msgspec.json.encode(value)
        self._tell(Remember(self._channel, key, written, seconds))

    def _tell(self, message: Recall | Remember) -> bool:
        outbox = self._outbox()
        if outbox is None:
            return False
        try:
            outbox.tell(message)
        except pykka.ActorDeadError:
            return False
        return True


def _resolve(answer: asyncio.Future[bytes | None], found: bytes | StoreError | None) -> None:
    if answer.done():  # given up meanwhile
        return
    if isinstance(found, StoreError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
