"""Event data in JSON templates: any text arrives, and none becomes structure or markup."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.events import Link, NotificationEvent, seal
from knell.templates import TemplateEngine
from knell.templates.dialects import dialect_of, escape_markdown, markdown, mrkdwn, plain, verbatim
from knell.templates.taint import (
    CLOSE,
    LINK,
    OMIT,
    OPEN,
    Json,
    marked,
    marked_json,
    marked_link,
    parts,
    settle,
)
from knell.templates.text import clean

ENGINE = TemplateEngine()

_NASTY = st.sampled_from(
    [
        *(OPEN, CLOSE, LINK, OMIT, '"', "\\", "\n", "\r", "\0", "\x1b", "{{", "}}", "{%", "%}", "</"),
        *("<!channel>", "<@U1>", "<#1>", "*", "_", "~~", "||", "`", "```", "](", "[", "# ", "> ", "- "),
        *("\u202e", "\u2028", "🇯🇵"),
    ]
)
texts = st.lists(st.one_of(st.text(max_size=8), _NASTY), max_size=12).map("".join)
titles = texts.filter(str.strip)


def _event(title: str, description: str, value: str) -> NotificationEvent:
    """Make an event as the store hands it out, or none where no source could tell it."""
    fields: dict[str, Any] = {
        "title": title,
        "description": description,
        "metadata": {"error": value, "job_id": value},
    }
    return seal(
        NotificationEvent(event_type="job_failed", source=value, links=[Link("https://x", value)], **fields)
    ).event


def _shape(node: Json) -> object:
    if isinstance(node, dict):
        return {key: _shape(value) for key, value in node.items()}
    return [_shape(value) for value in node] if isinstance(node, list) else type(node)


@pytest.mark.parametrize("kind", ["slack", "discord"])
@given(title=titles, description=texts.map("x{}".format), value=texts.map("x{}".format))
def test_any_text_leaves_the_structure_as_it_is(kind: str, title: str, description: str, value: str) -> None:
    """Same keys, same lists, same types for every title, and no mark left over."""
    content = ENGINE.message(kind, [_event(title, description, value)]).content
    assert _shape(content) == _shape(ENGINE.message(kind, [_event("t", "d", "v")]).content)
    assert not re.search("[\ufdd0-\ufdd3]", msgspec.json.encode(content).decode())


@given(title=titles)
def test_a_webhook_gets_any_text_exactly(title: str) -> None:
    """But for the noncharacters that mark data."""
    content = ENGINE.message("webhook", [_event(title, "", "v")]).content
    assert isinstance(content, dict)
    stored = _event(title, "", "v").title
    assert content["data"]["title"] == re.sub("[\ufdd0-\ufdd3]", "", stored)


@given(text=texts)
def test_a_text_goes_through_json_and_back(text: str) -> None:
    """Marking, decoding and taking apart loses nothing but marks."""
    rendered = f'"a {marked(text)} b"'
    bare = re.sub("[\ufdd0-\ufdd3]", "", text)
    found = parts(msgspec.json.decode(rendered, type=str))
    assert found == [part for part in [("a ", False, ""), (bare, True, ""), (" b", False, "")] if part[0]]


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    )
)
def test_a_whole_value_goes_through_json_and_back(value: Any) -> None:
    """`tojson` writes every value JSON has, and texts in it are data."""
    tree = msgspec.json.decode(f'{{"value": {marked_json(value)}}}')
    assert settle(tree, dialect_of("webhook")) == {"value": _unmarked(value)}


def _unmarked(value: Json) -> Json:
    if isinstance(value, str):
        return re.sub("[\ufdd0-\ufdd3]", "", value)
    if isinstance(value, dict):
        return {_bare(key): _unmarked(item) for key, item in value.items()}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


@given(pieces=st.lists(st.sampled_from([OPEN, CLOSE, LINK, "<!here>", "x"]), max_size=10))
def test_marks_out_of_order_make_everything_data(pieces: list[str]) -> None:
    """A template that cuts or turns a marked text around cannot set its data free."""
    marks = [piece for piece in pieces if piece in (OPEN, CLOSE)]
    in_order = marks == [OPEN, CLOSE] * (len(marks) // 2)
    written = settle({"text": "".join([OPEN, "y", CLOSE, *pieces])}, dialect_of("slack"))["text"]
    assert isinstance(written, str)
    assert OPEN not in written
    assert CLOSE not in written
    assert in_order or "<!here>" not in written


@given(text=texts)
def test_slack_reads_what_was_written_and_nothing_is_alive(text: str) -> None:
    """Undoing the three entities gives the text back; no `<` is left."""
    written = mrkdwn(f"*{OPEN}{_bare(text)}{CLOSE}*")
    assert "<" not in written
    assert ">" not in written
    read = written[1:-1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert read == clean(_bare(text))


@given(
    text=texts,
    before=st.sampled_from(["", "**", "x ", "[", "\n"]),
    after=st.sampled_from(["", "**", " y", "](https://x)"]),
)
def test_discord_reads_what_was_written(text: str, before: str, after: str) -> None:
    """Taking the backslashes away, as Discord does, gives the text back."""
    written = markdown(f"{before}{OPEN}{_bare(text)}{CLOSE}{after}")
    assert _as_discord_reads(written) == _as_discord_reads(before) + clean(_bare(text)) + _as_discord_reads(
        after
    )


@given(pieces=st.lists(texts | _NASTY, min_size=1, max_size=5))
def test_nothing_in_a_discord_text_is_alive(pieces: list[str]) -> None:
    """No formatting, masked link, mention or heading, also where several values stand side by side."""
    side_by_side = markdown("".join(f"{OPEN}{_bare(piece)}{CLOSE}" for piece in pieces))
    assert _as_discord_reads(side_by_side) == "".join(clean(_bare(piece)) for piece in pieces)
    for written in (side_by_side, escape_markdown(_bare("".join(pieces)))):
        alive = re.sub(r"\\[!-/:-@\[-`{-~]", "x", written)
        assert alive.count("*") < 2
        assert alive.count("`") < 2
        assert len(re.findall("__", alive)) < 2
        assert alive.count("~~") < 2
        assert alive.count("||") < 2
        assert not re.search(r"\[[^\]]*\]\(", alive)
        assert not re.search(r"<[@#:]|<[a-z]{1,10}:", alive, re.IGNORECASE)
        assert not re.search(r"(?m)^[ \t]*(#{1,3}\s|>{1,3}\s|-#\s|[-*]\s)", alive)


def _bare(text: str) -> str:
    return re.sub("[\ufdd0-\ufdd3]", "", text)


def _as_discord_reads(text: str) -> str:
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


@pytest.mark.parametrize(
    "text",
    [
        "{{7*7}}",
        "snake_case_name in file_a.py",
        "a < b and c > d, 50 % - done",
        "C:\\temp\\new",
        "@everyone look",
        "<script>alert(1)</script>",
        "#42 fixed (see [1])",
        "~5 s | 3 tasks",
        "it's 5 o`clock",
    ],
)
def test_an_innocent_text_is_left_alone_in_discord(text: str) -> None:
    """A backslash stands only where a character would do something."""
    assert markdown(f"{OPEN}{text}{CLOSE}") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("*bold* and __init__", "\\*bold\\* and \\_\\_init\\_\\_"),
        ("_private_ x", "\\_private\\_ x"),
        ("||spoiler||", "\\|\\|spoiler\\|\\|"),
        ("[Log](https://evil.example)", "\\[Log\\](https://evil.example)"),
        ("# heading\n> quote\n- item\n-# small", "\\# heading\n\\> quote\n\\- item\n\\-# small"),
        (
            "<@1> <@&2> <#3> <:a:4> <t:5> <https://x> </ban:6>",
            "\\<@1> \\<@&2> \\<#3> \\<:a:4> \\<t:5> \\<https://x> \\</ban:6>",
        ),
        ("\\*", "\\\\*"),
        ("a\\", "a\\\\"),
    ],
)
def test_a_text_with_an_effect_is_escaped_in_discord(text: str, written: str) -> None:
    """The characters that would do something, and only those."""
    assert markdown(f"{OPEN}{text}{CLOSE}") == written


def test_data_in_code_cannot_end_the_code() -> None:
    """Nothing can be escaped in a code span, so its end is broken up."""
    for place in (mrkdwn, markdown):
        fenced = place(f"```{OPEN}a```b`{CLOSE}``` {OPEN}*x* ``` *y*{CLOSE}")
        assert fenced.startswith("```a`\u200b`\u200b`b`\u200b``` ")
        assert place(f"`{OPEN}a`b{CLOSE}`") == "`a\u02cbb`"
    assert markdown(f"`{OPEN}a_b_{CLOSE}`") == "`a_b_`"
    assert mrkdwn(f"```{OPEN}<!here>{CLOSE}```") == "```&lt;!here&gt;```"


@pytest.mark.parametrize(
    ("data", "slack", "discord"),
    [
        (
            "https://x.example.com/a(b)|c",
            "<https://x.example.com/a(b)%7Cc|L>",
            "[L](https://x.example.com/a%28b%29|c)",
        ),
        ("!channel", "&lt;!channel|L>", "[L]\\(!channel)"),
        ("javascript:alert(1)", "&lt;javascript:alert(1)|L>", "[L]\\(javascript:alert(1))"),
    ],
)
def test_data_in_a_link_the_template_opens_must_be_an_address(data: str, slack: str, discord: str) -> None:
    """`<{{ x }}|L>` and `[L]({{ x }})` are links to web addresses, and otherwise words."""
    assert mrkdwn(f"<{OPEN}{data}{CLOSE}|L>") == slack
    assert markdown(f"[L]({OPEN}{data}{CLOSE})") == discord


def test_what_cannot_be_seen_is_shown() -> None:
    """Bidirectional controls get their code point, other controls go, newline and tab stay."""
    assert plain(f"{OPEN}a\u202eb\u2066\x00\x1b[1m\r\n\tc\u200f{CLOSE}") == "a[U+202E]b[U+2066][1m\n\tc\u200f"
    assert markdown(f"{OPEN}\u202e(https://x.example.com){CLOSE}") == "\\[U+202E\\](https://x.example.com)"


@pytest.mark.parametrize(
    ("node", "written"),
    [
        ({"type": "plain_text", "text": "D"}, "<b> & *x*"),
        ({"type": "mrkdwn", "text": "D"}, "&lt;b&gt; &amp; *x*"),
        ({"type": "text", "text": "D"}, "<b> & *x*"),
        ({"type": "markdown", "text": "D"}, "&lt;b&gt; &amp; \\*x\\*"),
        ({"type": "button", "value": "D"}, "<b> & *x*"),
        ({"type": "image", "alt_text": "D"}, "<b> & *x*"),
    ],
)
def test_slack_places_are_told_apart(node: dict[str, str], written: str) -> None:
    """Plain text stays, mrkdwn is escaped, the markdown block both ways."""
    tree: dict[str, Any] = {
        "blocks": [{key: marked("<b> & *x*") if value == "D" else value for key, value in node.items()}]
    }
    settled = settle(tree, dialect_of("slack"))
    assert written in list(settled["blocks"][0].values())  # type: ignore[index, union-attr] # its own shape


def test_slacks_old_attachments_are_markup_too() -> None:
    """Title, text, fields and footer of an attachment hold mrkdwn."""
    data = marked("<!here>")
    tree: dict[str, Any] = {
        "attachments": [
            {"title": data, "pretext": data, "footer": data, "fields": [{"title": data, "value": data}]}
        ]
    }
    settled = settle(tree, dialect_of("slack"))
    assert "<!here>" not in str(settled)
    assert str(settled).count("&lt;!here&gt;") == 5


def test_a_dead_link_takes_its_button_and_no_more() -> None:
    """Buttons and images go, an embed only loses its link, an emptied block goes."""
    bad, good = marked("javascript:x"), marked("https://x.example.com")

    def button(url: str) -> dict[str, Any]:
        return {"type": "button", "text": {"type": "plain_text", "text": "x"}, "url": url}

    tree: dict[str, Any] = {
        "blocks": [
            {"type": "actions", "elements": [button(bad), button(good)]},
            {"type": "actions", "block_id": "a", "elements": [button(bad)]},
            {"type": "section", "text": {"type": "mrkdwn", "text": "t"}, "accessory": button(bad)},
            {"type": "image", "image_url": bad, "alt_text": "x"},
        ]
    }
    assert settle(tree, dialect_of("slack")) == {
        "blocks": [
            {"type": "actions", "elements": [button("https://x.example.com")]},
            {"type": "section", "text": {"type": "mrkdwn", "text": "t"}},
        ]
    }
    tree = {"embeds": [{"title": "t", "url": bad, "image": {"url": bad}, "thumbnail": {"url": good}}]}
    assert settle(tree, dialect_of("discord")) == {
        "embeds": [{"title": "t", "thumbnail": {"url": "https://x.example.com"}}]
    }


def test_other_kinds_get_their_data_as_it_is() -> None:
    """A provider knell knows nothing of gets every text exactly, addresses included."""
    tree: dict[str, Any] = {"url": marked("javascript:x"), "text": [marked("<b>\u202e*x*"), "y…"]}
    assert settle(tree, dialect_of("teams")) == {"url": "javascript:x", "text": ["<b>\u202e*x*", "y…"]}
    assert verbatim(f"see {marked_link('https://x', 'L')}, {marked_link('https://x', '')}") == (
        "see L: https://x, https://x"
    )
