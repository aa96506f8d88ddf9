"""Who may ask: bearer tokens where the configuration has some, else nobody but this machine."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import SecretStr

from knell.errors import ConfigError
from knell.http.problems import Handler, Problem
from knell.http.service import Service

OPEN = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths anybody may ask for: they hold no event and change nothing."""

SIGNED = frozenset({"/ingest/twilio"})
"""Paths of callers who cannot send a token; their handlers check a signature instead."""


def guard(service: Service) -> Middleware:
    """Return a middleware that lets through who may ask."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in OPEN | SIGNED:
            tokens = service.manager.config.http.tokens
            # A reload may have taken the tokens away from a server that others can reach.
            if tokens or not service.loopback:
                _check_token(request, tokens)
            else:
                _check_host(request)
        return await handler(request)

    return check


def check_address(host: str, tokens: Sequence[SecretStr]) -> None:
    """Refuse to let others in without a token.

    Raises:
        ConfigError: a token is empty, or there is none and the address is not of loopback.
    """
    if any(not token.get_secret_value().strip() for token in tokens):
        raise ConfigError("http.tokens: a token is empty")
    if not tokens and not is_loopback(host):
        raise ConfigError(
            f"http.listen: {host} can be reached from other machines; set http.tokens, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether a host, as an address or as a name, is this machine and nothing else."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_token(request: web.Request, tokens: Sequence[SecretStr]) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    digest = _digest(given.strip())
    # All of them, whether or not one fits already: the time taken must not tell which.
    fits = [hmac.compare_digest(digest, _digest(token.get_secret_value())) for token in tokens]
    if scheme.lower() != "bearer" or not given.strip() or not any(fits):
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "send a token of http.tokens as 'Authorization: Bearer TOKEN'",
            {"WWW-Authenticate": 'Bearer realm="knell"'},
        )


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _check_host(request: web.Request) -> None:
    """Refuse a web page that has its own name resolved to loopback (DNS rebinding): it sends that name."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if not is_loopback(name):
        raise Problem(
            HTTPStatus.FORBIDDEN, "without http.tokens only localhost is answered; the request names another"
        )
