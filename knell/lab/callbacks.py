"""Posting a provider's callbacks to whoever asked for them, on this machine only."""

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlencode, urlsplit

TIMEOUT_SECONDS = 10.0


def post_callbacks(url: str, forms: list[tuple[dict[str, str], str]]) -> list[int]:
    """Post forms with their signatures one after another; return the statuses, 0 where none came.

    Raises:
        ValueError: there is no address, or it is not on this machine: nothing leaves it.
    """
    parts = urlsplit(url)
    if not _is_loopback(parts.hostname or ""):
        raise ValueError(f"no callback address on this machine: {url!r}")
    return [_post(parts, form, signature) for form, signature in forms]


def _post(parts: SplitResult, form: dict[str, str], signature: str) -> int:
    head = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    connection = _connection(parts)
    try:
        connection.request("POST", target, urlencode(form), head)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def _connection(parts: SplitResult) -> HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme != "https":
        return HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
    # The receiver is on this machine, and its certificate is a test's: there is nothing to verify it by.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, parts.port, timeout=TIMEOUT_SECONDS, context=context)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
