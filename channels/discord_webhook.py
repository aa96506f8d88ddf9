"""One webhook of Discord's: its requests, each through the gate and each answer told to the gate."""

import time
from collections.abc import Callable

from yarl import URL

from knell.messages import Outcome, Reason, Retry

from .answer import Answer
from .discord_answers import limits_of, turned_away
from .discord_draft import Draft
from .discord_gate import Gate, Limits, Route
from .http import Http

_NOTHING = Limits()
_COMPONENTS = {"with_components": "true"}


class Webhook:
    """Posts, edits and looks by one webhook; `by` is the time at which a request must have its answer.

    Args:
        url: its address; a query in it goes with every request.
        gate: shared with all other webhooks.
        clock: monotonic seconds.
    """

    def __init__(self, url: URL, http: Http, gate: Gate, clock: Callable[[], float]) -> None:
        self._query = dict(url.query)
        self._url = url.with_query(None)
        self._http = http
        self._gate = gate
        self._clock = clock

    async def post(self, draft: Draft, more: dict[str, object], thread: str, by: float) -> Answer | Outcome:
        """Post a message, into a thread if one is named."""
        # Without wait Discord answers 204 before it has looked at the message, and may drop it silently.
        query = {**(_COMPONENTS if draft.has_components else {}), **_thread(thread), "wait": "true"}
        return await self._call("POST", self._url, query, by, await draft.posted(more))

    async def edit(self, draft: Draft, message: str, thread: str, by: float) -> Answer | Outcome:
        """Show something else in a message that is there."""
        # Always: or the buttons of the state before would stay.
        query = {**_COMPONENTS, **_thread(thread)}
        url = self._url / "messages" / message
        return await self._call("PATCH", url, query, by, await draft.edited())

    async def look(self, by: float) -> Answer | Outcome:
        """Ask what the webhook is."""
        return await self._call("GET", self._url, {}, by)

    @property
    def rest(self) -> float:
        """Seconds in which Discord wants no message more."""
        now = self._clock()
        return max(self._gate.wait(self.route(method), now) for method in ("POST", "PATCH"))

    async def _call(
        self, method: str, url: URL, query: dict[str, str], by: float, body: tuple[bytes, str] | None = None
    ) -> Answer | Outcome:
        route, limits = self.route(method), _NOTHING
        if (left := by - self._clock()) <= 0:
            return Retry(Reason.TIMEOUT, None, "the requests before it took all the time there is")
        if closed := self._gate.enter(route, self._clock()):
            return turned_away(closed)
        content, kind = body or (None, "")
        try:
            answer = await self._http.request(
                method,
                url.with_query({**self._query, **query}),
                body=content,
                headers={"Content-Type": kind} if kind else {},
                timeout=left,
            )
            if isinstance(answer, Answer):
                limits = limits_of(answer, time.time())
            return answer
        finally:
            self._gate.leave(route, limits, self._clock())

    def route(self, method: str) -> Route:
        """Return what the gate knows its requests of a method by."""
        return Route(str(self._url), method)


def _thread(thread: str) -> dict[str, str]:
    return {"thread_id": thread} if thread else {}
