from typing import Any

import pytest

from knell.actors.control import Control
from knell.actors.policy.restart import AutoShutdown, Restart, Strategy
from tests.deeds import Puppets, crash, end, nested, statuses
from tests.puppets import PATIENCE

ANY = {"auto_shutdown": AutoShutdown.ANY_SIGNIFICANT}
ALL = {"auto_shutdown": AutoShutdown.ALL_SIGNIFICANT}
TRANSIENT: dict[str, Any] = {"restart": Restart.TRANSIENT, "significant": True}
TEMPORARY: dict[str, Any] = {"restart": Restart.TEMPORARY, "significant": True}


def test_28_any_significant_child_that_ends_ends_its_supervisor(
    tree: Any, story: Any, puppet: Puppets
) -> None:
    """Orderly: its own supervisor need not restart it; its other children stop for good.

    Origin: OTP supervisor.erl, do_auto_shutdown.
    """
    specs = [puppet("a", **TRANSIENT), puppet("b", **TEMPORARY), puppet("c")]
    control = tree.start(nested("inner", *specs, supervision=ANY, restart=Restart.TRANSIENT), puppet("d"))
    cells = dict(tree.cell("inner").children)
    cells["a"].actor_ref.tell(end)
    while tree.event("stopped").actor != "inner":
        continue
    assert statuses(control) == {"inner": "undefined", "d": "running"}
    assert not any(cell.actor_ref.is_alive() for cell in cells.values())
    assert [word for word in story.rest() if word[1] == "stop"] == [(name, "stop") for name in "acb"]


def test_28_a_crash_that_is_followed_by_a_restart_is_no_end(tree: Any, story: Any, puppet: Puppets) -> None:
    """A transient child comes back after it; that of a temporary one is its end.

    One that means nothing may end.

    Origin: OTP supervisor.erl, do_restart and do_auto_shutdown.
    """
    specs = [puppet("a", **TRANSIENT), puppet("b", **TEMPORARY), puppet("c", restart=Restart.TRANSIENT)]
    control = tree.start(*specs, puppet("d"), **ANY)
    tree.ref("a").tell(crash)
    story.until("a", "start", 2)
    tree.ref("c").tell(end)
    assert tree.event("stopped").actor == "c"
    assert statuses(control) == {"a": "running", "b": "running", "c": "undefined", "d": "running"}
    tree.ref("b").tell(crash)
    assert tree.root.closed.wait(PATIENCE)
    assert tree.root.cause is None
    assert [word for word in story.rest() if word[1] == "stop"] == [(name, "stop") for name in "cda"]


def test_29_the_last_significant_child_ends_its_supervisor(tree: Any, story: Any, puppet: Puppets) -> None:
    """And none before it: not the first of two, not one that means nothing.

    Origin: OTP supervisor.erl, do_auto_shutdown.
    """
    idle = puppet("d", restart=Restart.TRANSIENT)
    control = tree.start(puppet("a", **TRANSIENT), puppet("b", **TEMPORARY), puppet("c"), idle, **ALL)
    c = tree.ref("c")
    for name in "ad":
        tree.ref(name).tell(end)
        assert tree.event("stopped").actor == name
    assert statuses(control) == {"a": "undefined", "b": "running", "c": "running", "d": "undefined"}
    tree.ref("b").tell(crash)
    assert tree.root.closed.wait(PATIENCE)
    assert story.rest()[-1] == ("c", "stop")
    assert not c.is_alive()


@pytest.mark.parametrize("auto", [ANY, ALL])
def test_29_a_child_that_is_stopped_ends_nobody(
    tree: Any, story: Any, puppet: Puppets, auto: dict[str, Any]
) -> None:
    """By an operator, or along with a sibling: only an end of its own counts.

    Origin: OTP design principles, automatic shutdown: neither does terminate_child trigger it, nor a
    sibling's death in one_for_all or rest_for_one.
    """
    specs = [puppet("a", **TRANSIENT), puppet("b", **TEMPORARY), puppet("c")]
    control: Control = tree.start(*specs, strategy=Strategy.ONE_FOR_ALL, **auto)
    tree.ref("c").tell(crash)
    story.until("c", "start", 2)
    assert statuses(control) == {"a": "running", "c": "running"}
    control.terminate_child("a")
    assert statuses(control) == {"a": "undefined", "c": "running"}
    assert tree.ref("c").ask("here", timeout=PATIENCE) == "here"
