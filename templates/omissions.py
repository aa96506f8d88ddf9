"""What a template left out, in plain words: names of what is cut, none of its text."""

from collections.abc import Iterator, Mapping
from typing import Any

from .text import one_line


def reported(cuts: Mapping[str, int], seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Say of each text that was cut what it is and how much is missing.

    Args:
        cuts: texts, and how many characters of each are not shown.
        seen: the variables of the template, which tell what a text is.
    """
    names: dict[str, str] = {}
    for name, text in _texts(seen):
        names.setdefault(text, name)
        names.setdefault(one_line(text), name)
    return tuple(
        f"{names.get(text, 'text')}: {lost:,} of {len(text):,} characters left out"
        for text, lost in cuts.items()
    )


def _texts(seen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    several = len(seen["entries"]) > 1
    for place, entry in enumerate(seen["entries"]):
        where = f"events[{place}]." if several else ""
        for name in ("title", "description", "source"):
            yield where + name, entry["event"][name]
        for name, value in entry["facts"].items():
            if isinstance(value, str):
                yield where + name, value
