"""What makes Slack refuse a message, whichever of its two transports it came by."""

from typing import Any

from knell.lab import blocks
from knell.lab.bodies import listing, mapping

TEXT_CUT = 40_000
"""Where Slack cuts the top-level text (slack_sdk `models/messages/message.py`)."""

TEXT_SUM = 13_172
"""The sum of block texts seen to be refused just above (bolt-js #2509)."""

ATTACHMENTS, FOOTER = 100, 300


class SlackError(Exception):
    """An error code of Slack, and why."""

    def __init__(self, code: str, why: str = "", **more: Any) -> None:
        super().__init__(why or code)
        self.code = code
        self.more = more


def check(payload: dict[str, Any]) -> None:
    """Check what would be posted.

    Raises:
        SlackError: with the Web API's code; the incoming webhook says some of them differently.
    """
    if not any(payload.get(name) for name in ("text", "blocks", "attachments")):
        raise SlackError("no_text", "neither text nor blocks nor attachments")
    if not isinstance(payload.get("text", ""), str):
        raise SlackError("no_text", "text is no string")
    if payload.get("blocks"):
        _check_blocks(payload["blocks"])
    if payload.get("attachments"):
        _check_attachments(payload["attachments"])


def _check_blocks(value: object) -> None:
    try:
        blocks.check(value)
    except blocks.BlockError as error:
        messages = [f"[ERROR] {error}"]
        raise SlackError("invalid_blocks", str(error), response_metadata={"messages": messages}) from error
    if (total := blocks.total_text(value)) > TEXT_SUM:
        raise SlackError("msg_blocks_too_long", f"the blocks hold {total} characters, more than {TEXT_SUM}")


def _check_attachments(value: object) -> None:
    attachments = listing(value)
    if attachments is None:
        raise SlackError("invalid_blocks", "attachments are no list")
    if len(attachments) > ATTACHMENTS:
        raise SlackError("too_many_attachments", f"{len(attachments)} attachments, more than {ATTACHMENTS}")
    for item in attachments:
        attachment = mapping(item)
        if attachment is None:
            raise SlackError("invalid_blocks", "an attachment is no object")
        if len(str(attachment.get("footer", ""))) > FOOTER:
            raise SlackError("invalid_blocks", f"an attachment's footer has more than {FOOTER} characters")
        if attachment.get("blocks"):
            _check_blocks(attachment["blocks"])
