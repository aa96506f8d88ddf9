"""What puppets are told to do, and what is asked about them, in more than one suite."""

from collections.abc import Callable
from typing import Any

from knell.actors.behaviour import Shutdown
from knell.actors.control import Control
from knell.actors.spec import Spec
from knell.actors.supervisor import Supervisor
from tests.puppets import PATIENCE

Puppets = Callable[..., Spec]
"""Makes the spec of a puppet: the fixture `puppet`."""


def crash(_puppet: Any) -> None:
    """Crash over this message, or in this hook."""
    raise ZeroDivisionError("over a message")


def end(_puppet: Any) -> None:
    """End orderly."""
    raise Shutdown


def ask(ref: Any, order: Callable[[Any], Any]) -> Any:
    """Let a puppet do something, and return its answer."""
    return ref.ask(order, timeout=PATIENCE)


def incarnation(puppet: Any) -> int:
    """Say which one it is: the answer to an ask."""
    number: int = puppet.ctx.incarnation
    return number


def nested(name: str, *specs: Spec, supervision: dict[str, Any] | None = None, **fields: Any) -> Spec:
    """Return the spec of a supervisor with these children; `supervision` is what it is given beside them."""
    return Spec(name, Supervisor, {"specs": specs, **(supervision or {})}, **fields)


def statuses(control: Control) -> dict[str, str]:
    """Return the children of a supervisor, in order, and where each stands."""
    return {info.id: info.status for info in control.which_children()}
