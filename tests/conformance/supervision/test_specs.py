from dataclasses import replace
from typing import Any

import pytest

from knell.actors.policy.restart import AutoShutdown, Backoff, Intensity, Restart
from knell.actors.spec import ACTOR_START, INFINITY, Spec, SpecError, check_specs
from knell.actors.supervisor import Supervisor
from tests.deeds import Puppets, statuses


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"id": ""}, "a child spec has no id"),
        ({"id": "first"}, "first: two children have this id"),
        ({"behaviour": None}, "a: behaviour None cannot be called"),
        ({"args": [1]}, r"a: args \[1\] is no mapping"),
        ({"restart": "sometimes"}, "a: restart 'sometimes' is none of permanent, transient, temporary"),
        ({"restart": "temporary"}, "a: restart 'temporary' is none of"),
        ({"shutdown": "soon"}, "a: shutdown 'soon' is neither seconds, 'brutal' nor 'infinity'"),
        ({"shutdown": -1}, "a: shutdown -1 is neither seconds"),
        ({"shutdown": float("nan")}, "a: shutdown nan is neither seconds"),
        ({"shutdown": True}, "a: shutdown True is neither seconds"),
        ({"start_timeout": -1}, "a: start_timeout -1 is neither seconds nor 'infinity'"),
        ({"start_timeout": "brutal"}, "a: start_timeout 'brutal' is neither seconds nor 'infinity'"),
        ({"hang_after": -0.5}, "a: hang_after -0.5 is no number of seconds"),
        ({"hang_after": "5"}, "a: hang_after '5' is no number of seconds"),
        ({"cooldown": -1}, "a: cooldown -1 is no number of seconds"),
        ({"mailbox": 0}, "a: mailbox 0 is not 1 or more"),
        ({"attempts": 0}, "a: attempts 0 is not 1 or more"),
        ({"attempts": 1.5}, "a: attempts 1.5 is not 1 or more"),
        ({"backoff": 1.0}, "a: backoff 1.0 is no backoff"),
        ({"backoff": Backoff(-1, 1)}, r"a: backoff Backoff\(minimum=-1, .* is no backoff"),
        ({"own": (1, 60)}, r"a: own \(1, 60\) is no intensity"),
        ({"own": Intensity(-1, 60)}, r"a: own Intensity\(restarts=-1, .* is no intensity"),
        ({"significant": "yes"}, "a: significant 'yes' is neither true nor false"),
    ],
)
def test_25_a_wrong_spec_is_named(
    tree: Any, story: Any, puppet: Puppets, fields: dict[str, Any], problem: str
) -> None:
    """By its id, its field and its value; nothing is started, not even those before it.

    Origin: OTP supervisor_SUITE, sup_start_map_faulty_specs.
    """
    specs = (puppet("first"), replace(puppet("a"), **fields))
    with pytest.raises(SpecError, match=problem):
        check_specs(specs)
    with pytest.raises(SpecError, match=problem):
        tree.start(*specs)
    assert story.rest() == []


def test_26_a_spec_has_the_defaults_of_its_kind(tree: Any, puppet: Puppets) -> None:
    """Permanent; five seconds to stop for a worker, as long as it takes for a supervisor.

    Origin: OTP supervisor_SUITE, sup_start_map.
    """
    worker, supervisor = puppet("a"), Spec("inner", Supervisor, {"specs": ()})
    control = tree.start(worker, supervisor)
    assert control.get_childspec("a") is worker
    assert control.get_childspec("inner") is supervisor
    assert (worker.restart, worker.shutdown, worker.start_timeout) == (Restart.PERMANENT, 5.0, ACTOR_START)
    assert (supervisor.restart, supervisor.shutdown) == (Restart.PERMANENT, INFINITY)
    assert supervisor.start_timeout == INFINITY
    assert [spec.significant for spec in (worker, supervisor)] == [False, False]
    assert control.count_children() == {"specs": 2, "active": 2, "supervisors": 1, "workers": 1}


@pytest.mark.parametrize(
    ("restart", "auto_shutdown", "problem"),
    [
        (Restart.PERMANENT, AutoShutdown.ANY_SIGNIFICANT, "a permanent child never ends"),
        (Restart.PERMANENT, AutoShutdown.ALL_SIGNIFICANT, "a permanent child never ends"),
        (Restart.TRANSIENT, AutoShutdown.NEVER, "means nothing with auto_shutdown 'never'"),
        (Restart.TEMPORARY, AutoShutdown.NEVER, "means nothing with auto_shutdown 'never'"),
    ],
)
def test_27_a_significant_child_must_be_able_to_matter(
    tree: Any, story: Any, puppet: Puppets, restart: Restart, auto_shutdown: AutoShutdown, problem: str
) -> None:
    """One that never ends, or whose end nobody minds, is rejected: at the start, later, and in a new list.

    Origin: OTP documentation of supervisor, auto_shutdown.
    """
    spec = puppet("a", restart=restart, significant=True)
    with pytest.raises(SpecError, match=problem):
        tree.start(spec, auto_shutdown=auto_shutdown)
    control = tree.start(auto_shutdown=auto_shutdown)
    with pytest.raises(SpecError, match=problem):
        control.start_child(spec)
    with pytest.raises(SpecError, match=problem):
        control.apply([puppet("b"), spec])
    assert statuses(control) == {}
    assert story.rest() == []
