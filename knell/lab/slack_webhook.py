"""How Slack's incoming webhook is spoken to, and how it says no: a status, and a word as the body."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from knell.lab import bodies
from knell.lab.record import Answer, Request
from knell.lab.slack_message import SlackError

_WORDS = {
    "no_text": "missing_text_or_fallback_or_attachments",
    "msg_blocks_too_long": "invalid_blocks",
    "is_archived": "channel_is_archived",
}
_STATUS = {"is_archived": HTTPStatus.GONE}


def payload(request: Request) -> dict[str, Any]:
    """Read what is to be posted: JSON, or JSON in a form.

    Raises:
        SlackError: it is neither.
    """
    try:
        kind = request.headers.get("Content-Type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return bodies.json_object(bodies.form(request.body).get("payload", ""))
        return bodies.json_object(request.body)
    except ValueError as error:
        raise SlackError("invalid_payload", str(error)) from error


def refused(error: SlackError) -> Answer:
    """Return the answer to what the Web API would refuse with this error."""
    word = _WORDS.get(error.code, error.code)
    if seconds := error.more.get("retry_after"):
        return refusal(HTTPStatus.TOO_MANY_REQUESTS, word, str(error), {"Retry-After": str(seconds)})
    return refusal(_STATUS.get(error.code, HTTPStatus.BAD_REQUEST), word, str(error))


def refusal(status: int, word: str, why: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says no; `why` is for people only."""
    head = {"Content-Type": "text/html", **(headers or {})}
    return Answer(status, word.encode(), head, refused=f"{word}: {why}")
