"""From a configuration, wherever it comes from, to channel classes that can be started."""

from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from pydantic import SecretStr, ValidationError

from knell.channels.base import Channel
from knell.channels.registry import find, known_types
from knell.channels.veil import Veil
from knell.config.load import check, load, load_mapping
from knell.config.schema import ChannelConfig, NotificationConfig
from knell.errors import ChannelError, ConfigError

Source = str | PathLike[str] | Mapping[str, Any] | NotificationConfig
"""Where a configuration comes from: a file, plain data, or an object made by a program."""

Classes = dict[str, type[Channel]]


def read(
    source: Source | None,
    environ: Mapping[str, str] | None = None,
    switched: Mapping[str, bool] | None = None,
) -> NotificationConfig:
    """Return a checked configuration; `switched` are channels an operator enabled or disabled.

    Raises:
        ConfigError: it lists every problem, each with its place.
    """
    if isinstance(source, NotificationConfig):
        return _typed(source, switched or {})
    if isinstance(source, Mapping):
        return load_mapping(
            source, section_model=model_of, environ=environ, known_types=known_types(), switched=switched
        )
    return load(source, section_model=model_of, environ=environ, known_types=known_types(), switched=switched)


def model_of(channel_type: str) -> type[ChannelConfig]:
    """Return the schema of a channel type's section.

    Raises:
        ChannelError: there is no such type.
    """
    return find(channel_type).Config


def classes(config: NotificationConfig) -> Classes:
    """Return the channel class of every enabled section, each tried out with its section.

    Raises:
        ConfigError: a class cannot be found, or refuses its section.
    """
    found: Classes = {}
    for name, section in config.enabled_channels():
        made(section)
        found[name] = find(section.type)
    return found


def made(section: ChannelConfig) -> Channel:
    """Return the channel object of a section.

    Raises:
        ConfigError: its class cannot be found, or refuses the section.
    """
    try:
        return find(section.type)(section)
    except ChannelError as error:
        raise ConfigError(f"channels.{section.name}: {error}") from error
    except Exception as error:  # noqa: BLE001 - a third party's constructor may raise anything
        raise _refusal(section, "refuses its section", error) from None


def advice(config: NotificationConfig, found: Classes) -> list[str]:
    """Return what the channels themselves find questionable in their sections.

    Raises:
        ConfigError: one cannot say.
    """
    said: list[str] = []
    for name, channel in found.items():
        section = config.channels[name]
        try:
            problems = list(channel(section).validate_config())
        except Exception as error:  # noqa: BLE001 - as above
            raise _refusal(section, "cannot check its section", error) from None
        problems += _in_clear(section) if config.security.require_tls else ()
        said += [f"channels.{name}: {Veil(section).text(problem)}" for problem in problems]
    return said


def _in_clear(section: ChannelConfig) -> Iterator[str]:
    """Name the addresses of a section that every attempt would refuse to call."""
    for key, value in section:
        if isinstance(value, SecretStr) and value.get_secret_value().lower().startswith("http://"):
            yield f"{key}: nothing is sent there, only https is allowed (security.require_tls)"


def _refusal(section: ChannelConfig, what: str, error: Exception) -> ConfigError:
    """Return what is told of an error of a channel class, without the secrets of its section."""
    return ConfigError(Veil(section).text(f"channels.{section.name}: {section.type} {what}: {error!r}"))


def _typed(config: NotificationConfig, switched: Mapping[str, bool]) -> NotificationConfig:
    """Give every section of a hand-made configuration the schema of its type."""
    sections: dict[str, ChannelConfig] = {}
    for name, section in config.channels.items():
        enabled = switched.get(name, section.enabled)
        given = section.model_copy(update={"name": name, "type": section.type or name, "enabled": enabled})
        try:
            model = model_of(given.type)
            typed = isinstance(given, model)
            sections[name] = given if typed else model.model_validate(given.model_dump(exclude_unset=True))
        except (ChannelError, ValidationError) as error:
            raise ConfigError(f"channels.{name}: {error}") from error
    typed_config = config.model_copy(update={"channels": sections})
    check(typed_config)
    return typed_config
