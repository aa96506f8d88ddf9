"""Every template, rendered for everything the enabled channels can get."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import get_args

from knell.assembly import Classes
from knell.channels.base import Channel
from knell.cli.reach import ANY, types_of
from knell.cli.samples import CUSTOM, samples
from knell.config.load import Loaded
from knell.config.problems import Problem
from knell.config.schema import Locale
from knell.config.tree import find
from knell.errors import TemplateError
from knell.events import EventType, NotificationEvent
from knell.templates.engine import TemplateEngine

LOCALES: tuple[str, ...] = get_args(Locale)
_NAMED = 3


def template_problems(loaded: Loaded, found: Classes) -> Iterator[Problem]:
    """Return what goes wrong in a template, once for each channel."""
    config = loaded.config
    try:
        engine = TemplateEngine(
            dashboard_url=config.dashboard_url,
            locale=config.locale,
            directories=[Path(folder) for folder in config.templates.directories],
        )
    except TemplateError as error:
        yield find(loaded.tree, ("templates", "directories"))[0].at.problem(str(error))
        return
    for name, channel in found.items():
        yield from _of_channel(loaded, name, channel, engine)


def _of_channel(
    loaded: Loaded, name: str, channel: type[Channel], engine: TemplateEngine
) -> Iterator[Problem]:
    section = loaded.config.channels[name]
    types = types_of(loaded.config, name, channel)
    wanted = sorted((types | {*map(str, EventType), CUSTOM} if ANY in types else types) - {ANY})
    made = channel(section)
    failures: dict[tuple[str, str], dict[str, set[str]]] = {}
    for event_type in wanted:
        override = section.template_overrides.get(event_type)
        full, bare = samples(event_type)
        messages = [[full], [bare], *([[full, bare]] if section.batch.enabled else [])]
        for events in messages:
            for locale in LOCALES:
                error = _failure(engine, made, channel.templates or section.type, events, locale, override)
                if error:
                    key = (error, event_type if override else "")
                    failures.setdefault(key, {}).setdefault(event_type, set()).add(locale)
    for (error, overridden), occasions in failures.items():
        path = ("channels", name, *(("template_overrides", overridden) if overridden else ()))
        node = find(loaded.tree, path)[0]
        when = _listed(occasions)
        yield (node.at if overridden else node.key).problem(f"{name}: {error} ({when})")


def _listed(occasions: Mapping[str, Collection[str]]) -> str:
    """Name event types, each with its language where it is one alone."""
    words = [
        event_type if len(locales) == len(LOCALES) else f"{event_type} in {', '.join(sorted(locales))}"
        for event_type, locales in occasions.items()
    ]
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED] + ([f"and {more} more"] if more > 0 else []))


def _failure(
    engine: TemplateEngine,
    channel: Channel,
    kind: str,
    events: list[NotificationEvent],
    locale: str,
    override: str | None,
) -> str:
    try:
        channel.fit(engine.message(kind, events, locale=locale, override=override))
    except TemplateError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a third party's `fit` may raise anything
        return f"cannot be fitted to the provider's limits: {error!r}"
    return ""
