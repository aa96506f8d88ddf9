from dataclasses import replace
from typing import Any

from knell.channels.email import EmailChannel
from knell.lab import Request, Smtp
from knell.lab.faults import Fault
from knell.testing import NetworkConformance, Stage


class TestEmail(NetworkConformance):
    """A mail server; over TLS it is STARTTLS, and a login comes only after it."""

    channel = EmailChannel
    provider = Smtp

    def section(self, stage: Stage) -> dict[str, Any]:
        """Use the stand-in's account, by another address than its name."""
        section: dict[str, Any] = stage.provider.section() | {"from": "knell@example.com"}
        return section | ({"ca_file": stage.ca_file} if stage.ca_file else {})

    def sent(self, request: Request) -> bool:
        """Whether a command is more than the way to TLS."""
        return request.method not in {"CONNECT", "EHLO", "STARTTLS"}

    def at_first(self, fault: Fault) -> Fault:
        """Strike before a word about the mail was said."""
        return replace(fault, at="MAIL")
