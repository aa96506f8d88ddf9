from typing import Any

from knell.actors.control import Control
from knell.actors.policy.restart import Intensity
from tests.deeds import Puppets, crash, nested, statuses
from tests.puppets import PATIENCE

ONCE = {"intensity": Intensity(1, 60)}
NEVER = {"intensity": Intensity(0, 60)}


def test_33_a_supervisor_is_restarted_by_its_own(tree: Any, story: Any, puppet: Puppets) -> None:
    """One that exceeds its intensity: its children come back with it, and the other branch does not notice.

    Their addresses and what waits in their mailboxes stay the same all the while.

    Origin: OTP supervisor_SUITE, tree; Pekko classic SupervisorSpec, nested supervisors.
    """
    inner = nested("inner", puppet("a"), puppet("b"), supervision=ONCE)
    control = tree.start(inner, nested("other", puppet("c"), supervision=ONCE))
    a, b = (tree.cell("inner").children[name].actor_ref for name in "ab")
    a.tell(crash)
    a.tell(crash)
    b.tell("kept")
    a.tell("kept too")
    told = story.until("a", "kept too")
    assert tree.event("escalated").actor == "inner"
    if ("b", "kept") not in told:
        assert story.until("b", "kept")
    assert [word for word in told if word[0] == "c"] == [("c", "start", 1)]
    assert {info.id: info.restarts for info in control.which_children()} == {"inner": 1, "other": 0}
    assert statuses(Control(tree.ref("inner"), PATIENCE)) == {"a": "running", "b": "running"}
    assert tree.cell("inner").children["a"].actor_ref is a


def test_44_children_stop_when_their_parent_restarts(tree: Any, story: Any, puppet: Puppets) -> None:
    """All of them, in reverse order, before it starts them again.

    Origin: Pekko typed SupervisionSpec, line 581: stops children when restarting.
    """
    control = tree.start(nested("inner", *map(puppet, "abc"), supervision=NEVER))
    story.take(3)
    tree.cell("inner").children["b"].actor_ref.tell(crash)
    assert story.take(8) == [
        ("b", "failure", "ZeroDivisionError('over a message')"),
        *[(name, what) for name in "ca" for what in ("drain", "stop")],
        *[(name, "start", 2) for name in "abc"],
    ]
    assert [info.restarts for info in control.which_children()] == [1]


def test_44_children_run_on_when_their_parent_is_told_to_keep_them(
    tree: Any, story: Any, puppet: Puppets
) -> None:
    """Only those that are down are started; the new parent supervises all of them.

    Origin: Pekko typed SupervisionSpec, line 668: does not stop children when told to keep them.
    """
    control = tree.start(nested("inner", *map(puppet, "abc"), supervision={**NEVER, "keep": True}))
    story.take(3)
    refs = {name: tree.cell("inner").children[name].actor_ref for name in "abc"}
    for times, name in enumerate("bc", 1):
        refs[name].tell(crash)
        assert story.next() == (name, "failure", "ZeroDivisionError('over a message')")
        assert story.next() == (name, "start", 2)
        assert [refs[i].ask(f"still {i}", timeout=PATIENCE) for i in "abc"] == [
            "still a",
            "still b",
            "still c",
        ]
        assert story.take(3) == [(i, f"still {i}") for i in "abc"]
        assert [info.restarts for info in control.which_children()] == [times]
    inner = Control(tree.ref("inner"), PATIENCE)
    assert statuses(inner) == {"a": "running", "b": "running", "c": "running"}
    tree.stop()
    assert story.rest() == [(name, what) for name in "cba" for what in ("drain", "stop")]
