"""The templates that come with knell: every event, every channel, both languages."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from knell.events import EventType, Link, NotificationEvent
from knell.messages import FormattedMessage, MessageFormat
from knell.templates import TemplateEngine
from knell.templates.taint import Json

KINDS = ("slack", "email", "discord", "webhook", "sms")
EVENTS = (*EventType, "job_cancelled", "job_canceled", "deploy.finished")
HOSTILE = 'He said "no" <!channel> <@U1> @everyone <script>alert(1)</script> {{7*7}} \\" \u202e\n% }]'

EventFactory = Callable[..., NotificationEvent]
TextOf = Callable[[FormattedMessage], str]

each_message = pytest.mark.parametrize(
    ("kind", "event_type", "locale"),
    [(kind, event_type, locale) for kind in KINDS for event_type in EVENTS for locale in ("en", "ja")],
)


@each_message
def test_every_event_shows_the_five_facts(
    kind: str,
    event_type: str,
    locale: str,
    engine: TemplateEngine,
    rich: EventFactory,
    text_of: TextOf,
) -> None:
    """Subject, status, error, duration and a link stand in the message whenever the event has them."""
    text = text_of(engine.message(kind, [rich(event_type)], locale=locale))
    if kind == "webhook":
        assert "192.4" in str(engine.message(kind, [rich(event_type)]).content)
    else:
        assert ("3 min 12 s" if locale == "en" else "3分12秒") in text
    subjects = {"task": "1.4", "agent": "1.4", "pr": "42"}
    assert subjects.get(event_type.split("_", maxsplit=1)[0], "job-7") in text
    assert "stuck" in text
    assert "exit code 137" in text
    assert "https://ci.example.com/jobs/7" in text


@each_message
def test_an_event_with_the_least_of_fields_says_its_status(
    kind: str,
    event_type: str,
    locale: str,
    engine: TemplateEngine,
    minimal: EventFactory,
    text_of: TextOf,
) -> None:
    """The status is derived from the event type when the metadata has none."""
    message = engine.message(kind, [minimal(event_type)], locale=locale)
    text = text_of(message).lower()
    words = {
        "job_started": ("running", "実行中"),
        "job_completed": ("completed", "完了"),
        "job_failed": ("failed", "失敗"),
        "task_started": ("running", "実行中"),
        "task_completed": ("completed", "完了"),
        "task_failed": ("failed", "失敗"),
        "pr_created": ("open", "作成" if kind == "sms" else "オープン"),
        "pr_merged": ("merged", "マージ"),
        "pr_closed": ("closed", "クローズ"),
        "agent_error": ("error", "エラー"),
        "system_alert": ("active", "発生中"),
        "job_cancelled": ("cancelled", "キャンセル"),
        "job_canceled": ("cancelled", "キャンセル"),
        "deploy.finished": ("info", "情報"),
    }
    expected = event_type if kind == "webhook" else words[event_type][locale == "ja"]
    assert expected in text
    assert "nightly build" in text
    assert "\N{EN DASH}" not in text


@each_message
def test_a_hostile_event_changes_no_structure(
    kind: str,
    event_type: str,
    locale: str,
    engine: TemplateEngine,
    rich: EventFactory,
) -> None:
    """Whatever the texts of an event hold, the message has the shape it has for an innocent one."""
    innocent = rich(event_type, links=[Link("https://x.example.com", "L")])
    hostile = rich(
        event_type,
        title=HOSTILE,
        source=HOSTILE,
        description=HOSTILE,
        links=[Link("https://x.example.com", HOSTILE)],
        metadata={
            key: HOSTILE if isinstance(value, str) else value for key, value in innocent.metadata.items()
        }
        | {"pr_url": "https://x.example.com/1", "log_url": "https://x.example.com/2"},
    )
    assert _shape(engine.message(kind, [hostile], locale=locale).content) == _shape(
        engine.message(kind, [innocent], locale=locale).content
    )


def _shape(node: Json) -> object:
    if isinstance(node, dict):
        return {key: _shape(value) for key, value in node.items()}
    return [_shape(value) for value in node] if isinstance(node, list) else type(node)


@pytest.mark.parametrize("kind", KINDS)
def test_every_specified_event_has_a_file_of_its_own(kind: str, engine: TemplateEngine) -> None:
    """Each channel has a template per event type, a default and a digest."""
    stems = {name.rsplit(".", 1)[0] for name in engine.list_templates() if name.startswith(f"{kind}/")}
    assert {f"{kind}/{name}" for name in (*EventType, "default", "batch", "base")} <= stems


def test_an_error_leads_where_something_failed_and_follows_elsewhere(
    engine: TemplateEngine, rich: EventFactory
) -> None:
    """A failure shows its error before the facts, a closed pull request its reason after them."""

    def order(event_type: str) -> list[str]:
        content = engine.message("slack", [rich(event_type)]).content
        assert isinstance(content, dict)
        kinds = ["error" if "```" in str(block) else str(block["type"]) for block in content["blocks"]]
        return [kind for kind in kinds if kind in {"error", "section"}]

    assert order("job_failed")[0] == "error"
    assert order("pr_closed")[-1] == "error"


@pytest.mark.parametrize(
    ("event_type", "label"),
    [
        ("job_failed", "*Job*"),
        ("task_failed", "*Task*"),
        ("pr_merged", "*Pull request*"),
        ("agent_error", "*Runner*"),
    ],
)
def test_each_kind_of_event_shows_what_it_is_about_first(
    event_type: str, label: str, engine: TemplateEngine, rich: EventFactory
) -> None:
    """The first field is the job, the task, the pull request or the runner."""
    content = engine.message("slack", [rich(event_type)]).content
    assert isinstance(content, dict)
    fields = next(block["fields"] for block in content["blocks"] if "fields" in block)
    assert fields[0]["text"].startswith(label)


def test_slack_gets_buttons_and_a_notification(engine: TemplateEngine, rich: EventFactory) -> None:
    """Five buttons, further links below, and a short text for where blocks cannot be shown."""
    links = [Link(f"https://x.example.com/{number}", "L" * 200) for number in range(9)]
    event = rich(title="t" * 9000, description="d" * 9000, links=links)
    message = engine.message("slack", [event])
    assert message.format is MessageFormat.SLACK_BLOCKS
    content = message.content
    assert isinstance(content, dict)
    blocks = {block["type"]: block for block in content["blocks"]}
    assert [button["url"] for button in blocks["actions"]["elements"]] == [link.url for link in links[:5]]
    assert len(content["text"]) < 400
    assert links[5].url in str(blocks["context"])
    assert content["text"].startswith("❌ Job failed: ttt")


def test_discord_gets_an_embed(engine: TemplateEngine, rich: EventFactory) -> None:
    """Error and description have their share of one text; no ping; a colour and a time."""
    metadata = rich().metadata | {"error": "e" * 9000}
    message = engine.message("discord", [rich(title="t" * 9000, description="d" * 9000, metadata=metadata)])
    content = message.content
    assert isinstance(content, dict)
    (embed,) = content["embeds"]
    assert content["allowed_mentions"] == {"parse": []}
    assert "e" * 1000 in embed["description"]
    assert "d" * 1000 in embed["description"]
    assert len(embed["description"]) <= 4096
    assert embed["color"] == 0xDC2626
    assert embed["timestamp"] == "2025-12-01T09:30:05Z"


def test_a_webhook_gets_the_event_exactly(engine: TemplateEngine, rich: EventFactory) -> None:
    """Type, time and the event as it was told: nothing escaped, nothing left out, null included."""
    event = rich(
        title=HOSTILE,
        metadata={"none": None, "deep": [{"a": [1, 2.5, False]}], "ls\u2028": "x\x07", "items": "*a* & <b>"},
        links=[Link("javascript:alert(1)", "x")],
    )
    message = engine.message("webhook", [event])
    assert message.format is MessageFormat.JSON
    assert message.content == {
        "type": "job_failed",
        "timestamp": "2025-12-01T09:30:05Z",
        "data": message.metadata["event"],
    }
    assert message.metadata["event"]["title"] == HOSTILE
    assert message.metadata["event"]["metadata"] == event.metadata


def test_a_text_message_is_one_part_of_gsm(engine: TemplateEngine, rich: EventFactory) -> None:
    """At most 160 characters; status and job first, the link whole at the end, typographic quotes plain."""
    message = engine.message(
        "sms", [rich(title="It\u2019s down \u2013 the \u201cnightly\u201d build " + "x" * 300)]
    )
    assert message.format is MessageFormat.TEXT
    assert isinstance(message.content, str)
    assert len(message.content) <= 160
    lead = "FAILED job-7 (nightly) (stuck, 3 min 12 s, Failed tasks: 1.4)"
    assert message.content.startswith(f'{lead} It\'s down - the "nightly"')
    assert message.content.endswith("...: exit code 137 https://ci.example.com/jobs/7")


def test_a_text_message_says_what_a_number_counts(engine: TemplateEngine, rich: EventFactory) -> None:
    """A bare 12 in parentheses tells its reader nothing."""
    said = engine.message("sms", [rich("job_completed", metadata={"job_id": "rel-1", "tasks_completed": 12})])
    assert str(said.content).startswith("COMPLETED rel-1 (Tasks: 12) ")


class _Mail(HTMLParser):
    """What a mail program would find in the HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and where it leads."""
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        """Note what is read."""
        self.words.append(data)


def test_a_mail_has_subject_html_and_text(engine: TemplateEngine, rich: EventFactory) -> None:
    """The subject is one line, the text says what the HTML says, and the HTML is in the reader's language."""
    message = engine.message("email", [rich(title="a\r\nBcc: x@example.com & <b>")], locale="ja")
    assert message.format is MessageFormat.HTML
    content = message.content
    assert isinstance(content, dict)
    assert content["subject"] == "ジョブ失敗: a Bcc: x@example.com & <b>"
    assert message.metadata["subject"] == content["subject"]
    assert '<html lang="ja"' in content["html"]
    words = " ".join(_Mail(content["html"]).words)
    for said in ("job-7 (nightly)", "exit code 137", "3分12秒", "feat/refunds → main"):
        assert said in words
        assert said in content["text"]


def test_no_script_and_no_foreign_link_gets_into_a_mail(engine: TemplateEngine, rich: EventFactory) -> None:
    """Data cannot make a tag, an attribute or a `javascript:` link."""
    hostile = '"><script>alert(1)</script><a href="https://evil.example">x</a>\' onload=x'
    metadata = dict.fromkeys(rich().metadata, hostile)
    links = [Link("javascript:alert(1)", "x"), Link('https://x.example.com/"onload="x', "y")]
    content = engine.message(
        "email", [rich(title=hostile, description=hostile, source=hostile, metadata=metadata, links=links)]
    ).content
    assert isinstance(content, dict)
    mail = _Mail(content["html"])
    assert "script" not in mail.tags
    assert mail.targets == ['https://x.example.com/"onload="x', "https://dash.example.com/jobs"]
    assert hostile.split("'", maxsplit=1)[0] in "".join(mail.words)


def test_no_live_mention_gets_into_slack(engine: TemplateEngine, rich: EventFactory) -> None:
    """In mrkdwn every `<` of data is an entity; a header is plain text and keeps it."""
    content = engine.message("slack", [rich(title=HOSTILE, description=HOSTILE, source=HOSTILE)]).content
    assert isinstance(content, dict)
    header, *rest = content["blocks"]
    assert header["text"]["type"] == "plain_text"
    assert '"no" <!channel> <@U1>' in header["text"]["text"]
    living = str(rest) + content["text"]
    assert "<!" not in living
    assert "<@" not in living
    assert "&lt;!channel&gt;" in living


@pytest.mark.parametrize("kind", ["slack", "discord"])
def test_a_link_that_is_none_gets_no_button(
    kind: str, engine: TemplateEngine, rich: EventFactory, text_of: TextOf
) -> None:
    """`javascript:`, credentials in a link and relative paths are left out, the rest of the message stays."""
    links = [Link("javascript:alert(1)"), Link("https://me:secret@x.example.com/"), Link("/etc/passwd")]
    text = text_of(engine.message(kind, [rich(links=links)]))
    assert "javascript" not in text
    assert "secret" not in text
    assert "passwd" not in text
    assert "https://git.example.com/pull/42" in text


def test_without_links_there_are_no_buttons(rich: EventFactory) -> None:
    """No empty actions block, no empty description, no empty embed fields."""
    event = rich(metadata={}, links=[], description="")
    content = TemplateEngine().message("slack", [event]).content
    assert isinstance(content, dict)
    assert [block["type"] for block in content["blocks"]] == ["header", "section", "context"]
    content = TemplateEngine().message("discord", [event]).content
    assert isinstance(content, dict)
    assert not {"url", "description"} & content["embeds"][0].keys()
