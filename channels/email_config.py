"""The section of an e-mail channel (specification, "EmailChannel")."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from ..config.schema import ChannelConfig, Strict
from ..config.values import Flag
from .mail_headers import Mailbox
from .mail_unsubscribe import Unsubscribe
from .smtp_server import Encryption

IMPLICIT_TLS_PORT = 465
"""Where TLS comes before SMTP (RFC 8314, section 3.3)."""

HOST = r"^[\w.\-]+$|^[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*$"
"""A name, an IPv4 or an IPv6 address, and no port."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = rf"^{_LABEL}(?:\.{_LABEL})*$"


def _is_mailbox(text: str) -> str:
    Mailbox.parse(text)
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_is_mailbox)]
Addresses = Annotated[list[Address], BeforeValidator(_listed, json_schema_input_type=Address | list[Address])]


class Dkim(Strict):
    """What signs the mails (RFC 6376), where the mail server does not: needs the extra knell[dkim]."""

    domain: str = Field(
        pattern=_DNS_NAME, max_length=253, description="who signs: for DMARC the domain of from, or above it"
    )
    selector: str = Field(
        pattern=_DNS_NAME, max_length=63, description="the public key is at <selector>._domainkey.<domain>"
    )
    private_key: SecretStr = Field(
        min_length=1, description="RSA or Ed25519 key in PEM form, best as ${file:/path}"
    )


class EmailConfig(ChannelConfig):
    """Where mails are handed in, who they are from, and who gets them."""

    smtp_server: str = Field(pattern=HOST, description="host name or address of the mail server")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="465 means TLS from the start")
    use_tls: Flag = Field(default=True, description="STARTTLS, or on port 465 TLS from the start; never less")
    implicit_tls: Flag | None = Field(
        default=None, description="whether TLS comes from the start; absent: on port 465 only"
    )
    ca_file: str = Field(default="", description="PEM file of the authorities to trust, not the system's")
    helo: str = Field(
        default="",
        pattern=rf"{_DNS_NAME}|^$",
        max_length=253,
        description="name told to the mail server in EHLO; this machine's address when absent",
    )
    sender: Address = Field(alias="from", description="who the mails come from: a@b.c or Name <a@b.c>")
    username: SecretStr = Field(
        default=SecretStr(""), description="login at the mail server; none when absent"
    )
    password: SecretStr = Field(default=SecretStr(""), description="password of the login")
    to: Addresses = Field(default=[], description="receivers")
    cc: Addresses = Field(default=[], description="receivers of a copy")
    bcc: Addresses = Field(default=[], description="receivers of a copy whom the others do not see")
    reply_to: Addresses = Field(default=[], description="who gets the answers; the sender when absent")
    subject_prefix: str = Field(default="", max_length=50, description="put before every subject")
    list_unsubscribe: Unsubscribe | None = Field(
        default=None, description="how receivers leave, for the button of their mail program"
    )
    dkim: Dkim | None = Field(default=None, description="sign the mails; absent: the mail server does")
    on_unknown: Literal["retry", "hold"] = Field(
        default="retry",
        description="a mail that may have arrived is sent again (retry), or kept for you to decide (hold)",
    )
    concurrency: int = Field(default=4, ge=1, le=100, description="most connections to the mail server")
    # Servers look for spam before they answer to a mail, and whoever hangs up meanwhile gets it sent twice:
    # RFC 5321 (section 4.5.3.2.6) asks for 10 minutes. One is ours: longer would hold up what waits behind.
    timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        le=600,
        description="deadline of one attempt; logging in has half of it, 15 at most",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not (self.to or self.cc or self.bcc):
            raise ValueError("name at least one recipient in to, cc or bcc")
        if bool(self.username.get_secret_value()) != bool(self.password.get_secret_value()):
            raise ValueError("username and password belong together")
        if self.implicit_tls and not self.use_tls:
            raise ValueError("implicit_tls: true needs use_tls: true")
        return self

    @property
    def encryption(self) -> Encryption:
        """How the connections are protected."""
        if not self.use_tls:
            return Encryption.NONE
        implicit = self.smtp_port == IMPLICIT_TLS_PORT if self.implicit_tls is None else self.implicit_tls
        return Encryption.IMPLICIT if implicit else Encryption.STARTTLS
