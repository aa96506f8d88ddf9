"""Which template a message gets, what it may be, and how its errors read."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from knell.errors import TemplateError
from knell.events import Link, NotificationEvent, Severity
from knell.messages import MessageFormat
from knell.templates import TemplateEngine

EventFactory = Callable[..., NotificationEvent]

SPECIFIED = """{
  "blocks": [
    {"type": "header", "text": {"type": "plain_text", "text": "✅ Job Completed: {{ event.title }}"}},
    {
      "type": "section",
      "fields": [
        {"type": "mrkdwn", "text": "*Job ID:*\\n{{ event.metadata.job_id }}"},
        {"type": "mrkdwn", "text": "*Duration:*\\n{{ event.metadata.duration }}"},
        {"type": "mrkdwn",
         "text": "*Tasks:*\\n{{ event.metadata.tasks_completed }}/{{ event.metadata.tasks_total }}"},
        {"type": "mrkdwn", "text": "*Status:*\\n{{ event.metadata.status }}"}
      ]
    },
    {"type": "section", "text": {"type": "mrkdwn", "text": "{{ event.description }}"}},
    {
      "type": "actions",
      "elements": [
        {
          "type": "button",
          "text": {"type": "plain_text", "text": "View Dashboard"},
          "url": "{{ dashboard_url }}"
        }
      ]
    },
    {
      "type": "context",
      "elements": [{"type": "mrkdwn", "text": "{{ timestamp }} | Source: {{ event.source }}"}]
    }
  ]
}"""


def _write(folder: Path, name: str, source: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")


def _content(
    engine: TemplateEngine, source: str, event: NotificationEvent, kind: str = "slack"
) -> dict[str, Any]:
    engine.register_template(f"{kind}/probe.json", source)
    content = engine.message(kind, [event], override="probe").content
    assert isinstance(content, dict)
    return content


def test_the_specifications_own_template_renders_as_it_stands(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Known metadata is filled in, a missing key is a dash, and all named variables exist."""
    event = minimal("job_completed", metadata={"job_id": "job-1", "duration": "3m", "tasks_completed": 4})
    header, section, description, actions, context = _content(engine, SPECIFIED, event)["blocks"]
    assert header["text"]["text"] == "✅ Job Completed: nightly build"
    assert [field["text"] for field in section["fields"]] == [
        "*Job ID:*\njob-1",
        "*Duration:*\n3m",
        "*Tasks:*\n4/\N{EN DASH}",
        "*Status:*\n\N{EN DASH}",
    ]
    assert description["text"]["text"] == ""
    assert actions["elements"][0]["url"] == "https://dash.example.com/jobs"
    assert context["elements"][0]["text"] == "2025-12-01 09:30:05 UTC | Source: dispatcher"


def test_the_specified_variables_exist_in_every_file_type(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """`event`, `timestamp`, `severity_color`, `dashboard_url` and `metadata`."""
    engine.register_template(
        "pager/probe.txt",
        "{{ event.title }} {{ event.severity }} {{ timestamp }} {{ severity_color }} "
        "{{ dashboard_url }} {{ metadata.a }}",
    )
    message = engine.message("pager", [minimal(metadata={"a": 1}, severity="error")], override="probe")
    assert message.content == (
        "nightly build error 2025-12-01 09:30:05 UTC #dc2626 https://dash.example.com/jobs 1"
    )


def test_an_event_gets_its_own_template_else_the_default_else_the_plain_layout(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """The order in which a template is looked for."""
    event = minimal("job_failed")
    assert engine.message("pager", [event]).content == engine.plain([event]).content
    engine.register_template("pager/default.txt", "default {{ event.title }}")
    assert engine.message("pager", [event]).content == "default nightly build"
    engine.register_template("pager/job_failed.md", "own *{{ event.title }}*")
    message = engine.message("pager", [event])
    assert (message.format, message.content) == (MessageFormat.MARKDOWN, "own *nightly build*")


def test_an_override_names_a_file_of_the_kind_or_any_other(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """The extension may be left out; the kind's own folder comes first; a digest has no override."""
    engine.register_template("pager/loud.txt", "LOUD")
    engine.register_template("shared/loud.txt", "shared")
    event = minimal()
    assert engine.message("pager", [event], override="loud").content == "LOUD"
    assert engine.message("pager", [event], override="loud.txt").content == "LOUD"
    assert engine.message("pager", [event], override="shared/loud").content == "shared"
    assert "2 notifications" in str(engine.message("pager", [event, event], override="loud").content)


def test_a_template_that_is_not_there_is_named_with_its_neighbours(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """The error helps to find the right name."""
    with pytest.raises(TemplateError, match=r"no template 'job_fail'.*did you mean 'slack/job_failed.json'"):
        engine.message("slack", [minimal()], override="job_fail")
    with pytest.raises(TemplateError, match="no template 'nowhere/x'"):
        engine.render("nowhere/x", {"event": minimal()})


def test_the_operators_folder_wins_over_the_built_in_templates(tmp_path: Path, minimal: EventFactory) -> None:
    """By name, file by file; what the folder does not hold stays, and built-in files can be extended."""
    _write(tmp_path, "sms/job_failed.txt", "ours: {{ event.title }}")
    _write(tmp_path, "slack/job_failed.json", '{% extends "slack/base.json" %}{% set first = ["runner"] %}')
    _write(tmp_path, "sms/job_failed.txt~", "an editor's copy")
    engine = TemplateEngine(directories=[tmp_path])
    assert engine.message("sms", [minimal()]).content == "ours: nightly build"
    assert str(engine.message("sms", [minimal("job_started")]).content).startswith("STARTED")
    content = engine.message("slack", [minimal(metadata={"job_id": "j", "runner_id": "r"})]).content
    assert isinstance(content, dict)
    assert content["blocks"][1]["fields"][0]["text"] == "*Runner*\nr"
    assert "sms/job_failed.txt~" not in engine.list_templates()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, None),
        ({"email/job_failed.txt": "beside {{ event.title }}"}, "beside a & b"),
        ({"email/base.txt": "base {{ event.title }}"}, "base a & b"),
        ({"email/job_failed.html": "<p>{{ event.title }}</p><p>Call Bob</p>"}, "a & b\n\nCall Bob"),
        (
            {"email/job_failed.html": "<p>{{ event.title }}</p>", "email/base.txt": "base {{ event.title }}"},
            "base a & b",
        ),
        (
            {"email/job_failed.html": "<p>html</p>", "email/job_failed.txt": "beside {{ event.title }}"},
            "beside a & b",
        ),
    ],
)
def test_where_the_text_of_a_mail_comes_from(
    tmp_path: Path, minimal: EventFactory, files: dict[str, str], text: str | None
) -> None:
    """The file beside the HTML, the folder's `base.txt`, else the HTML; knell's text is for its own."""
    for name, source in files.items():
        _write(tmp_path, name, source)
    event = minimal(title="a & b")
    content = TemplateEngine(directories=[tmp_path]).message("email", [event]).content
    usual = TemplateEngine().message("email", [event]).content
    assert isinstance(content, dict)
    assert isinstance(usual, dict)
    assert content["text"] == (usual["text"] if text is None else text)


def test_a_mail_without_a_subject_block_gets_the_usual_subject(tmp_path: Path, minimal: EventFactory) -> None:
    """Any folder's HTML is a mail, with a subject and a text."""
    _write(tmp_path, "plainmail/default.html", "<p>{{ event.title }}</p>")
    engine = TemplateEngine(directories=[tmp_path])
    assert engine.message("plainmail", [minimal(title="a & b")]).content == {
        "subject": "Job failed: a & b",
        "html": "<p>a &amp; b</p>",
        "text": "a & b",
    }


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A typo in the configuration must not silently leave the operator's templates unused."""
    with pytest.raises(TemplateError, match="is not there"):
        TemplateEngine(directories=[tmp_path / "nowhere"])


def test_a_registered_template_replaces_another_at_once(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Also one that was rendered before, and one that others extend."""
    engine.register_template("pager/base.txt", "one {% block b %}{% endblock %}")
    engine.register_template(
        "pager/default.txt", '{% extends "pager/base.txt" %}{% block b %}x{% endblock %}'
    )
    assert engine.message("pager", [minimal()]).content == "one x"
    engine.register_template("pager/base.txt", "two {% block b %}{% endblock %}")
    assert engine.message("pager", [minimal()]).content == "two x"
    names = engine.list_templates()
    assert {"pager/base.txt", "pager/default.txt", "slack/job_failed.json"} <= set(names)
    assert names == sorted(set(names))


def test_a_compiled_template_of_the_host_is_escaped_as_well(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Whatever its own environment does, what it prints is data of the file type."""
    title = 'a "quote" <!channel> \n &'
    engine.register_template(
        "slack/host.json",
        jinja2.Template(
            '{"text": "{{ event.title }} {{ metadata.missing }} {{ event.title ~ event.links[0].url }}"}'
        ),
    )
    content = engine.message(
        "slack", [minimal(title=title, links=[Link("https://x")])], override="host"
    ).content
    safe = 'a "quote" &lt;!channel&gt; \n &amp;'
    assert content == {"text": f"{safe} \N{EN DASH} {safe}https://x"}
    engine.register_template("email/host.html", jinja2.Template("<p>{{ event.title }}</p>"))
    content = engine.message("email", [minimal(title="<b>")], override="host").content
    assert isinstance(content, dict)
    assert content["html"] == "<p>&lt;b&gt;</p>"


def test_render_takes_a_name_and_a_context(engine: TemplateEngine, minimal: EventFactory) -> None:
    """The specification's own method: an event or its plain data, a language, and variables of the host."""
    event = minimal(metadata={"job_id": "j"})
    link = "https://dash.example.com/jobs"
    assert engine.render("sms/job_failed", {"event": event}).content == f"FAILED j nightly build {link}"
    data = {"event_type": "job_failed", "source": "s", "title": "t"}
    assert engine.render("sms/job_failed.txt", {"event": data, "locale": "ja"}).content == f"失敗 t {link}"
    engine.register_template("pager/host.txt", "{{ team }} {{ extra.key }} {{ count }} {{ timestamp }}")
    message = engine.render(
        "pager/host", {"events": [event, event], "team": "A", "extra": {}, "timestamp": "now"}
    )
    assert message.content == "A \N{EN DASH} 2 now"


@pytest.mark.parametrize("context", [{}, {"event": None}, {"event": {"title": "t"}}, {"event": 5}])
def test_render_without_an_event_is_an_error(context: dict[str, Any], engine: TemplateEngine) -> None:
    """There is nothing to notify of."""
    with pytest.raises(TemplateError, match=r"sms/default\.txt: "):
        engine.render("sms/default", context)


def test_no_event_is_an_error(engine: TemplateEngine) -> None:
    """An empty batch is a mistake of the caller."""
    with pytest.raises(TemplateError, match="no event"):
        engine.message("slack", [])


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("slack/x.json", '{"text":\n "{{ event.titel }}"}', r"slack/x\.json:2: .*titel"),
        ("slack/x.json", "{\n\n{% if %}", r"slack/x\.json:3: "),
        ("slack/x.json", '{"text":\n"{{ event.title|nope }}"}', r"slack/x\.json:2: .*nope"),
        ("slack/x.json", '{"text": "a",\n "b": c\n}', r"slack/x\.json: .*no JSON.*line 2: \"b\": c"),
        ("slack/x.json", '{"text": {{ event.title }}}', r"slack/x\.json: .*no JSON"),
        ("slack/x.json", '["text"]', r"slack/x\.json: .*no JSON object"),
        ("slack/x.json", '{"{{ event.title }}": 1}', r"slack/x\.json: event data cannot name a key"),
        ("slack/x.json", '{% extends "slack/none.json" %}', r"slack/x\.json.*no template 'slack/none\.json'"),
        ("slack/x.json", '{% extends "slack/x.json" %}', r"slack/x\.json: nested too deep"),
        (
            "slack/x.json",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            r"slack/x\.json: nested too deep",
        ),
        ("sms/x.txt", "a\n{{ event.metadata.n + 1 }}", r"sms/x\.txt:2: .*does not have this value"),
        ("sms/x.txt", "{{ 1 // 0 }}", r"sms/x\.txt:1: .*zero"),
        ("sms/x.txt", "{{ event.metadata.get }}", r"sms/x\.txt:1: .*cannot be printed"),
        ("sms/x.txt", "{% autoescape false %}{% endautoescape %}", r"sms/x\.txt:1: autoescape"),
        ("sms/x.txt", "{{ facts.nope }}", r"sms/x\.txt:1: .*nope"),
        ("sms/x.exe", "", r"sms/x\.exe: .*\.json"),
    ],
)
def test_an_error_names_template_line_and_cause(
    name: str, source: str, expected: str, engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Whatever goes wrong is a TemplateError that says where."""
    with pytest.raises(TemplateError, match=expected):
        _register_and_render(engine, name, source, minimal())


def _register_and_render(engine: TemplateEngine, name: str, source: str, event: NotificationEvent) -> None:
    engine.register_template(name, source)
    engine.message(name.split("/", 1)[0], [event], override=name)


def test_a_file_that_is_no_text_is_a_template_error(tmp_path: Path, minimal: EventFactory) -> None:
    """Bytes that are not UTF-8 name the file too."""
    (tmp_path / "sms").mkdir()
    (tmp_path / "sms" / "job_failed.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match=r"sms/job_failed\.txt: "):
        TemplateEngine(directories=[tmp_path]).message("sms", [minimal()])


@pytest.mark.parametrize(
    "broken",
    [
        {"severity": "nonsense"},
        {"timestamp": "yesterday"},
        {"metadata": None},
        {"links": [None]},
        {"event_type": None},
        {"title": None},
    ],
)
def test_an_event_nobody_checked_breaks_no_plain_message(
    broken: dict[str, Any], engine: TemplateEngine
) -> None:
    """`message` raises TemplateError and nothing else; `plain` never raises and still shows the title."""
    fields: dict[str, Any] = {"event_type": "job_failed", "source": "s", "title": "nightly", **broken}
    event = NotificationEvent(**fields)
    with contextlib.suppress(TemplateError):
        engine.message("slack", [event])
    message = engine.plain([event])
    assert message.format is MessageFormat.TEXT
    assert str(event.title) in str(message.content)


def test_metadata_that_holds_itself_breaks_no_plain_message(engine: TemplateEngine) -> None:
    """Endless data is refused by templates and survived by the plain layout."""
    endless: dict[str, Any] = {}
    endless["self"] = endless
    event = NotificationEvent(event_type="job_failed", source="s", title="nightly", metadata=endless)
    with pytest.raises(TemplateError, match="nested too deep"):
        engine.message("slack", [event])
    assert engine.plain([event]).content == "nightly"


def test_the_plain_layout_holds_what_a_channel_without_templates_promises(
    engine: TemplateEngine, rich: EventFactory
) -> None:
    """Title, description, status, error, duration and links, in the reader's language."""
    text = engine.plain([rich()], locale="ja").content
    assert isinstance(text, str)
    for said in (
        "❌ ジョブ失敗: nightly build\n",
        "The build stopped early.",
        "ステータス: stuck",
        "exit code 137",
        "所要時間: 3分12秒",
        "CI job: https://ci.example.com/jobs/7",
        "2025年12月1日 09:30:05 (UTC) | 送信元: dispatcher",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("locale", "expected"),
    [("ja", "失敗"), ("ja-JP", "失敗"), ("ja_JP.UTF-8", "失敗"), ("tlh", "FAILED"), ("../x", "FAILED")],
)
def test_the_language_is_chosen_per_call_and_english_when_unknown(
    locale: str, expected: str, engine: TemplateEngine, minimal: EventFactory
) -> None:
    """One engine serves channels of several languages."""
    assert str(engine.message("sms", [minimal()], locale=locale).content).startswith(expected)
    assert str(engine.message("sms", [minimal()]).content).startswith("FAILED")
    assert str(TemplateEngine(locale=locale).message("sms", [minimal()]).content).startswith(expected)


def test_threads_share_one_engine_without_mixing_languages(
    engine: TemplateEngine, rich: EventFactory
) -> None:
    """Channel actors are threads: each gets its own language, whatever the others render."""
    event, wrong = rich(), list[str]()
    expected = {locale: engine.message("slack", [event], locale=locale).content for locale in ("en", "ja")}
    start = threading.Barrier(4)

    def run(locale: str) -> None:
        start.wait()
        for _ in range(50):
            if engine.message("slack", [event], locale=locale).content != expected[locale]:
                wrong.append(locale)

    threads = [threading.Thread(target=run, args=(locale,)) for locale in ("en", "ja") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_accent_is_severity_unless_the_news_are_good(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Good news at `info` are green, a failure is red even at `info`, and severity wins over good news."""

    def color(event_type: str, severity: Severity) -> int:
        content = engine.message("discord", [minimal(event_type, severity=severity)]).content
        assert isinstance(content, dict)
        return int(content["embeds"][0]["color"])

    assert color("job_completed", Severity.INFO) == 0x15803D
    assert color("job_completed", Severity.WARNING) == 0xB45309
    assert color("job_failed", Severity.INFO) == 0xDC2626
    assert color("job_failed", Severity.CRITICAL) == 0x991B1B
    assert color("job_started", Severity.INFO) == 0x2563EB


def test_what_is_omitted_leaves_no_trace(engine: TemplateEngine, minimal: EventFactory) -> None:
    """Keys, list items, and mappings of which only the type is left vanish; written nulls and lists stay."""
    source = """{
      "a": {{ omit }}, "b": [{{ omit }}, 1, {{ omit }}], "c": null, "d": [], "e": [{{ omit }}],
      "f": {"type": "x", "g": {{ omit }}}, "h": {"i": {"j": {{ omit }}}}, "k": {"l": 1, "m": {{ omit }}}
    }"""
    assert _content(engine, source, minimal()) == {"b": [1], "c": None, "d": [], "k": {"l": 1}}
    assert _content(engine, '{"type": "x", "a": {{ omit }}}', minimal()) == {"type": "x"}


def test_numbers_are_bare_and_texts_are_not(engine: TemplateEngine, minimal: EventFactory) -> None:
    """In JSON a number or a truth value stands where JSON wants one; a text that looks like one fails."""
    event = minimal(metadata={"n": 3, "f": 0.5, "t": True, "s": '1, "x": 2', "l": ["a", 1], "d": {"k": "v"}})
    content = _content(engine, '{"n": {{ metadata.n }}, "f": {{ metadata.f }}, "t": {{ metadata.t }}}', event)
    assert content == {"n": 3, "f": 0.5, "t": True}
    with pytest.raises(TemplateError, match="no JSON"):
        _content(engine, '{"n": {{ metadata.s }}}', event)
    assert _content(engine, '{"n": "{{ metadata.l }} {{ metadata.d }}"}', event) == {"n": 'a, 1 {"k":"v"}'}


def test_links_are_written_as_the_file_type_writes_them(
    engine: TemplateEngine, minimal: EventFactory
) -> None:
    """`link(url, text)` is a link where the target is a web address, and only its text elsewhere."""
    event = minimal(links=[Link("https://x.example.com/a|b?c=(1)", "A ] <b> *c*"), Link("javascript:x", "J")])
    first, second = (f"link(event.links[{number}].url, event.links[{number}].text)" for number in (0, 1))
    source = f"{{{{ {first} }}}} {{{{ {second} }}}}"
    slack = _content(engine, f'{{"text": "{source}"}}', event)
    assert slack == {"text": "<https://x.example.com/a%7Cb?c=(1)|A ] &lt;b&gt; *c*> J"}
    discord = _content(engine, f'{{"content": "{source}"}}', event, "discord")
    assert discord == {"content": "[A \\] <b> \\*c\\*](https://x.example.com/a|b?c=%281%29) J"}
    written = {}
    for suffix in ("txt", "md", "html"):
        engine.register_template(f"pager/link.{suffix}", source)
        written[suffix] = engine.render(f"pager/link.{suffix}", {"event": event}).content
    assert written["txt"] == "A ] <b> *c*: https://x.example.com/a|b?c=(1) J"
    assert written["md"] == "[A \\] <b> \\*c\\*](https://x.example.com/a|b?c=%281%29) J"
    assert isinstance(written["html"], dict)
    assert written["html"]["html"] == ('<a href="https://x.example.com/a|b?c=(1)">A ] &lt;b&gt; *c*</a> J')


def test_the_examples_of_the_documentation_work(engine: TemplateEngine, rich: EventFactory) -> None:
    """What docs/templates.md shows is what templates do."""
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
    extended, optional = (part.split("```", 1)[0] for part in page.split("```jinja\n")[1:])
    engine.register_template("slack/extended.json", extended)
    content = engine.message("slack", [rich()], override="extended").content
    assert isinstance(content, dict)
    assert "```exit code 137```" in content["blocks"][1]["text"]["text"]
    assert content["blocks"][2]["fields"][0]["text"] == "*Runner*\nrunner-3"
    assert _content(engine, f"{{{optional}}}", rich(description="", metadata={})) == {
        "fields": [{"name": "Status", "value": "failed"}]
    }
