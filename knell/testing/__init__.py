"""For who writes a channel: the checks that every channel of knell passes, and what they need.

    class TestPager(knell.testing.ChannelConformance):
        channel = PagerChannel

        def section(self, stage):
            return {"url": f"{stage.url}/page", "token": stage.secret("token")}

`ChannelConformance` is for channels that speak HTTP, `NetworkConformance` for those with a protocol of their
own, `LocalConformance` for those that stay on the machine. Needs pytest; `pip install "knell[testing]"` also
brings what the checks of certificates and of the JSON Schema use. See docs/channels/writing-a-channel.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knell.testing.conformance import ChannelConformance
    from knell.testing.local import LocalConformance
    from knell.testing.network import NetworkConformance
    from knell.testing.provider import Provider
    from knell.testing.stage import Stage
    from knell.testing.verdicts import Verdict

_LAZY = {
    "ChannelConformance": "knell.testing.conformance",
    "LocalConformance": "knell.testing.local",
    "NetworkConformance": "knell.testing.network",
    "Provider": "knell.testing.provider",
    "Stage": "knell.testing.stage",
    "Verdict": "knell.testing.verdicts",
}
"""Names whose modules are imported at first use: pytest loads the plugin beside them in every run."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'knell.testing' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


__all__ = [
    "ChannelConformance",
    "LocalConformance",
    "NetworkConformance",
    "Provider",
    "Stage",
    "Verdict",
]
