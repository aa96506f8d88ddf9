from importlib.metadata import version
from inspect import Parameter, signature
from typing import Any

import pykka
import pytest
from pykka import _envelope, messages

from knell.actors.behaviour import Behaviour
from knell.actors.seam import Envelope, StopRequest
from tests.deeds import ask
from tests.puppets import PATIENCE

OVERRIDDEN = {
    "_create_actor_inbox": pykka.ThreadingActor,
    "_start_actor_loop": pykka.ThreadingActor,
    "_actor_loop": pykka.Actor,
}
"""What a cell overrides, and where pykka defines it."""


def _check() -> None:
    """Fail when a private name that a cell rests on is not where it was."""
    for name, owner in OVERRIDDEN.items():
        assert name in vars(owner), f"{owner.__name__}.{name} is gone"
        given = signature(getattr(owner, name)).parameters
        needed = [parameter for parameter in given.values() if parameter.default is Parameter.empty]
        static = isinstance(vars(owner)[name], staticmethod)
        assert len(needed) == (not static), f"{name} takes other arguments"
    envelope = _envelope.Envelope("message", reply_to=None)
    assert (envelope.message, envelope.reply_to) == ("message", None)
    assert vars(messages)["_ActorStop"] is StopRequest
    assert _envelope.Envelope is Envelope
    for name in ("tell", "ask", "stop", "is_alive"):
        assert name in vars(pykka.ActorRef), f"pykka.ActorRef.{name} is gone"


def test_56_the_seams_of_pykka_are_where_they_were() -> None:
    """In the minor version that was read.

    Origin: pykka 4.5, its private names.
    """
    assert version("pykka").split(".")[:2] == ["4", "5"]
    _check()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (pykka.ThreadingActor, "_start_actor_loop"),
        (pykka.Actor, "_actor_loop"),
        (pykka.ThreadingActor, "_create_actor_inbox"),
        (_envelope, "Envelope"),
        (messages, "_ActorStop"),
        (pykka.ActorRef, "ask"),
    ],
)
def test_56_a_seam_that_moved_is_noticed(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Any one of them: the check above fails here, and not in a host's process.

    Origin: pykka 4.5, its private names.
    """
    monkeypatch.delattr(owner, name)
    with pytest.raises((AssertionError, AttributeError, KeyError)):
        _check()


def test_56_pykka_still_calls_what_is_overridden(tree: Any, puppet: Any) -> None:
    """A stock ref reaches the cell's own mailbox, loop and thread, and the registry knows it.

    Origin: pykka 4.5, its private names.
    """
    tree.start(puppet("a"))
    ref, cell = tree.ref("a"), tree.cell("a")
    assert type(ref) is pykka.ActorRef
    assert ref.actor_inbox is cell.mailbox
    thread = ask(ref, lambda p: (cell.thread.name, isinstance(p, Behaviour)))
    assert thread == ("knell-a", True)
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert ref.stop(timeout=PATIENCE)
