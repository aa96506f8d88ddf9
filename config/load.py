"""From files, or a mapping, to a checked configuration, with every problem at once."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .conceal import credentials, without
from .layout import Layout, type_of
from .problems import Problem, in_order, refuse
from .references import likely_typos, reference_problems
from .schema import NotificationConfig
from .secrets import Interpolation
from .sections import ChannelTypes, SectionModel, channels
from .strict_yaml import read
from .tree import Leaf, Node, Table, child, entries, from_mapping, merge
from .validate import validate

DEFAULT = Path("config/notifications.yaml")
OVERRIDE = Path(".kiro/notifications.yaml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with what `knell check` and `knell explain` say about it.

    Attributes:
        config: the checked configuration.
        tree: the same settings with the place of each key and value; see `knell.config.tree.find`.
        warnings: variables that disabled channels miss, and event types that look misspelt.
    """

    config: NotificationConfig
    tree: Table
    warnings: tuple[Problem, ...]


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    section_model: SectionModel,
    environ: Mapping[str, str] | None = None,
    workspace: Path | None = None,
    known_types: Collection[str] = (),
    switched: Mapping[str, bool] | None = None,
) -> NotificationConfig:
    """Return the configuration in a file, with the workspace's own file merged over it.

    Args:
        path: the file; by default `config/notifications.yaml`, or the packaged one where that is missing.
        section_model: returns the model of a channel type.
        environ: where `${VAR}` comes from; the process's environment by default.
        workspace: where `.kiro/notifications.yaml` is looked for; the working directory by default.
        known_types: names of channel types, for suggestions.
        switched: channels that an operator enabled or disabled; wins over the files.

    Raises:
        ConfigError: it lists every problem, each with file, line and column.
    """
    return examine(
        candidates(path, workspace),
        section_model=section_model,
        environ=environ,
        known_types=known_types,
        switched=switched,
    ).config


def load_mapping(
    data: Mapping[str, Any],
    *,
    section_model: SectionModel,
    environ: Mapping[str, str] | None = None,
    known_types: Collection[str] = (),
    switched: Mapping[str, bool] | None = None,
) -> NotificationConfig:
    """Return the configuration a program gives as a mapping, checked as a file is.

    Raises:
        ConfigError: it lists every problem, each with the dotted path of its key.
    """
    return examine(
        data, section_model=section_model, environ=environ, known_types=known_types, switched=switched
    ).config


def examine(
    settings: Mapping[str, Any] | tuple[Path, ...],
    *,
    section_model: SectionModel,
    environ: Mapping[str, str] | None = None,
    known_types: Collection[str] = (),
    switched: Mapping[str, bool] | None = None,
) -> Loaded:
    """Return a configuration together with its places and warnings; arguments as `load` has them.

    Raises:
        ConfigError: it lists every problem.
    """
    problems: list[Problem] = []
    types = ChannelTypes(section_model, known_types)
    trees = [from_mapping(settings, problems)] if isinstance(settings, Mapping) else _read(settings, problems)
    layout = Layout(types.exists, known_types, problems)
    root = layout.shape(trees[0], {})
    for tree in trees[1:]:
        root = merge(root, layout.shape(tree, entries(child(root, "channels"))))
    interpolation = Interpolation(os.environ if environ is None else environ)
    root = interpolation.resolve(_switched(root, switched or {}))
    problems += interpolation.problems
    config = _built(root, types, problems)
    problems += reference_problems(root)
    secrets = credentials(_checked_by(root, types))
    if config is None or problems:
        refuse(without(problems, secrets))
    return Loaded(config, root, in_order(without([*interpolation.warnings, *likely_typos(root)], secrets)))


def sections(
    path: str | os.PathLike[str] | None = None, *names: str, environ: Mapping[str, str] | None = None
) -> NotificationConfig:
    """Return a configuration of these top-level sections alone, for who wants to reach a service or a store.

    What is wrong elsewhere does not matter here: the channels' credentials may be the service's alone.

    Raises:
        ConfigError: a file cannot be read, or one of these sections is wrong.
    """
    problems: list[Problem] = []
    layout = Layout(lambda _: True, (), [])
    trees = [layout.shape(tree, {}) for tree in _read(candidates(path), problems)]
    root = trees[0]
    for tree in trees[1:]:
        root = merge(root, tree)
    interpolation = Interpolation(os.environ if environ is None else environ)
    entries_ = {key: node for key, node in root.entries.items() if key in names}
    root = interpolation.resolve(replace(root, entries=entries_))
    config, found = validate(NotificationConfig, root, "the settings", {})
    problems += [*interpolation.problems, *found]
    if config is None or problems:
        refuse(without(problems, credentials([(root, NotificationConfig)])))
    return config


def check(config: NotificationConfig) -> None:
    """Check what a configuration that a program built may get wrong: names that lead nowhere.

    Raises:
        ConfigError: it lists every problem, each with the dotted path of its key.
    """
    problems: list[Problem] = []
    named = {
        "channels": {name: {"fallback": section.fallback} for name, section in config.channels.items()},
        "event_routing": [{"name": rule.name, "channels": rule.channels} for rule in config.event_routing],
        "supervision": {"children": dict.fromkeys(config.supervision.children)},
    }
    problems += reference_problems(from_mapping(named, problems))
    if problems:
        refuse(problems)


def candidates(path: str | os.PathLike[str] | None = None, workspace: Path | None = None) -> tuple[Path, ...]:
    """Return the files `load` takes, each laid over the one before; the last need not exist."""
    if path is not None:
        main = Path(path)
    elif os.path.lexists(DEFAULT):
        main = DEFAULT
    else:
        main = Path(str(files(__package__ or "knell.config") / DEFAULT.name))
    return main, (workspace or Path()) / OVERRIDE


def _read(paths: tuple[Path, ...], problems: list[Problem]) -> list[Node]:
    present = [path for at, path in enumerate(paths) if at == 0 or os.path.lexists(path)]
    trees = [read(path, problems) for path in present]
    readable = [tree for tree in trees if tree is not None]
    if len(readable) < len(trees):
        refuse(problems)
    return readable


def _switched(root: Table, switched: Mapping[str, bool]) -> Table:
    """Return the settings with the channels an operator switched."""
    sections = child(root, "channels")
    if not (switched and isinstance(sections, Table)):
        return root
    changed = dict(sections.entries)
    for name, section in sections.entries.items():
        if name in switched and isinstance(section, Table):
            switch = Leaf(switched[name], section.key, section.key)
            changed[name] = replace(section, entries={**section.entries, "enabled": switch})
    return replace(root, entries={**root.entries, "channels": replace(sections, entries=changed)})


def _built(root: Table, types: ChannelTypes, problems: list[Problem]) -> NotificationConfig | None:
    """Return the configuration, each channel checked by its own model; findings are added to `problems`."""
    sections = channels(entries(child(root, "channels")), types, problems)
    rest = {key: node for key, node in root.entries.items() if key != "channels"}
    config, found = validate(NotificationConfig, replace(root, entries=rest), "the settings", {})
    problems += found
    return config and config.model_copy(update={"channels": sections})


def _checked_by(root: Table, types: ChannelTypes) -> Iterator[tuple[Node, type[BaseModel]]]:
    """Return the parts of the settings, each with the model that knows its credentials."""
    yield root, NotificationConfig
    for name, section in entries(child(root, "channels")).items():
        model = types.find(type_of(name, section))
        if not isinstance(model, str):
            yield section, model
