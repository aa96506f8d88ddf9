from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from knell.actors.control import Control
from knell.actors.spec import SpecError
from tests.deeds import Puppets, incarnation, statuses
from tests.puppets import PATIENCE


def test_31_only_what_changed_is_replaced(
    tree: Any, story: Any, abc: Callable[..., Control], puppet: Puppets
) -> None:
    """Unchanged children notice nothing; removed ones stop, changed ones are replaced, new ones start.

    All that in order. A spec that is equal is unchanged, whoever made it; a replaced child keeps its address.

    Origin: OTP supervisor_SUITE, code_change; there, nobody is stopped, replaced or started.
    """
    control = abc()
    refs = {name: tree.ref(name) for name in "abc"}
    changed = replace(control.get_childspec("a"), mailbox=7)
    control.apply([puppet("b"), changed, puppet("d")])
    assert story.rest() == [
        *[("c", "drain"), ("c", "stop"), ("a", "drain"), ("a", "stop")],
        *[("a", "start", 2), ("d", "start", 1)],
    ]
    assert statuses(control) == {"b": "running", "a": "running", "d": "running"}
    assert (tree.ref("a"), tree.ref("b")) == (refs["a"], refs["b"])
    assert refs["b"].ask(incarnation, timeout=PATIENCE) == 1
    assert tree.cell("a").mailbox.maxsize == 7
    assert not refs["c"].is_alive()
    assert list(tree.root.children) == ["b", "a", "d"]


@pytest.mark.parametrize("wrong", [{"id": "d"}, {"shutdown": -1}, {"significant": True}])
def test_32_a_wrong_list_changes_nothing(
    story: Any, abc: Callable[..., Control], puppet: Puppets, wrong: dict[str, Any]
) -> None:
    """All or nothing, although its first items are right.

    Origin: OTP supervisor_SUITE, code_change.
    """
    control = abc()
    with pytest.raises(SpecError):
        control.apply(
            [puppet("d"), replace(control.get_childspec("a"), mailbox=7), replace(puppet("e"), **wrong)]
        )
    assert story.rest() == []
    assert list(statuses(control)) == ["a", "b", "c"]
    assert set(statuses(control).values()) == {"running"}
    assert control.get_childspec("a").mailbox is None
