"""Where mail is handed in."""

import ssl
from dataclasses import dataclass
from enum import Enum


class Encryption(Enum):
    """How a connection is protected; nothing is ever negotiated down."""

    NONE = "no TLS"
    STARTTLS = "STARTTLS"
    IMPLICIT = "TLS"


@dataclass(frozen=True)
class Server:
    """Where mail is handed in, and how. Credentials never show in its text.

    Attributes:
        helo: the name told to the server; our address when empty.
        patience: seconds until the server has let us in.
    """

    host: str
    port: int
    encryption: Encryption
    context: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""
    helo: str = ""
    patience: float = 15.0

    def __repr__(self) -> str:
        return f"{self.host}:{self.port} ({self.encryption.value})"
