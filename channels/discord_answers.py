"""Discord's answers: what each means for the message and its channel, and for the requests after it."""

import math
import re
from http import HTTPStatus
from typing import Any

import msgspec

from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Unknown

from .answer import Answer, by_status, failure, pause
from .discord_gate import Closed, Limits

UNKNOWN_WEBHOOK = 10015
"""The webhook was deleted (discord-api-docs, "JSON Error Codes", as the next ones)."""

LOST_MESSAGES = frozenset({10008, 30046, 50005})
"""Unknown message; too many edits of an old one; written by another webhook: a new one has to do."""

LOST_THREADS = frozenset({10003, 50083, 160005})
"""Unknown channel; archived; locked."""

CLOUDFLARE_SECONDS = 60.0
"""A 429 without JSON comes from Discord's front, which bans addresses: wait at least this long (ours)."""

_REASONS = {
    50035: Reason.INVALID_MESSAGE,
    50006: Reason.INVALID_MESSAGE,
    40005: Reason.TOO_LARGE,
    10003: Reason.CONFIGURATION,
    40067: Reason.CONFIGURATION,
    50083: Reason.CONFIGURATION,
    160005: Reason.CONFIGURATION,
    220001: Reason.CONFIGURATION,
    220002: Reason.CONFIGURATION,
    220003: Reason.CONFIGURATION,
    50027: Reason.AUTHENTICATION,
    50013: Reason.AUTHENTICATION,
    UNKNOWN_WEBHOOK: Reason.GONE,
    20016: Reason.RATE_LIMIT,
    20028: Reason.RATE_LIMIT,
    20029: Reason.RATE_LIMIT,
    30046: Reason.RATE_LIMIT,
    40062: Reason.RATE_LIMIT,
}
"""By the JSON error code (discord-api-docs, `opcodes-and-status-codes.mdx`), before the status."""

_ADVICE = {
    50035: "it breaks a limit or rule of Discord's; look at the template",
    50006: "there is nothing to show in it; look at the template",
    10003: "the thread of thread_id is gone, or in another channel than the webhook",
    40067: "the forum demands a tag: turn that off in the forum's settings",
    50083: "the thread is archived: open it again, or give another thread_id",
    160005: "the thread is locked: unlock it, or give another thread_id",
    220001: "the webhook is a forum's: set thread_name for a post per job, or thread_id for one thread",
    220002: "thread_name and thread_id exclude each other",
    220003: "the webhook is no forum's: remove thread_name",
    50027: "the token in webhook_url is wrong: copy the address again",
    50013: "the webhook lacks a permission in its channel",
    UNKNOWN_WEBHOOK: "the webhook was deleted: make a new one, and put its address into webhook_url",
}

_SNOWFLAKE = re.compile(r"[0-9]{1,20}")
"""An id of Discord's: what is none must not get into an address."""

_INVALID = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}


def code_of(answer: Answer) -> int:
    """Return Discord's own code for an error, 0 when there is none."""
    code = answer.json_object().get("code")
    return code if type(code) is int and not answer.ok else 0


def classify(answer: Answer, now: float) -> Outcome:
    """Say how a request for a message has ended; `now` in Unix seconds."""
    if answer.status == HTTPStatus.NO_CONTENT:
        return Delivered(None, "Discord answered 204, without a reference")
    if answer.ok:
        return _message(answer)
    code = code_of(answer)
    detail = f"Discord answered {answer.status}" + (f" with code {code}" if code else "")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        everybody = ", for every webhook" if limits_of(answer, now).everywhere else ""
        return Retry(Reason.RATE_LIMIT, _asked(answer, now), detail + everybody)
    if code in _ADVICE:
        detail += f": {_ADVICE[code]}"
    elif answer.status == HTTPStatus.FORBIDDEN and answer.json() is None:
        detail += " and a page: its front refuses this address, perhaps for too many refused requests"
    if reason := _REASONS.get(code):
        return failure(reason, detail, answer.retry_after(now))
    return msgspec.structs.replace(by_status(answer, service="Discord"), detail=detail)


def turned_away(closed: Closed) -> Retry | Rejected:
    """Say how a request has ended that the gate did not let go."""
    # A limit alarms nobody; a reason of the channel's scope opens its breaker, which is told to people.
    if closed.alarming:
        return Rejected(Reason.CONFIGURATION, closed.why)
    return Retry(Reason.RATE_LIMIT, closed.seconds, closed.why)


def limits_of(answer: Answer, now: float) -> Limits:
    """Return what an answer says about the requests after it; `now` in Unix seconds."""
    headers = answer.headers
    limited = answer.status == HTTPStatus.TOO_MANY_REQUESTS
    scope = headers.get("X-RateLimit-Scope", "")
    limit = _number(headers.get("X-RateLimit-Limit"))
    remaining = _number(headers.get("X-RateLimit-Remaining"))
    return Limits(
        bucket=headers.get("X-RateLimit-Bucket", "")[:100],
        limit=None if limit is None else int(limit),
        remaining=None if remaining is None else int(remaining),
        reset_after=_reset_after(answer, now),
        wait=(_asked(answer, now) or pause(0)) if limited else 0.0,
        everywhere=limited and (scope == "global" or _is_global(answer)),
        invalid=answer.status in _INVALID and not (limited and scope == "shared"),
    )


def _message(answer: Answer) -> Delivered | Unknown:
    data = answer.json_object()
    ids = {key: str(data.get(key, "")) for key in ("id", "channel_id")}
    if not all(map(_SNOWFLAKE.fullmatch, ids.values())):
        return Unknown(Reason.SERVER_ERROR, f"Discord answered {answer.status} without a message")
    return Delivered(ids)


def _is_global(answer: Answer) -> bool:
    data = answer.json_object()
    return not data or data.get("global") is True or "X-RateLimit-Global" in answer.headers


def _asked(answer: Answer, now: float) -> float | None:
    """Return the longer of a 429's two hints: header and JSON are seen to disagree."""
    data = answer.json_object()
    waits = [answer.retry_after(now)] if "Retry-After" in answer.headers else []
    wish: Any = data.get("retry_after")
    if isinstance(wish, int | float) and not isinstance(wish, bool):
        waits.append(pause(float(wish)))
    if not data:
        waits.append(CLOUDFLARE_SECONDS)
    return max((wait for wait in waits if wait is not None), default=None)


def _reset_after(answer: Answer, now: float) -> float | None:
    """Return the rest of the window: its length is better than its end, which is by Discord's clock."""
    seconds = _number(answer.headers.get("X-RateLimit-Reset-After"))
    if seconds is None and (end := _number(answer.headers.get("X-RateLimit-Reset"))) is not None:
        seconds = max(0.0, end - now)
    return None if seconds is None else min(seconds, pause(math.inf))


def _number(text: str | None) -> float | None:
    """Read a header's number, which may have decimals: Discord's times do."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None
