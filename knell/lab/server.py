"""The HTTP side of a stand-in: reads requests whole, plays the script, answers, and watches manners."""

import math
from abc import abstractmethod
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from aiohttp import web

from knell.lab import wire
from knell.lab.faults import Drop, Fault, Hold, Redirect, Reset, Respond
from knell.lab.limits import Pauses
from knell.lab.record import Answer, Request
from knell.lab.standin import LOOPBACK, Setting, StandIn, settled

SHUTDOWN_SECONDS = 0.05
"""How long a request that is held at a gate may delay the end of the lab."""

_FOLLOWED = "redirected"


def as_json(status: int, body: object, refused: str = "", headers: dict[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    head = {"Content-Type": "application/json", **(headers or {})}
    return Answer(status, msgspec.json.encode(body), head, refused)


class HttpStandIn(StandIn):
    """A provider with an HTTP API; a subclass says what it answers."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._pauses = Pauses(setting.clock)
        self._server: web.Server | None = None

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Do with a request what the provider does, on the lab's thread."""

    @property
    def base_url(self) -> str:
        """The root of its addresses, without a slash at the end."""
        scheme = "https" if self.setting.certificates else "http"
        return f"{scheme}://{LOOPBACK}:{self._listening()}"

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        # The server's own access log would repeat ours.
        self._server = web.Server(self._serve, access_log=None)
        self.port = await self._listen(self._server, self.setting.certificates)

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._close_ports()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(SHUTDOWN_SECONDS)
            await settled()

    def lane(self, request: Request) -> str:
        """Return what a "slow down" to this request is about: here its path."""
        return request.path

    def pause(self, request: Request, answer: Answer) -> tuple[str, float]:
        """Return the lane an answer closes, and for how many seconds; infinity means for good."""
        if self.gone(answer):
            return self.lane(request), math.inf
        slow = answer.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
        return self.lane(request), self._hint(answer) if slow else 0.0

    def gone(self, answer: Answer) -> bool:
        """Whether this answer means that the address must never be used again."""
        return answer.status == HTTPStatus.GONE

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        fault = self._script.take(http.path)
        request = self._read_head(http)
        if isinstance(fault, Reset | Drop) and not fault.stored:
            self.log(request)
            return wire.cut(http, reset=isinstance(fault, Reset))
        request = replace(request, body=await http.content.read())
        if isinstance(fault, Hold) and not fault.stored:
            await fault.gate.passed()
        self._watch(request)
        answer = self._answered(request, fault)
        self._note_pause(request, answer)
        self.log(replace(request, answer=None if isinstance(fault, Reset | Drop) else answer))
        if isinstance(fault, Hold) and fault.stored:
            await fault.gate.passed()
        return await wire.send(http, answer, fault)

    def _read_head(self, http: web.BaseRequest) -> Request:
        return Request(
            provider=self.name,
            at=self.setting.clock(),
            method=http.method,
            path=http.path,
            query=dict(http.query),
            headers=http.headers,
        )

    def _watch(self, request: Request) -> None:
        where = f"{request.method} {request.path}"
        if _FOLLOWED in request.query:
            self.violate(f"{where}: a redirect was followed")
        for lane in {"", self.lane(request)}:
            if wrong := self._pauses.broken_by(lane, request.body):
                self.violate(f"{where}: {wrong}")

    def _answered(self, request: Request, fault: Fault | None) -> Answer:
        if isinstance(fault, Respond):
            if fault.stored:
                self.answer(request)
            return scripted(fault)
        if isinstance(fault, Redirect):
            return self._redirect(request, fault)
        return self.answer(request)

    def _redirect(self, request: Request, fault: Redirect) -> Answer:
        parts = urlsplit(fault.to or f"{self.base_url}{request.path}?{urlencode(request.query)}")
        query = urlencode([*parse_qsl(parts.query), (_FOLLOWED, "1")])
        target = urlunsplit(parts._replace(query=query))
        return Answer(fault.status, b"", {"Location": target}, refused=f"redirected to {target}")

    def _note_pause(self, request: Request, answer: Answer) -> None:
        lane, seconds = self.pause(request, answer)
        if seconds:
            self._pauses.begin(lane, request.body, seconds)

    def _hint(self, answer: Answer) -> float:
        hint = next((text for name, text in answer.headers.items() if name.lower() == "retry-after"), "0")
        try:
            return float(hint)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(hint).timestamp() - self.setting.wall())
        except ValueError:  # a scripted one that is neither seconds nor a date
            return 0.0


def scripted(fault: Respond) -> Answer:
    """Return the answer a fault spells out."""
    kind = "text/plain" if isinstance(fault.body, str | bytes) else "application/json"
    head = {"Content-Type": kind, **fault.headers}
    refused = "" if fault.stored else f"scripted status {fault.status}"
    return Answer(fault.status, fault.content, head, refused)
