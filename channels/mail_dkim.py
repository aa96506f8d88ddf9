"""DKIM signatures (RFC 6376), relaxed in head and body, by an RSA or an Ed25519 key (RFC 8463).

The cryptography library signs; the rest is here because the one library for it, dkimpy, takes 11 ms of
Python for an RSA signature that OpenSSL makes in less than 1 ms. The tests verify every signature with
dkimpy.
"""

import re
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from knell.errors import ChannelError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

SIGNED = (
    *("from", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"),
    *("auto-submitted", "list-unsubscribe", "list-unsubscribe-post"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
"""Fields a signature covers where they are there (RFC 6376, section 5.4.1; RFC 8058, section 4)."""

SEALED = ("from", "reply-to", "to", "cc", "subject", "date")
"""Named once more than they are there, so that nobody can add one (RFC 6376, section 8.15)."""

MIN_BITS = 1024
"""Shorter RSA keys must not be trusted by receivers (RFC 8301, section 3.2)."""

_LINE = 72
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_BLANKS = re.compile(rb" [ \t]+|\t[ \t]*")
_NEEDS_EXTRA = "dkim needs a library that is not installed: pip install 'knell[dkim]'"


class Signer:
    r"""Signs mails in the name of a domain.

    Args:
        domain: who signs.
        selector: which of its keys.
        private_key: the key in PEM form; line ends written as `\n` are understood.

    Raises:
        ChannelError: the key cannot be used, or the extra is not installed.
    """

    def __init__(self, domain: str, selector: str, private_key: str) -> None:
        self._algorithm, self._sign = _signing(private_key.replace("\\n", "\n").encode("utf-8"))
        self._domain, self._selector = domain, selector

    def signed(self, mail: bytes, now: float | None = None) -> bytes:
        """Return the mail with its signature in front.

        Args:
            mail: with CRLF line ends; no field of `SIGNED` more than once.
            now: the time of signing in seconds since 1970; the present when absent.
        """
        head, _, body = mail.partition(b"\r\n\r\n")
        fields = _relaxed_fields(head + b"\r\n")
        names = [name for name in SIGNED if name in fields]
        digest = sha256(_relaxed_body(body)).digest()
        tags = (
            f"v=1; a={self._algorithm}; c=relaxed/relaxed;\r\n d={self._domain};\r\n s={self._selector};"
            f" t={int(time.time() if now is None else now)};\r\n"
            f" h={_wrapped([*names, *SEALED])};\r\n bh={_base64(digest)};\r\n b="
        )
        own = _relaxed(f"DKIM-Signature: {tags}".encode("ascii"))[1]
        covered = b"".join([*(fields[name] for name in names), own.removesuffix(b"\r\n")])
        value = _base64(self._sign(covered))
        folded = "\r\n ".join(value[start : start + _LINE] for start in range(0, len(value), _LINE))
        return f"DKIM-Signature: {tags}{folded}\r\n".encode("ascii") + mail


def _signing(pem: bytes) -> tuple[str, Callable[[bytes], bytes]]:
    try:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa  # noqa: PLC0415
    except ImportError:
        raise ChannelError(_NEEDS_EXTRA) from None
    key = _key(pem)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519-sha256", lambda octets: key.sign(sha256(octets).digest())
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ChannelError("dkim.private_key: expected an RSA or Ed25519 key")
    if key.key_size < MIN_BITS:
        raise ChannelError(f"dkim.private_key: {key.key_size} bits are too few, 2048 are usual")
    return "rsa-sha256", lambda octets: key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


def _key(pem: bytes) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return load_pem_private_key(pem, None)
    except TypeError:
        raise ChannelError("dkim.private_key: a key under a passphrase cannot be read") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ChannelError("dkim.private_key: no private key in PEM form (is it ${file:...}?)") from None


def _relaxed_fields(head: bytes) -> dict[str, bytes]:
    """Return the fields by name, each as the signature covers it (RFC 6376, section 3.4.2)."""
    return dict(_relaxed(line) for line in _FOLD.sub(b"", head).split(b"\r\n") if line)


def _relaxed(field: bytes) -> tuple[str, bytes]:
    name, _, value = _FOLD.sub(b"", field).partition(b":")
    lowered = name.strip().lower()
    return lowered.decode("ascii"), b"%b:%b\r\n" % (lowered, _BLANKS.sub(b" ", value).strip(b" "))


def _relaxed_body(body: bytes) -> bytes:
    """Return the body as the signature covers it (RFC 6376, section 3.4.4)."""
    lines = _BLANKS.sub(b" ", body).replace(b" \r\n", b"\r\n").rstrip(b" \r\n")
    return lines + b"\r\n" if lines else b""


def _wrapped(names: Iterable[str]) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > _LINE:
            lines.append("")
        lines[-1] += f"{name}:"
    return "\r\n ".join(lines).removesuffix(":")


def _base64(octets: bytes) -> str:
    return b2a_base64(octets, newline=False).decode("ascii")
