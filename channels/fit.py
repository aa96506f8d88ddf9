"""Laying a message out under the limits of a provider, which refuses all of it for one character.

What does not fit gives way in this order, and every cut is reported in plain words, without event text:

1. Surplus items of a list go, the lowest `priority` first, among equals the last; a note says how many.
2. Each text is shortened between graphemes to what its place holds, and ended by "…".
3. Where the texts together are too long, items with a priority below 0 go, one priority after the other; then
   the longest texts give way, so that a button behind a long description survives; and only when all would
   become too short to read, further items go.
4. The whole is attached as a file where the channel can send one (`fit_file.py`).

What is within the limits stays byte for byte. Limits are data (`slack_limits.py`, `discord_limits.py`), and
everything here is pure. A character is a code point, as in slack_sdk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import is_
from typing import Any, NamedTuple, TypeGuard

from ..templates.text import cut
from .fit_text import Cutter

Json = dict[str, Any]

PRIORITY = "priority"
"""The key by which a template says how early an item of a list goes; no provider sees it."""

_LEAST = 40
"""Characters worth keeping of a text: before all shrink below it, an item is dropped (ours)."""

_MAX_DEPTH = 32
_LONGEST_KEY = 20
_WHITE = " \t\r\n"


class Rule(NamedTuple):
    """What one key of an object may hold.

    Attributes:
        chars: of the text, or of each text in the list.
        items: in the list.
        whole: the text means something else when it is cut, so it is left out instead.
        cut: shortens a text that stands here.
    """

    chars: int | None = None
    items: int | None = None
    whole: bool = False
    cut: Cutter = cut


Rules = Mapping[str, Rule]
Needs = tuple[frozenset[str], ...]
_FREE = Rule()


@dataclass(frozen=True)
class Limits:
    """The limits of one provider.

    Attributes:
        total: characters all counted texts may have together.
        kinds: rules by an object's kind.
        common: rules of objects of any other kind.
        kind: an object's kind, by the object and the key it lies under.
        counts: whether the text under a key of a kind counts towards the total.
        note: an item that says how many of its list are missing, by the list's kind and key.
        texts: kinds whose `text` has the limit of where the object stands -> how it is cut.
        needs: one key of each set, or the object is refused: nothing empty must cost the rest.
        ranks: priority by kind where the item names none.
        trims: the provider counts a text without the white space around it.
        empty: whether an empty text may stand where there is a limit.
    """

    total: int
    kinds: Mapping[str, Rules]
    kind: Callable[[Json, str], str]
    counts: Callable[[str, str], bool]
    note: Callable[[str, str, int], Json | None]
    common: Rules = field(default_factory=dict[str, Rule])
    texts: Mapping[str, Cutter] = field(default_factory=dict[str, Cutter])
    needs: Mapping[str, Needs] = field(default_factory=dict[str, Needs])
    ranks: Mapping[str, int] = field(default_factory=dict[str, int])
    trims: bool = False
    empty: bool = True


class Laid(NamedTuple):
    """A part of a message within the limits, and what had to go."""

    value: Any
    cuts: list[str]


def lay_out(items: list[Any], key: str, limits: Limits, most: int) -> Laid:
    """Return the list under a key of a message within the limits; None where nothing is left of it."""
    rule = Rule(items=most)
    laid = _Pass(limits)
    value = laid.walk(items, rule, "", key, key)
    for floor in sorted(laid.low):
        if sum(laid.sizes) <= limits.total:
            return Laid(value, laid.cuts)
        laid = _Pass(limits, floor)
        value = laid.walk(items, rule, "", key, key)
    if sum(laid.sizes) > limits.total:
        cap, stay = _sharing(laid, limits.total)
        laid = _Pass(limits, laid.floor, cap, stay)
        value = laid.walk(items, rule, "", key, key)
    return Laid(value, laid.cuts)


def shortened(text: str, limit: int, path: str, cuts: list[str], cutter: Cutter = cut) -> str:
    """Return a text within a limit, and report what is missing."""
    shown = cutter(text, limit)
    if shown != text:
        cuts.append(characters(path, len(text) - len(shown) + 1, len(text)))
    return shown


def characters(path: str, lost: int, of: int) -> str:
    """Report a text that was cut."""
    return f"{path}: {lost:,} of {of:,} characters left out"


def left_out(count: int) -> str:
    """Say in any language that there was more."""
    return f"… +{count}"


def replaced(holder: Json, key: str, value: Any) -> Json:
    """Return an object with another value under a key; without the key where nothing is left."""
    if value:
        return {**holder, key: value}
    return {name: item for name, item in holder.items() if name != key}


def mappings(value: Any) -> list[Json]:
    """Return the objects of a list; whatever else is in it, no provider would take."""
    return [item for item in value if is_object(item)] if is_list(value) else []


def is_object(value: Any) -> TypeGuard[Json]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether it is a JSON list."""
    return isinstance(value, list)


class _Item(NamedTuple):
    """An item that may stay: how early it goes, where it was, what it is now, and what was cut in it."""

    priority: int
    place: int
    value: Any
    cuts: list[str]
    sizes: list[int]


class _Pass:
    """One walk over a list of a message.

    Args:
        limits: the provider's.
        floor: items whose own priority is at most this go.
        cap: characters of a counted text, beside its own limit.
        stay: places in the outermost list whose items stay; all when absent.

    Attributes:
        cuts: the report.
        sizes: characters of the counted texts that are kept.
        low: priorities below 0 that were met.
        kept: the items of the list that was walked last, which is the outermost in the end.
    """

    def __init__(
        self,
        limits: Limits,
        floor: int | None = None,
        cap: int | None = None,
        stay: frozenset[int] | None = None,
    ) -> None:
        self.limits, self.floor, self.cap, self.stay = limits, floor, cap, stay
        self.cuts: list[str] = []
        self.sizes: list[int] = []
        self.low: set[int] = set()
        self.kept: list[_Item] = []

    def walk(self, values: list[Any], rule: Rule, kind: str, key: str, path: str, depth: int = 0) -> Any:
        """Return a list within its limits; itself where nothing changes, None where nothing is left."""
        outer = self.cuts, self.sizes
        found: list[_Item] = []
        lost: list[str] = []
        surplus = 0
        for index, value in enumerate(values):
            priority = self._priority(value, key)
            self.cuts, self.sizes = [], []
            part = self._part(value, rule, key, f"{path}[{index}]", depth + 1)
            if part is None:
                lost += self.cuts
            elif self._goes(priority, index, depth):
                surplus += 1
            else:
                found.append(_Item(priority, index, part, self.cuts, self.sizes))
        self.cuts, self.sizes = outer
        self.kept = self._chosen(found, rule, surplus, kind, key)
        for item in self.kept:
            self.cuts += item.cuts
            self.sizes += item.sizes
        self.cuts += lost
        items = [item.value for item in self.kept]
        if missing := surplus + len(found) - len(items):
            self.cuts.append(f"{path}: {missing} of {surplus + len(found)} left out")
            items += self._note(kind, key, missing)
        unchanged = len(items) == len(values) and all(map(is_, items, values))
        return (values if unchanged else items) or None

    def _note(self, kind: str, key: str, missing: int) -> list[Any]:
        """Return what stands for items that were left out, where the provider has a form for it."""
        note = self.limits.note(kind, key, missing)
        if not note:
            return []
        self.sizes.append(len(left_out(missing)) + 1)
        return [note]

    def _priority(self, value: Any, key: str) -> int:
        if not is_object(value):
            return 0
        own = value.get(PRIORITY)
        if type(own) is int:
            if own < 0:
                self.low.add(own)
            return own
        return self.limits.ranks.get(self.limits.kind(value, key), 0)

    def _goes(self, priority: int, index: int, depth: int) -> bool:
        if self.floor is not None and priority <= self.floor:
            return True
        return depth == 0 and self.stay is not None and index not in self.stay

    def _chosen(self, found: list[_Item], rule: Rule, surplus: int, kind: str, key: str) -> list[_Item]:
        """Return the items to keep, in their order; one fewer where a note needs the place."""
        if rule.items is None:
            return found
        noted = self.limits.note(kind, key, 1) is not None
        if len(found) + (noted and surplus > 0) <= rule.items:
            return found
        best = sorted(found, key=_last_to_go)[: rule.items - noted]
        return sorted(best, key=lambda item: item.place)

    def _part(self, value: Any, rule: Rule, key: str, path: str, depth: int) -> Any:
        """Return a part within its limits; None for what must be left out."""
        if isinstance(value, str):
            return self._text(value, rule, path, counted=False)
        if depth > _MAX_DEPTH and isinstance(value, list | dict):
            self.cuts.append(f"{path}: left out, it is nested too deep")
            return None
        if is_list(value):
            return self.walk(value, rule, "", key, path, depth)
        return self._object(value, rule, key, path, depth) if is_object(value) else value

    def _object(self, value: Json, rule: Rule, key: str, path: str, depth: int) -> Json | None:
        kind = self.limits.kind(value, key)
        rules = self.limits.kinds.get(kind, self.limits.common)
        cutter = self.limits.texts.get(kind)
        changes: Json = {PRIORITY: None} if type(value.get(PRIORITY)) is int else {}
        for name, item in value.items():
            own, place = rules.get(name, _FREE), f"{path}.{_plain(name)}"
            if isinstance(item, str):
                if cutter is not None and name == "text":
                    own, place = rule._replace(cut=cutter), path
                part: Any = self._text(item, own, place, counted=self.limits.counts(kind, name))
            elif is_list(item) and depth < _MAX_DEPTH:
                part = self.walk(item, own, kind, name, place, depth + 1)
            else:
                part = self._part(item, own, name, place, depth + 1)
            if part is not item:
                changes[name] = part
        if changes:
            value = {name: item for name, item in {**value, **changes}.items() if item is not None}
        return value if all(not keys.isdisjoint(value) for keys in self.limits.needs.get(kind, ())) else None

    def _text(self, text: str, rule: Rule, path: str, *, counted: bool) -> str | None:
        chars = rule.chars
        if chars is not None and not text and not self.limits.empty:
            return None
        if counted and self.cap is not None and not rule.whole:
            chars = self.cap if chars is None else min(chars, self.cap)
        body = text.strip(_WHITE) if self.limits.trims else text
        if chars is not None and len(body) > chars:
            if rule.whole:
                self.cuts.append(f"{path}: left out, it has {len(body):,} characters")
                return None
            text = body = shortened(body, chars, path, self.cuts, rule.cut)
        if counted:
            self.sizes.append(len(body))
        return text


def _plain(key: str) -> str:
    """Return a key as a report may show it: a template can make one of event text."""
    return key if key.isidentifier() and len(key) <= _LONGEST_KEY else "?"


def _last_to_go(item: _Item) -> tuple[int, int]:
    return -item.priority, item.place


def _sharing(laid: _Pass, total: int) -> tuple[int | None, frozenset[int]]:
    """Return how long the longest texts may be so that all fit, and the places of the items that stay."""
    order = sorted(laid.kept, key=_last_to_go)
    noted = sum(laid.sizes) - sum(sum(item.sizes) for item in order)
    while True:
        sizes = [size for item in order for size in item.sizes]
        cap = _level(sizes, total - noted)
        if cap is None or cap >= _LEAST:
            return cap, frozenset(item.place for item in order)
        order.pop()
        noted = _NOTE


_NOTE = len(left_out(10_000_000))


def _level(sizes: list[int], total: int) -> int | None:
    """Return how long the longest texts may be so that all fit; None when they fit as they are."""
    if sum(sizes) <= total:
        return None
    room, rest = total, len(sizes)
    for size in sorted(sizes):
        if size * rest > room:
            break
        room, rest = room - size, rest - 1
    return room // rest
