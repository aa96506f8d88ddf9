"""How knell proves who it talks to over TLS, and who it is itself where a service asks."""

import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")


class TlsFiles(NamedTuple):
    """PEM files that replace or add to what the system offers; `password` opens the key's file."""

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    password: str = ""

    @property
    def named(self) -> tuple[Path, ...]:
        """The files there are."""
        return tuple(path for path in (self.authorities, self.certificate, self.key) if path is not None)


@cache
def verified() -> ssl.SSLContext:
    """Return the context of everyone without files of their own: the system's authorities, TLS 1.2 and up.

    RFC 8996 forbids TLS 1.0 and 1.1. It is said here because a system's OpenSSL may be set to allow more.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Read the files and return a context with them.

    Raises:
        ValueError: one cannot be read or used; the text says which and why, and shows nothing of it.
    """
    authorities = None if files.authorities is None else str(files.authorities)
    context = _reading(
        files.authorities, lambda: ssl.create_default_context(cafile=authorities), "holds no certificate"
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate := files.certificate:
        # Without a password OpenSSL would ask for one at the terminal, and wait.
        _reading(
            files.key or certificate,
            lambda: context.load_cert_chain(certificate, files.key, password=lambda: files.password),
            "does not open, or does not fit its certificate",
        )
    return context


def _reading(path: Path | None, read: Callable[[], _T], otherwise: str) -> _T:
    try:
        return read()
    except ssl.SSLError:
        raise ValueError(f"{path} {otherwise}") from None
    except OSError as error:
        raise ValueError(f"{error.filename or path} cannot be read: {error.strerror}") from None
