"""Whether a bot token can post where it should, asked without posting anything."""

import re
from typing import Any, cast

from knell.messages import Delivered, HealthStatus

from ..templates.text import cut, one_line
from .slack_api import Reply, SlackApi
from .slack_config import SlackConfig

_ID = re.compile(r"[CG][A-Z0-9]{7,}")
_READING = {"channels:read", "groups:read"}
_LONGEST_NAME = 80


async def health(config: SlackConfig, api: SlackApi) -> HealthStatus:
    """Ask who the token belongs to, what it may do, and whether it may do it in the channel."""
    reply = await api.call("auth.test", {}, config.timeout_seconds)
    if not isinstance(reply.outcome, Delivered):
        return HealthStatus(healthy=False, detail=reply.outcome.detail)
    said = [f"{_name(reply, 'user')} in the workspace {_name(reply, 'team')}"]
    missing = {
        scope: purpose
        for scope, purpose in config.scopes().items()
        if reply.scopes and scope not in reply.scopes
    }
    said += [f"the app lacks the scope {scope}, for {purpose}" for scope, purpose in missing.items()]
    problem = await _problem_of_channel(config, api, reply.scopes)
    if problem is None:
        said.append(f"whether it may post in {config.channel} only sending can tell")
    elif problem:
        said.append(problem)
    return HealthStatus(healthy="chat:write" not in missing and not problem, detail="; ".join(said))


async def _problem_of_channel(config: SlackConfig, api: SlackApi, scopes: frozenset[str]) -> str | None:
    """Return what keeps the app from posting; None when it cannot be asked: by name, or without a scope."""
    if not (_ID.fullmatch(config.channel) and scopes & _READING):
        return None
    reply = await api.call("conversations.info", {"channel": config.channel}, config.timeout_seconds)
    if reply.word == "channel_not_found":
        return f"{config.channel}: there is no such channel, or it is private and the app is not in it"
    found = reply.data.get("channel")
    if not (isinstance(reply.outcome, Delivered) and isinstance(found, dict)):
        return None
    place = cast("dict[str, Any]", found)
    if place.get("is_archived") is True:
        return f"{config.channel} is archived"
    if place.get("is_member") is False and "chat:write.public" not in scopes:
        return f"invite the app to {config.channel}"
    return ""


def _name(reply: Reply, key: str) -> str:
    return cut(one_line(reply.text(key)), _LONGEST_NAME) or "somebody"
