"""The answer of an HTTP service, and what its status means where the service has no table of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any, cast

import msgspec

from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Scope

MIN_PAUSE, MAX_PAUSE = 1.0, 3600.0
"""Seconds a service may make us wait: `Retry-After: 0` is no pause, and a day is a mistake."""

_SECONDS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")

_REASONS: dict[int, Reason] = {
    HTTPStatus.BAD_REQUEST: Reason.INVALID_MESSAGE,
    HTTPStatus.UNAUTHORIZED: Reason.AUTHENTICATION,
    HTTPStatus.FORBIDDEN: Reason.AUTHENTICATION,
    HTTPStatus.NOT_FOUND: Reason.CONFIGURATION,
    HTTPStatus.REQUEST_TIMEOUT: Reason.TIMEOUT,
    HTTPStatus.GONE: Reason.GONE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Reason.TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: Reason.INVALID_MESSAGE,
    HTTPStatus.TOO_EARLY: Reason.SERVER_ERROR,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.RATE_LIMIT,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status is certain, the body may be cut short (at 64 KiB, or by the connection).

    Attributes:
        headers: case-insensitive.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the service took the request."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def json(self) -> Any:
        """Return the body as JSON (RFC 8259, so without NaN), None when it is something else."""
        try:
            return msgspec.json.decode(self.body)
        except (ValueError, RecursionError):
            return None

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object, an empty one when it is something else."""
        value = self.json()
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def retry_after(self, now: float) -> float | None:
        """Return the seconds to wait, from 1 to 3,600; None when the service names none that can be read.

        Args:
            now: Unix seconds, for the form of `Retry-After` that is a date (RFC 9110, section 10.2.3).
        """
        wish = self.headers.get("Retry-After", "").strip()
        if _SECONDS.fullmatch(wish):
            return pause(float(wish))
        try:
            moment = parsedate_to_datetime(wish)
        except (ValueError, TypeError, IndexError):
            return None
        # A date in "-0000" comes without a zone and means UTC (RFC 5322, section 3.3).
        return pause((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def pause(seconds: float) -> float:
    """Return a service's wish, kept within what is sane."""
    return min(max(MIN_PAUSE, seconds), MAX_PAUSE)


def failure(reason: Reason, detail: str, after: float | None = None) -> Retry | Rejected:
    """Return the outcome that fits a reason: what may pass is tried again, after the service's wish."""
    passes = reason.scope in {Scope.TRANSIENT, Scope.LIMITED}
    return Retry(reason, after, detail) if passes else Rejected(reason, detail)


def by_status(answer: Answer, *, service: str, advice: Mapping[int, str] | None = None) -> Outcome:
    """Classify an answer by its status alone.

    Args:
        answer: the answer.
        service: its name in the outcome's text.
        advice: what to do about a status, in words.
    """
    status = answer.status
    hint = (advice or {}).get(status)
    said = f"{service} answered {status}" + (f": {hint}" if hint else "")
    if answer.ok:
        return Delivered({"status": status})
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Rejected(Reason.CONFIGURATION, f"{said}: redirects are never followed, give the final address")
    client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    reason = _REASONS.get(status, Reason.REFUSED if client_error else Reason.SERVER_ERROR)
    return failure(reason, said, answer.retry_after(time()))
