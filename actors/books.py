"""What every part of the outbox shares: the store, its transactions, and whom to tell after a commit."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import pykka

from knell.store.contract import Store

from .behaviour import Behaviour
from .context import Context
from .mail import AddRoutes, Begin, Diverted, Fallback, Ref, Remember, Settled, Want
from .receipt import Receipt
from .telemetry import Telemetry

Lasting = Begin | Settled | AddRoutes | Diverted | Remember
"""What nobody says again: it is kept until it can be written."""


class Books(Behaviour):
    """The store and who waits for something in it; see `Outbox`, which this is the base of.

    Receipts, demand, and what could not be written yet and nobody will say again survive a crash in `keep`.
    """

    def __init__(self, ctx: Context, store: Store, telemetry: Telemetry) -> None:
        super().__init__(ctx)
        self._store = store
        self._telemetry = telemetry
        self._anchor: float = ctx.keep.setdefault("anchor", ctx.clock.wall() - ctx.clock.now())
        self._receipts: WeakValueDictionary[int, Receipt]
        self._receipts = ctx.keep.setdefault("receipts", WeakValueDictionary())
        self._wants: dict[str, Want] = ctx.keep.setdefault("wants", {})
        self._unwritten: list[Lasting] = ctx.keep.setdefault("unwritten", [])
        self._diverted: set[str] = ctx.keep.setdefault("diverted", set())
        self._stirred: set[str] = set()
        self._after: list[Callable[[], None]] = []

    def _later(self, tell: Callable[..., None], *args: Any) -> None:
        """Tell somebody once the transaction is durable."""
        self._after.append(partial(tell, *args))

    def _tell_all(self) -> None:
        """Tell everybody: what is durable is not found again, so one who cannot be told stops nobody else."""
        failed: Exception | None = None
        for tell in self._after:
            try:
                tell()
            except Exception as error:  # noqa: BLE001 - raised once all have been told
                failed = failed or error
        if failed is not None:
            raise failed

    def _fall_back(self, fallback: Fallback) -> None:
        if router := self.ctx.lookup("router"):
            tell(router, fallback)

    def _now(self) -> float:
        """Return Unix seconds that never go back: the wall clock is read once per process."""
        return self._anchor + self.ctx.clock.now()

    def _wake(self, seconds: float) -> None:
        self._wake_for("serve", seconds)

    def _wake_for(self, key: str, seconds: float) -> None:
        self.ctx.wake_at(key, self.ctx.clock.now() + seconds)


def tell(ref: Ref, message: object) -> None:
    """Tell an actor that may have stopped; then its work is found in the store at the next start."""
    with suppress(pykka.ActorDeadError):
        ref.tell(message)
