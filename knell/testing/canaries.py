"""Secrets that must not come out: where one is found in a text, it sang."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import cast
from urllib.parse import quote, quote_plus, urlsplit

from pydantic import BaseModel, SecretStr

_SHORTEST = 6
"""Characters below which a secret would be found by chance."""

_SHORTEST_SEGMENT = 12
"""Characters from which a part of an address's path is a key, rather than a word such as `services`."""


class Canaries:
    """The secrets of one channel, by the name of their slot."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._forms)

    def add(self, name: str, secret: str) -> None:
        """Watch out for a secret: all of a text, of an address what follows the host."""
        for piece in _pieces(secret):
            for form in _written(piece):
                self._forms.setdefault(form, name)

    def add_pair(self, user: str, password: str) -> None:
        """Watch out for two secrets as HTTP Basic and SMTP PLAIN write them."""
        for pair in (f"{user}:{password}", f"\0{user}\0{password}"):
            self._forms.setdefault(
                b64encode(pair.encode()).decode().rstrip("="), f"{user[:3]}... and password"
            )

    def found_in(self, text: str) -> set[str]:
        """Return the names of the secrets that stand in a text, in whatever way they are written."""
        return {name for form, name in self._forms.items() if form in text}


def secrets_of(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Return what a section declares as secret, with its place."""
    if isinstance(value, SecretStr):
        yield place, value.get_secret_value()
    elif isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        yield from secrets_of(fields | (value.model_extra or {}), place)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield from secrets_of(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(cast("list[object]", value)):
            yield from secrets_of(item, f"{place}.{number}")


def _pieces(secret: str) -> Iterator[str]:
    if "://" not in secret:
        if len(secret) >= _SHORTEST:
            yield secret
        return
    parts = urlsplit(secret)
    tail = parts.path + (f"?{parts.query}" if parts.query else "")
    if len(tail) >= _SHORTEST:
        yield tail
    for piece in (*parts.path.split("/"), *(item.partition("=")[2] for item in parts.query.split("&"))):
        if len(piece) >= _SHORTEST_SEGMENT:
            yield piece
    if parts.password and len(parts.password) >= _SHORTEST:
        yield parts.password


def _written(secret: str) -> set[str]:
    encoded = b64encode(secret.encode()).decode().rstrip("=")
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        encoded,
    }
