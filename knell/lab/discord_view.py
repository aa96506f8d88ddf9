"""What a reader of Discord sees of a message, and who is pinged by it."""

import re
from typing import Any

from knell.lab.bodies import listing, mapping

_ESCAPE_OR_CODE = re.compile(r"\\([!-/:-@\[-`{-~])|```.*?```|`[^`]+`", re.DOTALL)
_PING = re.compile(r"@(?P<all>everyone|here)|<@(?P<role>&?)!?(?P<id>\d+)>")


def read(payload: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Return the text, the title and the pings of a message. Only `content` pings, never an embed."""
    pings: list[str] = []
    content = str(payload.get("content") or "")
    lines = [_unescaped(_with_pings(content, payload, pings))] if content else []
    title = ""
    for item in listing(payload.get("embeds")) or []:
        embed = mapping(item) or {}
        title = title or _unescaped(str(embed.get("title") or ""))
        lines += [_unescaped(text) for text in _embed_texts(embed)]
    text = "\n".join(lines)
    return text, title or text.partition("\n")[0], tuple(pings)


def _embed_texts(embed: dict[str, Any]) -> list[str]:
    texts = [(mapping(embed.get("author")) or {}).get("name"), embed.get("title"), embed.get("description")]
    for item in listing(embed.get("fields")) or []:
        field = mapping(item) or {}
        texts += [field.get("name"), field.get("value")]
    texts.append((mapping(embed.get("footer")) or {}).get("text"))
    return [str(text) for text in texts if text]


def _with_pings(content: str, payload: dict[str, Any], pings: list[str]) -> str:
    """Mark what rings. A backslash does not stop it: only `allowed_mentions` does."""
    allowed = mapping(payload.get("allowed_mentions"))

    def shown(match: re.Match[str]) -> str:
        if not _rings(match, allowed):
            return match[0]
        pings.append(match[0])
        return f"[MENTION {match[0]}]"

    return _PING.sub(shown, content)


def _rings(match: re.Match[str], allowed: dict[str, Any] | None) -> bool:
    if allowed is None:
        return True
    parse = listing(allowed.get("parse")) or []
    if match["all"]:
        return "everyone" in parse
    kind = "roles" if match["role"] else "users"
    return kind in parse or match["id"] in (listing(allowed.get(kind)) or [])


def _unescaped(text: str) -> str:
    """Undo escapes; in code there are none, so what was escaped there shows its backslashes."""
    return _ESCAPE_OR_CODE.sub(lambda found: found[1] or found[0], text)
