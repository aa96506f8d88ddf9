import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.channels import discord, slack
from knell.channels.discord_limits import fit_discord as lay_out_discord
from knell.channels.fit_text import cut_escaped, shorten
from knell.channels.slack_limits import fit_slack as lay_out_slack
from knell.lab.bodies import listing, mapping
from knell.messages import FormattedMessage, MessageFormat

# The limits once more, by hand from the providers' pages: the tests must not read the table they test.
SLACK_TEXTS = {
    ("header", "text"): 150,
    ("section", "text"): 3000,
    ("section", "fields"): 2000,
    ("markdown", "text"): 12_000,
    ("image", "image_url"): 3000,
    ("image", "alt_text"): 2000,
    ("image", "title"): 2000,
    ("button", "text"): 75,
    ("button", "url"): 3000,
    ("button", "value"): 2000,
    ("confirm", "title"): 100,
    ("confirm", "text"): 300,
    ("confirm", "confirm"): 30,
    ("confirm", "deny"): 30,
}
SLACK_EVERYWHERE = {"placeholder": 150, "action_id": 255, "block_id": 255}
SLACK_LISTS = {("section", "fields"): 10, ("context", "elements"): 10, ("actions", "elements"): 25}
SLACK_LISTS_EVERYWHERE = {"options": 100, "option_groups": 100}
TEXT_OBJECTS = ("plain_text", "mrkdwn")

Strategy = st.SearchStrategy[Any]


def fit_slack(content: dict[str, Any]) -> dict[str, Any]:
    """Lay the content of a Slack message out."""
    message = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content=content)
    fitted = lay_out_slack(message, slack.escape, files=False)
    assert isinstance(fitted.content, dict)
    return fitted.content


def fit_discord(content: dict[str, Any]) -> dict[str, Any]:
    """Lay the content of a Discord message out."""
    message = FormattedMessage(format=MessageFormat.JSON, content=content)
    fitted = lay_out_discord(message, discord.escape)
    assert isinstance(fitted.content, dict)
    return fitted.content


def slack_violations(content: dict[str, Any]) -> list[str]:
    """Measure a fitted message."""
    found = [f"text {len(content['text'])}"] if len(str(content.get("text", ""))) > 40_000 else []
    attachments = objects(content.get("attachments"))
    found += ["attachments"] if len(attachments) > 100 else []
    footers = [attachment.get("footer") for attachment in attachments]
    found += ["footer" for footer in footers if isinstance(footer, str) and len(footer) > 300]
    for holder in [content, *attachments]:
        if blocks := listing(holder.get("blocks")):
            found += [f"{len(blocks)} blocks"] if len(blocks) > 50 else []
            ids = [block["block_id"] for block in objects(blocks) if isinstance(block.get("block_id"), str)]
            found += ["block_id twice"] if len(set(ids)) < len(ids) else []
            total = sum(block_texts(blocks))
            found += [f"sum {total}"] if total > 12_000 else []
            found += measured(blocks, "")
    return found


def measured(value: Any, kind: str) -> Iterator[str]:
    """Measure every text and list of a part of the blocks."""
    for item in listing(value) or []:
        yield from measured(item, kind)
    holder = mapping(value) or {}
    own = holder["type"] if isinstance(holder.get("type"), str) else kind
    for key, item in holder.items():
        limit = SLACK_TEXTS.get((own, key), SLACK_EVERYWHERE.get(key))
        most = SLACK_LISTS.get((own, key), SLACK_LISTS_EVERYWHERE.get(key))
        inner = mapping(item) or {}
        texts_ = [one.get("text") for one in [inner, *objects(item)] if one.get("type") in TEXT_OBJECTS]
        for text in [item, *texts_]:
            if isinstance(text, str) and limit is not None and not 0 < len(text) <= limit:
                yield f"{own}.{key} has {len(text)}"
        if (items := listing(item)) is not None and most is not None and not 0 < len(items) <= most:
            yield f"{own}.{key} has {len(items)} items"
        yield from measured(item, key)


def block_texts(value: Any) -> Iterator[int]:
    """Return the length of every text, as bolt-js #2509 seems to count."""
    for item in listing(value) or []:
        yield from block_texts(item)
    for key, item in (mapping(value) or {}).items():
        if key in {"text", "alt_text"} and isinstance(item, str):
            yield len(item)
        else:
            yield from block_texts(item)


def discord_violations(content: dict[str, Any]) -> list[str]:
    """Measure a fitted message."""
    found = ["content"] if len(str(content.get("content", "")).strip()) > 2000 else []
    embeds = objects(content.get("embeds"))
    found += [f"{len(embeds)} embeds"] if len(embeds) > 10 else []
    total = 0
    for embed in embeds:
        inner = objects(embed.get("fields"))
        found += [f"{len(inner)} fields"] if len(inner) > 25 else []
        limited = [
            (embed.get("title"), 256),
            (embed.get("description"), 4096),
            ((mapping(embed.get("footer")) or {}).get("text"), 2048),
            ((mapping(embed.get("author")) or {}).get("name"), 256),
        ]
        for field in inner:
            found += [f"empty {key}" for key in ("name", "value") if not field[key].strip()]
            limited += [(field["name"], 256), (field["value"], 1024)]
        lengths = [(len(text.strip()), limit) for text, limit in limited if isinstance(text, str)]
        found += [f"{length} > {limit}" for length, limit in lengths if length > limit]
        total += sum(length for length, _ in lengths)
    return found + ([f"sum {total}"] if total > 6000 else [])


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    return [found for item in listing(value) or [] if (found := mapping(item)) is not None]


def repeated(text: str, times: int) -> str:
    """Make a long text of a short one."""
    return (text * times)[:13_000]


def multiplied(items: list[Any], times: int) -> list[Any]:
    """Make a long list of a short one."""
    return items * times


def typed(kind: str, more: dict[str, Any]) -> dict[str, Any]:
    """Make an object of a type."""
    return {"type": kind, **more}


def nested(inner: Strategy) -> Strategy:
    """Put parts into lists, objects and typed objects."""
    objects_ = st.dictionaries(keys, inner, max_size=5)
    return st.lists(inner, max_size=30) | st.builds(typed, kinds, objects_) | objects_


scripts = st.text(
    st.characters(codec="utf-8") | st.sampled_from("aあ漢👩\u200d👧\u0301\ufe0f🇯🇵각\U0001f3fd &<>\n*_"),
    max_size=12,
)
texts: Strategy = st.builds(repeated, scripts, st.sampled_from([1, 1, 3, 40, 400, 3000]))
kinds = st.sampled_from(
    [
        *(
            "header",
            "section",
            "context",
            "actions",
            "markdown",
            "image",
            "divider",
            "button",
            "static_select",
        ),
        *("plain_text", "mrkdwn", "rich_text", "text", "confirm", "made-up"),
    ]
)
keys = st.sampled_from(
    [
        *(
            "text",
            "fields",
            "elements",
            "accessory",
            "alt_text",
            "image_url",
            "title",
            "url",
            "value",
            "confirm",
        ),
        *(
            "deny",
            "placeholder",
            "options",
            "option_groups",
            "action_id",
            "block_id",
            "blocks",
            "footer",
            "emoji",
        ),
    ]
)
text_objects: Strategy = st.builds(
    typed, st.sampled_from(TEXT_OBJECTS), st.fixed_dictionaries({"text": texts})
)
leaves: Strategy = texts | text_objects | st.none() | st.booleans() | st.integers()
parts: Strategy = st.recursive(leaves, nested, max_leaves=40)
slack_contents: Strategy = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "blocks": st.builds(multiplied, st.lists(parts, max_size=8), st.integers(1, 12)) | parts,
        "attachments": st.lists(st.dictionaries(keys, parts, max_size=3) | parts, max_size=3),
        "thread_ts": texts,
    },
)


@settings(deadline=None, max_examples=200)
@given(slack_contents)
def test_no_slack_content_breaks_a_limit(content: dict[str, Any]) -> None:
    """Whatever a template makes, the result is within every limit, and fitting it again changes nothing."""
    before = copy.deepcopy(content)
    fitted = fit_slack(content)
    assert slack_violations(fitted) == []
    assert fit_slack(fitted) == fitted
    assert content == before


def section(*lengths: int) -> dict[str, Any]:
    """Make a section with fields of such lengths."""
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * length} for length in lengths]}


WITHIN = {
    "text": "x" * 40_000,
    "blocks": [
        {"type": "header", "text": {"type": "plain_text", "text": "あ" * 150, "emoji": True}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "<https://example.com|a> &amp; " + "x" * 2900},
        },
        section(2000, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": " "}] * 10},
        {
            "type": "image",
            "image_url": "h" * 3000,
            "alt_text": "x",
            "title": {"type": "plain_text", "text": "x"},
        },
        {
            "type": "actions",
            "block_id": "b" * 255,
            "elements": [
                {
                    "type": "button",
                    "text": {"type": "plain_text", "text": "x" * 75},
                    "url": "u" * 3000,
                    "value": "v" * 2000,
                }
            ]
            * 25,
        },
        *[{"type": "divider"}] * 44,
    ],
    "attachments": [{"color": "#ff0000", "footer": "x" * 300}] * 100,
}


def test_slack_content_within_the_limits_stays_as_it_is() -> None:
    """At every limit, not a byte changes, and nothing is copied."""
    fitted = fit_slack(WITHIN)
    assert json.dumps(fitted) == json.dumps(WITHIN)
    assert fitted["blocks"][1] is WITHIN["blocks"][1]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
            {"type": "header", "text": {"type": "plain_text", "text": "x" * 149 + "…"}},
        ),
        (
            section(*[1] * 12),
            {"type": "section", "fields": [*section(*[1] * 9)["fields"], {"type": "mrkdwn", "text": "… +3"}]},
        ),
        (
            {"type": "section", "text": {"type": "mrkdwn", "text": ""}, "fields": section(1)["fields"]},
            section(1),
        ),
        (
            {"type": "image", "image_url": "h", "alt_text": "x" * 2001},
            {"type": "image", "image_url": "h", "alt_text": "x" * 1999 + "…"},
        ),
        ({"type": "image", "image_url": "h" * 3001, "alt_text": "x"}, None),
        ({"type": "image", "image_url": "h", "alt_text": ""}, None),
        ({"type": "section", "text": {"type": "mrkdwn", "text": ""}}, None),
        ({"type": "header", "text": {"type": "plain_text", "text": ""}}, None),
        ({"type": "context", "elements": [{"type": "mrkdwn", "text": ""}]}, None),
        ({"type": "actions", "elements": []}, None),
        ({"type": "divider", "block_id": "x" * 256}, {"type": "divider"}),
    ],
)
def test_one_slack_block(block: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Texts are shortened, surplus items noted, and what Slack would refuse for being empty is left out."""
    kept = [{"type": "divider"}]
    assert fit_slack({"blocks": [*kept, block]})["blocks"] == kept + ([expected] if expected else [])


def test_button_link_that_is_too_long_is_left_out() -> None:
    """Half a link leads nowhere; the button stays."""
    label = {"type": "plain_text", "text": "Log"}
    block = {"type": "actions", "elements": [{"type": "button", "text": label, "url": "u" * 3001}]}
    expected = {"type": "actions", "elements": [{"type": "button", "text": label}]}
    assert fit_slack({"blocks": [block]})["blocks"] == [expected]


def test_content_with_nothing_left_has_no_blocks() -> None:
    """An empty list would be refused; the text is sent alone."""
    assert fit_slack({"text": "a", "blocks": [{"type": "actions", "elements": []}]}) == {"text": "a"}


def test_surplus_blocks_are_noted() -> None:
    """Of 60 blocks 49 are kept, and a last one says how many are missing."""
    blocks = fit_slack({"blocks": [section(1)] * 60})["blocks"]
    assert blocks[:-1] == [section(1)] * 49
    assert blocks[-1] == {"type": "context", "elements": [{"type": "mrkdwn", "text": "… +11"}]}


def test_long_texts_give_way_before_blocks_do() -> None:
    """A long list in the middle does not cost the button below it, and short texts stay whole."""
    button = {
        "type": "actions",
        "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Log"}}],
    }
    blocks = fit_slack({"blocks": [section(10, 2000, 2000), section(*[2000] * 5), button]})["blocks"]
    lengths = [len(field["text"]) for block in blocks[:2] for field in block["fields"]]
    assert lengths == [10, *[1712] * 7]
    assert blocks[2] == button


def test_blocks_go_when_their_texts_would_be_too_short_to_read() -> None:
    """With 49 blocks of 10 fields the last blocks are dropped rather than all texts cut to a few letters."""
    blocks = fit_slack({"blocks": [section(*[100] * 10)] * 49})["blocks"]
    assert len(blocks) == 30
    assert blocks[-1]["elements"][0]["text"] == "… +20"
    assert min(len(field["text"]) for field in blocks[0]["fields"]) >= 40


def test_repeated_block_id_is_left_out() -> None:
    """A `block_id` must be unique: the first keeps it."""
    blocks = fit_slack({"blocks": [{"type": "divider", "block_id": "a"}] * 2})["blocks"]
    assert blocks == [{"type": "divider", "block_id": "a"}, {"type": "divider"}]


def test_deep_content_does_not_end_the_program() -> None:
    """A structure deeper than anything Slack knows is left out, not recursed into."""
    deep: dict[str, Any] = {"type": "divider"}
    for _ in range(900):
        deep = {"type": "section", "text": {"type": "mrkdwn", "text": "a"}, "accessory": deep}
    assert len(json.dumps(fit_slack({"blocks": [deep]}))) < 5000


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc&amp;d", 6, "abc…"),
        ("a&amp;bcde", 8, "a&amp;b…"),
        ("see <https://example.com/long|the log> now", 20, "see…"),
        ("see <https://e.com|x> and more", 24, "see <https://e.com|x> a…"),
        ("1 < 2 and so on", 8, "1 < 2 a…"),
        ("call <!channel> please", 10, "call…"),
        ("a👩\u200d👩\u200d👧 family", 5, "a…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
    ],
)
def test_shorten(text: str, limit: int, expected: str) -> None:
    """A cut leaves no half grapheme, entity or link."""
    assert shorten(text, limit) == expected


@given(texts, st.integers(1, 3000))
def test_cut_escaped_keeps_the_limit_after_escaping(text: str, limit: int) -> None:
    """What grows by escaping is cut before, and what fits is left alone."""

    def escape(plain: str) -> str:
        return plain.replace("&", "&amp;").replace("*", "\\*")

    cut = cut_escaped(text, limit, escape)
    assert len(escape(cut)) <= limit
    assert cut == text or len(escape(text)) > limit


fields: Strategy = st.fixed_dictionaries({}, optional={"name": texts, "value": texts | parts}) | parts
embeds: Strategy = st.fixed_dictionaries(
    {},
    optional={
        "title": texts,
        "description": texts,
        "footer": st.fixed_dictionaries({"text": texts}) | parts,
        "author": st.fixed_dictionaries({"name": texts}) | parts,
        "fields": st.lists(fields, max_size=30) | parts,
        "color": st.integers(0, 0xFFFFFF),
    },
)
discord_contents: Strategy = st.fixed_dictionaries(
    {},
    optional={
        "content": texts,
        "embeds": st.lists(embeds | parts, max_size=14) | parts,
        "tts": st.booleans(),
    },
)


@settings(deadline=None, max_examples=200)
@given(discord_contents)
def test_no_discord_content_breaks_a_limit(content: dict[str, Any]) -> None:
    """Whatever a template makes, the result is within every limit, and fitting it again changes nothing."""
    before = copy.deepcopy(content)
    fitted = fit_discord(content)
    assert discord_violations(fitted) == []
    assert fit_discord(fitted) == fitted
    assert content == before


def test_discord_content_within_the_limits_stays_as_it_is() -> None:
    """At the limits, not a byte changes."""
    content = {
        "content": "あ" * 2000,
        "embeds": [
            {
                "title": "x" * 256,
                "description": "x" * 4096,
                "footer": {"text": "x" * 114},
                "author": {"name": "x" * 256},
            },
            {"fields": [{"name": "x" * 3, "value": "x" * 48, "inline": True}] * 25},
            *[{"color": 1}] * 8,
        ],
    }
    assert json.dumps(fit_discord(content)) == json.dumps(content)


@pytest.mark.parametrize(
    ("embed", "expected"),
    [
        ({"title": "x" * 257}, {"title": "x" * 255 + "…"}),
        ({"fields": [{"name": "", "value": " \n"}]}, {"fields": [{"name": "\u200b", "value": "\u200b"}]}),
        ({"fields": [{"value": 7}]}, {"fields": [{"value": "7", "name": "\u200b"}]}),
        (
            {"fields": [{"name": "a", "value": "b"}] * 27},
            {"fields": [{"name": "a", "value": "b"}] * 24 + [{"name": "\u200b", "value": "… +3"}]},
        ),
        (
            {"footer": {"text": "x" * 2049, "icon_url": "u"}, "author": {"name": "x" * 257}},
            {"footer": {"text": "x" * 2047 + "…", "icon_url": "u"}, "author": {"name": "x" * 255 + "…"}},
        ),
    ],
)
def test_one_embed(embed: dict[str, Any], expected: dict[str, Any]) -> None:
    """Texts are shortened, surplus fields noted, and empty ones made invisible instead of refused."""
    assert fit_discord({"embeds": [embed]})["embeds"] == [expected]


def test_surplus_embeds_are_noted() -> None:
    """Of 12 embeds 9 are kept, and a last one says how many are missing."""
    shown = fit_discord({"embeds": [{"title": "a"}] * 12})["embeds"]
    assert shown == [{"title": "a"}] * 9 + [{"description": "… +3"}]


def test_long_embeds_share_what_there_is() -> None:
    """The sum over all embeds is kept by the longest texts."""
    shown = fit_discord({"embeds": [{"title": "short", "description": "x" * 4096}] * 10})["embeds"]
    assert [len(embed["description"]) for embed in shown] == [595] * 10
    assert {embed["title"] for embed in shown} == {"short"}
