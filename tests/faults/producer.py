"""Senders that never rest: each keeps its own order keys in order, and repeats what was not accepted."""

import itertools
import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit


class Sender:
    """One connection to a service that may be gone, and be back under another address."""

    def __init__(self, where: Callable[[], str], timeout: float = 15.0) -> None:
        self._where, self._timeout = where, timeout
        self._connection: HTTPConnection | None = None
        self._address = ""

    def post(self, body: Any) -> tuple[int, str]:
        """Post an event or a list of them; status 0: no answer came."""
        try:
            connection = self._connected()
            connection.request("POST", "/v1/events", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, HTTPException):
            self.close()
            return 0, ""

    def _connected(self) -> HTTPConnection:
        address = urlsplit(self._where()).netloc
        if self._connection is None or address != self._address:
            self.close()
            if not address:
                raise ConnectionError("nobody listens yet")
            self._connection, self._address = HTTPConnection(address, timeout=self._timeout), address
        return self._connection

    def close(self) -> None:
        """Close the connection; the next post opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Producer:
    """A sender on a thread of its own, from its start to `stop`: each request has an event of every key.

    Args:
        name: what its order keys begin with.
        where: returns the URL of the service, however often that changes.
        keys: how many order keys it has.
        pause: seconds between requests.

    Attributes:
        acked: the events that were answered with 202.
    """

    def __init__(self, name: str, where: Callable[[], str], *, keys: int = 8, pause: float = 0.02) -> None:
        self.acked: list[str] = []
        self._keys = [f"{name}-{number}" for number in range(keys)]
        self._pause = pause
        self._sender = Sender(where)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def _run(self) -> None:
        for serial in itertools.count():
            batch = [event(key, serial) for key in self._keys]
            while (status := self._sender.post(batch)[0]) != 202 and not self._over.wait(self._pause):
                pass
            if status == 202:
                self.acked += [each["event_id"] for each in batch]
            if self._over.wait(self._pause):
                break
        self._sender.close()

    def stop(self) -> None:
        """Stop, with what is under way answered or not."""
        self._over.set()
        self._thread.join(30)


def event(key: str, serial: int) -> dict[str, Any]:
    """Return an event of a job, with its number in it."""
    return {
        "event_type": "job_failed",
        "source": "faults",
        "title": f"step {serial} of {key}",
        "event_id": f"{key}.{serial}",
        "metadata": {"job_id": key, "serial": serial},
    }
