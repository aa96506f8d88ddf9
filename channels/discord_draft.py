"""A message on its way to Discord: what is shown, and the files that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from knell.messages import Attachment

from .fit import Json, is_object, mappings
from .fit_text import says
from .multipart import Part, form_data, safe_name

SILENT: dict[str, list[str]] = {"parse": []}
"""Nobody is mentioned: escaping alone does not stop @everyone."""

_COMPONENTS_V2 = 1 << 15
_BLANK: dict[str, Any] = {"content": "", "embeds": [], "components": []}
_ATTACHED = "attachment://"
_MEDIA = {"image": "url", "thumbnail": "url", "footer": "icon_url", "author": "icon_url"}
_WORDS = {"title", "description"}
_SIGNED = {"footer": "text", "author": "name"}
_SHOWN = {"image", "thumbnail", "video", "fields"}
_ONLY_NEW = {"username", "avatar_url", "thread_name", "applied_tags", "tts"}


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be shown.

    Attributes:
        content: the message as Discord's JSON.
        files: they go with it; their names are as Discord will show them.
        left_out: what does not go with it and why, in plain words.
    """

    content: dict[str, Any]
    files: tuple[Attachment, ...] = ()
    left_out: tuple[str, ...] = ()

    def bare(self, why: str) -> "Draft":
        """Return it without its files."""
        notes = tuple(f"{file.filename}: {why}" for file in self.files)
        return Draft(_unattached(self.content, set()), (), (*self.left_out, *notes))

    def worded(self, title: str) -> "Draft":
        """Return it with this title if there is nothing else to be seen: Discord refuses that (50006)."""
        if self.files or not is_blank(self.content):
            return self
        kept = {name: value for name, value in self.content.items() if name != "embeds"}
        note = "the message showed nothing: the title stands in its place"
        return Draft({**kept, "content": title}, (), (*self.left_out, note))

    @property
    def has_components(self) -> bool:
        """Whether there are buttons and the like: Discord ignores them unless the address announces them."""
        return bool(self.content.get("components"))

    async def posted(self, more: dict[str, Any]) -> tuple[bytes, str]:
        """Return body and content type of a new message; `more` stands where the content says nothing."""
        return await self._encoded({**more, **self.content})

    async def edited(self) -> tuple[bytes, str]:
        """Return body and content type for a message that is there: nothing of its old state stays."""
        flags = self.content.get("flags")
        blank = {} if isinstance(flags, int) and flags & _COMPONENTS_V2 else _BLANK
        kept = {name: value for name, value in self.content.items() if name not in _ONLY_NEW}
        return await self._encoded({**blank, **kept, "attachments": []})

    async def _encoded(self, payload: dict[str, Any]) -> tuple[bytes, str]:
        payload["allowed_mentions"] = SILENT
        if not self.files:
            return msgspec.json.encode(payload), "application/json"
        payload["attachments"] = [
            {"id": number, "filename": file.filename} for number, file in enumerate(self.files)
        ]
        parts = [Part("payload_json", msgspec.json.encode(payload), "application/json")]
        parts += [
            Part(f"files[{number}]", file.content, file.content_type, file.filename)
            for number, file in enumerate(self.files)
        ]
        return await form_data(parts)


def draft(content: dict[str, Any], attachments: Sequence[Attachment]) -> Draft:
    """Return a message with its files, which are within Discord's limits since it was fitted."""
    files = tuple(msgspec.structs.replace(given, filename=safe_name(given.filename)) for given in attachments)
    return Draft(_unattached(content, {file.filename for file in files}), files)


def is_blank(content: Json) -> bool:
    """Whether nothing is to be seen of a message without files: white space does not count."""
    if content.get("components") or content.get("poll") or says(content.get("content")):
        return False
    return not any(map(_is_seen, mappings(content.get("embeds"))))


def _is_seen(embed: Json) -> bool:
    if any(says(embed.get(key)) for key in _WORDS) or any(embed.get(key) for key in _SHOWN):
        return True
    return any(is_object(part := embed.get(owner)) and says(part.get(key)) for owner, key in _SIGNED.items())


def _unattached(content: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Take out pictures that show a file which does not come along: Discord refuses the whole message."""
    embeds = content.get("embeds")
    if not isinstance(embeds, list):
        return content
    return {**content, "embeds": [_embed(item, names) for item in cast("list[Any]", embeds)]}


def _embed(embed: Any, names: set[str]) -> Any:
    if not isinstance(embed, dict):
        return embed
    kept = dict(cast("dict[str, Any]", embed))
    for owner, key in _MEDIA.items():
        part = kept.get(owner)
        address = cast("dict[str, Any]", part).get(key) if isinstance(part, dict) else None
        if isinstance(address, str) and address.startswith(_ATTACHED):
            if address.removeprefix(_ATTACHED) in names:
                continue
            rest = {name: value for name, value in cast("dict[str, Any]", part).items() if name != key}
            kept[owner] = rest
            if not rest:
                del kept[owner]
    return kept
