"""Channel models of the shape the real ones have, and a way to load a text as a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from knell.config.load import Loaded, examine
from knell.config.problems import Problem
from knell.config.schema import ChannelConfig, Flag, Names, OpenChannelConfig
from knell.errors import ChannelError, ConfigError


class Slack(ChannelConfig):
    """Slack's section."""

    webhook_url: SecretStr | None = None
    bot_token: SecretStr | None = None
    channel: str | None = None
    username: str = "knell"
    icon_emoji: str = Field(default="", pattern=r"^(:[^:\s]+:)?$", description=":name:")

    @field_validator("webhook_url")
    @classmethod
    def _is_https(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith("https://"):
            raise ValueError("expected an https:// URL")
        return url

    @model_validator(mode="after")
    def _can_reach_slack(self) -> Self:
        if self.webhook_url is None and self.bot_token is None:
            raise ValueError("give webhook_url, or bot_token and channel")
        return self


class Email(ChannelConfig):
    """The e-mail section."""

    smtp_server: str
    smtp_port: int = Field(default=587, ge=1, le=65535)
    use_tls: bool = True
    sender: str = Field(alias="from")
    to: Names
    username: SecretStr = SecretStr("")
    password: SecretStr = SecretStr("")


class Discord(ChannelConfig):
    """Discord's section."""

    webhook_url: SecretStr
    username: str = ""
    avatar_url: str = ""


class Webhook(ChannelConfig):
    """The section of outgoing webhooks."""

    url: str
    method: str = "POST"
    headers: dict[str, SecretStr] = Field(default={})
    signature_secret: SecretStr | list[SecretStr] | None = None


class Sms(ChannelConfig):
    """The SMS section."""

    provider: str = "twilio"
    account_sid: SecretStr
    auth_token: SecretStr
    from_number: str
    to_numbers: list[str]


class Console(ChannelConfig):
    """The log's section."""

    stream: Flag = False
    tag: str = Field(default="", pattern="^[a-z]*$")


MODELS: dict[str, type[ChannelConfig]] = {
    "console": Console,
    "discord": Discord,
    "email": Email,
    "open": OpenChannelConfig,
    "slack": Slack,
    "sms": Sms,
    "webhook": Webhook,
}


def section_model(channel_type: str) -> type[ChannelConfig]:
    """Return a type's model, as the registry of channels does."""
    if channel_type not in MODELS:
        raise ChannelError(f"unknown channel type {channel_type!r}; there are {', '.join(sorted(MODELS))}")
    return MODELS[channel_type]


@pytest.fixture(scope="session")
def models() -> dict[str, type[ChannelConfig]]:
    """Return the models by channel type."""
    return MODELS


@pytest.fixture
def find_model() -> Callable[[str], type[ChannelConfig]]:
    """Return the look-up that `load` takes."""
    return section_model


Examine = Callable[..., Loaded]
Complaints = Callable[..., list[Problem]]


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """Return a function that loads a text as a file named `n.yaml`, with an override if one is given."""

    def run(
        text: str | Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        override: str | None = None,
        switched: Mapping[str, bool] | None = None,
    ) -> Loaded:
        settings: Mapping[str, Any] | tuple[Path, ...]
        if isinstance(text, str):
            main, over = tmp_path / "n.yaml", tmp_path / "over.yaml"
            main.write_text(text, encoding="utf-8")
            if override is not None:
                over.write_text(override, encoding="utf-8")
            settings = main, over
        else:
            settings = text
        return examine(
            settings,
            section_model=section_model,
            environ=environ or {},
            known_types=tuple(MODELS),
            switched=switched,
        )

    return run


@pytest.fixture
def complaints(examined: Examine) -> Complaints:
    """Return a function that loads a wrong text and returns what is said about it."""

    def run(*args: Any, **kwargs: Any) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            examined(*args, **kwargs)
        found = [problem for problem in caught.value.problems if isinstance(problem, Problem)]
        assert all(str(problem) in str(caught.value) for problem in found)
        return found

    return run
