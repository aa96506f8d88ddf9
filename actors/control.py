"""What others may ask a supervisor, with OTP's names and meaning."""

from collections.abc import Sequence
from typing import Any, cast

import pykka

from .policy.restart import Intensity, Strategy
from .spec import Spec
from .supervisor import ChildInfo, Request

PATIENCE = 60.0
"""Seconds to wait for an answer: stopping children takes the sum of their deadlines at worst."""


class Control:
    """The requests to one supervisor. Never use it from an actor: it waits for the answer.

    Every method raises:
        RefusedError: the supervisor refuses; `code` is already_started, already_present, not_found, running,
            restarting, or says why a child did not start.
        SpecError: a child spec is wrong; nothing changed.
        pykka.Timeout: no answer in time.
        pykka.ActorDeadError: the supervisor has stopped.
    """

    def __init__(self, supervisor: pykka.ActorRef[Any], timeout: float = PATIENCE) -> None:
        self._ref = supervisor
        self._timeout = timeout

    def start_child(self, spec: Spec) -> pykka.ActorRef[Any]:
        """Add a child and start it; one that does not start is not added."""
        return cast("pykka.ActorRef[Any]", self._ask("start_child", spec))

    def terminate_child(self, id_: str) -> None:
        """Stop a child and keep its spec, unless it is temporary."""
        self._ask("terminate_child", id_)

    def restart_child(self, id_: str) -> pykka.ActorRef[Any]:
        """Start a child that was terminated or has ended."""
        return cast("pykka.ActorRef[Any]", self._ask("restart_child", id_))

    def delete_child(self, id_: str) -> None:
        """Forget the spec of a child that does not run."""
        self._ask("delete_child", id_)

    def apply(
        self,
        specs: Sequence[Spec],
        *,
        strategy: Strategy | None = None,
        intensity: Intensity | None = None,
    ) -> None:
        """Make these the children: stop what is gone, replace what changed, start what is new.

        `strategy` and `intensity` take the place of the supervisor's own, until it is restarted itself.
        """
        self._ask("apply", tuple(specs), strategy, intensity)

    def which_children(self) -> list[ChildInfo]:
        """Return the children in start order."""
        return cast("list[ChildInfo]", self._ask("which_children"))

    def count_children(self) -> dict[str, int]:
        """Return how many specs, active children, supervisors and workers there are."""
        return cast("dict[str, int]", self._ask("count_children"))

    def get_childspec(self, id_: str) -> Spec:
        """Return the spec of a child."""
        return cast("Spec", self._ask("get_childspec", id_))

    def _ask(self, name: str, *args: Any) -> object:
        answer = self._ref.ask(Request(name, args), timeout=self._timeout)
        if isinstance(answer, Exception):
            raise answer
        return answer
