"""`POST /v1/events` and `GET /v1/events/{id}`: a 202 is a promise, given after the outbox has committed."""

import asyncio
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from knell.actors.receipt import Receipt
from knell.errors import DeliveryError, StoreError, SystemStopped
from knell.events import Sealed
from knell.http.body import parse, read_body
from knell.http.intake import events_in
from knell.http.problems import Problem, unavailable
from knell.http.service import Phase, Service

COMMIT_SECONDS = 10.0
"""How long a client waits for the commit; a disk that takes longer is as good as none."""

ELSEWHERE = 64 * 1024
"""Bytes of a body that is read off the I/O thread, which all channels share: a millisecond and more."""

PATH = "/v1/events"

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_WHY = {
    "mailbox_full": "too many events are waiting",
    "disk_full": "the disk of the store is full",
    "store": "the store cannot be written",
    "stopped": "the service is stopping",
}


class Events:
    """The handlers of events."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post(PATH, self.accept), web.get(f"{PATH}/{{id:.+}}", self.status)]

    async def accept(self, request: web.Request) -> web.Response:
        """Take in one event or a list of them."""
        if self._service.phase is not Phase.SERVING:
            raise unavailable(f"the service is {self._service.phase}")
        key = _key(request)
        body = await read_body(request)
        several, events = (
            await asyncio.to_thread(_read, body, key) if len(body) > ELSEWHERE else _read(body, key)
        )
        receipts = await self._submit(events, key)
        _check(receipts, several=several)
        if several:
            return _json(HTTPStatus.ACCEPTED, {"events": [_accepted(receipt) for receipt in receipts]})
        where = {"Location": f"{PATH}/{quote(receipts[0].id)}"}
        return _json(HTTPStatus.ACCEPTED, _accepted(receipts[0]), where)

    async def status(self, request: web.Request) -> web.Response:
        """Say where an event stands."""
        try:
            found = await asyncio.to_thread(
                self._service.manager.get_delivery_status, request.match_info["id"]
            )
        except DeliveryError as error:
            raise Problem(HTTPStatus.NOT_FOUND, str(error)) from None
        except StoreError as error:
            raise unavailable(str(error)) from None
        return _json(HTTPStatus.OK, found)

    async def _submit(self, events: list[Sealed], key: str) -> list[Receipt]:
        """Hand events over, and wait until what becomes of them is decided, or for as long as clients do."""
        manager = self._service.manager
        # No event id has a space in it: a key never means the event of that id.
        name = f"Idempotency-Key {key}" if key else ""
        try:
            receipts = [manager.submit(sealed, key=name) for sealed in events]
        except SystemStopped as error:
            raise unavailable(str(error)) from None
        clock = asyncio.get_running_loop().time
        until = clock() + COMMIT_SECONDS
        for receipt in receipts:
            await receipt.wait(max(0.0, until - clock()))
        return receipts


def _key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is not None and _KEY.fullmatch(key) is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "Idempotency-Key: expected 1 to 255 visible ASCII characters")
    return key or ""


def _read(body: bytes, key: str) -> tuple[bool, list[Sealed]]:
    """Return whether a body holds a list, and its events."""
    found = parse(body)
    several = isinstance(found, list)
    if several and key:
        raise Problem(HTTPStatus.BAD_REQUEST, "Idempotency-Key is for one event; give each an event_id")
    return several, events_in(found, key)


def _check(receipts: list[Receipt], *, several: bool) -> None:
    """Refuse a request of which something was not accepted; what else was in it is accepted all the same.

    Raises:
        Problem: 503 where something may work later, else 409.
    """
    refused = [receipt for receipt in receipts if not receipt.accepted(0)]
    if not refused:
        return
    later = [receipt for receipt in refused if receipt.refused != "conflict"]
    more: dict[str, Any] = {"events": list(map(_outcome, receipts))} if several else {"id": receipts[0].id}
    if later:
        reason = later[0].refused
        why = "the commit takes too long" if reason is None else _WHY.get(reason, reason)
        again = "the same events again, each with its event_id" if several else "it again with this id"
        raise unavailable(f"not known to be accepted: {why}; send {again}", **more)
    ids = ", ".join(receipt.id for receipt in refused)
    raise Problem(
        HTTPStatus.CONFLICT, f"another event was accepted under the same id or key before: {ids}", **more
    )


def _accepted(receipt: Receipt) -> dict[str, Any]:
    return {"id": receipt.id, "duplicate": receipt.duplicate}


def _outcome(receipt: Receipt) -> dict[str, Any]:
    if receipt.accepted(0):
        return {**_accepted(receipt), "accepted": True}
    return {"id": receipt.id, "accepted": False, "reason": receipt.refused or "timeout"}


def _json(status: HTTPStatus, content: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(content),
        headers=headers,
        content_type="application/json",
        charset=None,
    )
