"""Everything that knell expects of a channel, checked against a server on this machine."""

from typing import Any

from pager.channel import LONGEST, PagerChannel

from knell.lab.record import Answer, Request
from knell.testing import ChannelConformance, Provider, Stage


class PagerService(Provider):
    """Stands in for the pager's API: it refuses what the real one refuses."""

    name = "pager"

    def refusal(self, request: Request) -> Answer | None:
        """Refuse a page without a token, and one that is too long."""
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return Answer(401, refused="no token")
        if len(request.json["text"]) > LONGEST:
            return Answer(422, refused="the text is too long")
        return None


class TestPager(ChannelConformance):
    """All checks, by naming the channel, its provider and the smallest section that works."""

    channel = PagerChannel
    provider = PagerService

    def section(self, stage: Stage) -> dict[str, Any]:
        """Return the section; `stage.secret` makes a token that must never be seen anywhere."""
        return {"url": stage.url, "token": stage.secret("token")}
