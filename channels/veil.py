"""Keeping the secrets of a section out of what its channel says when something goes wrong.

The channels that come with knell never say them. A third party's may raise an exception whose text holds the
whole address it called; that text would be logged, kept with the dead letter, and shown by the API.
"""

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from traceback import format_exception
from typing import Any, cast

import msgspec
from pydantic import BaseModel, SecretStr
from yarl import URL

from knell.errors import ChannelError
from knell.messages import Delivered, Outcome

from ..config.schema import ChannelConfig

MASK = "***"

LEAST = 6
"""Characters of a secret that is looked for; shorter ones are found in every other word."""

_TELLING = re.compile(r"token|secret|passw|key|auth|credential|url|webhook", re.IGNORECASE)
"""Names of keys that hold a secret where a section has no schema that says so."""


class Veil:
    """Masks what one section says in confidence."""

    def __init__(self, section: ChannelConfig) -> None:
        self._section = section

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """What is looked for; gathered for the first text to mask, so that no restart waits for it."""
        found = {part for secret in _secrets(self._section) for part in _parts(secret) if len(part) >= LEAST}
        # The longest first: one may be a part of another.
        alternatives = "|".join(map(re.escape, sorted(found, key=len, reverse=True)))
        return re.compile(alternatives) if found else None

    def text(self, text: str) -> str:
        """Return the text with every secret masked."""
        return self._pattern.sub(MASK, text) if text and self._pattern else text

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return the outcome with every secret in its words and its receipt masked."""
        said = self.text(outcome.detail)
        masked = outcome if said == outcome.detail else msgspec.structs.replace(outcome, detail=said)
        if not isinstance(masked, Delivered) or (receipt := self._within(masked.receipt)) == masked.receipt:
            return masked
        return msgspec.structs.replace(masked, receipt=receipt)

    def _within(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {self.text(key): self._within(item) for key, item in items}
        return [self._within(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value

    @contextmanager
    def over(self) -> Generator[None]:
        """Let no error out of the block whose traceback says a secret.

        Raises:
            ChannelError: in the place of one that does.
        """
        try:
            yield
        except Exception as error:
            shown, _ = self.error(error)
            if shown is error:
                raise
            raise shown from None

    def error(self, error: BaseException) -> tuple[BaseException, str]:
        """Return an error that may be shown, and its traceback as text.

        It is the error itself, unless its traceback holds a secret: then it is one that holds none.
        """
        traceback = "".join(format_exception(error))
        masked = self.text(traceback)
        if masked == traceback:
            return error, traceback
        return ChannelError(self.text(f"{type(error).__name__}: {error}")), masked


def _secrets(section: ChannelConfig) -> Iterator[str]:
    yield from _within(dict(section))
    for name, value in (section.model_extra or {}).items():
        if _TELLING.search(name):
            yield from _texts(value)


def _within(value: Any) -> Iterator[str]:
    """Go through everything that is marked as a secret."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _within(dict(value))
    elif isinstance(value, Mapping):
        for item in cast("Mapping[Any, Any]", value).values():
            yield from _within(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in cast("list[Any]", value):
            yield from _within(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from _texts(item)


def _parts(secret: str) -> Iterator[str]:
    """Return the forms in which a secret is said: an address also without its host, and its query."""
    yield secret
    if "://" not in secret:
        return
    try:
        url = URL(secret)
    except ValueError:
        return
    yield from (url.raw_path_qs, url.path_qs, url.raw_path, url.path, url.raw_query_string)
    yield from url.query.values()
    yield url.password or ""
