"""How event data is written in each provider's markup, so that it reads the same and does nothing.

Slack: only `& < >` are escaped, which kills mentions and links (Slack, "Formatting text for app surfaces").
Discord: a backslash, only before a character that would have an effect, so that ordinary titles stay as
they are.
"""

import re

from .taint import CLOSE, LINK, OPEN, Dialect, Json, Part, Place, parts
from .text import clean, is_web_url

_ZERO_WIDTH_SPACE = "\u200b"
_GRAVE_ACCENT = "\u02cb"

_SLACK_SPECIAL = re.compile(f"[&<>`{LINK}]")
_MARKS = f"[{OPEN}{CLOSE}]*"
_MARKDOWN_SPECIAL = re.compile(
    rf"[\\<`{LINK}]|\*[^*]*\*|_[^_]*_|~{_MARKS}~|\|{_MARKS}\||\]{_MARKS}\("
    rf"|^[ \t{OPEN}{CLOSE}]*(?:[#>*-]{_MARKS}){{1,3}}(?:\s|\Z)",
    re.MULTILINE,
)
"""What a text must hold for anything in it to have an effect."""

_BACKTICK_IN_FENCE = re.compile("`(?=`|$)")
_ESCAPABLE = re.compile(r"\\(?=[!-/:-@\[-`{-~]|$)")
_CLOSING_UNDERSCORE = re.compile(r"_(?!\w)")
_LINE_START = re.compile(r"(?m)^([ \t]*)(?=(?:#{1,3}|>{1,3}|-#|[-*])(?:\s|\Z))")
_ANGLE = re.compile(r"<(?=[@#:]|[a-z]{0,10}(?::|\Z)|/[^>\n]{0,100}(?::\d|\Z))", re.IGNORECASE)


def verbatim(text: str) -> str:
    """Write data as it is: the place knows no markup."""
    if LINK not in text:
        return text.replace(OPEN, "").replace(CLOSE, "")
    return "".join(_plain_link(url, part) if url else part for part, _, url in parts(text))


def plain(text: str) -> str:
    """Write data as it is, but for what a reader could not see."""
    return clean(verbatim(text))


def _plain_link(url: str, text: str) -> str:
    return f"{text}: {url}" if text and text != url else url


def target(text: str) -> str | None:
    """Write a link's target: a web address, or nothing at all."""
    address = verbatim(text).strip()
    return address if is_web_url(address) else None


def mrkdwn(text: str) -> str:
    """Write data into Slack's own markup."""
    if not _SLACK_SPECIAL.search(text):
        return plain(text)
    written: list[str] = []
    code = _Code()
    for part, is_data, url in parts(text):
        if not is_data:
            code.see(part)
            written.append(part)
        elif url:
            written.append(_slack_link(url, part))
        elif not (written and written[-1].endswith("<")):
            written.append(_slack_escaped(code.guarded(part)))
        elif is_web_url(part):
            written.append(_slack_escaped(part).replace("|", "%7C"))
        else:
            # The template opens a link here, and `<!channel>` would be one.
            written[-1] = written[-1][:-1] + "&lt;"
            written.append(_slack_escaped(part))
    return "".join(written)


def _slack_escaped(text: str) -> str:
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_link(url: str, text: str) -> str:
    label = _slack_escaped(text)
    if not is_web_url(url):
        return label
    address = _slack_escaped(url).replace("|", "%7C")
    return f"<{address}|{label}>" if label else f"<{address}>"


def markdown(text: str) -> str:
    """Write data into Markdown as Discord reads it."""
    if not _MARKDOWN_SPECIAL.search(cleaned := clean(text)):
        return verbatim(cleaned)
    return _markdown(
        [(clean(part), True, url) if is_data else (part, False, "") for part, is_data, url in parts(text)]
    )


def _markdown(found: list[Part]) -> str:
    special = _effective("".join(part for part, _, _ in found), has_link=any(url for _, _, url in found))
    written: list[str] = []
    code = _Code()
    for part, is_data, url in found:
        before = written[-1] if written else ""
        if not is_data:
            code.see(part)
            written.append(part)
        elif url:
            written.append(markdown_link(url, part))
        elif code.inside:
            written.append(code.guarded(part))
        elif not before.endswith("]("):
            line = "".join(written).rpartition("\n")[2]
            starts_line = not line.strip(" \t\\#>*-")
            written.append(_markdown_escaped(part, special, starts_line=starts_line))
        elif is_web_url(part):
            written.append(_percent_encoded(part))
        else:
            written[-1] = before[:-1] + "\\("
            written.append(_markdown_escaped(part, _EVERYTHING, starts_line=False))
    return "".join(written)


def escape_markdown(text: str) -> str:
    """Write data into Markdown of which nothing else is known: every character that could do something."""
    return _markdown_escaped(clean(text), _EVERYTHING, starts_line=True)


def markdown_link(url: str, text: str) -> str:
    """Write a link made of data; only the label where the address is none."""
    label = escape_markdown(text)
    if not is_web_url(url):
        return label
    return f"[{label}]({_percent_encoded(url)})" if label else _percent_encoded(url)


def _percent_encoded(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E")


_EVERYTHING = "*_~|`[]"


def _effective(text: str, *, has_link: bool) -> str:
    """Return the characters that would format something in this text: one alone does nothing."""
    found = [character for character in "*`" if text.count(character) > 1]
    if "_" in text and (text.count("__") > 1 or (text.count("_") > 1 and _CLOSING_UNDERSCORE.search(text))):
        found.append("_")
    found += [pair[0] for pair in ("~~", "||") if text.count(pair) > 1]
    if has_link or "](" in text:
        found += "[]"
    return "".join(found)


def _markdown_escaped(text: str, special: str, *, starts_line: bool) -> str:
    if "\\" in text:
        text = _ESCAPABLE.sub(r"\\\\", text)
    for character in special:
        text = text.replace(character, f"\\{character}")
    if "<" in text:
        text = _ANGLE.sub(r"\\<", text)
    if starts_line:
        return _LINE_START.sub(r"\1\\", text)
    first, newline, rest = text.partition("\n")
    return first + newline + _LINE_START.sub(r"\1\\", rest) if rest else text


class _Code:
    """Whether the template's own words have opened a code span, in which nothing can be escaped."""

    def __init__(self) -> None:
        self._fence = False
        self._span = False

    @property
    def inside(self) -> bool:
        return self._fence or self._span

    def see(self, literal: str) -> None:
        """Follow the template's own words."""
        for index, part in enumerate(literal.split("```")):
            if index:
                self._fence = not self._fence
            elif self._fence:
                continue
            if not self._fence and part.count("`") % 2:
                self._span = not self._span

    def guarded(self, text: str) -> str:
        """Keep data from closing the code span it stands in."""
        if self._fence:
            text = _BACKTICK_IN_FENCE.sub(f"`{_ZERO_WIDTH_SPACE}", text)
            return _ZERO_WIDTH_SPACE + text if text.startswith("`") else text
        return text.replace("`", _GRAVE_ACCENT) if self._span else text


def _is_url(key: str) -> bool:
    return key == "url" or key.endswith(("_url", "_link", "_icon"))


def slack(node: dict[str, Json], key: str, under: str) -> Place:
    """Find the markup of a text in a Slack message."""
    kind = node.get("type")
    if key == "text":
        return _SLACK_TEXTS.get(str(kind), mrkdwn)
    if _is_url(key):
        return target
    legacy = kind is None and under in {"attachments", "fields"}
    return mrkdwn if legacy and key in _LEGACY_TEXTS else plain


_LEGACY_TEXTS = frozenset({"pretext", "fallback", "title", "value", "footer", "author_name"})


def _slack_markdown(text: str) -> str:
    """Write data into Slack's markdown block: Markdown in which mentions are alive as well."""
    return _markdown(
        [(_slack_escaped(part) if is_data else part, is_data, url) for part, is_data, url in parts(text)]
    )


_SLACK_TEXTS: dict[str, Place] = {"plain_text": plain, "text": plain, "markdown": _slack_markdown}


def discord(_node: dict[str, Json], key: str, under: str) -> Place:
    """Find the markup of a text in a Discord message."""
    if _is_url(key):
        return target
    if key in {"content", "description", "title"} or (under == "fields" and key in {"name", "value"}):
        return markdown
    return plain


def other(_node: dict[str, Json], _key: str, _under: str) -> Place:
    """Treat every text of an unknown provider as data that must arrive exactly."""
    return verbatim


_DIALECTS: dict[str, Dialect] = {"slack": slack, "discord": discord}


def dialect_of(kind: str) -> Dialect:
    """Return the dialect of a template folder."""
    return _DIALECTS.get(kind, other)
