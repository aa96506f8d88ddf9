"""`/v1/deliveries`: the history of deliveries, and what an operator does about dead ones."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from knell.errors import DeliveryError, StoreError, SystemStopped
from knell.http.body import parse, read_body
from knell.http.problems import Problem, unavailable
from knell.http.selecting import listing_in, order_in
from knell.http.service import Phase, Service
from knell.messages import DeliveryState
from knell.store import parsing
from knell.store.records import DeliveryDetail, Selection

PATH = "/v1/deliveries"

REPLAYABLE = (DeliveryState.DEAD, DeliveryState.DONE)
"""What was delivered can be sent again too, but only when the request says so."""

CANCELLABLE = (DeliveryState.DEAD, DeliveryState.PENDING)

BY = "http"

T = TypeVar("T")

_ID = "{id:.+}"
_NOT_NOW = {
    DeliveryState.DEAD: "it is dead",
    DeliveryState.PENDING: "it is waiting to be sent",
    DeliveryState.SENDING: "it is being sent at this moment",
    DeliveryState.DONE: "it was delivered",
    DeliveryState.CANCELLED: "it was cancelled",
    DeliveryState.EXPIRED: "it expired",
}


class Deliveries:
    """The handlers of deliveries."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. No id of a delivery ends in `/replay`: after its last colon is a channel."""
        return [
            web.get(PATH, self.page),
            web.post(f"{PATH}/replay", self.replay_selected),
            web.post(f"{PATH}/cancel", self.cancel_selected),
            web.get(f"{PATH}/{_ID}", self.show),
            web.post(f"{PATH}/{_ID}/replay", self.replay),
            web.delete(f"{PATH}/{_ID}", self.cancel),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """List deliveries, youngest first; `next` is the cursor of the page that follows."""
        wanted = listing_in(request.query)
        manager, limit = self._service.manager, wanted.limit
        found = await _answer(manager.deliveries, wanted.selection, wanted.cursor, limit + 1)
        content: dict[str, Any] = {
            "deliveries": found[:limit],
            "next": found[limit - 1].cursor if len(found) > limit else None,
        }
        if wanted.count:
            content["total"] = await _answer(manager.count, wanted.selection)
        return _json(content)

    async def show(self, request: web.Request) -> web.Response:
        """Show one delivery, its event and every attempt."""
        return _json(await self._found(request))

    async def replay(self, request: web.Request) -> web.Response:
        """Try one dead letter again."""
        self._check_serving()
        id_ = await self._in_state(request, (DeliveryState.DEAD,))
        wanted = Selection(ids=(id_,), state=DeliveryState.DEAD)
        return _one("replayed", id_, await _answer(self._service.manager.replay, wanted, BY))

    async def cancel(self, request: web.Request) -> web.Response:
        """Give one delivery up for good."""
        self._check_serving()
        id_ = await self._in_state(request, CANCELLABLE)
        done = 0
        for state in CANCELLABLE:
            wanted = Selection(ids=(id_,), state=state)
            done = done or await _answer(self._service.manager.cancel, wanted, BY)
        return _one("cancelled", id_, done)

    async def replay_selected(self, request: web.Request) -> web.Response:
        """Try again what the body selects."""
        self._check_serving()
        order = order_in(parse(await read_body(request)), REPLAYABLE)
        done = await _answer(self._service.manager.replay, order.selection, _by(order.by))
        return _json({"replayed": done})

    async def cancel_selected(self, request: web.Request) -> web.Response:
        """Give up what the body selects."""
        self._check_serving()
        order = order_in(parse(await read_body(request)), CANCELLABLE)
        done = await _answer(self._service.manager.cancel, order.selection, _by(order.by))
        return _json({"cancelled": done})

    def _check_serving(self) -> None:
        if self._service.phase is not Phase.SERVING:
            raise unavailable(f"the service is {self._service.phase}")

    async def _found(self, request: web.Request) -> DeliveryDetail:
        id_ = request.match_info["id"]
        if not parsing.is_id(id_):
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such delivery")
        return await _answer(self._service.manager.delivery, id_)

    async def _in_state(self, request: web.Request, states: tuple[DeliveryState, ...]) -> str:
        """Return the id of a delivery, if it is in one of some states; else a 409."""
        found = (await self._found(request)).delivery
        if found.state not in states:
            detail = f"delivery {found.id}: {_NOT_NOW[found.state]}; expected {' or '.join(states)}"
            raise Problem(HTTPStatus.CONFLICT, detail, id=found.id, state=found.state)
        return found.id


async def _answer(call: Callable[..., T], *args: object) -> T:
    """Call the manager off the I/O thread, which all channels share."""
    try:
        return await asyncio.to_thread(call, *args)
    except DeliveryError as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from None
    except (StoreError, SystemStopped) as error:
        raise unavailable(str(error)) from None


def _by(name: str) -> str:
    return f"{BY}: {name}" if name else BY


def _one(what: str, id_: str, count: int) -> web.Response:
    if not count:
        raise Problem(HTTPStatus.CONFLICT, f"delivery {id_}: its state has just changed", id=id_)
    return _json({"id": id_, what: count})


def _json(content: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), content_type="application/json", charset=None)
