"""Block Kit's limits: each at its edge and one beyond."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.lab import blocks, mrkdwn

Block = dict[str, Any]


def words(length: int = 1, kind: str = "mrkdwn") -> Block:
    """A text object."""
    return {"type": kind, "text": "x" * length}


def plain(length: int = 1) -> Block:
    """A plain text object."""
    return words(length, "plain_text")


def section(**more: object) -> Block:
    """A section."""
    return {"type": "section", "text": words(), **more}


def button(**more: object) -> Block:
    """A button."""
    return {"type": "button", "text": plain(), **more}


def actions(*elements: Block) -> Block:
    """An actions block."""
    return {"type": "actions", "elements": list(elements)}


def image(**more: object) -> Block:
    """An image block."""
    return {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a", **more}


def confirm(**more: object) -> Block:
    """A confirmation dialog."""
    return {"title": plain(), "text": words(), "confirm": plain(), "deny": plain(), **more}


def url(length: int) -> str:
    """An address of so many characters."""
    return "https://x.io/".ljust(length, "a")[:length]


LIMITS: dict[str, tuple[int, Callable[[int], list[Block]]]] = {
    "blocks": (50, lambda n: [section()] * n),
    "header text": (150, lambda n: [{"type": "header", "text": plain(n)}]),
    "section text": (3_000, lambda n: [section(text=words(n))]),
    "section fields": (10, lambda n: [{"type": "section", "fields": [words()] * n}]),
    "field text": (2_000, lambda n: [{"type": "section", "fields": [words(n)]}]),
    "context elements": (10, lambda n: [{"type": "context", "elements": [words()] * n}]),
    "context text": (3_000, lambda n: [{"type": "context", "elements": [words(n)]}]),
    "actions elements": (25, lambda n: [actions(*[button()] * n)]),
    "markdown": (12_000, lambda n: [{"type": "markdown", "text": "x" * n}]),
    "image url": (3_000, lambda n: [image(image_url=url(n))]),
    "image alt_text": (2_000, lambda n: [image(alt_text="x" * n)]),
    "image title": (2_000, lambda n: [image(title=plain(n))]),
    "context image": (2_000, lambda n: [{"type": "context", "elements": [image(alt_text="x" * n)]}]),
    "button text": (75, lambda n: [actions(button(text=plain(n)))]),
    "button url": (3_000, lambda n: [actions(button(url=url(n)))]),
    "button value": (2_000, lambda n: [actions(button(value="x" * n))]),
    "action_id": (255, lambda n: [actions(button(action_id="x" * n))]),
    "block_id": (255, lambda n: [section(block_id="x" * n)]),
    "confirm title": (100, lambda n: [actions(button(confirm=confirm(title=plain(n))))]),
    "confirm text": (300, lambda n: [actions(button(confirm=confirm(text=words(n))))]),
    "confirm confirm": (30, lambda n: [actions(button(confirm=confirm(confirm=plain(n))))]),
    "confirm deny": (30, lambda n: [actions(button(confirm=confirm(deny=plain(n))))]),
    "select options": (
        100,
        lambda n: [actions({"type": "static_select", "options": [{"text": plain(), "value": "v"}] * n})],
    ),
    "select option groups": (
        100,
        lambda n: [actions({"type": "multi_static_select", "option_groups": [{"label": plain()}] * n})],
    ),
    "select placeholder": (150, lambda n: [actions({"type": "users_select", "placeholder": plain(n)})]),
}


@pytest.mark.parametrize(("limit", "make"), LIMITS.values(), ids=LIMITS)
def test_each_limit_at_its_edge(limit: int, make: Callable[[int], list[Block]]) -> None:
    """What has exactly the limit is taken; one more is refused, and so is nothing at all."""
    blocks.check(make(limit))
    with pytest.raises(blocks.BlockError):
        blocks.check(make(limit + 1))
    with pytest.raises(blocks.BlockError):
        blocks.check(make(0))


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (1, "/blocks/0: must be an object"),
        ({"text": "x"}, "/blocks/0/type: unsupported block type None"),
        ({"type": "header", "text": words()}, "/blocks/0/text/type: must be plain_text"),
        ({"type": "header", "text": "x"}, "/blocks/0/text: must be an object"),
        (
            {"type": "header", "text": {"type": "plain_text", "text": 1}},
            "/blocks/0/text/text: must be a string",
        ),
        ({"type": "section"}, "/blocks/0: a section needs text or fields"),
        (section(colour="red"), "/blocks/0: invalid additional property: colour"),
        (section(text={**words(), "emoji": True}), "/blocks/0/text: invalid additional property: emoji"),
        (section(text=words(kind="html")), "/blocks/0/text/type: must be plain_text or mrkdwn"),
        (section(accessory={"type": "bell"}), "/blocks/0/accessory/type: unsupported element type 'bell'"),
        (actions(image()), "/blocks/0/elements/0: an image is no action"),
        (actions(button(url="not an address")), "/blocks/0/elements/0/url: must be a valid URL"),
        (actions(button(style="loud")), "/blocks/0/elements/0/style: must be primary or danger"),
        (
            actions(button(action_id="a"), button(action_id="a")),
            "/blocks/0/elements/1/action_id: used twice in one block",
        ),
        (image(image_url="/a.png"), "/blocks/0/image_url: must be a valid URL"),
        ({"type": "divider", "text": plain()}, "/blocks/0: invalid additional property: text"),
    ],
)
def test_forms_that_are_refused(block: object, problem: str) -> None:
    """Each malformed block is refused with a pointer to what is wrong."""
    with pytest.raises(blocks.BlockError) as caught:
        blocks.check([block])
    assert str(caught.value).startswith(problem)


def test_a_repeated_block_id() -> None:
    """A block_id must be unique within the message."""
    with pytest.raises(blocks.BlockError, match="/blocks/1/block_id: used twice"):
        blocks.check([section(block_id="a"), section(block_id="a")])


def test_forms_that_are_taken() -> None:
    """What Slack documents passes, with every optional part."""
    message: list[Block] = [
        {"type": "header", "text": {**plain(), "emoji": True}, "block_id": "h"},
        section(fields=[words(), plain()], accessory=image(), expand=True, block_id="s"),
        section(text={**words(), "verbatim": True}),
        {"type": "context", "elements": [words(), image()]},
        actions(button(url="https://example.com", style="primary"), button(url="mailto:a@example.com")),
        actions({"type": "datepicker", "action_id": "d"}),
        {"type": "divider"},
        image(title=plain()),
        {"type": "image", "slack_file": {"id": "F1"}, "alt_text": "a"},
        {"type": "rich_text", "elements": []},
    ]
    blocks.check(message)


def test_the_sum_counts_every_text() -> None:
    """Headers, fields, buttons and markdown count; addresses and values do not."""
    message = [
        {"type": "header", "text": plain(10)},
        section(text=words(100), fields=[words(1_000)]),
        actions(button(text=plain(5), url=url(50), value="x" * 60)),
        {"type": "markdown", "text": "x" * 10_000},
    ]
    assert blocks.total_text(message) == 11_115


@pytest.mark.parametrize(
    ("text", "seen", "mentions"),
    [
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d", []),
        ("&amp;lt;", "&lt;", []),
        ("<!channel> <!here|here>", "[MENTION @channel] [MENTION @here]", ["@channel", "@here"]),
        (
            "<@U012> <@W012|bob> <!subteam^S1>",
            "[MENTION @U012] [MENTION @W012] [MENTION @subteam^S1]",
            ["@U012", "@W012", "@subteam^S1"],
        ),
        ("<#C012|general> <#C013>", "#general #C013", []),
        ("<https://x.io/?a=1&amp;b=2>", "https://x.io/?a=1&b=2", []),
        ("<https://x.io|a &lt; b>", "a < b (https://x.io)", []),
        ("<!date^1392734382^{date}|Feb 18>", "Feb 18", []),
        ("<b>bold</b> @channel", "<b>bold</b> @channel", []),
    ],
)
def test_what_a_reader_sees_of_mrkdwn(text: str, seen: str, mentions: list[str]) -> None:
    """Escapes are undone, links read as links, and what is live is named."""
    reading = mrkdwn.Reading()
    assert reading.mrkdwn(text) == seen
    assert reading.mentions == mentions


@pytest.mark.parametrize("how", [{"link_names": True}, {"parse": "full"}])
def test_bare_names_are_live_on_demand(how: dict[str, object]) -> None:
    """With link_names or parse=full a bare @channel rings."""
    reading = mrkdwn.read({"text": "hey @channel", **how})
    assert (reading.text, reading.mentions) == ("hey [MENTION @channel]", ["@channel"])


def test_what_a_reader_sees_of_blocks() -> None:
    """Blocks hide the text, but its mentions ring; plain text knows no escapes and no mentions."""
    reading = mrkdwn.read(
        {
            "text": "<!here> fallback",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "A &amp; <!channel>"}},
                section(
                    text={"type": "mrkdwn", "text": "body &lt;1&gt;"},
                    fields=[{"type": "mrkdwn", "text": "f"}],
                ),
                actions(button(text={"type": "plain_text", "text": "Open"})),
                {"type": "markdown", "text": "**done**"},
            ],
            "attachments": [
                {
                    "pretext": "pre",
                    "title": "t",
                    "fields": [{"title": "k", "value": "<@U1>"}],
                    "footer": "foot",
                    "blocks": [section(text={"type": "mrkdwn", "text": "inner"})],
                }
            ],
        }
    )
    lines = ["A &amp; <!channel>", "body <1>", "f", "Open", "**done**"]
    assert reading.lines == [*lines, "pre", "t", "k", "[MENTION @U1]", "inner", "foot"]
    assert reading.mentions == ["@here", "@U1"]
    assert reading.title == "A &amp; <!channel>"
