"""Names to addresses, on threads of their own; those of HTTP past the guard.

`getaddrinfo` knows what the machine knows (hosts file, search domains, mDNS), but cannot be cancelled: with a
dead name server it hangs for half a minute. In the loop's default executor that would hold up everything
else, in any executor the end of the program. So each look-up has a daemon thread, one per name at a time.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from .guard import AddressInfo, Guard

LOOKUP_SECONDS = 4.0
"""Deadline of a look-up, within the 5 s for a whole connection; a name server that is up takes far less."""

_Name = tuple[str, int, int]
"""Host, port and address family."""


class Names:
    """Looks names up: a name that hangs holds one thread, however often it is asked for."""

    def __init__(self) -> None:
        self._running: dict[_Name, asyncio.Future[list[AddressInfo]]] = {}

    async def addresses(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[AddressInfo]:
        """Return the addresses of a name, unguarded.

        Raises:
            socket.gaierror: it has none, or the name servers do not answer in time.
        """
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await asyncio.shield(self._lookup((host, port, family)))
        except TimeoutError:
            text = f"no answer in {LOOKUP_SECONDS:g} s"
            raise socket.gaierror(socket.EAI_AGAIN, text) from None

    def forget(self) -> None:
        """Forget the look-ups that still run; they end by themselves, and nobody waits for them."""
        self._running.clear()

    def _lookup(self, name: _Name) -> "asyncio.Future[list[AddressInfo]]":
        """Begin a look-up, or join the one that runs."""
        if running := self._running.get(name):
            return running
        future: asyncio.Future[list[AddressInfo]] = asyncio.get_running_loop().create_future()
        self._running[name] = future
        future.add_done_callback(lambda _: self._running.pop(name, None))
        threading.Thread(target=_look_up, args=(name, future), name="knell-dns", daemon=True).start()
        return future


class GuardedResolver(AbstractResolver):
    """Looks names up, and refuses a name of which one address is denied.

    A name with a public and a private address is an attempt at rebinding, not a mistake.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._names = Names()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            AddressDenied: one of them is denied.
            socket.gaierror: it has none, or the name servers do not answer in time.
        """
        found = await self._names.addresses(host, port, family)
        for *_, address in found:
            self._guard.check(str(address[0]), port)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Forget the look-ups that still run."""
        self._names.forget()


def _look_up(name: _Name, future: "asyncio.Future[list[AddressInfo]]") -> None:
    host, port, family = name
    result: Any
    try:
        result = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError) as error:
        result = error
    with suppress(RuntimeError):  # the loop was closed meanwhile
        future.get_loop().call_soon_threadsafe(_settle, future, result)


def _settle(future: "asyncio.Future[list[AddressInfo]]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # whoever asked may have stopped waiting
    else:
        future.set_result(result)
