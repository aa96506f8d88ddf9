"""The one shape all settings are brought into, whatever way they were written.

A wrapping `notifications:` is taken off, channel sections written at top level move under `channels`, and
`rate_limits` moves into the channels it names. Each file is brought into shape before files are merged.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from .problems import Problem, did_you_mean
from .schema import NotificationConfig
from .tree import Leaf, Node, Table, child, kind, plain

SECTIONS = tuple(NotificationConfig.model_fields)
"""The keys there are at top level."""


class Layout:
    """Brings trees into shape; what it finds wrong is added to `problems`.

    Args:
        is_type: whether a channel type of this name exists.
        known_types: names of channel types, for suggestions.
        problems: where findings go.
    """

    def __init__(
        self, is_type: Callable[[str], bool], known_types: Collection[str], problems: list[Problem]
    ) -> None:
        self.is_type = is_type
        self.known_types = known_types
        self.problems = problems

    def shape(self, root: Node, inherited: Mapping[str, Node]) -> Table:
        """Return a file's settings in shape; `inherited` are the channels of the file it is laid over."""
        root = self._unwrapped(root)
        channels = child(root, "channels") or Table({}, root.at, root.key)
        if not isinstance(channels, Table):
            self._expected_mapping(channels)
            channels = Table({}, root.at, root.key)
        sections, lifted = self._sorted(root, {*inherited, *channels.entries})
        for name in lifted.keys() & channels.entries.keys():
            self.problems.append(
                lifted[name].key.problem(f"channel {name!r} stands under 'channels' as well")
            )
        entries = {**lifted, **channels.entries}
        limits = sections.pop("rate_limits", None)
        if limits is not None:
            self._fold(limits, entries, inherited)
        return replace(root, entries={**sections, "channels": replace(channels, entries=entries)})

    def _unwrapped(self, root: Node) -> Table:
        wrapped = child(root, "notifications")
        if wrapped is not None and isinstance(root, Table):
            for key, node in root.entries.items():
                if key != "notifications":
                    message = f"key {key!r} stands beside 'notifications', which holds all settings"
                    self.problems.append(node.key.problem(message, "indent it under 'notifications'"))
            root = wrapped
        if isinstance(root, Table):
            return root
        self._expected_mapping(root)
        return Table({}, root.at, root.key)

    def _sorted(self, root: Table, channels: Collection[str]) -> tuple[dict[str, Node], dict[str, Node]]:
        """Return the sections and the channels among the keys at top level; report the others."""
        sections: dict[str, Node] = {}
        lifted: dict[str, Node] = {}
        for key, node in root.entries.items():
            if key in SECTIONS:
                sections[key] = node
            elif key in channels or self.is_type(type_of(key, node)):
                lifted[key] = node
            else:
                hint = did_you_mean(key, (*SECTIONS, *self.known_types))
                self.problems.append(node.key.problem(f"unknown key {key!r}", hint))
        return sections, lifted

    def _fold(self, limits: Node, channels: dict[str, Node], inherited: Mapping[str, Node]) -> None:
        if not isinstance(limits, Table):
            self._expected_mapping(limits)
            return
        for name, limit in limits.entries.items():
            section = channels.get(name)
            if section is None and name not in inherited:
                hint = did_you_mean(name, (*channels, *inherited))
                self.problems.append(limit.key.problem(f"rate_limits names unknown channel {name!r}", hint))
            elif section is None:
                channels[name] = Table({"rate_limit": limit}, limit.at, limit.key)
            elif isinstance(section, Table):
                channels[name] = self._limited(name, section, limit)

    def _limited(self, name: str, section: Table, limit: Node) -> Table:
        own = child(section, "rate_limit")
        if own is not None and plain(own) != plain(limit):
            message = f"channel {name!r} has another rate_limit in its own section"
            self.problems.append(limit.key.problem(message, "keep one of the two"))
        return replace(section, entries={**section.entries, "rate_limit": own or limit})

    def _expected_mapping(self, node: Node) -> None:
        self.problems.append(node.at.problem(f"expected a mapping (key: value), got {kind(node)}"))


def type_of(name: str, section: Node) -> str:
    """Return the channel type of a section: its `type`, else its name."""
    written = child(section, "type")
    return written.value if isinstance(written, Leaf) and isinstance(written.value, str) else name
