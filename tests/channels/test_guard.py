import asyncio
import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from knell.channels import guard as guard_module
from knell.channels import pool as pool_module
from knell.channels.guard import AddressDenied, AddressInfo, Guard
from knell.channels.http import Answer, Http
from knell.channels.resolver import GuardedResolver
from knell.config.schema import Security
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Unknown

STRICT = Guard(Security())

DENIED = {
    "0.0.0.0": "this network",  # noqa: S104 - an address to be denied
    "0.255.255.255": "this network",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "carrier",
    "100.100.100.200": "carrier",
    "100.127.255.255": "carrier",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocols",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "IPv4-compatible",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:7f00:1": "loopback",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:10.1.2.3": "private",
    "::ffff:0:7f00:1": "IPv4-translated",
    "64:ff9b::a9fe:a9fe": "NAT64",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "100::1": "discarding",
    "100:0:0:1::1": "dummy",
    "1fff::1": "public",
    "2001::1": "protocols",
    "2001:0:53aa:64c::1": "protocols",
    "2001:10::1": "protocols",
    "2001:1ff::1": "protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "3fff::1": "documentation",
    "3fff:fff::1": "documentation",
    "4000::1": "public",
    "5f00::1": "segment routing",
    "7fff::1": "public",
    "8000::1": "public",
    "fbff::1": "public",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "febf::1": "link-local",
    "fec0::1": "old private",
    "ff02::1": "multicast",
    "localhost": "not an IP address",
    "0177.0.0.1": "not an IP address",
    "2130706433": "not an IP address",
}

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.0"),
    *("168.63.129.15", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8"),
    *("2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00::1", "3ffe::1"),
]


@pytest.mark.parametrize(("address", "what"), DENIED.items())
def test_denied(address: str, what: str) -> None:
    """Every address of the table is denied, and the reason names what it is."""
    assert what in str(STRICT.denied(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    """The neighbours of the denied ranges, and ordinary public addresses, are let through."""
    assert STRICT.denied(address) is None


@given(st.ip_addresses(v=4))
def test_mapped_address_counts_as_what_it_maps(address: Any) -> None:
    """An IPv4 address written as IPv6 is judged as the IPv4 address."""
    assert STRICT.denied(f"::ffff:{address}") == STRICT.denied(str(address))


@given(st.ip_addresses())
def test_nothing_private_passes(address: Any) -> None:
    """The list denies at least what the standard library calls not global."""
    if not address.is_global:
        assert STRICT.denied(str(address)) is not None


@pytest.mark.parametrize(
    ("networks", "address", "port", "passes"),
    [
        (["10.0.0.0/8"], "10.1.2.3", 22, True),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", 443, True),
        (["10.0.0.0/8"], "11.1.2.3", 22, False),
        (["10.0.0.0/8"], "192.168.0.1", 443, False),
        (["fd00::/8"], "fd00::1", 25, True),
        (["64:ff9b::/96"], "64:ff9b::a00:1", 443, False),
        (["64:ff9b::/96"], "64:ff9b::808:808", 443, True),
        (["64:ff9b::/96", "10.0.0.0/8"], "64:ff9b::a00:1", 443, True),
        (["8.8.8.8/32"], "8.8.8.8", 53, True),
    ],
)
def test_allowed_networks(networks: list[str], address: str, port: int, *, passes: bool) -> None:
    """A listed network passes with every port; NAT64 only when the address inside passes too."""
    allowing = Guard(Security.model_validate({"allowed_networks": networks}))
    assert (allowing.denied(address, port) is None) is passes


@pytest.mark.parametrize(
    ("require_tls", "port", "passes"),
    [
        *[(True, 443, True), (True, 80, False), (True, 22, False), (True, 1023, False), (True, 1024, True)],
        *[
            (True, 65535, True),
            (False, 443, True),
            (False, 80, True),
            (False, 25, False),
            (False, 8080, True),
        ],
    ],
)
def test_ports(port: int, *, require_tls: bool, passes: bool) -> None:
    """443 and 1024 up, 80 where plain http is allowed: no request is steered to a mail or SSH server."""
    assert (Guard(Security(require_tls=require_tls)).denied("8.8.8.8", port) is None) is passes


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://example.com/a", None),
        ("https://[::1]/", None),
        ("http://example.com/", "only https"),
        ("ftp://example.com/", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("https://user:pass@example.com/", "user name"),
        ("https://@example.com/", None),
        ("/relative", "not an http"),
        ("", "not an http"),
    ],
)
def test_url(url: str, problem: str | None) -> None:
    """What can be seen in the URL itself is refused without a look-up."""
    found = STRICT.url_problem(URL(url))
    assert found is None if problem is None else problem in str(found)


class Sockets:
    """What any socket of this process was asked to connect to; only loopback is really connected to."""

    def __init__(self, listener: socket.socket) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.port = int(listener.getsockname()[1])
        self._listener = listener

    def arrived(self) -> bool:
        """Whether somebody connected."""
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    """Watch every socket, with a listener on all of loopback's IPv4 addresses that would take anything."""
    real = socket.socket
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        watched = Sockets(listener)

        class Watch(real):  # type: ignore[misc, valid-type]  # the class as it is before the patch
            def connect(self, address: Any) -> None:
                watched.asked.append(address)
                if not str(address[0]).startswith("127."):
                    raise ConnectionRefusedError(errno.ECONNREFUSED, "not from a test")
                super().connect(address)

        monkeypatch.setattr(socket, "socket", Watch)
        yield watched


def post(url: str, security: Security, seconds: float = 5) -> Outcome | Answer:
    """Send one POST."""

    async def run() -> Outcome | Answer:
        http = Http(security)
        try:
            return await http.post(url, body=b"{}", timeout=seconds)
        finally:
            await http.close()

    return asyncio.run(run())


# How the address of something that must not be reached may be written, by what it is.

LITERALS = [
    # Loopback and "this network", in the forms of inet_aton(3) and beyond.
    "127.0.0.1",
    "127.127.127.127",
    "0.0.0.0",  # noqa: S104 - an address to be denied
    "0.1.2.3",
    "127\u30020\u30020\u30021",  # ideographic full stops
    "127\uff0e0\uff0e0\uff0e1",  # full-width full stops
    "127\uff610\uff610\uff611",  # half-width full stops
    "\uff11\uff12\uff17.0.0.1",  # full-width digits
    "\u2460\u2461\u2466.0.0.1",  # circled digits
    "%31%32%37.0.0.1",
    "127.0.0.%31",
    # IPv6 for the same.
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::1%25lo]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::ffff:0.0.0.0]",
    "[::7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::80ff:fffe]",  # Teredo
    # Private networks.
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "[::ffff:10.0.0.1]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fec0::1]",
    # Metadata services, and what is near them.
    "169.254.169.254",
    "169.254.170.2",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fe80::a9fe:a9fe]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "100.100.100.200",
    "100.64.0.1",
    "192.0.0.192",
    "168.63.129.16",
    # Everything else that is not for everybody.
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[100:0:0:1::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "[ff02::1]",
    "[ff0e::1]",
]
"""Addresses: no resolver ever sees them, or need not."""

NAMES = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "loc\u00e5lhost",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",  # circled letters
    "%6c%6f%63%61%6c%68%6f%73%74",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0",
    "0.0",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F000001",
    "0177.0.0.1",
    "0177.1",
    "00000177.0.0.1",
    "017700000001",
    "2130706433",
    "2130706433.",
    "127.000.000.001",
    "127.0.0.0x1",
    "10.1",
    "167772161",
    "192.168.1",
    "169.254.43518",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "0251.254.0xa9.254",
    "[::1",
    "[::1]x",
    "::1",
]
"""Names to some resolvers, addresses to others, nothing at all to the rest."""

TRICKS = [
    "example.com@127.0.0.1",
    "127.0.0.1@",
    "user:password@127.0.0.1",
    "example.com%40127.0.0.1",
    "127.0.0.1%2f",
    "127.0.0.1%00.example.com",
    "127.0.0.1\\@example.com",
    "127.0.0.1%23.example.com",
    "127.0.0.1\t",
    "127.0.0.1\n",
    "127.0.0.1 ",
    "\u00ad127.0.0.1",  # a soft hyphen
    "127.0.0.1\u200b",  # a space of no width
]
"""Hosts that one reader takes for one thing and the next for another."""

SPELLINGS = [*LITERALS, *NAMES, *TRICKS]


def loopback_only(host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
    """Resolve as a resolver would that is as generous as any, and asks no network: by inet_aton(3).

    Whatever it cannot read is 127.0.0.1, as a name of an attacker's may be.
    """
    try:
        address = socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        address = "127.0.0.1"
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_reaches_a_denied_address(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """However a denied address is written, nothing connects: not one socket is asked to."""
    monkeypatch.setattr(socket, "getaddrinfo", loopback_only)
    outcome = post(f"http://{host}:{sockets.port}/", Security(require_tls=False))
    assert isinstance(outcome, Rejected)
    assert outcome.reason in {Reason.ADDRESS_DENIED, Reason.CONFIGURATION}
    assert sockets.asked == []
    assert not sockets.arrived()


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_the_systems_own_resolver_reaches_nothing_either(sockets: Sockets, host: str) -> None:
    """The same without a stand-in for the resolver."""
    outcome = post(f"http://{host}:{sockets.port}/", Security(require_tls=False))
    assert not isinstance(outcome, Answer | Unknown | Delivered)
    assert sockets.asked == []
    assert not sockets.arrived()


def test_spellings_are_as_many_as_promised() -> None:
    """The table has far more than 60 rows, all different, and one for every range that is denied."""
    assert len(set(SPELLINGS)) == len(SPELLINGS) >= 110
    written = [ip_address(host.strip("[]").replace("%25", "%")) for host in LITERALS if _plain(host)]
    unwrapped = [getattr(ip, "ipv4_mapped", None) or ip for ip in written]
    broad = {"::/3", "8000::/1"}  # what stands before them in the list is all they hold in practice
    missing = {str(net) for net, _ in guard_module.DENIED if not any(ip in net for ip in unwrapped)}
    assert missing - broad == set()


def _plain(host: str) -> bool:
    try:
        ip_address(host.strip("[]").replace("%25", "%"))
    except ValueError:
        return False
    return True


def test_guard_in_the_resolver_only_is_caught_by_the_table(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: without the check at the socket, most literal addresses are connected to."""

    def unguarded(_: Guard, info: AddressInfo) -> socket.socket:
        return socket.socket(*info[:3])

    monkeypatch.setattr(Guard, "socket", unguarded)
    monkeypatch.setattr(socket, "getaddrinfo", loopback_only)
    caught: list[str] = []
    for host in SPELLINGS:
        post(f"http://{host}:{sockets.port}/", Security(require_tls=False), seconds=0.1)
        if sockets.asked:
            caught.append(host)
            sockets.asked.clear()
    assert {"127.0.0.1", "[::ffff:7f00:1]", "169.254.169.254", "[64:ff9b::a9fe:a9fe]"} <= set(caught)
    assert len(caught) >= 50
    assert "localhost" not in caught


def test_guard_at_the_socket_only_is_caught_by_mixed_answers(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other mutant: unless all addresses are checked, the allowed one of a mixed name is connected to."""
    check = Guard.check

    def guarded(guard: Guard, info: AddressInfo) -> socket.socket:
        check(guard, str(info[4][0]), int(info[4][1]))
        return socket.socket(*info[:3])

    def unchecked(*_: object) -> None:
        """Let everything pass."""

    monkeypatch.setattr(Guard, "check", unchecked)
    monkeypatch.setattr(Guard, "socket", guarded)
    resolve_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    post(f"http://mixed.example.com:{sockets.port}/", Security(require_tls=False))
    assert sockets.asked == [("8.8.8.8", sockets.port)]


def test_watch_sees_a_connection(sockets: Sockets) -> None:
    """The proof above can fail: with the network allowed the connection is seen and arrives."""
    security = Security.model_validate({"require_tls": False, "allowed_networks": ["127.0.0.0/8"]})
    # Nobody answers at the listener, so the request cannot end well; it is enough that it arrives.
    asyncio.run(_connect(security, sockets.port))
    assert sockets.asked == [("127.0.0.1", sockets.port)]
    assert sockets.arrived()


async def _connect(security: Security, port: int) -> None:
    http = Http(security)
    await http.post(f"http://127.0.0.1:{port}/", body=b"{}", timeout=0.2)
    await http.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Answer each look-up with the next list of addresses."""
    left = list(answers)

    def getaddrinfo(_: str, port: int, *__: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_rebinding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is harmless at first and 127.0.0.1 at the second look-up reaches only what was allowed."""
    resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    security = Security.model_validate({"require_tls": False, "allowed_networks": ["127.0.0.2/32"]})
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("sockname")[0])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> list[Outcome | Answer]:
        running = await asyncio.start_server(answer, "0.0.0.0", 0)  # noqa: S104 - to be reached as 127.0.0.1 too
        port = running.sockets[0].getsockname()[1]
        outcomes: list[Outcome | Answer] = []
        for _ in range(2):
            http = Http(security)
            outcomes.append(await http.post(f"http://rebind.example.com:{port}/", timeout=5))
            await http.close()
        running.close()
        return outcomes

    first, second = asyncio.run(run())
    assert isinstance(first, Answer)
    assert isinstance(second, Rejected)
    assert second.reason is Reason.ADDRESS_DENIED
    assert "rebind.example.com" in second.detail
    assert "127.0.0.1 is refused: loopback" in second.detail
    assert seen == ["127.0.0.2"]


def test_rebinding_between_two_requests_of_one_client(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public answer first, 127.0.0.1 afterwards: each connection goes to an address that was checked.

    The first address is only asked for: nothing of this test leaves the machine.
    """
    resolve_to(monkeypatch, ["8.8.8.8"], ["127.0.0.1"], ["8.8.4.4", "127.0.0.1"])
    monkeypatch.setattr(pool_module, "NAMES_KEPT_SECONDS", 0)

    async def run() -> list[Outcome | Answer]:
        http, url = Http(Security(require_tls=False)), f"http://rebind.example.com:{sockets.port}/"
        try:
            return [await http.post(url, body=b"{}", timeout=5) for _ in range(3)]
        finally:
            await http.close()

    first, second, third = asyncio.run(run())
    assert isinstance(first, Retry)
    assert isinstance(second, Rejected)
    assert isinstance(third, Rejected)
    assert second.reason is third.reason is Reason.ADDRESS_DENIED
    assert sockets.asked == [("8.8.8.8", sockets.port)]
    assert not sockets.arrived()


def test_one_denied_address_refuses_the_name(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an allowed and a denied address is not connected to at all."""
    resolve_to(monkeypatch, ["127.0.0.2", "10.0.0.1"])
    security = Security.model_validate({"require_tls": False, "allowed_networks": ["127.0.0.0/8"]})
    outcome = post(f"http://mixed.example.com:{sockets.port}/", security)
    assert isinstance(outcome, Rejected)
    assert "10.0.0.1 is refused: a private network" in outcome.detail
    assert sockets.asked == []


def test_socket_is_the_last_gate() -> None:
    """An address that came past the resolver is checked where its socket is made."""
    with pytest.raises(AddressDenied, match="loopback"):
        STRICT.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443)))
    with pytest.raises(AddressDenied, match="loopback"):
        STRICT.socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:7f00:1", 443, 0, 0)))


def test_resolver_keeps_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address of a name comes back, with the port asked for."""
    resolve_to(monkeypatch, ["8.8.8.8", "1.1.1.1"])

    async def run() -> list[tuple[str, int]]:
        resolver = GuardedResolver(STRICT)
        found = await resolver.resolve("dns.example.com", 443)
        await resolver.close()
        return [(one["host"], one["port"]) for one in found]

    assert asyncio.run(run()) == [("8.8.8.8", 443), ("1.1.1.1", 443)]
