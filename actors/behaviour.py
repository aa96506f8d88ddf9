"""What an actor does: the part of a cell that is rebuilt after a crash."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .context import Context


class Shutdown(Exception):  # noqa: N818 - an orderly end is no error
    """Raised by a behaviour to end orderly: a transient child is then not restarted."""


class HandledError(Exception):
    """Raised by a behaviour to crash over a message that it has dealt with: it is not handed out again."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class Signal:
    """Base of what comes on the system lane for the behaviour."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class IoDone(Signal):
    """A coroutine started with `spawn_io` ended; it came back as a message, whoever lives in the cell by now.

    Attributes:
        op: what the starter named it.
        error: the exception that escaped, if one did.
        elapsed: seconds it took.
        epoch: the incarnation that started it.
    """

    op: Any
    result: Any
    error: BaseException | None
    elapsed: float
    epoch: int


@dataclass(frozen=True, slots=True)
class Terminated(Signal):
    """A watched actor has stopped for good; sent once per watch, never at a restart."""

    name: str
    watch: int


@dataclass(frozen=True, slots=True)
class Timer(Signal):
    """A time named with `wake_at` has come."""

    key: Hashable


class Behaviour:
    """The life of one incarnation. Every method runs on the cell's thread, one at a time.

    An exception that escapes any of them is a crash: the behaviour is dropped, the supervisor decides, and a
    new one is made by the same spec. Mailbox, ref, `ctx.keep` and I/O under way stay.

    Class attributes:
        most: how many waiting messages `on_batch` takes at once; 1 = `on_receive` only.
        finishes: whether it handles what waits in its mailbox before it stops for good.
        supervises: whether it has children, so that it may take as long as they do.
    """

    most: ClassVar[int] = 1
    finishes: ClassVar[bool] = False
    supervises: ClassVar[bool] = False

    def __init__(self, ctx: "Context") -> None:
        self.ctx = ctx

    def on_start(self) -> None:
        """Get ready; the starter of the system waits for it."""
        return

    def on_receive(self, message: Any) -> Any:
        """Handle one message; the return value answers an ask."""
        self.ctx.unhandled(message)

    def on_batch(self, messages: list[Any]) -> None:
        """Handle several told messages in one turn; after a crash they are handed out one by one."""
        for message in messages:
            self.on_receive(message)

    def on_io(self, done: IoDone) -> None:
        """Take the outcome of a coroutine, also of one that an earlier incarnation started."""
        self.ctx.unhandled(done)

    def on_signal(self, signal: Any) -> None:
        """Handle a timer, a report of a child, or a notice about a watched actor."""
        self.ctx.unhandled(signal)

    def on_drain(self) -> None:
        """Begin nothing more: the actor stops as soon as its I/O under way has ended."""
        return

    def on_stop(self) -> None:
        """Clean up after the last message; not called after a crash."""
        return

    def on_failure(self, error: BaseException) -> None:  # noqa: ARG002 - for those who override it
        """Clean up after a crash."""
        return
