"""The connections of all channels."""

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from knell.errors import ChannelError

from ..config.schema import Security
from .guard import Guard
from .resolver import GuardedResolver

_HEADERS = {"User-Agent": "knell", "Accept-Encoding": "identity"}


NAMES_KEPT_SECONDS = 10
"""How long the addresses of a name are used without asking again; each is checked again at each connect."""


class Pool:
    """One session, whose connections go each to an address the guard let through."""

    def __init__(self, security: Security) -> None:
        self.guard = Guard(security)
        self._resolver: GuardedResolver | None = None
        self._session: ClientSession | None = None
        self._closed = False

    def session(self) -> ClientSession:
        """Return the one session, made at the first call.

        Raises:
            ChannelError: it is closed.
        """
        if self._closed:
            raise ChannelError("the HTTP client is closed")
        if self._session is None:
            self._resolver = GuardedResolver(self.guard)
            self._session = ClientSession(
                connector=TCPConnector(
                    resolver=self._resolver,
                    socket_factory=self.guard.socket,
                    limit=0,
                    limit_per_host=0,
                    ttl_dns_cache=NAMES_KEPT_SECONDS,
                ),
                headers=_HEADERS,
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections, for good."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()
