"""Header fields of a mail: mailboxes and text, as ASCII that no value can break out of."""

import re
from binascii import b2a_base64
from dataclasses import dataclass

MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
"""Octets (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.2)."""

MAX_DISPLAY_NAME = 200
"""Characters; ours. A longer one is no name, and unfolded it could pass the 998 octets of a line."""

_PLAIN_VALUE = 900
"""Characters that fit the 998 octets of a line even where nothing can be folded."""

_WORD_OCTETS = 39
"""Octets in one encoded word: 52 of base64 + 12 of frame + "Subject: " stay within the 76 of RFC 2047."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[(?:IPv6:)?[0-9A-Fa-f:.]+\]")
_NAMED = re.compile(r"(?P<name>.*?)\s*<(?P<address>[^<>]*)>", re.DOTALL)
_PHRASE = re.compile(rf"{_ATOM}(?: {_ATOM})*")
_FOLD = re.compile(r"(?=.{61})(.{1,60}) ")
_BREAKS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address with the name of who is behind it.

    Attributes:
        address: ASCII, as in the SMTP envelope; an international domain is already in its ASCII form.
        name: the display name, any Unicode; may be empty.
    """

    address: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Mailbox":
        """Read `team@example.com` or `The Team <team@example.com>`.

        Quoted local parts and non-ASCII ones are refused: they need SMTPUTF8 or trip relays.

        Raises:
            ValueError: it is no single mailbox; the message says what is wrong and holds no part of it.
        """
        named = _NAMED.fullmatch(text.strip())
        name = _unquoted(named["name"].strip()) if named else ""
        return cls(_address(named["address"] if named else text), name)

    @property
    def domain(self) -> str:
        """What stands behind the `@`."""
        return self.address.rpartition("@")[2]

    @property
    def header(self) -> str:
        """The mailbox as header text; a long name brings its own folds."""
        if not self.name:
            return self.address
        if "=?" in self.name or not (self.name.isascii() and self.name.isprintable()):
            return f"{encoded_words(self.name)}\r\n <{self.address}>"
        if _PHRASE.fullmatch(self.name):
            return f"{self.name} <{self.address}>"
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.address}>'


def _address(text: str) -> str:
    local_part, at, domain = text.strip().rpartition("@")
    if not at or "@" in local_part:
        raise ValueError("expected one mail address with one @")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("the domain of a mail address is not valid") from None
    if len(local_part) > MAX_LOCAL_PART or not _LOCAL_PART.fullmatch(local_part):
        raise ValueError(
            "the part of a mail address before the @ is not valid: ASCII letters, digits, signs, 64 at most,"
            " and not quoted"
        )
    if len(domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise ValueError("the domain of a mail address is not valid")
    return f"{local_part}@{domain}"


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if _BREAKS.search(name.replace(" ", "")):
        raise ValueError("the name in a mail address holds a line break or a control character")
    if len(name) > MAX_DISPLAY_NAME:
        raise ValueError(f"the name in a mail address is longer than {MAX_DISPLAY_NAME} characters")
    return name


def one_line(text: str) -> str:
    """Return the text with every run of white space, line breaks and control characters as one space."""
    return _BREAKS.sub(" ", text).strip()


def unstructured(text: str) -> str:
    """Return text as the value of a header field: folded where ASCII, else as encoded words."""
    value = one_line(text)
    if len(value) <= _PLAIN_VALUE and value.isascii() and "=?" not in value:
        return _FOLD.sub(r"\1\r\n ", value)
    return encoded_words(value)


def encoded_words(text: str) -> str:
    """Return the text as folded encoded words in UTF-8 and base64 (RFC 2047, sections 2 and 4.1).

    The standard library's `Header` does the same in 150 us; a mail has a budget of that much as a whole.
    """
    octets = text.encode("utf-8", "replace")
    words: list[str] = []
    start = 0
    while start < len(octets):
        end = min(start + _WORD_OCTETS, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # noqa: PLR2004 - not inside a character
            end -= 1
        words.append(f"=?utf-8?B?{b2a_base64(octets[start:end], newline=False).decode('ascii')}?=")
        start = end
    return "\r\n ".join(words)
