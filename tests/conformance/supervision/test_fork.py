import os
import signal
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Signal
from knell.actors.context import signal as put
from knell.actors.lifetime import ForkedError
from knell.errors import SystemStopped
from tests.deeds import Puppets
from tests.puppets import PATIENCE, Gate

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def _in_a_fork(check: Callable[[], bool]) -> bool:
    """Return what is found in a forked child; False when it hangs."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(PATIENCE))
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitpid(pid, 0)[1] == 0


def test_61_a_forked_child_is_refused_at_once(tree: Any, puppet: Puppets) -> None:
    """Its actors have no threads: tell and ask say so, where they would wait for ever.

    Origin: pykka, where an actor seems alive in a fork and every ask times out.
    """
    tree.start(puppet())
    ref = tree.ref("a")

    def check() -> bool:
        refused = 0
        for call in (ref.tell, ref.ask, tree.root.actor_ref.ask):
            try:
                call("x")
            except ForkedError:
                refused += 1
        return refused == 3

    assert _in_a_fork(check)
    assert ref.ask("parent", timeout=PATIENCE) == "parent"
    assert issubclass(ForkedError, SystemStopped)
    assert issubclass(ForkedError, pykka.ActorDeadError)


def test_61_no_lock_of_another_thread_is_waited_for(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """One that a thread of the parent held at the fork is never given back in the child.

    Origin: POSIX fork, which copies locks and not their holders.
    """
    tree.start(puppet("a", mailbox=10))
    ref, mailbox = tree.ref("a"), tree.cell("a").mailbox

    def hold(puppet: Any) -> None:
        with mailbox._own:
            gate(puppet)

    def check() -> bool:
        put(ref, Signal())
        return bool(mailbox.depth == 0)

    ref.tell(hold)
    assert gate.entered.wait(PATIENCE)
    assert _in_a_fork(check)
