"""Languages: every text has its Japanese, and times are said in the reader's way."""

import ast
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import cast

import pytest
import yaml
from jinja2 import DictLoader

from knell.templates.library import Library, extension
from knell.templates.printing import SYNTAXES
from knell.templates.sandbox import Sandbox
from knell.templates.wording import ENGLISH, catalog, fill

HOME = Path(str(files("knell.templates")))


def _said_in_templates() -> set[str]:
    found: set[str] = set()
    library = Library([])
    for name in library.names():
        sandbox = Sandbox(SYNTAXES[extension(name)], DictLoader({}))
        source = (HOME / "notifications" / name).read_text(encoding="utf-8")
        extract: Callable[[str], Iterable[tuple[int, str, object]]] = getattr(sandbox, "extract_translations")  # noqa: B009 - the i18n extension adds it at run time
        for _, _, message in extract(source):
            found.update(part for part in _each(message) if isinstance(part, str))
    return found


def _each(message: object) -> Iterable[object]:
    """Return a message, or the singular and the plural of one."""
    return cast("tuple[object, ...]", message) if isinstance(message, tuple) else (message,)


def _said_in_code() -> set[str]:
    found: set[str] = set()
    for file in HOME.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "msg":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), f"{file.name}:{node.lineno}: msg() marks literals"
                found.add(str(argument.value))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "words":
                found |= {str(part.value) for part in node.args if isinstance(part, ast.Constant)}
    return found


def test_every_text_has_its_japanese_and_no_other_is_kept() -> None:
    """A text without a translation, and a translation without a text, fail here."""
    known = yaml.safe_load((HOME / "locales" / "ja.yaml").read_text(encoding="utf-8"))
    said = _said_in_templates() | _said_in_code()
    assert len(said) > 80
    assert said - known.keys() == set()
    assert known.keys() - said == set()


def test_a_translation_has_the_places_of_its_english() -> None:
    """Otherwise a number or a name would get lost."""
    known = yaml.safe_load((HOME / "locales" / "ja.yaml").read_text(encoding="utf-8"))
    for english, japanese in known.items():
        assert isinstance(japanese, str)
        assert sorted(re.findall(r"%\(\w+\)s", english)) == sorted(re.findall(r"%\(\w+\)s", japanese)), (
            english
        )


@pytest.mark.parametrize(
    ("at", "english", "japanese"),
    [
        (
            datetime(2025, 12, 1, 9, 5, 7, tzinfo=UTC),
            "2025-12-01 09:05:07 UTC",
            "2025年12月1日 09:05:07 (UTC)",
        ),
        (
            datetime(2026, 1, 1, 8, 0, 0, tzinfo=timezone(timedelta(hours=9))),
            "2025-12-31 23:00:00 UTC",
            "2025年12月31日 23:00:00 (UTC)",
        ),
    ],
)
def test_a_moment_names_its_zone(at: datetime, english: str, japanese: str) -> None:
    """Readers sit in several zones, so it is UTC and says so."""
    assert ENGLISH.moment(at) == english
    assert catalog("ja").moment(at) == japanese


def test_places_are_filled_and_nothing_else_is() -> None:
    """`%(name)s` and `%%` only: no widths, no other conversions, no second round."""
    assert fill("%(a)s of %(b)s, 100%% %d %(a)99d", {"a": "%(b)s", "b": "2"}) == "%(b)s of 2, 100% %d %(a)99d"
    assert fill("%(missing)s.", {}) == "."
