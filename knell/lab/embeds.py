"""What Discord accepts as a message: limits and forms (discord-api-docs, message and webhook resources)."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from knell.lab.bodies import listing, mapping

CONTENT, EMBEDS, FIELDS, EMBED_SUM = 2_000, 10, 25, 6_000
TITLE, DESCRIPTION, FIELD_NAME, FIELD_VALUE, FOOTER, AUTHOR = 256, 4_096, 256, 1_024, 2_048, 256
USERNAME, COLOUR_MOST = 80, 0xFFFFFF
FORBIDDEN_NAMES = ("clyde", "discord")
COMPONENTS_V2 = 1 << 15
PARSE_KINDS = {"roles", "users", "everyone"}

_VISIBLE = ("title", "description", "fields", "author", "footer", "image", "thumbnail", "timestamp")
_ATTACHED = re.compile(r"attachment://(.+)")

Errors = dict[str, str]
"""Problems by dotted path, as `embeds.0.title`."""


def check(payload: dict[str, Any], files: Collection[str]) -> Errors:
    """Return what Discord would complain about; `files` are the names of the files that came along."""
    errors: Errors = {}
    _length(errors, "content", payload.get("content"), CONTENT)
    _check_name(errors, payload.get("username"))
    _check_url(errors, "avatar_url", payload.get("avatar_url"))
    _check_mentions(errors, payload.get("allowed_mentions"))
    _check_flags(errors, payload)
    _check_embeds(errors, payload.get("embeds"), files)
    return errors


def tree(errors: Errors) -> dict[str, Any]:
    """Return the problems nested as Discord nests them."""
    root: dict[str, Any] = {}
    for path, text in errors.items():
        node = root
        for name in path.split("."):
            node = node.setdefault(name, {})
        node["_errors"] = [{"code": "INVALID", "message": text}]
    return root


def is_empty(payload: dict[str, Any]) -> bool:
    """Whether there is nothing to show, files aside."""
    content = payload.get("content")
    if isinstance(content, str) and content.strip():
        return False
    embeds = [mapping(item) or {} for item in listing(payload.get("embeds")) or []]
    shown = any(embed.get(part) for embed in embeds for part in _VISIBLE)
    return not shown and not payload.get("components") and not payload.get("poll")


def _check_name(errors: Errors, name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not 0 < len(name.strip()) <= USERNAME:
        errors["username"] = f"Must be between 1 and {USERNAME} in length."
    elif any(word in name.lower() for word in FORBIDDEN_NAMES):
        errors["username"] = f'Username cannot contain "{name}"'


def _check_mentions(errors: Errors, value: object) -> None:
    if value is None:
        return
    allowed = mapping(value)
    if allowed is None:
        errors["allowed_mentions"] = "Only dictionaries may be used."
        return
    parse = set(listing(allowed.get("parse")) or [])
    if not parse <= PARSE_KINDS:
        errors["allowed_mentions.parse"] = f"Value must be one of {sorted(PARSE_KINDS)}."
    for kind in ("users", "roles"):
        if kind in parse and allowed.get(kind):
            errors[f"allowed_mentions.{kind}"] = f"parse:[{kind}] and {kind}: [ids] exclude each other."


def _check_flags(errors: Errors, payload: dict[str, Any]) -> None:
    flags = payload.get("flags") or 0
    if not isinstance(flags, int):
        errors["flags"] = "Must be a number."
    elif flags & COMPONENTS_V2:
        for name in ("content", "embeds", "poll"):
            if payload.get(name):
                errors[name] = "Cannot be used with IS_COMPONENTS_V2."


def _check_embeds(errors: Errors, value: object, files: Collection[str]) -> None:
    if value is None:
        return
    embeds = listing(value)
    if embeds is None or len(embeds) > EMBEDS:
        errors["embeds"] = f"Must be a list of {EMBEDS} or fewer."
        return
    for place, item in enumerate(embeds):
        embed = mapping(item)
        if embed is None:
            errors[f"embeds.{place}"] = "Only dictionaries may be used."
        else:
            _check_embed(errors, f"embeds.{place}", embed, files)
    if not errors and (total := sum(_size(mapping(item) or {}) for item in embeds)) > EMBED_SUM:
        errors["embeds"] = f"Embed size of {total} exceeds maximum size of {EMBED_SUM}"


def _check_embed(errors: Errors, at: str, embed: dict[str, Any], files: Collection[str]) -> None:
    _length(errors, f"{at}.title", embed.get("title"), TITLE)
    _length(errors, f"{at}.description", embed.get("description"), DESCRIPTION)
    _length(errors, f"{at}.footer.text", _inner(embed, "footer", "text"), FOOTER)
    _length(errors, f"{at}.author.name", _inner(embed, "author", "name"), AUTHOR)
    _check_colour(errors, f"{at}.color", embed.get("color"))
    _check_time(errors, f"{at}.timestamp", embed.get("timestamp"))
    _check_url(errors, f"{at}.url", embed.get("url"))
    _check_url(errors, f"{at}.author.url", _inner(embed, "author", "url"))
    for owner, name in (
        ("image", "url"),
        ("thumbnail", "url"),
        ("footer", "icon_url"),
        ("author", "icon_url"),
    ):
        _check_url(errors, f"{at}.{owner}.{name}", _inner(embed, owner, name), files)
    _check_fields(errors, f"{at}.fields", embed.get("fields"))


def _check_fields(errors: Errors, at: str, value: object) -> None:
    if value is None:
        return
    fields = listing(value)
    if fields is None or len(fields) > FIELDS:
        errors[at] = f"Must be a list of {FIELDS} or fewer."
        return
    for place, item in enumerate(fields):
        field = mapping(item) or {}
        for name, limit in (("name", FIELD_NAME), ("value", FIELD_VALUE)):
            text = field.get(name)
            if not isinstance(text, str) or not text.strip():
                errors[f"{at}.{place}.{name}"] = "This field is required"
            _length(errors, f"{at}.{place}.{name}", text, limit)


def _check_colour(errors: Errors, at: str, value: object) -> None:
    if value is not None and not (type(value) is int and 0 <= value <= COLOUR_MOST):
        errors[at] = f"int value should be between 0 and {COLOUR_MOST}."


def _check_time(errors: Errors, at: str, value: object) -> None:
    if value is None:
        return
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        errors[at] = f"Could not parse {value!r}. Should be ISO8601."


def _check_url(errors: Errors, at: str, value: object, files: Collection[str] | None = None) -> None:
    if value is None:
        return
    text = str(value)
    if files is not None and (attached := _ATTACHED.fullmatch(text)):
        if attached[1] not in files:
            errors[at] = "Referenced attachment was not found."
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", text):
        errors[at] = "Not a well formed URL."


def _length(errors: Errors, at: str, value: object, limit: int) -> None:
    """Check a text's length as Discord does: without the white space around it."""
    if value is None:
        return
    if not isinstance(value, str):
        errors[at] = "Must be a string."
    elif len(value.strip()) > limit:
        errors[at] = f"Must be {limit} or fewer in length."


def _size(embed: dict[str, Any]) -> int:
    texts = [embed.get("title"), embed.get("description")]
    texts += [_inner(embed, "footer", "text"), _inner(embed, "author", "name")]
    for item in listing(embed.get("fields")) or []:
        field = mapping(item) or {}
        texts += [field.get("name"), field.get("value")]
    return sum(len(str(text).strip()) for text in texts if text is not None)


def _inner(embed: dict[str, Any], owner: str, name: str) -> object:
    return (mapping(embed.get(owner)) or {}).get(name)
