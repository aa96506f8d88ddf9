"""How receivers leave: what mail programs make a button of (RFC 2369, section 3.2; RFC 8058)."""

import re
from typing import Self

from pydantic import Field, model_validator

from ..config.schema import Strict
from .mail_headers import Mailbox

MAX_ADDRESS = 900
"""Characters; it stands on a line of its own, which may have 998 octets."""

_URL = r"^https?://[!-+\--;=?-~]+$|^$"
_MAILTO = re.compile(r"(?:mailto:)?(?P<address>[^?<>]+)(?P<more>\?[!-+\--;=?-~]*)?")
"""What could end the angle brackets, or the list, must be percent-encoded (RFC 2369, section 2)."""


class Unsubscribe(Strict):
    """Where a wish to get no more mails goes: an address of the web, of mail, or both."""

    url: str = Field(
        default="",
        pattern=_URL,
        max_length=MAX_ADDRESS,
        description="takes the wish; with https a POST must do, without a login (one click, RFC 8058)",
    )
    mailto: str = Field(
        default="", max_length=MAX_ADDRESS, description="takes it by mail: a@b.c, or a@b.c?subject=leave"
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not (self.url or self.mailto):
            raise ValueError("list_unsubscribe needs url or mailto")
        if self.mailto:
            found = _MAILTO.fullmatch(self.mailto)
            if found is None:
                raise ValueError("mailto: expected a mail address, such as leave@example.com")
            Mailbox.parse(found["address"])
        return self

    @property
    def fields(self) -> str:
        """The header fields; the one click is offered where the way to it cannot be listened to."""
        ways = [f"<mailto:{self.mailto.removeprefix('mailto:')}>"] if self.mailto else []
        ways += [f"<{self.url}>"] if self.url else []
        listed = ",\r\n ".join(ways)
        post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if self.one_click else ""
        return f"List-Unsubscribe: {listed}\r\n{post}"

    @property
    def one_click(self) -> bool:
        """Whether one POST is enough (RFC 8058, section 3.1: https only)."""
        return self.url.startswith("https://")
