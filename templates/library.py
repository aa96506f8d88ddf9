"""Which templates there are, and which of them a message gets."""

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, DictLoader, FileSystemLoader

from knell.errors import TemplateError

EXTENSIONS = (".json", ".html", ".md", ".txt")
"""The file types, the one that wins first: `job_failed.txt` beside `job_failed.html` is its plain text."""


class Library:
    """Templates by name: those registered in code, then the operator's folders, then knell's own."""

    def __init__(self, directories: Sequence[Path]) -> None:
        folders = [Path(directory).expanduser() for directory in directories]
        for folder in folders:
            if not folder.is_dir():
                raise TemplateError(f"template directory {folder} is not there")
        self._given = {name for folder in folders for name in _files(folder)}
        folders.append(Path(str(files("knell.templates").joinpath("notifications"))))
        self._registered: dict[str, str] = {}
        self.loader: BaseLoader = ChoiceLoader([DictLoader(self._registered), FileSystemLoader(folders)])
        self._names: dict[str, str] = {}
        self._learn(name for folder in folders for name in _files(folder))

    def add(self, name: str, source: str = "") -> None:
        """Add a template, in front of every other of that name."""
        self._registered[name] = source
        self._given.add(name)
        self._learn([*self.names(), name])

    def is_given(self, name: str) -> bool:
        """Whether a template, named in full, is not knell's own."""
        return name in self._given

    def names(self) -> list[str]:
        """Return every name, with its extension."""
        return sorted(name for name, found in self._names.items() if name == found)

    def find(self, *names: str) -> str | None:
        """Return the first of some names that exists; the extension may be left out."""
        return next((self._names[name] for name in names if name in self._names), None)

    def named(self, *names: str) -> str:
        """Return the first of some names that exists.

        Raises:
            TemplateError: none does; the message names the nearest that do.
        """
        found = self.find(*names)
        if found is None:
            near = difflib.get_close_matches(names[0], self.names(), n=3, cutoff=0.5)
            hint = f", did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
            raise TemplateError(f"there is no template {names[-1]!r}{hint}")
        return found

    def _learn(self, names: Iterator[str] | list[str]) -> None:
        known = {name: name for name in names}
        for name in sorted(known, key=lambda name: EXTENSIONS.index(extension(name))):
            known.setdefault(name.removesuffix(extension(name)), name)
        self._names = {**self._names, **known}


def extension(name: str) -> str:
    """Return a template's file type."""
    _, dot, suffix = name.rpartition(".")
    return dot + suffix


def _files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.suffix in EXTENSIONS and file.is_file():
            yield file.relative_to(folder).as_posix()
