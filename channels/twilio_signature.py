"""`X-Twilio-Signature`: that a callback comes from Twilio (twilio.com/docs/usage/security)."""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import urlsplit

Form = Sequence[tuple[str, str]]
"""The fields of a form in their order, each as often as it came."""

_PORTS = {"http": 80, "https": 443}


def sign(token: str, url: str, form: Form) -> str:
    """Return the signature of a form posted to a URL: base64 of HMAC-SHA1 over the URL and the sorted fields.

    A field that comes several times with one value counts once, as in Twilio's own libraries.
    """
    text = url + "".join(f"{name}{value}" for name, value in sorted(set(form)))
    return b64encode(hmac.digest(token.encode(), text.encode(errors="replace"), "sha1")).decode()


def genuine(token: str, url: str, form: Form, signature: str) -> bool:
    """Whether Twilio signed a form with this account's token; it takes the same time either way.

    Args:
        token: the account's auth token.
        url: the public address, as Twilio calls it. Twilio signs it with its port or without (a remark in
            its libraries), so both do.
        form: the fields.
        signature: the header.
    """
    given = signature.encode(errors="replace")
    fits = [hmac.compare_digest(sign(token, spelt, form).encode(), given) for spelt in _spellings(url)]
    return any(fits)


def _spellings(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return url, parts._replace(netloc=host).geturl(), parts._replace(netloc=f"{host}:{port}").geturl()
