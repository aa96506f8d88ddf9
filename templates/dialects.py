"""How event data is written in each provider's markup, so that it reads the same and does nothing.

Slack: only `& < >` are escaped, which kills mentions and links (Slack, "Formatting text for app surfaces").
Discord: a backslash, only before a character that would have an effect, so that ordinary titles stay as
they are.
"""

import re

from .taint import CLOSE, LINK, OPEN, Dialect, Json, Place, Segment, segments
from .text import clean, is_web_url

_ZERO_WIDTH_SPACE = "\u200b"
_GRAVE_ACCENT = "\u02cb"

_SLACK_SPECIAL = re.compile(f"[&<>`{LINK}]")
_MARKDOWN_SPECIAL = re.compile(rf"[\\*_~`|\[\]<{LINK}]|^[ \t{OPEN}]*[#>-]", re.MULTILINE)
"""What a text must hold for anything in it to have an effect."""

_BACKTICK_IN_FENCE = re.compile("`(?=`|$)")
_ESCAPABLE = re.compile(r"\\(?=[!-/:-@\[-`{-~]|$)")
_LINE_START = re.compile(r"(?m)^([ \t]*)(?=#{1,3}\s|>{1,3}\s|-#\s|[-*]\s)")
_ANGLE = re.compile(r"<(?=[@#:]|[a-z]{1,10}:|/[^>\n]{1,100}:\d)", re.IGNORECASE)


def verbatim(text: str) -> str:
    """Write data as it is: the place knows no markup."""
    if LINK not in text:
        return text.replace(OPEN, "").replace(CLOSE, "")
    return "".join(_plain_link(part) if part.url else part.text for part in segments(text))


def plain(text: str) -> str:
    """Write data as it is, but for what a reader could not see."""
    return clean(verbatim(text))


def _plain_link(part: Segment) -> str:
    return f"{part.text}: {part.url}" if part.text and part.text != part.url else part.url


def url(text: str) -> str | None:
    """Write a link's target: a web address, or nothing at all."""
    target = "".join(part.url or part.text for part in segments(text)).strip()
    return target if is_web_url(target) else None


def mrkdwn(text: str) -> str:
    """Write data into Slack's own markup."""
    if not _SLACK_SPECIAL.search(text):
        return plain(text)
    written: list[str] = []
    code = _Code()
    for part in segments(text):
        if not part.is_data:
            code.see(part.text)
            written.append(part.text)
        elif part.url:
            written.append(_slack_link(part))
        elif written and written[-1].endswith("<") and not is_web_url(part.text):
            # The template opens a link here, and `<!channel>` would be one.
            written[-1] = written[-1][:-1] + "&lt;"
            written.append(_slack_escaped(part.text))
        else:
            data = _slack_escaped(code.guarded(part.text))
            is_target = written and written[-1].endswith("<")
            written.append(data.replace("|", "%7C") if is_target else data)
    return "".join(written)


def _slack_escaped(text: str) -> str:
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_link(part: Segment) -> str:
    label = _slack_escaped(part.text)
    if not is_web_url(part.url):
        return label
    target = _slack_escaped(part.url).replace("|", "%7C")
    return f"<{target}|{label}>" if label else f"<{target}>"


def markdown(text: str) -> str:
    """Write data into Markdown as Discord reads it."""
    if not _MARKDOWN_SPECIAL.search(text):
        return plain(text)
    return _markdown(
        [part._replace(text=clean(part.text)) if part.is_data else part for part in segments(text)]
    )


def _markdown(parts: list[Segment]) -> str:
    special = _effective("".join(part.text for part in parts)) + (
        "[]" if any(part.url for part in parts) else ""
    )
    written: list[str] = []
    code = _Code()
    for part in parts:
        before = written[-1] if written else "\n"
        if not part.is_data:
            code.see(part.text)
            written.append(part.text)
        elif part.url:
            written.append(markdown_link(part.url, part.text))
        elif code.inside:
            written.append(code.guarded(part.text))
        elif before.endswith("]("):
            _write_target(written, part.text)
        else:
            written.append(_markdown_escaped(part.text, special, starts_line=before.endswith("\n")))
    return "".join(written)


def escape_markdown(text: str) -> str:
    """Write data into Markdown of which nothing else is known: every character that could do something."""
    return _markdown_escaped(clean(text), _EVERYTHING, starts_line=True)


def _write_target(written: list[str], target: str) -> None:
    if is_web_url(target):
        written.append(_percent_encoded(target))
    else:
        written[-1] = written[-1][:-1] + "\\("
        written.append(_markdown_escaped(target, _EVERYTHING, starts_line=False))


def _percent_encoded(target: str) -> str:
    return target.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E")


def markdown_link(url: str, text: str) -> str:
    """Write a link made of data; only the label where the address is none."""
    label = escape_markdown(text)
    if not is_web_url(url):
        return label
    return f"[{label}]({_percent_encoded(url)})" if label else _percent_encoded(url)


_EVERYTHING = "*_~|`[]"


def _effective(text: str) -> str:
    """Return the characters that would format something in this text: one alone does nothing."""
    found = [character for character in "*`" if text.count(character) > 1]
    if text.count("__") > 1 or (text.count("_") > 1 and re.search(r"_(?!\w)|_$", text)):
        found.append("_")
    found += [pair[0] for pair in ("~~", "||") if text.count(pair) > 1]
    if "](" in text:
        found += "[]"
    return "".join(found)


def _markdown_escaped(text: str, special: str, *, starts_line: bool) -> str:
    text = _ESCAPABLE.sub(r"\\\\", text)
    if special:
        text = re.sub(f"[{re.escape(special)}]", r"\\\g<0>", text)
    text = _ANGLE.sub(r"\\<", text)
    if starts_line:
        return _LINE_START.sub(r"\1\\", text)
    first, newline, rest = text.partition("\n")
    return first + newline + _LINE_START.sub(r"\1\\", rest)


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
        return url
    legacy = kind is None and under in {"attachments", "fields"}
    return mrkdwn if legacy and key in _LEGACY_TEXTS else plain


_LEGACY_TEXTS = frozenset({"pretext", "fallback", "title", "value", "footer", "author_name"})


def _slack_markdown(text: str) -> str:
    """Write data into Slack's markdown block: Markdown in which mentions are alive as well."""
    return _markdown(
        [part._replace(text=_slack_escaped(part.text)) if part.is_data else part for part in segments(text)]
    )


_SLACK_TEXTS: dict[str, Place] = {"plain_text": plain, "text": plain, "markdown": _slack_markdown}


def discord(_node: dict[str, Json], key: str, under: str) -> Place:
    """Find the markup of a text in a Discord message."""
    if _is_url(key):
        return url
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
