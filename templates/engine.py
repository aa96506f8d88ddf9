"""Events in, a message for one kind of channel out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jinja2
import msgspec
from jinja2.runtime import Context
from markupsafe import Markup

from knell.errors import TemplateError
from knell.events import NotificationEvent
from knell.messages import FormattedMessage, MessageFormat

from .blame import explained
from .context import plain_data, variables
from .dialects import dialect_of
from .html_text import as_text
from .library import EXTENSIONS, Library, extension
from .meter import collect, metered
from .plain import messages_text
from .printing import SYNTAXES, lenient, printed_data
from .sandbox import Sandbox
from .taint import Json, settle, unmarked
from .text import cut, one_line
from .wording import Catalog, catalog, msg

MAX_SUBJECT = 200
"""Characters of a subject line; mail programs show 60 to 100."""

_FORMATS = {
    ".json": MessageFormat.JSON,
    ".html": MessageFormat.HTML,
    ".md": MessageFormat.MARKDOWN,
    ".txt": MessageFormat.TEXT,
}


class TemplateEngine:
    """Renders templates; one object serves all channel actors at once.

    Args:
        dashboard_url: where people look further; no link where it is empty.
        locale: the language where a call names none; an unknown one is English.
        directories: folders of the operator, laid out like `notifications/`, looked at before it.

    Raises:
        TemplateError: a directory does not exist.
    """

    def __init__(
        self, *, dashboard_url: str = "", locale: str = "en", directories: Sequence[Path] = ()
    ) -> None:
        self._dashboard_url = dashboard_url
        self._locale = locale
        self._library = Library(directories)
        self._sandboxes = {
            suffix: Sandbox(syntax, self._library.loader) for suffix, syntax in SYNTAXES.items()
        }
        self._foreign: dict[str, jinja2.Template] = {}

    def message(
        self,
        kind: str,
        events: Sequence[NotificationEvent],
        *,
        locale: str | None = None,
        override: str | None = None,
    ) -> FormattedMessage:
        """Render one event, or a digest of several, for one kind of channel.

        One event gets the template `override` names (in the kind's folder or from the top), else
        `<kind>/<event type>`, else `<kind>/default`; several get `<kind>/batch`. Where there is none, the
        built-in layout does.

        Raises:
            TemplateError: the template cannot be found, parsed or rendered.
        """
        if not events:
            raise TemplateError("there is no event to render")
        name = self._chosen(kind, events, override)
        if name is None:
            return self.plain(events, locale=locale)
        words = catalog(locale or self._locale)
        with explained(name):
            plain = [plain_data(event) for event in events]
            return self._rendered(
                name, kind, events, plain, variables(events, plain, words, self._dashboard_url)
            )

    def render(self, template_name: str, context: Mapping[str, Any]) -> FormattedMessage:
        """Render a template by its name.

        `context` holds `event` or `events`, perhaps `locale`, and whatever else the template shall see;
        what it holds wins over the usual variables.

        Raises:
            TemplateError: the template cannot be found, parsed or rendered, or there is no event.
        """
        name = self._library.named(template_name)
        with explained(name):
            events = _events(context)
            plain = [plain_data(event) for event in events]
            words = catalog(str(context.get("locale") or self._locale))
            more = {key: value for key, value in context.items() if key not in {"event", "events", "locale"}}
            seen = variables(events, plain, words, self._dashboard_url)
            seen |= {key: lenient(value) for key, value in plain_data(more).items()}
            return self._rendered(name, name.split("/", 1)[0], events, plain, seen)

    def plain(self, events: Sequence[NotificationEvent], *, locale: str | None = None) -> FormattedMessage:
        """Write events in the built-in layout, which no template and no event can break."""
        plain: list[dict[str, Any]] = []
        try:
            words = catalog(locale or self._locale)
            plain = [plain_data(event) for event in events]
            seen = variables(events, plain, words, self._dashboard_url)
            text, subject = messages_text(seen["entries"], words), _subject(seen, words)
        except Exception:  # noqa: BLE001 - the last resort: a message that says little beats none
            text = "\n".join(str(event.title) for event in events)
            subject = one_line(text)[:MAX_SUBJECT]
        return _message(MessageFormat.TEXT, text, events, plain, subject)

    def register_template(self, name: str, template: str | jinja2.Template) -> None:
        """Add a template, or put one in the place of another.

        Prefer the text: a compiled template keeps the environment it was made in, without the sandbox.

        Args:
            name: `<kind>/<event type>.<extension>`, as in `notifications/`.
            template: its text, or a jinja2 template, whose output is escaped as the extension demands.

        Raises:
            TemplateError: the name has no known extension, or the text cannot be parsed.
        """
        suffix = extension(name)
        if suffix not in SYNTAXES:
            raise TemplateError(f"{name}: a template's name ends in one of {', '.join(EXTENSIONS)}")
        if isinstance(template, str):
            with explained(name), metered(catalog("en")):
                self._sandboxes[suffix].from_string(template)
            self._library.add(name, template)
            self._foreign.pop(name, None)
        else:
            self._library.add(name)
            self._foreign[name] = template
        for sandbox in self._sandboxes.values():
            if sandbox.cache is not None:
                sandbox.cache.clear()

    def list_templates(self) -> list[str]:
        """Return the names of all templates, sorted."""
        return self._library.names()

    def _chosen(self, kind: str, events: Sequence[NotificationEvent], override: str | None) -> str | None:
        if len(events) > 1:
            return self._library.find(f"{kind}/batch")
        if override:
            return self._library.named(f"{kind}/{override}", override)
        return self._library.find(f"{kind}/{events[0].event_type}", f"{kind}/default")

    def _rendered(
        self,
        name: str,
        kind: str,
        events: Sequence[NotificationEvent],
        plain: list[dict[str, Any]],
        seen: dict[str, Any],
    ) -> FormattedMessage:
        words = catalog(seen["locale"])
        subject = _subject(seen, words)
        with metered(words):
            text, context = self._run(name, seen)
            suffix = extension(name)
            content: str | dict[str, Any] = text.strip()
            if suffix == ".json":
                content = _decoded(text, kind)
            elif suffix == ".html":
                subject = self._own_subject(context) or subject
                content = {"subject": subject, "html": text, "text": self._text_beside(name, seen, text)}
        message_format = (
            MessageFormat.SLACK_BLOCKS if kind == "slack" and suffix == ".json" else _FORMATS[suffix]
        )
        return _message(message_format, content, events, plain, subject)

    def _run(self, name: str, seen: dict[str, Any]) -> tuple[str, Context]:
        template = self._foreign.get(name)
        if template is None:
            template = self._sandboxes[extension(name)].get_template(name)
        else:
            seen = {key: printed_data(value, SYNTAXES[extension(name)]) for key, value in seen.items()}
        context = template.new_context(seen)
        return collect(template.root_render_func(context)), context

    def _own_subject(self, context: Context) -> str:
        """Render the block `subject` of an HTML template, as text."""
        block = context.blocks.get("subject")
        if not block:
            return ""
        html = Markup(collect(block[0](context)))  # noqa: S704 - only to take the entities out again
        return cut(one_line(html.unescape()), MAX_SUBJECT)

    def _text_beside(self, name: str, seen: dict[str, Any], html: str) -> str:
        """Return the plain text of a mail: the file beside its HTML, the folder's `base.txt`, or the HTML's.

        knell's own `base.txt` says what knell's own HTML does, and is no text for anybody else's.
        """
        library = self._library
        beside = library.find(f"{name.removesuffix(extension(name))}.txt")
        base = library.find(f"{name.rsplit('/', 1)[0]}/{'batch' if seen['count'] > 1 else 'base'}.txt")
        if beside is None and base and library.is_given(base) >= library.is_given(name):
            beside = base
        return self._run(beside, seen)[0].strip() if beside else as_text(html)


def _events(context: Mapping[str, Any]) -> list[NotificationEvent]:
    given = context.get("events") or [context.get("event")]
    return [event if isinstance(event, NotificationEvent) else _converted(event) for event in given]


def _converted(event: Any) -> NotificationEvent:
    if event is None:
        raise TemplateError("the context holds no event")
    return msgspec.convert(event, NotificationEvent)


def _subject(seen: Mapping[str, Any], words: Catalog) -> str:
    title = f"{seen['headline']}: {seen['event']['title']}"
    if seen["count"] > 1:
        title = f"{words.fill(msg('%(count)s notifications'), count=seen['count'])}: {title}"
    return cut(one_line(title), MAX_SUBJECT)


_POSITION = re.compile(r" \(byte (\d+)\)$")


def _decoded(text: str, kind: str) -> dict[str, Any]:
    try:
        tree = msgspec.json.decode(text.encode("utf-8", "replace"))
    except msgspec.DecodeError as error:
        raise TemplateError(_place_of(str(error), text)) from None
    if not isinstance(tree, dict):
        raise TemplateError("the rendered text is no JSON object")
    return settle(cast("dict[str, Json]", tree), dialect_of(kind))


def _place_of(error: str, text: str) -> str:
    found = _POSITION.search(error)
    before = text.encode("utf-8", "replace")[: int(found[1])].decode("utf-8", "ignore") if found else text
    line = before.count("\n") + 1
    near = (before[before.rfind("\n") + 1 :] + text[len(before) :].split("\n", 1)[0]).strip()
    reason = _POSITION.sub("", error).removeprefix("JSON is malformed: ")
    return f"the rendered text is no JSON: {reason}, in its line {line}: {cut(unmarked(near), 100)}"


def _message(
    message_format: MessageFormat,
    content: str | dict[str, Any],
    events: Sequence[NotificationEvent],
    plain: list[dict[str, Any]],
    subject: str,
) -> FormattedMessage:
    return FormattedMessage(
        format=message_format,
        content=content,
        events=tuple(events),
        metadata={"event": plain[0] if plain else {}, "events": plain, "subject": subject},
    )
