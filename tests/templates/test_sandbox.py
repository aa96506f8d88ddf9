"""A template cannot reach out of its sandbox, and cannot keep the machine busy."""

from collections.abc import Callable

import pytest

from knell.errors import TemplateError
from knell.events import NotificationEvent
from knell.templates import TemplateEngine

EventFactory = Callable[..., NotificationEvent]

ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ event.__class__ }}",
    "{{ event.metadata.__class__.__init__.__globals__ }}",
    "{{ event['__class__'] }}",
    "{{ event.title['__class__'] }}",
    "{{ event.title|attr('format') }}",
    "{{ event.title.format(event) }}",
    "{{ '{0.__class__}'.format(event) }}",
    "{{ event.title.encode() }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__globals__ }}",
    "{{ link.__func__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ (1).__class__ }}",
    "{{ (1).to_bytes(9, 'big') }}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{{ event.update({'title': 'x'}) }}",
    "{{ event.metadata.pop('a') }}",
    "{{ event.links.append(1) }}",
    "{{ [1].append(2) }}",
    "{{ event.title|safe }}",
    "{{ event.title|forceescape }}",
    "{{ event|pprint }}",
    "{{ event|xmlattr }}",
    "{{ [1, 2]|random }}",
    "{{ [event.title]|map('attr', '__class__')|list }}",
    "{{ [event.title]|map(attribute='__class__')|list }}",
    "{{ '%s'|format(event) }}",
    "{{ '%s' % event }}",
]

BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ [1] * 999999999 }}",
    "{{ 9**9**9**9 }}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'|center(999999999) }}",
    "{{ 'x'.center(999999999) }}",
    "{{ 'x'.ljust(999999999) }}",
    "{{ 'x'.zfill(999999999) }}",
    "{{ 'x'|indent(999999999) }}",
    "{{ [1]|batch(999999999, 'x')|list }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ _('%(x)999999999s', x='a') * 9 }}",
    "{{ range(999999999)|list }}",
    "{{ range(10**9) }}",
    "{{ (1.5)|round(999999999, 'ceil') }}",
    "{% for a in range(999) %}" * 3 + "{% endfor %}" * 3,
    "{% for a in range(999) %}{% for b in range(999) %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}",
    "{% for a in range(999) %}" + "{{ a }}" * 2000 + "{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m() %}" * 30
    + "x"
    + "{% endcall %}" * 30,
    "{% block b %}x{% endblock %}"
    + "{% for i in range(999) %}" * 2
    + "{{ self.b() }}" * 3
    + "{% endfor %}" * 2,
    "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x ~ x %}" * 40,
    "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x + x %}" * 40,
    "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x|replace('a', x) %}" * 9,
    "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = [x, x, x, x]|join(x) %}" * 20,
    "{% set x = [1, 2] %}" + "{% set x = x + x %}" * 40,
    "{% set n = namespace(x=9) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% for x in range(999) %}" * 2 + "{{ event.description|wordcount }}" + "{% endfor %}" * 2,
    "{% for x in range(9999) %}{% endfor %}",
    "{% for x in event.links recursive %}{{ loop(event.links) }}{% endfor %}",
    "{% for c in event.description %}{{ event.description }}{% endfor %}",
    "{% for c in range(99) %}{{ event.description }}{% endfor %}",
    "{{ event.title|replace('', 'x') }}",
    "x" * 300_000,
]


@pytest.mark.parametrize("suffix", ["json", "html", "txt"])
@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_cannot_reach_out(
    source: str, suffix: str, engine: TemplateEngine, minimal: EventFactory
) -> None:
    """Everything beyond plain data and the short list of functions is refused, by TemplateError alone."""
    with pytest.raises(TemplateError):
        _render(engine, suffix, source, minimal(metadata={"a": 1}))


@pytest.mark.parametrize("source", BOMBS)
def test_a_template_cannot_be_a_bomb(source: str, engine: TemplateEngine, minimal: EventFactory) -> None:
    """No time, no memory: the allowance ends it. A test that hangs fails by its timeout."""
    with pytest.raises(TemplateError):
        _render(engine, "txt", source, minimal(description="word " * 50_000))


def test_templates_that_include_each_other_twice_end(engine: TemplateEngine, minimal: EventFactory) -> None:
    """Depth is bounded by Python, width by the allowance."""
    for number in range(30):
        after = f'{{% include "pager/{number + 1}.txt" %}}' * 2 if number < 29 else "x"
        engine.register_template(f"pager/{number}.txt", after)
    with pytest.raises(TemplateError, match="does too much"):
        engine.render("pager/0", {"event": minimal()})


def test_what_a_template_may_do_it_can(engine: TemplateEngine, minimal: EventFactory) -> None:
    """Loops, macros, includes, arithmetic, the usual filters and methods."""
    source = (
        "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}"
        "{% for n in range(3) %}{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %} "
        "{{ 7 * 6 }} {{ 7 % 4 }} {{ 7 + 0.5 }} {{ 'a' + 'b' ~ 1 }} {{ [1] + [2] }} "
        "{{ event.title|upper|replace('I', '!') }} {{ event.title.startswith('night') }} "
        "{{ event.metadata.items()|list|length }} {{ event.metadata.get('zero', 0) }} {{ twice('x') }} "
        "{{ event.metadata.a.b.c }} {{ event.metadata.none|default('given') }} {{ event.metadata.x > 3 }} "
        "{{ event.metadata.x is defined }} {{ event.metadata.x == none }} {{ [3, 1]|sort|join('<') }} "
        "{{ [{'a': 1}, {'a': 2}]|join('+', 'a') }} {{ 2.345|round(1) }} {{ '<'|e }} {{ none }} "
        "{% set ns = namespace(n=0) %}{% for i in range(5) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }} "
        "{% trans name=event.source %}from {{ name }}, 100%{% endtrans %} "
        "{% include ['pager/none.txt', 'pager/other.txt'] %} {{ [1, [2]] }} "
        "{% trans count=2 %}{{ count }} one{% pluralize %}{{ count }} many{% endtrans %}"
    )
    engine.register_template("pager/other.txt", "other")
    assert _render(engine, "txt", source, minimal(metadata={"none": None})) == (
        "1, 2, 3 42 3 7.5 ab1 1, 2 N!GHTLY BU!LD true 1 0 xx \N{EN DASH} \N{EN DASH} false "
        "false true 1<3 1+2 2.3 < \N{EN DASH} 10 from dispatcher, 100% other [1,[2]] 2 many"
    )


def test_metadata_named_like_a_method_is_still_data(engine: TemplateEngine, minimal: EventFactory) -> None:
    """A key called `items` breaks no template that walks the metadata, and can be read by its name."""
    event = minimal(metadata={"items": "x", "update": "y", "keys": 1})
    source = (
        "{{ event.metadata.items()|list|length }} {{ event.metadata['items'] }} {{ event.metadata.update }}"
    )
    assert _render(engine, "txt", source, event) == "3 x y"


def test_a_joined_text_keeps_its_data_marked(engine: TemplateEngine, minimal: EventFactory) -> None:
    """`~`, `+` and `join` next to a macro's output escape data for the file type, not for HTML."""
    source = (
        '{% macro m() %}<b>{% endmacro %}{"text": "{{ m() ~ event.title }}{{ m() + event.title }}'
        '{{ [m(), event.title]|join(event.title) }}"}'
    )
    engine.register_template("slack/joined.json", source)
    content = engine.message("slack", [minimal(title='"\n<!here>')], override="joined").content
    data = '"\n&lt;!here&gt;'
    assert content == {"text": f"<b>{data}<b>{data}<b>{data}{data}"}


def _render(engine: TemplateEngine, suffix: str, source: str, event: NotificationEvent) -> str:
    engine.register_template(f"pager/probe.{suffix}", f'{{"x": "{source}"}}' if suffix == "json" else source)
    return str(engine.render(f"pager/probe.{suffix}", {"event": event}).content)
