"""The body of a request: bounded before it is read, and strict JSON when it is."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NoReturn, cast

from aiohttp import web

from knell.events import MAX_DEPTH, MAX_EVENT_BYTES
from knell.http.problems import Problem

MAX_BYTES = 8 * 1024 * 1024
"""The largest request (contract, section 5); one event alone may have `MAX_EVENT_BYTES`."""

READ_SECONDS = 10.0
"""How long a client may take to send a body."""

LONGEST_INTEGER = 32
"""Digits: what is longer is no number anybody means, and costs quadratic time."""

_SHOWN = 100
_JSON = "application/json"


async def read_body(request: web.Request) -> bytes:
    """Return a request's JSON, unread.

    Raises:
        Problem: it is too large, of another type, or does not come.
    """
    if request.content_type != _JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send 'Content-Type: {_JSON}'", {"Accept": _JSON})
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is", {"Accept-Encoding": "identity"}
        )
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _read(request)
    except TimeoutError:
        detail = f"the body did not come within {READ_SECONDS:g} seconds"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except ConnectionError:  # the client has gone; nobody reads this
        raise Problem(HTTPStatus.BAD_REQUEST, "the body did not come to its end") from None


def parse(body: bytes) -> Any:
    """Return what JSON says (RFC 8259), without what readers of it disagree about.

    Raises:
        Problem: it is no JSON, a key occurs twice, a number is none, or it nests too deep.
    """
    try:
        found = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_short,
        )
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start} is not UTF-8")
    except RecursionError:
        _refuse("it nests too deep")
    except ValueError as error:
        _refuse(str(error))
    if _too_deep(found):
        _refuse(f"an event nests deeper than {MAX_DEPTH}")
    return found


async def _read(request: web.Request) -> bytes:
    _check_size(request.content_length or 0, MAX_BYTES)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        limit = MAX_EVENT_BYTES if body[:_SHOWN].lstrip().startswith(b"{") else MAX_BYTES
        # The header may be missing; where it is not, the parser holds the client to it.
        _check_size(max(len(body), request.content_length or 0), limit)
    return bytes(body)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        what = "an event" if limit == MAX_EVENT_BYTES else "a request"
        detail = f"{what} may have {limit} bytes at most"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _refuse(why: str) -> NoReturn:
    raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not the JSON it should be: {why}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {keys.most_common(1)[0][0][:_SHOWN]!r} occurs twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:_SHOWN]} is too large a number")
    return number


def _short(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"an integer has more than {LONGEST_INTEGER} digits")
    return int(text)


def _too_deep(found: object) -> bool:
    """Whether an event nests deeper than its metadata may, below the event itself and the list around it."""
    level = cast("list[object]", found) if isinstance(found, list) else [found]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()
