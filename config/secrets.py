"""`${VAR}`, `${VAR:-default}` and `${file:/run/secrets/x}` in the texts of the settings.

A text that took anything from the environment or from a file is marked hidden: no finding ever shows it.
`$$` stands for one `$`; a `$` before anything but `{` stands for itself. What is put in is taken as it
is.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .problems import Problem
from .tree import Items, Leaf, Loc, Node, Origin, Table, child

MAX_SECRET_BYTES = 64 * 1024
"""The largest file taken for a secret; a certificate chain has about 8 KiB."""

_REFERENCE = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FORMS = "write ${NAME}, ${NAME:-default} or ${file:/path}, and $$ for a single $"


class Interpolation:
    """One pass over a tree.

    Attributes:
        problems: references that cannot be resolved.
        warnings: the same inside disabled channels, where the value is empty instead.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def resolve(self, root: Table) -> Table:
        """Return the tree with every reference replaced; the channels stand under `channels`."""
        entries = {key: self._node(node, (key,), self.problems) for key, node in root.entries.items()}
        return replace(root, entries=entries)

    def _node(self, node: Node, path: Loc, findings: list[Problem]) -> Node:
        match node:
            case Leaf():
                return self._leaf(node, path, findings)
            case Items(items):
                inside = [self._node(item, (*path, at), findings) for at, item in enumerate(items)]
                return replace(node, items=inside)
            case Table(entries):
                if path[:-1] == ("channels",) and self._disabled(node):
                    findings = self.warnings
                resolved = {key: self._node(value, (*path, key), findings) for key, value in entries.items()}
                return replace(node, entries=resolved)

    def _disabled(self, section: Table) -> bool:
        switch = child(section, "enabled")
        return isinstance(switch, Leaf) and is_false(self._leaf(switch, (), []))

    def _leaf(self, leaf: Leaf, path: Loc, findings: list[Problem]) -> Leaf:
        if not isinstance(leaf.value, str) or "$" not in leaf.value:
            return leaf
        found = _REFERENCE.findall(leaf.value)
        try:
            text = _REFERENCE.sub(lambda match: self._text(match, leaf.at.source.folder), leaf.value)
        except _Unresolved as why:
            findings.append(leaf.at.problem(f"{why} (needed by {dotted(path)})"))
        except _Malformed:
            self.problems.append(leaf.at.problem("a '${' that is no reference", _FORMS))
        else:
            return replace(leaf, value=text, origin=Origin.HIDDEN if any(found) else leaf.origin)
        return replace(leaf, value="", origin=Origin.UNSET)

    def _text(self, match: re.Match[str], folder: Path) -> str:
        if match[0] == "$$":
            return "$"
        inner = match[1] or ""
        if inner.startswith("file:"):
            return _content(inner.removeprefix("file:"), folder)
        variable = _VARIABLE.fullmatch(inner)
        if variable is None:
            raise _Malformed
        name, default = variable.groups()
        value = self.environ.get(name)
        if value is None and default is None:
            raise _Unresolved(f"environment variable {name} is not set")
        return value or default or ""


class _Unresolved(Exception):  # noqa: N818 - it says why, and `Interpolation` decides whether that matters
    """A reference names nothing that is there."""


class _Malformed(Exception):  # noqa: N818
    """What looks like a reference is none."""


def is_false(switch: Leaf) -> bool:
    """Whether a value means false, as `enabled` reads it."""
    return switch.value is False or str(switch.value).lower() == "false"


def dotted(path: Loc) -> str:
    """Write a path as people do: `channels.slack.events[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _content(name: str, folder: Path) -> str:
    """Return a secret kept in a file; a relative path starts at the file of the settings."""
    try:
        path = folder / Path(name).expanduser()
        if not path.is_file():
            # A pipe or a device would hang the start.
            raise _Unresolved(f"{name} is no file")
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise _Unresolved(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or 'no such path'}"
        ) from None
    if len(raw) > MAX_SECRET_BYTES:
        raise _Unresolved(f"{name} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _Unresolved(f"{name} is not UTF-8 text") from None
