"""Events as nobody would send them by accident, for the suites that hold against anything."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from knell.errors import EventError
from knell.events import EventType, Link, NotificationEvent, Severity, seal

_MARKUP = """
<!channel> <!here|x> <@U012AB3CD> <#C0|x> <!subteam^S1> <!date^1^{date}|x> &lt;!channel> @everyone @here <@&1>
<@!1> <@1> <:a:1> <t:1:R> </x:1> <id:guide> * ** _ __ ~~ || ` `` ``` # > >>> - -# 1. \\ \\* [a](https://x.example)
[a]( ]( <https://x.example|y> < > & &amp; &#60; | <script>alert(1)</script> <b\tonclick='x'> </td></table>
<!-- --> " ' '><img src=x> {{ {{7*7}} {%raw%} {# #} ${x} %s %(count)s {0} \\u0041 \\n \\ ","x":"
=?utf-8?B?eA==?= =3D https://x.example/a_b_c?d=*e*&f=(g) http://user:pw@x.example/
javascript:alert(1) C:\\dir\\*
"""
"""Markup of every kind, open and closed."""

_UNSEEN = "\0 \x07 \x1b[31m \x7f \x85 \u2028 \u202e \u2066 \u2069 \u200b \u200d"
_NO_TEXT = "\ufeff \ufdd0 \ufdd1 \ufdd2x\ufdd2 \ufdd3 \ufffe \U0010ffff \ud800 \udfff \u00ad"
"""What cannot be seen, turns things around, is no character, or is half of one."""

_WHITE = [
    "\r\nBcc: a@x.example\r\n\r\n",
    "\n.\n",
    "\r",
    "\n",
    "\t",
    " ",
    "\n\n",
    "\n--x\n",
    "\u00a0",
    "\u3000",
]
_BREAKS = ["```\n", "\n# ", "> ", "word ", "the end. "]

_CLUSTERS = (
    "👩\u200d👩\u200d👧\u200d👦 👍🏽 🏳️\u200d🌈 🇯🇵 🇫🇷🇩🇪 1️⃣ e\u0301 a" + "\u0300" * 70 + " 각 \u1112\u1161\u11ab"
)
_LETTERS = "क्षि க்ஷ กำ นี้ か\u3099 ﷺ مرحبا שלום 漢字 ジョブ ß İ ǅ ﬁ → … \u00d7 \u2019 —"
"""What is one character for a reader, and what changes when it is written differently."""

PIECES = [*_MARKUP.split(), *_UNSEEN.split(" "), *_NO_TEXT.split(" "), *_WHITE, *_BREAKS]
PIECES.extend([*_CLUSTERS.split(" "), *_LETTERS.split(" ")])

_ADDRESSES = """
https://ci.example.com/jobs/7 https://x.example/a(b)_*c*_<d>?e=f|g&h HTTPS://EXAMPLE.COM http://[::1]:8/x https://
javascript:alert(1) https://user:pw@x.example/ data:,x https://例え.jp/パス https://x.example/]
https://x\\y x //x https://x.example:99999/ https://"x"/ mailto:a@x.example
"""
_BROKEN_URLS = [" ", "https://x.example/\n", "https://x.example/a b", "https://x.example/\u202e"]
URLS = [*_ADDRESSES.split(), *_BROKEN_URLS, *("https://x.example/" + "y" * length for length in (2970, 3100))]

_KEYS = """
job_id job_name task_id task_name pr_number pr_title component runner_id project repo status new_status error
reason traceback duration duration_ms tasks_completed tasks_total failed_tasks retry_count source_branch
target_branch commit pr_url log_url url draft
"""
KNOWN_KEYS = _KEYS.split()

LARGEST = 900_000
"""Octets of one text; an event holds 1 MiB."""


def _long(parts: list[str], times: int) -> str:
    text = "".join(parts)
    times = min(times, LARGEST // max(1, len(text.encode("utf-8", "surrogatepass"))))
    return text * max(1, times)


_piece = st.sampled_from(PIECES) | st.text(max_size=6)
_times = st.sampled_from([1] * 60 + [3, 10, 10, 40, 40, 200, 200, 1000, LARGEST])
texts = st.builds(_long, st.lists(_piece, max_size=6), _times)
short_texts = st.builds("".join, st.lists(_piece, max_size=4))
_scalars = (
    short_texts | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.booleans() | st.none()
)
_values: st.SearchStrategy[Any] = st.recursive(
    texts | _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KNOWN_KEYS) | short_texts, inner, max_size=3)
    ),
    max_leaves=6,
)


def _deep(depth: int, leaf: Any) -> Any:
    for level in range(depth):
        leaf = {"error": leaf} if level % 2 else [leaf]
    return leaf


def _wide(size: int, text: str) -> dict[str, Any]:
    return {f"k{at}{text}": at for at in range(size)}


def _failed(depth: int, leaf: str) -> dict[str, Any]:
    return {"error": _deep(depth, leaf)}


def _linked(count: int, text: str) -> list[Link]:
    return [Link(f"https://x.example/{at}", text) for at in range(count)]


_keys = st.sampled_from(KNOWN_KEYS) | short_texts
_metadata: st.SearchStrategy[dict[str, Any]] = st.dictionaries(_keys, _values, max_size=6)
_wide_metadata = st.builds(_wide, st.sampled_from([12, 10_000]), short_texts)
_deep_metadata = st.builds(_failed, st.integers(1, 28), texts)
_links = st.lists(st.builds(Link, st.sampled_from(URLS), texts), max_size=4)
_many_links = st.builds(_linked, st.sampled_from([9, 60, 2000]), short_texts)
_times_of_day = st.datetimes(timezones=st.sampled_from([UTC])) | st.sampled_from(
    [
        datetime.min.replace(tzinfo=UTC) + timedelta(days=1),
        datetime.max.replace(tzinfo=UTC) - timedelta(days=1),
    ]
)
_event_types = st.sampled_from([*map(str, EventType), "deploy.done", "a:_b.__c", "x" * 100])


@st.composite
def events(draw: st.DrawFn) -> NotificationEvent:
    """Draw an event that knell accepts, as it looks once it was accepted."""
    rare = draw(st.integers(0, 19))
    metadata = draw(_wide_metadata if rare == 0 else _deep_metadata if rare == 1 else _metadata)
    event = NotificationEvent(
        event_type=draw(_event_types),
        source=draw(short_texts).strip() or "source",
        title=draw(texts).strip() or "title",
        description=draw(texts | st.just("")),
        severity=draw(st.sampled_from(Severity)),
        metadata=metadata,
        links=draw(_many_links if rare == 2 else _links),
        timestamp=draw(_times_of_day),
        event_id=f"event-{rare}",
    )
    try:
        return seal(event).event
    except EventError:
        # Too large, or a link of nothing but blanks: what is left of it is an event.
        few: dict[str, Any] = {"metadata": {}, "links": [], "title": event.title[:1000]}
        return seal(msgspec.structs.replace(event, description=event.description[:1000], **few)).event


MOST = 1_500_000
"""Octets of a digest, about: above it only the time of a test grows."""


def _digest(some: list[NotificationEvent], size: int) -> list[NotificationEvent]:
    weight = sum(len(msgspec.json.encode(event)) for event in some) // len(some)
    size = max(len(some), min(size, MOST // weight))
    return [some[at % len(some)] for at in range(size)]


digests = st.builds(_digest, st.lists(events(), min_size=2, max_size=3), st.sampled_from([2, 2, 12, 60, 100]))
"""Several events, for one message."""
