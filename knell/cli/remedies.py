"""What a failure means in plain words, and what to do about it."""

import re
from dataclasses import dataclass

from knell.messages import Reason

_ADDRESS = re.compile(r"([0-9A-Fa-f:.]+) is refused")


@dataclass(frozen=True, slots=True)
class Remedy:
    """A cause and its cure. `{section}` in the cure stands for the channel's section and its file."""

    why: str
    fix: str


_UNKNOWN = Remedy("", "read what the provider says above, and compare it with {section}")

_CREDENTIALS = Remedy(
    "the provider does not accept the credentials, or they do not allow this.",
    "copy the token, password or address again from the provider's page into {section}; "
    "they may have been revoked or replaced.",
)

_BY_DETAIL: tuple[tuple[str, Remedy], ...] = (
    (
        r"certificate has expired|certificate expired",
        Remedy(
            "the server's certificate is too old, so it may be anybody's.",
            "let its operator renew it; if it is fine in a browser, set this machine's clock.",
        ),
    ),
    (
        r"not valid for|hostname mismatch|doesn't match",
        Remedy(
            "the server shows a certificate for another name.",
            "write the name that the certificate is for into {section}, not an IP address or an alias.",
        ),
    ),
    (
        r"self.signed|unable to get (local )?issuer|unknown ca|self signed",
        Remedy(
            "nobody this machine trusts vouches for the server.",
            "add its authority to the system's store, or name its PEM file in SSL_CERT_FILE "
            "(e-mail: ca_file in {section}).",
        ),
    ),
    (
        r"cannot be resolved|no such host|name or service not known|name resolution|nodename nor",
        Remedy(
            "no name server knows the host, or none answers.",
            "check the host's spelling in {section}, then this machine's DNS and network.",
        ),
    ),
    (
        r"refused: .*security\.allowed_networks|is refused",
        Remedy(
            "knell calls no private, loopback or cloud-internal address unless it is told to, "
            "so that no event can steer it into your network.",
            "if the address is right, add it to the configuration: "
            'security: {{allowed_networks: ["{network}"]}}',
        ),
    ),
    (
        r"connection ?refused|connect call failed",
        Remedy(
            "the host is there, and nothing listens on this port.",
            "check host and port in {section}, and that the server runs.",
        ),
    ),
    (
        r"only https is allowed|plain HTTP|login without TLS|verify=no",
        Remedy(
            "without TLS anybody on the way could read the message and the credentials.",
            "use the https address (e-mail: use_tls: true); on a network of your own, "
            "set security: {{require_tls: false}}.",
        ),
    ),
    (
        r"redirects are never followed",
        Remedy(
            "the address has moved, and credentials are not sent after it.",
            "put the new address into {section}: open the old one in a browser to see it.",
        ),
    ),
    (
        r"answered 404|no such endpoint",
        Remedy(
            "the provider has nothing at this address.",
            "copy the address again from the provider's page into {section}.",
        ),
    ),
    (
        r"answered (401|403|535|530)|invalid_auth|not_authed|token_revoked|account_inactive",
        _CREDENTIALS,
    ),
    (
        r"network is unreachable|no route to host",
        Remedy(
            "there is no way from this machine to the host.",
            "check the network, VPN and firewall.",
        ),
    ),
    (
        r"disk is full|quota is used up",
        Remedy("there is no room for another line.", "make room; the channel goes on by itself."),
    ),
    (
        r"no permission|read-only|symbolic link|no directory|it is a directory|no regular file",
        Remedy("the file cannot be written.", "check the path in {section}, and who may write there."),
    ),
)
"""By what the detail says, before the reason; the first match counts."""

_BY_REASON = {
    Reason.AUTHENTICATION: _CREDENTIALS,
    Reason.CONFIGURATION: Remedy(
        "the section does not fit what is there at the provider.",
        "read what the provider says above, and correct {section}.",
    ),
    Reason.TLS: Remedy(
        "the server does not speak TLS as it should, so nothing was sent.",
        "check the port in {section} (for e-mail: 587 with use_tls, 465 for TLS from the start), "
        "and that no proxy stands in between.",
    ),
    Reason.ADDRESS_DENIED: Remedy(
        "knell calls no private, loopback or cloud-internal address unless it is told to.",
        "add the network to security.allowed_networks in the configuration.",
    ),
    Reason.GONE: Remedy(
        "the provider says that this address has ended for good.",
        "make a new webhook or endpoint at the provider, and put it into {section}.",
    ),
    Reason.RATE_LIMIT: Remedy(
        "too much was sent lately; nothing is wrong with the channel.",
        "try again later. In service knell waits by itself; a lower rate_limit in {section} avoids it.",
    ),
    Reason.TIMEOUT: Remedy(
        "the provider did not answer in time.",
        "check that no firewall drops the packets; a slow provider needs a larger timeout_seconds "
        "in {section}.",
    ),
    Reason.CONNECTION_ERROR: Remedy(
        "the connection failed or broke.",
        "check host and port in {section}, the network, and whether the provider is up.",
    ),
    Reason.SERVER_ERROR: Remedy(
        "the provider has trouble of its own.",
        "try again later, and look at the provider's status page. In service knell tries again by itself.",
    ),
    Reason.RECIPIENT: Remedy(
        "the provider takes messages, but not for these receivers.",
        "correct or remove the receivers in {section}.",
    ),
    Reason.OPTED_OUT: Remedy(
        "the receiver has asked the provider for no more messages (STOP).",
        "only the receiver can undo it, by sending START to your number; "
        "or remove the number from {section}.",
    ),
    Reason.BUDGET: Remedy(
        "what the section lets the channel spend is used up.",
        "wait for the next period, or raise the limit in {section}.",
    ),
    Reason.INVALID_MESSAGE: Remedy(
        "the provider does not understand the message.",
        "look at template_overrides in {section} and your own templates: 'knell check' renders them all.",
    ),
    Reason.TOO_LARGE: Remedy(
        "the message is larger than the provider takes.",
        "shorten your own templates, or what is attached.",
    ),
    Reason.REFUSED: Remedy(
        "the provider refuses this message.",
        "read what it says above; rules against spam are a common cause.",
    ),
    Reason.CRASHED: Remedy(
        "this is a mistake in the channel's code, not in the configuration.",
        "tell its author; run the test with the channel's own tests to see the traceback.",
    ),
}


_CERTAIN = {Reason.GONE, Reason.RATE_LIMIT, Reason.OPTED_OUT, Reason.RECIPIENT, Reason.BUDGET}
"""Reasons that say it all, whatever the provider adds."""


def in_doubt() -> Remedy:
    """Return what it means that a message was sent and no answer came."""
    return Remedy(
        "the message was sent, and the answer got lost or never came.",
        "look whether it has arrived. In service knell sends it again, and marks it as a possible duplicate; "
        "a slow provider needs a larger timeout_seconds in {section}.",
    )


def remedy(reason: Reason | None, detail: str) -> Remedy:
    """Return what a failure means; the reason is None where only words are known."""
    for pattern, found in () if reason in _CERTAIN else _BY_DETAIL:
        if re.search(pattern, detail, re.IGNORECASE):
            return Remedy(found.why, found.fix.replace("{network}", _network(detail)))
    return _BY_REASON.get(reason, _UNKNOWN) if reason else _UNKNOWN


def _network(detail: str) -> str:
    """Return the denied address as a network of one."""
    found = _ADDRESS.search(detail)
    if found is None:
        return "192.0.2.0/24"
    return f"{found[1]}/{128 if ':' in found[1] else 32}"
