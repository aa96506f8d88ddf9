"""Which addresses knell may connect to: the guard against requests that are steered into a private network.

The text of an address proves nothing: `0177.0.0.1` and a name of the attacker's both mean 127.0.0.1. So
every address is checked after its resolution, and once more where the socket for it is made, right before
the connection goes to that very address. `ipaddress.is_global` alone would let NAT64 and 6to4 forms of the
cloud's metadata service pass.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from yarl import URL

from ..config.schema import Security

_DENIED_4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "a private network",
    "100.64.0.0/10": "a carrier's network",  # Alibaba's metadata service is 100.100.100.200
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud host service",
    "169.254.0.0/16": "link-local",  # and the metadata service of most clouds
    "172.16.0.0/12": "a private network",
    "192.0.0.0/24": "reserved for protocols",  # Oracle's metadata service is 192.0.0.192
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "an old 6to4 relay",
    "192.168.0.0/16": "a private network",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
"""IANA's special-purpose registry for IPv4, and what clouds add to it. Mapped forms are unwrapped first."""

_DENIED_6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "an IPv4-compatible address",
    "::ffff:0:0:0/96": "an IPv4-translated address",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "100::/64": "for discarding",
    "100:0:0:1::/64": "a dummy prefix",
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "for documentation",
    "2002::/16": "6to4",
    "3fff::/20": "for documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "a private network",  # AWS's metadata service is fd00:ec2::254
    "fe80::/10": "link-local",
    "fec0::/10": "an old private network",
    "ff00::/8": "multicast",
    # Everything else outside 2000::/3 is not given to anybody.
    "::/3": "not a public address",
    "4000::/2": "not a public address",
    "8000::/1": "not a public address",
}
"""IANA's special-purpose registry for IPv6: the first match names the reason."""

DENIED = [(ip_network(network), what) for network, what in (_DENIED_4 | _DENIED_6).items()]
"""Networks and what they are."""

_NAT64 = ip_network("64:ff9b::/96")
_HTTP, _HTTPS = 80, 443
_UNPRIVILEGED = 1024
"""From here on a port may be an operator's own receiver; below live services that are no web servers."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, kind, protocol, canonical name and socket address, as `getaddrinfo` gives them."""


class AddressDenied(OSError):  # noqa: N818 - what happened; nothing is in error
    """A connection was refused by knell itself; an `OSError` so that aiohttp hands it through.

    Only a real socket error has an `errno`: this one has none, and its text names the address and the reason.
    """


class Guard:
    """Decides what may be connected to, by the `security` section of the configuration."""

    def __init__(self, security: Security) -> None:
        self._allowed = tuple(security.allowed_networks)
        self._ports = {_HTTPS} if security.require_tls else {_HTTP, _HTTPS}
        self._schemes = {"https"} if security.require_tls else {"http", "https"}

    def url_problem(self, url: URL) -> str | None:
        """Say what is wrong with a URL as it is written, its secrets left out; None when nothing is."""
        if url.scheme not in self._schemes:
            plain = url.scheme == "http"
            return "only https is allowed (security.require_tls)" if plain else "not an http or https URL"
        if url.raw_user is not None or url.raw_password is not None:
            return "user name and password do not belong into a URL"
        return None if url.raw_host else "no host in the URL"

    def denied(self, address: str, port: int = _HTTPS) -> str | None:
        """Say why an IP address must not be connected to; None when it may."""
        try:
            ip = ip_address(address)
        except ValueError:
            return "not an IP address"
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if any(ip in network for network in self._allowed):
            # The gateway would go on to the IPv4 address inside, which must be allowed by itself.
            return self.denied(str(IPv4Address(int(ip) & 0xFFFFFFFF)), port) if ip in _NAT64 else None
        for network, what in DENIED:
            if ip in network:
                return what
        return None if port in self._ports or port >= _UNPRIVILEGED else f"port {port} is not for web servers"

    def check(self, address: str, port: int) -> None:
        """Let an address pass.

        Raises:
            AddressDenied: knell must not connect to it.
        """
        if why := self.denied(address, port):
            raise AddressDenied(
                f"{address} is refused: {why}; if you mean it, list it in security.allowed_networks"
            )

    def socket(self, info: AddressInfo) -> socket.socket:
        """Make the socket for one connection, to an address that is allowed; aiohttp's `socket_factory`.

        The last gate: literal addresses such as `[::ffff:7f00:1]` never see a resolver.

        Raises:
            AddressDenied: knell must not connect to it.
        """
        family, kind, protocol, _, address = info
        self.check(str(address[0]), int(address[1]))
        return socket.socket(family, kind, protocol)
