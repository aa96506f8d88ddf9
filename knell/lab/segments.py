"""How many SMS segments a text takes (GSM 03.38, GSM 03.40; Twilio glossary, "SMS character limit").

Written for this stand-in alone: a fake must not share the code it checks.
"""

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("^{}\\[]~|€\f")

# Curly quotes, dashes, ellipsis and the no-break space, by number: in print they cannot be told apart.
_SMART = {
    0x2018: "'",
    0x2019: "'",
    0x201C: '"',
    0x201D: '"',
    0x2013: "-",
    0x2014: "-",
    0x2026: "...",
    0xA0: " ",
}

_GSM_SINGLE, _GSM_PART, _GSM_PART_TOLL_FREE = 160, 153, 152
_UCS_SINGLE, _UCS_PART, _UCS_PART_TOLL_FREE = 70, 67, 66
_TOLL_FREE = ("+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888")


def smart_encoded(text: str) -> str:
    """Replace typographic characters as `SmartEncoded` does (the common ones)."""
    return text.translate(_SMART)


def segments(text: str, sender: str = "") -> int:
    """Count the segments of a text sent from this number; nothing takes one."""
    toll_free = sender.startswith(_TOLL_FREE)
    if set(text) <= GSM_BASIC | GSM_EXTENDED:
        costs = [2 if character in GSM_EXTENDED else 1 for character in text]
        return _parts(costs, _GSM_SINGLE, _GSM_PART_TOLL_FREE if toll_free else _GSM_PART)
    costs = [2 if ord(character) > 0xFFFF else 1 for character in text]  # noqa: PLR2004 - end of the BMP
    return _parts(costs, _UCS_SINGLE, _UCS_PART_TOLL_FREE if toll_free else _UCS_PART)


def _parts(costs: list[int], single: int, part: int) -> int:
    if sum(costs) <= single:
        return 1
    parts, room = 1, part
    for cost in costs:
        # What takes two units is never cut in half: it moves whole to the next part.
        if cost > room:
            parts, room = parts + 1, part
        room -= cost
    return parts
