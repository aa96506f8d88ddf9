"""The channel sections: which model checks each, and what it makes of them."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from knell.errors import ChannelError

from .layout import type_of
from .problems import Problem, did_you_mean
from .schema import CHANNEL_NAME, ChannelConfig, OpenChannelConfig
from .secrets import is_false
from .tree import Leaf, Node, Origin, Table, child, kind
from .validate import validate

SectionModel = Callable[[str], type[ChannelConfig]]
"""Returns the model of a channel type; raises `ChannelError` where there is no such type."""


class ChannelTypes:
    """The models of channel types, each looked up once."""

    def __init__(self, section_model: SectionModel, known: Collection[str]) -> None:
        self.section_model = section_model
        self.known = known
        self._found: dict[str, type[ChannelConfig] | str] = {}

    def find(self, channel_type: str) -> type[ChannelConfig] | str:
        """Return a type's model, or what is wrong with the type."""
        if channel_type not in self._found:
            try:
                self._found[channel_type] = self.section_model(channel_type)
            except ChannelError as error:
                self._found[channel_type] = str(error)
            except Exception as error:  # noqa: BLE001 - the import of a third party's module may raise anything
                self._found[channel_type] = (
                    f"channel type {channel_type!r}: {type(error).__name__} at its import"
                )
        return self._found[channel_type]

    def exists(self, channel_type: str) -> bool:
        """Whether there is such a type."""
        return channel_type in self.known or not isinstance(self.find(channel_type), str)


def channels(
    sections: Mapping[str, Node], types: ChannelTypes, problems: list[Problem]
) -> dict[str, ChannelConfig]:
    """Return the sections as instances of their own models; findings are added to `problems`."""
    built: dict[str, ChannelConfig] = {}
    for name, section in sections.items():
        if re.fullmatch(CHANNEL_NAME, name) is None:
            problems.append(section.key.problem(f"{name!r} cannot name a channel", _NAMES))
        elif isinstance(section, Table):
            built[name] = _channel(name, section, types, problems)
        else:
            problems.append(section.at.problem(f"expected a mapping (key: value), got {kind(section)}"))
    return built


def _channel(name: str, section: Table, types: ChannelTypes, problems: list[Problem]) -> ChannelConfig:
    own_name = child(section, "name")
    if own_name is not None:
        problems.append(
            own_name.key.problem("the name of a channel is the name of its section", "leave it out")
        )
    kept = {key: node for key, node in section.entries.items() if key not in {"name", "type"}}
    channel_type = type_of(name, section)
    model = _model(channel_type, section, types, problems)
    extra = {"name": name, "type": channel_type}
    switch = child(section, "enabled")
    idle = isinstance(switch, Leaf) and is_false(switch)
    checked, found = validate(model, replace(section, entries=kept), f"type {channel_type}", extra, idle=idle)
    problems += found
    # Incomplete, and switched off: nobody reads more of it than that.
    return checked or ChannelConfig.model_construct(name=name, type=channel_type, enabled=False)


def _model(
    channel_type: str, section: Table, types: ChannelTypes, problems: list[Problem]
) -> type[ChannelConfig]:
    written = child(section, "type")
    at = section.key if written is None else written.at
    if written is not None and not (isinstance(written, Leaf) and isinstance(written.value, str)):
        problems.append(at.problem(f"expected the name of a channel type, got {kind(written)}"))
    elif written is not None and written.origin is Origin.UNSET:
        return OpenChannelConfig
    elif isinstance(found := types.find(channel_type), str):
        if written is not None and written.origin is not Origin.WRITTEN:
            problems.append(at.problem("unknown channel type (from the environment, not shown)"))
        else:
            hint = "" if channel_type in types.known else did_you_mean(channel_type, types.known)
            problems.append(at.problem(f"unknown channel type {channel_type!r}" if hint else found, hint))
    else:
        return found
    return OpenChannelConfig


_NAMES = "use letters, digits, '-' and '_', 64 at most, a letter or digit first"
