"""How knell proves who it talks to over TLS, and who it is itself where a service asks."""

import asyncio
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple


class TlsFiles(NamedTuple):
    """PEM files of a channel.

    Attributes:
        authorities: who is believed, instead of the system's authorities.
        certificate: what knell shows to a service that asks who is calling.
        key: belongs to the certificate; in the certificate's file when absent.
        password: opens the key, if it is encrypted.
    """

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
    for path in files.named:
        _check_readable(path)
    authorities, certificate = files.authorities, files.certificate
    with _blaming(f"{authorities} holds no certificate"):
        context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        key = files.key or certificate
        with _blaming(f"{key} does not open, or does not fit its certificate"):
            # Without a password OpenSSL would ask for one at the terminal, and wait.
            context.load_cert_chain(certificate, files.key, password=lambda: files.password)
    return context


class Identity:
    """The context of a channel with files of its own, read anew when one has changed.

    Certificates of services live for days, and are renewed on disk by somebody else.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen: tuple[object, ...] = ()
        self._context = verified()

    async def context(self) -> ssl.SSLContext:
        """Return the context for the next request.

        Raises:
            ValueError: see `context_of`.
        """
        # On a thread: the files may lie on a network drive.
        return await asyncio.to_thread(self._current) if self._files.named else self._context

    def _current(self) -> ssl.SSLContext:
        seen = tuple(_state(path) for path in self._files.named)
        if seen != self._seen:
            self._context = context_of(self._files)
            self._seen = seen
        return self._context


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None  # `context_of` says why
    return state.st_mtime_ns, state.st_size, state.st_ino


def _check_readable(path: Path) -> None:
    """Name the file at fault: OpenSSL does not."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def _blaming(problem: str) -> Generator[None]:
    try:
        yield
    except (ssl.SSLError, OSError):
        raise ValueError(problem) from None
