"""Every text of the demo is there in Japanese, and no other."""

import ast
import re
from importlib.resources import files

import yaml

from knell.lab.demo.words import words

FOLDER = files("knell.lab.demo")
_CALLED = {"msg", "words", "_words", "fill"}


def texts() -> set[str]:
    """Find the texts: arguments of the functions that translate, and marked words of the page."""
    found = set(
        re.findall(r"\[\[(.+?)\]\]", FOLDER.joinpath("assets", "page.html").read_text(encoding="utf-8"))
    )
    for file in FOLDER.iterdir():
        if not file.name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) in _CALLED:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_catalog_is_complete() -> None:
    """No text is missing, and none is left over."""
    catalog = yaml.safe_load(FOLDER.joinpath("ja.yaml").read_text(encoding="utf-8"))
    assert texts() - set(catalog) == set()
    assert set(catalog) - texts() == set()


def test_places_are_kept() -> None:
    """A translation names the same values as its original."""
    places = re.compile(r"%\(\w+\)s")
    for text in texts():
        assert sorted(places.findall(text)) == sorted(places.findall(words("ja")(text))), text


def test_english_is_written_where_it_is_used() -> None:
    """English needs no catalog."""
    assert words("en")("A job fails") == "A job fails"
