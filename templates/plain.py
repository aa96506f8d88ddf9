"""The built-in layout: a message for people that needs no template at all."""

from collections.abc import Mapping
from typing import Any

from .facts import rows
from .text import clean, one_line
from .wording import Catalog, msg


def entry_text(entry: Mapping[str, Any], words: Catalog) -> str:
    """Write one event: headline, description, facts, error, links, time."""
    event, known = entry["event"], entry["facts"]
    lines = [f"{entry['status_emoji']} {entry['headline']}: {one_line(event['title'])}"]
    if event["description"]:
        lines += ["", clean(event["description"])]
    lines += ["", *(f"{label}: {one_line(value)}" for _, label, value in rows(known))]
    if known["error"]:
        lines += ["", f"{words(msg('Error'))}:", clean(known["error"])]
    if known["links"]:
        lines += ["", *(f"{one_line(link['text'])}: {link['url']}" for link in known["links"])]
    lines += ["", f"{entry['timestamp']} | {words(msg('Source'))}: {one_line(event['source'])}"]
    return "\n".join(lines)


def messages_text(entries: list[Mapping[str, Any]], words: Catalog) -> str:
    """Write one event or several, one after the other."""
    texts = [entry_text(entry, words) for entry in entries]
    if len(texts) == 1:
        return texts[0]
    heading = words.fill(msg("%(count)s notifications"), count=len(texts))
    return "\n\n----\n\n".join([heading, *texts])
