"""The limits of Discord, and a message laid out under them (discord-api-docs, message resource)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from knell.messages import FormattedMessage, MessageFormat

from .fit import Json, Limits, Rule, lay_out, left_out, mappings, replaced, shortened
from .fit_file import with_file
from .fit_text import Cutter, cut_escaped, shorten_markdown
from .fit_usual import form, is_usual, some, string

MAX_CONTENT, MAX_EMBEDS, MAX_FIELDS, MAX_EMBED_TEXT = 2_000, 10, 25, 6_000
"""The last is the sum over all embeds."""

MAX_USERNAME, FORBIDDEN_NAMES = 80, ("clyde", "discord")

_BLANK = "\u200b"
"""Discord refuses an empty field name or value; a zero-width space is neither empty nor visible."""

_TITLE, _DESCRIPTION = Rule(256, cut=shorten_markdown), Rule(4_096, cut=shorten_markdown)
_NAME, _VALUE = Rule(256, cut=shorten_markdown), Rule(1_024, cut=shorten_markdown)
_FOOTER, _AUTHOR = Rule(2_048), Rule(256)
_KINDS = {
    "embeds": {"title": _TITLE, "description": _DESCRIPTION, "fields": Rule(items=MAX_FIELDS)},
    "fields": {"name": _NAME, "value": _VALUE},
    "footer": {"text": _FOOTER},
    "author": {"name": _AUTHOR},
}


def _counts(kind: str, key: str) -> bool:
    return key in _KINDS.get(kind, ())


def _note(_kind: str, key: str, missing: int) -> Json | None:
    if key == "embeds":
        return {"description": left_out(missing)}
    return {"name": _BLANK, "value": left_out(missing)} if key == "fields" else None


_LIMITS = Limits(
    total=MAX_EMBED_TEXT,
    kinds=_KINDS,
    kind=lambda _, key: key,
    counts=_counts,
    note=_note,
    trims=True,
)


def fit_discord(message: FormattedMessage, escape: Callable[[str], str]) -> FormattedMessage:
    """Return a message within Discord's limits, and report in its `cuts` what is missing.

    Args:
        message: with content of any format.
        escape: what `send` does to plain text.
    """
    cuts: list[str] = []
    content = message.content
    if isinstance(content, dict):
        fitted: str | Json = _content(content, cuts)
    else:
        cutter: Cutter = shorten_markdown
        if message.format is MessageFormat.TEXT:
            cutter = partial(cut_escaped, escape=escape)
        fitted = shortened(content, MAX_CONTENT, "content", cuts, cutter)
    return with_file(message, fitted, cuts, files=True)


def _content(content: Json, cuts: list[str]) -> Json:
    fitted = content
    text = content.get("content")
    if isinstance(text, str) and len(text.strip()) > MAX_CONTENT:
        fitted = {**fitted, "content": shortened(text, MAX_CONTENT, "content", cuts, shorten_markdown)}
    if "username" in content and not _is_allowed(content["username"]):
        fitted = replaced(fitted, "username", None)
        cuts.append("username: left out, Discord takes 1 to 80 characters without clyde and discord")
    embeds = content.get("embeds")
    if "embeds" not in content or _fits(embeds):
        return fitted
    laid = lay_out(_prepared(embeds, cuts), "embeds", _LIMITS, MAX_EMBEDS)
    cuts += laid.cuts
    return replaced(fitted, "embeds", laid.value)


def _is_allowed(name: Any) -> bool:
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_USERNAME:
        return False
    return not any(word in name.lower() for word in FORBIDDEN_NAMES)


def _prepared(embeds: Any, cuts: list[str]) -> list[Any]:
    """Return the embeds without what Discord takes wrong: blank fields, and an address used twice.

    Embeds of the same address are merged into one that shows the text of the first only.
    """
    seen: set[str] = set()
    found: list[Any] = []
    for place, embed in enumerate(mappings(embeds)):
        url = embed.get("url")
        if isinstance(url, str) and url in seen:
            embed = replaced(embed, "url", None)  # noqa: PLW2901
            cuts.append(f"embeds[{place}].url: left out, an earlier embed has the same")
        seen.add(str(url))
        if "fields" in embed:
            embed = replaced(embed, "fields", [_field(item) for item in mappings(embed["fields"])])  # noqa: PLW2901
        found.append(embed)
    return found


def _field(value: Json) -> Json:
    texts = {key: value.get(key) for key in ("name", "value")}
    changes = {
        key: (str(text or "") if str(text or "").strip() else _BLANK)
        for key, text in texts.items()
        if not isinstance(text, str) or not text.strip()
    }
    return {**value, **changes} if changes else value


def _fits(embeds: Any) -> bool:
    if not is_usual(embeds, _USUAL, MAX_EMBED_TEXT):
        return False
    fields = [field for embed in embeds for field in embed.get("fields", ())]
    if any(not field["name"].strip() or not field["value"].strip() for field in fields):
        return False
    urls = [url for embed in embeds if (url := embed.get("url"))]
    return len(set(urls)) == len(urls)


_USUAL = some(
    form(
        "Embed",
        {},
        title=string(_TITLE.chars),
        description=string(_DESCRIPTION.chars),
        url=str,
        color=int,
        timestamp=str,
        footer=form("Footer", {"text": string(_FOOTER.chars)}),
        author=form("Author", {"name": string(_AUTHOR.chars)}),
        fields=some(
            form("Field", {"name": string(_NAME.chars), "value": string(_VALUE.chars)}, inline=bool),
            MAX_FIELDS,
        ),
    ),
    MAX_EMBEDS,
)
