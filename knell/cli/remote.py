"""A running service, over HTTP. With the standard library: a script that sends must not wait for imports."""

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from knell.actors.nodes import Survey
from knell.errors import KnellError
from knell.events import Sealed
from knell.messages import DeliveryStatus
from knell.store.records import DeliveryDetail, DeliveryRecord, Selection

T = TypeVar("T")

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read."""

_DELIVERIES = "/v1/deliveries"


class Accepted(msgspec.Struct, frozen=True):
    """What the service says of an event it has accepted."""

    id: str
    duplicate: bool


class Page(msgspec.Struct, frozen=True):
    """A page of deliveries. `next` leads to the one that follows; `total` only where it was asked for."""

    deliveries: list[DeliveryRecord]
    next: str | None = None
    total: int = 0


class Changed(msgspec.Struct, frozen=True):
    """How many deliveries an order concerned."""

    replayed: int = 0
    cancelled: int = 0


class Remote:
    """The service at a URL.

    Args:
        url: its root, as `knell run` prints it.
        token: one of its `http.tokens`.
        timeout: seconds one request may take.

    Raises:
        KnellError: the URL is none.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        parts = urlsplit(url)
        try:
            self._port = parts.port
        except ValueError as error:
            raise KnellError(f"{url}: {error}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise KnellError(f"{url}: expected the URL of a service, such as http://127.0.0.1:8321")
        if parts.username is not None:
            raise KnellError("no user name and password in the URL; use --token")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._base = parts.hostname, parts.path.rstrip("/")
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout = timeout

    def send(self, sealed: Sealed) -> Accepted:
        """Hand over an event.

        Raises:
            KnellError: it was not accepted, or that is not known; the message says why.
        """
        body = self._request(
            "POST", "/v1/events", sealed.body, f"; repeat it with --event-id {sealed.event.event_id}"
        )
        return self._decoded(body, Accepted)

    def status(self, event_id: str) -> DeliveryStatus:
        """Return where an event stands.

        Raises:
            KnellError: the service does not say; the message says why.
        """
        return self._decoded(self._request("GET", f"/v1/events/{quote(event_id)}"), DeliveryStatus)

    def tree(self) -> Survey:
        """Return the supervision tree.

        Raises:
            KnellError: the service does not show it; the message says why.
        """
        return self._decoded(self._request("GET", "/v1/tree"), Survey)

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> Page:
        """Return a page of the deliveries that the filters select, and how many there are in all.

        Raises:
            KnellError: the service does not show them; the message says why.
        """
        query = {**_filters(selection), "limit": limit, "count": "true"} | (
            {"cursor": cursor} if cursor else {}
        )
        return self._decoded(self._request("GET", f"{_DELIVERIES}?{urlencode(query)}"), Page)

    def delivery(self, id_: str) -> DeliveryDetail:
        """Return one delivery with its history.

        Raises:
            KnellError: there is none, or the service does not show it; the message says why.
        """
        return self._decoded(self._request("GET", f"{_DELIVERIES}/{quote(id_, safe='')}"), DeliveryDetail)

    def replay(self, selection: Selection, by: str) -> int:
        """Have deliveries tried again; return how many.

        Raises:
            KnellError: they are not, or that is not known; the message says why.
        """
        return self._change("replay", selection, by).replayed

    def cancel(self, selection: Selection, by: str) -> int:
        """Have deliveries given up for good; return how many.

        Raises:
            KnellError: they are not, or that is not known; the message says why.
        """
        return self._change("cancel", selection, by).cancelled

    def _change(self, what: str, selection: Selection, by: str) -> Changed:
        filters = _filters(selection)
        ids = {"ids": selection.ids} if selection.ids else {}
        everything = {} if ids or filters.keys() - {"state"} else {"all": True}
        body = msgspec.json.encode({**filters, **ids, **everything, "by": by})
        return self._decoded(self._request("POST", f"{_DELIVERIES}/{what}", body), Changed)

    def _request(self, method: str, path: str, body: bytes | None = None, again: str = "") -> bytes:
        try:
            connection = self._kind(self._host, self._port, timeout=self._timeout)
            connection.connect()
        except (OSError, ValueError, InvalidURL) as error:
            raise KnellError(self._unreachable(error)) from None
        try:
            head = self._headers | ({"Content-Type": "application/json"} if body else {})
            connection.request(method, self._base + path, body, head)
            with connection.getresponse() as response:
                return self._checked(response, response.read(MAX_ANSWER))
        except ValueError as error:  # a token that is no header value
            raise KnellError(f"the request cannot be written: {error}") from None
        except (OSError, HTTPException) as error:
            why = str(error) or type(error).__name__
            raise KnellError(f"no answer from {self._url} ({why}){again}") from None
        finally:
            connection.close()

    def _unreachable(self, error: Exception) -> str:
        match error:
            case ConnectionRefusedError():
                return f"nothing listens at {self._url}; is 'knell run' running there?"
            case socket.gaierror() | UnicodeError() | InvalidURL():
                return f"there is no host {self._host!r}"
            case TimeoutError():
                return f"{self._url} does not answer"
            case ssl.SSLCertVerificationError():
                return f"{self._url}: its certificate is not trusted: {error.verify_message}"
            case ssl.SSLError():
                return f"{self._url} does not speak TLS; is it http:// instead?"
            case _:
                return f"cannot connect to {self._url}: {error}"

    def _checked(self, response: HTTPResponse, body: bytes) -> bytes:
        """Return the body of a success.

        Raises:
            KnellError: with everything the problem says.
        """
        if response.status < 300:  # noqa: PLR2004 - the 2xx
            return body
        try:
            problem = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            problem = {}
        if "detail" not in problem:
            raise KnellError(f"{self._url} answered {response.status} {response.reason}; is this knell?")
        errors = [f"  {e.get('field')}: {e.get('message')}" for e in problem.get("errors", ())]
        head = f"{self._url} answered {response.status}: {problem['detail']}"
        raise KnellError("\n".join([head, *errors]))

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError:
            raise KnellError(f"{self._url} answered something else than knell does") from None


def _filters(selection: Selection) -> dict[str, Any]:
    """Return what a selection asks for, but for its ids, as the service reads it."""
    given: dict[str, Any] = msgspec.to_builtins(selection)
    return {name: value for name, value in given.items() if value and name != "ids"}
