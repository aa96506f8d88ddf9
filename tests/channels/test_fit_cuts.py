"""The order in which the fitter cuts, what it reports, and what it attaches."""

from typing import Any

import msgspec
import pytest

from knell.channels import discord, slack
from knell.channels.discord_limits import fit_discord
from knell.channels.fit_file import FILENAME, MAX_FILE
from knell.channels.fit_text import shorten, shorten_markdown
from knell.channels.mail_limits import fit_mail
from knell.channels.segments import fit as fit_text_message
from knell.channels.slack_limits import fit_slack
from knell.channels.webhook_limits import MAX_BODY, fit_webhook
from knell.events import Link, NotificationEvent
from knell.lab.embeds import check as discord_errors
from knell.messages import Attachment, FormattedMessage, MessageFormat
from knell.templates import TemplateEngine

Json = dict[str, Any]


def on_slack(content: Json, *, files: bool = False, **more: Any) -> FormattedMessage:
    """Lay a message for Slack out."""
    message = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content=content, **more)
    return fit_slack(message, slack.escape, files=files)


def on_discord(content: Json, **more: Any) -> FormattedMessage:
    """Lay a message for Discord out."""
    message = FormattedMessage(format=MessageFormat.JSON, content=content, **more)
    return fit_discord(message, discord.escape)


def content_of(message: FormattedMessage) -> Json:
    """Return content that is a mapping."""
    assert isinstance(message.content, dict)
    return message.content


def section(text: str, **more: Any) -> Json:
    """Make a section of a text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def failed(**fields: Any) -> NotificationEvent:
    """Make an event."""
    given: dict[str, Any] = {"event_type": "job_failed", "source": "tests", "title": "a title", **fields}
    return NotificationEvent(**given)


@pytest.mark.parametrize("kind", ["slack", "discord"])
def test_a_message_within_the_limits_is_itself(kind: str) -> None:
    """Nothing is copied, reported or attached."""
    event = failed(metadata={"error": "e", "job_id": "7"}, links=[Link("https://x.example", "x")])
    message = TemplateEngine().message(kind, [event])
    assert (fit_slack(message, slack.escape, files=True) if kind == "slack" else message) is message
    assert (fit_discord(message, discord.escape) if kind == "discord" else message) is message


def test_a_cut_text_is_reported_by_its_place_and_length() -> None:
    """Of a text of 5,900 characters 3,000 are shown, the last of them the sign of the cut."""
    fitted = on_slack({"text": "x", "blocks": [section("a"), section("b" * 5900)]})
    assert fitted.cuts == ("blocks[1].text: 2,901 of 5,900 characters left out",)


def test_surplus_goes_before_texts_are_shortened() -> None:
    """Of twelve fields nine and a note stay; the report names the list, then the text in it that was cut."""
    fields = [{"type": "mrkdwn", "text": "x" * 2500}, *[{"type": "mrkdwn", "text": "y"}] * 11]
    fitted = on_slack({"text": "x", "blocks": [{"type": "section", "fields": fields}]})
    assert fitted.cuts == (
        "blocks[0].fields[0]: 501 of 2,500 characters left out",
        "blocks[0].fields: 3 of 12 left out",
    )


def test_context_goes_before_sections_and_buttons_stay() -> None:
    """Without a priority of its own a block has that of its kind."""
    context = {"type": "context", "elements": [{"type": "mrkdwn", "text": "c"}]}
    button = {"type": "button", "text": {"type": "plain_text", "text": "Log"}}
    blocks = [context, *[section("s")] * 60, {"type": "actions", "elements": [button]}]
    kinds = [block["type"] for block in content_of(on_slack({"text": "x", "blocks": blocks}))["blocks"]]
    assert kinds == [*["section"] * 48, "actions", "context"]


def test_a_priority_says_what_goes_first_and_is_not_sent() -> None:
    """The field a template marks goes, wherever it stands; the mark itself never reaches a provider."""
    fields = [{"name": str(at), "value": "v", "priority": -1 if at == 3 else 5} for at in range(26)]
    fitted = content_of(on_discord({"embeds": [{"fields": fields}]}))
    names = [field["name"] for field in fitted["embeds"][0]["fields"]]
    assert "3" not in names
    assert names[:5] == ["0", "1", "2", "4", "5"]
    assert "priority" not in str(fitted)
    assert "priority" not in str(content_of(on_slack({"blocks": [section("a", priority=-1)]})))


def test_what_may_go_goes_before_the_longest_text_is_shortened_further() -> None:
    """Only as many priorities as are needed, the lowest first; without need nothing."""
    fields = [{"name": "n", "value": "v" * 900, "priority": priority} for priority in (-1, -2, 0)]
    embed = {"title": "t", "description": "d" * 4000, "fields": fields}
    fitted = on_discord({"embeds": [embed]})
    shown = content_of(fitted)["embeds"][0]
    assert len(shown["description"]) == 4000
    assert [field["value"][:1] for field in shown["fields"]] == ["v", "v", "…"]
    assert fitted.cuts[0] == "embeds[0].fields: 1 of 3 left out"
    assert on_discord({"embeds": [{**embed, "description": "d"}]}).cuts == ()


def test_a_note_never_breaks_the_sum_it_belongs_to() -> None:
    """Embeds whose sum leaves a place but no room for a note."""
    embeds = [{"title": "t", "description": "d" * 666} for _ in range(12)]
    fitted = content_of(on_discord({"embeds": embeds}))
    assert discord_errors(fitted, ()) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*Error*\n```" + "x" * 50 + "```", "*Error*\n```" + "x" * 25 + "…```"),
        ("*Error*\n```" + "x" * 27 + "``` and more", "*Error*\n```" + "x" * 25 + "…```"),
        ("a ```b``` " + "c" * 40, "a ```b``` " + "c" * 29 + "…"),
        ("x" * 37 + "```code```", "x" * 37 + "…"),
    ],
)
def test_a_code_block_that_is_cut_open_is_closed(text: str, expected: str) -> None:
    """Or all that follows on Slack would be code."""
    assert shorten(text, 40) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("```\n" + "x" * 50 + "\n```", 20, "```\n" + "x" * 11 + "…\n```"),
        ("a\\*b\\*c", 3, "a…"),
        ("a\\\\bcd", 4, "a\\\\…"),
        ("see [the log](https://x.example/a) now", 20, "see…"),
        ("[done] and so on", 10, "[done] an…"),
    ],
)
def test_a_cut_of_markdown_leaves_no_half(text: str, limit: int, expected: str) -> None:
    """No escape without its character, no link without its end."""
    assert shorten_markdown(text, limit) == expected


def test_embeds_of_one_address_keep_it_once() -> None:
    """Discord merges embeds of the same `url` and shows the text of the first only."""
    fitted = on_discord({"embeds": [{"title": str(at), "url": "https://x.example"} for at in range(2)]})
    assert content_of(fitted)["embeds"] == [{"title": "0", "url": "https://x.example"}, {"title": "1"}]
    assert fitted.cuts[0] == "embeds[1].url: left out, an earlier embed has the same"


@pytest.mark.parametrize(
    ("name", "stays"), [("Knell", True), ("x" * 81, False), ("My Discord", False), (" ", False)]
)
def test_a_name_discord_refuses_is_left_out(name: str, *, stays: bool) -> None:
    """1 to 80 characters, without clyde and discord; the webhook has a name of its own."""
    fitted = on_discord({"username": name, "content": "x"})
    assert ("username" in content_of(fitted)) is stays
    assert bool(fitted.cuts) is not stays


def test_white_space_around_a_text_does_not_count_on_discord() -> None:
    """It is trimmed before it is counted."""
    content = {"content": " " * 3000 + "x", "embeds": [{"title": "t" + " " * 300}]}
    fitted = on_discord(content)
    assert fitted.content == content
    assert fitted.cuts == ()


def test_what_was_cut_is_attached_in_full() -> None:
    """Title, description, metadata and links of the event as it was told."""
    event = failed(
        title="T" * 400,
        description="D" * 5000,
        metadata={"error": "line 1\nline 2", "n": [1]},
        links=[Link("u", "l")],
    )
    for fitted in (
        on_discord({"content": "x" * 2001}, events=(event,)),
        on_slack({"text": "x" * 40_001}, events=(event,), files=True),
    ):
        (file,) = fitted.attachments
        assert (file.filename, file.content_type) == (FILENAME, "text/plain; charset=utf-8")
        text = file.content.decode()
        assert text.startswith(f"{'T' * 400}\n\n{'D' * 5000}\n\nevent_type: job_failed\n")
        assert "error: line 1\nline 2\nn: [\n  1\n]" in text
        assert text.endswith("\n\nl u")
        assert fitted.cuts[-1] == "full text attached as details.txt"


def test_a_webhook_of_slack_gets_no_file() -> None:
    """It could not send one; the report says what is missing all the same."""
    fitted = on_slack({"text": "x" * 40_001}, events=(failed(),), files=False)
    assert fitted.attachments == ()
    assert fitted.cuts == ("text: 2 of 40,001 characters left out",)


def test_what_the_template_cut_is_attached_too() -> None:
    """The report of the template comes first."""
    fitted = on_discord(
        {"content": "x"}, events=(failed(),), cuts=("description: 5 of 9 characters left out",)
    )
    assert fitted.cuts == ("description: 5 of 9 characters left out", "full text attached as details.txt")
    assert len(fitted.attachments) == 1


def test_files_beyond_the_limits_are_left_out() -> None:
    """10 MiB each and ten of them; the file that says what is missing takes the place of the last."""
    files = (
        Attachment("secret-name", b"x" * (MAX_FILE + 1)),
        *(Attachment(str(at), b"x") for at in range(11)),
    )
    fitted = on_discord({"content": "x"}, attachments=files)
    assert [file.filename for file in fitted.attachments] == [*map(str, range(9)), FILENAME]
    assert fitted.cuts[0] == "attachments[0]: left out, it has 10,485,761 bytes"
    assert "secret-name" not in str(fitted.cuts)


def test_a_report_shows_no_event_text() -> None:
    """A key that a template made of event data is not named."""
    fitted = on_slack({"blocks": [{"type": "rich_text", "my secret key!": [{"text": "x" * 13_000}] * 2}]})
    assert fitted.cuts
    assert "secret" not in str(fitted.cuts)


def test_a_subject_is_cut_between_graphemes_and_reported() -> None:
    """On one line, with the sign of the cut."""
    family = "👩\u200d👧"
    message = FormattedMessage(format=MessageFormat.TEXT, content="x", events=(failed(title=family * 100),))
    fitted = fit_mail(message)
    assert fitted.metadata["subject"] == family * 83 + "…"
    assert fitted.cuts == ("subject: 51 of 300 characters left out",)
    assert fit_mail(fitted) is fitted


def test_a_text_message_reports_what_it_lost() -> None:
    """And nothing where it is only written cheaper."""
    cuts: list[str] = []
    shown = fit_text_message("x" * 500, 2, cuts=cuts)
    assert (len(shown), cuts) == (306, ["text: 197 of 500 characters left out"])
    cuts.clear()
    assert fit_text_message("“x”" + "y" * 100, 1, cuts=cuts) == '"x"' + "y" * 100
    assert cuts == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"error": "x" * 900_000, "short": "kept"},
        {"short": "kept"} | {f"key {at}": at for at in range(60_000)},
        {"short": "kept", "list": ["\x07" * 10] * 15_000},
        {"short": "kept", "k" * 300_000: 1},
    ],
    ids=["text", "keys", "list", "long key"],
)
def test_a_webhook_body_is_squeezed_below_its_limit(metadata: Json) -> None:
    """The largest parts give way, the small ones stay; every event is still there."""
    events = [failed(metadata=metadata)] * 4
    message = TemplateEngine().message("webhook", events)
    fitted = fit_webhook(message, message.content)
    told = content_of(fitted)
    size = len(msgspec.json.encode(told))
    assert 0.5 * MAX_BODY < size <= MAX_BODY or "k" * 300_000 in metadata
    assert [event["title"] for event in told["data"]["events"]] == ["a title"] * 4
    assert [event["metadata"]["short"] for event in told["data"]["events"]] == ["kept"] * 4
    assert fitted.cuts[0].startswith("body: ")
    assert fitted.cuts[0].endswith(" bytes left out")


def test_templates_report_what_they_cut_by_name() -> None:
    """What stands in full elsewhere is only previewed, and no cut."""
    event = failed(title="t" * 100, description="d" * 2000, metadata={"error": "e" * 2000, "job_id": "7"})
    engine = TemplateEngine()
    assert engine.message("discord", [event]).cuts == (
        "error: 801 of 2,000 characters left out",
        "description: 801 of 2,000 characters left out",
    )
    assert engine.message("slack", [event]).cuts == ()
    assert engine.message("email", [event]).cuts == ()
    assert engine.message("sms", [event]).cuts[0] == "title: 51 of 100 characters left out"
    assert engine.message("discord", [event, failed(title="t" * 101)]).cuts[0] == (
        "events[0].error: 1,861 of 2,000 characters left out"
    )


@pytest.mark.parametrize("limit", range(4, 12))
def test_no_half_escape_is_left(limit: int) -> None:
    """Not even where the escaped character looks like the beginning of a fence."""
    shown = shorten_markdown("ab\\`cd\\`ef\\`", limit).removesuffix("…")
    assert not shown.endswith("\\")
    assert "ab\\`cd\\`ef\\`".startswith(shown)
