"""What makes a posted message nicer: edits and reactions. They may come late or never, and fail nothing."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from knell.messages import Rejected, Retry, Unknown

from .slack_api import Reply, SlackApi, Tiers

Json = dict[str, Any]
Call = tuple[str, Json]
"""A method and its arguments."""

LEAST_SECONDS = 0.5
"""Time below which a call is not begun (ours)."""

REST_SECONDS = 30.0
"""How long a method is left alone that does not work just now: each try delays a message (ours)."""

MAX_OWED = 200
"""Calls that wait for a better time; beyond it the oldest are forgotten (ours)."""

FINE = {"already_reacted"}
"""Error words that mean that all is as it should be."""

LOST = {"cant_update_message", "edit_window_closed", "message_not_found"}
"""Error words that mean that a message cannot be edited any more (docs.slack.dev, "chat.update")."""

_ADD, _REMOVE, _UPDATE = "reactions.add", "reactions.remove", "chat.update"


class Touches:
    """Edits and reactions within Slack's limits.

    What meets a limit or a failure that may pass is owed: it is made up for after a later message, in its
    newest form only.

    Args:
        api: the Web API.
        tiers: how often it may be called.
    """

    def __init__(self, api: SlackApi, tiers: Tiers) -> None:
        self._api = api
        self._tiers = tiers
        self._owed: OrderedDict[tuple[str, ...], Call] = OrderedDict()

    async def edit(self, channel: str, ts: str, view: Json, seconds: float) -> tuple[str, bool]:
        """Change a message; return what went wrong, and whether it can never be changed."""
        reply = await self._make((channel, ts), (_UPDATE, {"channel": channel, "ts": ts, **view}), seconds)
        if isinstance(reply, str):
            return f"not edited: {reply}" if reply else "", False
        problem = _problem(reply)
        return (f"not edited: {problem}" if problem else ""), reply.word in LOST

    async def react(
        self, channel: str, ts: str, names: tuple[str, str], left: Callable[[], float]
    ) -> list[str]:
        """Put one reaction in the place of another; return what went wrong.

        Args:
            channel: the channel's id.
            ts: the message.
            names: the reaction that goes, and the one that comes; either may be empty.
            left: returns the seconds that are left.
        """
        old, new = names
        problems: list[str] = []
        for method, name in ((_ADD, new), (_REMOVE, old)):
            if name:
                given = {"channel": channel, "timestamp": ts, "name": name}
                reply = await self._make((channel, ts, name), (method, given), left())
                problem = reply if isinstance(reply, str) else _problem(reply)
                problems += [f"no reaction {name}: {problem}"] if problem and method == _ADD else []
        return problems

    async def make_up(self, left: Callable[[], float]) -> None:
        """Do what is owed, as far as limits and time allow."""
        for place, call in list(self._owed.items()):
            if left() < LEAST_SECONDS:
                return
            # Another message's turn may have done it, or something newer, while this one waited.
            if self._owed.get(place) is call:
                await self._make(place, call, left())

    async def _make(self, place: tuple[str, ...], call: Call, seconds: float) -> Reply | str:
        """Make a call, or keep it for later and return why."""
        self._owed.pop(place, None)
        method, given = call
        why = "no time was left" if seconds < LEAST_SECONDS else self._tiers.take(method)
        if why and not self._tiers.is_barred(method):
            self._owe(place, call)
        if why:
            return why
        reply = await self._api.call(method, given, seconds)
        self._tiers.learn(method, reply.outcome)
        if isinstance(reply.outcome, Retry | Unknown):
            self._tiers.rest(method, REST_SECONDS, reply.outcome.detail)
            self._owe(place, call)
        return reply

    def _owe(self, place: tuple[str, ...], call: Call) -> None:
        self._owed[place] = call
        while len(self._owed) > MAX_OWED:
            self._owed.popitem(last=False)


def _problem(reply: Reply) -> str:
    """Return what went wrong, nothing where all is as it should be."""
    if reply.ok or reply.word in FINE or not isinstance(reply.outcome, Retry | Rejected | Unknown):
        return ""
    return reply.outcome.detail
