"""The private names of pykka that a cell rests on, all in one place (docs/decisions/0002).

Besides these two, `cell.Cell` overrides `_create_actor_inbox`, `_actor_loop` and `_start_actor_loop`. pykka
is pinned to the minor version they were read in, and a test fails when one of them moves.
"""

from pykka._envelope import Envelope
from pykka.messages import _ActorStop as StopRequest  # pyright: ignore[reportPrivateUsage]

__all__ = ["Envelope", "StopRequest"]
