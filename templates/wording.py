"""The words: languages, and how times and durations are said in them.

English is written where it is used and is the key of every other language. `msg` marks a text that is
translated elsewhere, so that a test can find all of them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files

_PLACE = re.compile(r"%(?:\((\w+)\)s|%)")
_SECONDS_OF_MINUTE = 60
_SECONDS_OF_HOUR = 3600
_SECONDS_OF_DAY = 86400
_WHOLE_SECONDS_FROM = 10
_LONGEST_KEPT = 500


def msg(text: str) -> str:
    """Mark a text that will be looked up in a catalog."""
    return text


class Catalog:
    """The texts of one language, by their English."""

    def __init__(self, locale: str, texts: Mapping[str, str]) -> None:
        self.locale = locale
        self._texts = texts

    def __call__(self, msgid: str) -> str:
        """Return a text in this language; the English one where none is known."""
        return self._texts.get(msgid, msgid)

    def fill(self, msgid: str, **values: object) -> str:
        """Translate a text and put values in its `%(name)s` places."""
        return fill(self(msgid), {name: str(value) for name, value in values.items()})

    def moment(self, at: datetime) -> str:
        """Say when something happened: in UTC, because readers sit in several zones."""
        at = at.astimezone(UTC)
        return self.fill(
            msg("%(year)s-%(month)s-%(day)s %(time)s UTC"),
            year=at.year,
            month=f"{at.month:02}" if self.locale == "en" else at.month,
            day=f"{at.day:02}" if self.locale == "en" else at.day,
            time=f"{at.hour:02}:{at.minute:02}:{at.second:02}",
        )

    def duration(self, seconds: float) -> str:
        """Say how long something took, in its two largest units."""
        if seconds < _WHOLE_SECONDS_FROM:
            return self.fill(msg("%(seconds)s s"), seconds=f"{seconds:.1f}".removesuffix(".0"))
        whole = round(seconds)
        if whole < _SECONDS_OF_MINUTE:
            return self.fill(msg("%(seconds)s s"), seconds=whole)
        if whole < _SECONDS_OF_HOUR:
            minutes, rest = divmod(whole, _SECONDS_OF_MINUTE)
            return self.fill(msg("%(minutes)s min %(seconds)s s"), minutes=minutes, seconds=rest)
        if whole < _SECONDS_OF_DAY:
            hours, rest = divmod(whole, _SECONDS_OF_HOUR)
            return self.fill(
                msg("%(hours)s h %(minutes)s min"), hours=hours, minutes=rest // _SECONDS_OF_MINUTE
            )
        days, rest = divmod(whole, _SECONDS_OF_DAY)
        return self.fill(msg("%(days)s d %(hours)s h"), days=days, hours=rest // _SECONDS_OF_HOUR)


ENGLISH = Catalog("en", {})


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in the `%(name)s` places of a text; `%%` is a percent sign.

    Python's own `%` is not used: `%(x)999999999s` would build a gigabyte.
    """
    if "%" not in text:
        return text
    # A template may translate what an event says: of that, nothing long is kept.
    parts = _taken_apart(text) if len(text) <= _LONGEST_KEPT else _PLACE.split(text)
    return "".join(
        (values.get(part, "") if part else "%") if index % 2 else part or ""
        for index, part in enumerate(parts)
    )


@lru_cache(maxsize=512)
def _taken_apart(text: str) -> list[str | None]:
    """Return literals and, between them, the names of places (None for a percent sign)."""
    return _PLACE.split(text)


@lru_cache(maxsize=64)
def catalog(locale: str) -> Catalog:
    """Return a language by its code (`ja`, `ja-JP`, `ja_JP.UTF-8`); English where it is unknown."""
    language = re.split(r"[-_.]", locale.lower(), maxsplit=1)[0]
    if language == ENGLISH.locale or language not in known_locales():
        return ENGLISH
    # YAML is slow to import, and English needs none of it.
    import yaml  # noqa: PLC0415 - see above

    text = files("knell.templates").joinpath("locales", f"{language}.yaml").read_text(encoding="utf-8")
    return Catalog(language, yaml.safe_load(text))


@cache
def known_locales() -> frozenset[str]:
    """Return the languages that have a file, and English."""
    found = files("knell.templates").joinpath("locales").iterdir()
    return frozenset(
        {"en", *(file.name.removesuffix(".yaml") for file in found if file.name.endswith(".yaml"))}
    )
